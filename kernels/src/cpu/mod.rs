//! The CPU executor: blocks of elements for nests, tiles for products, rayon over independent output elements.
//!
//! Every output element is computed by one thread in one order, so results do not depend on the number of threads.

mod block;
pub(crate) mod change;
mod code;
mod dot;
pub(crate) mod join;
mod lookup;
pub(crate) mod machine;
mod map;
mod matmul;
mod pack;
mod reduce;
pub(crate) mod rows;
mod simd;
mod size;
mod spread;
mod sweep;
mod team;
pub(crate) mod tile;
pub(crate) mod vector;
mod walk;

pub use change::Change;
pub use code::{ARGS, Op};
pub use dot::{dot, dots, finite};
pub use join::LANES;
pub use machine::Lanes;
pub use rows::{MOST_ROWS, combine, gram};
pub(crate) use simd::Level;
pub use simd::Simd;
pub use size::{Size, largest};
pub use spread::{Outer, spread};
pub use sweep::Sweep;
pub use tile::Tile;

use std::mem::take;
use std::time::{Duration, Instant};

use block::Registers;
use team::{MOST, Team};

use crate::memory::{Buffer, allocate, check};
use crate::{Command, Error, Out, Program, Real, Slot};

/// Work (elements of maps and sums, or multiply-adds over 16) from which a command makes a program worth a team of threads.
const TEAM: usize = 1 << 15;

/// Work below which a command of such a program stays with one of them.
const ALONE: usize = 1 << 13;

/// Runs a program on the CPU in `f32` or `f64`; a run allocates nothing (but for matrixmultiply's packing buffers, which serve
/// machines that there are no tiles of our own for).
///
/// ```
/// # use osculate_kernels::*;
/// let product = Command::MatMul(Product {
///     inner: vec![2], scale: 1.0,
///     a: View::new(0, 0, &[1]), b: View::new(1, 0, &[1]), out: View::new(2, 0, &[]),
///     ..Product::default()
/// });
/// let program = Program::new(vec![Slot::Input(2), Slot::Input(2), Slot::Output { len: 1, wide: false }], vec![product])?;
/// let mut out = [0.0];
/// Cpu::<f64>::new(program).run(&[&[1.0, 2.0], &[3.0, 4.0]], &mut [Out::Real(&mut out)])?;
/// assert_eq!(out, [11.0]);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Cpu<T> {
    program: Program,
    steps: Vec<Step>,
    owned: Vec<Buffer<T>>,
    scratch: Scratch<T>,
    /// Threads that a run is shared among.
    threads: usize,
    /// Time that every command took so far, and in how many runs, if that is measured.
    spent: Option<(Vec<Duration>, u32)>,
}

/// A command made ready: loops joined, shapes of loops decided.
#[derive(Debug, Clone)]
enum Step {
    Map(Box<map::Map>),
    Reduce(Box<reduce::Reduce>),
    MatMul(Box<matmul::MatMul>),
    Gather(Box<lookup::Gather>),
    ScatterAdd(Box<lookup::ScatterAdd>),
    First(Box<lookup::Firsts>),
}

/// Where views read from.
#[derive(Clone, Copy)]
struct Source<'a, T> {
    inputs: &'a [&'a [T]],
    owned: &'a [Buffer<T>],
    team: &'a Team,
}

impl<'a, T> Source<'a, T> {
    #[inline]
    fn slot(self, slot: usize) -> &'a [T] {
        match self.inputs.get(slot) {
            Some(input) => input,
            None => &self.owned[slot],
        }
    }
}

impl Step {
    fn out_slot(&self) -> usize {
        match self {
            Step::Map(map) => map.out_slot(),
            Step::Reduce(reduce) => reduce.out_slot(),
            Step::MatMul(matmul) => matmul.out_slot(),
            Step::Gather(gather) => gather.out_slot(),
            Step::ScatterAdd(scatter) => scatter.out_slot(),
            Step::First(first) => first.out_slot(),
        }
    }

    /// What nests do.
    fn code(&self) -> Option<&code::Code> {
        match self {
            Step::Map(map) => Some(&map.code),
            Step::Reduce(reduce) => Some(&reduce.code),
            Step::MatMul(_) | Step::Gather(_) | Step::ScatterAdd(_) | Step::First(_) => None,
        }
    }

    fn work(&self) -> usize {
        match self {
            Step::Map(map) => map.work(),
            Step::Reduce(reduce) => reduce.work(),
            Step::MatMul(matmul) => matmul.work(),
            Step::Gather(gather) => gather.work(),
            Step::ScatterAdd(scatter) => scatter.work(),
            Step::First(first) => first.work(),
        }
    }

    /// Keys that it sorts.
    fn keys(&self) -> usize {
        match self {
            Step::ScatterAdd(scatter) => scatter.keys(),
            Step::First(first) => first.keys(),
            _ => 0,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Step::Map(map) => size_of_val(&**map) + map.bytes(),
            Step::Reduce(reduce) => size_of_val(&**reduce) + reduce.bytes(),
            Step::MatMul(matmul) => size_of_val(&**matmul) + matmul.bytes(),
            Step::Gather(gather) => size_of_val(&**gather) + gather.bytes(),
            Step::ScatterAdd(scatter) => size_of_val(&**scatter) + scatter.bytes(),
            Step::First(first) => size_of_val(&**first) + first.bytes(),
        }
    }

