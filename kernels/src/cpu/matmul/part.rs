//! One thread's part of a product.

use std::ops::Range;

use super::tiles::{Columns, ROWS, Tiles};
use super::{Kind, MatMul, Operand};
use crate::Real;
use crate::cpu::Source;
use crate::cpu::pack::{copy, pack};
use crate::cpu::simd::{Simd, Work};
use crate::cpu::team::Place;
use crate::cpu::tile::{Tile, reads_in_place};
use crate::memory::Buffer;
use crate::nest::offset;

/// What one thread computes.
pub(super) struct Part<'p, T> {
    pub matmul: &'p MatMul,
    pub source: Source<'p, T>,
    pub products: Range<usize>,
    pub rows: Range<usize>,
    pub cols: Range<usize>,
    pub scratch: &'p mut Buffer<T>,
    pub place: Place<T>,
}

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
                Kind::Winograd(_) => debug_assert!(false, "has parts of its own"),
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
        let scale = T::from_f64(matmul.scale);
        let [b_room, a_room, c_room] = tiles.room::<T>();
        let (b_room, rest) = self.scratch[..b_room + a_room + c_room].split_at_mut(b_room);
        let (a_room, c_room) = rest.split_at_mut(a_room);
        let aside: [*mut T; ROWS] = {
            let c = c_room.as_mut_ptr();
            std::array::from_fn(|i| c.wrapping_add(i.min(shape.rows - 1) * shape.cols()))
        };
        // matrixmultiply writes rows that are evenly spaced and do not overlap.
        let free = reads_in_place(*simd) || matmul.distinct && out_rows.step().is_some();
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
                    let mut to = [self.place.at(out); ROWS];
                    let mut from = [a.as_ptr(); ROWS];
                    for (i, row) in rows.clone().enumerate() {
                        to[i] = to[i].wrapping_add(out_rows.at(row));
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
        let scale = T::from_f64(self.matmul.scale);
        let cols = self.cols.clone();
        for i in self.rows.clone() {
            let row = self.place.at(out + i * ro);
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

/// Writes or adds values to where they lie side by side in the result; these elements are the caller's alone. One alone is the usual
/// case where columns lie apart.
#[inline(always)]
#[allow(unsafe_code)]
fn write<T: Real>(to: *mut T, values: &[T], add: bool) {
    // SAFETY: `Program::new` and `run` checked that results lie inside; no other thread reads or writes these.
    let to = unsafe { std::slice::from_raw_parts_mut(to, values.len()) };
    if let ([to], [value]) = (&mut *to, values) {
        *to = if add { *to + *value } else { *value };
        return;
    }
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
