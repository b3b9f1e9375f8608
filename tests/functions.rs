//! Functions of expressions: values as numpy's, derivatives to the second order, batching, and the edges.

mod support;

use osculate::{Array, Device, Expr, Real, Rng, Spec, Tape, label, spec};
use support::*;

type Build = for<'t> fn(&'t Tape, Expr<'t>) -> Expr<'t>;

/// Functions of an array `[2, 5]`, smooth where they are tried.
const SMOOTH: &[(&str, Build)] = &[
    ("norm", |_, x| x.norm()),
    ("norm of rows", |_, x| x.norm_axes(&[1])),
    ("smooth norm", |_, x| x.smooth_norm(0.3)),
    ("var", |_, x| x.var_axes(&[1])),
    ("std", |_, x| x.std_axes(&[0])),
    ("std of all", |_, x| x.std()),
    ("prod", |_, x| x.prod()),
    ("prod of rows", |_, x| x.prod_axes(&[1])),
    ("prod of columns and rows", |_, x| x.reshape([5, 2, 1]).prod_axes(&[0, 2])),
    ("cumsum 0", |_, x| x.cumsum(0)),
    ("cumsum 1", |_, x| x.cumsum(1)),
    ("cumprod", |_, x| x.cumprod(1)),
    ("min", |_, x| x.min_axes(&[1])),
    ("sort", |_, x| x.sort(1)),
    ("sort of columns", |_, x| x.reshape([1, 5, 2]).sort(1)),
    ("flip", |_, x| x.flip(1)),
    ("flip of many", |t, x| t.concat(&[x; 8], 1).flip(1).slice(1, 3..11)),
    ("roll", |_, x| x.roll(1, 2)),
    ("roll back", |_, x| x.roll(0, -1)),
    ("slice_step", |_, x| x.slice_step(1, 1..5, 2)),
    ("swapaxes", |_, x| x.reshape([1, 2, 5]).swapaxes(0, 2)),
    ("moveaxis", |_, x| x.reshape([1, 2, 5]).moveaxis(0, 2)),
    ("expand and squeeze", |_, x| x.expand_dims(1).squeeze(1).expand_dims(2)),
    ("tril", |_, x| x.tril(1)),
    ("triu", |_, x| x.triu(-1)),
    ("diag", |_, x| x.diag()),
    ("diagonal", |_, x| x.diagonal()),
    ("trace", |_, x| x.trace()),
    ("outer", |_, x| x.at(0, 0).outer(x.at(0, 1))),
    ("constant", |t, x| x * t.constant([5], &[1.0, -2.0, 0.0, 3.0, 0.5])),
    ("linspace", |t, x| (x + t.linspace(0.0, 1.0, 5)).square()),
    ("diagonal by letters", |t, x| t.einsum("iji -> ji", &[x.reshape([10, 1, 1]) * x.flatten()])),
    ("ellipsis", |t, x| t.einsum("...i, i... -> ...i", &[x, x.t()])),
    ("whole numbers", |_, x| 2 * x - x / 3 + 1),
    ("masks", |_, x| x.greater(0.0).logical_and(x.less(0.5)).logical_or(x.less(-0.5)).select(x.square(), -x)),
    ("custom", |t, x| t.custom(&[x], |a| a[0].exp().ln_1p(), |a, v| v[0] * a[0].sigmoid())),
    ("custom of two", |t, x| {
        let (a, b) = (x.at(0, 0), x.at(0, 1));
        t.custom(&[a, b], |a| (a[0] * a[1]).sum(), |a, v| v[0].dot(a[1]) + a[0].dot(v[1])) * a
    }),
];

#[test]
fn derivatives_and_batches() {
    for &(name, build) in SMOOTH {
        let rng = &mut Rng::new(7);
        let f = trace(vec![spec([2, 5])], vec![], |t, p, _| vec![build(t, p[0])]);
        let p = arrays(f.params(), rng);
        let what = |e| format!("{name}: {e}");
        jvp_is_a_difference(&f, &p, &vec![], rng).map_err(what).unwrap();
        adjoint(&f, &p, &vec![], rng).map_err(what).unwrap();
        let second = grad_word(&jvp_word(&f));
        let data = arrays(second.data(), rng);
        jvp_is_a_difference(&second, &p, &data, rng).map_err(what).unwrap();
        let each = trace(vec![], vec![spec([2, 5])], |t, _, d| vec![build(t, d[0])]);
        vmap_is_a_loop(&each, &vec![], rng, 3).map_err(what).unwrap();
        // The gradient of examples, and its derivative: words of all transforms.
        let loss = trace(vec![spec([2, 5])], vec![spec([2, 5])], |t, p, d| vec![build(t, p[0] + d[0])]);
        vmap_is_a_loop(&grad_word(&jvp_word(&loss)), &p, rng, 3).map_err(what).unwrap();
    }
}

