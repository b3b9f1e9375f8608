//! Elementwise nests and reductions, a block of elements at a time.

use rayon::prelude::*;

use super::{PARALLEL, Source};
use crate::body::REGISTERS;
use crate::nest::{coalesce, offset};
use crate::program::LOOPS;
use crate::{Body, Fold, Instr, Nest, Real, View};

/// Elements worked on at once; also the block within which sums stay in the type of the buffers.
pub(super) const BLOCK: usize = 256;

/// Terms a lane adds up in the type of the buffers before they go to f64, as many as in a lane of a whole block.
const LANE_TERMS: usize = 16;

/// A view after its loops were joined: strides for the outer loops, one for the innermost.
#[derive(Debug, Clone)]
struct Path {
    slot: usize,
    offset: usize,
    outer: Vec<usize>,
    inner: usize,
}

impl Path {
    fn at(&self, row: usize, dims: &[usize]) -> usize {
        self.offset + offset(row, dims, &self.outer)
    }
}

/// Offsets of several views, stepped together through the outer loops: a step costs an addition a view, not a division a loop.
struct Walk<'a> {
    dims: &'a [usize],
    index: [usize; LOOPS],
    offsets: [usize; REGISTERS],
}

impl<'a> Walk<'a> {
    /// At a row, counted row-major.
    fn at<'p>(dims: &'a [usize], mut row: usize, paths: impl Iterator<Item = &'p Path>) -> Walk<'a> {
        let mut walk = Walk { dims, index: [0; LOOPS], offsets: [0; REGISTERS] };
        for (view, path) in paths.enumerate() {
            walk.offsets[view] = path.at(row, dims);
        }
        for (axis, &extent) in dims.iter().enumerate().rev() {
            walk.index[axis] = row % extent;
            row /= extent;
        }
        walk
    }

    /// To the next row.
    #[inline]
    fn step<'p>(&mut self, paths: impl Iterator<Item = &'p Path> + Clone) {
        for (axis, &extent) in self.dims.iter().enumerate().rev() {
            self.index[axis] += 1;
            if self.index[axis] < extent {
                self.offsets.iter_mut().zip(paths).for_each(|(o, path)| *o += path.outer[axis]);
                return;
            }
            self.index[axis] = 0;
            self.offsets.iter_mut().zip(paths.clone()).for_each(|(o, path)| *o -= path.outer[axis] * (extent - 1));
        }
    }
}

/// Splits joined loops into outer ones and the innermost, for every view.
fn split(dims: &mut Vec<usize>, strides: Vec<Vec<usize>>, views: &[&View]) -> (usize, Vec<Path>) {
    let inner = dims.pop().unwrap_or(1);
    let paths = (views.iter().zip(strides))
        .map(|(view, mut outer)| {
            let inner = outer.pop().unwrap_or(0);
            Path { slot: view.slot, offset: view.offset, outer, inner }
        })
        .collect();
    (inner, paths)
}

