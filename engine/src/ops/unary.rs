//! Elementwise functions: one row a function. A row is all there is to add.

use std::f64::consts::{FRAC_2_SQRT_PI, LN_2, LOG2_E, LOG10_E};

use osculate_kernels::{Body, Inline, Instr, Real, Scalar, Simd, math};

use super::Primitive;
use crate::plan::{Lowering, Value};
use crate::{Expr, Spec, Tape};

/// A row of the table, by its position.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Unary(usize);

/// An elementwise function: name, value, derivative.
pub struct Elementwise {
    /// Name, as printed and as the method on [`Expr`].
    pub name: &'static str,
    /// An interval away from kinks and poles, from which tests draw arguments.
    pub domain: (f64, f64),
    /// Applies it to an expression.
    pub apply: for<'t> fn(Expr<'t>) -> Expr<'t>,
    scalar: &'static Scalar,
    /// dy/dx in the user's own algebra, given x and y = f(x); absent where it is zero everywhere.
    derivative: for<'t> fn(Expr<'t>, Expr<'t>) -> Option<Expr<'t>>,
}

/// All rows of the table.
pub fn elementwise() -> &'static [Elementwise] {
    TABLE
}

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident: |$v:ident| $value:expr, |$x:pat_param, $y:pat_param| $derivative:tt, $domain:expr, $wgsl:literal $(, $inline:ident)?;)*) => {
        /// Values in either type.
        #[allow(non_upper_case_globals)]
        mod scalars {
            use super::*;
            $(pub(super) static $name: Scalar = {
                // A closure might not be inlined into the loop, and the loop then not be made of vectors.
                #[inline(always)]
                fn value<T: Real>($v: T) -> T {
                    $value
                }
                fn block<T: Real>(simd: Simd, values: &mut [T]) {
                    simd.each(values, value);
                }
                let inline = unary!(@inline $($inline)?);
                Scalar { name: stringify!($name), f32: block::<f32>, f64: block::<f64>, wgsl: $wgsl, inline }
            };)*
        }

        static TABLE: &[Elementwise] = &[$(Elementwise {
            name: stringify!($name),
            domain: $domain,
            apply: |x| x.$name(),
            scalar: &scalars::$name,
            derivative: |$x, $y| unary!(@derivative $derivative),
        }),*];

        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        enum Row { $($name),* }

        impl<'t> Expr<'t> {
            $($(#[$doc])* #[track_caller] pub fn $name(self) -> Expr<'t> {
                self.tape.apply(Unary(Row::$name as usize).into(), &[self])
            })*
        }
    };
    (@inline) => { None };
    (@inline $inline:ident) => { Some(Inline::$inline) };
    (@derivative zero) => { None };
    (@derivative $derivative:tt) => { Some($derivative) };
}

/// A threshold, or the NaN it was asked about.
#[inline(always)]
fn where_positive<T: Real>(v: T, positive: T, other: T) -> T {
    let chosen = if v > T::zero() { positive } else { other };
    if v.is_nan() { v } else { chosen }
}

