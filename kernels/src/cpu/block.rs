//! A body evaluated over a block of lanes: every instruction is a loop over vectors.

use super::Source;
use super::pack::copy;
use super::simd::Simd;
use super::walk::{Patch, Path};
use crate::body::REGISTERS;
use crate::{Body, Comparison, Instr, Real};

/// Elements worked on at once: enough to be worth the walk, few enough for a body's blocks to stay in the first cache.
pub(super) const BLOCK: usize = 512;

/// Lanes of the loops' steps: blocks are computed in whole ones, so that no loop has a remainder.
pub(super) const STEP: usize = 16;

/// One block a register.
#[derive(Debug, Clone)]
pub(super) struct Registers<O> {
    simd: Simd,
    blocks: Vec<Block<O>>,
    /// What the blocks of loads hold of inputs whose rows are all alike.
    held: [Held; REGISTERS],
}

/// Rows that a block holds, and where they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    from: usize,
    rows: usize,
}

impl Held {
    const NONE: Held = Held { from: 0, rows: 0 };
}

/// The lanes of a register, in whole cache lines.
#[derive(Debug, Clone)]
#[repr(align(64))]
struct Block<O>([O; BLOCK]);

/// Where the lanes of an input lie.
#[derive(Clone, Copy)]
struct Lanes<'d, T> {
    /// From the first lane on.
    data: &'d [T],
    /// Where that is in its slot.
    from: usize,
    /// From one row to the next.
    row: usize,
    lane: usize,
    /// Offsets of all lanes, if they are not evenly spaced; else empty.
    table: &'d [u32],
}

/// What a body's inputs are: paths, and where each starts, in two parts that are added.
#[derive(Clone, Copy)]
pub(super) struct Reads<'d, T> {
    pub source: Source<'d, T>,
    pub paths: &'d [Path],
    pub from: &'d [usize],
    pub along: &'d [usize],
}

impl<'d, T: Real> Reads<'d, T> {
    #[inline(always)]
    fn lanes(self, input: usize, patch: Patch) -> Lanes<'d, T> {
        let path = &self.paths[input];
        let from = self.from[input] + self.along[input];
        let data = &self.source.slot(path.slot)[from..];
        let len = if path.row == 0 { patch.lanes } else { patch.len() };
        let table = if path.table.is_empty() { &[] } else { &path.table[patch.first..patch.first + len] };
        Lanes { data, from, row: path.row, lane: path.lane, table }
    }
}

impl<O: Real> Registers<O> {
    /// For bodies of so many instructions.
    pub fn new(simd: Simd, count: usize) -> Registers<O> {
        // One more for a result that is the same in every lane.
        let count = if count == 0 { 0 } else { count + 1 };
        Registers { simd, blocks: vec![Block([O::zero(); BLOCK]); count], held: [Held::NONE; REGISTERS] }
    }

    /// To be called before a nest is walked: what blocks hold is another's.
    pub fn begin(&mut self) {
        self.held = [Held::NONE; REGISTERS];
    }

    pub fn bytes(&self) -> usize {
        size_of_val(&self.blocks[..])
    }

    /// Runs the body over a patch; lanes of the result beyond the patch mean nothing.
    #[inline(always)]
    pub fn eval<'r, T: Real>(&'r mut self, body: &Body, patch: Patch, reads: Reads<'r, T>) -> &'r [O] {
        let whole = patch.len().next_multiple_of(STEP);
        let (blocks, spare) = self.blocks.split_at_mut(body.0.len());
        let to = &mut spare[0].0[..whole];
        match through(self.simd, blocks, &mut self.held, body, patch, reads, to) {
            Made::Written => to,
            Made::Elsewhere(Value::Block(block)) => block,
            Made::Elsewhere(Value::Same(value)) => {
                to.fill(value);
                to
            }
        }
    }

    /// The same, straight to where it is wanted.
    #[inline(always)]
    pub fn eval_into<T: Real>(&mut self, body: &Body, patch: Patch, reads: Reads<'_, T>, to: &mut [O]) {
        match through(self.simd, &mut self.blocks, &mut self.held, body, patch, reads, to) {
            Made::Written => {}
            Made::Elsewhere(Value::Block(block)) => copy(to, block),
            Made::Elsewhere(Value::Same(value)) => to.fill(value),
        }
    }
}

