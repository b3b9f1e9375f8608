//! Reductions: lanes along the folded loops, or across the kept ones.

use std::mem::take;
use std::ops::Range;

use super::Source;
use super::block::{BLOCK, Reads, Registers, STEP};
use super::code::Code;
use super::join::{LANES, halve, larger, largest};
use super::pack::{copy, scatter};
use super::simd::{Simd, Work};
use super::walk::{Apart, Loops, Patch, Path, Walk, contiguous, lane_cost};
use crate::nest::{coalesce, descending};
use crate::{Fold, Nest, Real, View};

/// Terms a lane adds up in the type of the buffers before they go to f64, as many as in a lane of a whole block.
const LANE_TERMS: usize = 16;

/// Lanes of channels that are summed lane by lane, at most: there are that many sums.
const CHANNELS: usize = BLOCK / 2;

/// What a row costs that is copied to its place in a block, in the unit of `lane_cost`.
const ROW: f64 = 16.0;

/// What a lane of a result costs that goes through f64, in the same unit.
const FINISH: f64 = 2.0;

/// What a result costs that is written alone.
const SCATTER: f64 = 8.0;

/// A nest whose loops run as it is cheapest, which is decided once.
#[derive(Debug, Clone)]
pub(super) struct Reduce {
    pub code: Code,
    /// The same with its result added to sums that are a lane each.
    adding: Option<Code>,
    fold: Fold,
    scale: f64,
    kept: Loops,
    folded: Loops,
    /// Strides over the kept loops, and (same order) over the folded ones from offset 0.
    inputs: [Vec<Path>; 2],
    out: Path,
    contiguous: bool,
    apart: Option<Apart>,
    way: Way,
}

/// How blocks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Along the folded loops, for one element after the other.
    Along,
    /// Over the kept loops, for one index of the folded ones after the other.
    Across,
    /// Along the folded loops and the innermost kept ones together, which lie within: channels, say, in groups of `each` that are
    /// folded, too. They make `results` elements, side by side in the output.
    Lanes { results: usize, each: usize },
}

/// The loops of a reduction, by axis: kept ones, then folded ones.
struct Axes<'n> {
    dims: Vec<usize>,
    kept: usize,
    views: Vec<&'n View>,
    /// Of every view; the output's, which comes last, over the kept ones only.
    strides: Vec<&'n [usize]>,
}

impl Axes<'_> {
    /// Loops over some axes and the views' strides along them: of all, or only of inputs.
    fn loops(&self, axes: &[usize], views: usize, blocks: bool) -> (Loops, Vec<Path>) {
        let dims: Vec<usize> = axes.iter().map(|&axis| self.dims[axis]).collect();
        let pick = |s: &&[usize]| axes.iter().map(|&axis| s[axis]).collect::<Vec<_>>();
        let strides: Vec<Vec<usize>> = self.strides[..views].iter().map(pick).collect();
        let (dims, strides) = coalesce(&dims, &strides.iter().map(|s| &s[..]).collect::<Vec<_>>());
        Loops::new(dims, strides, &self.views[..views], blocks)
    }

    /// The input that has a step along most loops.
    fn lead(&self) -> Option<&[usize]> {
        let steps = |s: &&&[usize]| s.iter().zip(&self.dims).filter(|&(&s, &d)| s > 0 && d > 1).count();
        let inputs = &self.strides[..self.strides.len() - 1];
        inputs.iter().rev().max_by_key(steps).copied()
    }

    /// The innermost loops of the leading input, if they are kept ones (`results`), or a few folded ones (`each`) within kept ones, and
    /// if the output has them side by side: both, innermost first.
    fn channels(&self, kept: &[usize]) -> Option<[Vec<usize>; 2]> {
        const FEW: usize = 16;
        let lead = self.lead()?;
        let mut axes: Vec<usize> = (0..self.dims.len()).filter(|&axis| self.dims[axis] > 1).collect();
        axes.sort_by_key(|&axis| lead[axis]);
        let mut axes = axes.into_iter().peekable();
        let (mut each, mut results, mut size) = (Vec::new(), Vec::new(), 1);
        while let Some(axis) =
            axes.next_if(|&axis| axis >= self.kept && lead[axis] > 0 && size * self.dims[axis] <= FEW)
        {
            size *= self.dims[axis];
            each.push(axis);
        }
        let (out, mut step) = (self.strides[self.strides.len() - 1], 1);
        let mut innermost = kept.iter().rev().copied().filter(|&axis| self.dims[axis] > 1);
        while let Some(axis) = axes.next_if(|&axis| {
            axis < self.kept && lead[axis] > 0 && size * self.dims[axis] <= CHANNELS && out[axis] == step
        }) {
            if innermost.next() != Some(axis) {
                return None;
            }
            size *= self.dims[axis];
            step *= self.dims[axis];
            results.push(axis);
        }
        let more = axes.any(|axis| axis >= self.kept);
        (!results.is_empty() && more).then_some([results, each])
    }
}

