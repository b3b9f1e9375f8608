//! Matrix products of strided views, by tiles: rows of one operand read in place, columns of the other packed into panels.
//!
//! Either operand may be the one that is packed; what costs less is decided once, from the strides. The windows of a convolution
//! are thus never a matrix: they are read where they lie, or packed a block at a time. Small plain products are loops.

use std::ops::Range;

use rayon::prelude::*;

use super::Source;
use super::pack::{Offsets, Panels, Runs, copy, cut, pack};
use super::simd::{Simd, Work};
use super::tile::{Shape, Tile, reads_in_place};
use crate::nest::offset;
use crate::{Product, Real, View};

/// Multiply-adds below which packing costs more than it saves.
const SMALL: usize = 16 * 16 * 16;

/// Most inner indices of a block: its panels stay in the first cache.
const DEPTH: usize = 288;

/// Columns of a block: with `DEPTH` they stay in the second cache.
const COLUMNS: usize = 512;

/// Most rows of a block, and so of a tile.
const ROWS: usize = 64;

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
}

/// How a product is tiled.
#[derive(Debug, Clone)]
struct Tiles {
    shape: Shape,
    rows: Offsets,
    /// Panels of rows of `a`, if it is packed.
    a: Option<Panels>,
    /// Columns by vectors.
    cuts: Vec<Range<usize>>,
    b: Columns,
    out_rows: Offsets,
    /// Where each vector lies in rows of the result, if its elements lie side by side there; else its segments.
    out_at: Vec<Option<usize>>,
    out: Panels,
    /// Inner loops of `a` and of `b`.
    runs: [Runs; 2],
    /// Offsets of inner indices in the operand that is in place: of all, or of a block's if they are evenly spaced.
    at: Vec<usize>,
    /// Inner indices of a block.
    depth: usize,
}

