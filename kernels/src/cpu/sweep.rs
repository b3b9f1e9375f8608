//! Elementwise work on flat vectors, in place: several results and sums of others, one pass over memory.

use std::ops::Range;

use super::block::{BLOCK, Block, Local, STEP, Same, stretches};
use super::code::{ARGS, Code, RESULTS};
use super::join::{LANES, halve};
use super::machine::{LOCAL, Lanes};
use super::simd::Simd;
use super::team::{MOST, Team};
use crate::{Body, Command, Error, Instr, Nest, Program, Real, Slot, View};

/// Most instructions of all commands together, functions of two arguments counted twice: as many as can be told apart.
const MOST_INSTRUCTIONS: usize = ARGS - 2 * RESULTS;

/// Elements from which threads share the work.
const SHARED: usize = 1 << 17;

/// A program of elementwise commands, run over vectors of any length: some are replaced by the results, all in one pass; further
/// results are added up as they are computed, and go nowhere else.
///
/// Every element is read once and written once, so a step of an optimizer costs what its vectors' bytes cost.
///
/// ```
/// # use osculate_kernels::*;
/// // x ← x + s·g, from a program for vectors of two elements: inputs are the scalars, then the vectors.
/// let body = Body(vec![Instr::Load(0), Instr::Load(1), Instr::Load(2), Instr::Mul(0, 2), Instr::Add(1, 3)]);
/// let inputs = vec![View::new(0, 0, &[0]), View::new(1, 0, &[1]), View::new(2, 0, &[1])];
/// let map = Command::Map(Nest { dims: vec![2], body, inputs, out: View::new(3, 0, &[1]) });
/// let slots = vec![Slot::Input(1), Slot::Input(2), Slot::Input(2), Slot::Output { len: 2, wide: false }];
/// let mut sweep = Sweep::new(&Program::new(slots, vec![map])?, 1, Simd::best())?;
/// let (mut x, g) = ([1.0, 2.0, 3.0], [1.0, 1.0, 2.0]);
/// sweep.run(&[-0.5], &mut [&mut x], &[&g])?;
/// assert_eq!(x, [0.5, 1.5, 2.0]);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Sweep<T> {
    simd: Simd,
    code: Code,
    scalars: usize,
    /// Vectors that are replaced, and that are only read.
    vectors: [usize; 2],
    /// Where the body finds what it names; vectors from their first element on.
    args: Box<[Lanes<T>; ARGS]>,
    same: Vec<Same<T>>,
    rooms: Vec<Room<T>>,
    /// Of the results that replace nothing.
    totals: Vec<f64>,
}

/// A thread's own.
#[derive(Debug, Clone)]
struct Room<T> {
    args: Box<[Lanes<T>; ARGS]>,
    /// What is added up, then what is stored on the way for the same tile.
    locals: Vec<Local<T>>,
    /// What is stored on the way otherwise.
    blocks: Vec<Block<T>>,
    /// The ends of the vectors, in whole steps.
    ends: Vec<Same<T>>,
    /// Of every block, a sum for each of what is added up.
    sums: Vec<f64>,
}

impl<T: Real> Sweep<T> {
    /// Of a program of maps over vectors of one length, with one input for all scalars, one for each vector (those that are replaced
    /// come first), and one output that holds a result for each vector that is replaced, then those that are added up.
    ///
    /// # Errors
    /// [`Error::Signature`] if the program is not of this form or has more than 96 instructions or 16 results.
    pub fn new(program: &Program, replaced: usize, simd: Simd) -> Result<Sweep<T>, Error> {
        let slots = program.slots();
        let inputs = program.inputs();
        let len = slots.get(1).map_or(0, Slot::len);
        let alike = inputs > replaced && len > 1 && slots[1..inputs].iter().all(|slot| slot.len() == len);
        let results = match slots.get(inputs) {
            Some(&Slot::Output { len: out, wide: false }) if out.is_multiple_of(len.max(1)) => out / len.max(1),
            _ => 0,
        };
        if !alike || program.outputs() != 1 || results < replaced.max(1) || results > RESULTS {
            let why = "a sweep has an input for its scalars, vectors of one length above 1, and one output";
            return Err(Error::Signature(format!("{why} of 1 to {RESULTS} of them, in their type")));
        }
        let (body, results) = Joined::of(program, len)?.finish(results)?;
        let code = Code::sweep(&body, &results, replaced);
        let (summed, [local, whole]) = (code.results - replaced, code.kept());
        let room = Room {
            args: Box::new([Lanes::NONE; ARGS]),
            locals: vec![Local([T::zero(); LOCAL]); summed + local],
            blocks: vec![Block([T::zero(); BLOCK]); whole],
            ends: vec![Same([T::zero(); STEP]); code.results + code.inputs.len()],
            sums: Vec::new(),
        };
        Ok(Sweep {
            simd,
            scalars: slots[0].len(),
            vectors: [replaced, inputs - 1 - replaced],
            args: Box::new([Lanes::NONE; ARGS]),
            same: vec![Same([T::zero(); STEP]); code.inputs.len() + code.constants.len()],
            rooms: vec![room; rayon::current_num_threads().clamp(1, MOST)],
            totals: vec![0.0; summed],
            code,
        })
    }

