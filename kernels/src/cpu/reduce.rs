//! Reductions: lanes along the folded loops, or across the kept ones.

use std::ops::Range;

use super::Source;
use super::block::{BLOCK, LANES, Reads, Registers, add_up, halve, larger, largest};
use super::simd::{Simd, Work};
use super::walk::{Loops, Patch, Path, UNEVEN, Walk, contiguous, lane_cost};
use crate::nest::coalesce;
use crate::{Body, Fold, Nest, Real, View};

/// Terms a lane adds up in the type of the buffers before they go to f64, as many as in a lane of a whole block.
const LANE_TERMS: usize = 16;

/// Blocks run over the kept loops or along the folded ones; which of the two is decided once.
#[derive(Debug, Clone)]
pub(super) struct Reduce {
    body: Body,
    fold: Fold,
    scale: f64,
    kept: Loops,
    folded: Loops,
    /// Strides over the kept loops, and (same order) over the folded ones from offset 0.
    inputs: [Vec<Path>; 2],
    out: Path,
    contiguous: bool,
    across: bool,
}

impl Reduce {
    pub(super) fn new(nest: &Nest, over: &[usize], fold: Fold, scale: f64) -> Reduce {
        let n = nest.dims.len();
        let views: Vec<&View> = nest.inputs.iter().chain([&nest.out]).collect();
        let loops = |dims: &[usize], strides: &[&[usize]], blocks: bool| {
            let (dims, strides) = coalesce(dims, strides);
            let views = &views[..strides.len()];
            Loops::new(dims, strides, views, blocks)
        };
        let outer: Vec<&[usize]> = views.iter().map(|v| &v.strides[..n]).collect();
        let inner: Vec<&[usize]> = nest.inputs.iter().map(|v| &v.strides[n..]).collect();
        let (mut kept, mut from) = loops(&nest.dims, &outer, true);
        let (folded, mut along) = loops(over, &inner, false);
        along.iter_mut().for_each(|path| path.offset = 0);
        // Lanes go where they cost less: along the folded loops, or across the kept ones, which are else walked one by one.
        let cost = |loops: &Loops, paths: &[Path]| {
            let step = |path: &Path| if path.table.is_empty() { path.lane } else { UNEVEN };
            lane_cost(BLOCK.min(loops.rows * loops.lanes), paths.iter().map(step))
        };
        let across = cost(&kept, &from[..along.len()]) < cost(&folded, &along);
        if !across {
            (kept, from) = loops(&nest.dims, &outer, false);
        }
        let out = from.remove(along.len());
        Reduce {
            across,
            body: nest.body.clone(),
            fold,
            scale,
            kept,
            folded,
            inputs: [from, along],
            out,
            contiguous: contiguous(&nest.dims, &nest.out.strides),
        }
    }

    pub(super) fn out_slot(&self) -> usize {
        self.out.slot
    }

    /// Work in elements.
    pub(super) fn work(&self) -> usize {
        self.kept.len() * self.folded.len()
    }

    /// Bytes of what it holds.
    pub(super) fn bytes(&self) -> usize {
        let paths: usize = self.inputs.iter().flatten().chain([&self.out]).map(Path::bytes).sum();
        paths + size_of_val(&self.body.0[..])
    }

    pub(super) fn run<T: Real, O: Real>(
        &self,
        simd: Simd,
        source: Source<'_, T>,
        registers: &mut [Registers<O>],
        out: &mut [O],
    ) {
        let out = &mut out[self.out.offset..];
        let total = self.kept.len();
        if !self.contiguous {
            let registers = &mut registers[0];
            return simd.run(Part { reduce: self, source, registers, range: 0..total, out });
        }
        let out = &mut out[..total];
        let share = total.div_ceil(source.team.threads(self.work()).min(registers.len()));
        let part = |part: usize, registers: &mut Registers<O>, out: &mut [O]| {
            let range = part * share..part * share + out.len();
            simd.run(Part { reduce: self, source, registers, range, out });
        };
        if share == total {
            return part(0, &mut registers[0], out);
        }
        source.team.chunks(out, share, registers, |index, out, registers| part(index, registers, out));
    }

