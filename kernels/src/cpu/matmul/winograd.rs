//! Convolutions of 3×3 taps, and both their gradients, by Winograd's F(2×2, 3×3): 16 products a tile of 2×2 places instead of 36.
//!
//! Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016), eq. 8: with d the 4×4 window of a tile, g the taps and
//! y its 2×2 places, `y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A`, summed over channels. So Σ y·(d ∗ g) is, over 16 points apart, a sum over tiles and
//! both kinds of channels of products of three transforms; whichever of the three is the result, what is left is a matrix product for
//! each point between the transforms of the other two, then transformed back by the transposed matrix. Channels lie innermost, and
//! are the vectors' lanes.
//!
//! Sums of up to four values in front of products and of nine behind cost digits relative to the largest of a tile's, not to each
//! result's own: fair in f32, but who asks for f64 wants them all, so there products are direct.

use std::ops::Range;

use super::MatMul;
use crate::cpu::Source;
use crate::cpu::change::{Change, Matrix};
use crate::cpu::pack::{Offsets, Panels, Runs, cut, pack};
use crate::cpu::simd::{Simd, Work};
use crate::cpu::team::Place;
use crate::cpu::tile::{Shape, Tile, reads_in_place};
use crate::memory::Buffer;
use crate::nest::offset;
use crate::{Product, Real, View};

/// Points of a transform.
const POINTS: usize = 16;

/// Most tiles of a block, and squares of a transform.
const BLOCK: usize = 64;

/// Bytes that the transforms of a block's windows and places may have: they stay in the second cache.
const ROOM: usize = 1 << 18;

/// Most rows of a tile.
const TALL: usize = 8;

/// The three that make a convolution: windows of images, places of what it yields, taps of its weights.
const WINDOWS: usize = 0;
const PLACES: usize = 1;
const TAPS: usize = 2;

/// A product that is a convolution, or a gradient of one.
#[derive(Debug, Clone)]
pub(super) struct Winograd {
    shape: Shape,
    /// Which of `a`, `b` and the result (2) each of the three is.
    views: [usize; 3],
    /// Offsets of images, among windows and among places.
    images: [Offsets; 2],
    /// Whether images share no element.
    apart: bool,
    /// Tiles of an image, down and across.
    grid: [usize; 2],
    /// Steps of a row and of a column in each of the three.
    steps: [[usize; 2]; 3],
    /// Channels of windows and of places.
    channels: [usize; 2],
    weights: Weights,
    /// Tiles of a block.
    block: usize,
    rooms: [Room; 3],
    /// Offsets of the inner indices among the transforms whose rows are read in place.
    at: Vec<usize>,
}

/// How weights are read, or written.
#[derive(Debug, Clone)]
enum Weights {
    /// By panels of the channels of what is the result, taps and the other channels running within.
    Read(Panels, Runs),
    /// By the offsets of channels of windows and of places.
    Written([Offsets; 2]),
}

/// Transforms of one of the three: for each point and panel of channels, a row for each square.
#[derive(Debug, Clone, Copy)]
struct Room {
    panel: usize,
    point: usize,
}

impl Room {
    fn new(rows: usize, channels: usize, shape: Shape) -> Room {
        let panel = rows * shape.cols();
        // An odd number of vectors: points whose distance is a power of two would meet in one set of the first cache.
        Room { panel, point: channels.div_ceil(shape.cols()) * panel + shape.lanes }
    }

    fn len(self) -> usize {
        POINTS * self.point
    }

    /// Steps of points as a square of 4×4, and of panels.
    fn steps(self) -> [usize; 3] {
        [4 * self.point, self.point, self.panel]
    }
}

/// A loop of a product: its extent, and its steps in `a`, `b` and the result.
#[derive(Debug, Clone, Copy)]
struct Loop {
    extent: usize,
    steps: [usize; 3],
}