/// How columns of `b` are read.
#[derive(Debug, Clone)]
enum Columns {
    /// Packed a block at a time.
    Packed(Panels),
    /// Where they lie: the offset of each vector.
    InPlace(Vec<usize>),
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

impl Sides {
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
        let lanes = |view: &View, skip: usize, dims: &[usize]| Offsets::new(dims, &group(view, skip, dims));
        let runs = |view: &View, skip: usize| Runs::new(inner, &group(view, skip, inner));
        let sides = Sides {
            size,
            runs: [runs(a, rows.len()), runs(b, 0)],
            lanes: [lanes(a, 0, rows), lanes(b, inner.len(), cols)],
            out: [lanes(out, 0, rows), lanes(out, rows.len(), cols)],
        };
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
        if let (true, Some(strides)) = (is_small, sides.plain()) {
            matmul.kind = Kind::Loops(strides);
            return matmul;
        }
        let mut best: Option<(f64, bool, Tiles)> = None;
        for (turned, sides) in [(false, sides.clone()), (true, sides.swapped())] {
            for tiles in [Tiles::packing::<T>(&sides, simd), Tiles::reading::<T>(&sides, simd)].into_iter().flatten() {
                let cost = tiles.cost(sides.size);
                if best.as_ref().is_none_or(|best| cost < best.0) {
                    best = Some((cost, turned, tiles));
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

    /// Bytes of the tables it holds.
    pub(super) fn bytes(&self) -> usize {
        let Kind::Tiles(tiles) = &self.kind else { return 0 };
        let b = match &tiles.b {
            Columns::Packed(panels) => panels.bytes(),
            Columns::InPlace(at) => size_of_val(&at[..]),
        };
        let panels = b + tiles.out.bytes() + tiles.a.as_ref().map_or(0, Panels::bytes);
        let tables = size_of_val(&tiles.cuts[..]) + size_of_val(&tiles.out_at[..]) + size_of_val(&tiles.at[..]);
        let offsets = tiles.rows.bytes() + tiles.out_rows.bytes();
        panels + tables + offsets + tiles.runs.iter().map(Runs::bytes).sum::<usize>()
    }

    /// Elements of packing room that one thread needs.
    pub(super) fn scratch<T: Real>(&self) -> usize {
        match &self.kind {
            Kind::Loops(_) => 0,
            Kind::Tiles(tiles) => tiles.room::<T>().iter().sum::<usize>() + ALIGN,
        }
    }

    pub(super) fn run<T: Real>(&self, source: Source<'_, T>, scratch: &mut [Vec<T>], out: &mut [T]) {
        let [m, k, n] = self.size;
        let count: usize = self.batch.iter().product();
        let threads = scratch.len();
        let place = Place(out.as_mut_ptr());
        // Columns are counted in panels, if there are.
        let (tall, wide) = match &self.kind {
            Kind::Loops(_) => (1, n),
            Kind::Tiles(tiles) => (tiles.shape.rows, tiles.panels()),
        };
        let whole =
            |scratch| Part { matmul: self, source, products: 0..count, rows: 0..m, cols: 0..wide, scratch, place };
        if threads == 1 || count * m * k * n / 16 < source.alone {
            return self.simd.run(whole(&mut scratch[0]));
        }
        let first = self.batch.first().copied().unwrap_or(1);
        let by_product = if self.distinct { first >= 2 * threads } else { self.apart && first > 1 };
        let by_column = wide >= m.div_ceil(tall);
        let share = |total: usize, unit: usize, part: usize| {
            let units = total.div_ceil(unit);
            let bound = |part: usize| (units * part / threads * unit).min(total);
            bound(part)..bound(part + 1)
        };
        if !self.distinct && !by_product {
            return self.simd.run(whole(&mut scratch[0]));
        }
        // Parts write elements of their own: products of their own first batch indices, or rows or columns of their own.
        scratch.par_iter_mut().enumerate().for_each(|(part, scratch)| {
            let mut work = whole(scratch);
            if by_product {
                let (range, within) = (share(first, 1, part), count / first);
                work.products = range.start * within..range.end * within;
            } else if by_column {
                work.cols = share(wide, 1, part);
            } else {
                work.rows = share(m, tall, part);
            }
            self.simd.run(work);
        });
    }
}

impl Tiles {
    /// Columns packed; rows read in place, or packed, too.
    fn packing<T: Real>(sides: &Sides, simd: Simd) -> Option<Tiles> {
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
    fn reading<T: Real>(sides: &Sides, simd: Simd) -> Option<Tiles> {
        let shape = Shape::new::<T>(simd);
        let (columns, inner) = (&sides.lanes[1], &sides.runs[1]);
        if !reads_in_place(simd) || !near::<T>(inner) {
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
        let most = if let Columns::InPlace(_) = b { 2 * DEPTH } else { DEPTH };
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

    /// Panels of columns.
    fn panels(&self) -> usize {
        self.cuts.len().div_ceil(self.shape.vectors)
    }

    /// The operand that is read in place, if one is.
    fn in_place(&self) -> Option<usize> {
        match (&self.a, &self.b) {
            (None, _) => Some(0),
            (_, Columns::InPlace(_)) => Some(1),
            _ => None,
        }
    }

    /// Panels of columns taken at once.
    fn block(&self) -> usize {
        match self.b {
            Columns::Packed(_) => self.panels().min(COLUMNS / self.shape.cols()),
            Columns::InPlace(_) => self.panels(),
        }
    }

    /// Elements of a block of `b`, panels of `a`, and a tile of the result, twice.
    fn room<T: Real>(&self) -> [usize; 3] {
        let b = if let Columns::Packed(_) = self.b { self.depth * self.block() * self.shape.cols() } else { 0 };
        let a = if self.a.is_some() { ROWS * self.depth } else { 0 };
        [b, a, 2 * self.tall::<T>() * self.shape.cols()]
    }

    /// Rows of a tile, in whole squares.
    fn tall<T: Real>(&self) -> usize {
        self.shape.rows.next_multiple_of(T::SQUARE)
    }

    /// Whether columns of tiles lie side by side in the result, but not rows.
    fn turned(&self) -> bool {
        self.out_rows.step() == Some(1) && !self.out.even
    }

    /// Rough cycles of a product: multiply-adds of vectors, two a cycle if their operands come as fast, packing, and results.
    fn cost(&self, size: [usize; 3]) -> f64 {
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

/// Whether inner indices lie near each other: long steps cost a page each, and those of a page, or large parts of one, meet in few
/// sets of the caches.
fn near<T>(inner: &Runs) -> bool {
    inner.len == 1 || inner.step * size_of::<T>() < 512
}

/// Where the result goes, for several threads.
#[derive(Debug)]
struct Place<T>(*mut T);

impl<T> Clone for Place<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Place<T> {}

// SAFETY: threads write elements of their own, see `MatMul::run`.
#[allow(unsafe_code)]
unsafe impl<T: Send> Send for Place<T> {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl<T: Send> Sync for Place<T> {}

/// What one thread computes.
struct Part<'p, T> {
    matmul: &'p MatMul,
    source: Source<'p, T>,
    products: Range<usize>,
    rows: Range<usize>,
    cols: Range<usize>,
    scratch: &'p mut Vec<T>,
    place: Place<T>,
}

/// Elements that packed panels are aligned to: a cache line's.
const ALIGN: usize = 16;

impl<T: Real> Work for Part<'_, T> {
    #[inline(always)]
    fn run(mut self) {
        for p in self.products.clone() {
            let out = self.matmul.out.offset + offset(p, &self.matmul.batch, &self.matmul.out.batch);
            let at = |x: &Operand| x.offset + offset(p, &self.matmul.batch, &x.batch);
            let (a, b) = (&self.matmul.a, &self.matmul.b);
            let (a, b) = (&self.source.slot(a.slot)[at(a)..], &self.source.slot(b.slot)[at(b)..]);
            match &self.matmul.kind {
                Kind::Tiles(tiles) => self.tiled(tiles, a, b, out),
                Kind::Loops(strides) => self.small(*strides, a, b, out),
            }
        }
    }
}

impl<T: Real> Part<'_, T> {
    /// One product by tiles, to the elements from `out` on.
    #[inline(always)]
    #[allow(unsafe_code)]
    fn tiled(&mut self, tiles: &Tiles, a: &[T], b: &[T], out: usize) {
        let matmul = self.matmul;
        let (MatMul { simd, size, .. }, Tiles { shape, runs, out_rows, .. }) = (matmul, tiles);
        let scale = T::narrow(matmul.scale);
        let aligned = self.scratch.as_ptr().align_offset(ALIGN * size_of::<T>()).min(ALIGN);
        let [b_room, a_room, c_room] = tiles.room::<T>();
        let (b_room, rest) = self.scratch[aligned..aligned + b_room + a_room + c_room].split_at_mut(b_room);
        let (a_room, c_room) = rest.split_at_mut(a_room);
        let aside: [*mut T; ROWS] = {
            let c = c_room.as_mut_ptr();
            std::array::from_fn(|i| c.wrapping_add(i.min(shape.rows - 1) * shape.cols()))
        };
        // matrixmultiply writes rows that are evenly spaced.
        let free = reads_in_place(*simd) || out_rows.step().is_some();
        let tall = ROWS / shape.rows * shape.rows;
        let placed = tiles.in_place();
        for first in self.cols.clone().step_by(tiles.block()) {
            let last = self.cols.end.min(first + tiles.block());
            for start in (0..size[1]).step_by(tiles.depth) {
                let block = start..size[1].min(start + tiles.depth);
                let add = matmul.accumulate || block.start > 0;
                let depth = block.len();
                if let Columns::Packed(panels) = &tiles.b {
                    pack(*simd, b, panels, first..last, shape.cols(), &runs[1], block.clone(), b_room);
                }
                // Where the block lies in the operand that is in place.
                let (mut skip, mut at) = ([0; 2], &tiles.at[..]);
                match placed {
                    Some(side) if runs[side].even() => skip[side] = block.start * runs[side].step,
                    Some(_) => at = &at[block.clone()],
                    None => {}
                }
                // A block of rows meets one panel after the other, which stays in the first cache meanwhile.
                for row in self.rows.clone().step_by(tall) {
                    let rows = row..self.rows.end.min(row + tall);
                    let mut to = [self.place.0; ROWS];
                    let mut from = [a.as_ptr(); ROWS];
                    for (i, row) in rows.clone().enumerate() {
                        to[i] = to[i].wrapping_add(out + out_rows.at(row));
                        from[i] = from[i].wrapping_add(tiles.rows.at(row) + skip[0]);
                    }
                    if let Some(panels) = &tiles.a {
                        let chosen = row / shape.rows..rows.end.div_ceil(shape.rows);
                        pack(*simd, a, panels, chosen, shape.rows, &runs[0], block.clone(), a_room);
                        for (i, from) in from[..rows.len()].iter_mut().enumerate() {
                            let (panel, lane) = (i / shape.rows, i % shape.rows);
                            *from = a_room.as_ptr().wrapping_add(panel * depth * shape.rows + lane);
                        }
                    }
                    for panel in first..last {
                        let mut vectors = [b_room.as_ptr(); 2];
                        let (mut lanes, mut columns) = ([0; 2], [0; 2]);
                        let mut straight = free;
                        for j in 0..shape.vectors.min(tiles.cuts.len() - panel * shape.vectors) {
                            let cut = panel * shape.vectors + j;
                            lanes[j] = tiles.cuts[cut].len();
                            let within = (panel - first) * depth * shape.cols() + j * shape.lanes;
                            vectors[j] = match &tiles.b {
                                Columns::Packed(_) => vectors[j].wrapping_add(within),
                                Columns::InPlace(at) => b.as_ptr().wrapping_add(at[cut] + skip[1]),
                            };
                            match tiles.out_at[cut] {
                                Some(at) => columns[j] = at,
                                None => straight = false,
                            }
                        }
                        if !straight {
                            columns = [0, shape.lanes];
                        }
                        for row in (0..rows.len()).step_by(shape.rows) {
                            let chosen = row..rows.len().min(row + shape.rows);
                            let tile = Tile {
                                rows: &from[chosen.clone()],
                                b: vectors,
                                lanes,
                                len: depth,
                                at,
                                packed: [0, 1].map(|side| placed != Some(side)),
                                c: if straight { &to[chosen.clone()] } else { &aside[..chosen.len()] },
                                columns,
                                scale,
                                add: add && straight,
                            };
                            // SAFETY: `Program::new` checked every view against its slot and `run` the slots' lengths, so rows,
                            // vectors, offsets and results lie inside; no other thread writes these elements.
                            unsafe { T::tile(*simd, &tile) };
                            if straight {
                                continue;
                            }
                            let (tile, room) = c_room.split_at_mut(tiles.tall::<T>() * shape.cols());
                            put(*simd, tiles, panel, tile, room, &to[chosen], add);
                        }
                    }
                }
            }
        }
    }

    /// One product too small to pack: sums of scaled rows where those are contiguous, else dot products of rows and columns.
    #[inline(always)]
    #[allow(unsafe_code)]
    fn small(&mut self, strides: [[usize; 2]; 3], a: &[T], b: &[T], out: usize) {
        let [[ra, ca], [rb, cb], [ro, co]] = strides;
        let (k, add) = (self.matmul.size[1], self.matmul.accumulate);
        let scale = T::narrow(self.matmul.scale);
        let cols = self.cols.clone();
        for i in self.rows.clone() {
            let row = self.place.0.wrapping_add(out + i * ro);
            if cb == 1 && co == 1 && cols.len() > 1 {
                // SAFETY: `Program::new` and `run` checked that results lie inside; these elements belong to this thread alone.
                let row = unsafe { std::slice::from_raw_parts_mut(row.wrapping_add(cols.start), cols.len()) };
                if !add {
                    row.fill(T::zero());
                }
                for l in 0..k {
                    let factor = scale * a[i * ra + l * ca];
                    row.iter_mut().zip(&b[l * rb + cols.start..]).for_each(|(o, &v)| *o += factor * v);
                }
            } else {
                for j in cols.clone() {
                    let value = scale * dot(k, &a[i * ra..], ca, &b[j * cb..], rb);
                    // SAFETY: as above.
                    let element = unsafe { &mut *row.wrapping_add(j * co) };
                    *element = if add { *element + value } else { value };
                }
            }
        }
    }
}

/// Writes a tile to where a panel's segments lie in rows of the result, or adds it to what is there.
///
/// The elements that these address are the caller's alone.
#[inline(always)]
#[allow(unsafe_code)]
fn put<T: Real>(simd: Simd, tiles: &Tiles, panel: usize, tile: &[T], room: &mut [T], to: &[*mut T], add: bool) {
    let (cols, tall, segments) = (tiles.shape.cols(), tiles.tall::<T>(), tiles.out.segments(panel));
    if !tiles.turned() {
        for (to, values) in to.iter().zip(tile.chunks_exact(cols)) {
            for s in segments {
                write(to.wrapping_add(s.from), &values[s.lane..s.lane + s.len], add);
            }
        }
        return;
    }
    // Columns to rows, a square at a time.
    let filled = segments.last().map_or(0, |s| s.lane + s.len);
    for row in (0..to.len()).step_by(T::SQUARE) {
        for col in (0..filled).step_by(T::SQUARE) {
            let from = |i: usize| &tile[(row + i) * cols + col..][..T::SQUARE];
            T::turn(simd, from, &mut room[col * tall + row..], tall);
        }
    }
    for s in segments {
        for i in 0..s.len {
            write(to[0].wrapping_add(s.from + i), &room[(s.lane + i) * tall..][..to.len()], add);
        }
    }
}

/// Writes or adds values to where they lie side by side in the result; these elements are the caller's alone.
#[inline(always)]
#[allow(unsafe_code)]
fn write<T: Real>(to: *mut T, values: &[T], add: bool) {
    // SAFETY: `Program::new` and `run` checked that results lie inside; no other thread reads or writes these.
    let to = unsafe { std::slice::from_raw_parts_mut(to, values.len()) };
    match add {
        true => {
            for (to, &v) in to.iter_mut().zip(values) {
                *to += v;
            }
        }
        false => copy(to, values),
    }
}

/// Dot product in sixteen fixed lanes.
#[inline(always)]
fn dot<T: Real>(k: usize, a: &[T], sa: usize, b: &[T], sb: usize) -> T {
    let mut lanes = [T::zero(); 16];
    if sa == 1 && sb == 1 {
        let (a16, a) = a[..k].as_chunks::<16>();
        let (b16, b) = b[..k].as_chunks::<16>();
        for (a, b) in a16.iter().zip(b16) {
            for l in 0..16 {
                lanes[l] += a[l] * b[l];
            }
        }
        lanes.iter_mut().zip(a).zip(b).for_each(|((l, &x), &y)| *l += x * y);
    } else {
        for l in 0..k {
            lanes[l % 16] += a[l * sa] * b[l * sb];
        }
    }
    let mut width = 16;
    while width > 1 {
        width /= 2;
        for l in 0..width {
            let other = lanes[l + width];
            lanes[l] += other;
        }
    }
    lanes[0]
}
