//! Bugs that users of other libraries reported, as tests.

mod support;

use osculate::nn::{cross_entropy, log_softmax, softmax};
use osculate::{Array, Device, Func, Rng, Spec, label, spec};
use support::*;

/// The Hessian of softmax cross-entropy is diag(s) − s sᵀ.
#[test]
fn second_derivative_of_softmax_cross_entropy() {
    let loss = Func::trace(spec([4]), label(4), |_, z, y| cross_entropy(z, y)).unwrap();
    let mut hessian = loss.hessian().unwrap().compile::<f64>(&Device::cpu()).unwrap();
    for z in [[0.3, -1.0, 2.0, 0.0], [1e3, 0.0, 0.0, -1e3], [50.0, 50.0, 50.0, 50.0]] {
        let shift = z.iter().fold(f64::MIN, |m: f64, v| m.max(*v));
        let total: f64 = z.iter().map(|v| (v - shift).exp()).sum();
        let s: Vec<f64> = z.iter().map(|v| (v - shift).exp() / total).collect();
        for y in 0..4 {
            let got = hessian.run(&Array::new([4], z.to_vec()).unwrap(), &Array::index([], vec![y]).unwrap()).unwrap();
            for i in 0..4 {
                for j in 0..4 {
                    let want = if i == j { s[i] } else { 0.0 } - s[i] * s[j];
                    assert!((got.values()[4 * i + j] - want).abs() < 1e-15, "{z:?} {i} {j}");
                }
            }
        }
    }
}

/// The stop inside log-sum-exp is exact to third order; and softmax is its gradient.
#[test]
fn log_softmax_to_third_order() {
    let f = trace(vec![spec([5])], vec![], |_, p, _| vec![log_softmax(p[0]), softmax(p[0])]);
    let rng = &mut Rng::new(0);
    let p = arrays(f.params(), rng);
    let third = jvp_word(&jvp_word(&f));
    let d = arrays(third.data(), rng);
    jvp_is_a_difference(&f, &p, &vec![], rng).unwrap();
    jvp_is_a_difference(&third, &p, &d, rng).unwrap();
}

/// d/dx of x·stop(x)ⁿ⁻¹-like nests, at every level.
#[test]
fn nested_stop_gradient() {
    let value = |f: &F, x: f64, data: &[f64]| {
        let d: Arrays = data.iter().map(|&v| Array::scalar(v)).collect();
        run(f, &vec![Array::scalar(x)], &d)[0].item().unwrap()
    };
    // f = x · stop(x²): f' = x² at the point, f'' = stop's derivative is 0: the tangent 1·stop(x²) has none.
    let f = trace(vec![spec([])], vec![], |_, p, _| vec![p[0] * p[0].square().stop_gradient()]);
    let first = jvp_word(&f);
    assert_eq!(value(&f, 3.0, &[]), 27.0);
    assert_eq!(value(&first, 3.0, &[1.0]), 9.0);
    assert_eq!(value(&jvp_word(&first), 3.0, &[1.0, 1.0]), 0.0);
    // The derivative of a derivative whose result is stopped: g = x · stop(d/dx x³) = x·3x², g' = 3x².
    let cube = trace(vec![spec([])], vec![], |_, p, _| vec![p[0].powi(3)]);
    let slope = grad_word(&cube);
    let g = trace(vec![spec([])], vec![], |tape, p, _| {
        let inner = slope.call(tape, &p, &vec![tape.lit(1.0)]);
        vec![p[0] * inner[0].stop_gradient()]
    });
    assert_eq!(value(&grad_word(&g), 2.0, &[1.0]), 12.0);
    // Stopping one of two uses leaves the other.
    let h =
        trace(vec![spec([])], vec![], |_, p, _| vec![p[0].stop_gradient() * p[0].sin() + p[0].stop_gradient().exp()]);
    let want = 0.7 * 0.7f64.cos();
    assert!((value(&grad_word(&h), 0.7, &[1.0]) - want).abs() < 1e-15);
}

#[test]
fn gradient_of_a_gradient_through_max_and_take() {
    let f = trace(vec![spec([3, 2])], vec![Spec::index([4], 3)], |_, p, d| {
        let rows = p[0].take(d[0], 0); // with repetitions: [4, 2]
        vec![rows.max_axes(&[0]).square() * rows.sum_axes(&[0]).exp(), (rows * rows).max()]
    });
    let rng = &mut Rng::new(4);
    let p = vec![Array::new([3, 2], vec![0.1, -0.9, 0.5, 0.3, -0.4, 0.8]).unwrap()];
    let d = vec![Array::index([4], vec![2, 0, 2, 1]).unwrap()];
    jvp_is_a_difference(&f, &p, &d, rng).unwrap();
    let g = grad_word(&f);
    let data = [d.clone(), arrays(f.outputs(), rng)].concat();
    jvp_is_a_difference(&g, &p, &data, rng).unwrap();
    adjoint(&g, &p, &data, rng).unwrap();
    let gg = grad_word(&g);
    let data = [data, arrays(g.outputs(), rng)].concat();
    jvp_is_a_difference(&gg, &p, &data, rng).unwrap();
    vmap_is_a_loop(&gg, &p, rng, 3).unwrap();
}

/// One subexpression used many times, differentiated many times: each exists once, and all uses count.
#[test]
fn shared_subexpressions_under_nested_transforms() {
    let f = trace(vec![spec([])], vec![], |_, p, _| {
        let x = p[0];
        let s = x.sin();
        let shared = s * s + s * s.cos() + (x.sin()).exp();
        vec![shared * shared + shared]
    });
    assert_eq!(f.graph().to_string().matches("sin").count(), 1);
    let rng = &mut Rng::new(0);
    let p = arrays(f.params(), rng);
    let mut word = f;
    for order in 1..=4 {
        let d = arrays(word.data(), rng);
        jvp_is_a_difference(&word, &p, &d, rng).unwrap_or_else(|e| panic!("order {order}: {e}"));
        word = if order % 2 == 0 { grad_word(&word) } else { jvp_word(&word) };
    }
}

/// A chain of 60 shared squarings is linear in size, not 2⁶⁰.
#[test]
fn a_deep_chain_stays_small() {
    let f = trace(vec![spec([])], vec![], |_, p, _| {
        let mut x = p[0];
        for _ in 0..60 {
            x = 0.5 * (x + x * x).tanh();
        }
        vec![x]
    });
    let second = grad_word(&jvp_word(&f));
    assert!(second.graph().len() < 60 * 40, "{} nodes", second.graph().len());
}

/// A gradient that flows into a sequence, step by step, is linear in its length.
#[test]
fn slices_of_a_sequence_transpose_to_one_concat() {
    let steps = 256;
    let f = trace(vec![spec([steps, 2])], vec![], |tape, p, _| {
        let mut h = tape.full([2], 0.0);
        for t in 0..steps {
            h = (0.5 * h + p[0].at(0, t)).tanh();
        }
        vec![h.sum()]
    });
    let g = grad_word(&f);
    let text = g.graph().to_string();
    assert!(!text.contains(" pad["), "pads are left");
    assert_eq!(text.matches("concat[").count(), 1);
    let rng = &mut Rng::new(5);
    let p = arrays(g.params(), rng);
    adjoint(&f, &p, &vec![], rng).unwrap();
    // A recursion this deep must not be one of the program's.
    jvp_is_a_difference(&f, &p, &vec![], rng).unwrap();
}