impl Reduce {
    pub(super) fn new(nest: &Nest, over: &[usize], fold: Fold, scale: f64) -> Reduce {
        let views: Vec<&View> = nest.inputs.iter().chain([&nest.out]).collect();
        let strides = views.iter().map(|view| &view.strides[..]).collect();
        let axes = Axes { dims: [&nest.dims[..], over].concat(), kept: nest.dims.len(), views, strides };
        let inputs = nest.inputs.len();
        // Through the output's memory, and through that of the input that has most.
        let mut kept = descending(0..axes.kept, &nest.out.strides);
        let rest = axes.kept..axes.dims.len();
        let folded = axes.lead().map_or_else(|| rest.clone().collect(), |lead| descending(rest.clone(), lead));
        let cost = |(loops, paths): &(Loops, Vec<Path>), most: usize| {
            let step = |path: &Path| match path.table.is_empty() {
                true => path.lane,
                false if path.row == 0 && loops.rows > 1 => 0,
                false => path.jumps(),
            };
            // Short rows are copied one by one.
            let apart = |path: &&Path| path.table.is_empty() && path.row != 0 && path.row != loops.lanes * path.lane;
            let rows = if loops.rows > 1 { paths[..inputs].iter().filter(apart).count() } else { 0 };
            let copied = ROW * rows as f64 / loops.lanes as f64;
            lane_cost(most.min(loops.rows * loops.lanes), paths[..inputs].iter().map(step)) + copied
        };
        let along = axes.loops(&folded, inputs, false);
        let across = axes.loops(&kept, inputs + 1, true);
        let terms = along.0.len() as f64;
        let mut best = (cost(&along, BLOCK), Way::Along, axes.loops(&kept, inputs + 1, false), along);
        let cheapest = cost(&across, BLOCK) + FINISH / terms;
        if cheapest < best.0 {
            best = (cheapest, Way::Across, across, axes.loops(&folded, inputs, false));
        }
        if let Some([results, each]) = axes.channels(&kept) {
            let size = |axes_of: &[usize]| axes_of.iter().map(|&axis| axes.dims[axis]).product::<usize>();
            let outer: Vec<usize> = kept.iter().copied().filter(|axis| !results.contains(axis)).collect();
            let lanes = results.iter().rev().chain(each.iter().rev());
            let along: Vec<usize> = folded.iter().filter(|axis| !each.contains(axis)).chain(lanes).copied().collect();
            let along = axes.loops(&along, inputs, true);
            // Every result is put together of lanes in f64.
            let terms = along.0.len() / size(&results);
            let cheapest = cost(&along, BLOCK) + FINISH / terms as f64;
            if cheapest < best.0 {
                let way = Way::Lanes { results: size(&results), each: size(&each) };
                best = (cheapest, way, axes.loops(&outer, inputs + 1, false), along);
            }
        }
        // Where much is folded into each result, results may rather lie apart than what is read.
        let other = axes.lead().map_or_else(|| kept.clone(), |lead| descending(0..axes.kept, lead));
        if other != kept {
            let across = axes.loops(&other, inputs + 1, true);
            let cheapest = cost(&across, BLOCK) + (FINISH + SCATTER) / terms;
            if cheapest < best.0 {
                best = (cheapest, Way::Across, across, axes.loops(&folded, inputs, false));
                kept = other;
            }
        }
        let (_, way, (kept_loops, mut from), (folded, mut along)) = best;
        along.iter_mut().for_each(|path| path.offset = 0);
        let out = from.remove(inputs);
        let sorted = |of: &[usize]| kept.iter().map(|&axis| of[axis]).collect::<Vec<_>>();
        let code = Code::new(&nest.body);
        Reduce {
            way,
            adding: (fold == Fold::Sum && way == Way::Across).then(|| code.adding()).flatten(),
            code,
            fold,
            scale,
            kept: kept_loops,
            folded,
            inputs: [from, along],
            out,
            contiguous: contiguous(&sorted(&nest.dims), &sorted(&nest.out.strides)),
            apart: Apart::new(&sorted(&nest.dims), &sorted(&nest.out.strides)),
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
        paths + self.code.bytes() + self.adding.as_ref().map_or(0, Code::bytes)
    }

    /// Elements of the result that one index of the kept loops makes.
    fn results(&self) -> usize {
        if let Way::Lanes { results, .. } = self.way { results } else { 1 }
    }

    pub(super) fn run<T: Real, O: Real>(
        &self,
        simd: Simd,
        source: Source<'_, T>,
        registers: &mut [Registers<O>],
        out: &mut [O],
    ) {
        let out = &mut out[self.out.offset..];
        let (total, results) = (self.kept.len(), self.results());
        let threads = source.team.threads(self.work()).min(registers.len());
        if !self.contiguous {
            let whole = |registers: &mut Registers<O>, range: Range<usize>, base: usize, out: &mut [O]| {
                simd.run(Part { reduce: self, simd, source, registers, range, base, out });
            };
            return match &self.apart {
                Some(apart) if results == 1 => apart.share(source.team, threads, total, out, registers, whole),
                _ => whole(&mut registers[0], 0..total, 0, out),
            };
        }
        let out = &mut out[..total * results];
        let share = total.div_ceil(threads);
        let part = |part: usize, registers: &mut Registers<O>, out: &mut [O]| {
            let range = part * share..part * share + out.len() / results;
            simd.run(Part { reduce: self, simd, source, registers, range, base: part * share * results, out });
        };
        if share == total {
            return part(0, &mut registers[0], out);
        }
        source.team.chunks(out, share * results, registers, |index, out, registers| part(index, registers, out));
    }

    /// All results whose inputs start at `from`, blocks running along the folded loops and the lanes of the results.
    #[inline(always)]
    fn lanes<T: Real, O: Real>(
        &self,
        simd: Simd,
        source: Source<'_, T>,
        registers: &mut Registers<O>,
        from: &[usize],
        [results, each]: [usize; 2],
        totals: &mut [f64],
    ) {
        let width = results * each;
        // As many sums as keep the adders busy.
        let period = width * LANES.div_ceil(width);
        let none = if self.fold == Fold::Sum { O::zero() } else { O::neg_infinity() };
        let (mut block, mut terms, mut lane) = ([none; CHANNELS], 0, 0);
        totals[..period].fill(none.to_f64());
        let paths = &self.inputs[1];
        // Whether every patch begins with the first of the results, and so at any of those among the lanes.
        let within = self.folded.lanes * self.folded.rows;
        let whole = self.fold == Fold::Sum && period == LANES && within.is_multiple_of(width);
        let (mut walk, mut left) = (Walk::at(&self.folded, 0, paths.iter()), self.folded.len());
        while left > 0 {
            let patch = walk.patch(left);
            let reads = Reads { source, paths, from, along: &walk.offsets };
            let mut values = &registers.eval(&self.code, patch, reads)[..patch.len()];
            if let (true, Some(totals)) = (whole, totals.first_chunk_mut()) {
                O::add_up(simd, values, totals);
                left -= patch.len();
                walk.advance(patch, paths.iter());
                continue;
            }
            while !values.is_empty() {
                let now;
                (now, values) = values.split_at(values.len().min(period - lane));
                let block = &mut block[lane..lane + now.len()];
                match self.fold {
                    Fold::Sum => {
                        for (sum, &value) in block.iter_mut().zip(now) {
                            *sum += value;
                        }
                    }
                    Fold::Max => {
                        for (most, &value) in block.iter_mut().zip(now) {
                            *most = larger(*most, value);
                        }
                    }
                }
                lane = (lane + now.len()) % period;
            }
            left -= patch.len();
            terms += patch.len().div_ceil(period);
            // Sums go to f64 before they are long; of maxima only the last does.
            if left == 0 || self.fold == Fold::Sum && terms > LANE_TERMS / 2 {
                for (total, value) in totals.iter_mut().zip(&mut block[..period]) {
                    *total = if self.fold == Fold::Sum { *total + value.to_f64() } else { value.to_f64() };
                    *value = none;
                }
                terms = 0;
            }
            walk.advance(patch, paths.iter());
        }
        if (period, each) == (width, 1) {
            return;
        }
        // Lanes of the same result: one after the other in each of the period's parts.
        for result in 0..results {
            let mut joined = none.to_f64();
            for part in (0..period).step_by(width) {
                for &lane in &totals[part + result * each..part + (result + 1) * each] {
                    joined = if self.fold == Fold::Sum { joined + lane } else { larger(joined, lane) };
                }
            }
            totals[result] = joined;
        }
    }

    /// The element whose inputs start at `from`, blocks running along the folded loops.
    #[inline(always)]
    fn along<T: Real, O: Real>(
        &self,
        simd: Simd,
        source: Source<'_, T>,
        registers: &mut Registers<O>,
        from: &[usize],
    ) -> f64 {
        let paths = &self.inputs[1];
        let (mut walk, mut left) = (Walk::at(&self.folded, 0, paths.iter()), self.folded.len());
        let (mut sums, mut most) = ([0.0; LANES], f64::NEG_INFINITY);
        while left > 0 {
            let patch = walk.patch(left);
            let reads = Reads { source, paths, from, along: &walk.offsets };
            let result = &registers.eval(&self.code, patch, reads)[..patch.len()];
            match self.fold {
                Fold::Sum => O::add_up(simd, result, &mut sums),
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

    /// A patch of elements from where inputs start at `from`, one a lane: to `totals`, unless they are few terms, which stay in
    /// `block`.
    #[inline(always)]
    fn across<T: Real, O: Real>(
        &self,
        source: Source<'_, T>,
        registers: &mut Registers<O>,
        from: &[usize],
        patch: Patch,
        block: &mut [O],
        totals: &mut [f64],
    ) -> bool {
        let block = &mut block[..patch.len().next_multiple_of(STEP)];
        let totals = &mut totals[..block.len()];
        block.fill(if self.fold == Fold::Sum { O::zero() } else { O::neg_infinity() });
        let paths = &self.inputs[1];
        let one = Patch { rows: 1, first: 0, lanes: 1 };
        let mut walk = Walk::at(&self.folded, 0, paths.iter());
        let count = self.folded.len();
        let long = self.fold == Fold::Sum && count > LANE_TERMS;
        if long {
            totals.fill(0.0);
        }
        for index in 1..=count {
            let reads = Reads { source, paths: &self.inputs[0], from, along: &walk.offsets };
            match (&self.adding, self.fold) {
                (Some(adding), _) => registers.eval_into(adding, patch, reads, block),
                (None, Fold::Sum) => {
                    for (block, &value) in block.iter_mut().zip(registers.eval(&self.code, patch, reads)) {
                        *block += value;
                    }
                }
                (None, Fold::Max) => {
                    for (block, &value) in block.iter_mut().zip(registers.eval(&self.code, patch, reads)) {
                        *block = larger(*block, value);
                    }
                }
            }
            // Sums go to f64 before they are long.
            if long && (index == count || index % LANE_TERMS == 0) {
                for (total, value) in totals.iter_mut().zip(&mut *block) {
                    *total += value.to_f64();
                    *value = O::zero();
                }
            }
            if index < count {
                walk.advance(one, paths.iter());
            }
        }
        long
    }
}

/// Computes the elements of a range of flat kept indices.
struct Part<'w, T, O> {
    reduce: &'w Reduce,
    simd: Simd,
    source: Source<'w, T>,
    registers: &'w mut Registers<O>,
    range: Range<usize>,
    /// Where `out` begins in the output.
    base: usize,
    out: &'w mut [O],
}

impl<T: Real, O: Real> Work for Part<'_, T, O> {
    #[inline(always)]
    fn run(self) {
        let Part { reduce, simd, source, registers, range, base, out } = self;
        let paths = || reduce.inputs[0].iter().chain([&reduce.out]);
        let (mut block, mut totals) = take(&mut registers.sums);
        let (mut walk, mut at) = (Walk::at(&reduce.kept, range.start, paths()), range.start);
        registers.begin(&reduce.code);
        while at < range.end {
            let patch = match reduce.way {
                Way::Across => walk.patch(range.end - at),
                _ => Patch { rows: 1, first: 0, lanes: 1 },
            };
            let long = match reduce.way {
                Way::Across => reduce.across(source, registers, &walk.offsets, patch, &mut block, &mut totals),
                Way::Along => {
                    totals[0] = reduce.along(simd, source, registers, &walk.offsets);
                    true
                }
                Way::Lanes { results, each } => {
                    reduce.lanes(simd, source, registers, &walk.offsets, [results, each], &mut totals);
                    true
                }
            };
            let values = &mut block[..patch.len() * reduce.results()];
            if long {
                for (value, &total) in values.iter_mut().zip(&totals) {
                    *value = O::from_f64(reduce.scale * total);
                }
            } else if reduce.scale != 1.0 {
                for value in values.iter_mut() {
                    *value = O::from_f64(reduce.scale * value.to_f64());
                }
            }
            let corner = walk.offsets[reduce.inputs[0].len()] - reduce.out.offset - base;
            if reduce.contiguous || reduce.results() > 1 {
                // Results of one index lie side by side.
                copy(&mut out[corner..corner + values.len()], values);
            } else if !reduce.out.table.is_empty() {
                let to = &mut out[corner..];
                for (&at, &value) in reduce.out.table[patch.first..].iter().zip(&*values) {
                    to[at as usize] = value;
                }
            } else {
                let steps = [reduce.out.row, reduce.out.lane];
                scatter(simd, values, patch.lanes, steps, &mut out[corner..]);
            }
            at += patch.len();
            walk.advance(patch, paths());
        }
        registers.sums = (block, totals);
    }
}