    fn run<T: Real>(&self, source: Source<'_, T>, scratch: &mut Scratch<T>, out: &mut [T]) {
        match self {
            Step::Map(map) => map.run(scratch.simd, source, &mut scratch.registers, out),
            Step::Reduce(reduce) => reduce.run(scratch.simd, source, &mut scratch.registers, out),
            Step::MatMul(matmul) => matmul.run(source, &mut scratch.packed, out),
            Step::Gather(gather) => gather.run(scratch.simd, source, out),
            Step::ScatterAdd(scatter) => scatter.run(scratch.simd, source, &mut scratch.keys, out),
            Step::First(first) => first.run(source, &mut scratch.keys, out),
        }
    }

    fn run_wide<T: Real>(&self, source: Source<'_, T>, scratch: &mut Scratch<T>, out: &mut [f64]) {
        match self {
            Step::Map(map) => map.run(scratch.simd, source, &mut scratch.wide, out),
            Step::Reduce(reduce) => reduce.run(scratch.simd, source, &mut scratch.wide, out),
            _ => {} // refused by Program::new
        }
    }
}

/// Working room, one of each a thread.
#[derive(Debug, Clone)]
struct Scratch<T> {
    simd: Simd,
    /// Packed operands of products.
    packed: Vec<Buffer<T>>,
    /// Indices being sorted, which threads share.
    keys: Vec<u64>,
    /// Blocks of lanes.
    registers: Vec<Registers<T>>,
    /// The same for what is computed in f64.
    wide: Vec<Registers<f64>>,
}

impl<T: Real> Cpu<T> {
    /// Takes a program, prepares its loops and allocates its scratch; commands share the threads of the current rayon pool.
    pub fn new(program: Program) -> Cpu<T> {
        Cpu::with(program, rayon::current_num_threads(), Simd::best())
    }

    /// The same, with commands shared among a given number of threads (1: all on the caller's), by a set of instructions.
    pub fn with(program: Program, threads: usize, simd: Simd) -> Cpu<T> {
        T::prepare(program, threads, simd)
    }

    pub(crate) fn prepared(program: Program, threads: usize, simd: Simd) -> Cpu<T> {
        let owned = allocate(&program);
        let steps: Vec<Step> = (program.commands().iter())
            .map(|command| match command {
                Command::Map(nest) => Step::Map(Box::new(map::Map::new(nest, false))),
                Command::AddTo(nest) => Step::Map(Box::new(map::Map::new(nest, true))),
                Command::Reduce { nest, over, fold, scale } => {
                    Step::Reduce(Box::new(reduce::Reduce::new(nest, over, *fold, *scale)))
                }
                Command::MatMul(product) => Step::MatMul(Box::new(matmul::MatMul::new::<T>(product, simd))),
                Command::Gather(lookup) => Step::Gather(Box::new(lookup::Gather::new(lookup))),
                Command::ScatterAdd(lookup) => Step::ScatterAdd(Box::new(lookup::ScatterAdd::new(lookup))),
                Command::First(first) => Step::First(Box::new(lookup::Firsts::new(first))),
            })
            .collect();
        let packed = steps.iter().map(|step| if let Step::MatMul(m) = step { m.scratch::<T>() } else { 0 }).max();
        let packed = packed.unwrap_or(0);
        let is_wide = |step: &&Step| matches!(program.slots()[step.out_slot()], Slot::Output { wide: true, .. });
        let bodies = |wide: bool| steps.iter().filter(move |step| is_wide(step) == wide).filter_map(Step::code);
        let shared = steps.iter().any(|step| step.work() >= TEAM);
        let threads = if shared { threads.clamp(1, team::MOST) } else { 1 };
        let scratch = Scratch {
            simd,
            packed: vec![Buffer::new(packed); threads],
            keys: vec![0; steps.iter().map(Step::keys).max().unwrap_or(0)],
            registers: (0..threads).map(|_| Registers::new(simd, bodies(false))).collect(),
            wide: (0..threads).map(|_| Registers::new(simd, bodies(true))).collect(),
        };
        Cpu { program, steps, owned, scratch, threads, spent: None }
    }

    /// The program it runs.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// From now on, runs add up the time that each command takes; [`plan`](Cpu::plan) tells it.
    pub fn measure(&mut self) {
        self.spent = Some((vec![Duration::ZERO; self.steps.len()], 0));
    }

    /// The program as text, with the times of its commands if they are measured.
    pub fn plan(&self) -> String {
        match &self.spent {
            Some((spent, runs)) => self.program.timed(spent, *runs),
            None => self.program.to_string(),
        }
    }

