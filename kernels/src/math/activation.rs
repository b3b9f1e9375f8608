//! Functions that layers put between them, and the slopes of those that saturate, right in their tails.

use super::double::product;
use super::error_function::scaled_tail;
use super::exp::exp_sum;
use super::{erf, exp, within};
use crate::Real;

/// 1/cosh² x, the derivative of [`tanh`](super::tanh), down to where it vanishes.
#[inline(always)]
pub fn sech2<T: Real>(x: T) -> T {
    let e = exp(-(x.abs() + x.abs()));
    let sum = T::one() + e;
    T::from_f64(4.0) * e / (sum * sum)
}

/// e^(−x²/2), with what rounding the square loses.
#[inline(always)]
fn bell<T: Real>(x: T) -> T {
    // A little beyond where it is 0.
    let (half, a) = (T::from_f64(0.5), within(x.abs(), T::zero(), T::FAR * T::from_f64(1.5)));
    let [square, lost] = product(a, a);
    exp_sum([-half * square, -half * lost], T::zero())
}

/// Density of the normal distribution, e^(−x²/2)/√(2π).
#[inline(always)]
pub fn normal_pdf<T: Real>(x: T) -> T {
    bell(x) * T::from_f64(0.398_942_280_401_432_7)
}

/// Normal distribution function ½ erfc(−x/√2), right in its tail.
#[inline(always)]
pub fn ndtr<T: Real>(x: T) -> T {
    times_ndtr(x, T::one())
}

/// x · [`ndtr`]; 0 at −∞.
#[inline(always)]
pub fn gelu<T: Real>(x: T) -> T {
    // Far below it is 0; −∞ · 0 would be NaN.
    let x = within(x, -T::FAR * T::from_f64(1.5), T::infinity());
    times_ndtr(x, x)
}

/// The normal distribution function times a factor, which is multiplied first where the product would lose digits below the least
/// normal number.
#[inline(always)]
fn times_ndtr<T: Real>(x: T, factor: T) -> T {
    let half = T::from_f64(0.5);
    let a = x.abs() * T::from_f64(std::f64::consts::FRAC_1_SQRT_2);
    let (bell, rest) = (bell(x), half * scaled_tail(a));
    let near = half + half * erf(within(a, T::zero(), half)).copysign(x);
    let far = if x > T::zero() { factor * (T::one() - bell * rest) } else { factor * rest * bell };
    let y = if a > half { far } else { factor * near };
    if x.is_nan() { x } else { y }
}

/// x times the logistic function; 0 at −∞.
#[inline(always)]
pub fn silu<T: Real>(x: T) -> T {
    // Of half the argument: its square may be below the least normal number, which the product with x should not lose digits of.
    let half = exp(-(T::from_f64(0.5) * x.abs()));
    let below = T::one() + half * half;
    // Far below it is 0; −∞ · 0 would be NaN.
    let low = within(x, -(T::MOST + T::MOST), T::zero());
    if x < T::zero() { low * half / below * half } else { x / below }
}
