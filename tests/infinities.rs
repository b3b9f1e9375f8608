//! NaN and infinities: they reach what depends on them, in both modes, and nothing else.

mod support;

use osculate::nn::{cross_entropy, log_softmax, log_sum_exp, softmax};
use osculate::{Array, Device, Expr, Func, Request, Tape, elementwise, label, spec};
use osculate_kernels::Real;
use support::*;

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

type Case = for<'t> fn(Expr<'t>) -> Expr<'t>;

/// Value; gradient of the sum; the same by tangents of the axes; and Hv along `v`.
fn all_of<T: Real>(f: Case, x: &[f64], v: &[f64]) -> [Vec<f64>; 4] {
    let n = x.len();
    let loss = Func::trace(spec([n]), spec([]), |_, x, _| f(x).sum()).expect("a trace");
    let value = Func::trace(spec([n]), spec([]), |_, x, _| f(x)).expect("a trace");
    let array = |x: &[f64]| Array::new([n], x.iter().map(|&x| T::from_f64(x)).collect()).expect("a vector");
    let nothing = Array::scalar(T::zero());
    let wide = |a: &Array<T>| a.values().iter().map(|&x| x.to_f64()).collect::<Vec<f64>>();
    let y = value.compile::<T>(&Device::cpu()).unwrap().run(&array(x), &nothing).unwrap();
    let (g, h) =
        (loss.hvp().unwrap().compile::<T>(&Device::cpu()).unwrap()).run(&(array(x), array(v)), &nothing).unwrap();
    let mut jvp = loss.jvp().unwrap().compile::<T>(&Device::cpu()).unwrap();
    let forward = (0..n).map(|i| {
        let axis: Vec<f64> = (0..n).map(|j| f64::from(i == j)).collect();
        jvp.run(&(array(x), array(&axis)), &nothing).unwrap().1.item().unwrap().to_f64()
    });
    [wide(&y), wide(&g), forward.collect(), wide(&h)]
}

/// Equal, or both NaN.
fn same_numbers(got: &[f64], want: &[f64], what: &str) {
    let same = |(a, b): (&f64, &f64)| a == b || a.is_nan() && b.is_nan();
    assert!(got.len() == want.len() && got.iter().zip(want).all(same), "{what}: {got:?}, not {want:?}");
}

/// What is multiplied by 0, subtracted from itself, or added to 0 is computed.
#[test]
fn only_what_holds_for_every_number_is_folded() {
    let cases: &[(Case, f64, f64)] = &[
        (|x| x.ln() * 0.0, -1.0, NAN),
        (|x| 0.0 * x, INF, NAN),
        (|x| 0.0 * x, NAN, NAN),
        (|x| x * 0.0, -2.0, -0.0),
        (|x| x * -0.0, 2.0, -0.0),
        (|x| x - x, INF, NAN),
        (|x| 2.0 * x - x, INF, NAN),
        (|x| x * 0.0 + x, INF, NAN),
        (|x| x - x, 3.0, 0.0),
        (|x| -x + x, -INF, NAN),
        (|x| x / x, INF, NAN),
        (|x| x / x, 0.0, NAN),
        (|x| 0.0 / x, 0.0, NAN),
        (|x| x * x.recip(), 0.0, NAN),
        (|x| x * 0.0 * x, INF, NAN),
        (|x| x + 0.0, -0.0, 0.0),
        (|x| 0.0 + x, -0.0, 0.0),
        (|x| x - 0.0, -0.0, -0.0),
        (|x| x * 1.0, -0.0, -0.0),
        (|x| x / 1.0, -0.0, -0.0),
        (|x| x.powi(0), NAN, 1.0), // as everywhere else
        (|x| x.tape().lit(0.0) * x.tape().lit(f64::INFINITY) * x, 1.0, NAN),
        (|x| (x * 0.0).stop_gradient(), INF, NAN),
        (|x| (x * 0.0).reshape([1, 1]).reshape([1]), INF, NAN),
        (|x| x.pad(0, 1, 1) * 0.0, INF, NAN),
        (|x| x.tape().concat(&[x, x], 0) * 0.0, INF, NAN),
        (|x| x.broadcast_to([2, 1]).sum() * 0.0, INF, NAN),
        (|x| (x * 0.0).max(), INF, NAN),
        (|x| x.less(x).select(x, x * 0.0), INF, NAN),
        (|x| (x * 0.0).patches(&[osculate::Window::new(0, 1)], 0.0), INF, NAN),
    ];
    for (case, &(f, x, want)) in cases.iter().enumerate() {
        let value = Func::trace(spec([1]), spec([]), |_, x, _| f(x).flatten()).expect("a trace");
        for device in [Device::cpu(), Device::reference()] {
            let y = (value.compile::<f64>(&device).unwrap())
                .run(&Array::new([1], vec![x]).unwrap(), &Array::scalar(0.0))
                .unwrap();
            let y = y.values()[y.values().len() / 2];
            assert!(y.to_bits() == want.to_bits() || y.is_nan() && want.is_nan(), "case {case}: {y}, not {want}");
        }
    }
    // The gradient of x·0 is 0, were x infinite; of ln x · 0 it is 0 · 1/x.
    same_numbers(&all_of::<f64>(|x| x * 0.0, &[INF], &[1.0])[1], &[0.0], "gradient of x·0");
    same_numbers(&all_of::<f64>(|x| x.ln() * 0.0, &[0.0], &[1.0])[1], &[NAN], "gradient of ln 0 · 0");
}

