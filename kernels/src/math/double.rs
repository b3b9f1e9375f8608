//! Numbers of twice the length: a number and what rounding it lost.

use crate::Real;

/// The upper and the lower half of a number, whose products are exact; for numbers not so large that this overflows.
#[inline(always)]
fn halves<T: Real>(x: T) -> [T; 2] {
    let y = T::HALVES * x;
    let high = y - (y - x);
    [high, x - high]
}

/// A product and what rounding it lost (Dekker 1971).
#[inline(always)]
pub(super) fn product<T: Real>(x: T, y: T) -> [T; 2] {
    let ([a, b], [c, d]) = (halves(x), halves(y));
    let high = x * y;
    [high, b * d - (((high - a * c) - b * c) - a * d)]
}

/// A sum and what rounding it lost, where |x| ≥ |y| or x = 0.
#[inline(always)]
pub(super) fn sum(x: f64, y: f64) -> [f64; 2] {
    let high = x + y;
    [high, y - (high - x)]
}

/// The product of two of twice the length.
#[inline(always)]
pub(super) fn times([a, b]: [f64; 2], [c, d]: [f64; 2]) -> [f64; 2] {
    let [high, low] = product(a, c);
    [high, low + (a * d + b * c)]
}

/// The quotient of two of twice the length.
#[inline(always)]
pub(super) fn quotient([a, b]: [f64; 2], [c, d]: [f64; 2]) -> [f64; 2] {
    let high = a / c;
    let [back, lost] = product(high, c);
    [high, ((a - back) - lost + (b - high * d)) / c]
}