    /// The element whose inputs start at `from`, blocks running along the folded loops.
    #[inline(always)]
    fn along<T: Real, O: Real>(&self, source: Source<'_, T>, registers: &mut Registers<O>, from: &[usize]) -> f64 {
        let paths = &self.inputs[1];
        let (mut walk, mut left) = (Walk::at(&self.folded, 0, paths.iter()), self.folded.len());
        let (mut sums, mut most) = ([0.0; LANES], f64::NEG_INFINITY);
        while left > 0 {
            let patch = walk.patch(left);
            let reads = Reads { source, paths, from, along: &walk.offsets };
            let result = &registers.eval(&self.body, patch, reads)[..patch.len()];
            match self.fold {
                Fold::Sum => add_up(result, &mut sums),
                Fold::Max => most = larger(most, largest(result)),
            }
            left -= patch.len();
            walk.advance(patch, paths.iter());
        }
        match self.fold {
            Fold::Sum => halve(sums, |a, b| a + b),
            Fold::Max => most,
        }
    }

    /// A patch of elements from where inputs start at `from`, one a lane.
    #[inline(always)]
    fn across<T: Real, O: Real>(
        &self,
        source: Source<'_, T>,
        registers: &mut Registers<O>,
        from: &[usize],
        patch: Patch,
        totals: &mut [f64; BLOCK],
    ) {
        let mut block = [if self.fold == Fold::Sum { O::zero() } else { O::neg_infinity() }; BLOCK];
        totals.fill(0.0);
        let paths = &self.inputs[1];
        let one = Patch { rows: 1, first: 0, lanes: 1 };
        let mut walk = Walk::at(&self.folded, 0, paths.iter());
        let count = self.folded.len();
        for index in 1..=count {
            let reads = Reads { source, paths: &self.inputs[0], from, along: &walk.offsets };
            let result = registers.eval(&self.body, patch, reads);
            match self.fold {
                Fold::Sum => {
                    for (block, &value) in block.iter_mut().zip(result) {
                        *block += value;
                    }
                }
                Fold::Max => {
                    for (block, &value) in block.iter_mut().zip(result) {
                        *block = larger(*block, value);
                    }
                }
            }
            // Sums go to f64 before they are long; of maxima only the last does.
            if index == count || self.fold == Fold::Sum && index % LANE_TERMS == 0 {
                for (total, value) in totals.iter_mut().zip(&mut block[..result.len()]) {
                    *total += value.wide();
                    *value = O::zero();
                }
            }
            if index < count {
                walk.advance(one, paths.iter());
            }
        }
    }
}

/// Computes the elements of a range of flat kept indices.
struct Part<'w, T, O> {
    reduce: &'w Reduce,
    source: Source<'w, T>,
    registers: &'w mut Registers<O>,
    range: Range<usize>,
    /// From the first element of the range on if the output is contiguous, else from its first.
    out: &'w mut [O],
}

impl<T: Real, O: Real> Work for Part<'_, T, O> {
    #[inline(always)]
    fn run(self) {
        let Part { reduce, source, registers, range, out } = self;
        let paths = || reduce.inputs[0].iter();
        let mut totals = [0.0; BLOCK];
        let (mut walk, mut at) = (Walk::at(&reduce.kept, range.start, paths()), range.start);
        while at < range.end {
            let patch = match reduce.across {
                true => walk.patch(range.end - at),
                false => Patch { rows: 1, first: 0, lanes: 1 },
            };
            match reduce.across {
                true => reduce.across(source, registers, &walk.offsets, patch, &mut totals),
                false => totals[0] = reduce.along(source, registers, &walk.offsets),
            }
            for (i, &value) in totals[..patch.len()].iter().enumerate() {
                let to = match reduce.contiguous {
                    true => at + i - range.start,
                    false => reduce.out.at(at + i, &reduce.kept) - reduce.out.offset,
                };
                out[to] = O::narrow(reduce.scale * value);
            }
            at += patch.len();
            walk.advance(patch, paths());
        }
    }
}
