//! Matrix products of strided views, by tiles: at most one operand read in place, the other packed into panels.
//!
//! What costs less is decided once, from the strides. The windows of a convolution are thus never a matrix: they are read where they
//! lie, or packed a block at a time. Small plain products are loops; convolutions of 3×3 taps, which are also found by their strides,
//! go by way of transforms.

mod part;
mod tiles;
mod winograd;

use super::Source;
use super::pack::{Offsets, Runs};
use super::simd::Simd;
use super::team::Place;
use crate::memory::Buffer;
use crate::nest::descending;
use crate::{Product, Real, View};
use part::Part;
use tiles::Tiles;
use winograd::Winograd;

/// Multiply-adds below which packing costs more than it saves.
const SMALL: usize = 16 * 16 * 16;

#[derive(Debug, Clone)]
pub(super) struct MatMul {
    simd: Simd,
    batch: Vec<usize>,
    /// Rows, inner, columns.
    size: [usize; 3],
    scale: f64,
    accumulate: bool,
    a: Operand,
    b: Operand,
    out: Operand,
    kind: Kind,
    /// Whether no element of `out` is reached twice, and whether at least none is from two indices of the first batch loop.
    distinct: bool,
    apart: bool,
}

/// Where products start: strides of the loops around them.
#[derive(Debug, Clone)]
struct Operand {
    slot: usize,
    offset: usize,
    batch: Vec<usize>,
}

#[derive(Debug, Clone)]
enum Kind {
    /// A small product of plain matrices, by loops: row and column strides of `a`, `b` and `out`.
    Loops([[usize; 2]; 3]),
    Tiles(Box<Tiles>),
    /// A convolution, or a gradient of one, by fewer products.
    Winograd(Box<Winograd>),
}

/// A product before it is decided how to compute it.
#[derive(Debug, Clone)]
struct Sides {
    size: [usize; 3],
    /// Inner loops of `a` and of `b`.
    runs: [Runs; 2],
    /// Rows of `a` and columns of `b`, and the same of `out`.
    lanes: [Offsets; 2],
    out: [Offsets; 2],
}

/// Loops that may be taken in any order, and the strides of the two views that have them.
struct Group<'p> {
    dims: &'p [usize],
    strides: [Vec<usize>; 2],
}

impl Group<'_> {
    /// Orders in which one view or the other runs through memory.
    fn orders(&self) -> Vec<Vec<usize>> {
        let mut orders: Vec<Vec<usize>> = self.strides.iter().map(|s| descending(0..self.dims.len(), s)).collect();
        orders.dedup();
        orders
    }

    fn sorted(&self, order: &[usize]) -> (Vec<usize>, [Vec<usize>; 2]) {
        let pick = |of: &[usize]| order.iter().map(|&axis| of[axis]).collect::<Vec<_>>();
        (pick(self.dims), [pick(&self.strides[0]), pick(&self.strides[1])])
    }
}