/// The zeros of derivatives are none of those: what nothing depends on leaves no trace, whatever its own derivative.
#[test]
fn absent_tangents_meet_no_infinities() {
    let f = Func::trace((spec([2]), spec([2])), spec([]), |t: &Tape, (x, y), _| {
        // y does not reach the result, though it stands beside x; its square root has an infinite derivative at 0.
        let both = t.concat(&[x, y.sqrt()], 0);
        both.slice(0, 0..2).square().sum() + (y.sqrt().pad(0, 2, 0).slice(0, 0..2) * x.stop_gradient()).sum()
    });
    let at = (Array::new([2], vec![1.0, 2.0]).unwrap(), Array::new([2], vec![0.0, 0.0]).unwrap());
    let f = f.expect("a trace");
    let nothing = Array::scalar(0.0);
    let (gx, gy) = f.grad().unwrap().compile::<f64>(&Device::cpu()).unwrap().run(&at, &nothing).unwrap();
    same_numbers(gx.values(), &[2.0, 4.0], "x");
    same_numbers(gy.values(), &[0.0, 0.0], "y");
    let (_, (hx, hy)) =
        f.hvp().unwrap().compile::<f64>(&Device::cpu()).unwrap().run(&(at.clone(), at), &nothing).unwrap();
    same_numbers(hx.values(), &[2.0, 4.0], "x");
    same_numbers(hy.values(), &[0.0, 0.0], "y");
}

#[test]
fn a_nan_in_a_maximum_reaches_its_derivative_in_both_modes() {
    let cases: &[(Case, &[f64], &[f64])] = &[
        (|x| x.max(), &[1.0, NAN, 3.0], &[NAN, NAN, NAN]),
        (|x| -(-x).max(), &[1.0, NAN, 3.0], &[NAN, NAN, NAN]),
        (|x| x.reshape([2, 2]).max_axes(&[1]), &[1.0, NAN, 3.0, 4.0], &[NAN, NAN, 0.0, 1.0]),
        (|x| x.maximum(2.0), &[1.0, NAN, 2.0], &[0.0, NAN, 0.5]),
        (|x| x.minimum(2.0), &[1.0, NAN, 2.0], &[1.0, NAN, 0.5]),
        (|x| x.maximum(x.tape().lit(NAN)), &[1.0, 3.0], &[NAN, NAN]),
        // Infinities are numbers.
        (|x| x.max(), &[INF, 1.0, INF], &[0.5, 0.0, 0.5]),
        (|x| x.max(), &[-INF, -INF], &[0.5, 0.5]),
        (|x| x.maximum(0.0), &[-INF, INF], &[0.0, 1.0]),
        (|x| x.relu(), &[NAN, 1.0, -1.0], &[NAN, 1.0, 0.0]),
        (|x| x.abs(), &[NAN, 1.0, -1.0], &[NAN, 1.0, -1.0]),
        // As numpy.where: a comparison with NaN does not hold.
        (|x| x.less(0.0).select(2.0 * x, 3.0 * x), &[NAN, 1.0, -1.0], &[3.0, 3.0, 2.0]),
        // A mask that is NaN is not zero.
        (|x| (x.stop_gradient() * NAN).select(2.0 * x, 3.0 * x), &[1.0], &[2.0]),
        // Their derivative is zero everywhere, and so is that at NaN.
        (|x| x.step(), &[NAN], &[0.0]),
        (|x| x.sign(), &[NAN], &[0.0]),
    ];
    for (case, &(f, x, slope)) in cases.iter().enumerate() {
        for simd in [all_of::<f64>, all_of::<f32>] {
            let [_, reverse, forward, _] = simd(f, x, x);
            same_numbers(&reverse, slope, &format!("case {case}, reverse"));
            // A tangent of one axis: NaN where the sum of results moves by NaN.
            let all_nan = case == 0 || case == 1;
            if all_nan || slope.iter().all(|s| !s.is_nan()) {
                same_numbers(&forward, slope, &format!("case {case}, forward"));
            }
            for (f, s) in forward.iter().zip(slope) {
                assert!(!s.is_nan() || f.is_nan(), "case {case}: {forward:?} loses a NaN of {slope:?}");
            }
        }
    }
    let rows =
        elementwise().iter().filter(|row| !["step", "sign", "round", "floor", "ceil", "trunc"].contains(&row.name));
    for row in rows {
        let f = trace(vec![spec([])], vec![], |_, p, _| vec![(row.apply)(p[0])]);
        let at = vec![Array::scalar(NAN)];
        let slope = run(&grad_word(&f), &at, &vec![Array::scalar(1.0)])[0].item().unwrap();
        assert!(slope.is_nan(), "the derivative of {} loses a NaN: {slope}", row.name);
    }
}

