//! Elementwise functions as users call them: the values of their names, and derivatives where formulas of the textbook fail.

mod support;

use osculate::{Array, Device, Expr, Func, Rng, Spec, elementwise2, spec};
use support::{Arrays, adjoint, array, arrays, close as near, grad_word, jvp_is_a_difference, jvp_word, run, trace};

type One = for<'t> fn(Expr<'t>) -> Expr<'t>;
type Two = for<'t> fn(Expr<'t>, Expr<'t>) -> Expr<'t>;

/// Value and derivative at a point.
fn one(f: One, x: f64) -> [f64; 2] {
    let f = Func::trace(spec([]), spec([]), |_, x, _| f(x)).unwrap();
    let mut both = f.value_and_grad().unwrap().compile::<f64>(&Device::cpu()).unwrap();
    let (value, slope) = both.run(&Array::scalar(x), &Array::scalar(0.0)).unwrap();
    [value.item().unwrap(), slope.item().unwrap()]
}

/// Value and both derivatives at a point.
fn two(f: Two, x: f64, z: f64) -> [f64; 3] {
    let f = Func::trace((spec([]), spec([])), spec([]), |_, (x, z), _| f(x, z)).unwrap();
    let mut both = f.value_and_grad().unwrap().compile::<f64>(&Device::cpu()).unwrap();
    let (value, slopes) = both.run(&(Array::scalar(x), Array::scalar(z)), &Array::scalar(0.0)).unwrap();
    [value.item().unwrap(), slopes.0.item().unwrap(), slopes.1.item().unwrap()]
}

fn close(what: &str, got: &[f64], want: &[f64]) {
    for (&got, &want) in got.iter().zip(want) {
        let right = got == want || got.is_nan() && want.is_nan() || ((got - want) / want).abs() < 1e-15;
        assert!(right, "{what}: {got:e}, not {want:e}");
    }
}

#[test]
fn names_mean_what_they_do_elsewhere() {
    let cases: &[(&str, One, f64, f64)] = &[
        ("exp2", |x| x.exp2(), 0.5, std::f64::consts::SQRT_2),
        ("log2", |x| x.log2(), 10.0, std::f64::consts::LOG2_10),
        ("log10", |x| x.log10(), 2.0, std::f64::consts::LOG10_2),
        ("cbrt", |x| x.cbrt(), -27.0, -3.0),
        ("tan", |x| x.tan(), 1.0, 1.5574077246549023),
        ("asin", |x| x.asin(), 0.5, std::f64::consts::FRAC_PI_6),
        ("acos", |x| x.acos(), 0.5, std::f64::consts::FRAC_PI_3),
        ("atan", |x| x.atan(), 1.0, std::f64::consts::FRAC_PI_4),
        ("sinh", |x| x.sinh(), 1.0, 1.1752011936438014),
        ("cosh", |x| x.cosh(), 1.0, 1.5430806348152437),
        ("asinh", |x| x.asinh(), 1.0, 0.881373587019543),
        ("acosh", |x| x.acosh(), 2.0, 1.3169578969248166),
        ("atanh", |x| x.atanh(), 0.5, 0.5493061443340549),
        ("erfc", |x| x.erfc(), 10.0, 2.088487583762545e-45),
        ("gaussian", |x| x.gaussian(), 2.0, 0.01831563888873418),
        ("ln_gamma", |x| x.ln_gamma(), 10.0, 12.801827480081469),
        ("digamma", |x| x.digamma(), 1.0, -0.5772156649015329),
        ("round", |x| x.round(), 2.5, 2.0),
        ("floor", |x| x.floor(), -2.5, -3.0),
        ("ceil", |x| x.ceil(), -2.5, -2.0),
        ("trunc", |x| x.trunc(), -2.5, -2.0),
    ];
    for &(name, f, x, want) in cases {
        close(name, &one(f, x)[..1], &[want]);
    }
    let cases: &[(&str, Two, [f64; 2], f64)] = &[
        ("pow", |x, z| x.pow(z), [2.0, 0.5], std::f64::consts::SQRT_2),
        ("atan2", |x, z| x.atan2(z), [-1.0, -1.0], -3.0 * std::f64::consts::FRAC_PI_4),
        ("hypot", |x, z| x.hypot(z), [3.0, -4.0], 5.0),
        ("unit", |x, z| x.unit(z), [3.0, -4.0], 0.6),
        ("logaddexp", |x, z| x.logaddexp(z), [1000.0, 1000.0], 1000.0 + std::f64::consts::LN_2),
        ("maximum", |x, z| x.maximum(z), [3.0, -4.0], 3.0),
        ("minimum", |x, z| x.minimum(z), [3.0, -4.0], -4.0),
        ("polygamma", |x, n| x.polygamma(n), [1.0, 1.0], 1.6449340668482264),
    ];
    for &(name, f, [x, z], want) in cases {
        close(name, &two(f, x, z)[..1], &[want]);
    }
}

#[test]
fn powers_at_zero() {
    let pow: Two = |x, z| x.pow(z);
    close("0²", &two(pow, 0.0, 2.0), &[0.0, 0.0, 0.0]);
    close("0¹", &two(pow, 0.0, 1.0), &[0.0, 1.0, 0.0]);
    close("0⁰", &two(pow, 0.0, 0.0), &[1.0, 0.0, 0.0]);
    close("0^½", &two(pow, 0.0, 0.5), &[0.0, f64::INFINITY, 0.0]);
    close("(−2)³", &two(pow, -2.0, 3.0), &[-8.0, 12.0, f64::NAN]);
    close("∞^−2", &two(pow, f64::INFINITY, -2.0), &[0.0, 0.0, 0.0]);
    close("3⁰", &two(pow, 3.0, 0.0), &[1.0, 0.0, 3f64.ln()]);
    // Of exponents that are known: no logarithm of a negative number.
    close("x¹", &one(|x| x.pow(1.0), 0.0), &[0.0, 1.0]);
    close("x²", &one(|x| x.pow(2.0), -3.0), &[9.0, -6.0]);
    close("x⁰", &one(|x| x.pow(0.0), 0.0), &[1.0, 0.0]);
    close("x³", &one(|x| x.pow(3.0), -3.0), &[-27.0, 27.0]);
}

