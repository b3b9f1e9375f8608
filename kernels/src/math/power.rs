//! Powers and roots.

use super::double::{product, sum};
use super::exp::exp_sum;
use super::log::long_ln;
use super::round::round;
use super::{Elementary, polynomial, tables, within};

/// xʸ, at every edge as C99 has it: x⁰ and 1ʸ are 1 even where the other is a NaN; of a negative x, only whole powers are numbers.
#[inline(always)]
pub(super) fn pow(x: f64, y: f64) -> f64 {
    let a = x.abs();
    let [high, low] = long_ln(a);
    // Beyond, every power but that of 1 is 0 or infinite.
    let most = within(y, -1e30, 1e30);
    let [p, lost] = product(high, most);
    let lost = if p.abs() < 1e4 { lost + low * most } else { 0.0 };
    let value = exp_sum([p, lost], 0.0);
    let end = if (a == 0.0) == (y < 0.0) { f64::INFINITY } else { 0.0 };
    let value = if a == 0.0 || a == f64::INFINITY { end } else { value };
    let value = if y == 1.0 { a } else { value };
    let whole = round(y) == y;
    let odd = whole && round(0.5 * y) != 0.5 * y;
    let signed = if odd { value.copysign(x) } else { value };
    // Of infinite powers and of −∞, too, whole or not.
    let real = x >= 0.0 || whole || a == 0.0 || a == f64::INFINITY;
    let value = if real { signed } else { f64::NAN };
    let value = if x.is_nan() || y.is_nan() { x + y } else { value };
    if x == 1.0 || y == 0.0 { 1.0 } else { value }
}

/// Cube root, of negative numbers, too.
#[inline(always)]
pub(super) fn cbrt(x: f64) -> f64 {
    let a = x.abs();
    let small = a < f64::MIN_POSITIVE;
    let [m, e] = (if small { a * f64::power(54.0) } else { a }).split();
    let e = if small { e - 54.0 } else { e };
    // m · 2ᵉ is m 2^(e − 3k) · 8ᵏ.
    let k = round(e * (1.0 / 3.0));
    let left = e - 3.0 * k;
    let m = m * f64::power(left);
    let root = if left < 0.0 { 0.7937005259840998 } else { 1.2599210498948732 };
    let root = if left == 0.0 { 1.0 } else { root };
    // From four digits on, twice Halley's step, then Newton's with the cube of twice the length.
    let mut y = root * polynomial(tables::f64::CBRT, m * f64::power(-left));
    let cube = y * y * y;
    y = y * (cube + (m + m)) / (cube + cube + m);
    let [square, lost] = product(y, y);
    let [cube, less] = product(square, y);
    let step = ((m - cube) - (less + lost * y)) / (3.0 * square);
    let [y, lost] = sum(y, step);
    let y = (y + lost) * f64::power(k);
    if a > 0.0 && a < f64::INFINITY { y.copysign(x) } else { x }
}

/// √(x² + y²), without overflow; infinite where either is, even beside a NaN.
#[inline(always)]
pub(super) fn hypot(x: f64, y: f64) -> f64 {
    let (a, b) = (x.abs(), y.abs());
    let most = if a > b { a } else { b };
    // Powers of 2, which round nothing.
    let scale = if most > 1e150 { f64::power(-600.0) } else { 1.0 };
    let scale = if most < 1e-150 { f64::power(600.0) } else { scale };
    let [p, q] = [a * scale, b * scale];
    let ([p, s], [q, t]) = (product(p, p), product(q, q));
    let [high, low] = [p + q, if p > q { q - ((p + q) - p) } else { p - ((p + q) - q) }];
    let root = high.sqrt();
    let [square, lost] = product(root, root);
    let more = ((high - square) - lost + (low + (s + t))) / (root + root);
    let value = (if root > 0.0 { root + more } else { root }) / scale;
    if a == f64::INFINITY || b == f64::INFINITY { f64::INFINITY } else { value }
}