fn contiguous(dims: &[usize], strides: &[usize]) -> bool {
    let mut want = 1;
    dims.iter().zip(strides).rev().all(|(&d, &s)| {
        let ok = d == 1 || s == want;
        want *= d;
        ok
    })
}

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

    pub(super) fn run<T: Real, O: Real>(&self, source: Source<'_, T>, threads: usize, out: &mut [O]) {
        let out = &mut out[self.out.offset..];
        let threads = if self.total < PARALLEL { 1 } else { threads };
        if self.contiguous {
            let out = &mut out[..self.total];
            let share = self.total.div_ceil(threads).next_multiple_of(BLOCK);
            if threads == 1 {
                return self.range(source, 0, out);
            }
            out.par_chunks_mut(share).enumerate().for_each(|(part, out)| self.range(source, part * share, out));
            return;
        }
        let rows: usize = self.outer.iter().product();
        match (self.apart, self.outer.first()) {
            (Some(step), Some(&first)) if threads > 1 && first > 1 => {
                let within = rows / first;
                let share = first.div_ceil(threads);
                out.par_chunks_mut(share * step).enumerate().for_each(|(part, out)| {
                    let from = part * share;
                    self.scatter(source, from * within, ((from + share).min(first)) * within, from * step, out);
                });
            }
            _ => self.scatter(source, 0, rows, 0, out),
        }
    }

    /// Rows whose lanes do not lie side by side in the output, which starts at `base`.
    fn scatter<T: Real, O: Real>(&self, source: Source<'_, T>, from: usize, to: usize, base: usize, out: &mut [O]) {
        with_registers(&self.body, |registers: &mut [[O; BLOCK]]| {
            let paths = || self.inputs.iter().chain([&self.out]);
            let mut walk = Walk::at(&self.outer, from, paths());
            for _ in from..to {
                // The caller's slice starts at the output's first element.
                let at = walk.offsets[self.inputs.len()] - self.out.offset - base;
                self.row(source, registers, &walk.offsets, 0, self.inner, |from, values| {
                    let first = at + from * self.out.inner;
                    let lanes = out[first..].iter_mut().step_by(self.out.inner.max(1)).zip(values);
                    match (self.accumulate, self.out.inner) {
                        (false, 1) => out[first..first + values.len()].copy_from_slice(values),
                        (false, _) => lanes.for_each(|(slot, &value)| *slot = value),
                        (true, 1) => out[first..].iter_mut().zip(values).for_each(|(slot, &value)| *slot += value),
                        (true, _) => lanes.for_each(|(slot, &value)| *slot += value),
                    }
                });
                walk.step(paths());
            }
        });
    }

    /// Fills `out` with the elements from flat index `start` on.
    fn range<T: Real, O: Real>(&self, source: Source<'_, T>, start: usize, out: &mut [O]) {
        with_registers(&self.body, |registers: &mut [[O; BLOCK]]| {
            let mut done = 0;
            let mut walk = Walk::at(&self.outer, start / self.inner, self.inputs.iter());
            while done < out.len() {
                let from = (start + done) % self.inner;
                let to = self.inner.min(from + out.len() - done);
                let target = &mut out[done..done + to - from];
                self.row(source, registers, &walk.offsets, from, to, |at, values| {
                    target[at - from..][..values.len()].copy_from_slice(values);
                });
                done += to - from;
                walk.step(self.inputs.iter());
            }
        });
    }

    /// Evaluates lanes `from..to` of one row and hands the blocks to `store`.
    fn row<T: Real, O: Real>(
        &self,
        source: Source<'_, T>,
        registers: &mut [[O; BLOCK]],
        offsets: &[usize],
        from: usize,
        to: usize,
        mut store: impl FnMut(usize, &[O]),
    ) {
        let mut at = from;
        while at < to {
            let len = BLOCK.min(to - at);
            let result = eval(&self.body, registers, len, |n, lanes| {
                let path = &self.inputs[n];
                gather(source.slot(path.slot), offsets[n] + at * path.inner, path.inner, lanes)
            });
            store(at, result);
            at += len;
        }
    }
}

/// Cost of an element if a loop makes the lanes: the walk's share, and what far-apart elements cost every view.
fn lane_cost(extent: usize, strides: impl Iterator<Item = usize>) -> f64 {
    let far: usize = strides.map(|s| s.min(16)).sum();
    40.0 / extent as f64 + far as f64
}

