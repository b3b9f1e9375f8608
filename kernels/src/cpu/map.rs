//! Elementwise nests.

use std::ops::Range;

use super::Source;
use super::block::{BLOCK, Reads, Registers};
use super::code::Code;
use super::pack::scatter;
use super::simd::{Simd, Work};
use super::vector::{stream, streamed};
use super::walk::{Apart, Loops, Path, Walk, contiguous, lane_cost};
use crate::nest::{coalesce, descending};
use crate::program::VIEWS;
use crate::{Nest, Real, View};

/// Rows shorter than this make the walk dearer than the work: a longer loop is taken for the lanes instead.
const SHORT: usize = 16;

/// Bytes of an output from which it goes past the caches: with what it is made of, it would hardly stay there.
const STREAMED: usize = 16 << 20;

/// Whether the innermost loops together make lanes that lie side by side in the output, and near each other in all inputs: channels in
/// groups, say, of which the inputs have a number each.
fn near(dims: &[usize], strides: &[Vec<usize>]) -> bool {
    let (mut lanes, mut within) = (1, dims.len());
    let out = strides.last().map_or(&[][..], |out| out);
    while within > 0 && lanes < SHORT && out[within - 1] == lanes {
        within -= 1;
        lanes *= dims[within];
    }
    let reach = |view: &Vec<usize>| view[within..].iter().zip(&dims[within..]).map(|(s, d)| s * (d - 1)).sum::<usize>();
    lanes >= SHORT && strides.iter().all(|view| reach(view) < 2 * lanes)
}

#[derive(Debug, Clone)]
pub(super) struct Map {
    pub code: Code,
    loops: Loops,
    inputs: Vec<Path>,
    out: Path,
    /// Whether the output is one block in the order of the loops, and overwritten.
    contiguous: bool,
    accumulate: bool,
    /// Whether no two lanes of a block are the same element of the output, if they have a table.
    distinct: bool,
    apart: Option<Apart>,
}

impl Map {
    pub(super) fn new(nest: &Nest, accumulate: bool) -> Map {
        let views: Vec<&View> = nest.inputs.iter().chain([&nest.out]).collect();
        let strides: Vec<&[usize]> = views.iter().map(|v| v.strides.as_slice()).collect();
        // Through the output's memory, in whatever order its loops were named.
        let order = descending(0..nest.dims.len(), &nest.out.strides);
        let sorted = |of: &[usize]| order.iter().map(|&axis| of[axis]).collect::<Vec<_>>();
        let strides: Vec<Vec<usize>> = strides.into_iter().map(sorted).collect();
        let strides: Vec<&[usize]> = strides.iter().map(|s| &s[..]).collect();
        let (mut dims, mut strides) = coalesce(&sorted(&nest.dims), &strides);
        let mut plain = !accumulate && strides.last().is_some_and(|out| contiguous(&dims, out));
        if dims.last().is_some_and(|&lanes| lanes < SHORT) && !near(&dims, &strides) {
            // Short rows: of the loops but the first, which threads share, the cheapest makes the lanes and the longest left the
            // rows.
            let mut order: Vec<usize> = (0..dims.len()).collect();
            let cost = |&axis: &usize| lane_cost(dims[axis], strides.iter().map(|s| s[axis]));
            let cheapest = (1..dims.len()).min_by(|a, b| cost(a).total_cmp(&cost(b)));
            if let Some(lanes) = cheapest.filter(|&lanes| lanes + 1 < dims.len()) {
                let rows = (1..dims.len()).filter(|&axis| axis != lanes).max_by_key(|&axis| dims[axis]);
                order.retain(|&axis| axis != lanes && Some(axis) != rows);
                order.extend(rows);
                order.push(lanes);
                plain = false;
                let sorted = |of: &[usize]| order.iter().map(|&axis| of[axis]).collect::<Vec<_>>();
                (dims, strides) = (sorted(&dims), strides.iter().map(|s| sorted(s)).collect());
            }
        }
        let apart = strides.last().and_then(|out| Apart::new(&dims, out));
        let (loops, mut inputs) = Loops::new(dims, strides, &views, true);
        let out = inputs.remove(inputs.len() - 1);
        let mut lanes = out.table.clone();
        lanes.sort_unstable();
        let distinct = lanes.windows(2).all(|pair| pair[0] < pair[1]);
        Map { code: Code::new(&nest.body), loops, inputs, out, contiguous: plain, accumulate, distinct, apart }
    }

    pub(super) fn out_slot(&self) -> usize {
        self.out.slot
    }

    /// Work in elements.
    pub(super) fn work(&self) -> usize {
        self.loops.len()
    }

