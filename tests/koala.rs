//! KaFiStO as its authors' code has it: values of that code (KOALA), run beside ours.

use osculate::optim::{Kafisto, Minibatches, Optimizer, kafisto};
use osculate::{Array, Batch, Device, Examples, Func, Spec, spec};

/// a²/2 of the first array; the second has no part in it.
fn unused() -> (Func<(Spec, Spec), Spec, Spec>, Batch<f64>) {
    let loss = Func::trace((spec([1]), spec([1])), spec([]), |_, (a, _), x| 0.5 * x * a.square().sum());
    let data = Examples::new(spec([]), Array::full([1], 1.0)).expect("examples");
    (loss.expect("a loss"), data.all().expect("a batch"))
}

fn walked(config: kafisto::Config, start: [f64; 2], steps: usize) -> (Kafisto<f64>, [f64; 2]) {
    let (loss, batch) = unused();
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let (mut kafisto, mut w) = (Kafisto::new(2, config).expect("options"), start);
    for _ in 0..steps {
        kafisto.step(&mut w, &mut oracles.on(&batch)).expect("a step");
    }
    (kafisto, w)
}

#[track_caller]
fn near(got: f64, want: f64, digits: f64) {
    assert!((got - want).abs() <= digits, "{got} instead of {want}");
}

fn compatible() -> kafisto::Config {
    kafisto::Config { koala_compat: true, ..kafisto::Config::dynamics() }
}

#[test]
fn position_noise_is_where_its_average_starts() {
    // One parameter alone, a = [1]: 0.9 · 0.05 + 0.1 · |1 − 0|/1.
    let loss = Func::trace(spec([1]), spec([]), |_, a, x| 0.5 * x * a.square().sum()).expect("a loss");
    let (_, batch) = unused();
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    for (position_noise, want) in [(0.05, 0.145), (0.01, 0.109)] {
        let config = kafisto::Config { position_noise, ..compatible() };
        let mut kafisto = Kafisto::new(1, config).expect("options");
        kafisto.step(&mut [1.0], &mut oracles.on(&batch)).expect("a step");
        near(kafisto.filter().position_noise, want, 1e-15);
    }
}

#[test]
fn what_is_left_out_is_left_out_wholly() {
    // x̄ of an array that is left out does not follow it.
    let (kafisto, w) = walked(compatible(), [1.0, 1.0], 2);
    near(kafisto.filter().position_noise, 0.1356311, 5e-8);
    near(w[0], 0.7081844, 5e-8);
    assert_eq!(w[1], 1.0);
    // Nor does it decay.
    let decayed = kafisto::Config { weight_decay: 0.1, ..compatible() };
    assert_eq!(walked(decayed, [1.0, 1.0], 1).1[1], 1.0);
    assert!(walked(kafisto::Config { by_layer: true, koala_compat: false, ..decayed }, [1.0, 1.0], 1).1[1] < 0.99);
    // Nor has its decay a part in the largest h.
    let vanilla = kafisto::Config { koala_compat: true, weight_decay: 0.1, ..kafisto::Config::vanilla() };
    let (kafisto, w) = walked(vanilla, [1.0, 100.0], 1);
    near(kafisto.filter().covariance[0], 0.4510, 5e-5);
    assert_eq!(w[1], 100.0);
}

/// The authors' code in a few lines, with layers, whatever `by_layer` says.
#[test]
fn the_flag_alone_is_the_authors_code() {
    let loss = Func::trace((spec([2]), spec([1]), spec([2])), spec([2]), |_, (v, w, _), xi| {
        0.5 * (v - xi).square().sum() + 2.0 * (w.at(0, 0) - xi.at(0, 0)).square() + 0.3
    });
    let loss = loss.expect("a loss");
    let rows = [[0.5, -0.2], [0.1, 0.9], [-0.7, 0.3], [1.1, 0.4]];
    let data = Examples::new(spec([2]), Array::new([4, 2], rows.concat()).expect("an array")).expect("examples");
    let batch = data.all().expect("a batch");
    let (lambda, noise) = (0.05, 0.03);
    let value = |w: &[f64], xi: [f64; 2]| {
        0.5 * ((w[0] - xi[0]).powi(2) + (w[1] - xi[1]).powi(2)) + 2.0 * (w[2] - xi[0]).powi(2) + 0.3
    };
    let arrays = [0..2, 2..3, 3..5];
    for dynamics in [true, false] {
        let config = kafisto::Config {
            dynamics,
            koala_compat: true,
            weight_decay: lambda,
            position_noise: noise,
            adaptive_position_noise: dynamics,
            ..kafisto::Config::dynamics()
        };
        let mut kafisto = Kafisto::new(5, config).expect("options");
        let mut oracles = Minibatches::new(&loss, &Device::cpu());
        let mut w = [1.0, -2.0, 0.5, 3.0, -3.0];
        let (mut x, mut v, mut mean) = (w, [0.0f64; 5], [0.0f64; 5]);
        let (mut p, mut qw, mut r) = ([0.1, 0.0, if dynamics { 0.1 } else { 0.0 }], noise, 1.0);
        for step in 0..25 {
            kafisto.step(&mut w, &mut oracles.on(&batch)).expect("a step");
            if dynamics {
                let off: f64 = (0..5).map(|i| (mean[i] - x[i]).powi(2)).sum();
                qw = 0.9 * qw + 0.1 * off.sqrt() / 5.0;
                (0..5).for_each(|i| (x[i], v[i]) = (x[i] + v[i], 0.9 * v[i]));
                p = [p[0] + 2.0 * p[1] + p[2] + qw, 0.9 * (p[1] + p[2]), 0.81 * p[2] + 0.01];
            } else {
                p[0] += qw;
            }
            let losses = rows.map(|xi| value(&x, xi));
            let loss = losses.iter().sum::<f64>() / 4.0;
            r = 0.9 * r + 0.1 * losses.iter().map(|l| l * l).sum::<f64>() / 4.0;
            let centre = [0, 1].map(|i| rows.iter().map(|xi| xi[i]).sum::<f64>() / 4.0);
            let raw = [x[0] - centre[0], x[1] - centre[1], 4.0 * (x[2] - centre[0]), 0.0, 0.0];
            let mut most = 0.0f64;
            for array in arrays.clone() {
                let squares = |of: &dyn Fn(usize) -> f64| array.clone().map(|i| of(i).powi(2)).sum::<f64>();
                if squares(&|i| raw[i]).sqrt() < 1e-9 {
                    continue;
                }
                let decayed: Vec<f64> = array.clone().map(|i| raw[i] + lambda * x[i]).collect();
                let g = decayed.iter().map(|g| g * g).sum::<f64>();
                let s = g * p[0] + r;
                let own = loss + 0.5 * lambda * squares(&|i| x[i]);
                for (i, decayed) in array.clone().zip(decayed) {
                    let along = if dynamics { decayed } else { raw[i] };
                    x[i] -= p[0] / s * own * along;
                    v[i] -= p[1] / s * own * decayed;
                    mean[i] = 0.9 * mean[i] + 0.1 * x[i];
                }
                most = most.max(g / s);
            }
            p = [p[0] - most * p[0] * p[0], p[1] - most * p[0] * p[1], p[2] - most * p[1] * p[1]];
            for (got, want) in w.iter().chain(&kafisto.filter().covariance).zip(x.iter().chain(&p)) {
                assert!((got - want).abs() <= 1e-12 * want.abs().max(1.0), "step {step}: {got} instead of {want}");
            }
        }
    }
}