/// The value of a function of an array, in a type.
fn value<T: Real>(shape: &[usize], x: &[f64], build: Build) -> Vec<f64> {
    let f = trace(vec![spec(shape)], vec![], |t, p, _| vec![build(t, p[0])]);
    let x = Array::new(shape, x.iter().map(|&v| T::from_f64(v)).collect()).unwrap();
    let out = f.compile::<T>(&Device::cpu()).unwrap().run(&vec![x], &vec![]).unwrap();
    out[0].values().iter().map(|&v| v.to_f64()).collect()
}

/// The gradient of the sum of a function's results, in a type.
fn slope<T: Real>(shape: &[usize], x: &[f64], build: Build) -> Vec<f64> {
    let f = osculate::Func::trace(spec(shape), Vec::<Spec>::new(), |t, p, _| build(t, p).sum()).unwrap();
    let x = Array::new(shape, x.iter().map(|&v| T::from_f64(v)).collect()).unwrap();
    let out = f.grad().unwrap().compile::<T>(&Device::cpu()).unwrap().run(&x, &vec![]).unwrap();
    out.values().iter().map(|&v| v.to_f64() + 0.0).collect() // no sign of zero
}

/// Hv of the sum of a function's results.
fn curve(x: &[f64], v: &[f64], build: Build) -> Vec<f64> {
    let f = osculate::Func::trace(spec([x.len()]), Vec::<Spec>::new(), |t, p, _| build(t, p).sum()).unwrap();
    let [x, v] = [x, v].map(|x| Array::new([x.len()], x.to_vec()).unwrap());
    f.hvp()
        .unwrap()
        .compile::<f64>(&Device::cpu())
        .unwrap()
        .run(&(x, v), &vec![])
        .unwrap()
        .1
        .values()
        .iter()
        .map(|h| h + 0.0)
        .collect()
}

/// Equal bit by bit, NaN being NaN.
#[track_caller]
fn equal(got: &[f64], want: &[f64]) {
    let same = |(a, b): (&f64, &f64)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
    assert!(got.len() == want.len() && got.iter().zip(want).all(same), "{got:?} is not {want:?}");
}

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

#[test]
fn norms_at_the_edges() {
    let norm: Build = |_, x| x.norm();
    for [small, large] in [[1e-300, 1e300], [5e-324 * 1024.0, 1e307], [1e-170, 1e170], [1.0, 1.0]] {
        for scale in [small, large] {
            let got = value::<f64>(&[2], &[3.0 * scale, 4.0 * scale], norm)[0];
            assert!((got / (5.0 * scale) - 1.0).abs() < 4e-16, "{got:e} at {scale:e}");
            let got = slope::<f64>(&[2], &[3.0 * scale, -4.0 * scale], norm);
            assert!((got[0] - 0.6).abs() < 2e-15 && (got[1] + 0.8).abs() < 2e-15, "{got:?} at {scale:e}");
        }
    }
    for scale in [2f64.powi(-147), 1e-38, 1e-30, 1e-15, 1.0, 1e15, 1e30, 6e37] {
        let got = value::<f32>(&[2], &[3.0 * scale, 4.0 * scale], norm)[0];
        let wanted = 5.0 * scale;
        assert!((got - wanted).abs() <= 1e-6 * wanted + 2f64.powi(-149), "{got:e} at {scale:e}");
        let got = slope::<f32>(&[2], &[3.0 * scale, -4.0 * scale], norm);
        // In numbers so small, 3 and 4 are themselves rounded.
        let rough = 1e-6 + 2f64.powi(-148) / scale;
        assert!((got[0] - 0.6).abs() < rough && (got[1] + 0.8).abs() < rough, "{got:?} at {scale:e}");
    }
    equal(&value::<f64>(&[2], &[0.0, -0.0], norm), &[0.0]);
    equal(&slope::<f64>(&[2], &[0.0, -0.0], norm), &[0.0, 0.0]);
    equal(&slope::<f32>(&[1], &[0.0], norm), &[0.0]);
    equal(&curve(&[0.0, 0.0], &[1.0, 2.0], norm), &[0.0, 0.0]);
    equal(&value::<f32>(&[3], &[1.0, -INF, 2.0], norm), &[INF]);
    equal(&value::<f64>(&[3], &[1.0, NAN, 2.0], norm), &[NAN]);
    assert!(slope::<f64>(&[2], &[1.0, NAN], norm).iter().all(|g| g.is_nan()));
    equal(&value::<f64>(&[2, 2], &[3.0, 4.0, 0.0, 0.0], |_, x| x.norm_axes(&[1])), &[5.0, 0.0]);
    // Smooth: ε at 0 with the curvature 1/ε, whatever its size; nothing of ε where x is far larger.
    for epsilon in [1e-200, 0.25, 1e200] {
        let f = trace(vec![spec([2])], vec![], move |_, p, _| vec![p[0].smooth_norm(epsilon)]);
        equal(run(&f, &vec![Array::full([2], 0.0)], &vec![])[0].values(), &[epsilon]);
    }
    equal(&curve(&[0.0, 0.0], &[1.0, 2.0], |_, x| x.smooth_norm(0.25)), &[4.0, 8.0]);
    let got = value::<f32>(&[2], &[3e30, 4e30], |_, x| x.smooth_norm(1e-30))[0];
    assert!((got / 5e30 - 1.0).abs() < 1e-6);
    let got = value::<f32>(&[2], &[3e-30, 0.0], |_, x| x.smooth_norm(4e-30))[0];
    assert!((got / 5e-30 - 1.0).abs() < 1e-6);
}

