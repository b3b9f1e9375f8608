//! A body evaluated over a block of lanes: every instruction is a loop over vectors.

use super::pack::copy;
use super::simd::Simd;
use super::walk::{Patch, Path};
use crate::body::REGISTERS;
use crate::{Body, Comparison, Instr, Real};

/// Elements worked on at once; also the block within which sums stay in the type of the buffers.
pub(super) const BLOCK: usize = 256;

/// Lanes of the loops' steps: blocks are computed in whole ones, so that no loop has a remainder.
pub(super) const STEP: usize = 16;

/// One block a register.
#[derive(Debug, Clone)]
pub(super) struct Registers<O> {
    simd: Simd,
    blocks: Vec<[O; BLOCK]>,
}

/// Where the lanes of an input lie.
#[derive(Clone, Copy)]
pub(super) struct Lanes<'d, T> {
    /// From the first lane on.
    pub data: &'d [T],
    /// From one row to the next.
    pub row: usize,
    pub lane: usize,
    /// Offsets of all lanes, if they are not evenly spaced; else empty.
    pub table: &'d [u32],
}

impl<'d, T: Real> Lanes<'d, T> {
    /// Of a path, from an offset on.
    #[inline(always)]
    pub fn new(data: &'d [T], path: &'d Path, patch: Patch) -> Lanes<'d, T> {
        let table = if path.table.is_empty() { &[] } else { &path.table[patch.first..patch.first + patch.len()] };
        Lanes { data, row: path.row, lane: path.lane, table }
    }
}

impl<O: Real> Registers<O> {
    /// For bodies of so many instructions.
    pub fn new(simd: Simd, count: usize) -> Registers<O> {
        // One more for a result that is the same in every lane.
        let count = if count == 0 { 0 } else { count + 1 };
        Registers { simd, blocks: vec![[O::zero(); BLOCK]; count] }
    }

    pub fn bytes(&self) -> usize {
        size_of_val(&self.blocks[..])
    }

