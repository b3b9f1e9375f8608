//! Where the extremes of an array are, and its elements in order.

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

    /// The indices that sort an axis in ascending order, equal elements in their order and NaN last (as `numpy.argsort` with
    /// `stable`): indices below the axis's extent, without a derivative.
    ///
    /// Every element is compared with every other along the axis, so that the work grows with the square of its extent.
    #[track_caller]
    pub fn argsort(self, axis: usize) -> Expr<'t> {
        match self.is_real("argsort") && self.has_axes(&[axis], "argsort") {
            true => {
                let bound = self.shape()[axis];
                let order = self.tape.arange(bound).placed(self.places(axis), axis);
                self.tape.apply(ToIndex { bound }.into(), &[order])
            }
            false => self,
        }
    }

    /// The elements along an axis in ascending order, NaN last (as `numpy.sort`), at the cost of [`argsort`](Expr::argsort). Its
    /// derivative goes where the elements came from.
    ///
    /// ```
    /// use osculate_engine::{spec, Array, Device, Func};
    /// let f = Func::trace(spec([3]), spec([]), |tape, w, _| w.sort(0).dot(tape.arange(3)))?;
    /// let f = f.value_and_grad()?.compile::<f64>(&Device::cpu())?;
    /// let (value, gradient) = f.clone().run(&Array::new([3], vec![3.0, 1.0, 2.0])?, &Array::scalar(0.0))?;
    /// assert_eq!((value.item(), gradient.values()), (Some(8.0), &[2.0, 0.0, 1.0][..]));
    /// # Ok::<(), osculate_engine::Error>(())
    /// ```
    #[track_caller]
    pub fn sort(self, axis: usize) -> Expr<'t> {
        match self.is_real("sort") && self.has_axes(&[axis], "sort") {
            true => self.moveaxis(axis, self.shape().rank() - 1).placed(self.places(axis), axis),
            false => self,
        }
    }

    /// Which element stands at which place once they are in order: 1 at `[…, element, place]`, the axis being moved to the end.
    fn places(self, axis: usize) -> Expr<'t> {
        let (tape, last) = (self.tape, self.shape().rank() - 1);
        let x = self.stop_gradient().moveaxis(axis, last);
        let places = tape.arange(x.shape()[last]);
        // Axis `last` counts the elements, the one after it those that may be before them; how many are, is an element's place.
        let (one, other) = (x.expand_dims(last + 1), x.expand_dims(last));
        let earlier = places.less(places.expand_dims(1));
        let tie = other.equal(one).logical_or(other.is_nan().logical_and(one.is_nan()));
        let less = other.less(one).logical_or(one.is_nan().logical_and(other.is_nan().logical_not()));
        let before = less.logical_or(tie.logical_and(earlier)).sum_axes(&[last + 1]);
        before.expand_dims(last + 1).equal(places)
    }

    /// Elements moved to the places that a mask of [`places`](Expr::places) says, their axis being the last.
    fn placed(self, places: Expr<'t>, axis: usize) -> Expr<'t> {
        let last = places.shape().rank() - 2;
        places.select(self.expand_dims(self.shape().rank()), 0.0).sum_axes(&[last]).moveaxis(last, axis)
    }
}