/// All instructions, the last of them to `to`.
#[inline(always)]
fn through<'r, T: Real, O: Real>(
    simd: Simd,
    blocks: &'r mut [Block<O>],
    held: &mut [Held; REGISTERS],
    body: &Body,
    patch: Patch,
    reads: Reads<'r, T>,
    to: &mut [O],
) -> Made<'r, O> {
    let whole = patch.len().next_multiple_of(STEP);
    let mut done: [Value<'r, O>; REGISTERS] = [Value::Same(O::zero()); REGISTERS];
    let (last, others) = match body.0.split_last() {
        Some(split) => split,
        None => return Made::Elsewhere(Value::Same(O::zero())), // refused by `Program::new`
    };
    for ((done_at, instr), Block(block)) in (0..).zip(others).zip(blocks) {
        done[done_at] = match *instr {
            Instr::Load(input) => loaded(simd, reads.lanes(input, patch), patch, &mut held[done_at], block),
            _ => {
                let to = &mut block[..whole];
                match computed(simd, instr, &done, to) {
                    Made::Written => Value::Block(to),
                    Made::Elsewhere(value) => value,
                }
            }
        };
    }
    match *last {
        Instr::Load(input) => reads.lanes(input, patch).into(simd, patch, to),
        _ => computed(simd, last, &done, to),
    }
}

/// What an instruction came to.
enum Made<'r, O> {
    /// It is where it was to go.
    Written,
    Elsewhere(Value<'r, O>),
}

/// What a register holds.
#[derive(Clone, Copy)]
enum Value<'r, O> {
    Block(&'r [O]),
    /// The same number in every lane.
    Same(O),
}

/// One instruction that is no load, on as many lanes as `to` has.
///
/// Plain loops over slices of one length: closures might not be inlined, and then not be compiled for the instruction set; chunks of
/// lanes would be gathered.
#[inline(always)]
fn computed<'r, O: Real>(simd: Simd, instr: &Instr, done: &[Value<'r, O>; REGISTERS], to: &mut [O]) -> Made<'r, O> {
    use Value::{Block, Same};
    macro_rules! lanes {
        // One loop for each combination of blocks and numbers.
        ($a:expr, $b:expr, |$x:ident, $y:ident| $value:expr) => {
            match (done[$a], done[$b]) {
                (Same($x), Same($y)) => return Made::Elsewhere(Same($value)),
                (Block(a), Same($y)) => {
                    for (to, &$x) in to.iter_mut().zip(a) {
                        *to = $value;
                    }
                }
                (Same($x), Block(b)) => {
                    for (to, &$y) in to.iter_mut().zip(b) {
                        *to = $value;
                    }
                }
                (Block(a), Block(b)) => {
                    for ((to, &$x), &$y) in to.iter_mut().zip(a).zip(b) {
                        *to = $value;
                    }
                }
            }
        };
    }
    match *instr {
        Instr::Load(_) => {} // the caller's
        Instr::Const(value) => return Made::Elsewhere(Same(O::narrow(value))),
        Instr::Apply(scalar, a) => match done[a] {
            Same(value) => {
                let mut value = [value];
                O::apply(scalar, simd, &mut value);
                return Made::Elsewhere(Same(value[0]));
            }
            Block(a) => {
                for (to, &a) in to.iter_mut().zip(a) {
                    *to = a;
                }
                O::apply(scalar, simd, to);
            }
        },
        Instr::Add(a, b) => lanes!(a, b, |x, y| x + y),
        Instr::Mul(a, b) => lanes!(a, b, |x, y| x * y),
        Instr::Compare(Comparison::Less, a, b) => lanes!(a, b, |x, y| truth(x < y)),
        Instr::Compare(Comparison::LessEqual, a, b) => lanes!(a, b, |x, y| truth(x <= y)),
        Instr::Compare(Comparison::Equal, a, b) => lanes!(a, b, |x, y| truth(x == y)),
        Instr::Select(mask, a, b) => {
            let mask = match done[mask] {
                Same(mask) => return Made::Elsewhere(done[if mask != O::zero() { a } else { b }]),
                Block(mask) => mask,
            };
            match (done[a], done[b]) {
                (Same(a), Same(b)) => {
                    for (to, &mask) in to.iter_mut().zip(mask) {
                        *to = if mask != O::zero() { a } else { b };
                    }
                }
                (Block(a), Same(b)) => {
                    for ((to, &mask), &a) in to.iter_mut().zip(mask).zip(a) {
                        *to = if mask != O::zero() { a } else { b };
                    }
                }
                (Same(a), Block(b)) => {
                    for ((to, &mask), &b) in to.iter_mut().zip(mask).zip(b) {
                        *to = if mask != O::zero() { a } else { b };
                    }
                }
                (Block(a), Block(b)) => {
                    for (((to, &mask), &a), &b) in to.iter_mut().zip(mask).zip(a).zip(b) {
                        *to = if mask != O::zero() { a } else { b };
                    }
                }
            }
        }
    }
    Made::Written
}

