//! Walking the loops of a nest block by block, all views together.
//!
//! Short innermost loops are taken together as one row of lanes; a view in which those lie unevenly has a table of their offsets.

use std::ops::Range;

use super::block::{BLOCK, STEP};
use super::team::Team;
use crate::View;
use crate::nest::{coalesce, offset};
use crate::program::{LOOPS, VIEWS};

/// Rows of lanes shorter than this are made longer by the loops around them, if they are to be blocks.
const SHORT: usize = 32;

/// Joined loops: the innermost make lanes, the next one rows of lanes, and both together blocks.
#[derive(Debug, Clone)]
pub(super) struct Loops {
    pub outer: Vec<usize>,
    pub rows: usize,
    pub lanes: usize,
}

/// Strides of a view over such loops.
#[derive(Debug, Clone)]
pub(super) struct Path {
    pub slot: usize,
    pub offset: usize,
    pub outer: Vec<usize>,
    pub row: usize,
    /// Step from lane to lane; 0 if there is a table.
    pub lane: usize,
    /// Offsets of the lanes of as many whole rows as make a block (of one, if all are alike), if they are not evenly spaced or rows
    /// are short.
    pub table: Vec<u32>,
}

/// A part of the loops that is worked on at once: whole rows, or a part of one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patch {
    pub rows: usize,
    /// The first lane; 0 if rows are whole.
    pub first: usize,
    pub lanes: usize,
}

impl Patch {
    #[inline(always)]
    pub fn len(self) -> usize {
        self.rows * self.lanes
    }
}

impl Loops {
    /// Of joined loops and the strides of views over them; `blocks` says whether they are walked block by block, or one by one.
    pub fn new(
        mut dims: Vec<usize>,
        mut strides: Vec<Vec<usize>>,
        views: &[&View],
        blocks: bool,
    ) -> (Loops, Vec<Path>) {
        let mut within = vec![dims.pop().unwrap_or(1)];
        let mut lanes = within[0];
        // Rows that are all alike in a view are rather left rows, if they are whole steps: they are spread out once.
        let alike = |axis: usize, lanes: usize| lanes.is_multiple_of(STEP) && strides.iter().any(|s| s[axis] == 0);
        while let Some(&next) = dims
            .last()
            .filter(|&&next| blocks && lanes < SHORT && lanes * next <= BLOCK && !alike(dims.len() - 1, lanes))
        {
            within.insert(0, next);
            lanes *= next;
            dims.pop();
        }
        // Longer rows fill a block alone.
        let rowed = lanes <= BLOCK / 2 && !dims.is_empty();
        let rows = if rowed { dims.pop().unwrap_or(1) } else { 1 };
        let paths = (views.iter().zip(&mut strides))
            .map(|(view, outer)| {
                let steps = outer.split_off(outer.len().saturating_sub(within.len()));
                let row = if rowed { outer.pop().unwrap_or(0) } else { 0 };
                let (_, joined) = coalesce(&within, &[&steps]);
                let mut path = Path {
                    slot: view.slot,
                    offset: view.offset,
                    outer: std::mem::take(outer),
                    row,
                    lane: 0,
                    table: Vec::new(),
                };
                match joined[0][..] {
                    [] => {}
                    [step] if !blocks || lanes >= SHORT || rows == 1 || row == 0 || row == lanes * step => {
                        path.lane = step;
                    }
                    _ => {
                        let at = |index: usize| index / lanes * row + offset(index % lanes, &within, &steps);
                        let whole = if row == 0 { lanes } else { (BLOCK / lanes).min(rows) * lanes };
                        path.table = (0..whole).map(|index| at(index) as u32).collect();
                    }
                }
                path
            })
            .collect();
        (Loops { outer: dims, rows, lanes }, paths)
    }

    pub fn len(&self) -> usize {
        self.outer.iter().product::<usize>() * self.rows * self.lanes
    }
}

impl Path {
    /// Offset of an element, counted row-major.
    pub fn at(&self, index: usize, loops: &Loops) -> usize {
        let (row, lane) = (index / loops.lanes, index % loops.lanes);
        let (outer, row) = (row / loops.rows, row % loops.rows);
        let lane = self.table.get(lane).map_or(lane * self.lane, |&at| at as usize);
        self.offset + offset(outer, &loops.outer, &self.outer) + row * self.row + lane
    }

    /// Steps of lanes that count as far apart as those in the table.
    pub fn jumps(&self) -> usize {
        const NEAR: usize = 2;
        let far: usize = self.table.windows(2).map(|pair| pair[0].abs_diff(pair[1]) as usize).sum();
        (far / self.table.len().max(1)).max(NEAR)
    }

    pub fn bytes(&self) -> usize {
        size_of::<Path>() + size_of_val(&self.outer[..]) + size_of_val(&self.table[..])
    }
}

/// Offsets of several views, stepped together: a step costs an addition a view, not a division a loop.
pub(super) struct Walk<'a> {
    loops: &'a Loops,
    index: [usize; LOOPS],
    row: usize,
    lane: usize,
    pub offsets: [usize; VIEWS],
}