/// Rows shorter than this make the walk dearer than the work: a longer loop is taken for the lanes instead.
const SHORT: usize = 16;

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

    pub(super) fn run<T: Real, O: Real>(&self, source: Source<'_, T>, threads: usize, out: &mut [O]) {
        if !self.contiguous {
            return self.range::<T, O>(source, 0, self.total, |index, value| {
                let (row, lane) = (index / self.kept_inner, index % self.kept_inner);
                out[self.out.at(row, &self.kept) + lane * self.out.inner] = O::narrow(value);
            });
        }
        let out = &mut out[self.out.offset..][..self.total];
        let work = self.total * self.folded.iter().product::<usize>() * self.folded_inner;
        let share = if work < PARALLEL { self.total } else { self.total.div_ceil(threads) };
        let part = |part: usize, out: &mut [O]| {
            let start = part * share;
            self.range::<T, O>(source, start, start + out.len(), |index, value| out[index - start] = O::narrow(value));
        };
        if share == self.total {
            part(0, out);
        } else {
            out.par_chunks_mut(share).enumerate().for_each(|(index, out)| part(index, out));
        }
    }

    /// Computes the elements of a range of flat kept indices.
    fn range<T: Real, O: Real>(
        &self,
        source: Source<'_, T>,
        start: usize,
        end: usize,
        mut store: impl FnMut(usize, f64),
    ) {
        with_registers(&self.body, |registers: &mut [[O; BLOCK]]| {
            let kept = || self.inputs.iter().map(|(kept, _)| kept);
            let mut walk = Walk::at(&self.kept, start / self.kept_inner, kept());
            let mut at = start;
            while at < end {
                let lane = at % self.kept_inner;
                let rest = (self.kept_inner - lane).min(end - at);
                let mut base = walk.offsets;
                base.iter_mut().zip(kept()).for_each(|(base, kept)| *base += lane * kept.inner);
                if self.across {
                    let len = BLOCK.min(rest);
                    self.across(source, registers, &base, len, |i, value| store(at + i, self.scale * value));
                    at += len;
                } else {
                    for i in 0..rest {
                        store(at + i, self.scale * self.along(source, registers, &base));
                        base.iter_mut().zip(kept()).for_each(|(base, kept)| *base += kept.inner);
                    }
                    at += rest;
                }
                if at.is_multiple_of(self.kept_inner) {
                    walk.step(kept());
                }
            }
        });
    }

    /// The element whose inputs start at `base`, blocks running along the folded loops.
    fn along<T: Real, O: Real>(&self, source: Source<'_, T>, registers: &mut [[O; BLOCK]], base: &[usize]) -> f64 {
        let folded = || self.inputs.iter().map(|(_, folded)| folded);
        let mut walk = Walk::at(&self.folded, 0, folded());
        let mut total = Sum::new(self.fold);
        for _ in 0..self.folded.iter().product() {
            let mut at = 0;
            while at < self.folded_inner {
                let len = BLOCK.min(self.folded_inner - at);
                let result = eval(&self.body, registers, len, |n, lanes| {
                    let (kept, folded) = &self.inputs[n];
                    gather(source.slot(kept.slot), base[n] + walk.offsets[n] + at * folded.inner, folded.inner, lanes)
                });
                match self.fold {
                    Fold::Sum => total.add(sum(result)),
                    Fold::Max => result.iter().for_each(|v| total.add(v.wide())),
                }
                at += len;
            }
            walk.step(folded());
        }
        total.0
    }

    /// A block of elements from where inputs start at `base`, one a lane.
    fn across<T: Real, O: Real>(
        &self,
        source: Source<'_, T>,
        registers: &mut [[O; BLOCK]],
        base: &[usize],
        len: usize,
        mut store: impl FnMut(usize, f64),
    ) {
        let mut totals = [Sum::new(self.fold).0; BLOCK];
        let mut block = [O::zero(); BLOCK];
        let (totals, block) = (&mut totals[..len], &mut block[..len]);
        let count = self.folded.iter().product::<usize>() * self.folded_inner;
        let folded = || self.inputs.iter().map(|(_, folded)| folded);
        let mut walk = Walk::at(&self.folded, 0, folded());
        for index in 0..count {
            let inner = index % self.folded_inner;
            if inner == 0 && index > 0 {
                walk.step(folded());
            }
            let result = eval(&self.body, registers, len, |n, lanes| {
                let (kept, folded) = &self.inputs[n];
                gather(source.slot(kept.slot), base[n] + walk.offsets[n] + inner * folded.inner, kept.inner, lanes)
            });
            match self.fold {
                Fold::Max => totals.iter_mut().zip(result).for_each(|(t, v)| *t = larger(*t, v.wide())),
                Fold::Sum => {
                    block.iter_mut().zip(result).for_each(|(b, &v)| *b += v);
                    if index % LANE_TERMS == LANE_TERMS - 1 || index == count - 1 {
                        totals.iter_mut().zip(&mut *block).for_each(|(t, b)| *t += std::mem::take(b).wide());
                    }
                }
            }
        }
        totals.iter().enumerate().for_each(|(i, &t)| store(i, t));
    }
}