#[test]
fn spreads_at_the_edges() {
    let x = [1e8 + 1.0, 1e8 + 2.0, 1e8 + 3.0, 1e8 + 6.0];
    equal(&value::<f64>(&[4], &x, |_, x| x.var()), &[3.5]);
    equal(&value::<f64>(&[1], &[7.0], |_, x| x.var()), &[0.0]);
    equal(&slope::<f64>(&[3], &[2.0, 2.0, 2.0], |_, x| x.std()), &[0.0, 0.0, 0.0]);
    let got = value::<f32>(&[2], &[-1e30, 1e30], |_, x| x.std())[0];
    assert!((got / 1e30 - 1.0).abs() < 1e-6);
    equal(&value::<f64>(&[2, 2], &[1.0, 3.0, 5.0, 5.0], |_, x| x.var_axes(&[1])), &[1.0, 0.0]);
}

#[test]
fn products_with_zeros() {
    let prod: Build = |_, x| x.prod();
    equal(&slope::<f64>(&[4], &[2.0, 0.0, 3.0, 5.0], prod), &[0.0, 30.0, 0.0, 0.0]);
    equal(&slope::<f64>(&[4], &[2.0, 0.0, 3.0, 0.0], prod), &[0.0; 4]);
    // Two zeros: only the second derivative in both of them is left.
    equal(&curve(&[2.0, 0.0, 3.0, 0.0], &[0.0, 1.0, 0.0, 0.0], prod), &[0.0, 0.0, 0.0, 6.0]);
    equal(&curve(&[2.0, 0.0, 3.0], &[1.0, 0.0, 0.0], prod), &[0.0, 3.0, 0.0]);
    equal(&value::<f64>(&[4], &[1e200, 1e200, 1e-200, 1e-200], prod), &[1e200 * 1e-200 * (1e200 * 1e-200)]);
    equal(&value::<f64>(&[1], &[-3.0], prod), &[-3.0]);
    equal(&value::<f64>(&[3, 1], &[-3.0, 2.0, NAN], |_, x| x.prod_axes(&[1])), &[-3.0, 2.0, NAN]);
    equal(&slope::<f64>(&[3], &[2.0, 0.0, 3.0], |_, x| x.cumprod(0)), &[1.0, 8.0, 0.0]);
}

