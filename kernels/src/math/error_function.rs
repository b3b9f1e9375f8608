//! The error function, and what is left of it.

use super::double::product;
use super::exp::exp_sum;
use super::{polynomial, within};
use crate::Real;

/// e^(−x²), with what rounding the square loses.
#[inline(always)]
pub fn gaussian<T: Real>(x: T) -> T {
    // A little beyond where it is 0.
    let a = within(x.abs(), T::zero(), T::FAR);
    let [square, lost] = product(a, a);
    exp_sum([-square, -lost], T::zero())
}

/// e^(a²) erfc(a) = g(a)/(1 + 2a), from a = ½ (after Shepherd and Laframboise 1981).
#[inline(always)]
pub(super) fn scaled_tail<T: Real>(a: T) -> T {
    let (three, a) = (T::from_f64(3.0), within(a, T::from_f64(0.5), T::FAR));
    polynomial(T::ERFC, (a - three) / (a + three)) / (T::one() + (a + a))
}

/// erfc(a), from a = ½.
#[inline(always)]
fn tail<T: Real>(a: T) -> T {
    gaussian(a) * scaled_tail(a)
}

/// Error function 2/√π ∫₀ˣ e^(−t²) dt.
#[inline(always)]
pub fn erf<T: Real>(x: T) -> T {
    let near = x + x * polynomial(T::ERF, x * x);
    let far = T::one() - tail(x.abs());
    if x.abs() > T::one() { far.copysign(x) } else { near }
}

/// Complementary error function 1 − erf(x), right in its tail, too.
#[inline(always)]
pub fn erfc<T: Real>(x: T) -> T {
    let near = T::one() - (x + x * polynomial(T::ERF, x * x));
    let tail = tail(x.abs());
    let far = if x < T::zero() { T::from_f64(2.0) - tail } else { tail };
    if x.abs() > T::from_f64(0.5) { far } else { near }
}
