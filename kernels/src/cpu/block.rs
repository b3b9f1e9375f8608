//! A body evaluated over a block of lanes: every instruction is a loop over vectors.

use super::pack::copy;
use crate::body::REGISTERS;
use crate::{Body, Instr, Real};

/// Elements worked on at once; also the block within which sums stay in the type of the buffers.
pub(super) const BLOCK: usize = 256;

/// Lanes of the loops' steps: blocks are computed in whole ones, so that no loop has a remainder.
pub(super) const STEP: usize = 16;

/// One block a register.
#[derive(Debug, Clone)]
pub(super) struct Registers<O> {
    blocks: Vec<[O; BLOCK]>,
}

/// Where the lanes of an input lie.
#[derive(Clone, Copy)]
pub(super) struct Lanes<'d, T> {
    /// From the first lane on.
    pub data: &'d [T],
    pub step: usize,
}

impl<O: Real> Registers<O> {
    pub fn new(count: usize) -> Registers<O> {
        Registers { blocks: vec![[O::zero(); BLOCK]; count] }
    }

    pub fn bytes(&self) -> usize {
        size_of_val(&self.blocks[..])
    }

    /// Runs the body over `len` lanes; the result is the last register, in whole steps: lanes beyond `len` mean nothing.
    #[inline(always)]
    pub fn eval<'r, T: Real>(
        &'r mut self,
        body: &Body,
        len: usize,
        load: impl Fn(usize) -> Lanes<'r, T>,
    ) -> &'r [[O; STEP]] {
        let steps = len.div_ceil(STEP);
        let mut done: [&'r [[O; STEP]]; REGISTERS] = [&[]; REGISTERS];
        let mut last = 0;
        for ((at, instr), block) in body.0.iter().enumerate().zip(&mut self.blocks) {
            let (to, _) = block.as_chunks_mut::<STEP>();
            let to = &mut to[..steps];
            match *instr {
                Instr::Load(input) => {
                    let lanes = load(input);
                    // What lies side by side in whole steps is read in place.
                    if let (1, true, Some(data)) = (lanes.step, len.is_multiple_of(STEP), T::same::<O>(lanes.data)) {
                        done[at] = data[..len].as_chunks::<STEP>().0;
                        last = at;
                        continue;
                    }
                    gather(lanes, &mut to.as_flattened_mut()[..len]);
                }
                Instr::Const(value) => to.fill([O::narrow(value); STEP]),
                Instr::Apply(scalar, a) => {
                    to.copy_from_slice(done[a]);
                    O::apply(scalar, &mut to.as_flattened_mut()[..len]);
                }
                Instr::Add(a, b) => zip(to, done[a], done[b], |x, y| x + y),
                Instr::Mul(a, b) => zip(to, done[a], done[b], |x, y| x * y),
                Instr::Compare(how, a, b) => {
                    zip(to, done[a], done[b], |x, y| if how.holds(x, y) { O::one() } else { O::zero() });
                }
                Instr::Select(mask, a, b) => {
                    let sides = done[a].iter().zip(done[b]);
                    for ((to, mask), (a, b)) in to.iter_mut().zip(done[mask]).zip(sides) {
                        for lane in 0..STEP {
                            to[lane] = if mask[lane] != O::zero() { a[lane] } else { b[lane] };
                        }
                    }
                }
            }
            done[at] = to;
            last = at;
        }
        done[last]
    }
}

#[inline(always)]
fn zip<O: Real>(to: &mut [[O; STEP]], a: &[[O; STEP]], b: &[[O; STEP]], f: impl Fn(O, O) -> O) {
    for ((to, a), b) in to.iter_mut().zip(a).zip(b) {
        for lane in 0..STEP {
            to[lane] = f(a[lane], b[lane]);
        }
    }
}

/// Copies lanes, in the type of the output: what is wanted in f64 is computed in f64.
#[inline(always)]
fn gather<T: Real, O: Real>(lanes: Lanes<'_, T>, to: &mut [O]) {
    let convert = |v: T| O::narrow(v.wide());
    match (lanes.step, T::same::<O>(lanes.data)) {
        (0, _) => to.fill(convert(lanes.data[0])),
        (1, Some(data)) => copy(to, data),
        (1, None) => to.iter_mut().zip(lanes.data).for_each(|(to, &v)| *to = convert(v)),
        (2, Some(data)) => {
            // Pairs of vectors, of which every other element is taken.
            let (whole, rest) = to.as_chunks_mut::<STEP>();
            let (pairs, _) = data.as_chunks::<{ 2 * STEP }>();
            let mut filled = 0;
            for (to, from) in whole.iter_mut().zip(pairs) {
                for lane in 0..STEP {
                    to[lane] = from[2 * lane];
                }
                filled += STEP;
            }
            let left = whole[filled / STEP..].as_flattened_mut().iter_mut().chain(rest);
            left.zip(data[2 * filled..].iter().step_by(2)).for_each(|(to, &v)| *to = v);
        }
        (step, _) => to.iter_mut().zip(lanes.data.iter().step_by(step)).for_each(|(to, &v)| *to = convert(v)),
    }
}

/// Sum of `len` lanes, in their own type, in sixteen fixed lanes.
#[inline(always)]
pub(super) fn sum<O: Real>(values: &[[O; STEP]], len: usize) -> f64 {
    let mut sums = [O::zero(); STEP];
    let (whole, rest) = values.split_at(len / STEP);
    for step in whole {
        for lane in 0..STEP {
            sums[lane] += step[lane];
        }
    }
    if let Some(step) = rest.first() {
        sums.iter_mut().zip(&step[..len % STEP]).for_each(|(sum, &v)| *sum += v);
    }
    halve(sums, |a, b| a + b).wide()
}

/// The largest of `len` lanes, or the NaN among them.
#[inline(always)]
pub(super) fn largest<O: Real>(values: &[[O; STEP]], len: usize) -> f64 {
    let mut most = [O::neg_infinity(); STEP];
    let (whole, rest) = values.split_at(len / STEP);
    for step in whole {
        for lane in 0..STEP {
            most[lane] = larger(most[lane], step[lane]);
        }
    }
    if let Some(step) = rest.first() {
        most.iter_mut().zip(&step[..len % STEP]).for_each(|(most, &v)| *most = larger(*most, v));
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