impl<'a> Walk<'a> {
    /// At an element, counted row-major.
    #[inline(always)]
    pub fn at<'p>(loops: &'a Loops, index: usize, paths: impl Iterator<Item = &'p Path>) -> Walk<'a> {
        let (lane, row) = (index % loops.lanes, index / loops.lanes % loops.rows);
        let mut walk = Walk { loops, index: [0; LOOPS], row, lane, offsets: [0; VIEWS] };
        for (view, path) in paths.enumerate() {
            // Tables count from the first lane.
            let from = if path.table.is_empty() { index } else { index - lane };
            walk.offsets[view] = path.at(from, loops);
        }
        let mut rest = index / loops.lanes / loops.rows;
        for (axis, &extent) in loops.outer.iter().enumerate().rev() {
            walk.index[axis] = rest % extent;
            rest /= extent;
        }
        walk
    }

    /// What comes next, of at most `most` elements.
    #[inline(always)]
    pub fn patch(&self, most: usize) -> Patch {
        let most = most.min(BLOCK);
        let Loops { rows, lanes, .. } = *self.loops;
        match (most / lanes).min(rows - self.row) {
            whole if whole > 0 && self.lane == 0 => Patch { rows: whole, first: 0, lanes },
            _ => Patch { rows: 1, first: self.lane, lanes: most.min(lanes - self.lane) },
        }
    }

    /// To what comes after a patch.
    #[inline(always)]
    pub fn advance<'p>(&mut self, patch: Patch, paths: impl Iterator<Item = &'p Path> + Clone) {
        let Loops { outer, rows, lanes } = self.loops;
        let (mut right, mut down) = (patch.lanes as isize, 0);
        if self.lane + patch.lanes < *lanes {
            self.lane += patch.lanes;
        } else {
            (right, down) = (-(self.lane as isize), patch.rows as isize);
            self.lane = 0;
            if self.row + patch.rows < *rows {
                self.row += patch.rows;
            } else {
                down = -(self.row as isize);
                self.row = 0;
            }
        }
        for (offset, path) in self.offsets.iter_mut().zip(paths.clone()) {
            *offset = offset.wrapping_add_signed(right * path.lane as isize + down * path.row as isize);
        }
        if self.lane > 0 || self.row > 0 {
            return;
        }
        for (axis, &extent) in outer.iter().enumerate().rev() {
            self.index[axis] += 1;
            let back = if self.index[axis] < extent { 0 } else { extent };
            for (offset, path) in self.offsets.iter_mut().zip(paths.clone()) {
                *offset = offset.wrapping_add(path.outer[axis]).wrapping_sub(back * path.outer[axis]);
            }
            if back == 0 {
                return;
            }
            self.index[axis] = 0;
        }
    }
}

/// The first loop of an output whose indices write elements that do not lie between one another's: threads share it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Apart {
    extent: usize,
    step: usize,
    /// From the first element that one index writes to its last.
    reach: usize,
}

impl Apart {
    /// Of an output's loops in the order in which they are walked.
    pub fn new(dims: &[usize], strides: &[usize]) -> Option<Apart> {
        let mut loops = dims.iter().copied().zip(strides.iter().copied()).filter(|&(extent, _)| extent > 1);
        let (extent, step) = loops.next()?;
        let reach = loops.map(|(extent, step)| step * (extent - 1)).sum();
        (reach < step).then_some(Apart { extent, step, reach })
    }

    /// Runs `job` for equal ranges of `total` elements, each with the part of the output that it writes and where that begins.
    pub fn share<O: Send, S: Send>(
        &self,
        team: &Team,
        threads: usize,
        total: usize,
        out: &mut [O],
        values: &mut [S],
        job: impl Fn(&mut S, Range<usize>, usize, &mut [O]) + Sync,
    ) {
        let Apart { extent, step, reach } = *self;
        if threads == 1 {
            return job(&mut values[0], 0..total, 0, out);
        }
        let (within, share) = (total / extent, extent.div_ceil(threads));
        // The slot may go on behind what is written.
        let out = &mut out[..(extent - 1) * step + reach + 1];
        team.chunks(out, share * step, values, |part, out, value| {
            let (from, to) = (part * share, (part * share + share).min(extent));
            job(value, from * within..to * within, from * step, out);
        });
    }
}

/// Whether an output is one block in the order of the loops.
pub(super) fn contiguous(dims: &[usize], strides: &[usize]) -> bool {
    let mut want = 1;
    dims.iter().zip(strides).rev().all(|(&d, &s)| {
        let ok = d == 1 || s == want;
        want *= d;
        ok
    })
}

/// Cost of an element if a loop makes the lanes: the walk's share, and what far-apart elements cost every view.
pub(super) fn lane_cost(extent: usize, strides: impl Iterator<Item = usize>) -> f64 {
    let far: usize = strides.map(|s| s.min(16)).sum();
    200.0 / extent as f64 + far as f64
}
