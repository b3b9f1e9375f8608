//! How a product is tiled: which operand is packed, in what blocks, and what that costs.

use std::ops::Range;

use super::Sides;
use crate::Real;
use crate::cpu::pack::{Offsets, Panels, Runs, cut};
use crate::cpu::simd::Simd;
use crate::cpu::tile::{Shape, reads_in_place};

/// Most inner indices of a block: its panels stay in the first cache.
const DEPTH: usize = 288;

/// Columns of a block: with `DEPTH` they stay in the second cache.
const COLUMNS: usize = 512;

/// Bytes of a line of the caches and of a page, and pages that are at hand.
const LINE: usize = 64;
const PAGE: usize = 4096;
const PAGES: usize = 48;

/// Most rows of a block, and so of a tile.
pub(super) const ROWS: usize = 64;

/// How a product is tiled.
#[derive(Debug, Clone)]
pub(super) struct Tiles {
    pub shape: Shape,
    pub rows: Offsets,
    /// Panels of rows of `a`, if it is packed.
    pub a: Option<Panels>,
    /// Columns by vectors.
    pub cuts: Vec<Range<usize>>,
    pub b: Columns,
    pub out_rows: Offsets,
    /// Where each vector lies in rows of the result, if its elements lie side by side there; else its segments.
    pub out_at: Vec<Option<usize>>,
    pub out: Panels,
    /// Inner loops of `a` and of `b`.
    pub runs: [Runs; 2],
    /// Offsets of inner indices in the operand that is in place: of all, or of a block's if they are evenly spaced.
    pub at: Vec<usize>,
    /// Inner indices of a block.
    pub depth: usize,
}

/// How columns of `b` are read.
#[derive(Debug, Clone)]
pub(super) enum Columns {
    /// Packed a block at a time.
    Packed(Panels),
    /// Where they lie: the offset of each vector.
    InPlace(Vec<usize>),
}

impl Tiles {
    /// Columns packed; rows read in place, or packed, too.
    pub fn packing<T: Real>(sides: &Sides, simd: Simd) -> Option<Tiles> {
        let shape = Shape::new::<T>(simd);
        // A row in place costs a stream of memory: other rows are packed.
        let inner = &sides.runs[0];
        let few = sides.size[2] <= 2 * shape.cols() && near::<T>(inner);
        let rows = reads_in_place(simd) && (inner.step <= 4 || few);
        let cuts = cut(&sides.lanes[1], shape.lanes, false);
        let b = Columns::Packed(Panels::new(&sides.lanes[1], &cuts, shape.vectors, shape.lanes));
        Some(Tiles::new(sides, shape, cuts, b, !rows))
    }

    /// Rows packed, columns read in place: few rows would not repay packing columns.
    pub fn reading<T: Real>(sides: &Sides, simd: Simd) -> Option<Tiles> {
        let shape = Shape::new::<T>(simd);
        let (columns, inner) = (&sides.lanes[1], &sides.runs[1]);
        // Columns that two tiles meet are read twice at most, wherever they lie: less than packing them costs.
        let few = sides.size[0] <= 2 * shape.rows;
        if !reads_in_place(simd) || !few && !near::<T>(inner) {
            return None;
        }
        let cuts = cut(columns, shape.lanes, true);
        let at = cuts.iter().map(|cut| columns.at(cut.start)).collect();
        // Short vectors cost as much as long ones.
        let fits = 2 * cuts.len() <= 3 * columns.len().div_ceil(shape.lanes);
        fits.then(|| Tiles::new(sides, shape, cuts, Columns::InPlace(at), true))
    }

    fn new(sides: &Sides, shape: Shape, cuts: Vec<Range<usize>>, b: Columns, pack_rows: bool) -> Tiles {
        let Sides { size, runs, lanes: [rows, _], out: [out_rows, out_cols] } = sides.clone();
        let a = pack_rows.then(|| Panels::new(&rows, &cut(&rows, shape.rows, false), 1, shape.rows));
        // Blocks of nearly one size: a short last one would cost as much as a long one to add to the result.
        let most = if let Columns::InPlace(_) = b { 4 * DEPTH } else { DEPTH };
        let depth = size[1].div_ceil(size[1].div_ceil(most));
        let joined = |cut: &Range<usize>| {
            let follows = |i: usize| out_cols.at(i) == out_cols.at(cut.start) + (i - cut.start);
            cut.clone().all(follows).then(|| out_cols.at(cut.start))
        };
        let mut tiles = Tiles {
            shape,
            rows,
            a,
            b,
            out_rows,
            out_at: cuts.iter().map(joined).collect(),
            out: Panels::new(&out_cols, &cuts, shape.vectors, shape.lanes),
            cuts,
            runs,
            at: Vec::new(),
            depth,
        };
        if let Some(side) = tiles.in_place() {
            let runs = &tiles.runs[side];
            tiles.at = (0..if runs.even() { depth } else { size[1] }).map(|index| runs.at(index)).collect();
        }
        tiles
    }

