//! One thread's part of a convolution by transforms.

use std::ops::Range;

use super::{BLOCK, PLACES, POINTS, TAPS, WINDOWS, Weights, Winograd};
use crate::Real;
use crate::cpu::Source;
use crate::cpu::change::{Change, Matrix};
use crate::cpu::matmul::MatMul;
use crate::cpu::pack::{Offsets, Panels, Runs, pack};
use crate::cpu::simd::Work;
use crate::cpu::team::Place;
use crate::cpu::tile::Tile;
use crate::memory::Buffer;
use crate::nest::offset;

/// Most rows of a tile.
const TALL: usize = 8;

/// What one thread computes.
pub(super) struct Part<'p, T> {
    pub winograd: &'p Winograd,
    pub matmul: &'p MatMul,
    pub source: Source<'p, T>,
    pub products: Range<usize>,
    pub tiles: Range<usize>,
    /// Of places, if taps are the result.
    pub channels: Range<usize>,
    pub place: Place<T>,
}

/// The same, with room to do it in.
pub(super) struct Roomy<'p, T> {
    pub part: Part<'p, T>,
    pub scratch: &'p mut Buffer<T>,
}

/// Where the three lie, and the transforms of each.
#[derive(Debug, Clone, Copy)]
struct Three<T> {
    values: [*mut T; 3],
    points: [*mut T; 3],
}

impl<T: Real> Work for Roomy<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Roomy { part, scratch } = self;
        let (w, m) = (part.winograd, part.matmul);
        let rooms = w.lengths();
        let (transforms, taps) = scratch[..w.scratch()].split_at_mut(rooms[..3].iter().sum());
        let base = transforms.as_mut_ptr();
        let points = [base, base.wrapping_add(rooms[0]), base.wrapping_add(rooms[0] + rooms[1])];
        for p in part.products.clone() {
            let operands = [&m.a, &m.b, &m.out];
            let start = w.views.map(|view| operands[view].offset + offset(p, &m.batch, &operands[view].batch));
            let values = [0, 1, 2].map(|one| match w.views[one] {
                2 => part.place.at(start[one]),
                view => part.source.slot(operands[view].slot)[start[one]..].as_ptr().cast_mut(),
            });
            let three = Three { values, points };
            match &w.weights {
                Weights::Read(panels, runs) => {
                    let data = &part.source.slot(operands[w.views[TAPS]].slot)[start[TAPS]..];
                    part.convolve(three, (panels, runs), data, taps);
                }
                Weights::Written(offsets) => part.correlate(three, offsets, taps),
            }
        }
    }
}

