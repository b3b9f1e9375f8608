//! Sums, products and powers of expressions, element by element.

use std::ops::{Add, Div, Mul, Neg, Sub};

use super::{Expr, IntoExpr, labels};
use crate::ops::{Divide, contract, integer_pow, sum};

impl<'t> Expr<'t> {
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

    /// `self · self`.
    #[track_caller]
    pub fn square(self) -> Expr<'t> {
        self * self
    }

    /// 1/x.
    #[track_caller]
    pub fn recip(self) -> Expr<'t> {
        1.0 / self
    }

    /// xⁿ of a whole number n, negative ones too, by repeated squaring: right to |n| units in the last place at all scales.
    /// `powi(0)` is 1 everywhere. (As `jax.lax.integer_pow`.)
    #[track_caller]
    pub fn powi(self, power: i32) -> Expr<'t> {
        integer_pow(self, i64::from(power))
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

impl<'t, R: IntoExpr<'t>> Div<R> for Expr<'t> {
    type Output = Expr<'t>;
    #[track_caller]
    fn div(self, other: R) -> Expr<'t> {
        match self.broadcast(other.into_expr(self.tape), "divide") {
            Some((x, z)) => self.tape.apply(Divide.into(), &[x, z]),
            None => self,
        }
    }
}

impl<'t> Neg for Expr<'t> {
    type Output = Expr<'t>;
    #[track_caller]
    fn neg(self) -> Expr<'t> {
        match self.is_real("negate") {
            true => self.scale(-1.0),
            false => self,
        }
    }
}

macro_rules! scalar_left {
    ($type:ident: $($trait:ident $method:ident $op:tt),*) => {$(
        impl<'t> $trait<Expr<'t>> for $type {
            type Output = Expr<'t>;
            #[track_caller]
            fn $method(self, other: Expr<'t>) -> Expr<'t> {
                other.tape.lit(f64::from(self)) $op other
            }
        }
    )*};
}
scalar_left!(f64: Add add +, Sub sub -, Mul mul *, Div div /);
scalar_left!(i32: Add add +, Sub sub -, Mul mul *, Div div /);