/// Loops of rows, inner indices and columns.
fn loops(product: &Product) -> [Vec<Loop>; 3] {
    let Product { batch, rows, inner, cols, a, b, out, .. } = product;
    let around = batch.len();
    let group = |dims: &[usize], views: [Option<(&View, usize)>; 3]| {
        let step = |view: Option<(&View, usize)>, at: usize| view.map_or(0, |(view, first)| view.strides[first + at]);
        let one = |(at, &extent): (usize, &usize)| Loop { extent, steps: views.map(|view| step(view, at)) };
        dims.iter().enumerate().filter(|&(_, &extent)| extent > 1).map(one).collect()
    };
    [
        group(rows, [Some((a, around)), None, Some((out, around))]),
        group(inner, [Some((a, around + rows.len())), Some((b, around)), None]),
        group(cols, [None, Some((b, around + inner.len())), Some((out, around + rows.len()))]),
    ]
}

/// Two loops over taps, and two over places that step through windows as they do; and what other loops there are beside each.
fn matching(taps: &[Loop], places: &[Loop], windows: usize) -> Option<[(Vec<Loop>, [Loop; 2]); 2]> {
    let find = |skip: Option<usize>| {
        let fits = |tap: &Loop, place: &Loop| {
            let step = tap.steps[windows];
            tap.extent == 3 && place.extent % 2 == 0 && step > 0 && place.steps[windows] == step
        };
        let pairs = (0..taps.len()).flat_map(|t| (0..places.len()).map(move |p| (t, p)));
        pairs.into_iter().find(|&(t, p)| Some(t) != skip && fits(&taps[t], &places[p]))
    };
    let (t, p) = find(None)?;
    let (u, q) = find(Some(t)).filter(|&(_, q)| q != p)?;
    let rest = |of: &[Loop], skip: [usize; 2]| {
        of.iter().enumerate().filter(|(i, _)| !skip.contains(i)).map(|(_, &l)| l).collect::<Vec<_>>()
    };
    Some([(rest(taps, [t, u]), [taps[t], taps[u]]), (rest(places, [p, q]), [places[p], places[q]])])
}

/// Offsets of loops in a view.
fn offsets(loops: &[Loop], view: usize) -> Offsets {
    let (dims, steps): (Vec<usize>, Vec<usize>) = loops.iter().map(|l| (l.extent, l.steps[view])).unzip();
    Offsets::new(&dims, &steps)
}

