//! Stepping through the outer loops of a nest, all views together.

use crate::View;
use crate::body::REGISTERS;
use crate::nest::offset;
use crate::program::LOOPS;

/// A view after its loops were joined: strides for the outer loops, one for the innermost.
#[derive(Debug, Clone)]
pub(super) struct Path {
    pub slot: usize,
    pub offset: usize,
    pub outer: Vec<usize>,
    pub inner: usize,
}

impl Path {
    pub fn at(&self, row: usize, dims: &[usize]) -> usize {
        self.offset + offset(row, dims, &self.outer)
    }
}

/// Offsets of several views, stepped together through the outer loops: a step costs an addition a view, not a division a loop.
pub(super) struct Walk<'a> {
    dims: &'a [usize],
    index: [usize; LOOPS],
    pub offsets: [usize; REGISTERS],
}

impl<'a> Walk<'a> {
    /// At a row, counted row-major.
    pub fn at<'p>(dims: &'a [usize], mut row: usize, paths: impl Iterator<Item = &'p Path>) -> Walk<'a> {
        let mut walk = Walk { dims, index: [0; LOOPS], offsets: [0; REGISTERS] };
        for (view, path) in paths.enumerate() {
            walk.offsets[view] = path.at(row, dims);
        }
        for (axis, &extent) in dims.iter().enumerate().rev() {
            walk.index[axis] = row % extent;
            row /= extent;
        }
        walk
    }

    /// To the next row.
    #[inline(always)]
    pub fn step<'p>(&mut self, paths: impl Iterator<Item = &'p Path> + Clone) {
        for (axis, &extent) in self.dims.iter().enumerate().rev() {
            self.index[axis] += 1;
            if self.index[axis] < extent {
                self.offsets.iter_mut().zip(paths).for_each(|(o, path)| *o += path.outer[axis]);
                return;
            }
            self.index[axis] = 0;
            self.offsets.iter_mut().zip(paths.clone()).for_each(|(o, path)| *o -= path.outer[axis] * (extent - 1));
        }
    }
}

/// Splits joined loops into outer ones and the innermost, for every view.
pub(super) fn split(dims: &mut Vec<usize>, strides: Vec<Vec<usize>>, views: &[&View]) -> (usize, Vec<Path>) {
    let inner = dims.pop().unwrap_or(1);
    let paths = (views.iter().zip(strides))
        .map(|(view, mut outer)| {
            let inner = outer.pop().unwrap_or(0);
            Path { slot: view.slot, offset: view.offset, outer, inner }
        })
        .collect();
    (inner, paths)
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
    40.0 / extent as f64 + far as f64
}
