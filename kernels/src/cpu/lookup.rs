//! Rows by indices: gathers copy them, scatters add to them, and equal indices are found.
//!
//! What is added to one row is added in the order of positions by one thread, in f64: indices are sorted, and threads share the sorted
//! list. So bits do not depend on threads.

use std::ops::Range;

use super::Source;
use super::pack::copy;
use super::simd::{Simd, Work};
use super::team::{MOST, Place, Team};
use super::walk::{Apart, Loops, Path, Walk};
use crate::lookup::row;
use crate::nest::{coalesce, descending, offset};
use crate::{First, Lookup, Real, View};

/// Elements of a row that are added up at once.
const LANES: usize = 32;

/// Positions that are added up before their sum is added to that of others.
const RUN: usize = 64;

/// Copies rows of a table.
#[derive(Debug, Clone)]
pub(super) struct Gather {
    loops: Loops,
    index: Path,
    table: Path,
    values: Path,
    rows: usize,
    /// From row to row of the table.
    step: usize,
    apart: Option<Apart>,
}

impl Gather {
    pub(super) fn new(lookup: &Lookup) -> Gather {
        let Lookup { batch, positions, rows, inner, index, table, values } = lookup;
        let step = table.strides[batch.len()];
        let dims = [&batch[..], positions, inner].concat();
        let of_index = [&index.strides[..], &vec![0; inner.len()]].concat();
        let (outer, rest) = (&table.strides[..batch.len()], &table.strides[batch.len() + 1..]);
        let of_table = [outer, &vec![0; positions.len()], rest].concat();
        // Through the memory of the values, in whatever order loops were named.
        let order = descending(0..dims.len(), &values.strides);
        let sorted = |of: &[usize]| order.iter().map(|&axis| of[axis]).collect::<Vec<_>>();
        let strides = [sorted(&of_index), sorted(&of_table), sorted(&values.strides)];
        let (dims, strides) = coalesce(&sorted(&dims), &strides.each_ref().map(|s| &s[..]));
        let apart = Apart::new(&dims, &strides[2]);
        let (loops, mut paths) = Loops::new(dims, strides, &[index, table, values], false);
        let mut next = || paths.remove(0);
        let (index, table, values) = (next(), next(), next());
        Gather { loops, index, table, values, rows: *rows, step, apart }
    }

    pub(super) fn out_slot(&self) -> usize {
        self.values.slot
    }

    pub(super) fn work(&self) -> usize {
        self.loops.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.paths().map(Path::bytes).sum()
    }

    fn paths(&self) -> impl Iterator<Item = &Path> + Clone {
        [&self.index, &self.table, &self.values].into_iter()
    }

    pub(super) fn run<T: Real>(&self, simd: Simd, source: Source<'_, T>, out: &mut [T]) {
        let out = &mut out[self.values.offset..];
        let (total, threads) = (self.loops.len(), source.team.threads(self.work()));
        let part = |(): &mut (), range: Range<usize>, base: usize, out: &mut [T]| {
            simd.run(Picked { gather: self, source, range, base, out });
        };
        match &self.apart {
            Some(apart) => apart.share(source.team, threads, total, out, &mut [(); MOST], part),
            None => part(&mut (), 0..total, 0, out),
        }
    }
}

/// A range of the loops of a gather, whose output starts at `base`.
struct Picked<'w, T> {
    gather: &'w Gather,
    source: Source<'w, T>,
    range: Range<usize>,
    base: usize,
    out: &'w mut [T],
}

