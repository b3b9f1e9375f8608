//! Errors against 60 digits, at the arguments of a table; against libm's f64, whose own are below one ulp, at many more; f32 against
//! the same in f64.

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

/// Arguments and values by the loops that every instruction set makes, which must agree to the bit.
fn bits<T: Real>(f: impl Fn(T) -> T + Copy, around: &[f64]) -> (Vec<T>, Vec<T>) {
    let arguments = arguments::<T>(around);
    let mut first: Option<Vec<T>> = None;
    for simd in Simd::available() {
        let mut values = arguments.clone();
        simd.each(&mut values, f);
        let first = first.get_or_insert_with(|| values.clone());
        let same = |(a, b): (&T, &T)| a.is_nan() && b.is_nan() || a.integer_decode() == b.integer_decode();
        assert!(first.iter().zip(&values).all(same), "{simd} has other bits");
    }
    (arguments, first.expect("a set"))
}

/// Largest error over the arguments.
fn worst<T: Real>(f: impl Fn(T) -> T + Copy, truth: fn(f64) -> f64, around: &[f64]) -> f64 {
    let (arguments, values) = bits(f, around);
    let errors = arguments.iter().zip(&values).map(|(x, &y)| (ulps(y, truth(Real::to_f64(*x))), x));
    let (error, at) = errors.fold((0.0, &arguments[0]), |a, b| if b.0 > a.0 { b } else { a });
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
}

/// Name, arguments, and the value as the nearest f64 and what it is short of the truth in units of the last place.
fn table() -> impl Iterator<Item = (&'static str, Vec<f64>, f64, f64)> {
    include_str!("truth.txt").lines().map(|line| {
        let (name, numbers) = line.split_once(' ').expect("a name");
        let mut numbers: Vec<f64> = numbers.split(' ').map(|n| n.parse().expect("a number")).collect();
        let (short, value) = (numbers.pop().expect("a rest"), numbers.pop().expect("a value"));
        (name, numbers, value, short)
    })
}

/// Largest error in f64 over what the table has of a function.
fn error(name: &str, f: impl Fn(&[f64]) -> f64) -> f64 {
    let mut count = 0;
    let mut worst = (0.0, vec![]);
    for (_, arguments, value, short) in table().filter(|line| line.0 == name) {
        let got = f(&arguments);
        let unit = f64::EPSILON * value.abs().max(f64::MIN_POSITIVE).log2().floor().exp2();
        let error = ((got - value) / unit - short).abs();
        count += 1;
        if error.is_nan() || error > worst.0 {
            worst = (if error.is_nan() { f64::INFINITY } else { error }, arguments);
        }
    }
    assert!(count >= 60, "{count} of {name}");
    println!("{name}: {} ulp at {:?}", worst.0, worst.1); // seen when it fails
    worst.0
}

macro_rules! errors {
    ($($name:ident($($x:ident),+): $most:literal;)*) => {
        #[test]
        fn errors_in_60_digits() {
            $({
                let found = error(stringify!($name), |x| {
                    let mut x = x.iter().copied();
                    $(let $x = x.next().expect("an argument");)+
                    super::$name($($x),+)
                });
                assert!(found <= $most, "{}: {found} ulp", stringify!($name));
            })*
        }
    };
}

errors! {
    exp(x): 1.0;
    exp_m1(x): 2.0;
    ln(x): 1.0;
    ln_1p(x): 1.5;
    tanh(x): 3.0;
    logaddexp(x, y): 2.5;
    erf(x): 2.0;
    erfc(x): 4.5;
    sech2(x): 4.0;
    normal_pdf(x): 2.5;
    ndtr(x): 5.0;
    gelu(x): 6.0;
    silu(x): 4.5;
    gaussian(x): 1.5;
    exp2(x): 1.0;
    log2(x): 0.501;
    log10(x): 0.501;
    cbrt(x): 0.501;
    pow(x, y): 1.0;
    hypot(x, y): 0.501;
    unit(x, y): 1.5;
    sinh(x): 1.5;
    cosh(x): 1.5;
    asinh(x): 1.5;
    acosh(x): 1.5;
    atanh(x): 1.5;
    asin(x): 2.0;
    acos(x): 1.5;
    atan(x): 1.0;
    atan2(x, y): 1.0;
    ln_gamma(x): 3.5;
    digamma(x): 3.5;
    polygamma(n, x): 5.0;
}

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;
const LEAST: f64 = 5e-324;
const MOST: f64 = f64::MAX;

/// Equal, zeros of one sign; or both a NaN.
fn same(got: f64, want: f64) -> bool {
    got.is_nan() && want.is_nan() || got == want && got.is_sign_negative() == want.is_sign_negative()
}

