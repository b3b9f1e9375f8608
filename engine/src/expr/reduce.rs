//! Sums, means and extremes over axes.

use super::{Expr, bad_axes, labels};
use crate::ops::{Labels, Max, contract};

impl<'t> Expr<'t> {
    /// Sum of all elements.
    #[track_caller]
    pub fn sum(self) -> Expr<'t> {
        let all: Vec<usize> = (0..self.shape().rank()).collect();
        self.sum_axes(&all)
    }

    /// Sum over some axes, which go away.
    #[track_caller]
    pub fn sum_axes(self, axes: &[usize]) -> Expr<'t> {
        let shape = self.shape();
        if let Some(why) = bad_axes(axes, &shape) {
            return self.fail("sum", why);
        }
        let all = labels(0, shape.rank());
        let kept: Labels = all.iter().copied().filter(|&l| !axes.contains(&(l as usize))).collect();
        contract(1.0, &[(self, &all)], &kept, &shape, self.tape)
    }

    /// Mean of all elements.
    #[track_caller]
    pub fn mean(self) -> Expr<'t> {
        self.sum() / self.shape().size() as f64
    }

    /// Mean over some axes, which go away.
    #[track_caller]
    pub fn mean_axes(self, axes: &[usize]) -> Expr<'t> {
        let shape = self.shape();
        let count: usize = axes.iter().filter_map(|&a| shape.get(a)).product();
        self.sum_axes(axes) / count as f64
    }

    /// Largest element; at ties the derivative is shared evenly.
    #[track_caller]
    pub fn max(self) -> Expr<'t> {
        let all: Vec<usize> = (0..self.shape().rank()).collect();
        self.max_axes(&all)
    }

    /// Maximum over a set of axes at once, which go away; at ties the derivative is shared evenly.
    #[track_caller]
    pub fn max_axes(self, axes: &[usize]) -> Expr<'t> {
        let mut axes = axes.to_vec();
        axes.sort_unstable();
        self.tape.apply(Max { axes }.into(), &[self])
    }
}