impl Winograd {
    /// If the product is of this form, its channels fill vectors, and it costs less than a direct one.
    pub fn new<T: Real>(product: &Product, simd: Simd) -> Option<Winograd> {
        if size_of::<T>() != size_of::<f32>() || !reads_in_place(simd) {
            return None;
        }
        let shape = Shape::new::<T>(simd);
        let groups = loops(product);
        // Views, and the loops that each pair of them has.
        let [a, b, out] = [0, 1, 2];
        let [rows, inner, cols] = [&groups[0], &groups[1], &groups[2]];
        let roles = [
            ([a, b, out], [inner, rows, cols]),
            ([a, out, b], [rows, inner, cols]),
            ([b, a, out], [inner, cols, rows]),
            ([b, out, a], [cols, inner, rows]),
            ([out, a, b], [rows, cols, inner]),
            ([out, b, a], [cols, rows, inner]),
        ];
        roles.into_iter().find_map(|([windows, taps, places], [around_taps, around_places, others])| {
            let [(from, taps_loops), (images, place_loops)] = matching(around_taps, around_places, windows)?;
            let views = [windows, places, taps];
            let overlaps = product.out.overlaps(&product.dims()[2]);
            // What is folded back is added up; else every result is one place.
            if (windows == out) != overlaps || windows == out && !product.accumulate {
                return None;
            }
            let sides = [offsets(&from, windows), offsets(others, places)];
            let whole = |side: &Offsets| side.step() == Some(1) && side.len() % shape.lanes == 0;
            if !sides.iter().all(whole) {
                return None;
            }
            let channels = [sides[0].len(), sides[1].len()];
            let [c, k] = channels;
            let weights = if taps == out {
                Weights::Written([offsets(&from, taps), offsets(others, taps)])
            } else {
                let (lanes, within) = if windows == out { (&from, others) } else { (others, &from) };
                let lanes = offsets(lanes, taps);
                let within = [&within[..], &taps_loops].concat();
                let (dims, steps): (Vec<usize>, Vec<usize>) = within.iter().map(|l| (l.extent, l.steps[taps])).unzip();
                let panels = Panels::new(&lanes, &cut(&lanes, shape.lanes, false), shape.vectors, shape.lanes);
                Weights::Read(panels, Runs::new(&dims, &steps))
            };
            let steps = [(windows, taps_loops), (places, place_loops), (taps, taps_loops)];
            let within: usize = from.iter().chain(&place_loops).chain(&taps_loops).map(|l| reach(l, windows)).sum();
            let apart = match &images[..] {
                [] => true,
                [one] => one.steps[windows] > within,
                _ => false,
            };
            let grid = place_loops.map(|l| l.extent / 2);
            let images = [windows, places].map(|view| offsets(&images, view));
            let fit = ROOM / (POINTS * (c + k) * size_of::<T>());
            let block = (fit / shape.rows * shape.rows).clamp(shape.rows, BLOCK);
            let depth = if windows == out { k } else { c };
            let width = shape.cols();
            let room = if taps == out { [k, c] } else { [depth, c + k - depth] };
            let rooms = [Room::new(block, c, shape), Room::new(block, k, shape), Room::new(room[0], room[1], shape)];
            let source = rooms[if windows == out { PLACES } else { WINDOWS }];
            let at = match weights {
                Weights::Written(_) => (0..block).map(|tile| tile * width).collect(),
                Weights::Read(..) => (0..depth).map(|l| l / width * source.panel + l % width).collect(),
            };
            let winograd = Winograd {
                shape,
                views,
                images,
                apart,
                grid,
                steps: steps.map(|(view, loops)| loops.map(|l| l.steps[view])),
                channels,
                weights,
                block,
                rooms,
                at,
            };
            winograd.repays().then_some(winograd)
        })
    }

    fn tiles(&self) -> usize {
        self.images[0].len() * self.grid[0] * self.grid[1]
    }

    /// Whether it costs less than a direct product, in rough cycles.
    fn repays(&self) -> bool {
        let [tiles, c, k, lanes] = [self.tiles(), self.channels[0], self.channels[1], self.shape.lanes].map(|x| x as f64);
        let products = tiles * c * k / lanes;
        let changes = tiles * (50.0 * c + 30.0 * k) / lanes + c * k * (60.0 / lanes + 1.0);
        18.0 * products + changes < 36.0 * products
    }

    /// Bytes of the tables it holds.
    pub fn bytes(&self) -> usize {
        let weights = match &self.weights {
            Weights::Read(panels, runs) => panels.bytes() + runs.bytes(),
            Weights::Written(offsets) => offsets.iter().map(Offsets::bytes).sum(),
        };
        weights + self.images.iter().map(Offsets::bytes).sum::<usize>() + size_of_val(&self.at[..])
    }

    /// Elements of transforms of the three, and of taps before or after.
    fn rooms(&self) -> [usize; 4] {
        let [windows, places, taps] = self.rooms.map(Room::len);
        let squares = match self.weights {
            Weights::Read(..) => self.at.len(),
            Weights::Written(_) => self.channels[WINDOWS].div_ceil(self.shape.cols()),
        };
        [windows, places, taps, 9 * squares * self.shape.cols()]
    }

    /// Elements of room that one thread needs.
    pub fn scratch(&self) -> usize {
        self.rooms().iter().sum()
    }

    /// The offset of a tile's corner, among windows or among places.
    #[inline(always)]
    fn corner(&self, side: usize, tile: usize) -> usize {
        let [down, across] = self.grid;
        let (image, within) = (tile / (down * across), tile % (down * across));
        let (y, x) = (2 * (within / across), 2 * (within % across));
        self.images[side].at(image) + y * self.steps[side][0] + x * self.steps[side][1]
    }