#[test]
fn running_sums() {
    for n in 1..40 {
        let x: Vec<f64> = (0..n).map(|i| ((i * 7 + 3) % 11) as f64 - 5.0).collect();
        let sums: Vec<f64> = (0..n).map(|i| x[..=i].iter().sum()).collect();
        equal(&value::<f64>(&[n], &x, |_, x| x.cumsum(0)), &sums);
        let left: Vec<f64> = (0..n).map(|i| (n - i) as f64).collect();
        equal(&slope::<f32>(&[n], &x, |_, x| x.cumsum(0)), &left);
        let turned: Vec<f64> = x.iter().rev().copied().collect();
        equal(&value::<f64>(&[n], &x, |_, x| x.flip(0)), &turned);
    }
    equal(&value::<f64>(&[4], &[-0.0, INF, 1.0, -INF], |_, x| x.cumsum(0)), &[-0.0, INF, INF, NAN]);
    equal(&value::<f32>(&[3], &[1.0, NAN, 1.0], |_, x| x.cumsum(0)), &[1.0, NAN, NAN]);
    equal(&value::<f64>(&[4], &[INF, 0.0, 1.0, 2.0], |_, x| x.cumprod(0)), &[INF, NAN, NAN, NAN]);
    // Linear cost: 16 times as many elements are at most 17 times as many operations.
    let flop = |n: usize| {
        let f = trace(vec![spec([n])], vec![], |_, p, _| vec![p[0].cumsum(0)]);
        grad_word(&f).compile::<f64>(&Device::cpu()).unwrap().flop() + f.compile::<f64>(&Device::cpu()).unwrap().flop()
    };
    assert!(flop(4096) > 0 && flop(4096) <= 17 * flop(256), "{} and {}", flop(4096), flop(256));
}

#[test]
fn extremes_and_their_places() {
    let argmax: Build = |_, x| x.argmax(x.shape().rank() - 1).to_real();
    let argmin: Build = |_, x| x.argmin(0).to_real();
    equal(&value::<f64>(&[4], &[1.0, 5.0, 5.0, 2.0], argmax), &[1.0]);
    equal(&value::<f64>(&[4], &[1.0, NAN, 5.0, NAN], argmax), &[1.0]);
    equal(&value::<f64>(&[3], &[-INF, -INF, -INF], argmax), &[0.0]);
    equal(&value::<f32>(&[3], &[0.0, INF, INF], argmax), &[1.0]);
    equal(&value::<f32>(&[3], &[-0.0, 0.0, -1.0], argmax), &[0.0]);
    equal(&value::<f64>(&[1], &[NAN], argmax), &[0.0]);
    equal(&value::<f64>(&[2, 3], &[1.0, 2.0, 3.0, 9.0, 8.0, 7.0], argmax), &[2.0, 0.0]);
    equal(&value::<f64>(&[2, 3], &[1.0, 9.0, 3.0, 2.0, 8.0, 3.0], argmin), &[0.0, 1.0, 0.0]);
    equal(&value::<f64>(&[3], &[1.0, NAN, -INF], argmin), &[1.0]);
    equal(&slope::<f64>(&[3], &[1.0, 5.0, 2.0], argmax), &[0.0; 3]);
    equal(&value::<f64>(&[3], &[1.0, NAN, -INF], |_, x| x.min()), &[NAN]);
    equal(&slope::<f64>(&[3], &[1.0, 1.0, 2.0], |_, x| x.min()), &[0.5, 0.5, 0.0]);
    // Places are indices: they pick rows.
    let picked: Build = |_, x| x.take(x.at(1, 0).argmin(0), 0);
    equal(&value::<f64>(&[3, 2], &[4.0, 1.0, 2.0, 7.0, 3.0, 9.0], picked), &[2.0, 7.0]);
}

#[test]
fn orders() {
    let sort: Build = |_, x| x.sort(x.shape().rank() - 1);
    let order: Build = |_, x| x.argsort(0).to_real();
    equal(&value::<f64>(&[6], &[3.0, NAN, -INF, INF, 3.0, -1.0], sort), &[-INF, -1.0, 3.0, 3.0, INF, NAN]);
    equal(&value::<f64>(&[6], &[3.0, NAN, -INF, NAN, 3.0, -1.0], order), &[2.0, 5.0, 0.0, 4.0, 1.0, 3.0]);
    equal(&value::<f32>(&[1], &[5.0], sort), &[5.0]);
    equal(&value::<f32>(&[2, 2], &[2.0, 1.0, 3.0, 4.0], sort), &[1.0, 2.0, 3.0, 4.0]);
    equal(&value::<f64>(&[2, 2], &[2.0, 1.0, 0.0, 4.0], order), &[1.0, 0.0, 0.0, 1.0]);
    equal(&slope::<f64>(&[3], &[2.0, 2.0, INF], |t, x| x.sort(0).slice(0, 0..2) * t.arange(2)), &[0.0, 1.0, 0.0]);
    let mut rng = Rng::new(5);
    for n in [2usize, 7, 40] {
        let x: Vec<f64> = (0..n).map(|_| rng.uniform(-3.0, 3.0).round()).collect();
        let mut want = x.clone();
        want.sort_by(f64::total_cmp);
        let want: Vec<f64> = want.iter().map(|v| v + 0.0).collect();
        equal(&value::<f64>(&[n], &x, sort), &want);
    }
}

