//! Convolutions of 3×3 taps, and both their gradients, by Winograd's F(2×2, 3×3): 16 products a tile of 2×2 places instead of 36.
//!
//! Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016): with d the 4×4 window of a tile, g the taps and y its
//! 2×2 places, `y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A`, summed over channels. So Σ y·(d ∗ g) is, over 16 points apart, a sum over tiles and
//! both kinds of channels of products of three transforms; whichever of the three is the result, what is left is a matrix product for
//! each point between the transforms of the other two, then transformed back by the transposed matrix. Channels lie innermost, and
//! are the vectors' lanes.
//!
//! Errors are those of direct products by their mean square, but each is relative to the largest values of its tile, not to its own:
//! fair in f32, but who asks for f64 wants all digits, so there products are direct. So a place whose own window is zero may come out
//! as rounding, and a value that is not finite spoils all places of its tile (of its example alone).

mod part;

use super::MatMul;
use crate::cpu::Source;
use crate::cpu::pack::{Offsets, Panels, Runs, cut};
use crate::cpu::simd::Simd;
use crate::cpu::team::Place;
use crate::cpu::tile::{Shape, reads_in_place};
use crate::memory::Buffer;
use crate::{Product, Real, View};
use part::{Part, Roomy};

/// Points of a transform.
const POINTS: usize = 16;

/// Most tiles of a block, and squares of a transform.
const BLOCK: usize = 64;

/// Fewest, if there are as many: each block reads all transforms of weights.
const FEWEST: usize = 32;

/// Bytes that the transforms of a block's windows and places are to have: so they stay in the second cache.
const ROOM: usize = 1 << 18;

/// Most bytes of transforms of weights, which every thread holds whole.
const LARGEST: usize = 4 << 20;

