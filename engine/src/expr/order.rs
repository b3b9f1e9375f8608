//! Where the extremes of an array are.

use super::Expr;
use crate::ops::ToIndex;

impl<'t> Expr<'t> {
    /// The indices of the largest elements along an axis, which goes away: the first of ties, and the first NaN if there is one (as
    /// `numpy.argmax`). They are indices below the axis's extent, without a derivative; [`to_real`](Expr::to_real) makes numbers of
    /// them.
    ///
    /// ```
    /// use osculate_engine::{label, spec, Array, Device, Func};
    /// // Whether a classifier is right.
    /// let f = Func::trace(spec([3]), label(3), |_, scores, y| scores.argmax(0).equal(y))?;
    /// let right = f.compile::<f64>(&Device::cpu())?.run(&Array::new([3], vec![1.0, 5.0, 2.0])?, &Array::index([], vec![1])?)?;
    /// assert_eq!(right.item(), Some(1.0));
    /// # Ok::<(), osculate_engine::Error>(())
    /// ```
    #[track_caller]
    pub fn argmax(self, axis: usize) -> Expr<'t> {
        match self.is_real("argmax") && self.has_axes(&[axis], "argmax") {
            true => self.first_at(axis, |x| x.max_axes(&[axis])),
            false => self,
        }
    }

    /// The indices of the smallest elements along an axis, which goes away: the first of ties, and the first NaN if there is one (as
    /// `numpy.argmin`); see [`argmax`](Expr::argmax).
    #[track_caller]
    pub fn argmin(self, axis: usize) -> Expr<'t> {
        match self.is_real("argmin") && self.has_axes(&[axis], "argmin") {
            true => self.first_at(axis, |x| x.min_axes(&[axis])),
            false => self,
        }
    }

    /// The first index along an axis of what an extreme is equal to; NaN counts as equal to NaN.
    fn first_at(self, axis: usize, extreme: impl Fn(Expr<'t>) -> Expr<'t>) -> Expr<'t> {
        let shape = self.shape();
        let (x, bound) = (self.stop_gradient(), shape[axis]);
        let best = extreme(x).expand_dims(axis);
        let attains = best.is_nan().select(x.is_nan(), x.equal(best));
        let places = self.tape.arange(bound).reshape([&[bound][..], &vec![1; shape.rank() - axis - 1]].concat());
        let first = attains.select(places, bound as f64).min_axes(&[axis]);
        self.tape.apply(ToIndex { bound }.into(), &[first])
    }
}