impl Sides {
    /// Of rows, inner loops and columns in these orders.
    fn new(size: [usize; 3], loops: &[Group<'_>; 3], orders: [Vec<usize>; 3]) -> Sides {
        let [rows, inner, cols] = [0, 1, 2].map(|at| loops[at].sorted(&orders[at]));
        let runs = |side: usize| Runs::new(&inner.0, &inner.1[side]);
        let offsets = |(dims, strides): &(Vec<usize>, [Vec<usize>; 2]), view: usize| Offsets::new(dims, &strides[view]);
        Sides {
            size,
            runs: [runs(0), runs(1)],
            lanes: [offsets(&rows, 0), offsets(&cols, 0)],
            out: [offsets(&rows, 1), offsets(&cols, 1)],
        }
    }

    /// In every order that suits one of the views.
    fn each(size: [usize; 3], loops: &[Group<'_>; 3]) -> Vec<Sides> {
        let [rows, inner, cols] = [0, 1, 2].map(|at| loops[at].orders());
        let mut all = Vec::new();
        for rows in &rows {
            for inner in &inner {
                for cols in &cols {
                    all.push(Sides::new(size, loops, [rows.clone(), inner.clone(), cols.clone()]));
                }
            }
        }
        all
    }

    /// The transposed product: what were rows are columns.
    fn swapped(&self) -> Sides {
        let mut swapped = self.clone();
        swapped.size.reverse();
        swapped.runs.reverse();
        swapped.lanes.reverse();
        swapped.out.reverse();
        swapped
    }

    /// Row and column strides of `a`, `b` and `out`, if they are plain matrices.
    fn plain(&self) -> Option<[[usize; 2]; 3]> {
        let ([a, b], [rows, cols], [out_rows, out_cols]) = (&self.runs, &self.lanes, &self.out);
        let matrices = [[rows.step()?, a.step], [b.step, cols.step()?], [out_rows.step()?, out_cols.step()?]];
        (a.even() && b.even()).then_some(matrices)
    }
}

impl MatMul {
    pub(super) fn new<T: Real>(product: &Product, simd: Simd) -> MatMul {
        let Product { batch, rows, inner, cols, scale, a, b, out, accumulate } = product;
        let size @ [m, k, n] = [rows, inner, cols].map(|dims| dims.iter().product());
        let within: usize = out.strides.iter().zip(&product.dims()[2]).skip(1).map(|(s, d)| s * (d - 1)).sum();
        let around = batch.len();
        let group = |view: &View, skip: usize, dims: &[usize]| view.strides[around + skip..][..dims.len()].to_vec();
        let loops = [
            Group { dims: rows, strides: [group(a, 0, rows), group(out, 0, rows)] },
            Group { dims: inner, strides: [group(a, rows.len(), inner), group(b, 0, inner)] },
            Group { dims: cols, strides: [group(b, inner.len(), cols), group(out, rows.len(), cols)] },
        ];
        let first =
            Sides::new(size, &loops, [&loops[0], &loops[1], &loops[2]].map(|g| (0..g.dims.len()).collect::<Vec<_>>()));
        let operand =
            |view: &View| Operand { slot: view.slot, offset: view.offset, batch: view.strides[..batch.len()].to_vec() };
        let mut matmul = MatMul {
            simd,
            batch: batch.clone(),
            size,
            scale: *scale,
            accumulate: *accumulate,
            a: operand(a),
            b: operand(b),
            out: operand(out),
            kind: Kind::Loops([[0; 2]; 3]),
            distinct: !out.overlaps(&product.dims()[2]),
            apart: out.strides.first().is_some_and(|&step| !batch.is_empty() && within < step),
        };
        let is_small = m == 1 || n == 1 || m * k * n < SMALL;
        if let (true, Some(strides)) = (is_small, first.plain()) {
            matmul.kind = Kind::Loops(strides);
            return matmul;
        }
        if let Some(winograd) = Winograd::new::<T>(product, simd) {
            matmul.kind = Kind::Winograd(Box::new(winograd));
            return matmul;
        }
        let mut best: Option<(f64, bool, Tiles)> = None;
        for sides in Sides::each(size, &loops) {
            for (turned, sides) in [(false, sides.clone()), (true, sides.swapped())] {
                for tiles in
                    [Tiles::packing::<T>(&sides, simd), Tiles::reading::<T>(&sides, simd)].into_iter().flatten()
                {
                    let cost = tiles.cost(sides.size);
                    if best.as_ref().is_none_or(|best| cost < best.0) {
                        best = Some((cost, turned, tiles));
                    }
                }
            }
        }
        if let Some((_, turned, tiles)) = best {
            if turned {
                matmul.size.reverse();
                std::mem::swap(&mut matmul.a, &mut matmul.b);
            }
            matmul.kind = Kind::Tiles(Box::new(tiles));
        }
        matmul
    }

    pub(super) fn out_slot(&self) -> usize {
        self.out.slot
    }

    /// Work in units of about an element of a map.
    pub(super) fn work(&self) -> usize {
        self.batch.iter().chain(&self.size).product::<usize>() / 16
    }

    /// Bytes of the tables it holds.
    pub(super) fn bytes(&self) -> usize {
        match &self.kind {
            Kind::Loops(_) => 0,
            Kind::Tiles(tiles) => tiles.bytes(),
            Kind::Winograd(winograd) => winograd.bytes(),
        }
    }

    /// Elements of packing room that one thread needs.
    pub(super) fn scratch<T: Real>(&self) -> usize {
        match &self.kind {
            Kind::Loops(_) => 0,
            Kind::Tiles(tiles) => tiles.room::<T>().iter().sum::<usize>(),
            Kind::Winograd(winograd) => winograd.scratch(),
        }
    }

    pub(super) fn run<T: Real>(&self, source: Source<'_, T>, scratch: &mut [Buffer<T>], out: &mut [T]) {
        let [m, _, n] = self.size;
        let count: usize = self.batch.iter().product();
        let place = Place::new(out);
        // Columns are counted in panels, if there are.
        let (tall, wide) = match &self.kind {
            Kind::Loops(_) => (1, n),
            Kind::Tiles(tiles) => (tiles.shape.rows, tiles.panels()),
            Kind::Winograd(_) => (1, 1), // shared otherwise
        };
        let first = self.batch.first().copied().unwrap_or(1);
        let mut threads = source.team.threads(self.work()).min(scratch.len());
        let by_product = if self.distinct { first >= 2 * threads } else { self.apart && first > 1 };
        if let Kind::Winograd(winograd) = &self.kind {
            return winograd.run(self, source, &mut scratch[..threads], place, by_product);
        }
        let by_column = wide >= m.div_ceil(tall);
        if !self.distinct && !by_product {
            threads = 1;
        }
        let share = |total: usize, unit: usize, part: usize| {
            let units = total.div_ceil(unit);
            let bound = |part: usize| (units * part / threads * unit).min(total);
            bound(part)..bound(part + 1)
        };
        // Parts write elements of their own: products of their own first batch indices, or rows or columns of their own.
        source.team.parts(&mut scratch[..threads], |part, scratch| {
            let (mut products, mut rows, mut cols) = (0..count, 0..m, 0..wide);
            if by_product {
                let (range, within) = (share(first, 1, part), count / first);
                products = range.start * within..range.end * within;
            } else if by_column {
                cols = share(wide, 1, part);
            } else {
                rows = share(m, tall, part);
            }
            self.simd.run(Part { matmul: self, source, products, rows, cols, scratch, place });
        });
    }
}