impl<T: Real> Part<'_, T> {
    /// Places from windows, or what places add to windows.
    #[inline(always)]
    fn convolve(&self, three: Three<T>, (panels, runs): (&Panels, &Runs), data: &[T], taps: &mut [T]) {
        let w = self.winograd;
        let (width, [c, k]) = (w.shape.cols(), w.channels);
        let (from, to) = if w.views[PLACES] == 2 { (WINDOWS, PLACES) } else { (PLACES, WINDOWS) };
        let (depth, lanes) = if to == PLACES { (c, k) } else { (k, c) };
        for panel in 0..lanes.div_ceil(width) {
            pack(self.matmul.simd, data, panels, panel..panel + 1, width, runs, 0..9 * depth, taps);
            let change = Change {
                matrix: Matrix::Taps,
                from: taps.as_ptr(),
                to: three.points[TAPS].wrapping_add(panel * w.rooms[TAPS].panel),
                at: &[],
                steps: [[3 * width, width, 0], w.rooms[TAPS].steps()],
                channels: 0..width.min(lanes - panel * width),
                add: false,
            };
            self.change(change, 0..depth, |i| [i * 9 * width, i * width]);
        }
        for start in self.tiles.clone().step_by(w.block) {
            let tiles = start..self.tiles.end.min(start + w.block);
            self.there(three, from, tiles.clone(), 0..w.channels[from]);
            for point in 0..POINTS {
                let at = |one: usize| three.points[one].wrapping_add(point * w.rooms[one].point);
                for panel in 0..lanes.div_ceil(width) {
                    let lanes = lanes - panel * width;
                    let b = at(TAPS).wrapping_add(panel * w.rooms[TAPS].panel);
                    let out = at(to).wrapping_add(panel * w.rooms[to].panel);
                    self.product(at(from), width, tiles.len(), b, depth, lanes, out, false);
                }
            }
            self.back(three, to, tiles);
        }
    }

    /// Taps from windows and places.
    #[inline(always)]
    #[allow(unsafe_code)]
    fn correlate(&self, three: Three<T>, offsets: &[Offsets; 2], taps: &mut [T]) {
        let w = self.winograd;
        let (width, c, own) = (w.shape.cols(), w.channels[WINDOWS], self.channels.clone());
        for start in self.tiles.clone().step_by(w.block) {
            let tiles = start..self.tiles.end.min(start + w.block);
            self.there(three, WINDOWS, tiles.clone(), 0..c);
            let lanes = w.shape.lanes;
            self.there(three, PLACES, tiles.clone(), own.start / lanes * lanes..own.end.next_multiple_of(lanes));
            for point in 0..POINTS {
                let at = |one: usize| three.points[one].wrapping_add(point * w.rooms[one].point);
                for panel in 0..c.div_ceil(width) {
                    for side in own.start / width..own.end.div_ceil(width) {
                        let rows = own.start.max(side * width)..own.end.min(side * width + width);
                        let a = at(PLACES).wrapping_add(side * w.rooms[PLACES].panel + rows.start % width);
                        let b = at(WINDOWS).wrapping_add(panel * w.rooms[WINDOWS].panel);
                        let out = at(TAPS).wrapping_add(panel * w.rooms[TAPS].panel + rows.start * width);
                        self.product(
                            a,
                            1,
                            rows.len(),
                            b,
                            tiles.len(),
                            c - panel * width,
                            out,
                            start > self.tiles.start,
                        );
                    }
                }
            }
        }
        let (add, [down, across]) = (self.matmul.accumulate, w.steps[TAPS]);
        let change = |to: *mut T, [down, across]: [usize; 2], add: bool| Change {
            matrix: Matrix::Untaps,
            from: three.points[TAPS].cast_const(),
            to,
            at: &[],
            steps: [w.rooms[TAPS].steps(), [down, across, width]],
            channels: 0..c,
            add,
        };
        if offsets[0].step() == Some(1) {
            let change = change(three.values[TAPS], w.steps[TAPS], add);
            return self.change(change, own, |channel| [channel * width, offsets[1].at(channel)]);
        }
        // Channels of windows lie apart: by way of a room where they do not.
        for channel in own {
            self.change(change(taps.as_mut_ptr(), [3 * c, c], false), channel..channel + 1, |channel| {
                [channel * width, 0]
            });
            let to = three.values[TAPS].wrapping_add(offsets[1].at(channel));
            for (tap, values) in taps[..9 * c].chunks_exact(c).enumerate() {
                let to = to.wrapping_add(tap / 3 * down + tap % 3 * across);
                for (from, &value) in values.iter().enumerate() {
                    // SAFETY: `Program::new` and `run` checked that results lie inside; no other thread has these.
                    let to = unsafe { &mut *to.wrapping_add(offsets[0].at(from)) };
                    *to = if add { *to + value } else { value };
                }
            }
        }
    }

    /// Values of tiles to points.
    #[inline(always)]
    fn there(&self, three: Three<T>, one: usize, tiles: Range<usize>, channels: Range<usize>) {
        let w = self.winograd;
        let change = Change {
            matrix: if one == WINDOWS { Matrix::Window } else { Matrix::Place },
            from: three.values[one],
            to: three.points[one],
            at: &[],
            steps: [w.values(one), w.rooms[one].steps()],
            channels,
            add: false,
        };
        self.change(change, tiles.clone(), |tile| [w.corner(one, tile), (tile - tiles.start) * w.shape.cols()]);
    }

    /// Points to values of tiles.
    #[inline(always)]
    fn back(&self, three: Three<T>, one: usize, tiles: Range<usize>) {
        let w = self.winograd;
        let change = Change {
            matrix: if one == WINDOWS { Matrix::Unwindow } else { Matrix::Unplace },
            from: three.points[one],
            to: three.values[one],
            at: &[],
            steps: [w.rooms[one].steps(), w.values(one)],
            channels: 0..w.channels[one],
            add: self.matmul.accumulate,
        };
        self.change(change, tiles.clone(), |tile| [(tile - tiles.start) * w.shape.cols(), w.corner(one, tile)]);
    }

    /// Transforms squares, given where each lies in both.
    #[inline(always)]
    #[allow(unsafe_code)]
    fn change(&self, change: Change<'_, T>, squares: Range<usize>, lies: impl Fn(usize) -> [usize; 2]) {
        for start in squares.clone().step_by(BLOCK) {
            let mut at = [[0; 2]; BLOCK];
            let count = BLOCK.min(squares.end - start);
            for (i, at) in at[..count].iter_mut().enumerate() {
                *at = lies(start + i);
            }
            // SAFETY: `Program::new` checked every view against its slot and `run` the slots' lengths, so squares of values lie
            // inside, as those of points do in their rooms, and channels fill vectors; no other thread writes these values.
            unsafe { T::change(self.matmul.simd, &Change { at: &at[..count], ..change.clone() }) }
        }
    }

    /// The product of a point: so many rows of `a`, so far apart, by one panel of `b`, to one of `out`, whose rows are a panel's width
    /// apart.
    #[allow(clippy::too_many_arguments, reason = "a product has three matrices and three sizes")]
    #[inline(always)]
    #[allow(unsafe_code)]
    fn product(
        &self,
        a: *mut T,
        step: usize,
        rows: usize,
        b: *mut T,
        len: usize,
        lanes: usize,
        out: *mut T,
        add: bool,
    ) {
        let Winograd { shape, at, .. } = self.winograd;
        let most = shape.lanes;
        for first in (0..rows).step_by(shape.rows) {
            let count = shape.rows.min(rows - first);
            let mut from = [a.cast_const(); TALL];
            let mut to = [out; TALL];
            for (i, (from, to)) in from.iter_mut().zip(&mut to).enumerate() {
                *from = from.wrapping_add((first + i) * step);
                *to = to.wrapping_add((first + i) * shape.cols());
            }
            let tile = Tile {
                rows: &from[..count],
                b: [b.cast_const(), b.cast_const().wrapping_add(most)],
                lanes: [most.min(lanes), most.min(lanes.saturating_sub(most))],
                len,
                at,
                packed: [false, true],
                c: &to[..count],
                columns: [0, most],
                scale: T::from_f64(self.matmul.scale),
                add,
            };
            // SAFETY: rows and panels are of rooms whose sizes `Room` gives, apart from each other and this thread's alone; `at` has as
            // many offsets as there are inner indices.
            unsafe { T::tile(self.matmul.simd, &tile) }
        }
    }
}
