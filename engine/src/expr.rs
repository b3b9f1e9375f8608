//! The user's algebra: expressions of a trace.

use std::marker::PhantomData;
use std::ops::{Add, Div, Mul, Neg, Range, Sub};
use std::panic::Location;

use crate::graph::Var;
use crate::ops::{Compare, Comparison, Concat, Contract, Labels, Max, OneHot, Pad, Reshape, Select, Slice, Stop};
use crate::ops::{contract, sum};
use crate::tape::Tape;
use crate::{Kind, Shape, Spec};

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
        write!(f, "%{}: {}", self.var.0, self.spec())
    }
}

/// An expression or a number that becomes one.
pub trait IntoExpr<'t> {
    /// The expression, on this tape.
    fn into_expr(self, tape: &'t Tape) -> Expr<'t>;
}

impl<'t> IntoExpr<'t> for Expr<'t> {
    fn into_expr(self, _: &'t Tape) -> Expr<'t> {
        self
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

    #[track_caller]
    fn fail(self, op: &str, why: String) -> Expr<'t> {
        self.tape.fail(op, why, Location::caller());
        self
    }

    /// How two shapes broadcast together: the result's extents, and each side's labels in it.
    fn aligned(self, other: Expr<'t>) -> Result<(Vec<usize>, Labels, Labels, usize), String> {
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

    /// `coef · self`.
    pub(crate) fn scale(self, coef: f64) -> Expr<'t> {
        let all = labels(0, self.shape().rank());
        contract(coef, &[(self, &all)], &all, &self.shape(), self.tape)
    }

    /// Elementwise product of equal shapes, for derivative rules.
    pub(crate) fn times(self, other: Expr<'t>) -> Expr<'t> {
        let all = labels(0, self.shape().rank());
        contract(1.0, &[(self, &all), (other, &all)], &all, &self.shape(), self.tape)
    }

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
        self.sum() * (1.0 / self.shape().size() as f64)
    }

    /// Mean over some axes, which go away.
    #[track_caller]
    pub fn mean_axes(self, axes: &[usize]) -> Expr<'t> {
        let shape = self.shape();
        let count: usize = axes.iter().filter_map(|&a| shape.get(a)).product();
        self.sum_axes(axes) * (1.0 / count as f64)
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

    /// Contracts its last axis with the first of `other`: vector·vector, vector·matrix, matrix·vector, matrix·matrix, and so on.
    #[track_caller]
    pub fn dot(self, other: Expr<'t>) -> Expr<'t> {
        let (a, b) = (self.shape(), other.shape());
        match (a.last(), b.first()) {
            (Some(k), Some(l)) if k == l => {}
            _ => return self.fail("dot", format!("the last axis of {a} does not match the first of {b}")),
        }
        let (m, n) = (a.rank() - 1, b.rank() - 1);
        let la = labels(0, m + 1);
        let lb = labels(m, n + 1);
        let out: Labels = la[..m].iter().chain(&lb[1..]).copied().collect();
        let dims = [&a[..], &b[1..]].concat();
        contract(1.0, &[(self, &la), (other, &lb)], &out, &dims, self.tape)
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

    /// A range of one axis.
    #[track_caller]
    pub fn slice(self, axis: usize, range: Range<usize>) -> Expr<'t> {
        self.tape.apply(Slice { axis, start: range.start, end: range.end }.into(), &[self])
    }

    /// One index of an axis, which goes away.
    #[track_caller]
    pub fn at(self, axis: usize, index: usize) -> Expr<'t> {
        let part = self.slice(axis, index..index.saturating_add(1));
        let kept: Vec<usize> = (part.shape().iter().enumerate()).filter(|&(a, _)| a != axis).map(|(_, &d)| d).collect();
        part.reshape(kept)
    }

    /// `parts` equal ranges of one axis.
    #[track_caller]
    pub fn split(self, axis: usize, parts: usize) -> Vec<Expr<'t>> {
        let extent = self.shape().get(axis).copied().unwrap_or(0);
        if parts == 0 || extent == 0 || extent % parts != 0 {
            let failed = self.fail("split", format!("axis {axis} of {} has no {parts} equal parts", self.shape()));
            return vec![failed; parts.min(1024)];
        }
        let len = extent / parts;
        let mut out = Vec::with_capacity(parts);
        for part in 0..parts {
            out.push(self.slice(axis, part * len..(part + 1) * len));
        }
        out
    }

    /// Zeros before and after, along one axis.
    #[track_caller]
    pub fn pad(self, axis: usize, before: usize, after: usize) -> Expr<'t> {
        self.tape.apply(Pad { axis, before, after }.into(), &[self])
    }

    /// Indices as indicator vectors, along a new last axis as long as their bound.
    #[track_caller]
    pub fn one_hot(self) -> Expr<'t> {
        self.tape.apply(OneHot.into(), &[self])
    }

    /// Rows of this table picked by indices, whose bound must be the number of rows.
    #[track_caller]
    pub fn take(self, index: Expr<'t>) -> Expr<'t> {
        match index.spec().kind {
            Kind::Index(bound) if self.shape().first() == Some(&bound) => index.one_hot().dot(self),
            _ => self.fail("take", format!("{} does not index the rows of {}", index.spec(), self.spec())),
        }
    }

    /// 1 where this is less than `other`, else 0; no derivative flows through it.
    #[track_caller]
    pub fn less(self, other: impl IntoExpr<'t>) -> Expr<'t> {
        self.compare(Comparison::Less, other.into_expr(self.tape))
    }

    /// 1 where this is at most `other`, else 0; no derivative flows through it.
    #[track_caller]
    pub fn less_equal(self, other: impl IntoExpr<'t>) -> Expr<'t> {
        self.compare(Comparison::LessEqual, other.into_expr(self.tape))
    }

    /// 1 where this equals `other`, else 0; no derivative flows through it.
    #[track_caller]
    pub fn equal(self, other: impl IntoExpr<'t>) -> Expr<'t> {
        self.compare(Comparison::Equal, other.into_expr(self.tape))
    }

    #[track_caller]
    fn compare(self, how: Comparison, other: Expr<'t>) -> Expr<'t> {
        match self.broadcast(other, "compare") {
            Some((a, b)) => self.tape.apply(Compare(how).into(), &[a, b]),
            None => self,
        }
    }

    /// `yes` where this mask is not zero, else `no`: linear in its branches, so that an infinity in the other one does no harm.
    ///
    /// In reverse mode the branch not taken receives a cotangent of 0, which an infinite derivative inside it still turns into NaN
    /// (as in `x.less(0.0).select(0.0, x.ln())` at 0): keep the argument of such a function in its domain, too.
    #[track_caller]
    pub fn select(self, yes: impl IntoExpr<'t>, no: impl IntoExpr<'t>) -> Expr<'t> {
        let (yes, no) = (yes.into_expr(self.tape), no.into_expr(self.tape));
        let Some((yes, no)) = yes.broadcast(no, "select") else { return self };
        let Some((mask, yes)) = self.broadcast(yes, "select") else { return self };
        let Some((mask, no)) = mask.broadcast(no, "select") else { return self };
        self.tape.apply(Select.into(), &[mask, yes, no])
    }

    /// The larger of the two; at ties the derivative is shared evenly.
    #[track_caller]
    pub fn maximum(self, other: impl IntoExpr<'t>) -> Expr<'t> {
        match self.broadcast(other.into_expr(self.tape), "maximum") {
            Some((a, b)) => self.tape.stack(&[a, b]).max_axes(&[0]),
            None => self,
        }
    }

    /// The smaller of the two; at ties the derivative is shared evenly.
    #[track_caller]
    pub fn minimum(self, other: impl IntoExpr<'t>) -> Expr<'t> {
        -(-self).maximum(-other.into_expr(self.tape))
    }

    /// The same value, as a constant to every derivative.
    #[track_caller]
    pub fn stop_gradient(self) -> Expr<'t> {
        self.tape.apply(Stop.into(), &[self])
    }

    /// `self · self`.
    #[track_caller]
    pub fn square(self) -> Expr<'t> {
        self * self
    }

    /// A whole power, by repeated squaring; `powi(0)` is 1.
    #[track_caller]
    pub fn powi(self, power: i32) -> Expr<'t> {
        let mut result = self.tape.full(self.shape(), 1.0);
        let mut square = self;
        let mut left = power.unsigned_abs();
        while left > 0 {
            if left & 1 == 1 {
                result = result * square;
            }
            left >>= 1;
            if left > 0 {
                square = square * square;
            }
        }
        if power < 0 { result.recip() } else { result }
    }
}

fn bad_axes(axes: &[usize], shape: &Shape) -> Option<String> {
    let twice = axes.iter().enumerate().any(|(i, a)| axes[..i].contains(a));
    (twice || axes.iter().any(|&a| a >= shape.rank())).then(|| format!("{axes:?} are not distinct axes of {shape}"))
}

impl Tape {
    /// Joins arrays along an existing axis.
    #[track_caller]
    pub fn concat<'t>(&'t self, parts: &[Expr<'t>], axis: usize) -> Expr<'t> {
        self.apply(Concat { axis }.into(), parts)
    }

    /// Joins arrays of one shape along a new first axis.
    #[track_caller]
    pub fn stack<'t>(&'t self, parts: &[Expr<'t>]) -> Expr<'t> {
        let mut rows = Vec::with_capacity(parts.len());
        for part in parts {
            rows.push(part.reshape(part.shape().batched(1)));
        }
        self.concat(&rows, 0)
    }

    /// Einstein summation: `einsum("ij,j->i", &[a, x])`; a letter left out of the result is summed over.
    ///
    /// A letter may not stand twice in one operand, and every letter of the result must stand in an operand.
    #[track_caller]
    pub fn einsum<'t>(&'t self, text: &str, operands: &[Expr<'t>]) -> Expr<'t> {
        match Contract::parse(text, &operands.iter().map(|o| o.shape()).collect::<Vec<_>>()) {
            Ok(op) => self.apply(op.into(), operands),
            Err(why) => {
                self.fail(&format!("einsum {text:?}"), why, Location::caller());
                operands.first().copied().unwrap_or_else(|| self.lit(0.0))
            }
        }
    }
}

impl<'t, R: IntoExpr<'t>> Add<R> for Expr<'t> {
    type Output = Expr<'t>;
    #[track_caller]
    fn add(self, other: R) -> Expr<'t> {
        match self.broadcast(other.into_expr(self.tape), "add") {
            Some((a, b)) => sum(&[a, b], self.tape),
            None => self,
        }
    }
}

impl<'t, R: IntoExpr<'t>> Sub<R> for Expr<'t> {
    type Output = Expr<'t>;
    #[track_caller]
    fn sub(self, other: R) -> Expr<'t> {
        match self.broadcast(other.into_expr(self.tape), "subtract") {
            Some((a, b)) => sum(&[a, b.scale(-1.0)], self.tape),
            None => self,
        }
    }
}

impl<'t, R: IntoExpr<'t>> Mul<R> for Expr<'t> {
    type Output = Expr<'t>;
    #[track_caller]
    fn mul(self, other: R) -> Expr<'t> {
        let other = other.into_expr(self.tape);
        match self.aligned(other) {
            Ok((dims, la, lb, rank)) => contract(1.0, &[(self, &la), (other, &lb)], &labels(0, rank), &dims, self.tape),
            Err(why) => self.fail("multiply", why),
        }
    }
}

#[allow(clippy::suspicious_arithmetic_impl)] // a quotient is a product with a reciprocal
impl<'t, R: IntoExpr<'t>> Div<R> for Expr<'t> {
    type Output = Expr<'t>;
    #[track_caller]
    fn div(self, other: R) -> Expr<'t> {
        self * other.into_expr(self.tape).recip()
    }
}

impl<'t> Neg for Expr<'t> {
    type Output = Expr<'t>;
    #[track_caller]
    fn neg(self) -> Expr<'t> {
        self * -1.0
    }
}

macro_rules! scalar_left {
    ($($trait:ident $method:ident $op:tt),*) => {$(
        impl<'t> $trait<Expr<'t>> for f64 {
            type Output = Expr<'t>;
            #[track_caller]
            fn $method(self, other: Expr<'t>) -> Expr<'t> {
                other.tape.lit(self) $op other
            }
        }
    )*};
}
scalar_left!(Add add +, Sub sub -, Mul mul *, Div div /);