    /// Replaces some vectors by the results of a program of them, of those to read, and of scalars; the sums of its further results, if
    /// there are any: of at most 16 values in the vectors' type, and in f64 of those.
    ///
    /// Threads share long vectors; results and sums do not depend on how many there are. Nothing is allocated but room for the sums of
    /// longer vectors than there were before.
    ///
    /// # Errors
    /// Wrong numbers or lengths; nothing is written then.
    pub fn run(&mut self, scalars: &[T], replaced: &mut [&mut [T]], read: &[&[T]]) -> Result<&[f64], Error> {
        let [first, more] = self.vectors;
        if scalars.len() != self.scalars || replaced.len() != first || read.len() != more {
            let want = format!("{} scalars, {first} vectors to replace and {more} to read", self.scalars);
            let got = format!("{}, {} and {}", scalars.len(), replaced.len(), read.len());
            return Err(Error::Signature(format!("the sweep wants {want}, not {got}")));
        }
        let lengths = || replaced.iter().map(|v| v.len()).chain(read.iter().map(|v| v.len()));
        let len = lengths().next().unwrap_or(0);
        let lengths = lengths();
        if let Some((index, got)) = lengths.enumerate().find(|&(_, got)| got != len) {
            return Err(Error::Length { what: "vector", index, got, want: len });
        }
        for (arg, vector) in self.args.iter_mut().zip(replaced.iter_mut()) {
            *arg = Lanes::vector(vector.as_mut_ptr());
        }
        let values = self.code.inputs.iter().map(|&input| match input.checked_sub(first + more) {
            Some(scalar) => Ok(scalars[scalar]),
            None => Err(read[input - first].as_ptr().cast_mut()),
        });
        let constants = self.code.constants.iter().map(|&value| Ok(T::from_f64(value)));
        let given = self.args[self.code.results..].iter_mut().zip(&mut self.same);
        for ((arg, same), value) in given.zip(values.chain(constants)) {
            *arg = match value {
                Err(at) => Lanes::vector(at),
                Ok(value) => {
                    same.0 = [value; STEP];
                    Lanes::same(same.0.as_mut_ptr())
                }
            };
        }
        let Sweep { simd, code, args, rooms, totals, .. } = self;
        // From where the first vector is at a whole step of memory: large ones mostly lie alike. Sums have the same blocks wherever.
        let head = if totals.is_empty() { replaced[0].as_ptr().align_offset(STEP * size_of::<T>()) } else { 0 };
        let head = if head < STEP { head.min(len) } else { 0 };
        let threads = if len < SHARED { 1 } else { rooms.len() };
        let share = (len - head).div_ceil(threads).next_multiple_of(BLOCK);
        let rooms = &mut rooms[..(len - head).div_ceil(share.max(1)).max(1)];
        let range = |part: usize| {
            let from = if part == 0 { 0 } else { head + part * share };
            from..len.min(head + part * share + share)
        };
        let part = |part: usize, room: &mut Room<T>| {
            let Range { start, end } = range(part);
            let head = if part == 0 { head } else { 0 };
            room.begin(code, args, first);
            room.step(*simd, code, args, start..start + head);
            room.run(*simd, code, args, start + head..end);
        };
        Team::gather(rooms.len(), 0, &mut |team| team.parts(rooms, part));
        // Block by block, whoever had it.
        totals.fill(0.0);
        let each = totals.len().max(1);
        for sums in rooms.iter().flat_map(|room| room.sums.chunks(each)) {
            totals.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
        }
        Ok(totals)
    }
}