impl<T: Real> Work for Picked<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Picked { gather, source, range, base, out } = self;
        let Gather { index, table, values, rows, step, .. } = gather;
        let (indices, data) = (source.slot(index.slot), source.slot(table.slot));
        let (mut walk, mut at) = (Walk::at(&gather.loops, range.start, gather.paths()), range.start);
        while at < range.end {
            let patch = walk.patch(range.end - at);
            let [of_index, of_table, of_values] = [0, 1, 2].map(|view| walk.offsets[view]);
            for line in 0..patch.rows {
                let (from, base_row) = (of_index + line * index.row, of_table + line * table.row);
                let to = &mut out[of_values - values.offset - base + line * values.row..];
                if index.lane > 0 {
                    for lane in 0..patch.lanes {
                        let picked = row(indices[from + lane * index.lane].to_f64(), *rows);
                        let value = |row: usize| data[base_row + lane * table.lane + row * step];
                        to[lane * values.lane] = picked.map_or(T::zero(), value);
                    }
                    continue;
                }
                let picked = row(indices[from].to_f64(), *rows).map(|row| &data[base_row + row * step..]);
                match picked {
                    Some(data) if table.lane == 1 && values.lane == 1 => copy(&mut to[..patch.lanes], data),
                    _ => {
                        for lane in 0..patch.lanes {
                            to[lane * values.lane] = picked.map_or(T::zero(), |data| data[lane * table.lane]);
                        }
                    }
                }
            }
            at += patch.len();
            walk.advance(patch, gather.paths());
        }
    }
}

/// Indices in the order of their rows: lists of positions.
#[derive(Debug, Clone)]
struct Sorted {
    slot: usize,
    offset: usize,
    batch: Steps,
    positions: Steps,
    rows: usize,
}

/// Loops that one view walks.
#[derive(Debug, Clone)]
struct Steps {
    dims: Vec<usize>,
    strides: Vec<usize>,
}

impl Steps {
    fn new(dims: &[usize], strides: &[usize]) -> Steps {
        let (dims, mut strides) = coalesce(dims, &[strides]);
        Steps { dims, strides: strides.remove(0) }
    }

    fn len(&self) -> usize {
        self.dims.iter().product()
    }

    #[inline(always)]
    fn at(&self, index: usize) -> usize {
        match self.strides[..] {
            [step] => index * step,
            _ => offset(index, &self.dims, &self.strides),
        }
    }

    fn bytes(&self) -> usize {
        size_of_val(&self.dims[..]) + size_of_val(&self.strides[..])
    }
}

/// A position behind its row, so that numbers are in the order of rows, then of positions.
fn key(row: Option<usize>, position: usize) -> u64 {
    (row.unwrap_or(u32::MAX as usize) as u64) << 32 | position as u64
}

/// The row and the position of a key.
#[inline(always)]
fn of_key(key: u64) -> (usize, usize) {
    ((key >> 32) as usize, key as u32 as usize)
}

impl Sorted {
    fn new(index: &View, batch: &[usize], positions: &[usize], rows: usize) -> Sorted {
        let (of_batch, of_positions) = index.strides.split_at(batch.len());
        Sorted {
            slot: index.slot,
            offset: index.offset,
            batch: Steps::new(batch, of_batch),
            positions: Steps::new(positions, of_positions),
            rows,
        }
    }

    fn len(&self) -> usize {
        self.batch.len() * self.positions.len()
    }

    fn bytes(&self) -> usize {
        self.batch.bytes() + self.positions.bytes()
    }

