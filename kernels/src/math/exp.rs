//! Exponentials.

use super::double::times;
use super::round::round;
use super::{Elementary, polynomial, tables, within};
use crate::Real;

/// The integer k nearest to x/ln 2, and eʳ − 1 of r = x − k ln 2.
#[inline(always)]
fn reduced<T: Real>(x: T) -> [T; 2] {
    let [high, low] = T::LN_2;
    let k = (x * T::from_f64(std::f64::consts::LOG2_E) + T::MAGIC) - T::MAGIC;
    let (exact, less) = (x - k * high, k * low);
    let r = exact - less;
    let lost = (exact - r) - less;
    [k, r + (lost + r * r * polynomial(T::EXP, r))]
}

/// What is beyond is 0 or infinite.
#[inline(always)]
fn in_range<T: Real>(x: T) -> T {
    let (ln_2, two) = (T::LN_2[0], T::from_f64(2.0));
    within(x, -(T::MOST + T::BITS + two) * ln_2, (T::MOST + two + T::one()) * ln_2)
}

/// eˣ.
#[inline(always)]
pub fn exp<T: Real>(x: T) -> T {
    let [k, p] = reduced(in_range(x));
    scaled(p, k)
}

/// eˣ · 2ⁿ of a number and what rounding it lost; n is from −1 to 1.
#[inline(always)]
pub(super) fn exp_sum<T: Real>([x, lost]: [T; 2], n: T) -> T {
    let [k, p] = reduced(in_range(x));
    scaled(p + (lost + lost * p), k + n)
}

/// (1 + p) · 2ᵏ, whose power of two comes in halves, since subnormals want one beyond the least.
#[inline(always)]
fn scaled<T: Real>(p: T, k: T) -> T {
    let half = (k * T::from_f64(0.5) + T::MAGIC) - T::MAGIC;
    (T::one() + p) * T::power(half) * T::power(k - half)
}

/// 2ˣ.
#[inline(always)]
pub(super) fn exp2(x: f64) -> f64 {
    let x = within(x, -1100.0, 1100.0);
    let k = round(x);
    let [r, lost] = times([x - k, 0.0], tables::f64::LN_2_PAIR);
    let p = r + (lost + r * r * polynomial(f64::EXP, r));
    scaled(p, k)
}

/// eˣ − 1, exact near 0.
#[inline(always)]
pub fn exp_m1<T: Real>(x: T) -> T {
    let ln_2 = T::LN_2[0];
    let (half, two) = (T::from_f64(0.5), T::from_f64(2.0));
    // Below, the result is −1; above, infinite. Half of it is put together, since the power of two may be infinite alone.
    let [k, p] = reduced(within(x, -(T::BITS + two) * ln_2, (T::MOST + T::from_f64(1.25)) * ln_2));
    let scale = T::power(k - T::one());
    let y = two * (scale * p + (scale - half));
    // Tiny numbers would underflow on the way.
    if x.abs() < T::epsilon() * half { x } else { y }
}

/// Logistic function 1/(1 + e⁻ˣ).
#[inline(always)]
pub fn sigmoid<T: Real>(x: T) -> T {
    let e = exp(-x.abs());
    (if x < T::zero() { e } else { T::one() }) / (T::one() + e)
}