    /// Bytes of what it holds.
    pub(super) fn bytes(&self) -> usize {
        let paths: usize = self.inputs.iter().chain([&self.out]).map(Path::bytes).sum();
        paths + self.code.bytes()
    }

    pub(super) fn run<T: Real, O: Real>(
        &self,
        simd: Simd,
        source: Source<'_, T>,
        registers: &mut [Registers<O>],
        out: &mut [O],
    ) {
        let out = &mut out[self.out.offset..];
        let total = self.loops.len();
        let threads = source.team.threads(self.work()).min(registers.len());
        if self.contiguous {
            let out = &mut out[..total];
            let share = total.div_ceil(threads).next_multiple_of(BLOCK);
            let part = |part: usize, registers: &mut Registers<O>, out: &mut [O]| {
                simd.run(InOrder { map: self, source, registers, start: part * share, out });
            };
            if threads == 1 {
                return part(0, &mut registers[0], out);
            }
            return source.team.chunks(out, share, registers, |index, out, registers| part(index, registers, out));
        }
        let scattered = |registers: &mut Registers<O>, range: Range<usize>, base: usize, out: &mut [O]| {
            simd.run(Scattered { map: self, simd, source, registers, range, base, out });
        };
        match &self.apart {
            Some(apart) => apart.share(source.team, threads, total, out, registers, scattered),
            None => scattered(&mut registers[0], 0..total, 0, out),
        }
    }

    /// The inputs that start at these offsets.
    #[inline(always)]
    fn reads<'d, T: Real>(&'d self, source: Source<'d, T>, offsets: &'d [usize; VIEWS]) -> Reads<'d, T> {
        Reads { source, paths: &self.inputs, from: offsets, along: &[0; VIEWS] }
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
        let InOrder { map, source, registers, start, mut out } = self;
        let mut walk = Walk::at(&map.loops, start, map.inputs.iter());
        registers.begin(&map.code);
        let streams = map.loops.len() * size_of::<O>() >= STREAMED;
        while !out.is_empty() {
            let patch = walk.patch(out.len());
            let (to, rest) = out.split_at_mut(patch.len());
            let reads = map.reads(source, &walk.offsets);
            if streams {
                stream(to, registers.eval(&map.code, patch, reads));
            } else {
                registers.eval_into(&map.code, patch, reads, to);
            }
            out = rest;
            walk.advance(patch, map.inputs.iter());
        }
        if streams {
            streamed();
        }
    }
}

/// A range of flat indices that do not lie side by side in the output, which starts at `base`.
struct Scattered<'w, T, O> {
    map: &'w Map,
    simd: Simd,
    source: Source<'w, T>,
    registers: &'w mut Registers<O>,
    range: Range<usize>,
    base: usize,
    out: &'w mut [O],
}

impl<T: Real, O: Real> Work for Scattered<'_, T, O> {
    #[inline(always)]
    fn run(self) {
        let Scattered { map, simd, source, registers, range, base, out } = self;
        let paths = || map.inputs.iter().chain([&map.out]);
        registers.begin(&map.code);
        let (mut walk, mut at) = (Walk::at(&map.loops, range.start, paths()), range.start);
        while at < range.end {
            let patch = walk.patch(range.end - at);
            let values = &registers.eval(&map.code, patch, map.reads(source, &walk.offsets))[..patch.len()];
            // The caller's slice starts at the output's first element.
            let corner = walk.offsets[map.inputs.len()] - map.out.offset - base;
            if !map.out.table.is_empty() {
                let (to, table) = (&mut out[corner..], &map.out.table[patch.first..]);
                // The table is of one row, if all are alike: sums that run along rows.
                for values in values.chunks(table.len()) {
                    match map.accumulate {
                        true if map.distinct => O::add_listed(simd, values, table, to),
                        true => {
                            for (&at, &v) in table.iter().zip(values) {
                                to[at as usize] += v;
                            }
                        }
                        false => {
                            for (&at, &v) in table.iter().zip(values) {
                                to[at as usize] = v;
                            }
                        }
                    }
                }
                at += patch.len();
                walk.advance(patch, paths());
                continue;
            }
            let (to, steps) = (&mut out[corner..], [map.out.row, map.out.lane]);
            if map.accumulate {
                for (row, values) in values.chunks_exact(patch.lanes).enumerate() {
                    let to = &mut to[row * steps[0]..];
                    if steps[1] == 1 {
                        for (to, &v) in to.iter_mut().zip(values) {
                            *to += v;
                        }
                    } else {
                        for (lane, &v) in values.iter().enumerate() {
                            to[lane * steps[1]] += v;
                        }
                    }
                }
            } else {
                scatter(simd, values, patch.lanes, steps, to);
            }
            at += patch.len();
            walk.advance(patch, paths());
        }
    }
}
