//! Errors against libm's f64, whose own are below one ulp; f32 against the same in f64.

use super::*;
use crate::Simd;

/// Distance in units of the last place of the true result (of the least normal number, below it).
fn ulps<T: Real>(got: T, want: f64) -> f64 {
    if got.is_nan() || want.is_nan() || got.is_infinite() || T::from_f64(want).is_infinite() {
        let same = got.is_nan() && want.is_nan() || got.to_f64() == want || got == T::from_f64(want);
        return if same { 0.0 } else { f64::INFINITY };
    }
    let binade = want.abs().max(T::min_positive_value().to_f64()).log2().floor();
    (got.to_f64() - want).abs() / (T::epsilon().to_f64() * binade.exp2())
}

/// Numbers of all magnitudes with both signs, many near `around`, and the awkward ones.
fn arguments<T: Real>(around: &[f64]) -> Vec<T> {
    let mut state = 1u64;
    let mut random = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut all = vec![T::zero(), -T::zero(), T::infinity(), -T::infinity(), T::nan(), T::one(), -T::one()];
    all.extend([T::min_positive_value(), T::max_value(), T::epsilon(), T::min_positive_value() * T::epsilon()]);
    for _ in 0..20_000 {
        let sign = if random() < 0.5 { -1.0 } else { 1.0 };
        all.push(T::from_f64(sign * (random() * 60.0 - 40.0).exp2()));
        all.push(T::from_f64(sign * random() * 800.0));
        all.push(T::from_f64(sign * random() * 2.0));
        all.extend(around.iter().map(|center| T::from_f64(center * (1.0 + 0.1 * (random() - 0.5)))));
    }
    all
}

/// Largest error over the arguments, of the loops that every instruction set makes; they must agree to the bit.
fn worst<T: Real>(f: impl Fn(T) -> T + Copy, truth: fn(f64) -> f64, around: &[f64]) -> f64 {
    let arguments = arguments::<T>(around);
    let mut first: Option<Vec<T>> = None;
    for simd in Simd::available() {
        let mut values = arguments.clone();
        simd.each(&mut values, f);
        let first = first.get_or_insert_with(|| values.clone());
        let same = |(a, b): (&T, &T)| a.is_nan() && b.is_nan() || a.integer_decode() == b.integer_decode();
        assert!(first.iter().zip(&values).all(same), "{simd} has other bits");
    }
    let values = first.expect("a set");
    let errors = arguments.iter().zip(&values).map(|(&x, &y)| (ulps(y, truth(x.to_f64())), x));
    let (error, at) = errors.fold((0.0, arguments[0]), |a, b| if b.0 > a.0 { b } else { a });
    println!("{error} ulp at {at}"); // seen when it fails
    error
}

macro_rules! within {
    ($($name:ident, $truth:expr, $most:literal, $around:expr;)*) => {$(
        #[test]
        fn $name() {
                assert!(worst::<f32>(super::$name, $truth, &$around) <= $most);
            assert!(worst::<f64>(super::$name, $truth, &$around) <= $most);
        }
    )*};
}

fn logistic(x: f64) -> f64 {
    let e = libm::exp(-x.abs());
    if x < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) }
}

fn soft(x: f64) -> f64 {
    x.max(0.0) + libm::log1p(libm::exp(-x.abs())) + if x.is_nan() { x } else { 0.0 }
}

/// e^(−x²) as a product, the square's upper half first: itself right to 1.5 ulp.
fn bell(x: f64) -> f64 {
    let x = x.abs().min(30.0) + if x.is_nan() { x } else { 0.0 };
    let high = f64::from(x as f32);
    libm::exp(-high * high) * libm::exp(-(x - high) * (x + high))
}

within! {
    exp, libm::exp, 1.0, [0.3466, -0.3466, 88.0, -87.3, -100.0, 709.0, -708.0, -740.0];
    exp_m1, libm::expm1, 2.0, [0.3466, -0.3466, 88.5, -17.0, 709.5, -37.0];
    ln, libm::log, 1.0, [1.0, std::f64::consts::SQRT_2, std::f64::consts::FRAC_1_SQRT_2];
    ln_1p, libm::log1p, 1.5, [0.4142, -0.2929, -0.95];
    tanh, libm::tanh, 3.0, [0.17, 0.5, 9.0, 20.0];
    sigmoid, logistic, 2.5, [17.0, -88.0, -708.0, 37.0];
    softplus, soft, 2.5, [0.1, -30.0];
    erf, libm::erf, 2.0, [0.9, 1.1, 4.0, 5.9, 2.5];
    erfc, libm::erfc, 4.5, [0.45, 0.5, 1.5, 8.0, 10.0, 26.0, 27.0];
    gaussian, bell, 3.0, [0.5, 9.3, 26.0];
}
