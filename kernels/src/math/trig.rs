//! Inverse trigonometric functions.

use std::f64::consts::{FRAC_PI_2, FRAC_PI_4};

use super::double::product;
use super::{polynomial, tables};

/// What π lost.
const PI_LOST: f64 = tables::f64::PI[1];

/// The angle, from 0 to π/2, of which y/x is the tangent; both are at least 0, not both 0 nor both infinite. With what it lost.
#[inline(always)]
fn angle(y: f64, x: f64) -> [f64; 2] {
    // tan(π/8) and its inverse: between them, the angle is π/4 and the one of (y − x)/(y + x); above, π/2 less the one of x/y.
    let low = y < 0.41421356237309503 * x;
    let high = y > 2.414213562373095 * x;
    let middle = if high { [-x, y] } else { [y - x, y + x] };
    let [above, below] = if low { [y, x] } else { middle };
    let base = if high { [FRAC_PI_2, 0.5 * PI_LOST] } else { [FRAC_PI_4, 0.25 * PI_LOST] };
    let base = if low { [0.0, 0.0] } else { base };
    let t = above / below;
    let rest = t * (t * t) * polynomial(tables::f64::ATAN, t * t);
    let sum = base[0] + t;
    [sum, (t - (sum - base[0])) + (rest + base[1])]
}

/// Inverse tangent, from −π/2 to π/2.
#[inline(always)]
pub(super) fn atan(x: f64) -> f64 {
    let [y, lost] = angle(x.abs(), 1.0);
    (y + lost).copysign(x)
}

/// The angle of the point (x, y), from −π to π: of every quadrant, as C99 has it for zeros and infinities, too.
#[inline(always)]
pub(super) fn atan2(y: f64, x: f64) -> f64 {
    let (a, b) = (y.abs(), x.abs());
    let both = a == f64::INFINITY && b == f64::INFINITY;
    // Sums of the largest would overflow; of the smallest, what a quarter loses is not seen.
    let scale = if a.max(b) > 1e300 { 0.25 } else { 1.0 };
    let [angle, lost] = if both { angle(1.0, 1.0) } else { angle(a * scale, b * scale) };
    let (angle, lost) = if a == 0.0 { (0.0, 0.0) } else { (angle, lost) };
    let left = tables::f64::PI[0] - angle;
    let left = left + (((tables::f64::PI[0] - left) - angle) + (PI_LOST - lost));
    let turned = if x.is_sign_negative() { left } else { angle + lost };
    if x.is_nan() || y.is_nan() { x + y } else { turned.copysign(y) }
}

/// asin(s) for |s| ≤ ½, given what s lost.
#[inline(always)]
fn near(s: f64, lost: f64) -> f64 {
    let z = s * s;
    s + (lost + s * z * polynomial(tables::f64::ASIN, z))
}

/// √(½ − ½a) for a from ½ to 1, with what it lost: half the angle whose cosine is a has it as its sine.
#[inline(always)]
fn half_angle(a: f64) -> [f64; 2] {
    let z = 0.5 - 0.5 * a;
    let s = z.sqrt();
    let [square, lost] = product(s, s);
    [s, if s > 0.0 { ((z - square) - lost) / (s + s) } else { 0.0 }]
}

/// Inverse sine, from −π/2 to π/2.
#[inline(always)]
pub(super) fn asin(x: f64) -> f64 {
    let a = x.abs();
    let [s, lost] = half_angle(a);
    let twice = 2.0 * near(s, lost);
    let far = FRAC_PI_2 - (twice - 0.5 * PI_LOST);
    (if a > 0.5 { far } else { near(a, 0.0) }).copysign(x)
}

/// Inverse cosine, from 0 to π.
#[inline(always)]
pub(super) fn acos(x: f64) -> f64 {
    let a = x.abs();
    let [s, lost] = half_angle(a);
    let twice = 2.0 * near(s, lost);
    let far = if x < 0.0 { tables::f64::PI[0] - (twice - PI_LOST) } else { twice };
    let middle = FRAC_PI_2 - (near(x, 0.0) - 0.5 * PI_LOST);
    if a > 0.5 { far } else { middle }
}