/// 1 − x², with all its digits near ±1 and near 0, the derivative's, too.
fn one_less_square(x: Expr<'_>) -> Expr<'_> {
    x.abs().less(0.5).select(1.0 - x * x, (1.0 - x) * (1.0 + x))
}

/// x·y of a y that decays faster than any power of x grows: 0 where y is, even at infinity.
fn decaying<'t>(x: Expr<'t>, y: Expr<'t>) -> Expr<'t> {
    y.equal(0.0).select(0.0, x) * y
}

unary! {
// name: value, |x, y| {derivative}, an interval to test on, WGSL, and what executors compute in registers
    /// √x.
    sqrt: |v| v.sqrt(), |_, y| {0.5 / y}, (0.2, 4.0), "sqrt(x)", Sqrt;
    /// 1/√x.
    rsqrt: |v| v.sqrt().recip(), |x, y| {y / (-2.0 * x)}, (0.3, 4.0), "inverseSqrt(x)", Rsqrt;
    /// eˣ.
    exp: |v| math::exp(v), |_, y| y, (-2.0, 2.0), "exp(x)";
    /// eˣ − 1, exact near 0.
    exp_m1: |v| math::exp_m1(v), |x, _| {x.exp()}, (-2.0, 2.0), "exp(x) - 1.0";
    /// Natural logarithm.
    ln: |v| math::ln(v), |x, _| {x.recip()}, (0.3, 4.0), "log(x)";
    /// 2ˣ, exact where x is whole.
    exp2: |v| math::exp2(v), |_, y| {LN_2 * y}, (-2.0, 2.0), "exp2(x)";
    /// Logarithm to base 2, exact for powers of 2.
    log2: |v| math::log2(v), |x, _| {LOG2_E / x}, (0.3, 4.0), "log2(x)";
    /// Logarithm to base 10, exact for powers of 10.
    log10: |v| math::log10(v), |x, _| {LOG10_E / x}, (0.3, 4.0), "log(x) * 0.4342944819";
    /// ln(1 + x), exact near 0.
    ln_1p: |v| math::ln_1p(v), |x, _| {(1.0 + x).recip()}, (-0.5, 3.0), "log(1.0 + x)";
    /// Sine.
    sin: |v| v.sin(), |x, _| {x.cos()}, (-3.0, 3.0), "sin(x)";
    /// Cosine.
    cos: |v| v.cos(), |x, _| {-x.sin()}, (-3.0, 3.0), "cos(x)";
    /// Tangent.
    tan: |v| v.tan(), |_, y| {1.0 + y * y}, (-1.2, 1.2), "tan(x)";
    /// Inverse sine, from −π/2 to π/2.
    asin: |v| math::asin(v), |x, _| {one_less_square(x).rsqrt()}, (-0.8, 0.8), "asin(x)";
    /// Inverse cosine, from 0 to π.
    acos: |v| math::acos(v), |x, _| {-one_less_square(x).rsqrt()}, (-0.8, 0.8), "acos(x)";
    /// Inverse tangent, from −π/2 to π/2; of a quotient, see [`Expr::atan2`].
    atan: |v| math::atan(v), |x, _| {x.hypot(1.0).powi(-2)}, (-3.0, 3.0), "atan(x)";
    /// Hyperbolic sine.
    sinh: |v| math::sinh(v), |x, _| {x.cosh()}, (-2.0, 2.0), "sinh(x)";
    /// Hyperbolic cosine.
    cosh: |v| math::cosh(v), |x, _| {x.sinh()}, (-2.0, 2.0), "cosh(x)";
    /// Hyperbolic tangent.
    tanh: |v| math::tanh(v), |x, _| {x.sech2()}, (-2.0, 2.0), "tanh(x)";
    /// 1/cosh² x, the derivative of [`Expr::tanh`], with all its digits where it is small.
    sech2: |v| math::sech2(v), |x, y| {-2.0 * x.tanh() * y}, (-2.0, 2.0), "4.0 * exp(-2.0 * abs(x)) / pow(1.0 + exp(-2.0 * abs(x)), 2.0)";
    /// Inverse hyperbolic sine.
    asinh: |v| math::asinh(v), |x, _| {1.0 / x.hypot(1.0)}, (-3.0, 3.0), "asinh(x)";
    /// Inverse hyperbolic cosine, of 1 and more.
    acosh: |v| math::acosh(v), |x, _| {(x - 1.0).rsqrt() * (x + 1.0).rsqrt()}, (1.3, 4.0), "acosh(x)";
    /// Inverse hyperbolic tangent, from −1 to 1.
    atanh: |v| math::atanh(v), |x, _| {1.0 / one_less_square(x)}, (-0.8, 0.8), "atanh(x)";
    /// Logistic function 1/(1 + e⁻ˣ).
    sigmoid: |v| math::sigmoid(v), |x, _| {0.25 * (0.5 * x).sech2()}, (-3.0, 3.0), "1.0 / (1.0 + exp(-x))";
    /// ln(1 + eˣ), without overflow.
    softplus: |v| math::softplus(v), |x, _| {x.sigmoid()}, (-3.0, 3.0), "max(x, 0.0) + log(1.0 + exp(-abs(x)))";
    /// x/(1 + |x|).
    softsign: |v| if v.is_infinite() { v.signum() } else { v / (T::one() + v.abs()) }, |x, _| {(1.0 + x.abs()).recip().square()}, (0.1, 3.0), "x / (1.0 + abs(x))";
    /// e^(−x²), right in its tails.
    gaussian: |v| math::gaussian(v), |x, y| {-2.0 * decaying(x, y)}, (-2.0, 2.0), "exp(-x * x)";
    /// Error function 2/√π ∫₀ˣ e^(−t²) dt.
    erf: |v| math::erf(v), |x, _| {FRAC_2_SQRT_PI * x.gaussian()}, (-2.0, 2.0), "erf(x)";
    /// Complementary error function 1 − erf(x), with all its digits where it is small.
    erfc: |v| math::erfc(v), |x, _| {-FRAC_2_SQRT_PI * x.gaussian()}, (-2.0, 2.0), "erfc(x)";
    /// Logarithm of the absolute value of the gamma function, as scipy.special.gammaln; infinite at 0, −1, −2, …
    ///
    /// Below −2, where it crosses 0 many times, digits are right only beside its value at −x.
    ln_gamma: |v| math::ln_gamma(v), |x, _| {x.digamma()}, (0.3, 4.0), "ln_gamma(x)";
    /// Digamma function, the derivative of [`Expr::ln_gamma`]; a NaN at −1, −2, …
    digamma: |v| math::digamma(v), |x, _| {x.polygamma(1.0)}, (0.3, 4.0), "digamma(x)";
    /// Cube root, of negative numbers, too.
    cbrt: |v| math::cbrt(v), |_, y| {(1.0 / 3.0) * y.powi(-2)}, (0.3, 3.0), "sign(x) * pow(abs(x), 1.0 / 3.0)";
    /// The nearest whole number, of two the even one, as numpy.round; its derivative is 0.
    round: |v| math::round(v), |_, _| zero, (0.6, 1.4), "round(x)";
    /// The largest whole number that is not larger; its derivative is 0.
    floor: |v| math::floor(v), |_, _| zero, (0.1, 0.9), "floor(x)";
    /// The smallest whole number that is not smaller; its derivative is 0.
    ceil: |v| math::ceil(v), |_, _| zero, (0.1, 0.9), "ceil(x)";
    /// The whole number toward 0; its derivative is 0.
    trunc: |v| math::trunc(v), |_, _| zero, (1.1, 1.9), "trunc(x)";
    /// Normal distribution function Φ(x) = ½ erfc(−x/√2), as jax.scipy.special.ndtr.
    ndtr: |v| math::ndtr(v), |x, _| {x.normal_pdf()}, (-2.0, 2.0), "0.5 * erfc(-0.7071067811865476 * x)";
    /// Density of the normal distribution e^(−x²/2)/√(2π), as jax.scipy.stats.norm.pdf.
    normal_pdf: |v| math::normal_pdf(v), |x, y| {-decaying(x, y)}, (-2.0, 2.0), "0.3989422804014327 * exp(-0.5 * x * x)";
    /// x Φ(x), Φ the normal distribution function (Hendrycks and Gimpel 2016), with all its digits where it is small.
    gelu: |v| math::gelu(v), |x, _| {x.ndtr() + decaying(x, x.normal_pdf())}, (-2.0, 2.0), "0.5 * x * erfc(-0.7071067811865476 * x)";
    /// x σ(x), σ the logistic function; also called swish.
    silu: |v| math::silu(v), |x, y| {x.sigmoid() + decaying(y, (-x).sigmoid())}, (-3.0, 3.0), "x / (1.0 + exp(-x))";
    /// max(x, 0); its derivative at 0 is 0. (Of y rather than x: then nobody reads x again.)
    relu: |v| where_positive(v, v, T::zero()), |_, y| {y.step()}, (0.1, 2.0), "max(x, 0.0)", Relu;
    /// min(x, 0); its derivative at 0 is 1.
    min0: |v| where_positive(v, T::zero(), v), |x, _| {1.0 - x.step()}, (0.1, 2.0), "min(x, 0.0)", Min0;
    /// 1 where x > 0, else 0; its derivative is 0.
    step: |v| where_positive(v, T::one(), T::zero()), |_, _| zero, (0.1, 2.0), "select(0.0, 1.0, x > 0.0)", Step;
    /// |x|; its derivative at 0 is 0.
    abs: |v| v.abs(), |x, _| {x.sign()}, (0.1, 2.0), "abs(x)", Abs;
    /// −1, 0 or 1; its derivative is 0.
    sign: |v| where_positive(v, T::one(), where_positive(-v, -T::one(), T::zero())), |_, _| zero, (0.1, 2.0), "sign(x)", Sign;
}

impl Unary {
    fn row(&self) -> &'static Elementwise {
        &TABLE[self.0]
    }
}