/// What C99 says at the edges.
#[test]
fn edges_of_one_argument() {
    use std::f64::consts::{FRAC_PI_2, FRAC_PI_4, LN_2, PI};
    macro_rules! edges {
        ($($name:ident: $([$($x:expr => $want:expr),*])+;)*) => {$($($({
            let (x, want): (f64, f64) = ($x, $want);
            let got = super::$name(x);
            assert!(same(got, want), "{}({x}) = {got}, not {want}", stringify!($name));
            let (x, want) = (x as f32, if want.abs() < 1e-40 && x != 0.0 { 0.0f64.copysign(want) } else { want });
            let got = f64::from(super::$name(x));
            // Arguments beyond f32's smallest and largest are its zeros and infinities.
            let other = x == 0.0 || x.is_infinite();
            assert!(other || same(got, f64::from(want as f32)), "{}({x}f32) = {got}, not {want}", stringify!($name));
        })*)+)*};
    }
    edges! {
        erfc: [0.0 => 1.0, -0.0 => 1.0, INF => 0.0, -INF => 2.0, NAN => NAN, 28.0 => 0.0, -28.0 => 2.0, LEAST => 1.0];
        gaussian: [0.0 => 1.0, -0.0 => 1.0, INF => 0.0, -INF => 0.0, NAN => NAN, MOST => 0.0];
        exp2: [0.0 => 1.0, -0.0 => 1.0, INF => INF, -INF => 0.0, NAN => NAN, 10.0 => 1024.0, -1.0 => 0.5, -126.0 => 2f64.powi(-126)];
        exp2: [1023.0 => 2f64.powi(1023), 1024.0 => INF, -1022.0 => f64::MIN_POSITIVE, -1074.0 => LEAST, -1076.0 => 0.0];
        log2: [0.0 => -INF, -0.0 => -INF, INF => INF, -INF => NAN, -1.0 => NAN, NAN => NAN, 1.0 => 0.0, 8.0 => 3.0, 0.25 => -2.0];
        log2: [LEAST => -1074.0, f64::MIN_POSITIVE => -1022.0, 2f64.powi(1023) => 1023.0];
        log10: [0.0 => -INF, -0.0 => -INF, INF => INF, -INF => NAN, -1.0 => NAN, NAN => NAN, 1.0 => 0.0, 1000.0 => 3.0];
        log10: [1e22 => 22.0, 1e15 => 15.0, 1e-300 => -300.0, 1e300 => 300.0];
        cbrt: [0.0 => 0.0, -0.0 => -0.0, INF => INF, -INF => -INF, NAN => NAN, 27.0 => 3.0, -8.0 => -2.0, 1e-300 => 1e-100];
        sinh: [0.0 => 0.0, -0.0 => -0.0, INF => INF, -INF => -INF, NAN => NAN, LEAST => LEAST, -1e-300 => -1e-300, 711.0 => INF];
        cosh: [0.0 => 1.0, -0.0 => 1.0, INF => INF, -INF => INF, NAN => NAN, LEAST => 1.0, -711.0 => INF];
        asinh: [0.0 => 0.0, -0.0 => -0.0, INF => INF, -INF => -INF, NAN => NAN, LEAST => LEAST, -1e-300 => -1e-300];
        acosh: [1.0 => 0.0, INF => INF, 0.5 => NAN, -1.0 => NAN, -INF => NAN, NAN => NAN];
        atanh: [0.0 => 0.0, -0.0 => -0.0, 1.0 => INF, -1.0 => -INF, 1.5 => NAN, -INF => NAN, INF => NAN, NAN => NAN, LEAST => LEAST];
        asin: [0.0 => 0.0, -0.0 => -0.0, 1.0 => FRAC_PI_2, -1.0 => -FRAC_PI_2, 1.5 => NAN, -INF => NAN, NAN => NAN, LEAST => LEAST];
        acos: [0.0 => FRAC_PI_2, 1.0 => 0.0, -1.0 => PI, 1.5 => NAN, -1.5 => NAN, INF => NAN, -INF => NAN, NAN => NAN];
        atan: [0.0 => 0.0, -0.0 => -0.0, 1.0 => FRAC_PI_4, INF => FRAC_PI_2, -INF => -FRAC_PI_2, NAN => NAN, LEAST => LEAST];
        atan: [MOST => FRAC_PI_2];
        ln_gamma: [0.0 => INF, -0.0 => INF, -1.0 => INF, -7.0 => INF, 1.0 => 0.0, 2.0 => 0.0, 3.0 => LN_2, INF => INF, -INF => INF];
        ln_gamma: [NAN => NAN, MOST => INF];
        digamma: [0.0 => -INF, -0.0 => INF, -1.0 => NAN, -7.0 => NAN, INF => INF, -INF => NAN, NAN => NAN];
        round: [0.5 => 0.0, -0.5 => -0.0, 1.5 => 2.0, 2.5 => 2.0, -0.2 => -0.0, 1e300 => 1e300, INF => INF, -INF => -INF, NAN => NAN];
        round: [4503599627370495.5 => 4503599627370496.0, 0.49999999999999994 => 0.0, -3.7 => -4.0, 0.0 => 0.0, -0.0 => -0.0];
        floor: [0.5 => 0.0, -0.5 => -1.0, -0.0 => -0.0, 2.0 => 2.0, -1e-300 => -1.0, -INF => -INF, INF => INF, NAN => NAN, 3.99 => 3.0];
        ceil: [0.5 => 1.0, -0.5 => -0.0, -0.0 => -0.0, 2.0 => 2.0, 1e-300 => 1.0, -INF => -INF, INF => INF, NAN => NAN, -3.99 => -3.0];
        trunc: [0.5 => 0.0, -0.5 => -0.0, -3.7 => -3.0, 3.7 => 3.0, -0.0 => -0.0, 1e300 => 1e300, -INF => -INF, INF => INF, NAN => NAN];
    }
}

