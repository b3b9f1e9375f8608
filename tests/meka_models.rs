//! MEKA's covariances, corrections and directional variances, and what the theory of the noisy quadratic promises.

#[path = "support/finite_sum.rs"]
mod finite_sum;

use finite_sum::{examples, minibatch, numbers, problem, traces};
use osculate::nn::problems::{noise, quadratic};
use osculate::optim::improvement::Coefficients;
use osculate::optim::kalman::Full;
use osculate::optim::meka::{Correction, Covariance, Direction, Init, Noise, StepRule};
use osculate::optim::{FirstOrder, Meka, MekaConfig, Minibatches, Optimizer, Schedule, Status, first_order};
use osculate::{Array, Batch, Device, Examples, Func, Rng, Spec, spec};

fn nines() -> MekaConfig {
    MekaConfig { loss_decay: 0.9, gradient_decay: 0.9, coefficient_decay: 0.9, ..MekaConfig::default() }
}

/// (w − x)⁴/4 + w²/2 of one parameter.
fn quartic() -> (Func<Spec, Spec, Spec>, Examples<Spec, f64>) {
    let loss = Func::trace(spec([]), spec([]), |_, w, x| 0.25 * (w - x).powi(4) + 0.5 * w * w).expect("a loss");
    let rng = &mut Rng::new(1);
    (loss, Examples::new(spec([]), Array::from_fn([60], |_| rng.normal())).expect("examples"))
}

#[test]
fn of_one_parameter_all_covariances_are_one() {
    let (loss, examples) = quartic();
    for direction in [Direction::Mean, Direction::Adaptive { epsilon: 1e-8 }] {
        for step in [StepRule::Fixed(0.05), StepRule::Quadratic, StepRule::Improvement, StepRule::Expected] {
            for init in [Init::Diffuse(1e4), Init::FirstObservation] {
                let config = MekaConfig { direction, step, init, ..nines() };
                let mut all = [
                    config,
                    MekaConfig { covariance: Covariance::Diagonal, ..config },
                    MekaConfig { covariance: Covariance::Full, ..config },
                    MekaConfig { directional: true, ..config },
                ]
                .map(|config| (Meka::new(1, config).expect("options"), vec![2.0]));
                let (mut oracles, mut batch) = (Minibatches::new(&loss, &Device::cpu()), Batch::default());
                for t in 0..20 {
                    let rows: Vec<usize> = (0..5).map(|i| (5 * t + i) % 60).collect();
                    examples.gather(&rows, &mut batch).expect("rows");
                    let states = all.each_mut().map(|(meka, w)| {
                        let report = meka.step(w, &mut oracles.on(&batch)).expect("a step");
                        let f = *meka.filter();
                        [w[0], report.step, f.u, f.s, f.p, f.sigma, f.q, f.lambda, f.gain, f.loss_gain]
                    });
                    for other in &states[1..] {
                        for (a, b) in other.iter().zip(&states[0]) {
                            let close = (a - b).abs() <= 1e-9 * b.abs().max(1e-3);
                            assert!(close, "{direction:?} {step:?} {init:?}, step {t}: {other:?} and {:?}", states[0]);
                        }
                    }
                }
            }
        }
    }
}

type Matrix = [[f64; 3]; 3];

fn times(a: &Matrix, b: &Matrix) -> Matrix {
    std::array::from_fn(|i| std::array::from_fn(|j| (0..3).map(|k| a[i][k] * b[k][j]).sum()))
}

fn plus(a: &Matrix, b: &Matrix) -> Matrix {
    std::array::from_fn(|i| std::array::from_fn(|j| a[i][j] + b[i][j]))
}

/// By cofactors.
fn inverse(m: &Matrix) -> Matrix {
    let minor = |i: usize, j: usize| {
        let (r, c) = ([(i + 1) % 3, (i + 2) % 3], [(j + 1) % 3, (j + 2) % 3]);
        m[r[0]][c[0]] * m[r[1]][c[1]] - m[r[0]][c[1]] * m[r[1]][c[0]]
    };
    let determinant: f64 = (0..3).map(|j| m[0][j] * minor(0, j)).sum();
    std::array::from_fn(|i| std::array::from_fn(|j| minor(j, i) / determinant))
}

