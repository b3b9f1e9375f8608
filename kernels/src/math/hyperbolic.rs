//! Hyperbolic functions.

use super::exp::exp_sum;
use super::{exp_m1, ln_1p, polynomial, tables, within};
use crate::Real;

/// Hyperbolic tangent.
#[inline(always)]
pub fn tanh<T: Real>(x: T) -> T {
    let two = T::from_f64(2.0);
    let t = exp_m1(two * within(x.abs(), T::zero(), T::from_f64(22.0)));
    // Its own sign: that of a zero, too.
    (t / (t + two)).copysign(x)
}

/// From here on, 1 + x is x to the logarithm's last digit.
const LARGE: f64 = 18014398509481984.0;

/// Hyperbolic sine.
#[inline(always)]
pub(super) fn sinh(x: f64) -> f64 {
    let near = x + x * (x * x) * polynomial(tables::f64::SINH, x * x);
    let half = exp_sum([x.abs(), 0.0], -1.0);
    let far = (half - 0.25 / half).copysign(x);
    if x.abs() < 1.0 { near } else { far }
}

/// Hyperbolic cosine.
#[inline(always)]
pub(super) fn cosh(x: f64) -> f64 {
    let half = exp_sum([x.abs(), 0.0], -1.0);
    half + 0.25 / half
}

/// Inverse hyperbolic sine.
#[inline(always)]
pub(super) fn asinh(x: f64) -> f64 {
    let a = x.abs();
    let square = a * a;
    let more = a + square / (1.0 + (1.0 + square).sqrt());
    let y = if a < LARGE { ln_1p(more) } else { ln_1p(a) + std::f64::consts::LN_2 };
    y.copysign(x)
}

/// Inverse hyperbolic cosine, of 1 and more.
#[inline(always)]
pub(super) fn acosh(x: f64) -> f64 {
    let t = x - 1.0;
    let y = if x < LARGE { ln_1p(t + (t * (t + 2.0)).sqrt()) } else { ln_1p(x) + std::f64::consts::LN_2 };
    if x < 1.0 { f64::NAN } else { y }
}

/// Inverse hyperbolic tangent, from −1 to 1.
#[inline(always)]
pub(super) fn atanh(x: f64) -> f64 {
    let a = x.abs();
    let y = 0.5 * ln_1p((a + a) / (1.0 - a));
    if a > 1.0 { f64::NAN } else { y.copysign(x) }
}