#[test]
fn log_sum_exp_of_infinities_is_its_limit() {
    let half = [0.5, 0.5];
    // x, log-sum-exp, its gradient.
    let cases: &[(&[f64], f64, &[f64])] = &[
        (&[-INF, -INF], -INF, &half),
        (&[INF, 0.0], INF, &[1.0, 0.0]),
        (&[INF, INF], INF, &half),
        (&[INF, -INF], INF, &[1.0, 0.0]),
        (&[-INF, 0.0], 0.0, &[0.0, 1.0]),
        (&[-INF, 3.0, -INF], 3.0, &[0.0, 1.0, 0.0]),
        (&[1e30, 1e30], 1e30, &half),
        (&[-1e30, -1e30], -1e30, &half),
        (&[1e30, -1e30], 1e30, &[1.0, 0.0]),
        (&[NAN, 0.0], NAN, &[NAN, NAN]),
        (&[-INF], -INF, &[1.0]),
        (&[0.0, 0.0], std::f64::consts::LN_2, &half),
    ];
    for &(x, value, p) in cases {
        let what = format!("of {x:?}");
        let ones = vec![1.0; x.len()];
        let [y, reverse, forward, curvature] = all_of::<f64>(log_sum_exp, x, &ones);
        same_numbers(&y, &[value], &what);
        same_numbers(&reverse, p, &what);
        same_numbers(&forward, p, &what);
        // (diag p − ppᵀ) 1 = 0.
        same_numbers(&curvature, &p.iter().map(|p| 0.0 * p).collect::<Vec<_>>(), &what);
        let [y, reverse, ..] = all_of::<f32>(log_sum_exp, x, &ones);
        same_numbers(&y, &[f64::from(value as f32)], &what);
        same_numbers(&reverse, p, &what);
        same_numbers(&all_of::<f64>(softmax, x, &ones)[0], p, &what);
        let logs: Vec<f64> = p.iter().zip(x).map(|(p, x)| if *p == 0.0 { x - value } else { p.ln() }).collect();
        same_numbers(&all_of::<f64>(log_softmax, x, &ones)[0], &logs, &what);
        if !value.is_nan() {
            let [_, slope, _, curvature] = all_of::<f64>(|x| softmax(x).square(), x, &ones);
            assert!(slope.iter().chain(&curvature).all(|v| v.abs() < 1e-15), "{what}: {slope:?} {curvature:?}");
        }
        // Along one axis: p₀ (e₀ − p).
        let mut first = vec![0.0; x.len()];
        first[0] = 1.0;
        let [.., curvature] = all_of::<f64>(log_sum_exp, x, &first);
        let want: Vec<f64> = p.iter().zip(&first).map(|(pi, e)| p[0] * (e - pi)).collect();
        same_numbers(&curvature, &want, &what);
    }
}

/// Attention over masked keys: exact zeros, whose values count for nothing in any derivative.
#[test]
fn masked_attention() {
    let attention = Func::trace((spec([2, 3]), spec([3, 2])), spec([2, 3]), |_, (scores, values), mask| {
        softmax(scores + mask).dot(values).square().sum()
    })
    .unwrap();
    let scores = Array::from_fn([2, 3], |i| 0.3 * i as f64);
    let mask = Array::new([2, 3], vec![0.0, -INF, 0.0, -INF, -INF, 0.0]).unwrap();
    let values = Array::from_fn([3, 2], |i| 1.0 + i as f64);
    let v = (Array::full([2, 3], 1.5), Array::full([3, 2], -0.5));
    let hvp = attention.hvp().unwrap();
    let ((gs, _), (hs, hv)) =
        hvp.compile::<f64>(&Device::cpu()).unwrap().run(&((scores.clone(), values.clone()), v), &mask).unwrap();
    for at in [1, 3, 4, 5] {
        // Masked, or alone in its row.
        assert_eq!((gs.values()[at], hs.values()[at]), (0.0, 0.0), "{at}");
    }
    assert!(gs.values()[0] != 0.0 && hs.values().iter().chain(hv.values()).all(|h| h.is_finite()));
    // As a softmax over the others.
    let two = Func::trace(spec([2]), spec([2, 2]), |_, s, v| softmax(s).dot(v).square().sum()).unwrap();
    let kept = Array::new([2, 2], vec![1.0, 2.0, 5.0, 6.0]).unwrap();
    let g = (two.grad().unwrap().compile::<f64>(&Device::cpu()).unwrap())
        .run(&Array::new([2], vec![0.0, 0.6]).unwrap(), &kept)
        .unwrap();
    assert!((g.values()[0] - gs.values()[0]).abs() < 1e-13 && (g.values()[1] - gs.values()[2]).abs() < 1e-13);
}

