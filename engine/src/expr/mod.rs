//! The user's algebra: expressions of a trace.

mod arithmetic;
mod compare;
mod constant;
mod einsum;
mod matrix;
mod norm;
mod order;
mod parts;
mod product;
mod reduce;
mod scan;
mod shape;

use std::marker::PhantomData;
use std::panic::Location;

use crate::graph::Var;
use crate::ops::{Labels, contract, not_numbers};
use crate::tape::Tape;
use crate::{Shape, Spec};

/// A value being traced: a handle to a node, cheap to copy.
///
/// Operators broadcast as numpy does: shapes are aligned at their ends, and an extent of 1 (or a missing axis) repeats.
#[derive(Clone, Copy)]
pub struct Expr<'t> {
    pub(crate) tape: &'t Tape,
    pub(crate) var: Var,
    /// Invariant in `'t`: an outer trace's expression cannot pass for an inner one's.
    trace: PhantomData<fn(&'t ()) -> &'t ()>,
}

impl std::fmt::Debug for Expr<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "%{}: {}", self.var.0, self.spec().code())
    }
}

/// An expression or a number that becomes one: an [`Expr`], an `f64`, or an `i32` (so that `2 * x` is what it seems).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither an expression nor a number of type f64",
    label = "not an expression",
    note = "write numbers as f64 (`n as f64`, `f64::from(x)`); arrays of numbers become expressions by `tape.constant(shape, &values)`"
)]
pub trait IntoExpr<'t> {
    /// The expression, on this tape.
    fn into_expr(self, tape: &'t Tape) -> Expr<'t>;
}

impl<'t> IntoExpr<'t> for Expr<'t> {
    fn into_expr(self, _: &'t Tape) -> Expr<'t> {
        self
    }
}

impl<'t> IntoExpr<'t> for i32 {
    #[track_caller]
    fn into_expr(self, tape: &'t Tape) -> Expr<'t> {
        tape.lit(f64::from(self))
    }
}

impl<'t> IntoExpr<'t> for f64 {
    #[track_caller]
    fn into_expr(self, tape: &'t Tape) -> Expr<'t> {
        tape.lit(self)
    }
}

/// Labels `from..from + n`.
pub(crate) fn labels(from: usize, n: usize) -> Labels {
    (from..from + n).map(|l| l as u8).collect()
}

impl<'t> Expr<'t> {
    pub(crate) fn of(tape: &'t Tape, var: Var) -> Expr<'t> {
        Expr { tape, var, trace: PhantomData }
    }

    /// Extents and kind.
    pub fn spec(self) -> Spec {
        self.tape.with_node(self.var, |node| node.spec.clone())
    }

    /// Extents.
    pub fn shape(self) -> Shape {
        self.spec().shape
    }

    /// The trace it belongs to.
    pub fn tape(self) -> &'t Tape {
        self.tape
    }

    /// This expression, after recording that something does not fit: tracing returns an error that names the operation and the
    /// caller's line. The first error counts.
    ///
    /// Functions of one's own that are marked `#[track_caller]` so name the line of whoever calls them.
    ///
    /// ```
    /// use osculate_engine::{spec, Expr, Func};
    /// #[track_caller]
    /// fn trace<'t>(a: Expr<'t>) -> Expr<'t> {
    ///     match a.shape()[..] {
    ///         [n, m] if n == m => (a * a.tape().full([n, n], 1.0)).sum(),
    ///         _ => a.fail("trace", format!("a square matrix is wanted, not {}", a.shape())),
    ///     }
    /// }
    /// let error = Func::trace(spec([2, 3]), spec([]), |_, a, _| trace(a)).err().map(|e| e.to_string());
    /// assert!(error.is_some_and(|text| text.ends_with("a square matrix is wanted, not [2, 3]")));
    /// ```
    #[track_caller]
    pub fn fail(self, op: &str, why: String) -> Expr<'t> {
        self.tape.fail(op, why, Location::caller());
        self
    }

    /// Whether it holds reals; else an error is recorded.
    #[track_caller]
    pub(crate) fn is_real(self, op: &str) -> bool {
        let spec = self.spec();
        if spec.is_index() {
            self.fail(op, not_numbers(&spec));
        }
        !spec.is_index()
    }

    /// Whether these are distinct axes; else an error is recorded.
    #[track_caller]
    pub(crate) fn has_axes(self, axes: &[usize], op: &str) -> bool {
        let bad = bad_axes(axes, &self.shape());
        if let Some(why) = bad.clone() {
            self.fail(op, why);
        }
        bad.is_none()
    }

    /// All axes.
    pub(crate) fn axes(self) -> Vec<usize> {
        (0..self.shape().rank()).collect()
    }

    /// How two shapes broadcast together: the result's extents, and each side's labels in it.
    fn aligned(self, other: Expr<'t>) -> Result<(Vec<usize>, Labels, Labels, usize), String> {
        if let Some(spec) = [self, other].iter().map(|x| x.spec()).find(Spec::is_index) {
            return Err(not_numbers(&spec));
        }
        let (a, b) = (self.shape(), other.shape());
        let rank = a.rank().max(b.rank());
        let mut dims = vec![1; rank];
        for shape in [&a, &b] {
            for (i, &extent) in shape.iter().rev().enumerate() {
                let dim = &mut dims[rank - 1 - i];
                if *dim != 1 && extent != 1 && *dim != extent {
                    return Err(format!("shapes {a} and {b} do not broadcast: {} against {extent}", *dim));
                }
                if extent != 1 {
                    *dim = extent;
                }
            }
        }
        let mut side = |shape: &Shape| -> Labels {
            let skip = rank - shape.rank();
            let label = |(i, &extent): (usize, &usize)| {
                if extent == dims[skip + i] {
                    return (skip + i) as u8;
                }
                dims.push(1); // an extent of 1 that is repeated: a label of its own, summed away
                (dims.len() - 1) as u8
            };
            shape.iter().enumerate().map(label).collect()
        };
        let (la, lb) = (side(&a), side(&b));
        Ok((dims, la, lb, rank))
    }

    /// Both sides repeated to their common shape.
    #[track_caller]
    pub(crate) fn broadcast(self, other: Expr<'t>, op: &str) -> Option<(Expr<'t>, Expr<'t>)> {
        match self.aligned(other) {
            Ok((dims, la, lb, rank)) => {
                let out = labels(0, rank);
                Some((
                    contract(1.0, &[(self, &la)], &out, &dims, self.tape),
                    contract(1.0, &[(other, &lb)], &out, &dims, self.tape),
                ))
            }
            Err(why) => {
                self.fail(op, why);
                None
            }
        }
    }
}

fn bad_axes(axes: &[usize], shape: &Shape) -> Option<String> {
    let twice = axes.iter().enumerate().any(|(i, a)| axes[..i].contains(a));
    (twice || axes.iter().any(|&a| a >= shape.rank())).then(|| format!("{axes:?} are not distinct axes of {shape}"))
}
