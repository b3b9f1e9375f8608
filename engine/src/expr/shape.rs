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
}
