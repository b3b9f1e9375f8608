//! Elementary functions without branches: one text for both types, which loops over vectors are made of.
//!
//! Additions and products are rounded one by one (no fused multiply-adds), so results have the same bits with every instruction
//! set. A NaN goes through. The largest errors, in units of the last place, are those that the tests assert, against 60 digits at
//! the arguments of `truth.txt` and against libm's f64 at many more:
//!
//! | | `exp` | `exp_m1` | `ln` | `ln_1p` | `tanh` | `sigmoid` | `softplus` | `logaddexp` | `erf` | `erfc` | `gaussian` |
//! |---|---|---|---|---|---|---|---|---|---|---|---|
//! | ulp | 1 | 2 | 1 | 1.5 | 3 | 2.5 | 2.5 | 2.5 | 2 | 4.5 | 1.5 |
//!
//! The others are written for f64; f32 goes through it, and is right to 0.501 ulp.
//!
//! | | `exp2` | `log2` | `log10` | `pow` | `cbrt` | `hypot` | `sinh` | `cosh` | `asinh` | `acosh` | `atanh` |
//! |---|---|---|---|---|---|---|---|---|---|---|---|
//! | ulp | 1 | 0.501 | 0.501 | 1 | 0.501 | 0.501 | 1.5 | 1.5 | 1.5 | 1.5 | 1.5 |
//!
//! | | `asin` | `acos` | `atan` | `atan2` | `unit` | `ln_gamma` | `digamma` | `polygamma` |
//! |---|---|---|---|---|---|---|---|---|
//! | ulp | 2 | 1.5 | 1 | 1 | 1.5 | 3.5 | 3.5 | 5 to order 5, some n/3 to order n |
//!
//! ```
//! use osculate_kernels::math;
//! assert_eq!(math::exp(0.0f64), 1.0);
//! assert!((math::ln(10.0f32) - std::f32::consts::LN_10).abs() < 3e-7);
//! ```

mod activation;
mod double;
mod error_function;
mod exp;
mod gamma;
mod hyperbolic;
mod log;
mod power;
mod round;
#[allow(clippy::excessive_precision, clippy::approx_constant)]
mod tables;
mod trig;

use crate::Real;

/// What the functions need of a type: polynomials, lowest coefficient first, and its bits.
pub trait Elementary: Sized + 'static {
    /// (eʳ − 1 − r)/r² where |r| ≤ ½ ln 2.
    const EXP: &'static [Self];
    /// (2 artanh s − 2s)/s³ in s², s ≤ (√2 − 1)/(√2 + 1).
    const LOG: &'static [Self];
    /// erf(x)/x − 1 in x², x ≤ 1.
    const ERF: &'static [Self];
    /// (1 + 2a) exp(a²) erfc(a) in (a − 3)/(a + 3), from a = ½ to `FAR`.
    const ERFC: &'static [Self];
    /// ln 2, in a part of few bits and the rest.
    const LN_2: [Self; 2];
    /// ½ ulp of it is ½: adding it rounds to an integer, which then stands in the last bits.
    const MAGIC: Self;
    /// Largest exponent of a number that is not infinite; the smallest of a normal one is 1 less than its negative.
    const MOST: Self;
    /// Beyond, `erfc` is 0.
    const FAR: Self;
    /// What a number is multiplied by to find its upper half.
    const HALVES: Self;
    /// The number of bits with which subnormals are normal.
    const BITS: Self;
    /// 2 to the power of an integer from −`MOST` + 1 to `MOST`.
    fn power(exponent: Self) -> Self;
    /// m and e of a positive normal number m · 2ᵉ, with m from √½ to √2.
    fn split(self) -> [Self; 2];
}

macro_rules! elementary {
    ($($type:ident, $bits:ident, $mantissa:literal, $bias:literal, $root:literal, $magic:literal, $far:literal;)*) => {$(
        impl Elementary for $type {
            const EXP: &'static [$type] = tables::$type::EXP;
            const LOG: &'static [$type] = tables::$type::LOG;
            const ERF: &'static [$type] = tables::$type::ERF;
            const ERFC: &'static [$type] = tables::$type::ERFC;
            const LN_2: [$type; 2] = tables::$type::LN_2;
            const MAGIC: $type = $magic;
            const MOST: $type = $bias as $type;
            const FAR: $type = $far;
            const HALVES: $type = (1u64 << ($mantissa + 2) / 2) as $type + 1.0;
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
    // type, bits, mantissa, bias, bits of √½, magic, where erfc is 0
    f32, u32, 23, 127, 0x3f3504f3, 12582912.0, 11.0;
    f64, u64, 52, 1023, 0x3fe6a09e667f3bcd, 6755399441055744.0, 28.0;
}

pub use activation::{gelu, ndtr, normal_pdf, sech2, silu};
pub use error_function::{erf, erfc, gaussian};
pub use exp::{exp, exp_m1, sigmoid};
pub use hyperbolic::tanh;
pub use log::{ln, ln_1p, logaddexp, softplus};

/// Functions that are written for f64 alone: f32 goes through it, and is rounded once more.
macro_rules! of_f64 {
    ($($(#[$doc:meta])* $module:ident::$name:ident($($x:ident),*);)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name<T: Real>($($x: T),*) -> T {
            T::from_f64($module::$name($($x.to_f64()),*))
        }
    )*};
}

of_f64! {
    /// 2ˣ, exact where x is whole.
    exp::exp2(x);
    /// Logarithm to base 2, exact for powers of 2.
    log::log2(x);
    /// Logarithm to base 10, exact for powers of 10.
    log::log10(x);
    /// The nearest whole number; of two, the even one.
    round::round(x);
    /// The largest whole number that is not larger.
    round::floor(x);
    /// The smallest whole number that is not smaller.
    round::ceil(x);
    /// The whole number toward 0.
    round::trunc(x);
    /// Hyperbolic sine.
    hyperbolic::sinh(x);
    /// Hyperbolic cosine.
    hyperbolic::cosh(x);
    /// Inverse hyperbolic sine.
    hyperbolic::asinh(x);
    /// Inverse hyperbolic cosine, of 1 and more.
    hyperbolic::acosh(x);
    /// Inverse hyperbolic tangent, from −1 to 1.
    hyperbolic::atanh(x);
    /// Inverse sine.
    trig::asin(x);
    /// Inverse cosine.
    trig::acos(x);
    /// Inverse tangent.
    trig::atan(x);
    /// The angle of the point (x, y).
    trig::atan2(y, x);
    /// xʸ.
    power::pow(x, y);
    /// Cube root.
    power::cbrt(x);
    /// √(x² + y²), without overflow.
    power::hypot(x, y);
    /// x/√(x² + y²), of (0, 0) 0.
    power::unit(x, y);
    /// ln |Γ(x)|.
    gamma::ln_gamma(x);
    /// Digamma.
    gamma::digamma(x);
    /// Polygamma.
    gamma::polygamma(n, x);
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

#[cfg(test)]
mod tests;