/// 1 or 0.
#[inline(always)]
fn truth<O: Real>(holds: bool) -> O {
    if holds { O::one() } else { O::zero() }
}

/// The lanes of an input, as they lie if they can be read so, else copied; rows that are all alike are copied once as long as they are
/// the same.
#[inline(always)]
fn loaded<'r, T: Real, O: Real>(
    simd: Simd,
    lanes: Lanes<'r, T>,
    patch: Patch,
    held: &mut Held,
    block: &'r mut [O; BLOCK],
) -> Value<'r, O> {
    let whole = patch.len().next_multiple_of(STEP);
    let alike = lanes.row == 0 && patch.rows > 1;
    if alike && held.from == lanes.from && held.rows >= patch.rows {
        return Value::Block(&block[..whole]);
    }
    match lanes.into(simd, patch, block) {
        Made::Written => {
            *held = if alike { Held { from: lanes.from, rows: patch.rows } } else { Held::NONE };
            Value::Block(&block[..whole])
        }
        Made::Elsewhere(value) => value,
    }
}

impl<'d, T: Real> Lanes<'d, T> {
    /// Copies them, unless they are one number or lie side by side.
    #[inline(always)]
    fn into<O: Real>(self, simd: Simd, patch: Patch, to: &mut [O]) -> Made<'d, O> {
        if self.row != 0 || patch.rows == 1 || (self.lane == 0 && self.table.is_empty()) {
            return self.rows(simd, patch, to);
        }
        // One row, over and over.
        match self.rows(simd, Patch { rows: 1, ..patch }, to) {
            Made::Elsewhere(Value::Block(row)) => copy(&mut to[..patch.lanes], row),
            Made::Elsewhere(Value::Same(value)) => to[..patch.lanes].fill(value),
            Made::Written => {}
        }
        let (row, rest) = to[..patch.len()].split_at_mut(patch.lanes);
        for next in rest.chunks_exact_mut(patch.lanes) {
            copy(next, row);
        }
        Made::Written
    }

    /// The same of rows that need not be alike.
    #[inline(always)]
    fn rows<O: Real>(self, simd: Simd, patch: Patch, to: &mut [O]) -> Made<'d, O> {
        let (lanes, len) = (self, patch.len());
        if !lanes.table.is_empty() {
            listed(simd, lanes.data, lanes.table, to);
            return Made::Written;
        }
        if lanes.lane == 0 && (lanes.row == 0 || patch.rows == 1) {
            return Made::Elsewhere(Value::Same(O::narrow(lanes.data[0].wide())));
        }
        let joined = patch.rows == 1 || lanes.row == patch.lanes * lanes.lane;
        // Whole steps, if there are as many elements: lanes beyond the patch mean nothing.
        let whole = lanes.data.get(..len.next_multiple_of(STEP)).and_then(T::same::<O>);
        if let (1, true, Some(whole)) = (lanes.lane, joined, whole) {
            return Made::Elsewhere(Value::Block(whole));
        }
        let (rows, width) = if joined { (1, len) } else { (patch.rows, patch.lanes) };
        for row in 0..rows {
            gather(simd, &lanes.data[row * lanes.row..], lanes.lane, width, &mut to[row * width..]);
        }
        Made::Written
    }
}

