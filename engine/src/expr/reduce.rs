//! Sums, means and extremes over axes.

use super::{Expr, labels};
use crate::ops::{Labels, Max, contract};

impl<'t> Expr<'t> {
    /// Sum of all elements.
    #[track_caller]
    pub fn sum(self) -> Expr<'t> {
        self.sum_axes(&self.axes())
    }

    /// Sum over some axes, which go away.
    #[track_caller]
    pub fn sum_axes(self, axes: &[usize]) -> Expr<'t> {
        let shape = self.shape();
        if !self.is_real("sum") || !self.has_axes(axes, "sum") {
            return self;
        }
        let all = labels(0, shape.rank());
        let kept: Labels = all.iter().copied().filter(|&l| !axes.contains(&(l as usize))).collect();
        contract(1.0, &[(self, &all)], &kept, &shape, self.tape)
    }

    /// Mean of all elements.
    #[track_caller]
    pub fn mean(self) -> Expr<'t> {
        self.mean_axes(&self.axes())
    }

    /// Mean over some axes, which go away.
    #[track_caller]
    pub fn mean_axes(self, axes: &[usize]) -> Expr<'t> {
        if !self.is_real("mean") || !self.has_axes(axes, "mean") {
            return self;
        }
        let shape = self.shape();
        let count: usize = axes.iter().filter_map(|&a| shape.get(a)).product();
        self.sum_axes(axes) / count as f64
    }

    /// Largest element; at ties the derivative is shared evenly.
    #[track_caller]
    pub fn max(self) -> Expr<'t> {
        self.max_axes(&self.axes())
    }

    /// Maximum over a set of axes at once, which go away; at ties the derivative is shared evenly.
    #[track_caller]
    pub fn max_axes(self, axes: &[usize]) -> Expr<'t> {
        let mut axes = axes.to_vec();
        axes.sort_unstable();
        self.tape.apply(Max { axes }.into(), &[self])
    }

    /// Smallest element; at ties the derivative is shared evenly.
    #[track_caller]
    pub fn min(self) -> Expr<'t> {
        self.min_axes(&self.axes())
    }

    /// Minimum over a set of axes at once, which go away (as `numpy.min`); at ties the derivative is shared evenly.
    #[track_caller]
    pub fn min_axes(self, axes: &[usize]) -> Expr<'t> {
        match self.is_real("min") && self.has_axes(axes, "min") {
            true => -(-self).max_axes(axes),
            false => self,
        }
    }
}
