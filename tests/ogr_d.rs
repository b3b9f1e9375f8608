//! OGR-d against Hessians that are known, and Kalman gradient descent against its filter written out.

use osculate::nn::problems::{noise, quadratic};
use osculate::optim::base::Base;
use osculate::optim::{
    Asgd, FirstOrder, KalmanDescent, Minibatches, OgrD, Optimizer, Oracle, Status, asgd, first_order, kalman_descent,
    ogr_d,
};
use osculate::{Array, Batch, Device, Examples, Func, Rng, Spec, spec};
use proptest::prelude::*;

/// A symmetric matrix with the given eigenvalues, turned by random rotations.
fn turned(values: &[f64], rng: &mut Rng) -> Vec<f64> {
    let n = values.len();
    let mut h = vec![0.0; n * n];
    (0..n).for_each(|i| h[i * n + i] = values[i]);
    for p in 0..n {
        for q in p + 1..n {
            let (s, c) = rng.uniform(0.0, 6.3).sin_cos();
            for k in 0..n {
                let (x, y) = (h[k * n + p], h[k * n + q]);
                (h[k * n + p], h[k * n + q]) = (c * x - s * y, s * x + c * y);
            }
            for k in 0..n {
                let (x, y) = (h[p * n + k], h[q * n + k]);
                (h[p * n + k], h[q * n + k]) = (c * x - s * y, s * x + c * y);
            }
        }
    }
    h
}

/// VᵀHV: the estimate where all directions are in the subspace.
fn whole(ogr: &OgrD<f64>, n: usize) -> Vec<f64> {
    let (h, v) = (ogr.hessian(), ogr.basis());
    (0..n * n)
        .map(|at| {
            let (i, j) = (at / n, at % n);
            (0..n * n).map(|k| v[k / n * n + i] * h[k] * v[k % n * n + j]).sum()
        })
        .collect()
}

fn silent(d: usize) -> Batch<f64> {
    noise(1, d, 0.0, &mut Rng::new(0)).and_then(|e| e.all()).expect("a batch")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// In all directions and without noise both estimates are exact, wherever the origin is and however the basis turns.
    #[test]
    fn hessians_are_recovered(n in 2usize..5, seed in any::<u64>(), geometric in any::<bool>(), oja in any::<bool>(), far in prop_oneof![Just(0.0), Just(1e3)]) {
        let rng = &mut Rng::new(seed);
        // Only positive ones have a geometric mean.
        let values: Vec<f64> = (0..n).map(|i| rng.uniform(0.5, 3.0) * if i == 1 && !geometric { -1.0 } else { 1.0 }).collect();
        let h = turned(&values, rng);
        let loss = quadratic(&Array::new([n, n], h.clone()).unwrap()).unwrap();
        let base = if geometric { ogr_d::Config::geometric() } else { ogr_d::Config::regression() };
        let config = ogr_d::Config { subspace: usize::from(oja), decay: 0.8, momentum: 0.3, cut: 8.0, seed, ..base };
        let mut ogr = OgrD::new(n, config).unwrap();
        let batch = silent(n);
        let mut oracles = Minibatches::new(&loss, &Device::cpu());
        for _ in 0..3 * n {
            // Anywhere: steps of its own would soon lie in a plane.
            let mut x: Vec<f64> = (0..n).map(|_| far + rng.normal()).collect();
            ogr.step(&mut x, &mut oracles.on(&batch)).unwrap();
        }
        let (got, largest) = (whole(&ogr, n), 3.0);
        for (got, want) in got.iter().zip(&h) {
            prop_assert!((got - want).abs() <= 1e-8 * largest, "{got} instead of {want}; {config:?}");
        }
        // The basis is orthonormal still.
        for i in 0..n {
            for j in 0..n {
                let along: f64 = (0..n).map(|k| ogr.basis()[i * n + k] * ogr.basis()[j * n + k]).sum();
                let want = if i == j { 1.0 } else { 0.0 };
                prop_assert!((along - want).abs() < 1e-12, "{along} instead of {want}");
            }
        }
    }
}