#[test]
fn edges_of_two_arguments() {
    use std::f64::consts::{FRAC_PI_2, FRAC_PI_4, LN_2, PI};
    let numbers = [0.0, 0.5, 1.0, 2.0, 3.0, 2.5, 1e-310, 1e16, 9007199254740993.0, MOST, INF, NAN];
    for x in numbers.into_iter().flat_map(|x| [x, -x]) {
        for y in numbers.into_iter().flat_map(|y| [y, -y]) {
            let close = |got: f64, want: f64| same(got, want) || ((got - want) / want).abs() < 3e-16;
            // libm's subnormal powers are not right to the last digit, either.
            let (got, want) = (super::pow(x, y), libm::pow(x, y));
            assert!(close(got, want) || (got - want).abs() <= 2.0 * LEAST, "pow({x}, {y}) = {got}, not {want}");
            let (got, want) = (super::atan2(x, y), libm::atan2(x, y));
            assert!(close(got, want), "atan2({x}, {y}) = {got}, not {want}");
            let (got, want) = (super::hypot(x, y), libm::hypot(x, y));
            assert!(close(got, want), "hypot({x}, {y}) = {got}, not {want}");
        }
    }
    let cases: &[(fn(f64, f64) -> f64, f64, f64, f64)] = &[
        (super::pow, NAN, 0.0, 1.0),
        (super::pow, 1.0, NAN, 1.0),
        (super::pow, -1.0, INF, 1.0),
        (super::pow, -0.0, -3.0, -INF),
        (super::pow, -0.0, -2.0, INF),
        (super::pow, -8.0, 1.0 / 3.0, NAN),
        (super::pow, -INF, 3.0, -INF),
        (super::pow, 0.0, LEAST, 0.0),
        (super::pow, 1.0000000000000002, INF, INF),
        (super::atan2, 0.0, -0.0, PI),
        (super::atan2, -0.0, 0.0, -0.0),
        (super::atan2, -INF, -INF, -3.0 * FRAC_PI_4),
        (super::atan2, 1.0, -0.0, FRAC_PI_2),
        (super::hypot, NAN, -INF, INF),
        (super::unit, 0.0, 0.0, 0.0),
        (super::unit, -0.0, 0.0, -0.0),
        (super::unit, -3.0, 0.0, -1.0),
        (super::unit, 0.0, -3.0, 0.0),
        (super::unit, -INF, 1e300, -1.0),
        (super::unit, -1e300, INF, -0.0),
        (super::unit, INF, -INF, 1.0 / std::f64::consts::SQRT_2),
        (super::unit, NAN, 1.0, NAN),
        (super::unit, 1.0, NAN, NAN),
        (super::logaddexp, INF, INF, INF),
        (super::logaddexp, -INF, -INF, -INF),
        (super::logaddexp, -INF, INF, INF),
        (super::logaddexp, 3.0, -INF, 3.0),
        (super::logaddexp, 0.0, 0.0, LN_2),
        (super::logaddexp, NAN, INF, NAN),
        (super::logaddexp, -INF, NAN, NAN),
        (super::polygamma, 1.0, -2.0, INF),
        (super::polygamma, 1.0, 0.0, INF),
        (super::polygamma, 2.0, -2.0, NAN),
        (super::polygamma, 1.0, INF, 0.0),
        (super::polygamma, 2.0, INF, -0.0),
        (super::polygamma, 1.0, 1e300, 1e-300),
        (super::polygamma, 1.2, 1.0, 1.6449340668482264),
        (super::polygamma, -1.0, 1.0, NAN),
        (super::polygamma, NAN, 1.0, NAN),
        (super::polygamma, 1.0, NAN, NAN),
        (super::polygamma, 1e300, 2.0, -INF),
    ];
    for &(f, x, y, want) in cases {
        let got = f(x, y);
        assert!(same(got, want), "of {x} and {y} it is {got}, not {want}");
    }
}

/// Those that go through f64, of random arguments: one result with every instruction set, and f32's is f64's, rounded.
#[test]
fn bits_are_alike() {
    macro_rules! alike {
        ($($name:ident)*) => {$(
            let (arguments, values) = bits::<f32>(super::$name, &[1.0]);
            for (x, y) in arguments.into_iter().zip(values) {
                let want = super::$name(f64::from(x)) as f32;
                assert!(same(f64::from(y), f64::from(want)), "{}({x}) is {y}, not {want}", stringify!($name));
            }
            bits::<f64>(super::$name, &[1.0]);
        )*};
    }
    alike!(exp2 log2 log10 cbrt sinh cosh asinh acosh atanh asin acos atan ln_gamma digamma round floor ceil trunc);
}
