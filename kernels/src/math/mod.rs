//! Elementary functions without branches: one text for both types, which loops over vectors are made of.
//!
//! Additions and products are rounded one by one (no fused multiply-adds), so results have the same bits with every instruction
//! set. A NaN goes through; the largest errors against libm's f64, in units of the last place, are those that the tests assert:
//!
//! | | `exp` | `exp_m1` | `ln` | `ln_1p` | `tanh` | `sigmoid` | `softplus` | `erf` |
//! |---|---|---|---|---|---|---|---|---|
//! | ulp | 1 | 2 | 1 | 1.5 | 3 | 2.5 | 2.5 | 2 |
//!
//! ```
//! use osculate_kernels::math;
//! assert_eq!(math::exp(0.0f64), 1.0);
//! assert!((math::ln(10.0f32) - std::f32::consts::LN_10).abs() < 3e-7);
//! ```

#[allow(clippy::excessive_precision)]
mod tables;

use crate::Real;

/// What the functions need of a type: polynomials, lowest coefficient first, and its bits.
pub trait Elementary: Sized + 'static {
    /// (eʳ − 1 − r)/r² where |r| ≤ ½ ln 2.
    const EXP: &'static [Self];
    /// (2 artanh s − 2s)/s³ in s², s ≤ (√2 − 1)/(√2 + 1).
    const LOG: &'static [Self];
    /// erf(x)/x − 1 in x², x ≤ 1.
    const ERF: &'static [Self];
    /// exp(a²) erfc(a) in (a − 2.5)/(a + 2.5), from a = 1 to where erf is 1.
    const ERFC: &'static [Self];
    /// ln 2, in a part of few bits and the rest.
    const LN_2: [Self; 2];
    /// ½ ulp of it is ½: adding it rounds to an integer, which then stands in the last bits.
    const MAGIC: Self;
    /// Largest exponent of a number that is not infinite; the smallest of a normal one is 1 less than its negative.
    const MOST: Self;
    /// Beyond, ±1 is what `erf` is.
    const FLAT: Self;
    /// The number of bits with which subnormals are normal.
    const BITS: Self;
    /// 2 to the power of an integer from −`MOST` + 1 to `MOST`.
    fn power(exponent: Self) -> Self;
    /// m and e of a positive normal number m · 2ᵉ, with m from √½ to √2.
    fn split(self) -> [Self; 2];
}

macro_rules! elementary {
    ($($type:ident, $bits:ident, $mantissa:literal, $bias:literal, $root:literal, $magic:literal, $flat:literal;)*) => {$(
        impl Elementary for $type {
            const EXP: &'static [$type] = tables::$type::EXP;
            const LOG: &'static [$type] = tables::$type::LOG;
            const ERF: &'static [$type] = tables::$type::ERF;
            const ERFC: &'static [$type] = tables::$type::ERFC;
            const LN_2: [$type; 2] = tables::$type::LN_2;
            const MAGIC: $type = $magic;
            const MOST: $type = $bias as $type;
            const FLAT: $type = $flat;
            const BITS: $type = ($mantissa + 1) as $type;

            #[inline(always)]
            fn power(exponent: $type) -> $type {
                // The last bits of the sum are the biased exponent.
                $type::from_bits((exponent + (Self::MAGIC + Self::MOST)).to_bits() << $mantissa)
            }

            #[inline(always)]
            fn split(self) -> [$type; 2] {
                const ONE: $bits = $bias << $mantissa;
                // Adding an integer to the bits of this adds it to the number.
                const WHOLE: $type = ((1 as $bits) << $mantissa) as $type;
                let bits = self.to_bits().wrapping_add(ONE - $root);
                let exponent = $type::from_bits(WHOLE.to_bits() | (bits >> $mantissa)) - WHOLE - Self::MOST;
                [$type::from_bits((bits & ((1 << $mantissa) - 1)) + $root), exponent]
            }
        }
    )*};
}

elementary! {
    // type, bits, mantissa, bias, bits of √½, magic, where erf rounds to 1
    f32, u32, 23, 127, 0x3f3504f3, 12582912.0, 4.0;
    f64, u64, 52, 1023, 0x3fe6a09e667f3bcd, 6755399441055744.0, 6.0;
}

/// A polynomial, lowest coefficient first.
#[inline(always)]
fn polynomial<T: Real>(coefficients: &'static [T], x: T) -> T {
    let mut sum = T::zero();
    for &c in coefficients.iter().rev() {
        sum = sum * x + c;
    }
    sum
}

/// `x`, but at least `low` and at most `high`; a NaN stays one.
#[inline(always)]
fn within<T: Real>(x: T, low: T, high: T) -> T {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

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

/// eˣ.
#[inline(always)]
pub fn exp<T: Real>(x: T) -> T {
    let ln_2 = T::LN_2[0];
    // Beyond, the result is 0 or infinite; the power of two comes in halves, since subnormals want one beyond the least.
    let [k, p] = reduced(within(x, -(T::MOST + T::BITS + T::one()) * ln_2, (T::MOST + T::one() + T::one()) * ln_2));
    let half = (k * T::from_f64(0.5) + T::MAGIC) - T::MAGIC;
    (T::one() + p) * T::power(half) * T::power(k - half)
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

/// Hyperbolic tangent.
#[inline(always)]
pub fn tanh<T: Real>(x: T) -> T {
    let two = T::from_f64(2.0);
    let t = exp_m1(two * within(x.abs(), T::zero(), T::from_f64(22.0)));
    // Its own sign: that of a zero, too.
    (t / (t + two)).copysign(x)
}

/// Logistic function 1/(1 + e⁻ˣ).
#[inline(always)]
pub fn sigmoid<T: Real>(x: T) -> T {
    let e = exp(-x.abs());
    (if x < T::zero() { e } else { T::one() }) / (T::one() + e)
}

/// ln(1 + eˣ), without overflow.
#[inline(always)]
pub fn softplus<T: Real>(x: T) -> T {
    let y = ln_1p(exp(-x.abs()));
    if x > T::zero() { x + y } else { y }
}

/// Error function 2/√π ∫₀ˣ e^(−t²) dt.
#[inline(always)]
pub fn erf<T: Real>(x: T) -> T {
    let (a, middle) = (x.abs(), T::from_f64(2.5));
    let near = x + x * polynomial(T::ERF, x * x);
    let a = within(a, T::one(), T::FLAT);
    let far = T::one() - exp(-(a * a)) * polynomial(T::ERFC, (a - middle) / (a + middle));
    if x.abs() > T::one() { far.copysign(x) } else { near }
}

#[cfg(test)]
mod tests;