/// The noise of gradients is largest in the two stiff of forty directions: online principal components find them. (What explores does not:
/// gradients of either sign turn its basis to and fro.)
#[test]
fn bases_turn_to_where_gradients_vary() {
    let n = 40;
    let rng = &mut Rng::new(3);
    let values: Vec<f64> = (0..n).map(|i| if i < 2 { 20.0 } else { 0.5 }).collect();
    let h = turned(&values, rng);
    let loss = quadratic(&Array::new([n, n], h.clone()).expect("a matrix")).expect("a loss");
    let data = noise(600, n, 1.0, &mut Rng::new(1)).expect("noise");
    let config = ogr_d::Config { subspace: 1, dimensions: 4, cut: 25.0, rate: 0.02, ..ogr_d::Config::regression() };
    let (mut oracles, mut batch) = (Minibatches::new(&loss, &Device::cpu()), Batch::default());
    let (mut ogr, mut x) = (OgrD::<f64>::new(n, config).expect("options"), vec![0.0; n]);
    // The trace of VHVᵀ, at most 41.
    let trace = |v: &[f64]| -> f64 {
        v.chunks(n).map(|v| (0..n * n).map(|at| v[at / n] * h[at] * v[at % n]).sum::<f64>()).sum()
    };
    let before = trace(ogr.basis());
    for t in 0..300 {
        data.gather(&[2 * t, 2 * t + 1], &mut batch).expect("rows");
        ogr.step(&mut x, &mut oracles.on(&batch)).expect("a step");
    }
    let after = trace(ogr.basis());
    assert!(before < 12.0 && after > 38.0, "{before} {after}");
}

/// Stiff in two of forty directions: Newton's steps in the subspace tame what the rate of the rest would throw away.
///
/// Where a step lands hangs on how the subspace was turned at the one before, so rounding alone moves single ends by decades; and where
/// gradients have become small, directions of none turn up again. So what is asserted is little, and far from what chance does: most
/// end below the start (in a thousand walks of other rounding 94 % did), all within decades (the largest of them were 1e6 and 1e8) of it.
#[test]
fn stiff_directions_are_tamed() {
    const SEEDS: u64 = 31;
    let n = 40;
    let mut ends = [const { Vec::new() }; 2];
    for seed in 0..SEEDS {
        let rng = &mut Rng::new(seed);
        let values: Vec<f64> = (0..n).map(|i| if i < 2 { 350.0 } else { 0.5 }).collect();
        let loss = quadratic(&Array::new([n, n], turned(&values, rng)).expect("a matrix")).expect("a loss");
        let batch = silent(n);
        let mut oracles = Minibatches::new(&loss, &Device::cpu());
        let start = oracles.on(&batch).loss(&vec![1.0; n]).expect("a loss");
        let last = |optimizer: &mut dyn Optimizer<f64>| {
            let (mut oracles, mut x) = (Minibatches::new(&loss, &Device::cpu()), vec![1.0; n]);
            for _ in 0..300 {
                optimizer.step(&mut x, &mut oracles.on(&batch)).expect("a step");
            }
            oracles.on(&batch).loss(&x).expect("a loss")
        };
        // The rate of the rest is too long for them.
        let base = Base { momentum: 0.5, ..Base::average() };
        let control = last(&mut FirstOrder::new(n, first_order::Config::of(base, 0.02)).expect("options"));
        assert!(control > 1e100, "{control}");
        for (ends, config) in ends.iter_mut().zip([ogr_d::Config::regression(), ogr_d::Config::geometric()]) {
            let config =
                ogr_d::Config { dimensions: 4, cut: 20.0, rate: 0.02, momentum: 0.5, exploration: 1.0, ..config };
            ends.push(last(&mut OgrD::new(n, config).expect("options")) / start);
        }
    }
    for (name, mut ends) in ["lyapunov", "geometric"].into_iter().zip(ends) {
        ends.sort_by(f64::total_cmp);
        assert!(ends[ends.len() / 2] < 1.0 && ends.iter().all(|end| *end < 1e20), "{name}: {ends:?}");
    }
}