impl Primitive for Unary {
    fn text(&self) -> String {
        self.row().name.into()
    }

    fn shape(&self, args: &[Spec]) -> Result<Spec, String> {
        if args[0].is_index() {
            return Err(super::not_numbers(&args[0]));
        }
        Ok(args[0].clone())
    }

    fn make<'t>(&self, tape: &'t Tape, args: &[Expr<'t>], spec: Spec) -> Expr<'t> {
        if let Some(value) = args[0].constant() {
            let mut folded = [value];
            (self.row().scalar.f64)(Simd::portable(), &mut folded);
            if folded[0].is_finite() {
                return tape.full(spec.shape, folded[0]);
            }
        }
        tape.intern(self.clone().into(), args, spec)
    }

    fn jvp<'t>(&self, args: &[Expr<'t>], out: Expr<'t>, tangents: &[Option<Expr<'t>>]) -> Option<Expr<'t>> {
        let tangent = tangents[0]?;
        (self.row().derivative)(args[0], out).map(|d| d.times(tangent))
    }

    fn batch<'t>(&self, args: &[Expr<'t>], _: &[bool], _: usize) -> Expr<'t> {
        args[0].tape.apply(self.clone().into(), args)
    }

    fn lower(&self, cx: &mut Lowering, args: &[Value], spec: &Spec) -> Value {
        cx.map(Body(vec![Instr::Load(0), Instr::Apply(self.row().scalar, 0)]), args, &spec.shape)
    }

    fn jax(&self, args: &[&str], _: &Spec) -> String {
        format!("{}({})", self.row().name, args[0])
    }
}

