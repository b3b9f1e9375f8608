//! The logarithm of the gamma function, and its derivatives.

use super::double::product;
use super::log::long_ln;
use super::round::{floor, round};
use super::{ln, polynomial, tables::f64 as table};

/// sin πr for |r| ≤ ½.
#[inline(always)]
fn sin_pi(r: f64) -> f64 {
    r * polynomial(table::SIN_PI, r * r)
}

/// ln |Γ(x)|; infinite at 0, −1, −2, …
///
/// Between those, it crosses 0 many times, where digits are right only beside ln |Γ(−x)|.
#[inline(always)]
pub(super) fn ln_gamma(x: f64) -> f64 {
    let reflected = x < -0.5;
    let a = if reflected { -x } else { x };
    // Γ(a) = Γ(2 + d) · p^±1.
    let (mut d, mut p, mut up) = (a - 2.0, 1.0, false);
    if d < -1.5 {
        (d, p, up) = (a, a * (a + 1.0), true);
    } else if d < -0.5 {
        (d, p, up) = (a - 1.0, a, true);
    }
    for _ in 0..6 {
        let far = d > 0.5;
        p = if far { p * (d + 1.0) } else { p };
        d = if far { d - 1.0 } else { d };
    }
    let large = a >= 8.0;
    let [log, lost] = long_ln(if large { a } else { p.abs() });
    let base = d * polynomial(table::LN_GAMMA, d);
    let near = if up { (base - lost) - log } else { (base + lost) + log };
    // Stirling's series.
    let half = a - 0.5;
    let [high, low] = product(half, log - 1.0);
    // Of the largest, halves would overflow.
    let low = if a < 1e200 { low } else { 0.0 };
    let inverse = 1.0 / a;
    let rest =
        inverse * polynomial(table::STIRLING, inverse * inverse) + (half * lost + (table::LN_SQRT_2_PI[0] - 0.5));
    let far = high + (low + rest);
    let value = if large { far } else { near };
    // Γ(−a) Γ(a) = −π/(a sin πa).
    let sine = sin_pi(a - round(a)).abs();
    let other = ln(table::PI[0] / (a * sine)) - value;
    let value = if reflected { other } else { value };
    let value = if x <= 0.0 && round(x) == x { f64::INFINITY } else { value };
    if x.is_nan() {
        x
    } else if x.abs() < f64::INFINITY {
        value
    } else {
        f64::INFINITY
    }
}

/// Digamma, the derivative of ln |Γ|; a NaN at −1, −2, …, and −∞ beside 0 with its sign.
///
/// Below 0, where it crosses 0 between any two poles, digits are right only beside π.
#[inline(always)]
pub(super) fn digamma(x: f64) -> f64 {
    let reflected = x < 0.0;
    let a = if reflected { -x } else { x };
    // ψ(a) = ψ(d) ± p′/p, d from 1 to 2.
    let small = a < 1.0;
    let mut d = if small { a + 1.0 } else { a };
    let (mut p, mut slope) = (1.0, 0.0);
    for _ in 0..7 {
        let far = d >= 2.0;
        let next = if far { d - 1.0 } else { d };
        slope = if far { slope * next + p } else { slope };
        p = if far { p * next } else { p };
        d = next;
    }
    let lost = if small { a - (d - 1.0) } else { 0.0 };
    let root = (d - table::DIGAMMA_ROOT[0]) - (table::DIGAMMA_ROOT[1] - lost);
    let near = root * polynomial(table::DIGAMMA, d - 1.5);
    let inverse = 1.0 / a;
    let near = if small { near - inverse } else { near + slope / p };
    let square = inverse * inverse;
    let far = ln(a) - (0.5 * inverse + square * polynomial(table::DIGAMMA_TAIL, square));
    let value = if a >= 8.0 { far } else { near };
    // ψ(−a) = ψ(a) + 1/a + π cot πa.
    let r = a - round(a);
    let cotangent = sin_pi(0.5 - r.abs()) / sin_pi(r);
    let value = if reflected { (value + inverse) + table::PI[0] * cotangent } else { value };
    let value = if x == 0.0 { -1.0 / x } else { value };
    if x < 0.0 && round(x) == x { f64::NAN } else { value }
}

/// n!/xⁿ, which overflows only if it is too large.
fn factorial_over_power(n: f64, x: f64) -> f64 {
    let (mut product, mut i) = (1.0, 1.0);
    while i <= n && product > 0.0 && product < f64::INFINITY {
        product *= i / x;
        i += 1.0;
    }
    product
}

/// B₂ⱼ/(2j)!, from j = 1.
const BERNOULLI: [f64; 10] = [
    8.333333333333333e-2,
    -1.388888888888889e-3,
    3.306878306878307e-5,
    -8.267195767195768e-7,
    2.08767569878681e-8,
    -5.284190138687493e-10,
    1.3382536530684679e-11,
    -3.3896802963225827e-13,
    8.586062056277845e-15,
    -2.174868698558062e-16,
];

/// Σₖ n!/(x + k)ⁿ⁺¹ over all k from 0, for x > 0 and n ≥ 1, by Euler and Maclaurin's formula.
fn hurwitz(n: f64, x: f64) -> f64 {
    let mut sum = 0.0;
    let mut at = x;
    for _ in 0..10 {
        sum += factorial_over_power(n, at) / at;
        at += 1.0;
    }
    let first = factorial_over_power(n - 1.0, at) / at;
    if first == 0.0 || sum.is_infinite() {
        return sum;
    }
    // Terms of n (n + 1) … (n + 2j − 1) B₂ⱼ/(2j)! / x²ʲ.
    let (mut rest, mut rising, mut step) = (1.0 + 0.5 * (n / at), n, n + 1.0);
    for (j, b) in BERNOULLI.iter().enumerate() {
        rising = if j == 0 { rising / at * (step / at) } else { rising * (step / at) * ((step + 1.0) / at) };
        step += if j == 0 { 1.0 } else { 2.0 };
        rest += b * rising;
    }
    sum + first * rest
}

/// Polygamma of order n, rounded to a whole number: the n-th derivative of digamma; a NaN at poles of two signs, and where n is below 0.
pub(super) fn polygamma(n: f64, x: f64) -> f64 {
    let n = round(n);
    let even = round(0.5 * n) == 0.5 * n;
    let pole = x <= 0.0 && round(x) == x;
    if n == 0.0 {
        return digamma(x);
    }
    if n.is_nan() || x.is_nan() || n < 0.0 {
        return f64::NAN;
    }
    let sum = if x > 0.0 {
        hurwitz(n, x)
    } else if pole {
        // Beside 0 there is one sign, by its own.
        let signed = if x == 0.0 { 1.0 / x } else { f64::NAN };
        if even { signed } else { f64::INFINITY }
    } else {
        // The terms beyond 0, and those before it, which are as many as from r to a.
        let a = -x;
        let r = a - floor(a);
        let before = hurwitz(n, r) - hurwitz(n, a + 1.0);
        hurwitz(n, 1.0 - r) + if even { -before } else { before }
    };
    if even { -sum } else { sum }
}