    /// Sorts, then hands every row that has positions to `job`: the number of its list, the row, and the keys of its positions in
    /// order. Threads share the rows.
    fn each<T: Real>(
        &self,
        source: Source<'_, T>,
        threads: usize,
        keys: &mut [u64],
        job: impl Fn(usize, usize, &[u64]) + Sync,
    ) {
        let (data, each) = (&source.slot(self.slot)[self.offset..], self.positions.len());
        let keys = &mut keys[..self.len()];
        let lists = self.batch.len().div_ceil(threads);
        let sort = |part: usize, keys: &mut [u64], (): &mut ()| {
            for (list, keys) in keys.chunks_exact_mut(each).enumerate() {
                let from = self.batch.at(part * lists + list);
                for (position, to) in keys.iter_mut().enumerate() {
                    *to = key(row(data[from + self.positions.at(position)].to_f64(), self.rows), position);
                }
                keys.sort_unstable();
            }
        };
        let team: &Team = source.team;
        team.chunks(keys, lists * each, &mut [(); MOST], sort);
        let keys = &*keys;
        // Shares end where a row does.
        let ends =
            |&at: &usize| at.is_multiple_of(each) || at == keys.len() || of_key(keys[at]).0 != of_key(keys[at - 1]).0;
        let end = |at: usize| (at..=keys.len()).find(ends).unwrap_or(keys.len());
        team.parts(&mut [(); MOST][..threads], |part, ()| {
            let (mut at, to) = (end(keys.len() * part / threads), end(keys.len() * (part + 1) / threads));
            while at < to {
                let next = end(at + 1);
                job(at / each, of_key(keys[at]).0, &keys[at..next]);
                at = next;
            }
        });
    }
}

/// Adds values to rows of a table.
#[derive(Debug, Clone)]
pub(super) struct ScatterAdd {
    sorted: Sorted,
    values: Part,
    table: Part,
    /// From row to row of the table.
    step: usize,
    /// Positions, as the values lie.
    positions: Steps,
    /// Loops around the lanes of a row.
    outer: Vec<usize>,
    lanes: usize,
}

/// How one operand of a scatter lies.
#[derive(Debug, Clone)]
struct Part {
    slot: usize,
    offset: usize,
    batch: Steps,
    outer: Vec<usize>,
    lane: usize,
}

impl ScatterAdd {
    pub(super) fn new(lookup: &Lookup) -> ScatterAdd {
        let Lookup { batch, positions, rows, inner, index, table, values } = lookup;
        let (count, each) = (batch.len(), positions.len());
        let rest = [&values.strides[count + each..], &table.strides[count + 1..]];
        let order = descending(0..inner.len(), rest[1]);
        let sorted = |of: &[usize]| order.iter().map(|&axis| of[axis]).collect::<Vec<_>>();
        let strides = rest.map(sorted);
        let (mut outer, mut strides) = coalesce(&sorted(inner), &strides.each_ref().map(|s| &s[..]));
        let lanes = outer.pop().unwrap_or(1);
        let mut part = |view: &View| {
            let mut outer = strides.remove(0);
            let lane = outer.pop().unwrap_or(0);
            Part { slot: view.slot, offset: view.offset, batch: Steps::new(batch, &view.strides[..count]), outer, lane }
        };
        let (of_values, of_table) = (part(values), part(table));
        ScatterAdd {
            sorted: Sorted::new(index, batch, positions, *rows),
            values: of_values,
            table: of_table,
            step: table.strides[count],
            positions: Steps::new(positions, &values.strides[count..count + each]),
            outer,
            lanes,
        }
    }

    pub(super) fn out_slot(&self) -> usize {
        self.table.slot
    }

    pub(super) fn work(&self) -> usize {
        self.sorted.len() * self.outer.iter().product::<usize>() * self.lanes
    }

    /// Keys that a run sorts.
    pub(super) fn keys(&self) -> usize {
        self.sorted.len()
    }

    pub(super) fn bytes(&self) -> usize {
        let part = |part: &Part| part.batch.bytes() + size_of_val(&part.outer[..]);
        self.sorted.bytes() + part(&self.values) + part(&self.table) + self.positions.bytes()
    }

    pub(super) fn run<T: Real>(&self, simd: Simd, source: Source<'_, T>, keys: &mut [u64], out: &mut [T]) {
        let (place, len) = (Place::new(out), out.len());
        self.sorted.each(source, source.team.threads(self.work()), keys, |list, row, keys| {
            if row < self.sorted.rows {
                simd.run(Added { scatter: self, source, list, row, keys, place, len });
            }
        });
    }
}

