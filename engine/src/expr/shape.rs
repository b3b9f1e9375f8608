//! The same elements in another shape or order of axes.

use super::{Expr, bad_axes, labels};
use crate::Shape;
use crate::ops::{Labels, Reshape, contract};

impl<'t> Expr<'t> {
    /// Repeats it to `shape` (aligned at the end; extents of 1 repeat).
    #[track_caller]
    pub fn broadcast_to(self, shape: impl Into<Shape>) -> Expr<'t> {
        let shape = shape.into();
        let like = self.tape.full(shape.clone(), 0.0);
        match self.broadcast(like, "broadcast_to") {
            Some((x, _)) if x.shape() == shape => x,
            Some(_) => self.fail("broadcast_to", format!("{} does not broadcast to {shape}", self.shape())),
            None => self,
        }
    }

    /// The same elements in row-major order, in another shape of the same size.
    #[track_caller]
    pub fn reshape(self, shape: impl Into<Shape>) -> Expr<'t> {
        self.tape.apply(Reshape { shape: shape.into() }.into(), &[self])
    }

    /// The same elements as a vector.
    #[track_caller]
    pub fn flatten(self) -> Expr<'t> {
        self.reshape([self.shape().size()])
    }

    /// Axes in another order: axis `i` of the result is axis `order[i]` of this.
    #[track_caller]
    pub fn permute(self, order: &[usize]) -> Expr<'t> {
        let shape = self.shape();
        if !self.is_real("permute") {
            return self;
        }
        if order.len() != shape.rank() || bad_axes(order, &shape).is_some() {
            return self.fail("permute", format!("{order:?} is not an order of the axes of {shape}"));
        }
        let out: Labels = order.iter().map(|&a| a as u8).collect();
        contract(1.0, &[(self, &labels(0, shape.rank()))], &out, &shape, self.tape)
    }

    /// Axes in reverse order.
    #[track_caller]
    pub fn t(self) -> Expr<'t> {
        let order: Vec<usize> = (0..self.shape().rank()).rev().collect();
        self.permute(&order)
    }

    /// The same elements with a new axis of extent 1 at a place (as `numpy.expand_dims`).
    #[track_caller]
    pub fn expand_dims(self, axis: usize) -> Expr<'t> {
        let mut shape = self.shape().to_vec();
        if axis > shape.len() {
            return self.fail("expand_dims", format!("there is no place {axis} among the axes of {}", self.shape()));
        }
        shape.insert(axis, 1);
        self.reshape(shape)
    }

    /// The same elements without an axis of extent 1 (as `numpy.squeeze`).
    #[track_caller]
    pub fn squeeze(self, axis: usize) -> Expr<'t> {
        let mut shape = self.shape().to_vec();
        if shape.get(axis) != Some(&1) {
            return self.fail("squeeze", format!("axis {axis} of {} is not one of extent 1", self.shape()));
        }
        shape.remove(axis);
        self.reshape(shape)
    }

    /// Two axes in each other's place (as `numpy.swapaxes`).
    #[track_caller]
    pub fn swapaxes(self, a: usize, b: usize) -> Expr<'t> {
        if a.max(b) >= self.shape().rank() {
            return self.fail("swapaxes", format!("{a} and {b} are not axes of {}", self.shape()));
        }
        let mut order = self.axes();
        order.swap(a, b);
        self.permute(&order)
    }

    /// One axis at another place, the others in their order (as `numpy.moveaxis`).
    #[track_caller]
    pub fn moveaxis(self, from: usize, to: usize) -> Expr<'t> {
        if from.max(to) >= self.shape().rank() {
            return self.fail("moveaxis", format!("{from} and {to} are not axes of {}", self.shape()));
        }
        let mut order = self.axes();
        let axis = order.remove(from);
        order.insert(to, axis);
        self.permute(&order)
    }

    /// The result of a reduction with the axes that went away as axes of extent 1.
    pub(crate) fn kept(self, axes: &[usize]) -> Expr<'t> {
        let (mut axes, mut shape) = (axes.to_vec(), self.shape().to_vec());
        axes.sort_unstable();
        axes.into_iter().for_each(|axis| shape.insert(axis.min(shape.len()), 1));
        self.reshape(shape)
    }

    /// Without some axes, which have the extent 1.
    pub(crate) fn dropped(self, axes: &[usize]) -> Expr<'t> {
        let shape = self.shape();
        self.reshape((0..shape.rank()).filter(|a| !axes.contains(a)).map(|a| shape[a]).collect::<Vec<_>>())
    }
}