    /// Runs the body over a patch; the result is the last register, in whole steps: lanes beyond the patch mean nothing.
    ///
    /// Plain loops over slices of one length: closures might not be inlined, and then not be compiled for the instruction set;
    /// chunks of lanes would be gathered.
    #[inline(always)]
    pub fn eval<'r, T: Real>(&'r mut self, body: &Body, patch: Patch, load: impl Fn(usize) -> Lanes<'r, T>) -> &'r [O] {
        use Value::{Block, Same};
        let len = patch.len();
        let whole = len.next_multiple_of(STEP);
        let mut done: [Value<'r, O>; REGISTERS] = [Same(O::zero()); REGISTERS];
        let last = body.0.len() - 1;
        let (blocks, spare) = self.blocks.split_at_mut(body.0.len());
        for ((at, instr), block) in body.0.iter().enumerate().zip(blocks) {
            macro_rules! lanes {
                // One loop for each combination of blocks and numbers.
                ($a:expr, $b:expr, |$x:ident, $y:ident| $value:expr) => {
                    match (done[$a], done[$b]) {
                        (Same($x), Same($y)) => Same($value),
                        (Block(a), Same($y)) => {
                            let to = &mut block[..whole];
                            for (to, &$x) in to.iter_mut().zip(a) {
                                *to = $value;
                            }
                            Block(to)
                        }
                        (Same($x), Block(b)) => {
                            let to = &mut block[..whole];
                            for (to, &$y) in to.iter_mut().zip(b) {
                                *to = $value;
                            }
                            Block(to)
                        }
                        (Block(a), Block(b)) => {
                            let to = &mut block[..whole];
                            for ((to, &$x), &$y) in to.iter_mut().zip(a).zip(b) {
                                *to = $value;
                            }
                            Block(to)
                        }
                    }
                };
            }
            let value = match *instr {
                Instr::Load(input) => match load(input) {
                    Lanes { data, table: [], row, lane: 0 } if row == 0 || patch.rows == 1 => {
                        Same(O::narrow(data[0].wide()))
                    }
                    lanes => Block(loaded(self.simd, lanes, patch, block)),
                },
                Instr::Const(value) => Same(O::narrow(value)),
                Instr::Apply(scalar, a) => match done[a] {
                    Same(value) => {
                        let mut value = [value];
                        O::apply(scalar, self.simd, &mut value);
                        Same(value[0])
                    }
                    Block(a) => {
                        let to = &mut block[..whole];
                        to.copy_from_slice(a);
                        O::apply(scalar, self.simd, &mut to[..len]);
                        Block(to)
                    }
                },
                Instr::Add(a, b) => lanes!(a, b, |x, y| x + y),
                Instr::Mul(a, b) => lanes!(a, b, |x, y| x * y),
                Instr::Compare(Comparison::Less, a, b) => lanes!(a, b, |x, y| truth(x < y)),
                Instr::Compare(Comparison::LessEqual, a, b) => lanes!(a, b, |x, y| truth(x <= y)),
                Instr::Compare(Comparison::Equal, a, b) => lanes!(a, b, |x, y| truth(x == y)),
                Instr::Select(mask, a, b) => match done[mask] {
                    Same(mask) => done[if mask != O::zero() { a } else { b }],
                    Block(mask) => {
                        let to = &mut block[..whole];
                        // The one where the mask is zero, then the other over it.
                        match done[b] {
                            Same(b) => to.fill(b),
                            Block(b) => to.copy_from_slice(b),
                        }
                        match done[a] {
                            Same(a) => {
                                for (to, &mask) in to.iter_mut().zip(mask) {
                                    *to = if mask != O::zero() { a } else { *to };
                                }
                            }
                            Block(a) => {
                                for ((to, &mask), &a) in to.iter_mut().zip(mask).zip(a) {
                                    *to = if mask != O::zero() { a } else { *to };
                                }
                            }
                        }
                        Block(to)
                    }
                },
            };
            done[at] = value;
        }
        match done[last] {
            Block(block) => block,
            Same(value) => {
                spare[0][..whole].fill(value);
                &spare[0][..whole]
            }
        }
    }
}

/// 1 or 0.
#[inline(always)]
fn truth<O: Real>(holds: bool) -> O {
    if holds { O::one() } else { O::zero() }
}

/// What a register holds.
#[derive(Clone, Copy)]
enum Value<'r, O> {
    Block(&'r [O]),
    /// The same number in every lane.
    Same(O),
}

/// The lanes of an input: in place where they lie side by side in whole steps, else copied.
#[inline(always)]
fn loaded<'r, T: Real, O: Real>(simd: Simd, lanes: Lanes<'r, T>, patch: Patch, block: &'r mut [O; BLOCK]) -> &'r [O] {
    let len = patch.len();
    if !lanes.table.is_empty() {
        listed(lanes.data, lanes.table, block);
        return &block[..len.next_multiple_of(STEP)];
    }
    let joined = patch.rows == 1 || lanes.row == patch.lanes * lanes.lane;
    if let (1, true, true, Some(data)) = (lanes.lane, joined, len.is_multiple_of(STEP), T::same::<O>(lanes.data)) {
        return &data[..len];
    }
    let (rows, width) = if joined { (1, len) } else { (patch.rows, patch.lanes) };
    for row in 0..rows {
        gather(simd, &lanes.data[row * lanes.row..], lanes.lane, width, &mut block[row * width..]);
    }
    &block[..len.next_multiple_of(STEP)]
}

/// Copies lanes from wherever the table says.
#[inline(always)]
fn listed<T: Real, O: Real>(data: &[T], table: &[u32], to: &mut [O]) {
    match T::same::<O>(data) {
        Some(data) => {
            for (to, &from) in to.iter_mut().zip(table) {
                *to = data[from as usize];
            }
        }
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
            for at in (0..len).step_by(STEP) {
                match (data[at..].first_chunk::<STEP>(), to[at..].first_chunk_mut::<STEP>()) {
                    (Some(data), Some(to)) => *to = *data,
                    _ => copy(&mut to[at..len], &data[at..]),
                }
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

/// Sum of lanes, in their own type, in sixteen fixed lanes.
#[inline(always)]
pub(super) fn sum<O: Real>(values: &[O]) -> f64 {
    let mut sums = [O::zero(); STEP];
    let (whole, rest) = values.as_chunks::<STEP>();
    for step in whole {
        for lane in 0..STEP {
            sums[lane] += step[lane];
        }
    }
    for (sum, &v) in sums.iter_mut().zip(rest) {
        *sum += v;
    }
    halve(sums, |a, b| a + b).wide()
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
pub(super) fn halve<O: Real>(mut lanes: [O; STEP], join: impl Fn(O, O) -> O) -> O {
    let mut width = STEP;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            lanes[lane] = join(lanes[lane], lanes[lane + width]);
        }
    }
    lanes[0]
}