/// A part of the step that is ASGD's: with w = 0 it is ASGD.
#[test]
fn the_hybrid_without_a_subspace_is_asgd() {
    let loss = quadratic(&Array::new([2, 2], vec![2.0, 0.3, 0.3, 1.0]).expect("a matrix")).expect("a loss");
    let data = noise(200, 2, 0.5, &mut Rng::new(1)).expect("noise");
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let own = asgd::Config { decay: 0.95, ..asgd::Config::spread() };
    let (mut asgd, mut x) = (Asgd::new(2, own).expect("options"), [1.0, -2.0]);
    let config = ogr_d::Config { weight: 0.0, ..ogr_d::Config::regression() };
    let (mut ogr, mut y) = (OgrD::new(2, config).expect("options"), [1.0, -2.0]);
    let mut batch = Batch::default();
    for t in 0..50 {
        data.gather(&[4 * t, 4 * t + 1, 4 * t + 2], &mut batch).expect("rows");
        asgd.step(&mut x, &mut oracles.on(&batch)).expect("a step");
        ogr.step(&mut y, &mut oracles.on(&batch)).expect("a step");
        assert!(x.iter().zip(&y).all(|(x, y)| (x - y).abs() < 1e-12), "step {t}: {x:?} {y:?}");
    }
}

/// With noise the elementwise estimate is Eq. 14's, from covariances over fading points written out.
#[test]
fn the_elementwise_estimate_is_equation_14() {
    let loss = quadratic(&Array::new([2, 2], vec![2.0, 0.3, 0.3, 1.0]).expect("a matrix")).expect("a loss");
    let data = noise(60, 2, 0.5, &mut Rng::new(1)).expect("noise");
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    // A basis that stays.
    let config = ogr_d::Config { estimate: 2, exploration: 0.0, decay: 0.7, ..ogr_d::Config::regression() };
    let (mut ogr, mut x) = (OgrD::new(2, config).expect("options"), [1.0, -2.0]);
    let mut points: Vec<([f64; 2], [f64; 2])> = Vec::new();
    let mut batch = Batch::default();
    for t in 0..12 {
        data.gather(&[4 * t, 4 * t + 1, 4 * t + 2], &mut batch).expect("rows");
        let mut g = [0.0; 2];
        oracles.on(&batch).gradient(&x, &mut g).expect("a gradient");
        let v = ogr.basis().to_vec();
        let along = |a: [f64; 2]| [v[0] * a[0] + v[1] * a[1], v[2] * a[0] + v[3] * a[1]];
        points.push((along(x), along(g)));
        ogr.step(&mut x, &mut oracles.on(&batch)).expect("a step");
    }
    let weights: Vec<f64> = (0..points.len()).rev().map(|age| 0.7f64.powi(age as i32)).collect();
    let total: f64 = weights.iter().sum();
    let mean = |f: &dyn Fn(&([f64; 2], [f64; 2])) -> f64| -> f64 {
        points.iter().zip(&weights).map(|(p, w)| w * f(p)).sum::<f64>() / total
    };
    for i in 0..2 {
        for j in 0..2 {
            let [ti, tj, gi, gj] = [mean(&|p| p.0[i]), mean(&|p| p.0[j]), mean(&|p| p.1[i]), mean(&|p| p.1[j])];
            let tt = mean(&|p| (p.0[i] - ti) * (p.0[j] - tj));
            let gg = mean(&|p| (p.1[i] - gi) * (p.1[j] - gj));
            let want = (gg / tt).abs().sqrt();
            let got = ogr.hessian()[2 * i + j];
            assert!((got - want).abs() < 1e-9 * want, "{i} {j}: {got} {want}");
        }
    }
}