/// Copies lanes from wherever the table says.
#[inline(always)]
fn listed<T: Real, O: Real>(simd: Simd, data: &[T], table: &[u32], to: &mut [O]) {
    match T::same::<O>(data) {
        Some(data) => O::listed(simd, data, table, to),
        None => {
            for (to, &from) in to.iter_mut().zip(table) {
                *to = O::narrow(data[from as usize].wide());
            }
        }
    }
}

/// Copies a row of lanes, in the type of the output: what is wanted in f64 is computed in f64. Whole steps are written where there
/// is room, since what comes after is written later.
#[inline(always)]
fn gather<T: Real, O: Real>(simd: Simd, data: &[T], step: usize, len: usize, to: &mut [O]) {
    match (step, T::same::<O>(data)) {
        (0, _) => to[..len].fill(O::narrow(data[0].wide())),
        (1, Some(data)) => {
            let ((whole, rest), (to_whole, to_rest)) = (data[..len].as_chunks::<STEP>(), to.as_chunks_mut::<STEP>());
            for (to, from) in to_whole.iter_mut().zip(whole) {
                *to = *from;
            }
            if rest.is_empty() {
                return;
            }
            match (data[len - rest.len()..].first_chunk::<STEP>(), to_whole.get_mut(whole.len())) {
                (Some(from), Some(to)) => *to = *from,
                (None, Some(to)) => copy(&mut to[..rest.len()], rest),
                (_, None) => copy(&mut to_rest[..rest.len()], rest),
            }
        }
        (1, None) => {
            for (to, &v) in to[..len].iter_mut().zip(data) {
                *to = O::narrow(v.wide());
            }
        }
        (2, Some(data)) => {
            for at in (0..len).step_by(STEP) {
                match (data[2 * at..].first_chunk::<{ 2 * STEP }>(), to[at..].first_chunk_mut::<STEP>()) {
                    (Some(data), Some(to)) => O::evens(simd, data, to),
                    _ => {
                        for lane in at..len.min(at + STEP) {
                            to[lane] = data[2 * lane];
                        }
                    }
                }
            }
        }
        _ => {
            for (to, &v) in to[..len].iter_mut().zip(data.iter().step_by(step)) {
                *to = O::narrow(v.wide());
            }
        }
    }
}

/// Lanes that a sum has: as many as keep the adders busy.
pub(super) const LANES: usize = 64;

/// Adds values to sums in f64, a few of each lane in their own type first.
#[inline(always)]
pub(super) fn add_up<O: Real>(values: &[O], totals: &mut [f64; LANES]) {
    let mut sums = [O::zero(); LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for step in whole {
        for lane in 0..LANES {
            sums[lane] += step[lane];
        }
    }
    for (sum, &v) in sums.iter_mut().zip(rest) {
        *sum += v;
    }
    for lane in 0..LANES {
        totals[lane] += sums[lane].wide();
    }
}

/// The largest of the lanes, or the NaN among them.
#[inline(always)]
pub(super) fn largest<O: Real>(values: &[O]) -> f64 {
    let mut most = [O::neg_infinity(); STEP];
    let (whole, rest) = values.as_chunks::<STEP>();
    for step in whole {
        for lane in 0..STEP {
            most[lane] = larger(most[lane], step[lane]);
        }
    }
    for (most, &v) in most.iter_mut().zip(rest) {
        *most = larger(*most, v);
    }
    halve(most, larger).wide()
}

/// The larger, or the NaN among them.
#[inline(always)]
pub(super) fn larger<O: Real>(a: O, b: O) -> O {
    if a > b || a.is_nan() { a } else { b }
}

/// Joins lanes, halves to halves.
#[inline(always)]
pub(super) fn halve<O: Real, const N: usize>(mut lanes: [O; N], join: impl Fn(O, O) -> O) -> O {
    let mut width = N;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            lanes[lane] = join(lanes[lane], lanes[lane + width]);
        }
    }
    lanes[0]
}