#[cfg(test)]
mod tests {
    use osculate_kernels::{Command, Cpu, Nest, Out, Program, Slot, View};

    use super::*;

    /// What executors compute in registers is what the table says, to the bit.
    #[test]
    fn inline_functions_are_the_tables() {
        let values: Vec<f64> = [0.0, 1.0, 0.3, 1e-30, 1e30, 1e-40, 2.5e-45, f64::INFINITY, f64::NAN]
            .into_iter()
            .chain((1..40).map(|i| f64::from(i * i) * 0.37))
            .flat_map(|v| [v, -v])
            .collect();
        fn check<T: Real>(row: &Elementwise, values: &[f64]) {
            let values: Vec<T> = values.iter().map(|&v| T::from_f64(v)).collect();
            let len = values.len();
            let body = Body(vec![Instr::Load(0), Instr::Apply(row.scalar, 0)]);
            let inputs = vec![View::new(0, 0, &[1])];
            let map = Command::Map(Nest { dims: vec![len], body, inputs, out: View::new(1, 0, &[1]) });
            let program = Program::new(vec![Slot::Input(len), Slot::Output { len, wide: false }], vec![map]);
            let program = program.expect("a program");
            let mut want = values.clone();
            T::apply(row.scalar, Simd::portable(), &mut want);
            for simd in Simd::available() {
                let mut got = vec![T::zero(); len];
                let run = Cpu::with(program.clone(), 1, simd).run(&[&values], &mut [Out::Real(&mut got)]);
                run.expect("a run");
                for ((x, &want), &got) in values.iter().zip(&want).zip(&got) {
                    let same = want.to_f64().to_bits() == got.to_f64().to_bits() || (want.is_nan() && got.is_nan());
                    assert!(same, "{} of {x} is {got} by {simd}, not {want}", row.name);
                }
            }
        }
        for row in TABLE {
            check::<f32>(row, &values);
            check::<f64>(row, &values);
        }
    }
}