#[test]
fn masks() {
    let x = [1.0, -1.0, 0.0, -0.0, INF, -INF, NAN, 5e-324];
    let cases: &[(Build, [f64; 8])] = &[
        (|_, x| x.greater(0.0), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0]),
        (|_, x| x.greater_equal(0), [1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0]),
        (|_, x| x.not_equal(0.0), [1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]),
        (|_, x| x.equal(0.0), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]),
        (|_, x| x.is_nan(), [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
        (|_, x| x.is_finite(), [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0]),
        (|_, x| x.logical_not(), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]),
        (|_, x| x.logical_and(1.0), [1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]),
        (|_, x| x.logical_or(x.equal(0.0)), [1.0; 8]),
    ];
    for (build, want) in cases {
        equal(&value::<f64>(&[8], &x, *build), want);
        equal(&slope::<f64>(&[8], &x, *build), &[0.0; 8]);
    }
    equal(&value::<f32>(&[7], &x[..7], |_, x| x.is_finite()), &[1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
}

#[test]
fn labels_are_compared_and_counted() {
    let labels = vec![Spec::index([4], 1 << 20), label(1 << 20)];
    let f = trace(vec![], labels, |_, _, d| {
        let (many, one) = (d[0], d[1]);
        vec![many.equal(one), many.less(5.0), many.greater_equal(one), many.to_real() / 2.0, one.not_equal(255.0)]
    });
    let most = (1 << 20) - 1;
    let d = vec![Array::index([4], vec![0, 5, most, most - 1]).unwrap(), Array::index([], vec![most]).unwrap()];
    let out = run(&f, &vec![], &d);
    equal(out[0].values(), &[0.0, 0.0, 1.0, 0.0]);
    equal(out[1].values(), &[1.0, 0.0, 0.0, 0.0]);
    equal(out[2].values(), &[0.0, 0.0, 1.0, 0.0]);
    equal(out[3].values(), &[0.0, 2.5, f64::from(most) / 2.0, f64::from(most - 1) / 2.0]);
    equal(out[4].values(), &[1.0]);
    vmap_is_a_loop(&f, &vec![], &mut Rng::new(3), 3).unwrap();
    // A class to be left out of the loss: no value and no gradient of its examples.
    let loss = trace(vec![spec([3])], vec![Spec::index([2], 3)], |_, p, d| {
        let each = p[0].take(d[0], 0).square();
        vec![d[0].equal(2.0).select(0.0, each).sum()]
    });
    let (p, d) = (vec![Array::new([3], vec![1.0, 2.0, 3.0]).unwrap()], Array::index([2], vec![2, 1]).unwrap());
    equal(run(&loss, &p, &vec![d.clone()])[0].values(), &[4.0]);
    equal(run(&grad_word(&loss), &p, &vec![d, Array::scalar(1.0)])[0].values(), &[0.0, 4.0, 0.0]);
}

#[test]
fn constants_exist_once_by_their_bits() {
    let count = |a: &[f64], b: &[f64]| {
        let (a, b) = (a.to_vec(), b.to_vec());
        let f = trace(vec![spec([2])], vec![], move |t, p, _| {
            vec![p[0] * t.constant([2], &a) + (p[0] + t.constant([2], &b)).square()]
        });
        f.graph().to_string().matches("constant").count()
    };
    assert_eq!(count(&[1.0, 2.0], &[1.0, 2.0]), 1);
    assert_eq!(count(&[0.0, 2.0], &[-0.0, 2.0]), 2);
    assert_eq!(count(&[NAN, 2.0], &[NAN, 2.0]), 1);
    assert_eq!(count(&[3.0, 3.0], &[1.0, 2.0]), 1, "one number everywhere is a fill");
    let odd = [-0.0, -0.0, NAN, INF, 5e-324];
    let f = trace(vec![], vec![], |t, _, _| vec![t.constant([5], &odd), t.constant([2], &[-0.0, -0.0])]);
    let out = run(&f, &vec![], &vec![]);
    equal(out[0].values(), &odd);
    equal(out[1].values(), &[-0.0, -0.0]);
    equal(&value::<f64>(&[1], &[1.0], |t, x| x * t.eye(3).flatten()), &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    equal(&value::<f64>(&[1], &[1.0], |t, x| x * t.arange(4)), &[0.0, 1.0, 2.0, 3.0]);
    equal(&value::<f64>(&[1], &[1.0], |t, x| x * t.linspace(2.0, 9.0, 1)), &[2.0]);
    equal(&value::<f64>(&[1], &[1.0], |t, x| x * t.linspace(-1.7e308, 1.7e308, 3)), &[-1.7e308, 0.0, 1.7e308]);
    let hot: Build = |t, x| x * t.indices([2], &[2, 0], 3).one_hot();
    equal(&value::<f64>(&[1], &[1.0], hot), &[0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    equal(&value::<f64>(&[2], &[1.0, 10.0], |t, x| x.take(t.indices([3], &[1, 0, 1], 2), 0)), &[10.0, 1.0, 10.0]);
}

#[test]
fn parts_and_triangles() {
    let nine: Vec<f64> = (1..10).map(f64::from).collect();
    let square = |build: Build| value::<f64>(&[3, 3], &nine, build);
    equal(&square(|_, x| x.diagonal()), &[1.0, 5.0, 9.0]);
    equal(&square(|_, x| x.trace()), &[15.0]);
    equal(&square(|_, x| x.tril(-1)), &[0.0, 0.0, 0.0, 4.0, 0.0, 0.0, 7.0, 8.0, 0.0]);
    equal(&square(|_, x| x.triu(0)), &[1.0, 2.0, 3.0, 0.0, 5.0, 6.0, 0.0, 0.0, 9.0]);
    equal(&square(|_, x| x.slice(0, 0..2).diagonal()), &[1.0, 5.0]);
    equal(&square(|_, x| x.slice(1, 0..1).diagonal()), &[1.0]);
    equal(&square(|_, x| x.flip(0).at(0, 0)), &[7.0, 8.0, 9.0]);
    equal(&square(|_, x| x.roll(1, 1).at(0, 0)), &[3.0, 1.0, 2.0]);
    equal(&square(|_, x| x.roll(0, 7).at(1, 0)), &[7.0, 1.0, 4.0]);
    equal(&square(|_, x| x.flatten().slice_step(0, 1..9, 3)), &[2.0, 5.0, 8.0]);
    equal(&square(|_, x| x.flatten().slice_step(0, 1..9, 30)), &[2.0]);
    equal(&square(|_, x| x.at(0, 0).diag().flatten()), &[1.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 3.0]);
    // What is beside a diagonal does no harm, whatever it is.
    let wild = [1.0, INF, NAN, 2.0];
    equal(&value::<f64>(&[2, 2], &wild, |t, x| t.einsum("ii->i", &[x])), &[1.0, 2.0]);
    equal(&value::<f64>(&[2, 2], &wild, |_, x| x.trace()), &[3.0]);
    equal(&slope::<f64>(&[2, 2], &wild, |_, x| x.trace()), &[1.0, 0.0, 0.0, 1.0]);
    equal(&value::<f64>(&[2, 2], &wild, |_, x| x.diagonal().diag()), &[1.0, 0.0, 0.0, 2.0]);
    equal(&value::<f64>(&[2, 2], &[1.0, INF, 3.0, 2.0], |_, x| x.tril(0)), &[1.0, 0.0, 3.0, 2.0]);
    // Indices have parts as well.
    let f = trace(vec![], vec![Spec::index([3], 4)], |_, _, d| vec![d[0].flip(0).to_real(), d[0].roll(0, 1).to_real()]);
    let out = run(&f, &vec![], &vec![Array::index([3], vec![3, 1, 2]).unwrap()]);
    equal(out[0].values(), &[2.0, 1.0, 3.0]);
    equal(out[1].values(), &[2.0, 3.0, 1.0]);
}

#[test]
fn einsum_as_numpy_writes_it() {
    let pairs: &[(Build, Build)] = &[
        (|t, x| t.einsum(" i j , k j -> i k ", &[x, x]), |_, x| x.dot(x.t())),
        (|t, x| t.einsum("...->...", &[x]), |_, x| x),
        (|t, x| t.einsum("...i->i...", &[x]), |_, x| x.t()),
        (|t, x| t.einsum("...i->...", &[x]), |_, x| x.sum_axes(&[1])),
        (|t, x| t.einsum("...,...->...", &[x, x.at(0, 0)]), |_, x| x * x.at(0, 0)),
        (|t, x| t.einsum("...i,...i->...i", &[x, x.slice(0, 0..1)]), |_, x| x * x.slice(0, 0..1)),
        (|t, x| t.einsum("i...j,i->j...", &[x, x.at(1, 0)]), |_, x| x.t().dot(x.at(1, 0))),
        (|t, x| t.einsum("ijij->ij", &[x.expand_dims(2).expand_dims(3) * x]), |_, x| x * x),
        (
            |t, x| t.einsum("iii->i", &[x.dot(x.t()).expand_dims(2) * x.at(1, 0)]),
            |_, x| x.dot(x.t()).diagonal() * x.at(1, 0),
        ),
    ];
    for (at, &(a, b)) in pairs.iter().enumerate() {
        let x = [1.0, -2.0, 3.0, 0.5, 4.0, -1.0];
        let (a, b) = (value::<f64>(&[2, 3], &x, a), value::<f64>(&[2, 3], &x, b));
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-12) && a.len() == b.len(), "{at}: {a:?}, {b:?}");
    }
}

#[test]
fn rules_of_ones_own() {
    // log(1 + exp x) with a rule that does not overflow, though the value's own derivative would.
    let soft: Build = |t, x| t.custom(&[x], |a| a[0].exp().ln_1p(), |a, v| v[0] * a[0].sigmoid());
    equal(&slope::<f64>(&[3], &[0.0, 800.0, -800.0], soft), &[0.5, 1.0, 0.0]);
    equal(&curve(&[0.0, 800.0], &[1.0, 1.0], soft), &[0.25, 0.0]);
    // A derivative that is clipped, and one that is passed on.
    let clipped: Build = |t, x| t.custom(&[x], |a| a[0].powi(3), |a, v| (3.0 * a[0].square()).minimum(1.0) * v[0]);
    equal(&slope::<f64>(&[2], &[0.5, 4.0], clipped), &[0.75, 1.0]);
    equal(&curve(&[0.5, 4.0], &[1.0, 1.0], clipped), &[3.0, 0.0]);
    let through: Build = |t, x| t.custom(&[x], |a| a[0].greater(0.0), |_, v| v[0]).square();
    equal(&slope::<f64>(&[2], &[0.5, -4.0], through), &[2.0, 0.0]);
    // The value itself, with no derivative at all.
    let still: Build = |t, x| x * t.custom(&[x], |a| a[0], |a, _| a[0].tape().full(a[0].shape(), 0.0));
    equal(&slope::<f64>(&[2], &[3.0, -4.0], still), &[3.0, -4.0]);
    // One within another, and equal ones are one.
    fn twice(x: Expr<'_>) -> Expr<'_> {
        x.tape().custom(&[x], |a| 2.0 * a[0], |_, v| 5.0 * v[0]).sum()
    }
    let nested: Build = |t, x| t.custom(&[x], |a| twice(a[0]).square(), |a, v| a[0].dot(v[0])) + x.sum();
    equal(&value::<f64>(&[2], &[1.0, 2.0], nested), &[39.0]);
    equal(&slope::<f64>(&[2], &[1.0, 2.0], nested), &[2.0, 3.0]);
    let f = trace(vec![spec([2])], vec![], |t, p, _| vec![soft(t, p[0]), 2.0 * soft(t, p[0])]);
    assert_eq!(f.graph().to_string().matches("custom").count(), 1);
    // Indices among the arguments, examples, and their moments.
    let loss = osculate::Func::trace(spec([3]), label(3), |t, w, y| {
        t.custom(&[w, y], |a| a[0].take(a[1], 0).exp(), |a, v| (a[1].one_hot() * v[0]).sum() * 2.0)
    })
    .unwrap();
    let device = Device::cpu();
    let examples = osculate::Examples::new(label(3), Array::<f64>::index([4], vec![0, 2, 2, 1]).unwrap()).unwrap();
    let mut program = loss.moments::<f64>(4, osculate::Request::gradient(), &device).unwrap();
    let mut moments = program.moments();
    program.run(&[0.0, 1.0, 0.0], None, &examples.all().unwrap(), &mut moments).unwrap();
    assert_eq!(moments.gradient().unwrap().sum, [2.0, 2.0, 4.0]);
    assert_eq!(moments.gradient().unwrap().norms.totals(), [4.0; 4]);
    let losses = moments.losses();
    assert!(losses[..3] == [1.0; 3] && (losses[3] - 1f64.exp()).abs() < 1e-15, "{losses:?}");
}

#[test]
fn rules_that_are_linear_and_rules_that_are_not() {
    type Rule = for<'a> fn(&[Expr<'a>], &[Expr<'a>]) -> Expr<'a>;
    // Zeros beside tangents, as masks, triangles and sums make them.
    let linear: [Rule; 7] = [
        |a, v| a[0].abs().less(1.0).select(v[0], 0.0),
        |a, v| a[0].less(0.0).select(0.1 * v[0], v[0]),
        |_, v| v[0].tril(0),
        |_, v| v[0] + 0.0,
        |_, v| v[0].tape().concat(&[v[0].slice(0, 0..1), v[0].tape().full([1, 2], 0.0)], 0),
        |_, v| (0..2).fold(v[0].tape().lit(0.0), |sum, i| sum + v[0].at(0, i)) * v[0].tape().full([2, 1], 1.0),
        |a, v| v[0] / a[0].exp() + v[0].flip(0).cumsum(1),
    ];
    for (at, rule) in linear.into_iter().enumerate() {
        let made =
            osculate::Func::trace(spec([2, 2]), spec([]), |t, w, _| t.custom(&[w], |a| a[0].square(), rule).sum());
        let f = made.unwrap_or_else(|error| panic!("rule {at}: {error}"));
        f.hvp().unwrap_or_else(|error| panic!("rule {at}: {error}"));
    }
    let others: [Rule; 6] = [
        |_, v| v[0].greater(0.0).select(v[0], 0.1 * v[0]),
        |_, v| v[0].select(v[0], 0.0 * v[0]),
        |_, v| v[0].square(),
        |_, v| v[0] + 1.0,
        |a, v| v[0] + a[0],
        |_, v| v[0].sort(0),
    ];
    for (at, rule) in others.into_iter().enumerate() {
        let made =
            osculate::Func::trace(spec([2, 2]), spec([]), |t, w, _| t.custom(&[w], |a| a[0].square(), rule).sum());
        let error = made.err().unwrap_or_else(|| panic!("rule {at} is accepted"));
        assert!(error.to_string().contains("not linear"), "rule {at}: {error}");
    }
}

#[test]
fn second_derivatives_of_lengths_and_angles_at_the_origin() {
    let functions: [Build; 3] =
        [|_, x| x.at(0, 0).hypot(x.at(0, 1)), |_, x| x.at(0, 0).atan2(x.at(0, 1)), |_, x| x.at(0, 0).unit(x.at(0, 1))];
    for (at, f) in functions.into_iter().enumerate() {
        for v in [[1.0, 0.0], [0.0, 1.0], [1.0, -2.0]] {
            let got = curve(&[0.0, 0.0], &v, f);
            assert!(got.iter().all(|x| *x == 0.0), "function {at} along {v:?}: {got:?}");
        }
    }
}

#[test]
fn powers_whose_exponent_is_zero() {
    // x^z at z = 0: the mixed derivative is 1/x, both ways; the second for x is 0.
    let f: Build = |_, x| x.at(0, 0).pow(x.at(0, 1));
    for x in [0.5, 2.0, 1e20, 1e-21, 1e200, 1e-200] {
        let along_z = curve(&[x, 0.0], &[0.0, 1.0], f);
        let along_x = curve(&[x, 0.0], &[1.0, 0.0], f);
        let near = |got: f64, want: f64| (got - want).abs() <= 1e-15 * want.abs();
        assert!(near(along_z[0], 1.0 / x) && near(along_x[1], 1.0 / x), "{x}: {along_z:?}, {along_x:?}");
        assert_eq!(along_x[0], 0.0, "{x}");
        assert_eq!(slope::<f64>(&[2], &[x, 0.0], f)[0], 0.0, "{x}");
    }
}