#[test]
fn derivatives_do_not_overflow_early() {
    let r = std::f64::consts::FRAC_1_SQRT_2;
    close("asinh", &one(|x| x.asinh(), 1e200)[1..], &[1e-200]);
    close("acosh", &one(|x| x.acosh(), 1e200)[1..], &[1e-200]);
    close("acosh near 1", &one(|x| x.acosh(), 1.0 + f64::EPSILON)[1..], &[47453132.81212578]);
    close("atanh near 1", &one(|x| x.atanh(), 1.0 - f64::EPSILON)[1..], &[2251799813685248.2]);
    close("sinh", &one(|x| x.sinh(), 710.0), &[1.1169973830808555e308, 1.1169973830808555e308]);
    close("atan2, large", &two(|x, z| x.atan2(z), 3e200, 4e200)[1..], &[1.6e-201, -1.2e-201]);
    close("atan2, small", &two(|x, z| x.atan2(z), 3e-200, 4e-200)[1..], &[1.6e199, -1.2e199]);
    close("atan2 of the origin", &two(|x, z| x.atan2(z), 0.0, 0.0), &[0.0, 0.0, 0.0]);
    close("hypot", &two(|x, z| x.hypot(z), 1e300, 1e300), &[1e300 / r, r, r]);
    close("hypot of the origin", &two(|x, z| x.hypot(z), 0.0, 0.0), &[0.0, 0.0, 0.0]);
    let inf = f64::INFINITY;
    close("logaddexp of infinities", &two(|x, z| x.logaddexp(z), inf, inf), &[inf, 0.5, 0.5]);
    close("logaddexp of −∞", &two(|x, z| x.logaddexp(z), -inf, 3.0), &[3.0, 0.0, 1.0]);
    close("erfc in its tail", &one(|x| x.erfc(), 26.0), &[5.663192408856143e-296, -2.9470349932662695e-294]);
}

#[test]
fn clip_passes_what_is_between() {
    let clip: One = |x| x.clip(-1.0, 2.0);
    for (x, want) in [(0.5, [0.5, 1.0]), (3.0, [2.0, 0.0]), (-3.0, [-1.0, 0.0]), (2.0, [2.0, 0.5]), (-1.0, [-1.0, 0.5])]
    {
        close("clip", &one(clip, x), &want);
    }
    close("clip", &one(clip, f64::INFINITY), &[2.0, 0.0]);
    close("clip", &one(clip, f64::NAN), &[f64::NAN; 2]);
    // Numpy's: a NaN on either side.
    for (x, z) in [(f64::NAN, 1.0), (1.0, f64::NAN)] {
        close("maximum", &two(|x, z| x.maximum(z), x, z), &[f64::NAN; 3]);
        close("minimum", &two(|x, z| x.minimum(z), x, z), &[f64::NAN; 3]);
    }
    close("a tie", &two(|x, z| x.minimum(z), 1.0, 1.0), &[1.0, 0.5, 0.5]);
}

/// As for functions of one argument: derivatives to the third order, and batching of either argument or both.
#[test]
fn every_row_of_two_arguments() {
    for row in elementwise2() {
        for seed in 0..8 {
            let rng = &mut Rng::new(seed);
            let what = |e| format!("{}: {e}", row.name);
            let both = vec![spec([2, 3]), spec([2, 3])];
            let f = trace(both.clone(), vec![spec([2, 1])], |_, p, d| vec![(row.apply)(p[0], p[1]) * d[0]]);
            let p: Arrays = both.iter().zip(row.domains).map(|(s, domain)| array(s, rng, domain)).collect();
            let d = arrays(f.data(), rng);
            jvp_is_a_difference(&f, &p, &d, rng).map_err(what).unwrap();
            adjoint(&f, &p, &d, rng).map_err(what).unwrap();
            let second = grad_word(&jvp_word(&f));
            let extra = arrays(&second.data()[1..], rng);
            let data = [d, extra].concat();
            jvp_is_a_difference(&second, &p, &data, rng).map_err(what).unwrap();
            for batch in [[true, true], [true, false], [false, true]] {
                let (data, held): (Vec<_>, Vec<_>) = (0..2).partition(|&i| batch[i]);
                let specs = |which: &[usize]| which.iter().map(|_| spec([3])).collect::<Vec<_>>();
                let g = trace(specs(&held), specs(&data), |_, p, d| {
                    let [x, z] =
                        [0, 1].map(|i| if batch[i] { d[data.iter().position(|&j| j == i).unwrap()] } else { p[0] });
                    vec![(row.apply)(x, z)]
                });
                let mut some = |which: &[usize], s: &Spec| -> Arrays {
                    which.iter().map(|&i| array(s, rng, row.domains[i])).collect()
                };
                let (p, d) = (some(&held, &spec([3])), some(&data, &spec([4, 3])));
                let all = run(&g.vmap(4).unwrap(), &p, &d);
                for i in 0..4 {
                    let one = run(&g, &p, &support::row(&d, g.data(), i));
                    near(&support::row(&all, g.outputs(), i), &one, 1e-12, 1e-6).map_err(what).unwrap();
                }
            }
        }
    }
}