    /// Steps of rows, columns and panels of values.
    fn values(&self, one: usize) -> [usize; 3] {
        [self.steps[one][0], self.steps[one][1], self.shape.cols()]
    }

    pub fn run<T: Real>(&self, matmul: &MatMul, source: Source<'_, T>, scratch: &mut [Buffer<T>], place: Place<T>) {
        let count: usize = matmul.batch.iter().product();
        let first = matmul.batch.first().copied().unwrap_or(1);
        let threads = source.team.threads(matmul.work()).min(scratch.len());
        let [lanes, images, places] = [self.shape.lanes, self.images[0].len(), self.channels[PLACES]];
        let within = self.tiles() / images;
        let by_product = if matmul.distinct { first >= 2 * threads } else { matmul.apart && first > 1 };
        // Parts write elements of their own: whole products, tiles or images, or channels of places.
        let units = match &self.weights {
            _ if by_product => first,
            Weights::Written(_) => places / lanes,
            Weights::Read(..) if self.views[PLACES] == 2 => self.tiles(),
            Weights::Read(..) if self.apart && matmul.batch.is_empty() => images,
            Weights::Read(..) => 1,
        };
        let threads = threads.min(units);
        source.team.parts(&mut scratch[..threads], |part, scratch| {
            let share = |unit: usize| units * part / threads * unit..units * (part + 1) / threads * unit;
            let (mut products, mut tiles, mut channels) = (0..count, 0..self.tiles(), 0..places);
            match &self.weights {
                _ if by_product => products = share(count / first),
                Weights::Written(_) => channels = share(lanes),
                Weights::Read(..) if self.views[PLACES] == 2 => tiles = share(1),
                Weights::Read(..) if units > 1 => tiles = share(within),
                Weights::Read(..) => {}
            }
            let part = Part { winograd: self, matmul, source, products, tiles, channels, place };
            matmul.simd.run(Roomy { part, scratch });
        });
    }
}

/// Elements that a loop steps over in a view.
fn reach(l: &Loop, view: usize) -> usize {
    (l.extent - 1) * l.steps[view]
}

/// What one thread computes.
struct Part<'p, T> {
    winograd: &'p Winograd,
    matmul: &'p MatMul,
    source: Source<'p, T>,
    products: Range<usize>,
    tiles: Range<usize>,
    /// Of places, if taps are the result.
    channels: Range<usize>,
    place: Place<T>,
}

/// The same, with room to do it in.
struct Roomy<'p, T> {
    part: Part<'p, T>,
    scratch: &'p mut Buffer<T>,
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
        let rooms = w.rooms();
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
            self.there(three, PLACES, tiles.clone(), own.clone());
            for point in 0..POINTS {
                let at = |one: usize| three.points[one].wrapping_add(point * w.rooms[one].point);
                for panel in 0..c.div_ceil(width) {
                    for side in own.start / width..own.end.div_ceil(width) {
                        let rows = own.start.max(side * width)..own.end.min(side * width + width);
                        let a = at(PLACES).wrapping_add(side * w.rooms[PLACES].panel + rows.start % width);
                        let b = at(WINDOWS).wrapping_add(panel * w.rooms[WINDOWS].panel);
                        let out = at(TAPS).wrapping_add(panel * w.rooms[TAPS].panel + rows.start * width);
                        self.product(a, 1, rows.len(), b, tiles.len(), c - panel * width, out, start > self.tiles.start);
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
            self.change(change(taps.as_mut_ptr(), [3 * c, c], false), channel..channel + 1, |channel| [channel * width, 0]);
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
    fn product(&self, a: *mut T, step: usize, rows: usize, b: *mut T, len: usize, lanes: usize, out: *mut T, add: bool) {
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
                scale: T::narrow(self.matmul.scale),
                add,
            };
            // SAFETY: rows and panels are of rooms whose sizes `Room` gives, apart from each other and this thread's alone; `at` has as
            // many offsets as there are inner indices.
            unsafe { T::tile(self.matmul.simd, &tile) }
        }
    }
}