    /// Bytes of scratch, packing room, constants, commands and tables that this executor holds.
    pub fn bytes(&self) -> usize {
        let Scratch { packed, keys, registers, wide, .. } = &self.scratch;
        let packed: usize = packed.iter().map(|buffer| buffer.len()).sum();
        let registers = registers.iter().map(Registers::bytes).chain(wide.iter().map(Registers::bytes));
        let tables = self.steps.iter().map(Step::bytes);
        let commands = self.program.bytes() + size_of_val(&self.steps[..]) + size_of_val(&keys[..]);
        (self.program.owned_elements() + packed) * size_of::<T>() + commands + registers.chain(tables).sum::<usize>()
    }

    /// Runs all commands in order.
    ///
    /// # Errors
    /// Wrong numbers or lengths of buffers; nothing is written then.
    pub fn run(&mut self, inputs: &[&[T]], outputs: &mut [Out<'_, T>]) -> Result<(), Error> {
        check(&self.program, inputs, outputs)?;
        T::run(self, inputs, outputs, false);
        Ok(())
    }

    /// The same, and how large what the outputs hold then is: the threads that made it look, while they are awake.
    ///
    /// ```
    /// # use osculate_kernels::*;
    /// # let body = Body(vec![Instr::Load(0), Instr::Load(0), Instr::Mul(0, 1)]);
    /// # let square = Nest { dims: vec![2], body, inputs: vec![View::new(0, 0, &[1])], out: View::new(1, 0, &[1]) };
    /// # let program = Program::new(vec![Slot::Input(2), Slot::Output { len: 2, wide: false }], vec![Command::Map(square)])?;
    /// // out = x²
    /// let (mut cpu, mut out) = (Cpu::<f32>::new(program), [0.0; 2]);
    /// assert!(cpu.run_sized(&[&[1.0, 2.0]], &mut [Out::Real(&mut out)])?.is_finite());
    /// assert!(!cpu.run_sized(&[&[1.0, 1e30]], &mut [Out::Real(&mut out)])?.is_finite());
    /// assert_eq!(out, [1.0, f32::INFINITY]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// As above.
    pub fn run_sized(&mut self, inputs: &[&[T]], outputs: &mut [Out<'_, T>]) -> Result<Size, Error> {
        check(&self.program, inputs, outputs)?;
        Ok(T::run(self, inputs, outputs, true))
    }

    /// Of buffers that were checked; how large outputs are, if that is to be looked at.
    pub(crate) fn run_all(&mut self, inputs: &[&[T]], outputs: &mut [Out<'_, T>], look: bool) -> Size {
        let (mut size, threads) = (Size::Moderate, self.threads);
        let mut run = |team: &Team| {
            self.run_by(team, inputs, outputs);
            if look {
                size = sized(self.scratch.simd, team, outputs);
            }
        };
        match threads {
            1 => run(&Team::one()),
            threads => Team::gather(threads, ALONE, &mut run),
        }
        size
    }

    fn run_by(&mut self, team: &Team, inputs: &[&[T]], outputs: &mut [Out<'_, T>]) {
        let mut began = self.spent.as_mut().map(|(_, runs)| {
            *runs += 1;
            Instant::now()
        });
        for (at, step) in self.steps.iter().enumerate() {
            let slot = step.out_slot();
            // The written slot is taken out while the others are read; the program's check made sure that it is not read.
            if let Slot::Output { .. } = self.program.slots()[slot] {
                let source = Source { inputs, owned: &self.owned, team };
                match &mut outputs[slot - inputs.len()] {
                    Out::Real(out) => step.run(source, &mut self.scratch, out),
                    Out::Wide(out) => step.run_wide(source, &mut self.scratch, out),
                }
            } else {
                let mut out = take(&mut self.owned[slot]);
                let source = Source { inputs, owned: &self.owned, team };
                step.run(source, &mut self.scratch, &mut out);
                self.owned[slot] = out;
            }
            if let (Some((spent, _)), Some(began)) = (&mut self.spent, &mut began) {
                let now = Instant::now();
                spent[at] += now - *began;
                *began = now;
            }
        }
    }
}

/// How large elements are; the second look, whether they are finite at least, is seldom taken.
fn sized<T: Real>(simd: Simd, team: &Team, outputs: &[Out<'_, T>]) -> Size {
    match () {
        () if are_finite(simd, team, outputs, [T::MODERATION, f64::MODERATION]) => Size::Moderate,
        () if are_finite(simd, team, outputs, [1.0; 2]) => Size::Finite,
        () => Size::NotFinite,
    }
}

/// Whether products of all elements with a factor for each kind of output are finite; threads share them.
fn are_finite<T: Real>(simd: Simd, team: &Team, outputs: &[Out<'_, T>], by: [f64; 2]) -> bool {
    let mut finite = [true; MOST];
    let threads = team.threads(outputs.iter().map(Out::len).sum());
    team.parts(&mut finite[..threads], |part, finite| {
        let share = |len: usize| len * part / threads..len * (part + 1) / threads;
        for out in outputs {
            *finite &= match out {
                Out::Real(values) => T::finite(simd, &values[share(values.len())], T::from_f64(by[0])),
                Out::Wide(values) => f64::finite(simd, &values[share(values.len())], by[1]),
            };
        }
    });
    finite.iter().all(|&finite| finite)
}