/// What is added to one row.
struct Added<'w, T> {
    scatter: &'w ScatterAdd,
    source: Source<'w, T>,
    list: usize,
    row: usize,
    keys: &'w [u64],
    place: Place<T>,
    /// Elements there.
    len: usize,
}

impl<T: Real> Work for Added<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Added { scatter, source, list, row, keys, place, len } = self;
        let ScatterAdd { values, table, positions, step, .. } = scatter;
        let data = &source.slot(values.slot)[values.offset + values.batch.at(list)..];
        let to = table.offset + table.batch.at(list) + row * step;
        for around in 0..scatter.outer.iter().product() {
            let data = &data[offset(around, &scatter.outer, &values.outer)..];
            let to = to + offset(around, &scatter.outer, &table.outer);
            for first in (0..scatter.lanes).step_by(LANES) {
                let lanes = LANES.min(scatter.lanes - first);
                let mut sums = [0.0; LANES];
                for keys in keys.chunks(RUN) {
                    let mut run = [0.0; LANES];
                    for &key in keys {
                        let data = &data[positions.at(of_key(key).1) + first * values.lane..];
                        if values.lane == 1 {
                            run.iter_mut().zip(&data[..lanes]).for_each(|(sum, &v)| *sum += v.to_f64());
                        } else {
                            run[..lanes]
                                .iter_mut()
                                .enumerate()
                                .for_each(|(l, sum)| *sum += data[l * values.lane].to_f64());
                        }
                    }
                    sums.iter_mut().zip(run).for_each(|(sum, run)| *sum += run);
                }
                let (from, reach) = (to + first * table.lane, (lanes - 1) * table.lane + 1);
                assert!(from + reach <= len, "elements {from}.. of {len}");
                for (lane, sum) in sums[..lanes].iter().enumerate() {
                    // SAFETY: it is inside. Lists and rows are each handed to one thread, and their elements differ, for the program's
                    // check saw to it that no two indices of a table's loops reach one.
                    #[allow(unsafe_code)]
                    unsafe {
                        let to = place.at(from + lane * table.lane);
                        *to = T::from_f64((*to).to_f64() + sum);
                    }
                }
            }
        }
    }
}

/// Finds equal indices.
#[derive(Debug, Clone)]
pub(super) struct Firsts {
    sorted: Sorted,
    slot: usize,
    offset: usize,
    batch: Steps,
    positions: Steps,
}

impl Firsts {
    pub(super) fn new(first: &First) -> Firsts {
        let First { batch, positions, index, out } = first;
        let (of_batch, of_positions) = out.strides.split_at(batch.len());
        Firsts {
            sorted: Sorted::new(index, batch, positions, u32::MAX as usize),
            slot: out.slot,
            offset: out.offset,
            batch: Steps::new(batch, of_batch),
            positions: Steps::new(positions, of_positions),
        }
    }

    pub(super) fn out_slot(&self) -> usize {
        self.slot
    }

    pub(super) fn work(&self) -> usize {
        self.sorted.len()
    }

    /// Keys that a run sorts.
    pub(super) fn keys(&self) -> usize {
        self.sorted.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.sorted.bytes() + self.batch.bytes() + self.positions.bytes()
    }

    pub(super) fn run<T: Real>(&self, source: Source<'_, T>, keys: &mut [u64], out: &mut [T]) {
        let (place, len) = (Place::new(out), out.len());
        self.sorted.each(source, source.team.threads(self.work()), keys, |list, _, keys| {
            let first = T::from_f64(of_key(keys[0]).1 as f64);
            let to = self.offset + self.batch.at(list);
            for &key in keys {
                let at = to + self.positions.at(of_key(key).1);
                assert!(at < len, "element {at} of {len}");
                // SAFETY: it is inside. Each position is handed to one thread, and the program's check saw to it that no two write
                // one element.
                #[allow(unsafe_code)]
                unsafe {
                    *place.at(at) = first;
                }
            }
        });
    }
}
