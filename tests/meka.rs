//! MEKA against the reference traces and the properties that its specification promises.

#[path = "support/finite_sum.rs"]
mod finite_sum;

use finite_sum::{examples, minibatch, numbers, problem, traces};
use osculate::optim::meka::{Direction, Init, Noise, StepRule, VarianceOf};
use osculate::optim::{Meka, MekaConfig, Minibatches, Optimizer, Oracle};
use osculate::{Array, Batch, Device, Examples, Func, Rng, Spec, spec};
use proptest::prelude::*;

fn replay(key: &str, config: MekaConfig) {
    let file = traces();
    let loss = problem(file["problem"]["kappa"].as_f64().expect("kappa")).expect("a loss");
    let examples = examples(&file).expect("examples");
    let mut theta = numbers(&file["problem"]["theta0"]);
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let mut meka = Meka::new(3, config).expect("options");
    let mut batch = Batch::default();
    for (t, want) in file[key].as_array().expect("steps").iter().enumerate() {
        minibatch(&examples, t, &mut batch);
        let report = meka.step(&mut theta, &mut oracles.on(&batch)).expect("a step");
        let f = meka.filter();
        let mut got = vec![
            ("alpha", vec![report.step]),
            ("k", vec![f.gain]),
            ("sigma", vec![f.sigma]),
            ("q", vec![f.q]),
            ("p", vec![f.p]),
            ("u", vec![f.u]),
            ("s", vec![f.s]),
            ("r", vec![f.r]),
            ("lam", vec![f.lambda]),
            ("y", vec![report.loss]),
            ("m", meka.mean().to_vec()),
            ("theta_next", theta.clone()),
        ];
        if !want["raw"].is_null() {
            got.push(("raw", vec![report.step]));
            got.push(("b", meka.coefficients().iter().map(|c| c.curvature).collect()));
        }
        for (name, got) in got {
            let want = numbers(&want[name]);
            assert_eq!(got.len(), want.len(), "{name}");
            for (a, b) in got.iter().zip(want) {
                assert!((a - b).abs() <= 1e-9 * b.abs().max(1.0), "{key} step {t} {name}: {a} instead of {b}");
            }
        }
    }
}

#[test]
fn trace_of_fixed_steps() {
    replay("meka_fixed_0.2", MekaConfig { step: StepRule::Fixed(0.2), ..MekaConfig::default() });
}

fn nines() -> MekaConfig {
    MekaConfig { loss_decay: 0.9, gradient_decay: 0.9, coefficient_decay: 0.9, ..MekaConfig::default() }
}

#[test]
fn trace_of_probable_improvement() {
    replay("meka_pi_coefema_0.9", nines());
}

#[test]
fn trace_without_surprise() {
    replay("meka_pi_no_lambda", MekaConfig { surprise: false, ..nines() });
}

#[test]
fn trace_with_sample_variance() {
    replay("meka_pi_sample_var", MekaConfig { variance_of: VarianceOf::Sample, ..nines() });
}

/// Quadratics ½θᵀHθ − ξ·θ with one H, random ξ: exact transport, noise in the gradient alone.
fn quadratics(n: usize) -> (Func<Spec, Spec, Spec>, Examples<Spec, f64>) {
    let h = [2.0, 0.3, 0.0, 0.3, 1.0, -0.2, 0.0, -0.2, 0.5];
    let loss = Func::trace(spec([3]), spec([3]), |tape, theta, xi| {
        let rows: Vec<_> = h.chunks(3).map(|r| tape.stack(&[tape.lit(r[0]), tape.lit(r[1]), tape.lit(r[2])])).collect();
        0.5 * theta.dot(tape.stack(&rows).dot(theta)) - xi.dot(theta)
    })
    .expect("a loss");
    let mut rng = Rng::new(3);
    let xi = Array::from_fn([n, 3], |_| rng.normal());
    (loss, Examples::new(spec([3]), xi).expect("examples"))
}

#[test]
fn constant_noise_shrinks_as_one_over_t_and_meka_is_igt() {
    let (loss, examples) = quadratics(40);
    let sigma = 0.7;
    let rate = 0.1;
    let config = MekaConfig {
        init: Init::FirstObservation,
        step: StepRule::Fixed(rate),
        noise: Some(Noise { loss: 1.0, gradient: sigma, hvp: 0.0 }),
        ..MekaConfig::default()
    };
    let mut meka = Meka::new(3, config).expect("options");
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let mut theta = vec![1.0, -2.0, 0.5];
    // Implicit gradient transport (Arnold et al. 2019) with δ = 1, beside it.
    let (mut igt, mut before, mut v) = (theta.clone(), theta.clone(), vec![0.0; 3]);
    let mut batch = Batch::default();
    for t in 0..40 {
        examples.gather(&[t], &mut batch).expect("a row"); // one example will do: its noise is known
        meka.step(&mut theta, &mut oracles.on(&batch)).expect("a step");
        let want = sigma / (t + 1) as f64;
        assert!((meka.filter().p - want).abs() <= 1e-12 * want, "P after {t} steps");

        let gamma = t as f64 / (t + 1) as f64;
        let shifted: Vec<f64> = (0..3).map(|i| igt[i] + gamma / (1.0 - gamma) * (igt[i] - before[i])).collect();
        let mut g = vec![0.0; 3];
        oracles.on(&batch).gradient(&shifted, &mut g).expect("a gradient");
        before.clone_from(&igt);
        for i in 0..3 {
            v[i] = gamma * v[i] + (1.0 - gamma) * g[i];
            igt[i] -= rate * v[i];
            assert!((igt[i] - theta[i]).abs() <= 1e-12, "step {t}: {igt:?} and {theta:?}");
        }
    }
}