impl<T: Real> Room<T> {
    /// To be called before anything is run: where what is not a vector lies.
    fn begin(&mut self, code: &Code, args: &[Lanes<T>; ARGS], replaced: usize) {
        self.args.copy_from_slice(args);
        let places = (replaced..code.results).chain(code.given()..);
        // From the rooms' beginnings, which stay good whoever looks at their elements between.
        let (local, block) = (self.locals.as_mut_ptr(), self.blocks.as_mut_ptr());
        let locals = (0..self.locals.len()).map(|at| Lanes::local(local.wrapping_add(at).cast()));
        let blocks = (0..self.blocks.len()).map(|at| Lanes::vector(block.wrapping_add(at).cast()));
        places.zip(locals.chain(blocks)).for_each(|(place, lanes)| self.args[place] = lanes);
        self.sums.clear();
    }

    /// Runs the body over a range of elements, a block at a time.
    #[allow(unsafe_code)]
    fn run(&mut self, simd: Simd, code: &Code, args: &[Lanes<T>; ARGS], range: Range<usize>) {
        let vectors = code.results + code.inputs.len();
        let summed = self.locals.len() - code.kept()[0];
        self.sums.reserve(summed * range.len().div_ceil(BLOCK));
        for start in range.clone().step_by(BLOCK) {
            let len = BLOCK.min(range.end - start);
            let whole = len / STEP * STEP;
            for (to, arg) in self.args.iter_mut().zip(args).take(vectors).filter(|(_, arg)| arg.is_vector()) {
                to.at = arg.at.wrapping_add(start);
            }
            let first = self.sums.len();
            self.locals[..summed].iter_mut().for_each(|local| local.0.fill(T::zero()));
            // SAFETY: `Sweep::run` checked that all vectors hold the range, which no other thread has; each is replaced once what lies
            // there was read.
            unsafe { stretches(simd, code, &self.args, 0..whole, whole) };
            for local in &self.locals[..summed] {
                let mut lanes = [0.0; LANES];
                T::add_up(simd, &local.0, &mut lanes);
                self.sums.push(halve(lanes, |x, y| x + y));
            }
            if whole == len {
                continue;
            }
            self.locals[..summed].iter_mut().for_each(|local| local.0.fill(T::zero()));
            self.step(simd, code, args, start + whole..start + len);
            for (sum, local) in self.sums[first..].iter_mut().zip(&self.locals) {
                *sum += local.0[..len - whole].iter().map(|&x| x.to_f64()).sum::<f64>();
            }
        }
    }

    /// The same for less than a step, which goes through one of its own.
    #[allow(unsafe_code)]
    fn step(&mut self, simd: Simd, code: &Code, args: &[Lanes<T>; ARGS], range: Range<usize>) {
        debug_assert!(range.len() < STEP, "{range:?} is a step or more");
        if range.is_empty() {
            return;
        }
        let given = self.args.iter_mut().zip(&mut self.ends).zip(args);
        for ((arg, end), from) in given.filter(|(_, from)| from.is_vector()) {
            let from = from.at.wrapping_add(range.start);
            // SAFETY: the vectors hold the range, which is shorter than a step.
            unsafe { std::ptr::copy_nonoverlapping(from, end.0.as_mut_ptr(), range.len()) };
            arg.at = end.0.as_mut_ptr();
        }
        // SAFETY: all arguments have a whole step now.
        unsafe { stretches(simd, code, &self.args, 0..STEP, range.len()) };
        for (to, end) in args.iter().zip(&self.ends).take(code.results).filter(|(to, _)| to.is_vector()) {
            // SAFETY: as above.
            unsafe { std::ptr::copy_nonoverlapping(end.0.as_ptr(), to.at.wrapping_add(range.start), range.len()) };
        }
    }
}

/// Where a whole vector or a number lies: slot, offset, whether it is a vector.
type Place = (usize, usize, bool);

/// One body of many: what several maps compute alike is computed once.
struct Joined {
    body: Body,
    /// Registers of what lies in a slot from an offset on.
    known: Vec<(Place, usize)>,
    output: usize,
    len: usize,
}