    /// Bytes of the tables it holds.
    pub fn bytes(&self) -> usize {
        let b = match &self.b {
            Columns::Packed(panels) => panels.bytes(),
            Columns::InPlace(at) => size_of_val(&at[..]),
        };
        let panels = b + self.out.bytes() + self.a.as_ref().map_or(0, Panels::bytes);
        let tables = size_of_val(&self.cuts[..]) + size_of_val(&self.out_at[..]) + size_of_val(&self.at[..]);
        let offsets = self.rows.bytes() + self.out_rows.bytes();
        panels + tables + offsets + self.runs.iter().map(Runs::bytes).sum::<usize>()
    }

    /// Panels of columns.
    pub fn panels(&self) -> usize {
        self.cuts.len().div_ceil(self.shape.vectors)
    }

    /// The operand that is read in place, if one is.
    pub fn in_place(&self) -> Option<usize> {
        match (&self.a, &self.b) {
            (None, _) => Some(0),
            (_, Columns::InPlace(_)) => Some(1),
            _ => None,
        }
    }

    /// Panels of columns taken at once.
    pub fn block(&self) -> usize {
        match self.b {
            Columns::Packed(_) => self.panels().min(COLUMNS / self.shape.cols()),
            Columns::InPlace(_) => self.panels(),
        }
    }

    /// Elements of a block of `b`, panels of `a`, and a tile of the result, twice.
    pub fn room<T: Real>(&self) -> [usize; 3] {
        let b = if let Columns::Packed(_) = self.b { self.depth * self.block() * self.shape.cols() } else { 0 };
        let a = if self.a.is_some() { ROWS * self.depth } else { 0 };
        [b, a, 2 * self.tall::<T>() * self.shape.cols()]
    }

    /// Rows of a tile, in whole squares.
    pub fn tall<T: Real>(&self) -> usize {
        self.shape.rows.next_multiple_of(T::SQUARE)
    }

    /// Whether columns of tiles lie side by side in the result, but not rows.
    pub fn turned(&self) -> bool {
        self.out_rows.step() == Some(1) && !self.out.even
    }

    /// Rough cycles of a product: multiply-adds of vectors, two a cycle if their operands come as fast, packing, and results.
    pub fn cost(&self, size: [usize; 3]) -> f64 {
        let [m, k, n] = size.map(|x| x as f64);
        let tile = |rows: usize, vectors: usize| {
            let (rows, vectors) = (rows as f64, vectors as f64);
            (rows * vectors / 2.0).max((rows + vectors) / 2.0).max(4.0)
        };
        let parts = |total: usize, unit: usize| [(total / unit, unit), (1, total % unit)];
        let mut cycles = 0.0;
        for (tall, rows) in parts(size[0], self.shape.rows.min(8)) {
            for (wide, vectors) in parts(self.cuts.len(), self.shape.vectors) {
                if rows > 0 && vectors > 0 {
                    cycles += k * (tall * wide) as f64 * tile(rows, vectors);
                }
            }
        }
        let copied = |panels: &Panels, step: usize| match (panels.even, step) {
            (true, _) => 0.25,
            (false, 1) => 0.4,
            (false, _) => 2.0,
        };
        let times = self.panels().div_ceil(self.block()) as f64;
        let a = self.a.as_ref().map_or(0.0, |a| copied(a, self.runs[0].step) * times);
        let b = match &self.b {
            Columns::Packed(panels) => copied(panels, self.runs[1].step),
            Columns::InPlace(_) => 0.0,
        };
        let blocks = k / self.depth as f64;
        let result = match (self.out.even, self.turned()) {
            (true, _) => 0.15,
            (_, true) => 0.4,
            _ => 1.5,
        };
        cycles + a * m * k + b * k * n + result * blocks.ceil() * m * n
    }
}

/// Whether inner indices lie near each other, so that a tile finds them where the one before it left them: long steps cost a page
/// each, of which the first table of pages has few, and those of a page, or large parts of one, meet in few sets of the caches.
fn near<T>(inner: &Runs) -> bool {
    let step = inner.step * size_of::<T>();
    // Sets that steps reach, in whole lines modulo the page that all sets make; of each, half the ways are left to others.
    let sets = (PAGE / LINE) >> (step / LINE).trailing_zeros().min((PAGE / LINE).trailing_zeros());
    inner.len == 1 || step < 512 || inner.even() && inner.len <= 4 * sets && inner.len * step <= PAGES * PAGE
}
