//! Logarithms.

use super::double::{quotient, sum, times};
use super::{Elementary, exp, polynomial, tables::f64 as table};
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

/// e, and of twice the length ln m, where x = m · 2ᵉ is positive and finite, with m from √½ to √2.
#[inline(always)]
fn parts(x: f64) -> (f64, [f64; 2]) {
    let small = x < f64::MIN_POSITIVE;
    let [m, e] = (if small { x * f64::power(<f64 as Elementary>::BITS) } else { x }).split();
    let e = if small { e - <f64 as Elementary>::BITS } else { e };
    // ln m = 2 artanh s = 2s + s z (⅔ + z R(z)), z = s²; all but R of twice the length.
    let below = m + 1.0;
    let s = quotient([m - 1.0, 0.0], [below, m - (below - 1.0)]);
    let z = times(s, s);
    let rest = z[0] * polynomial(table::LONG_LOG, z[0]);
    let [high, low] = sum(2.0 / 3.0, rest);
    // What ⅔ lost.
    let [high, low] = times(times(s, z), [high, low + 3.700743415417188e-17]);
    let [y, lost] = sum(2.0 * s[0], high);
    (e, sum(y, lost + (low + 2.0 * s[1])))
}

/// Natural logarithm of a positive finite number, of twice the length.
#[inline(always)]
pub(super) fn long_ln(x: f64) -> [f64; 2] {
    let (e, [high, low]) = parts(x);
    let [y, lost] = sum(e * f64::LN_2[0], high);
    sum(y, lost + (low + e * f64::LN_2[1]))
}

/// A logarithm y of x, but at and beyond the ends what it is there.
#[inline(always)]
fn at_ends(x: f64, y: f64) -> f64 {
    let y = if x > 0.0 { y } else { f64::NEG_INFINITY };
    let y = if x < 0.0 { f64::NAN } else { y };
    if x < f64::INFINITY { y } else { x }
}

/// Logarithm to base 2, exact for powers of 2.
#[inline(always)]
pub(super) fn log2(x: f64) -> f64 {
    let (e, y) = parts(x);
    let [high, low] = times(y, table::LOG2_E);
    let [y, lost] = sum(e, high);
    at_ends(x, y + (lost + low))
}

/// Logarithm to base 10, exact for powers of 10.
#[inline(always)]
pub(super) fn log10(x: f64) -> f64 {
    let [high, low] = times(long_ln(x), table::LOG10_E);
    at_ends(x, high + low)
}

/// ln(eˣ + eʸ), without overflow. Where it is near 0, digits are right only beside x and y.
#[inline(always)]
pub fn logaddexp<T: Real>(x: T, y: T) -> T {
    // Infinities of one sign, too.
    let apart = if x == y { T::zero() } else { (x - y).abs() };
    let most = if x > y { x } else { y };
    most + ln_1p(exp(-apart))
}