impl Joined {
    fn of(program: &Program, len: usize) -> Result<Joined, Error> {
        let inputs = program.inputs();
        let mut joined = Joined { body: Body(Vec::new()), known: Vec::new(), output: inputs, len };
        for slot in 1..inputs {
            let register = joined.register(Instr::Load(slot - 1));
            joined.know((slot, 0, true), register);
        }
        for (at, command) in program.commands().iter().enumerate() {
            let Command::Map(nest) = command else {
                return Err(Error::Command { command: at, why: "a sweep has only elementwise commands".into() });
            };
            joined.take(program, nest).map_err(|why| Error::Command { command: at, why })?;
        }
        Ok(joined)
    }

    /// The body, and the registers of so many results.
    fn finish(self, results: usize) -> Result<(Body, Vec<usize>), Error> {
        let result = |result: usize| self.known((self.output, result * self.len, true));
        let results: Option<Vec<usize>> = (0..results).map(result).collect();
        let results = results.ok_or_else(|| Error::Signature("a sweep writes each of its results whole".into()))?;
        let count = self.body.room(&self.body.live(&results));
        if count > MOST_INSTRUCTIONS {
            let why = format!("a sweep has at most {MOST_INSTRUCTIONS} instructions, not {count}");
            return Err(Error::Signature(why));
        }
        Ok((self.body, results))
    }

    /// Takes the instructions of a map over whole vectors, or of numbers.
    fn take(&mut self, program: &Program, nest: &Nest) -> Result<(), String> {
        let count: usize = nest.dims.iter().product();
        let len = self.len;
        // A step of 1 runs through a vector, none stays with a number.
        let place = |view: &View| {
            let steps =
                || view.strides.iter().zip(&nest.dims).filter(|&(_, &extent)| extent > 1).map(|(&step, _)| step);
            match count {
                1 => Ok((view.slot, view.offset, false)),
                _ if steps().all(|step| step == 0) => Ok((view.slot, view.offset, false)),
                _ if count == len && steps().all(|step| step == 1) => Ok((view.slot, view.offset, true)),
                _ => Err("a sweep's vectors are read and written whole, its numbers one by one"),
            }
        };
        let mut inputs = Vec::new();
        for view in &nest.inputs {
            let place = place(view)?;
            let first = match (&program.slots()[view.slot], place) {
                // Numbers and constants have registers once they are read.
                (Slot::Input(_), (0, at, false)) => Some(self.register(Instr::Load(program.inputs() - 1 + at))),
                (Slot::Constant(values), (_, at, false)) => Some(self.register(Instr::Const(values[at]))),
                _ => self.known(place),
            };
            inputs.push(first.ok_or("nothing is known to be read here")?);
        }
        let mut registers: Vec<usize> = Vec::new();
        for instr in &nest.body.0 {
            registers.push(match *instr {
                Instr::Load(input) => inputs[input],
                instr => self.register(instr.renamed(|register| registers[register], |input| input)),
            });
        }
        if let Some(&result) = registers.last() {
            self.know(place(&nest.out)?, result);
        }
        Ok(())
    }

    /// A register that holds what an instruction computes.
    fn register(&mut self, instr: Instr) -> usize {
        let code = &mut self.body.0;
        let same = |other: &Instr| match (*other, instr) {
            (Instr::Const(a), Instr::Const(b)) => a.to_bits() == b.to_bits(),
            (a, b) => a == b,
        };
        code.iter().position(same).unwrap_or_else(|| {
            code.push(instr);
            code.len() - 1
        })
    }

    fn known(&self, place: Place) -> Option<usize> {
        self.known.iter().find(|(known, _)| *known == place).map(|&(_, register)| register)
    }

    fn know(&mut self, place: Place, register: usize) {
        let range = |(_, from, is_vector): Place| from..from + if is_vector { self.len } else { 1 };
        // What lay there, or in part there, is no more.
        let new = range(place);
        let apart = |old: Place| old.0 != place.0 || range(old).end <= new.start || new.end <= range(old).start;
        let known = self.known.iter().copied().filter(|&(old, _)| apart(old)).chain([(place, register)]).collect();
        self.known = known;
    }
}