/// The larger, or the NaN among them.
#[inline(always)]
fn larger(a: f64, b: f64) -> f64 {
    if a > b || a.is_nan() { a } else { b }
}

/// The f64 end of a fold.
#[derive(Clone, Copy)]
struct Sum(f64, Fold);

impl Sum {
    fn new(fold: Fold) -> Sum {
        Sum(if fold == Fold::Sum { 0.0 } else { f64::NEG_INFINITY }, fold)
    }

    #[inline(always)]
    fn add(&mut self, value: f64) {
        match self.1 {
            Fold::Sum => self.0 += value,
            Fold::Max => self.0 = larger(self.0, value),
        }
    }
}

/// Sum of at most a block, in its own type, in sixteen fixed lanes.
pub(super) fn sum<T: Real>(values: &[T]) -> f64 {
    let mut lanes = [T::zero(); 16];
    for chunk in values.chunks(16) {
        lanes.iter_mut().zip(chunk).for_each(|(l, &v)| *l += v);
    }
    let mut width = 16;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            let other = lanes[i + width];
            lanes[i] += other;
        }
    }
    lanes[0].wide()
}

/// Gives `work` as many block registers as the body needs, on the stack.
fn with_registers<T: Real, R>(body: &Body, work: impl FnOnce(&mut [[T; BLOCK]]) -> R) -> R {
    match body.0.len() {
        0..=2 => work(&mut [[T::zero(); BLOCK]; 2]),
        3..=4 => work(&mut [[T::zero(); BLOCK]; 4]),
        5..=8 => work(&mut [[T::zero(); BLOCK]; 8]),
        _ => work(&mut [[T::zero(); BLOCK]; REGISTERS]),
    }
}

/// Copies strided elements into lanes, in the type of the output: what is wanted in f64 is computed in f64.
#[inline]
fn gather<T: Real, O: Real>(data: &[T], at: usize, stride: usize, lanes: &mut [O]) {
    let convert = |v: T| O::narrow(v.wide());
    match stride {
        0 => lanes.fill(convert(data[at])),
        1 => lanes.iter_mut().zip(&data[at..]).for_each(|(lane, &v)| *lane = convert(v)),
        _ => lanes.iter_mut().zip(data[at..].iter().step_by(stride)).for_each(|(lane, &v)| *lane = convert(v)),
    }
}

/// Runs the body over a block; the result is the last register.
#[inline]
fn eval<'r, T: Real>(
    body: &Body,
    registers: &'r mut [[T; BLOCK]],
    len: usize,
    load: impl Fn(usize, &mut [T]),
) -> &'r [T] {
    for (at, instr) in body.0.iter().enumerate() {
        let (done, rest) = registers.split_at_mut(at);
        let to = &mut rest[0][..len];
        match *instr {
            Instr::Load(input) => load(input, to),
            Instr::Const(value) => to.fill(T::narrow(value)),
            Instr::Apply(scalar, a) => {
                to.copy_from_slice(&done[a][..len]);
                T::apply(scalar, to);
            }
            Instr::Add(a, b) => zip(to, &done[a], &done[b], |x, y| x + y),
            Instr::Mul(a, b) => zip(to, &done[a], &done[b], |x, y| x * y),
            Instr::Compare(how, a, b) => {
                zip(to, &done[a], &done[b], |x, y| if how.holds(x, y) { T::one() } else { T::zero() })
            }
            Instr::Select(mask, a, b) => {
                for (i, slot) in to.iter_mut().enumerate() {
                    *slot = if done[mask][i] != T::zero() { done[a][i] } else { done[b][i] };
                }
            }
        }
    }
    &registers[body.0.len() - 1][..len]
}

#[inline(always)]
fn zip<T: Real>(to: &mut [T], a: &[T; BLOCK], b: &[T; BLOCK], f: impl Fn(T, T) -> T) {
    to.iter_mut().zip(a).zip(b).for_each(|((slot, &x), &y)| *slot = f(x, y));
}
