//! Reductions: lanes along the folded loops, or across the kept ones.

use rayon::prelude::*;

use super::block::{BLOCK, Lanes, Registers, STEP, larger, largest, sum};
use super::simd::{Simd, Work};
use super::walk::{Path, Walk, contiguous, lane_cost, split};
use super::{PARALLEL, Source};
use crate::nest::coalesce;
use crate::{Body, Fold, Nest, Real, View};

/// Terms a lane adds up in the type of the buffers before they go to f64, as many as in a lane of a whole block.
const LANE_TERMS: usize = 16;

/// Kept loops are split into rows and lanes, folded loops into rows and lanes; which of the two forms the blocks is decided once.
#[derive(Debug, Clone)]
pub(super) struct Reduce {
    body: Body,
    fold: Fold,
    scale: f64,
    kept: Vec<usize>,
    kept_inner: usize,
    folded: Vec<usize>,
    folded_inner: usize,
    /// Strides over the kept loops, and (same order) over the folded ones from offset 0.
    inputs: Vec<(Path, Path)>,
    out: Path,
    contiguous: bool,
    total: usize,
    across: bool,
}

impl Reduce {
    pub(super) fn new(nest: &Nest, over: &[usize], fold: Fold, scale: f64) -> Reduce {
        let n = nest.dims.len();
        let views: Vec<&View> = nest.inputs.iter().chain([&nest.out]).collect();
        let strides: Vec<&[usize]> = views.iter().map(|v| &v.strides[..n]).collect();
        let (mut kept, strides) = coalesce(&nest.dims, &strides);
        let (kept_inner, mut paths) = split(&mut kept, strides, &views);
        let out = paths.remove(paths.len() - 1);
        let strides: Vec<&[usize]> = nest.inputs.iter().map(|v| &v.strides[n..]).collect();
        let (mut folded, strides) = coalesce(over, &strides);
        let (folded_inner, mut rest) = split(&mut folded, strides, &views[..nest.inputs.len()]);
        rest.iter_mut().for_each(|path| path.offset = 0);
        let inputs: Vec<(Path, Path)> = paths.into_iter().zip(rest).collect();
        // Lanes go where they cost less: along the folded loop, or across the kept one.
        let along = lane_cost(folded_inner, inputs.iter().map(|(_, folded)| folded.inner));
        let across = lane_cost(kept_inner, inputs.iter().map(|(kept, _)| kept.inner)) < along;
        Reduce {
            body: nest.body.clone(),
            fold,
            scale,
            kept,
            kept_inner,
            folded,
            folded_inner,
            inputs,
            out,
            contiguous: contiguous(&nest.dims, &nest.out.strides),
            total: nest.dims.iter().product(),
            across,
        }
    }

    pub(super) fn out_slot(&self) -> usize {
        self.out.slot
    }

    pub(super) fn run<T: Real, O: Real>(
        &self,
        simd: Simd,
        source: Source<'_, T>,
        registers: &mut [Registers<O>],
        out: &mut [O],
    ) {
        let out = &mut out[self.out.offset..];
        if !self.contiguous {
            let registers = &mut registers[0];
            return simd.run(Part { reduce: self, source, registers, start: 0, end: self.total, out });
        }
        let out = &mut out[..self.total];
        let work = self.total * self.folded.iter().product::<usize>() * self.folded_inner;
        let share = if work < PARALLEL { self.total } else { self.total.div_ceil(registers.len()) };
        let part = |part: usize, registers: &mut Registers<O>, out: &mut [O]| {
            let start = part * share;
            simd.run(Part { reduce: self, source, registers, start, end: start + out.len(), out });
        };
        if share == self.total {
            return part(0, &mut registers[0], out);
        }
        let parts = out.par_chunks_mut(share).zip(registers).enumerate();
        parts.for_each(|(index, (out, registers))| part(index, registers, out));
    }

    /// The element whose inputs start at `base`, blocks running along the folded loops.
    #[inline(always)]
    fn along<T: Real, O: Real>(&self, source: Source<'_, T>, registers: &mut Registers<O>, base: &[usize]) -> f64 {
        let folded = || self.inputs.iter().map(|(_, folded)| folded);
        let mut walk = Walk::at(&self.folded, 0, folded());
        let mut total = if self.fold == Fold::Sum { 0.0 } else { f64::NEG_INFINITY };
        for _ in 0..self.folded.iter().product() {
            let mut at = 0;
            while at < self.folded_inner {
                let len = BLOCK.min(self.folded_inner - at);
                let result = registers.eval(&self.body, len, |n| {
                    let (kept, folded) = &self.inputs[n];
                    let from = base[n] + walk.offsets[n] + at * folded.inner;
                    Lanes { data: &source.slot(kept.slot)[from..], step: folded.inner }
                });
                match self.fold {
                    Fold::Sum => total += sum(result, len),
                    Fold::Max => total = larger(total, largest(result, len)),
                }
                at += len;
            }
            walk.step(folded());
        }
        total
    }

