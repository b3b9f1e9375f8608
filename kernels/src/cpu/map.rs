//! Elementwise nests.

use rayon::prelude::*;

use super::block::{BLOCK, Lanes, Registers};
use super::simd::{Simd, Work};
use super::walk::{Path, Walk, contiguous, lane_cost, split};
use super::{PARALLEL, Source};
use crate::nest::coalesce;
use crate::{Body, Nest, Real, View};

/// Rows shorter than this make the walk dearer than the work: a longer loop is taken for the lanes instead.
const SHORT: usize = 16;

#[derive(Debug, Clone)]
pub(super) struct Map {
    body: Body,
    outer: Vec<usize>,
    inner: usize,
    inputs: Vec<Path>,
    out: Path,
    /// Whether the output is one block in the order of the loops, and overwritten.
    contiguous: bool,
    accumulate: bool,
    /// Step of the first loop in the output, if all that one index writes lies within it.
    apart: Option<usize>,
    total: usize,
}

impl Map {
    pub(super) fn new(nest: &Nest, accumulate: bool) -> Map {
        let views: Vec<&View> = nest.inputs.iter().chain([&nest.out]).collect();
        let strides: Vec<&[usize]> = views.iter().map(|v| v.strides.as_slice()).collect();
        let (mut outer, mut strides) = coalesce(&nest.dims, &strides);
        let mut plain = !accumulate && contiguous(&nest.dims, &nest.out.strides);
        if outer.last().is_some_and(|&inner| inner < SHORT) {
            // Short rows: the cheapest loop but the first, which threads share, makes the lanes.
            let last = outer.len() - 1;
            let cost = |axis: usize| lane_cost(outer[axis], strides.iter().map(|s| s[axis]));
            let cheapest = (1..outer.len()).min_by(|&a, &b| cost(a).total_cmp(&cost(b)));
            if let Some(lanes) = cheapest.filter(|&lanes| lanes != last) {
                plain = false;
                outer.swap(lanes, last);
                strides.iter_mut().for_each(|s| s.swap(lanes, last));
            }
        }
        let reach = strides.last().map_or(0, |s| s.iter().zip(&outer).skip(1).map(|(s, d)| s * (d - 1)).sum());
        let (inner, mut inputs) = split(&mut outer, strides, &views);
        let out = inputs.remove(inputs.len() - 1);
        let apart = out.outer.first().copied().filter(|&step| reach < step);
        Map {
            body: nest.body.clone(),
            outer,
            inner,
            inputs,
            out,
            contiguous: plain,
            accumulate,
            apart,
            total: nest.dims.iter().product(),
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
        let threads = if self.total < PARALLEL { 1 } else { registers.len() };
        if self.contiguous {
            let out = &mut out[..self.total];
            let share = self.total.div_ceil(threads).next_multiple_of(BLOCK);
            let part = |part: usize, registers: &mut Registers<O>, out: &mut [O]| {
                simd.run(InOrder { map: self, source, registers, start: part * share, out });
            };
            if threads == 1 {
                return part(0, &mut registers[0], out);
            }
            let parts = out.par_chunks_mut(share).zip(registers).enumerate();
            return parts.for_each(|(index, (out, registers))| part(index, registers, out));
        }
        let rows: usize = self.outer.iter().product();
        match (self.apart, self.outer.first()) {
            (Some(step), Some(&first)) if threads > 1 && first > 1 => {
                let within = rows / first;
                let share = first.div_ceil(threads);
                let parts = out.par_chunks_mut(share * step).zip(registers).enumerate();
                parts.for_each(|(part, (out, registers))| {
                    let (from, to) = (part * share, (part * share + share).min(first));
                    let (rows, base) = ([from * within, to * within], from * step);
                    simd.run(Scattered { map: self, source, registers, rows, base, out });
                });
            }
            _ => {
                let registers = &mut registers[0];
                simd.run(Scattered { map: self, source, registers, rows: [0, rows], base: 0, out });
            }
        }
    }

    /// Evaluates lanes `from..to` of one row and hands the blocks to `store`.
    #[inline(always)]
    fn row<T: Real, O: Real>(
        &self,
        source: Source<'_, T>,
        registers: &mut Registers<O>,
        offsets: &[usize],
        from: usize,
        to: usize,
        mut store: impl FnMut(usize, &[O]),
    ) {
        let mut at = from;
        while at < to {
            let len = BLOCK.min(to - at);
            let result = registers.eval(&self.body, len, |n| {
                let path = &self.inputs[n];
                Lanes { data: &source.slot(path.slot)[offsets[n] + at * path.inner..], step: path.inner }
            });
            store(at, &result.as_flattened()[..len]);
            at += len;
        }
    }
}

/// Fills `out` with the elements from flat index `start` on.
struct InOrder<'w, T, O> {
    map: &'w Map,
    source: Source<'w, T>,
    registers: &'w mut Registers<O>,
    start: usize,
    out: &'w mut [O],
}

impl<T: Real, O: Real> Work for InOrder<'_, T, O> {
    #[inline(always)]
    fn run(self) {
        let InOrder { map, source, registers, start, out } = self;
        let mut done = 0;
        let mut walk = Walk::at(&map.outer, start / map.inner, map.inputs.iter());
        while done < out.len() {
            let from = (start + done) % map.inner;
            let to = map.inner.min(from + out.len() - done);
            let target = &mut out[done..done + to - from];
            map.row(source, registers, &walk.offsets, from, to, |at, values| {
                target[at - from..][..values.len()].copy_from_slice(values);
            });
            done += to - from;
            walk.step(map.inputs.iter());
        }
    }
}

/// Rows whose lanes do not lie side by side in the output, which starts at `base`.
struct Scattered<'w, T, O> {
    map: &'w Map,
    source: Source<'w, T>,
    registers: &'w mut Registers<O>,
    rows: [usize; 2],
    base: usize,
    out: &'w mut [O],
}

impl<T: Real, O: Real> Work for Scattered<'_, T, O> {
    #[inline(always)]
    fn run(self) {
        let Scattered { map, source, registers, rows, base, out } = self;
        let paths = || map.inputs.iter().chain([&map.out]);
        let step = map.out.inner;
        let mut walk = Walk::at(&map.outer, rows[0], paths());
        for _ in rows[0]..rows[1] {
            // The caller's slice starts at the output's first element.
            let at = walk.offsets[map.inputs.len()] - map.out.offset - base;
            map.row(source, registers, &walk.offsets, 0, map.inner, |from, values| {
                let first = at + from * step;
                let lanes = out[first..].iter_mut().step_by(step.max(1)).zip(values);
                match (map.accumulate, step) {
                    (false, 1) => out[first..first + values.len()].copy_from_slice(values),
                    (false, _) => lanes.for_each(|(slot, &value)| *slot = value),
                    (true, 1) => out[first..].iter_mut().zip(values).for_each(|(slot, &value)| *slot += value),
                    (true, _) => lanes.for_each(|(slot, &value)| *slot += value),
                }
            });
            walk.step(paths());
        }
    }
}
