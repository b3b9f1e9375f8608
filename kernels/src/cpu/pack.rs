//! Packing: strided elements copied into panels that a tile reads straight through.

use std::ops::Range;

use super::simd::Simd;
use super::vector::prefetch;
use crate::Real;
use crate::nest::{coalesce, offset};

/// Rows ahead of the one that is copied which are sent for: each is another page, where the machine does not see it coming.
const AHEAD: usize = 8;

/// Widest panel there is.
pub(super) const WIDEST: usize = 128;

/// Offsets of rows or columns.
#[derive(Debug, Clone)]
pub(super) enum Offsets {
    Even { len: usize, step: usize },
    Listed(Vec<usize>),
}

impl Offsets {
    pub fn new(dims: &[usize], strides: &[usize]) -> Offsets {
        let (dims, strides) = coalesce(dims, &[strides]);
        match (&dims[..], &strides[0][..]) {
            ([], _) => Offsets::Even { len: 1, step: 0 },
            (&[len], &[step]) => Offsets::Even { len, step },
            (dims, strides) => {
                Offsets::Listed((0..dims.iter().product()).map(|index| offset(index, dims, strides)).collect())
            }
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Offsets::Even { len, .. } => *len,
            Offsets::Listed(list) => list.len(),
        }
    }

    pub fn bytes(&self) -> usize {
        match self {
            Offsets::Even { .. } => 0,
            Offsets::Listed(list) => size_of_val(&list[..]),
        }
    }

    #[inline(always)]
    pub fn at(&self, index: usize) -> usize {
        match self {
            Offsets::Even { step, .. } => index * step,
            Offsets::Listed(list) => list[index],
        }
    }

    /// The one step, if they are evenly spaced.
    pub fn step(&self) -> Option<usize> {
        match self {
            Offsets::Even { step, .. } => Some(*step),
            Offsets::Listed(_) => None,
        }
    }
}

/// Offsets in panels of a fixed width, each split into segments that lie side by side.
#[derive(Debug, Clone)]
pub(super) struct Panels {
    segments: Vec<Segment>,
    /// Where each panel's segments begin, and the end.
    first: Vec<usize>,
    /// Whether segments are long enough to be copied one by one.
    pub even: bool,
    /// Offsets of all lanes of all panels, if no two lie side by side; panels are filled from their first lane on.
    apart: Vec<u32>,
}

/// Lanes of a panel whose elements lie side by side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub lane: usize,
    pub len: usize,
    pub from: usize,
}

impl Panels {
    /// Of `cuts`, so many to a panel, so many lanes apart: each is a range of indices that follow one another.
    pub fn new(offsets: &Offsets, cuts: &[Range<usize>], count: usize, lanes: usize) -> Panels {
        let mut panels = Panels { segments: Vec::new(), first: Vec::new(), even: false, apart: Vec::new() };
        for (at, cut) in cuts.iter().enumerate() {
            let corner = at % count * lanes;
            if corner == 0 {
                panels.first.push(panels.segments.len());
            }
            for (lane, index) in (corner..).zip(cut.clone()) {
                let from = offsets.at(index);
                match panels.segments.last_mut() {
                    Some(last) if lane > 0 && last.lane + last.len == lane && last.from + last.len == from => {
                        last.len += 1;
                    }
                    _ => panels.segments.push(Segment { lane, len: 1, from }),
                }
            }
        }
        panels.first.push(panels.segments.len());
        panels.segments.shrink_to_fit();
        panels.even = offsets.len() >= 4 * panels.segments.len();
        let filled =
            (0..panels.first.len() - 1).all(|p| panels.segments(p).iter().enumerate().all(|(i, s)| s.lane == i));
        if filled && panels.segments.iter().all(|s| s.len == 1 && i32::try_from(s.from).is_ok()) {
            panels.apart = panels.segments.iter().map(|s| s.from as u32).collect();
        }
        panels
    }

    pub fn bytes(&self) -> usize {
        size_of_val(&self.segments[..]) + size_of_val(&self.first[..]) + size_of_val(&self.apart[..])
    }

    #[inline(always)]
    pub fn segments(&self, panel: usize) -> &[Segment] {
        &self.segments[self.first[panel]..self.first[panel + 1]]
    }
}

/// Indices cut into vectors: so many at a time, or fewer where they do not lie side by side if `apart`.
pub(super) fn cut(offsets: &Offsets, lanes: usize, apart: bool) -> Vec<Range<usize>> {
    let mut cuts: Vec<Range<usize>> = Vec::new();
    for index in 0..offsets.len() {
        let follows = |index: usize| !apart || offsets.at(index) == offsets.at(index - 1) + 1;
        match cuts.last_mut() {
            Some(last) if last.len() < lanes && follows(index) => last.end += 1,
            _ => cuts.push(index..index + 1),
        }
    }
    cuts
}

/// The inner index of an operand: runs of evenly spaced elements, all of one length.
#[derive(Debug, Clone)]
pub(super) struct Runs {
    pub starts: Vec<usize>,
    pub len: usize,
    pub step: usize,
}

impl Runs {
    pub fn new(dims: &[usize], strides: &[usize]) -> Runs {
        let (mut dims, mut strides) = coalesce(dims, &[strides]);
        let len = dims.pop().unwrap_or(1);
        let step = strides[0].pop().unwrap_or(0);
        let starts = (0..dims.iter().product()).map(|index| offset(index, &dims, &strides[0])).collect();
        Runs { starts, len, step }
    }

    pub fn bytes(&self) -> usize {
        size_of_val(&self.starts[..])
    }

    /// Offset of an inner index.
    pub fn at(&self, index: usize) -> usize {
        self.starts[index / self.len] + index % self.len * self.step
    }

