//! Comparisons, and what is chosen by them.

use super::{Expr, IntoExpr};
use crate::ops::{Compare, Comparison, Select, Stop};

impl<'t> Expr<'t> {
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
}