fn apply(a: &Matrix, v: &[f64; 3]) -> [f64; 3] {
    std::array::from_fn(|i| (0..3).map(|k| a[i][k] * v[k]).sum())
}

fn inner(a: &[f64; 3], b: &[f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Mean of rows and the covariance of that mean.
fn statistics(rows: &[[f64; 3]]) -> ([f64; 3], Matrix) {
    let n = rows.len() as f64;
    let mean: [f64; 3] = std::array::from_fn(|i| rows.iter().map(|r| r[i]).sum::<f64>() / n);
    let covariance = std::array::from_fn(|i| {
        std::array::from_fn(|j| rows.iter().map(|r| (r[i] - mean[i]) * (r[j] - mean[j])).sum::<f64>() / (n - 1.0) / n)
    });
    (mean, covariance)
}

/// The diagonal and the full filter, written out on the finite sum with its derivatives by hand.
#[test]
fn covariances_written_out() {
    let file = traces();
    let kappa = 0.3;
    let loss = problem(kappa).expect("a loss");
    let data = examples(&file).expect("examples");
    let (xi, a) = (numbers(&file["problem"]["xi"]), numbers(&file["problem"]["A"]));
    let hessian = |i: usize, theta: &[f64; 3]| -> Matrix {
        std::array::from_fn(|r| {
            std::array::from_fn(|c| {
                let symmetric = 0.5 * (a[9 * i + 3 * r + c] + a[9 * i + 3 * c + r]);
                symmetric + if r == c { kappa * theta[r] * theta[r] } else { 0.0 }
            })
        })
    };
    let gradient = |i: usize, theta: &[f64; 3]| -> [f64; 3] {
        let gap: [f64; 3] = std::array::from_fn(|k| theta[k] - xi[3 * i + k]);
        let linear = apply(&hessian(i, &[0.0; 3]), &gap);
        std::array::from_fn(|k| linear[k] + kappa / 3.0 * theta[k].powi(3))
    };
    let value = |i: usize, theta: &[f64; 3]| {
        let gap: [f64; 3] = std::array::from_fn(|k| theta[k] - xi[3 * i + k]);
        0.5 * inner(&gap, &apply(&hessian(i, &[0.0; 3]), &gap))
            + kappa / 12.0 * theta.iter().map(|t| t.powi(4)).sum::<f64>()
    };
    for covariance in [Covariance::Diagonal, Covariance::Full] {
        let keep = |m: Matrix| -> Matrix {
            let full = covariance == Covariance::Full;
            std::array::from_fn(|i| std::array::from_fn(|j| if full || i == j { m[i][j] } else { 0.0 }))
        };
        let config = MekaConfig { covariance, ..nines() };
        let mut meka = Meka::new(3, config).expect("options");
        let mut theta: [f64; 3] = [1.0, -2.0, 1.5];
        let (mut oracles, mut batch) = (Minibatches::new(&loss, &Device::cpu()), Batch::default());
        let (mut m, mut p, mut u, mut s) = ([0.0; 3], [[0.0; 3]; 3], 0.0, 1e4);
        (0..3).for_each(|i| p[i][i] = 1e4);
        let (mut sigma_sum, mut r_sum, mut weight) = ([[0.0; 3]; 3], 0.0, 0.0);
        let mut averages = [0.0; 5];
        let mut delta = [0.0; 3];
        for t in 0..12 {
            let rows = [3 * t % 7, (3 * t + 1) % 7, (3 * t + 2) % 7];
            minibatch(&data, t, &mut batch);
            let before = theta;
            let report = meka.step(&mut theta, &mut oracles.on(&batch)).expect("a step");
            assert_eq!(report.status, Status::Stepped);

            let losses = rows.map(|i| value(i, &before));
            let y = losses.iter().sum::<f64>() / 3.0;
            let r_now = losses.iter().map(|l| (l - y).powi(2)).sum::<f64>() / 2.0 / 3.0;
            let (g, sigma_now) = statistics(&rows.map(|i| gradient(i, &before)));
            let (b, q) = statistics(&rows.map(|i| apply(&hessian(i, &before), &delta)));
            let (sigma_now, q) = (keep(sigma_now), keep(q));
            weight = 0.9 * weight + 0.1;
            r_sum = 0.9 * r_sum + 0.1 * r_now;
            let r = r_sum / weight;
            sigma_sum = plus(&sigma_sum.map(|row| row.map(|x| 0.9 * x)), &sigma_now.map(|row| row.map(|x| 0.1 * x)));
            let sigma = sigma_sum.map(|row| row.map(|x| x / weight));
            let predicted = u + inner(&m, &delta) + 0.5 * inner(&delta, &b);
            let along_q = inner(&delta, &apply(&q, &delta));
            let spread = s + inner(&delta, &apply(&p, &delta)) + 0.25 * along_q;
            let lambda = if t == 0 { 0.0 } else { ((y - predicted).powi(2) - spread - r).max(0.0) };
            let gain = (lambda + spread) / (lambda + spread + r);
            (u, s) = (predicted + gain * (y - predicted), (1.0 - gain) * (lambda + spread));
            let moved = plus(&p, &q);
            let k = times(&moved, &inverse(&plus(&moved, &sigma)));
            let surprise: [f64; 3] = std::array::from_fn(|i| g[i] - m[i] - b[i]);
            let correction = apply(&k, &surprise);
            m = std::array::from_fn(|i| m[i] + b[i] + correction[i]);
            // At the optimal gain P = (I − K)P⁻ = KΣ.
            p = times(&k, &sigma);
            let d = m.map(|x| -x);
            let (hd, q) = statistics(&rows.map(|i| apply(&hessian(i, &before), &d)));
            let raw = [
                -inner(&d, &m),
                inner(&d, &hd),
                inner(&d, &apply(&p, &d)),
                inner(&d, &apply(&keep(q), &d)),
                2.0 * s + lambda,
            ];
            averages = std::array::from_fn(|i| 0.9 * averages[i] + 0.1 * raw[i]);
            let [slope, curvature, v2, v4, v0] = averages.map(|x| x / weight);
            let (step, _) = Coefficients { slope, curvature, v0, v2, v4, ..Coefficients::default() }.best_step();
            delta = d.map(|x| step * x);
            let f = meka.filter();
            let mean = |m: &Matrix| (m[0][0] + m[1][1] + m[2][2]) / 3.0;
            for (what, got, want) in [
                ("step", report.step, step),
                ("u", f.u, u),
                ("s", f.s, s),
                ("r", f.r, r),
                ("λ", f.lambda, lambda),
                ("p", f.p, mean(&p)),
                ("σ", f.sigma, mean(&sigma)),
                ("gain", f.gain, mean(&k)),
                ("θ", theta[0], before[0] + delta[0]),
                ("θ", theta[1], before[1] + delta[1]),
                ("θ", theta[2], before[2] + delta[2]),
            ] {
                assert!(
                    (got - want).abs() <= 1e-9 * want.abs().max(1.0),
                    "{covariance:?}, step {t}, {what}: {got} {want}"
                );
            }
        }
    }
}

/// The quadratic of a random H of condition 20, its eigenvalues at most 1, and the noise's covariance of a gradient.
fn ill_conditioned(d: usize) -> (Vec<f64>, Vec<f64>, f64) {
    let rng = &mut Rng::new(4);
    let mut h = vec![0.0; d * d];
    // H = Σ λ vvᵀ over an orthonormal basis by Gram and Schmidt.
    let mut basis: Vec<Vec<f64>> = Vec::new();
    while basis.len() < d {
        let mut v: Vec<f64> = (0..d).map(|_| rng.normal()).collect();
        for u in &basis {
            let along: f64 = u.iter().zip(&v).map(|(a, b)| a * b).sum();
            v.iter_mut().zip(u).for_each(|(v, u)| *v -= along * u);
        }
        let length = v.iter().map(|x| x * x).sum::<f64>().sqrt();
        basis.push(v.iter().map(|x| x / length).collect());
    }
    let least = 0.05;
    for (k, v) in basis.iter().enumerate() {
        let value = least + (1.0 - least) * k as f64 / (d - 1) as f64;
        (0..d * d).for_each(|at| h[at] += value * v[at / d] * v[at % d]);
    }
    let sigma = (0..d * d).map(|at| (0..d).map(|k| h[at / d * d + k] * h[k * d + at % d]).sum()).collect();
    (h, sigma, least)
}

/// Proposition 1: with m₀ = g₀ and P₀ = Σ the filter's covariance is Σ/(t + 1), and
/// `e_t ≤ (1 − αμ)ᵗ e₀ + (α tr Σ/2) Σₛ (1 − αμ)^(t−s)/s` at every step; t·E f neither grows nor falls.
#[test]
fn the_full_filter_keeps_its_promise_on_noisy_quadratics() {
    const D: usize = 4;
    const STEPS: usize = 400;
    const RUNS: usize = 300;
    let (h, sigma, mu) = ill_conditioned(D);
    let trace: f64 = sigma.iter().step_by(D + 1).sum();
    let rate = 1.0;
    let product =
        |v: &[f64]| -> Vec<f64> { h.chunks(D).map(|row| row.iter().zip(v).map(|(a, b)| a * b).sum()).collect() };
    let value = |x: &[f64]| 0.5 * x.iter().zip(product(x)).map(|(a, b)| a * b).sum::<f64>();
    let mut errors = vec![0.0; STEPS + 1];
    for run in 0..RUNS {
        let rng = &mut Rng::new(run as u64);
        let mut x: Vec<f64> = vec![2.0; D];
        // Gradients H(x − ξ), ξ standard normal: covariance HH = Σ.
        let mut observe = |x: &[f64]| {
            let gap: Vec<f64> = x.iter().map(|x| x - rng.normal()).collect();
            product(&gap)
        };
        let mut filter = Full::new(observe(&x), sigma.clone()).expect("a filter");
        errors[0] += value(&x) / RUNS as f64;
        for t in 0..STEPS {
            if t > 0 {
                filter.observe(&observe(&x), &sigma).expect("an observation");
            }
            for (p, s) in filter.covariance().iter().zip(&sigma) {
                assert!((p - s / (t + 1) as f64).abs() <= 1e-12 * trace, "step {t}");
            }
            let step: Vec<f64> = filter.mean().iter().map(|m| -rate * m).collect();
            x.iter_mut().zip(&step).for_each(|(x, s)| *x += s);
            filter.predict(&product(&step), &[0.0; D * D]).expect("a prediction");
            errors[t + 1] += value(&x) / RUNS as f64;
        }
    }
    let shrink = 1.0 - rate * mu;
    let (mut first, mut sum) = (errors[0], 0.0);
    for (t, error) in errors.iter().enumerate().skip(1) {
        first *= shrink;
        sum = shrink * sum + 1.0 / t as f64;
        let bound = first + rate * trace / 2.0 * sum;
        assert!(*error <= bound, "step {t}: {error} beyond {bound}");
    }
    // A fitted power of t over the second half of the decades.
    let points: Vec<(f64, f64)> = (60..=STEPS).map(|t| ((t as f64).ln(), errors[t].ln())).collect();
    let n = points.len() as f64;
    let (mx, my) = (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n);
    let slope = points.iter().map(|p| (p.0 - mx) * (p.1 - my)).sum::<f64>()
        / points.iter().map(|p| (p.0 - mx).powi(2)).sum::<f64>();
    assert!((slope + 1.0).abs() < 0.15, "E f falls as t^{slope}");
}

/// The stationary mean of SGD on ½(θ − ξ)ᵀH(θ − ξ): ½ Σ λ·ηλ/(2 − ηλ)/n.
#[test]
fn sgd_settles_where_it_must() {
    let values = [2.0, 0.7, 0.3];
    let mut h = vec![0.0; 9];
    (0..3).for_each(|i| h[4 * i] = values[i]);
    let loss = quadratic(&Array::new([3, 3], h).expect("a matrix")).expect("a loss");
    let (n, steps, rate) = (4, 40_000, 0.4);
    let data = noise(n * steps, 3, 1.0, &mut Rng::new(2)).expect("noise");
    let mut sgd = FirstOrder::new(3, first_order::Config { rate, ..first_order::Config::sgd() }).expect("options");
    let (mut oracles, mut batch, mut x) = (Minibatches::new(&loss, &Device::cpu()), Batch::default(), vec![0.0; 3]);
    let mut mean = 0.0;
    for step in 0..steps {
        let rows: Vec<usize> = (n * step..n * (step + 1)).collect();
        data.gather(&rows, &mut batch).expect("rows");
        sgd.step(&mut x, &mut oracles.on(&batch)).expect("a step");
        mean += x.iter().zip(values).map(|(x, l)| 0.5 * l * x * x).sum::<f64>() / steps as f64;
    }
    let want: f64 = values.iter().map(|l| 0.5 * l * rate * l / (2.0 - rate * l) / n as f64).sum();
    assert!((mean / want - 1.0).abs() < 0.05, "{mean} {want}");
}

/// A loss whose curvature along the gradient is negative at the start: ¼w⁴ − ½w², of noisy slopes.
#[test]
fn corrections_keep_steps_finite_where_curvature_is_negative() {
    let loss = Func::trace(spec([]), spec([]), |_, w, x| 0.25 * w.powi(4) - 0.5 * w * w + x * w).expect("a loss");
    let data = Array::new([4], vec![0.01, -0.01, 0.02, -0.02]).expect("an array");
    let batch = Examples::new(spec([]), data).expect("examples").all().expect("a batch");
    for correction in
        [Correction::None, Correction::Surprise, Correction::Secant, Correction::Exact, Correction::Absolute]
    {
        for step in [StepRule::Quadratic, StepRule::Improvement, StepRule::Expected] {
            let config = MekaConfig { correction, step, max_step: Some(20.0), coefficient_decay: 0.0, ..nines() };
            let (mut meka, mut w) = (Meka::new(1, config).expect("options"), vec![0.05f64]);
            let mut oracles = Minibatches::new(&loss, &Device::cpu());
            let mut fallbacks = 0;
            for t in 0..40 {
                let report = meka.step(&mut w, &mut oracles.on(&batch)).expect("a step");
                assert!(report.step.is_finite() && report.step <= 20.0 && w[0].is_finite(), "{correction:?} {step:?}");
                // The secant has seen no change of curvature before the second step; Eq. 23 says nothing of the mean.
                let answers = match correction {
                    Correction::Exact | Correction::Absolute => true,
                    Correction::Secant => t > 0,
                    Correction::Surprise => step != StepRule::Quadratic,
                    Correction::None => false,
                };
                assert!(!answers || report.status != Status::Fallback, "{correction:?} {step:?} step {t}: {report:?}");
                fallbacks += usize::from(report.status == Status::Fallback);
            }
            assert!(correction != Correction::None || step == StepRule::Expected || fallbacks > 0);
        }
    }
}

/// f = −w − ½w² + (T/6)w³ of negative curvature at 0: with its third derivative known the minimum is one step away.
#[test]
fn cubic_corrections_are_exact_on_cubics() {
    let third = 0.7;
    let loss =
        Func::trace(spec([]), spec([]), |_, w, x| x * (-w - 0.5 * w * w + third / 6.0 * w.powi(3))).expect("a loss");
    let batch = Examples::new(spec([]), Array::full([2], 1.0)).expect("examples").all().expect("a batch");
    let minimum = (1.0 + (1.0f64 + 2.0 * third).sqrt()) / third;
    for (correction, steps) in [(Correction::Exact, 1), (Correction::Secant, 2)] {
        let config = MekaConfig { correction, step: StepRule::Quadratic, coefficient_decay: 0.0, ..nines() };
        let (mut meka, mut w) = (Meka::new(1, config).expect("options"), vec![0.0]);
        let mut oracles = Minibatches::new(&loss, &Device::cpu());
        for _ in 0..steps {
            meka.step(&mut w, &mut oracles.on(&batch)).expect("a step");
        }
        assert!((w[0] - minimum).abs() < 1e-9, "{correction:?}: {w:?} instead of {minimum}");
    }
}

/// Noise along one coordinate alone: the scalar model spreads it over both, the directional one sees it where it is.
#[test]
fn directional_variances_are_those_along_the_step() {
    let loss = Func::trace(spec([2]), spec([]), |_, w, x| 0.5 * (w * w).sum() + x * w.at(0, 0)).expect("a loss");
    let data = Array::new([4], vec![1.0, -1.0, 3.0, -3.0]).expect("an array");
    let batch = Examples::new(spec([]), data).expect("examples").all().expect("a batch");
    let probability = |config: MekaConfig, start: [f64; 2]| {
        let mut oracles = Minibatches::new(&loss, &Device::cpu());
        let (mut meka, mut w) = (Meka::new(2, config).expect("options"), start.to_vec());
        let report = meka.step(&mut w, &mut oracles.on(&batch)).expect("a step");
        report.probability.expect("a probability")
    };
    let directional = MekaConfig { directional: true, ..nines() };
    let full = MekaConfig { covariance: Covariance::Full, ..nines() };
    // Along the noisy coordinate all of the noise counts, along the other none.
    for start in [[1.0, 0.0], [0.0, 1.0], [0.6, -0.8]] {
        let (a, b, c) = (probability(nines(), start), probability(directional, start), probability(full, start));
        // The directional model is the full one, up to the first gain (P = Σ after it, to 1e-4).
        assert!((b - c).abs() < 1e-3, "{start:?}: {b} {c}");
        match start {
            [_, 0.0] => assert!(b < a),
            [0.0, _] => assert!(b > a),
            _ => {}
        }
    }
}

/// After a jump nothing of the filter is left: the next gain is the first one's, but the schedule goes on.
#[test]
fn a_reset_forgets_the_filter_and_not_the_schedule() {
    let (loss, examples) = quartic();
    for covariance in [Covariance::Scalar, Covariance::Diagonal, Covariance::Full] {
        let schedule = Schedule { course: Schedule::STEP, period: 4, ..Schedule::default() };
        let config = MekaConfig { covariance, schedule, step: StepRule::Fixed(0.1), ..nines() };
        let (mut meka, mut w) = (Meka::new(1, config).expect("options"), vec![2.0]);
        let (mut oracles, mut batch) = (Minibatches::new(&loss, &Device::cpu()), Batch::default());
        examples.gather(&[0, 1, 2, 3], &mut batch).expect("rows");
        for _ in 0..6 {
            meka.step(&mut w, &mut oracles.on(&batch)).expect("a step");
        }
        assert!(meka.filter().gain < 0.9);
        meka.reset();
        w[0] = -3.0;
        let report = meka.step(&mut w, &mut oracles.on(&batch)).expect("a step");
        assert!(meka.filter().gain > 0.99 && meka.filter().q == 0.0, "{covariance:?}: {:?}", meka.filter());
        assert!((report.step - 0.01).abs() < 1e-15, "{covariance:?}: {report:?}");
    }
}

#[test]
fn what_does_not_go_together_is_refused() {
    let message =
        |len: usize, config: MekaConfig| Meka::<f64>::new(len, config).err().map(|e| e.to_string()).unwrap_or_default();
    let noise = Some(Noise { loss: 1.0, gradient: 2.0, hvp: 0.0 });
    let known = message(3, MekaConfig { noise, covariance: Covariance::Diagonal, ..nines() });
    assert_eq!(known, "gradient-noise = 2: known noise goes with covariance = scalar, directional = false");
    assert!(
        message(3, MekaConfig { directional: true, covariance: Covariance::Full, ..nines() })
            .starts_with("directional = 1")
    );
    assert!(
        message(513, MekaConfig { covariance: Covariance::Full, ..nines() })
            .starts_with("parameters = 513: a full covariance")
    );
    assert!(message(3, MekaConfig { floor: -1.0, correction: Correction::Exact, ..nines() }).starts_with("floor = -1"));
}

#[test]
fn diagonal_filters_average_at_all_scales_of_f32() {
    // Of slopes that do not change: after t of them the gain is 1/t.
    let loss = Func::trace(spec([3]), spec([]), |_, w, x| x * w.sum()).expect("a loss");
    for scale in [1e-18, 1e-15, 1e-8, 1.0, 1e8, 1e15, 1e18] {
        let x = Array::new([4], [0.5f32, 1.0, 1.5, 2.0].map(|x| x * scale).to_vec()).expect("an array");
        let data = Examples::new(spec([]), x).expect("examples").all().expect("a batch");
        let mut oracles = Minibatches::new(&loss, &Device::cpu());
        let (covariance, init, step) = (Covariance::Diagonal, Init::FirstObservation, StepRule::Fixed(0.1));
        let config = MekaConfig { covariance, init, step, surprise: false, ..nines() };
        let (mut w, mut meka) = (vec![0.0; 3], Meka::<f32>::new(3, config).expect("options"));
        for t in 1..30 {
            let report = meka.step(&mut w, &mut oracles.on(&data)).expect("a step");
            let gain = report.gain.unwrap_or(f64::NAN);
            assert!((gain - 1.0 / f64::from(t)).abs() < 1e-5, "{gain} in step {t}, scale {scale}");
        }
    }
}