    /// A block of elements from where inputs start at `base`, one a lane.
    #[inline(always)]
    fn across<T: Real, O: Real>(
        &self,
        source: Source<'_, T>,
        registers: &mut Registers<O>,
        base: &[usize],
        len: usize,
        mut store: impl FnMut(usize, f64),
    ) {
        let steps = len.div_ceil(STEP);
        let mut totals = [[0.0; STEP]; BLOCK / STEP];
        let mut block = [[if self.fold == Fold::Sum { O::zero() } else { O::neg_infinity() }; STEP]; BLOCK / STEP];
        let (totals, block) = (&mut totals[..steps], &mut block[..steps]);
        let count = self.folded.iter().product::<usize>() * self.folded_inner;
        let folded = || self.inputs.iter().map(|(_, folded)| folded);
        let mut walk = Walk::at(&self.folded, 0, folded());
        let (mut inner, mut terms) = (0, 0);
        for index in 0..count {
            if inner == self.folded_inner {
                walk.step(folded());
                inner = 0;
            }
            let result = registers.eval(&self.body, len, |n| {
                let (kept, folded) = &self.inputs[n];
                let from = base[n] + walk.offsets[n] + inner * folded.inner;
                Lanes { data: &source.slot(kept.slot)[from..], step: kept.inner }
            });
            inner += 1;
            if self.fold == Fold::Max {
                for (most, values) in block.iter_mut().zip(result) {
                    for lane in 0..STEP {
                        most[lane] = larger(most[lane], values[lane]);
                    }
                }
                continue;
            }
            for (sums, values) in block.iter_mut().zip(result) {
                for lane in 0..STEP {
                    sums[lane] += values[lane];
                }
            }
            terms += 1;
            if terms == LANE_TERMS || index == count - 1 {
                for (totals, sums) in totals.iter_mut().zip(&mut *block) {
                    for lane in 0..STEP {
                        totals[lane] += std::mem::take(&mut sums[lane]).wide();
                    }
                }
                terms = 0;
            }
        }
        match self.fold {
            Fold::Sum => totals.as_flattened()[..len].iter().enumerate().for_each(|(i, &v)| store(i, v)),
            Fold::Max => block.as_flattened()[..len].iter().enumerate().for_each(|(i, &v)| store(i, v.wide())),
        }
    }
}

/// Computes the elements of a range of flat kept indices.
struct Part<'w, T, O> {
    reduce: &'w Reduce,
    source: Source<'w, T>,
    registers: &'w mut Registers<O>,
    start: usize,
    end: usize,
    /// From the element of `start` on if the output is contiguous, else from its first.
    out: &'w mut [O],
}

impl<T: Real, O: Real> Work for Part<'_, T, O> {
    #[inline(always)]
    fn run(self) {
        let Part { reduce, source, registers, start, end, out } = self;
        let store = |out: &mut [O], index: usize, value: f64| {
            let at = match reduce.contiguous {
                true => index - start,
                false => {
                    let (row, lane) = (index / reduce.kept_inner, index % reduce.kept_inner);
                    reduce.out.at(row, &reduce.kept) + lane * reduce.out.inner - reduce.out.offset
                }
            };
            out[at] = O::narrow(reduce.scale * value);
        };
        let kept = || reduce.inputs.iter().map(|(kept, _)| kept);
        let mut walk = Walk::at(&reduce.kept, start / reduce.kept_inner, kept());
        let mut at = start;
        while at < end {
            let lane = at % reduce.kept_inner;
            let rest = (reduce.kept_inner - lane).min(end - at);
            let mut base = walk.offsets;
            base.iter_mut().zip(kept()).for_each(|(base, kept)| *base += lane * kept.inner);
            if reduce.across {
                let len = BLOCK.min(rest);
                reduce.across(source, registers, &base, len, |i, value| store(out, at + i, value));
                at += len;
            } else {
                for i in 0..rest {
                    let value = reduce.along(source, registers, &base);
                    store(out, at + i, value);
                    base.iter_mut().zip(kept()).for_each(|(base, kept)| *base += kept.inner);
                }
                at += rest;
            }
            if at.is_multiple_of(reduce.kept_inner) {
                walk.step(kept());
            }
        }
    }
}
