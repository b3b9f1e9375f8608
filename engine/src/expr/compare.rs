//! Comparisons, and what is chosen by them.

use super::{Expr, IntoExpr};
use crate::ops::{Compare, Comparison, Select, Stop, ToReal};

impl<'t> Expr<'t> {
    /// 1 where this is less than `other`, else 0; no derivative flows through it. Labels compare, exactly, as the numbers they are.
    ///
    /// Expressions have no value while they are traced, so that Rust's own `if x < y` does not exist for them: compute both branches
    /// and [`select`](Expr::select) by the mask.
    ///
    /// ```
    /// use osculate_engine::{spec, Array, Device, Func};
    /// // if w > 0 { w } else { 0.1 w }
    /// let f = Func::trace(spec([2]), spec([]), |_, w, _| w.greater(0.0).select(w, 0.1 * w))?;
    /// let y = f.compile::<f64>(&Device::cpu())?.run(&Array::new([2], vec![2.0, -2.0])?, &Array::scalar(0.0))?;
    /// assert_eq!(y.values(), [2.0, -0.2]);
    /// # Ok::<(), osculate_engine::Error>(())
    /// ```
    #[track_caller]
    pub fn less(self, other: impl IntoExpr<'t>) -> Expr<'t> {
        self.compare("less", other.into_expr(self.tape), |a, b| (Comparison::Less, a, b))
    }

    /// 1 where this is at most `other`, else 0; no derivative flows through it.
    #[track_caller]
    pub fn less_equal(self, other: impl IntoExpr<'t>) -> Expr<'t> {
        self.compare("less_equal", other.into_expr(self.tape), |a, b| (Comparison::LessEqual, a, b))
    }

    /// 1 where this equals `other`, else 0; no derivative flows through it.
    #[track_caller]
    pub fn equal(self, other: impl IntoExpr<'t>) -> Expr<'t> {
        self.compare("equal", other.into_expr(self.tape), |a, b| (Comparison::Equal, a, b))
    }

    /// 1 where this is more than `other`, else 0; no derivative flows through it.
    #[track_caller]
    pub fn greater(self, other: impl IntoExpr<'t>) -> Expr<'t> {
        self.compare("greater", other.into_expr(self.tape), |a, b| (Comparison::Less, b, a))
    }

    /// 1 where this is at least `other`, else 0; no derivative flows through it.
    #[track_caller]
    pub fn greater_equal(self, other: impl IntoExpr<'t>) -> Expr<'t> {
        self.compare("greater_equal", other.into_expr(self.tape), |a, b| (Comparison::LessEqual, b, a))
    }

    /// 1 where this does not equal `other` (so where either is NaN), else 0; no derivative flows through it.
    #[track_caller]
    pub fn not_equal(self, other: impl IntoExpr<'t>) -> Expr<'t> {
        self.compare("not_equal", other.into_expr(self.tape), |a, b| (Comparison::Equal, a, b)).logical_not()
    }

    /// 1 where it is NaN, else 0.
    #[track_caller]
    pub fn is_nan(self) -> Expr<'t> {
        self.not_equal(self)
    }

    /// 1 where it is neither infinite nor NaN, else 0.
    #[track_caller]
    pub fn is_finite(self) -> Expr<'t> {
        match self.is_real("is_finite") {
            true => self.abs().less(f64::INFINITY),
            false => self,
        }
    }

    /// 1 where both this mask and the other are not 0, else 0 (as `numpy.logical_and`).
    #[track_caller]
    pub fn logical_and(self, other: impl IntoExpr<'t>) -> Expr<'t> {
        self.select(other.into_expr(self.tape).select(1.0, 0.0), 0.0)
    }

    /// 1 where this mask or the other is not 0, else 0 (as `numpy.logical_or`).
    #[track_caller]
    pub fn logical_or(self, other: impl IntoExpr<'t>) -> Expr<'t> {
        self.select(1.0, other.into_expr(self.tape).select(1.0, 0.0))
    }

    /// 1 where this mask is 0, else 0 (as `numpy.logical_not`).
    #[track_caller]
    pub fn logical_not(self) -> Expr<'t> {
        self.select(0.0, 1.0)
    }

    /// Indices as numbers, exactly (reals stay as they are); no derivative flows through them.
    ///
    /// ```
    /// use osculate_engine::{label, spec, Array, Device, Func};
    /// let f = Func::trace(spec([]), label(10), |_, w, y| (w - y.to_real()).square())?;
    /// let loss = f.compile::<f64>(&Device::cpu())?.run(&Array::scalar(1.0), &Array::index([], vec![4])?)?;
    /// assert_eq!(loss.item(), Some(9.0));
    /// # Ok::<(), osculate_engine::Error>(())
    /// ```
    #[track_caller]
    pub fn to_real(self) -> Expr<'t> {
        self.tape.apply(ToReal.into(), &[self])
    }

    /// Compares what two sides and a comparison of them say; indices count as numbers.
    #[track_caller]
    fn compare(
        self,
        op: &str,
        other: Expr<'t>,
        sides: impl Fn(Expr<'t>, Expr<'t>) -> (Comparison, Expr<'t>, Expr<'t>),
    ) -> Expr<'t> {
        match self.to_real().broadcast(other.to_real(), op) {
            Some((a, b)) => {
                let (how, a, b) = sides(a, b);
                self.tape.apply(Compare(how).into(), &[a, b])
            }
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

    /// The value between two bounds that is nearest, as numpy.clip; a NaN stays one.
    ///
    /// Its derivative is 1 between them, ½ at them, and 0 beyond.
    #[track_caller]
    pub fn clip(self, low: impl IntoExpr<'t>, high: impl IntoExpr<'t>) -> Expr<'t> {
        self.maximum(low).minimum(high)
    }

    /// The same value, as a constant to every derivative.
    #[track_caller]
    pub fn stop_gradient(self) -> Expr<'t> {
        self.tape.apply(Stop.into(), &[self])
    }
}