/// One coordinate's filter with matrices, written out.
#[test]
fn kalman_gradient_descent_is_its_filter() {
    let loss = Func::trace(spec([]), spec([]), |_, w, x| 1.5 * (w - x).square()).expect("a loss");
    let rng = &mut Rng::new(7);
    let data: Examples<Spec, f64> = Examples::new(spec([]), Array::from_fn([30], |_| rng.normal())).expect("examples");
    let config = kalman_descent::Config { rate: 0.2, process_noise: 0.05, noise: 1.3, ..Default::default() };
    let (mut optimizer, mut w) = (KalmanDescent::new(1, config).expect("options"), [2.0]);
    let (mut oracles, mut batch) = (Minibatches::new(&loss, &Device::cpu()), Batch::default());
    let (mut x, mut h, mut p): (f64, f64, [[f64; 2]; 2]) = (2.0, 0.0, [[0.01, 0.0], [0.0, 0.01]]);
    let a = [[1.0, -0.2], [0.0, 1.0]];
    let values = data.array(0).expect("an array").values().to_vec();
    for (t, value) in values.into_iter().enumerate() {
        // Predict.
        if t > 0 {
            x -= 0.2 * h;
        }
        let ap: [[f64; 2]; 2] =
            std::array::from_fn(|i| std::array::from_fn(|j| (0..2).map(|k| a[i][k] * p[k][j]).sum()));
        p = std::array::from_fn(|i| {
            std::array::from_fn(|j| (0..2).map(|k| ap[i][k] * a[j][k]).sum::<f64>() + if i == j { 0.05 } else { 0.0 })
        });
        assert!((w[0] - x).abs() < 1e-12, "step {t}: {w:?} {x}");
        data.gather(&[t], &mut batch).expect("a row");
        optimizer.step(&mut w, &mut oracles.on(&batch)).expect("a step");
        // Observe.
        let surprise = 3.0 * (x - value) - h;
        let gain = [p[0][1] / (p[1][1] + 1.3), p[1][1] / (p[1][1] + 1.3)];
        (x, h) = (x + gain[0] * surprise, h + gain[1] * surprise);
        p = std::array::from_fn(|i| std::array::from_fn(|j| p[i][j] - gain[i] * p[1][j]));
    }
}

#[test]
fn steps_too_large_for_their_type_change_nothing() {
    // Slopes of 3e4 are nothing, 1e30 times as much is no step in f32.
    let loss = Func::trace(spec([20]), spec([]), |_, w, x| 3e4 * x * w.sum()).expect("a loss");
    let x = Array::new([2], vec![1.0f32, 2.0]).expect("an array");
    let data = Examples::new(spec([]), x).expect("examples").all().expect("a batch");
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    for (weight, rate, most) in [(1.0, 1e30, 0.5), (0.5, 1e-3, 1e30)] {
        let config = ogr_d::Config { dimensions: 3, weight, rate, most_rate: most, ..ogr_d::Config::regression() };
        let mut ogr = OgrD::<f32>::new(20, config).expect("options");
        let mut w = vec![0.5; 20];
        let before = ogr.save();
        for _ in 0..2 {
            let report = ogr.step(&mut w, &mut oracles.on(&data)).expect("a report");
            assert_eq!((report.status, report.step), (Status::NonFinite, 0.0), "{config:?}");
            assert!(w.iter().all(|&x| x == 0.5) && ogr.save() == before, "{config:?}");
        }
        // Where the largest may be, whatever part of it the subspace takes back.
        for (part, status) in [(0.2, Status::Stepped), (1.1, Status::NonFinite)] {
            let largest = part * f64::from(f32::MAX) * f64::from(f32::EPSILON) / 8.0;
            let length = 4.5e4 * 20f64.sqrt();
            let (rate, most) =
                if weight == 1.0 { (largest / length / 0.1, most) } else { (rate, 2.0 * largest / length) };
            let mut ogr = OgrD::<f32>::new(20, ogr_d::Config { rate, most_rate: most, ..config }).expect("options");
            let report = ogr.step(&mut [0.5; 20], &mut oracles.on(&data)).expect("a report");
            assert_eq!(report.status, status, "{part} with {weight}");
        }
    }
}