/// Channels that threads share weights by: tiles of all sets are about as high, and whole vectors are made of so many.
const SHARE: usize = 8;

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
            tap.extent == 3 && place.extent.is_multiple_of(2) && step > 0 && place.steps[windows] == step
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
            // Windows that are folded back are added to one after the other, all else is written at once.
            if windows != out && product.out.overlaps(&product.dims()[2]) {
                return None;
            }
            let sides = [offsets(&from, windows), offsets(others, places)];
            let whole = |side: &Offsets| side.step() == Some(1) && side.len().is_multiple_of(shape.lanes);
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
            let image: usize = from.iter().chain(&place_loops).chain(&taps_loops).map(|l| reach(l, windows)).sum();
            let apart = match &images[..] {
                [] => true,
                [one] => one.steps[windows] > image,
                _ => false,
            };
            let grid = place_loops.map(|l| l.extent / 2);
            let images = [windows, places].map(|view| offsets(&images, view));
            if POINTS * c * k * size_of::<T>() > LARGEST {
                return None;
            }
            let fit = (ROOM / (POINTS * (c + k) * size_of::<T>())).clamp(FEWEST, BLOCK);
            let block = fit / shape.rows * shape.rows;
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

    /// Whether it costs less than a direct product, in rough cycles: 16 multiply-adds of vectors instead of 36, which shorter sums
    /// make 18; the loads, sums and stores of a vector's transforms, there and back; and weights, which are packed, too.
    fn repays(&self) -> bool {
        let [tiles, c, k, lanes] =
            [self.tiles(), self.channels[0], self.channels[1], self.shape.lanes].map(|x| x as f64);
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
    fn lengths(&self) -> [usize; 4] {
        let [windows, places, taps] = self.rooms.map(Room::len);
        let squares = match self.weights {
            Weights::Read(..) => self.at.len(),
            Weights::Written(_) => self.channels[WINDOWS].div_ceil(self.shape.cols()),
        };
        [windows, places, taps, 9 * squares * self.shape.cols()]
    }

    /// Elements of room that one thread needs.
    pub fn scratch(&self) -> usize {
        self.lengths().iter().sum()
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

    /// Runs on so many threads, by products if those write elements of their own.
    pub fn run<T: Real>(
        &self,
        matmul: &MatMul,
        source: Source<'_, T>,
        scratch: &mut [Buffer<T>],
        place: Place<T>,
        by_product: bool,
    ) {
        let count: usize = matmul.batch.iter().product();
        let first = matmul.batch.first().copied().unwrap_or(1);
        let (tiles, images, channels) = (self.tiles(), self.images[0].len(), self.channels[PLACES]);
        // What parts are shared by, so that they write elements of their own: how many there are, and of how many each is made.
        let [products, all, places] = [0, 1, 2];
        let (by, units, unit) = match &self.weights {
            _ if by_product => (products, first, count / first),
            Weights::Written(_) => (places, channels / SHARE, SHARE),
            Weights::Read(..) if self.views[PLACES] == 2 => (all, tiles, 1),
            Weights::Read(..) if self.apart && count == 1 => (all, images, tiles / images),
            Weights::Read(..) => (all, 1, tiles),
        };
        let threads = scratch.len().min(units);
        source.team.parts(&mut scratch[..threads], |part, scratch| {
            let mut ranges = [0..count, 0..tiles, 0..channels];
            ranges[by] = units * part / threads * unit..units * (part + 1) / threads * unit;
            let [products, tiles, channels] = ranges;
            let part = Part { winograd: self, matmul, source, products, tiles, channels, place };
            matmul.simd.run(Roomy { part, scratch });
        });
    }
}

/// Elements that a loop steps over in a view.
fn reach(l: &Loop, view: usize) -> usize {
    (l.extent - 1) * l.steps[view]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Places from windows: `[n, y, x, k]` of `[n, y + p, x + q, c]` and `[k, c, p, q]`.
    fn forward(n: usize, side: usize, [c, k]: [usize; 2], step: usize) -> Product {
        let row = (step * side + 2) * c;
        let image = (step * side + 2) * row;
        Product {
            rows: vec![n, side, side],
            inner: vec![c, 3, 3],
            cols: vec![k],
            scale: 1.0,
            a: View::new(0, 0, &[image, step * row, step * c, 1, row, c]),
            b: View::new(1, 0, &[9, 3, 1, 9 * c]),
            out: View::new(2, 0, &[side * side * k, side * k, k, 1]),
            ..Product::default()
        }
    }

    fn found<T: Real>(product: &Product) -> Option<[usize; 3]> {
        Winograd::new::<T>(product, Simd::best()).map(|winograd| winograd.views)
    }

    #[test]
    fn convolutions_that_it_repays_are_found_whichever_the_result_is() {
        if !reads_in_place(Simd::best()) {
            return;
        }
        for (n, side, channels) in [(4, 32, [16, 16]), (4, 16, [32, 32]), (1, 8, [64, 64]), (16, 6, [96, 128])] {
            let product = forward(n, side, channels, 1);
            assert_eq!(found::<f32>(&product), Some([0, 2, 1]), "{product:?}");
            assert_eq!(found::<f64>(&product), None);
            let [c, k] = channels;
            let Product { a: windows, out: places, .. } = product;
            let [image, row, col] = [windows.strides[0], windows.strides[1], c];
            let weights = Product {
                rows: vec![k],
                inner: vec![n, side, side],
                cols: vec![c, 3, 3],
                scale: 1.0,
                a: View::new(0, 0, &[1, side * side * k, side * k, k]),
                b: View::new(1, 0, &[image, row, col, 1, row, col]),
                out: View::new(2, 0, &[9 * c, 9, 3, 1]),
                ..Product::default()
            };
            assert_eq!(found::<f32>(&weights), Some([1, 0, 2]));
            let inputs = Product {
                rows: vec![n, side, side],
                inner: vec![k],
                cols: vec![c, 3, 3],
                scale: 1.0,
                a: View { slot: 0, strides: [&places.strides[..3], &[1]].concat(), ..places },
                b: View::new(1, 0, &[9 * c, 9, 3, 1]),
                out: View::new(2, 0, &[image, row, col, 1, row, col]),
                accumulate: true,
                ..Product::default()
            };
            assert_eq!(found::<f32>(&inputs), Some([2, 0, 1]));
        }
    }

    #[test]
    fn what_is_none_or_does_not_repay_is_left_alone() {
        // Odd places, channels that fill no vectors, strides, one tile.
        for (n, side, channels, step) in
            [(4, 7, [32, 32], 1), (4, 8, [20, 32], 1), (4, 8, [32, 33], 1), (4, 8, [32, 32], 2), (1, 2, [64, 64], 1)]
        {
            assert_eq!(found::<f32>(&forward(n, side, channels, step)), None, "{n} {side} {channels:?} {step}");
        }
        let mut taps = forward(4, 8, [32, 32], 1);
        taps.inner[2] = 2;
        assert_eq!(found::<f32>(&taps), None);
        // Weights too large to be held, and places that lie on each other.
        assert_eq!(found::<f32>(&forward(4, 8, [288, 256], 1)), None);
        let mut over = Product { accumulate: true, ..forward(4, 8, [32, 32], 1) };
        over.out.strides[0] = 0;
        assert_eq!(found::<f32>(&over), None);
        let mut across = forward(4, 8, [32, 32], 1);
        across.out.strides = vec![64 * 32, 8, 1, 64];
        assert_eq!(found::<f32>(&across), None);
        let plain = Product {
            rows: vec![64],
            inner: vec![64],
            cols: vec![64],
            a: View::new(0, 0, &[64, 1]),
            b: View::new(1, 0, &[64, 1]),
            out: View::new(2, 0, &[64, 1]),
            ..Product::default()
        };
        assert_eq!(found::<f32>(&plain), None);
    }
}
