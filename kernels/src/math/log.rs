//! Logarithms.

use super::{exp, polynomial};
use crate::Real;

/// ln(1 + f) − f, for 1 + f from √½ to √2, less what a correction adds to it: s(½f² + R(s²)) − ½f², s = f/(2 + f).
#[inline(always)]
fn rest<T: Real>(f: T, correction: T) -> T {
    let s = f / (f + T::from_f64(2.0));
    let (half, z) = (T::from_f64(0.5) * f * f, s * s);
    (s * (half + z * polynomial(T::LOG, z)) + correction) - half
}

/// Natural logarithm.
#[inline(always)]
pub fn ln<T: Real>(x: T) -> T {
    let small = x < T::min_positive_value();
    let [m, e] = (if small { x * T::power(T::BITS) } else { x }).split();
    let e = if small { e - T::BITS } else { e };
    let [high, low] = T::LN_2;
    let f = m - T::one();
    let y = e * high + (f + rest(f, e * low));
    let y = if x > T::zero() { y } else { T::neg_infinity() };
    let y = if x < T::zero() { T::nan() } else { y };
    // Infinity, or a NaN.
    if x < T::infinity() { y } else { x }
}

/// ln(1 + x), exact near 0.
#[inline(always)]
pub fn ln_1p<T: Real>(x: T) -> T {
    let sum = T::one() + x;
    let [m, e] = sum.split();
    let [high, low] = T::LN_2;
    // What the sum lost.
    let lost = if x < T::one() { x - (sum - T::one()) } else { T::one() - (sum - x) };
    let f = if e == T::zero() { x } else { m - T::one() };
    let correction = if e == T::zero() { T::zero() } else { e * low + lost / sum };
    let y = e * high + (f + rest(f, correction));
    let y = if x > -T::one() { y } else { T::neg_infinity() };
    let y = if x < -T::one() { T::nan() } else { y };
    let y = if x.abs() < T::epsilon() * T::from_f64(0.5) { x } else { y };
    if x < T::infinity() { y } else { x }
}

/// ln(1 + eˣ), without overflow.
#[inline(always)]
pub fn softplus<T: Real>(x: T) -> T {
    let y = ln_1p(exp(-x.abs()));
    if x > T::zero() { x + y } else { y }
}