#[test]
fn identical_examples_keep_the_gradient_exact() {
    let (loss, examples) = quadratics(1);
    for step in [StepRule::Fixed(0.2), StepRule::Quadratic] {
        let mut meka = Meka::new(3, MekaConfig { step, ..MekaConfig::default() }).expect("options");
        let mut oracles = Minibatches::new(&loss, &Device::cpu());
        let mut theta = vec![1.0, -2.0, 0.5];
        let mut batch = Batch::default();
        examples.gather(&[0; 4], &mut batch).expect("rows");
        for t in 0..20 {
            let mut g = vec![0.0; 3];
            oracles.on(&batch).gradient(&theta, &mut g).expect("a gradient");
            meka.step(&mut theta, &mut oracles.on(&batch)).expect("a step");
            for (m, g) in meka.mean().iter().zip(&g) {
                assert!((m - g).abs() <= if t == 0 { 1e-15 } else { 1e-12 }, "step {t}: {m} and {g}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Gains are in [0, 1], posteriors no larger than the observation's noise, and the order of examples does not matter.
    #[test]
    fn filters_stay_in_bounds(seed in any::<u64>(), n in 2usize..9, sample in any::<bool>(), adaptive in any::<bool>()) {
        let file = traces();
        let loss = problem(0.3).unwrap();
        let examples = examples(&file).unwrap();
        let mut rng = Rng::new(seed);
        let config = MekaConfig {
            variance_of: if sample { VarianceOf::Sample } else { VarianceOf::Mean },
            direction: if adaptive { Direction::Adaptive { epsilon: 1e-8 } } else { Direction::Mean },
            ..nines()
        };
        let (mut a, mut b) = (Meka::new(3, config).unwrap(), Meka::new(3, config).unwrap());
        let mut oracles = Minibatches::new(&loss, &Device::cpu());
        let mut x: Vec<f64> = (0..3).map(|_| rng.uniform(-2.0, 2.0)).collect();
        let mut y = x.clone();
        let mut batch = Batch::default();
        for _ in 0..12 {
            let mut rows: Vec<usize> = (0..n).map(|_| rng.uniform(0.0, 7.0) as usize).collect();
            examples.gather(&rows, &mut batch).unwrap();
            a.step(&mut x, &mut oracles.on(&batch)).unwrap();
            rng.shuffle(&mut rows);
            examples.gather(&rows, &mut batch).unwrap();
            b.step(&mut y, &mut oracles.on(&batch)).unwrap();
            y.copy_from_slice(&x); // so that rounding cannot build up
            let f = a.filter();
            prop_assert!((0.0..=1.0).contains(&f.gain) && (0.0..=1.0).contains(&f.loss_gain), "{f:?}");
            prop_assert!(f.p <= f.sigma * (1.0 + 1e-12) && f.s <= f.r * (1.0 + 1e-12), "{f:?}");
            // Joseph's form is the standard one at the optimal gain.
            let predicted = f.sigma * f.gain / (1.0 - f.gain).max(f64::MIN_POSITIVE);
            if f.gain < 0.999 {
                prop_assert!((f.p - (1.0 - f.gain) * predicted).abs() <= 1e-12 * f.p / (1.0 - f.gain));
            }
            for (m, k) in a.mean().iter().zip(b.mean()) {
                prop_assert!((m - k).abs() <= 1e-12 * (1.0 + m.abs()), "{m} and {k}");
            }
        }
    }
}

#[test]
fn adameka_without_noise_steps_by_signs() {
    let loss = Func::trace(spec([3]), spec([3]), |_, theta, w| (w * theta).sum()).expect("a loss");
    let w = Array::new([1, 3], vec![-3.0, 0.0, 1e-3]).expect("an array");
    let batch = Examples::new(spec([3]), w).expect("examples").all().expect("a batch");
    let config = MekaConfig {
        direction: Direction::Adaptive { epsilon: 1e-8 },
        step: StepRule::Fixed(0.5),
        noise: Some(Noise { loss: 0.0, gradient: 0.0, hvp: 0.0 }),
        ..MekaConfig::default()
    };
    let mut theta = vec![0.0f64; 3];
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let mut meka = Meka::new(3, config).expect("options");
    meka.step(&mut theta, &mut oracles.on(&batch)).expect("a step");
    assert_eq!(meka.filter().p, 0.0);
    assert!((theta[0] - 0.5).abs() < 1e-8 && theta[1] == 0.0 && (theta[2] + 0.5).abs() < 1e-5, "{theta:?}");
}