    /// Whether it is one run.
    pub fn even(&self) -> bool {
        self.starts.len() == 1
    }

    /// The parts of runs that a range of inner indices meets: where they start, and how long they are.
    #[inline(always)]
    fn pieces(&self, range: &Range<usize>) -> impl Iterator<Item = (usize, usize)> + Clone {
        let (mut at, end) = (range.start, range.end);
        std::iter::from_fn(move || {
            let within = at % self.len;
            let len = (self.len - within).min(end.saturating_sub(at));
            let piece = (len > 0).then(|| (self.starts[at / self.len] + within * self.step, len));
            at += len;
            piece
        })
    }
}

/// Copies panels: in each, for every inner index of the block a row of `width` lanes, those that the segments lack 0.
#[allow(clippy::too_many_arguments)]
#[inline(always)]
pub(super) fn pack<T: Real>(
    simd: Simd,
    data: &[T],
    panels: &Panels,
    chosen: Range<usize>,
    width: usize,
    runs: &Runs,
    block: Range<usize>,
    to: &mut [T],
) {
    let size = block.len() * width;
    if panels.even || runs.step != 1 {
        // Along the lanes, all panels at once: what is read lies side by side.
        let mut row = 0;
        for (start, len) in runs.pieces(&block) {
            for from in (0..len).map(|l| start + l * runs.step) {
                let ahead = data.as_ptr().wrapping_add(from + AHEAD * runs.step);
                for (panel, to) in chosen.clone().zip(to.chunks_exact_mut(size)) {
                    let to = &mut to[row * width..(row + 1) * width];
                    if !panels.apart.is_empty() {
                        let table = &panels.apart[panels.first[panel]..panels.first[panel + 1]];
                        T::listed(simd, &data[from..], table, to);
                        to[table.len()..].iter_mut().for_each(|v| *v = T::zero());
                        continue;
                    }
                    let segments = panels.segments(panel);
                    for s in segments {
                        prefetch(ahead.wrapping_add(s.from), s.len);
                        copy(&mut to[s.lane..s.lane + s.len], &data[from + s.from..]);
                    }
                    let filled = segments.last().map_or(0, |s| s.lane + s.len);
                    to[filled..].iter_mut().for_each(|v| *v = T::zero());
                }
                row += 1;
            }
        }
        return;
    }
    // Lanes lie apart, but inner indices do not: squares are turned over.
    let square = T::SQUARE;
    for (panel, mut to) in chosen.zip(to.chunks_exact_mut(size)) {
        let mut lanes = [0; WIDEST];
        let mut count = 0;
        for s in panels.segments(panel) {
            for i in 0..s.len {
                lanes[count] = s.from + i;
                count += 1;
            }
        }
        if count < width {
            to.fill(T::zero());
        }
        for (start, len) in runs.pieces(&block) {
            let (whole, long) = (count - count % square, len - len % square);
            for lane in (0..whole).step_by(square) {
                let from = |i: usize| &data[start + lanes[lane + i]..][..len];
                for l in (0..long).step_by(square) {
                    T::turn(simd, |i| &from(i)[l..l + square], &mut to[l * width + lane..], width);
                }
            }
            for (lane, from) in lanes[..count].iter().enumerate() {
                let rest = if lane < whole { long } else { 0 };
                let from = &data[start + from..][..len];
                for l in rest..len {
                    to[l * width + lane] = from[l];
                }
            }
            to = &mut to[len * width..];
        }
    }
}

/// Writes rows of so many lanes to where they lie, given the steps from row to row and from lane to lane; rows that lie side by side
/// are turned over, a square at a time.
#[inline(always)]
pub(super) fn scatter<T: Real>(simd: Simd, values: &[T], lanes: usize, [row, lane]: [usize; 2], to: &mut [T]) {
    let (rows, square) = (values.len() / lanes, T::SQUARE);
    let (whole, long) = (if row == 1 { rows - rows % square } else { 0 }, lanes - lanes % square);
    for first in (0..whole).step_by(square) {
        for l in (0..long).step_by(square) {
            let from = |i: usize| &values[(first + i) * lanes + l..][..square];
            T::turn(simd, from, &mut to[first + l * lane..], lane);
        }
    }
    for (at, values) in values.chunks_exact(lanes).enumerate() {
        let (to, rest) = (&mut to[at * row..], if at < whole { long } else { 0 });
        if lane == 1 {
            copy(&mut to[rest..lanes], &values[rest..]);
            continue;
        }
        for (l, &value) in values.iter().enumerate().skip(rest) {
            to[l * lane] = value;
        }
    }
}

/// Copies as many elements as `to` has, in pieces of fixed length: most segments are too short for a call of `memcpy`.
#[inline(always)]
pub(super) fn copy<T: Real>(to: &mut [T], from: &[T]) {
    #[inline(always)]
    fn piece<const N: usize, T: Real>(to: &mut [T], from: &[T], at: usize) {
        if let (Some(to), Some(from)) = (to[at..].first_chunk_mut::<N>(), from[at..].first_chunk::<N>()) {
            *to = *from;
        }
    }
    match to.len() {
        32 => piece::<32, T>(to, from, 0),
        len @ 16..32 => {
            piece::<16, T>(to, from, 0);
            piece::<16, T>(to, from, len - 16);
        }
        len @ 8..16 => {
            piece::<8, T>(to, from, 0);
            piece::<8, T>(to, from, len - 8);
        }
        len @ 4..8 => {
            piece::<4, T>(to, from, 0);
            piece::<4, T>(to, from, len - 4);
        }
        3 => piece::<3, T>(to, from, 0),
        2 => piece::<2, T>(to, from, 0),
        1 => to[0] = from[0],
        len => to.copy_from_slice(&from[..len]),
    }
}
