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

/// |x| and |y| times a power of 2 that keeps their squares in range, the root of the sum of those, and the power.
#[inline(always)]
fn scaled_hypot(x: f64, y: f64) -> ([f64; 2], f64, f64) {
    let (a, b) = (x.abs(), y.abs());
    let most = if a > b { a } else { b };
    let scale = if most > 1e150 { f64::power(-600.0) } else { 1.0 };
    let scale = if most < 1e-150 { f64::power(600.0) } else { scale };
    let [p, q] = [a * scale, b * scale];
    let ([p2, p_lost], [q2, q_lost]) = (product(p, p), product(q, q));
    let [high, low] = if p2 > q2 { sum(p2, q2) } else { sum(q2, p2) };
    let root = high.sqrt();
    let [square, lost] = product(root, root);
    let more = ((high - square) - lost + (low + (p_lost + q_lost))) / (root + root);
    ([p, q], if root > 0.0 { root + more } else { root }, scale)
}

/// √(x² + y²), without overflow; infinite where either is, even beside a NaN.
#[inline(always)]
pub(super) fn hypot(x: f64, y: f64) -> f64 {
    let (_, root, scale) = scaled_hypot(x, y);
    if x.abs() == f64::INFINITY || y.abs() == f64::INFINITY { f64::INFINITY } else { root / scale }
}

/// x/√(x² + y²), the limit where one is infinite; of (0, 0) it is 0, of two infinities as of two ones.
#[inline(always)]
pub(super) fn unit(x: f64, y: f64) -> f64 {
    let infinite = [x, y].map(|v| v.abs() == f64::INFINITY);
    // Beside an infinity, whatever is finite is 0.
    let one = |v: f64, infinite: bool| if infinite { 1.0 } else { 0.0 * v };
    let [a, b] = if infinite[0] || infinite[1] { [one(x, infinite[0]), one(y, infinite[1])] } else { [x, y] };
    let ([p, _], root, scale) = scaled_hypot(a, b);
    // What would underflow beside the largest is taken as it is.
    let ratio = if p > 1e-280 { p / root } else { a.abs() / (root / scale) };
    (if a == 0.0 { 0.0 } else { ratio }).copysign(x)
}