#[test]
fn cross_entropy_at_infinite_logits() {
    let loss = Func::trace(spec([3]), label(3), |_, z, y| cross_entropy(z, y)).unwrap();
    let mut hvp = loss.hvp().unwrap().compile::<f64>(&Device::cpu()).unwrap();
    let mut value = loss.compile::<f64>(&Device::cpu()).unwrap();
    let mut at = |z: [f64; 3], y: u32| {
        let (z, y) = (Array::new([3], z.to_vec()).unwrap(), Array::index([], vec![y]).unwrap());
        let v = Array::new([3], vec![1.0, 2.0, 4.0]).unwrap();
        let (g, h) = hvp.run(&(z.clone(), v), &y).unwrap();
        (value.run(&z, &y).unwrap().item().unwrap(), g.values().to_vec(), h.values().to_vec())
    };
    assert_eq!(at([-INF, 0.0, 0.0], 1), (2f64.ln(), vec![0.0, -0.5, 0.5], vec![0.0, -0.5, 0.5]));
    assert_eq!(at([-INF, 0.0, 0.0], 0), (INF, vec![-1.0, 0.5, 0.5], vec![0.0, -0.5, 0.5]));
    assert_eq!(at([INF, 0.0, 0.0], 0), (0.0, vec![0.0; 3], vec![0.0; 3]));
    assert_eq!(at([INF, 0.0, 0.0], 1), (INF, vec![1.0, -1.0, 0.0], vec![0.0; 3]));
    let (value, g, _) = at([-INF; 3], 2);
    assert!((value - 3f64.ln()).abs() < 1e-15);
    assert!((g[2] + 2.0 / 3.0).abs() < 1e-15);
    assert!(at([NAN, 0.0, 0.0], 1).0.is_nan() && at([NAN, 0.0, 0.0], 1).1.iter().all(|g| g.is_nan()));
}

/// Per-example statistics with masked logits and ties are those of the examples by themselves.
#[test]
fn moments_with_masked_logits() {
    let loss = Func::trace(spec([3, 3]), (spec([3]), spec([3]), label(3)), |_, w, (x, mask, y)| {
        cross_entropy(x.dot(w) + mask, y)
    })
    .unwrap();
    let x = Array::new([3, 3], vec![1.0, -2.0, 0.5, 0.0, 0.0, 0.0, 3e3, 1.0, -1.0]).unwrap();
    let mask = Array::new([3, 3], vec![0.0, -INF, 0.0, 0.0, 0.0, 0.0, -INF, -INF, 0.0]).unwrap();
    let y = Array::index([3], vec![2, 1, 2]).unwrap();
    let batch = osculate::Examples::new(loss.data().clone(), (x, mask, y)).unwrap().all().unwrap();
    let request = Request::gradient().and_hvp().and_elementwise();
    let (w, v): (Vec<f64>, Vec<f64>) = ((0..9).map(|i| 0.1 * f64::from(i)).collect(), vec![0.3; 9]);
    let mut seen: Vec<Vec<f64>> = Vec::new();
    for form in [osculate::Form::Made, osculate::Form::Factored, osculate::Form::Gram] {
        let mut program = loss.moments::<f64>(3, request.in_form(form), &Device::cpu()).unwrap();
        let mut moments = program.moments();
        program.run(&w, Some(&v), &batch, &mut moments).unwrap();
        let mut all = moments.gradient().unwrap().sum.clone();
        all.extend(&moments.hvp().unwrap().sum);
        all.extend([moments.gradient_variance().unwrap().value, moments.hvp_variance().unwrap().value]);
        all.extend(moments.gradient_elementwise_variance().unwrap().iter().map(|v| v.value));
        assert!(all.iter().all(|v| v.is_finite()), "{form}: {all:?}");
        seen.push(all);
    }
    for all in &seen[1..] {
        assert!(all.iter().zip(&seen[0]).all(|(a, b)| (a - b).abs() <= 1e-9 * (1.0 + b.abs())));
    }
    // The masked class receives nothing from the first example, and the third is certain.
    let sum: &[f64] = &seen[0][..9];
    assert!(sum[1].abs() < 1e-15, "{sum:?}");
}
