//! Optimizers against reference traces, against PyTorch's own, and the properties that their papers promise.

#[path = "support/finite_sum.rs"]
mod finite_sum;

use finite_sum::{examples, minibatch, numbers, problem, traces};
use osculate::optim::base::Base;
use osculate::optim::hypergradient::Hypergradient;
use osculate::optim::l4::L4;
use osculate::optim::polyak::Polyak;
use osculate::optim::{
    AdaHessian, Armijo, Asgd, FirstOrder, Igt, Kafisto, LrAdapt, Minibatches, Ogr, Optimizer, Rated, Report, Status,
    adahessian, armijo, asgd, first_order, igt, kafisto, lr_adapt, ogr, registry,
};
use osculate::{Array, Batch, Device, Examples, Func, Result, Signature, Spec, spec};
use serde_json::Value;

/// Runs an optimizer over the minibatches of the finite sum, as many as there are wanted numbers; `look` compares after each step.
fn replay<O: Optimizer<f64>, P: Signature>(
    loss: &Func<P, (Spec, Spec), Spec>,
    optimizer: &mut O,
    wanted: &Value,
    mut look: impl FnMut(usize, &O, Report, &[f64], &Value),
) {
    let file = traces();
    let examples = examples(&file).expect("examples");
    let mut theta = numbers(&file["problem"]["theta0"]);
    let (mut oracles, mut batch) = (Minibatches::new(loss, &Device::cpu()), Batch::default());
    for (t, want) in wanted.as_array().expect("steps").iter().enumerate() {
        minibatch(&examples, t, &mut batch);
        let report = optimizer.step(&mut theta, &mut oracles.on(&batch)).expect("a step");
        look(t, optimizer, report, &theta, want);
    }
}

fn near(what: &str, step: usize, got: &[f64], want: &Value) {
    let want = numbers(want);
    assert_eq!(got.len(), want.len(), "{what}");
    for (a, b) in got.iter().zip(want) {
        assert!((a - b).abs() <= 1e-9 * b.abs().max(1.0), "{what}, step {step}: {a} instead of {b}");
    }
}

#[test]
fn first_order_methods_are_pytorchs() {
    let file: Value = serde_json::from_str(include_str!("data/torch_optimizers.json")).expect("numbers");
    let loss = problem(0.3).expect("a loss");
    let of = first_order::Config::of;
    let decayed = |base, rate| first_order::Config { weight_decay: 0.05, ..of(base, rate) };
    for (name, config) in [
        ("sgd", of(Base::sgd(), 0.1)),
        ("sgd weight-decay", decayed(Base::sgd(), 0.1)),
        ("sgd clip", first_order::Config { clip: Some(0.5), ..of(Base::sgd(), 0.1) }),
        ("momentum", of(Base::momentum(), 0.01)),
        ("nesterov", of(Base::nesterov(), 0.01)),
        ("adam", of(Base::adam(), 1e-3)),
        ("adam weight-decay", decayed(Base::adam(), 0.1)),
        ("adamw", first_order::Config::adamw()),
        ("adagrad", of(Base::adagrad(), 0.01)),
        ("rmsprop", of(Base::rmsprop(), 0.01)),
        ("adadelta", of(Base::adadelta(), 1.0)),
    ] {
        let mut optimizer = FirstOrder::new(3, config).expect("options");
        replay(&loss, &mut optimizer, &file[name], |t, _, report, theta, want| {
            assert_eq!(report.status, Status::Stepped);
            near(name, t, theta, want);
        });
    }
}

/// PyTorch's formulas written out in numpy, of what there are no traces of PyTorch itself.
#[test]
fn other_forms_are_pytorchs_too() {
    let file: Value = serde_json::from_str(include_str!("data/torch_forms.json")).expect("numbers");
    let loss = problem(0.3).expect("a loss");
    let of = first_order::Config::of;
    let momentum = Base { momentum: 0.8, ..Base::rmsprop() };
    for (name, config) in [
        ("dampening", of(Base { dampening: 0.3, ..Base::momentum() }, 0.05)),
        ("amsgrad", of(Base { amsgrad: true, ..Base::adam() }, 0.1)),
        ("adam without epsilon", of(Base { epsilon: 0.0, ..Base::adam() }, 0.1)),
        ("nadam", of(Base::nadam(), 0.1)),
        ("rmsprop momentum", of(momentum, 0.02)),
        ("rmsprop centred", of(Base { centred: true, ..Base::rmsprop() }, 0.02)),
        ("rmsprop centred momentum", of(Base { centred: true, ..momentum }, 0.02)),
        ("rmsprop without epsilon", of(Base { epsilon: 0.0, ..Base::rmsprop() }, 0.02)),
        ("adagrad initial", of(Base { initial: 0.5, ..Base::adagrad() }, 0.3)),
        ("adagrad without epsilon", of(Base { epsilon: 0.0, ..Base::adagrad() }, 0.3)),
    ] {
        let mut optimizer = FirstOrder::new(3, config).expect("options");
        replay(&loss, &mut optimizer, &file[name], |t, _, report, theta, want| {
            assert_eq!(report.status, Status::Stepped);
            near(name, t, theta, want);
        });
    }
}

/// Without ε, a coordinate that never had a gradient stays: PyTorch divides 0 by 0 there.
#[test]
fn nothing_is_divided_by_nothing() {
    let loss = Func::trace(spec([2]), spec([]), |_, w, x| 0.5 * x * w.at(0, 0).square()).expect("a loss");
    let batch = parabola(0.0, 0.0, 0.0).1;
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    for base in [Base::adam(), Base::nadam(), Base::adagrad(), Base::rmsprop(), Base::adadelta()] {
        for centred in [false, true] {
            let base = Base { epsilon: 0.0, centred, amsgrad: centred, ..base };
            let mut optimizer = FirstOrder::new(2, first_order::Config::of(base, 0.01)).expect("options");
            let mut w = [1.0, -0.5];
            for step in 0..30 {
                let report = optimizer.step(&mut w, &mut oracles.on(&batch)).expect("a step");
                let told = format!("{base:?}, step {step}: {w:?}, {report:?}");
                assert!(report.status == Status::Stepped && w[0].is_finite() && w[1] == -0.5, "{told}");
            }
        }
    }
}

/// The finite sum with its parameters in two arrays.
fn blocks() -> Result<Func<(Spec, Spec), (Spec, Spec), Spec>> {
    Func::trace((spec([1]), spec([2])), (spec([3]), spec([3, 3])), |tape, (first, rest), (xi, a)| {
        let theta = tape.concat(&[first, rest], 0);
        let gap = theta - xi;
        0.5 * gap.dot(a.dot(gap)) + 0.3 / 12.0 * theta.powi(4).sum()
    })
}

#[test]
fn kafisto_follows_its_traces() {
    let file = traces();
    let vanilla = kafisto::Config { position_noise: 0.1, ..kafisto::Config::vanilla() };
    let dynamics = kafisto::Config::dynamics();
    for (name, config) in [
        ("kafisto_vanilla_global", vanilla),
        ("kafisto_vanilla_layer", kafisto::Config { by_layer: true, ..vanilla }),
        ("kafisto_dyn_global", dynamics),
        ("kafisto_dyn_constQ", kafisto::Config { adaptive_position_noise: false, ..dynamics }),
    ] {
        let mut optimizer = Kafisto::new(3, config).expect("options");
        replay(&blocks().expect("a loss"), &mut optimizer, &file[name], |t, kafisto, report, theta, want| {
            let f = kafisto.filter();
            assert_eq!(report.status, Status::Stepped);
            near(name, t, theta, &want["theta_next"]);
            near(name, t, &[f.loss_noise], &want["R"]);
            let largest = numbers(&want["S"]).into_iter().fold(0.0, f64::max);
            near(name, t, &[f.innovation], &largest.into());
            if config.dynamics {
                near(name, t, &[f.position_noise], &want["qx"]);
                near(name, t, &f.predicted, &want["pred"]);
                near(name, t, &f.covariance, &want["post"]);
                near(name, t, kafisto.momentum(), &want["p"]);
            } else {
                near(name, t, &f.predicted[..1], &want["P_pred"]);
                near(name, t, &f.covariance[..1], &want["P"]);
            }
        });
    }
}

/// One example whose loss is scalar: ½ a w² + b w + c.
fn parabola(a: f64, b: f64, c: f64) -> (Func<Spec, Spec, Spec>, Batch<f64>) {
    let loss = Func::trace(spec([]), spec([]), move |_, w, x| (0.5 * a * w * w + b * w + c) * x).expect("a loss");
    let data = Examples::new(spec([]), Array::new([1], vec![1.0]).expect("an array")).expect("examples");
    (loss, data.all().expect("a batch"))
}

#[test]
fn kafisto_of_one_parameter_is_the_kalman_filter_of_two_by_two() {
    let (loss, batch) = parabola(1.3, -0.7, 2.0);
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let config = kafisto::Config {
        adaptive_position_noise: false,
        adaptive_loss_noise: false,
        loss_noise: 0.8,
        ..kafisto::Config::dynamics()
    };
    let mut kafisto = Kafisto::new(1, config).expect("options");
    let mut w = [1.5];
    // State (x, p), its covariance, and the extended filter's matrices, written out.
    let (mut x, mut p, mut c) = (1.5, 0.0, [[0.1, 0.0], [0.0, 0.1]]);
    for step in 0..30 {
        kafisto.step(&mut w, &mut oracles.on(&batch)).expect("a step");
        let f = [[1.0, 1.0], [0.0, 0.9]];
        (x, p) = (x + p, 0.9 * p);
        let product = |a: [[f64; 2]; 2], b: [[f64; 2]; 2]| {
            std::array::from_fn(|i| std::array::from_fn(|j| a[i][0] * b[0][j] + a[i][1] * b[1][j]))
        };
        let transposed = [[f[0][0], f[1][0]], [f[0][1], f[1][1]]];
        let mut predicted: [[f64; 2]; 2] = product(product(f, c), transposed);
        predicted[0][0] += 0.01;
        predicted[1][1] += 0.01;
        let (value, slope) = (0.65 * x * x - 0.7 * x + 2.0, 1.3 * x - 0.7);
        let s = slope * slope * predicted[0][0] + 0.8;
        let gain = [predicted[0][0] * slope / s, predicted[1][0] * slope / s];
        (x, p) = (x - gain[0] * value, p - gain[1] * value);
        let keep = [[1.0 - gain[0] * slope, 0.0], [-gain[1] * slope, 1.0]];
        c = product(keep, predicted);
        let [sx, sc, sp] = kafisto.filter().covariance;
        for (got, want) in [(w[0], x), (kafisto.momentum()[0], p), (sx, c[0][0]), (sc, c[0][1]), (sp, c[1][1])] {
            assert!((got - want).abs() <= 1e-12 * want.abs().max(1.0), "step {step}: {got} instead of {want}");
        }
        assert!(sx > 0.0 && sx * sp >= sc * sc, "the covariance is one");
    }
}

#[test]
fn kafisto_tends_to_its_limit_and_to_polyaks_step() {
    // A loss of constant gradient 2: P̂ → (Q + √(Q² + 4QR/G))/2, Eq. 32.
    let (loss, batch) = parabola(0.0, 2.0, 1e9);
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let vanilla = kafisto::Config { adaptive_loss_noise: false, ..kafisto::Config::vanilla() };
    let config = kafisto::Config { position_noise: 0.3, loss_noise: 1.7, rate: 1e-9, ..vanilla };
    let mut kafisto = Kafisto::new(1, config).expect("options");
    for _ in 0..200 {
        kafisto.step(&mut [0.0], &mut oracles.on(&batch)).expect("a step");
    }
    let limit = (0.3 + (0.09f64 + 4.0 * 0.3 * 1.7 / 4.0).sqrt()) / 2.0;
    assert!((kafisto.filter().predicted[0] - limit).abs() < 1e-12 * limit);
    // Next to no noise: x − (L − L_min)/G ∇L.
    let (loss, batch) = parabola(1.0, 0.0, 0.0);
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let config = kafisto::Config { loss_noise: 1e-12, ..vanilla };
    let mut w = [4.0];
    Kafisto::new(1, config).expect("options").step(&mut w, &mut oracles.on(&batch)).expect("a step");
    assert!((w[0] - 2.0).abs() < 1e-9, "{w:?}");
}

#[test]
fn kafisto_multipliers_are_targets_and_lonely_arrays_are_the_whole() {
    let (loss, batch) = parabola(1.0, 0.3, 1.0);
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let fixed = kafisto::Config { adaptive_loss_noise: false, ..kafisto::Config::dynamics() };
    let mut one_step = |config: kafisto::Config| {
        let mut w = [1.5];
        Kafisto::new(1, config).expect("options").step(&mut w, &mut oracles.on(&batch)).expect("a step");
        w[0]
    };
    // η = 0.3 is L_min = 0.7 L, and so is a target 0.3 L below.
    let value = 0.5 * 1.5 * 1.5 + 0.3 * 1.5 + 1.0;
    let scaled = one_step(kafisto::Config { rate: 0.3, ..fixed });
    for config in
        [kafisto::Config { least_loss: 0.7 * value, ..fixed }, kafisto::Config { below: Some(0.3 * value), ..fixed }]
    {
        assert!((one_step(config) - scaled).abs() < 1e-12);
    }
    assert_eq!(one_step(kafisto::Config { by_layer: true, ..fixed }), one_step(fixed));
    // Below its target, the loss is stepped up to it, or left where it is.
    assert!(one_step(kafisto::Config { least_loss: 5.0, ..fixed }) > 1.5);
    assert_eq!(one_step(kafisto::Config { least_loss: 5.0, clamp: true, ..fixed }), 1.5);
}

#[test]
fn kafisto_stays_where_there_is_no_gradient() {
    let (loss, batch) = parabola(0.0, 0.0, 3.0);
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    for config in [kafisto::Config::vanilla(), kafisto::Config::dynamics()] {
        let (mut w, mut kafisto) = ([0.25], Kafisto::new(1, config).expect("options"));
        for _ in 0..5 {
            let report = kafisto.step(&mut w, &mut oracles.on(&batch)).expect("a step");
            assert_eq!((report.status, report.step, w), (Status::Stepped, 0.0, [0.25]));
            assert_eq!(kafisto.filter().covariance, kafisto.filter().predicted);
        }
    }
}

#[test]
fn lr_adapt_follows_its_traces() {
    let file = traces();
    let loss = problem(0.3).expect("a loss");
    for (name, base, optimum) in [
        ("lradapt_sgd", Base::sgd(), None),
        ("lradapt_momentum", Base::momentum(), None),
        ("lradapt_adam", Base::adam(), None),
        ("lradapt_adagrad", Base::adagrad(), None),
        ("lradapt_sgd_fstar", Base::sgd(), Some(0.0)),
    ] {
        let config = lr_adapt::Config { optimum, ..lr_adapt::Config::of(base) };
        let mut optimizer = LrAdapt::new(3, config).expect("options");
        replay(&loss, &mut optimizer, &file[name], |t, adapt, report, theta, want| {
            let trial = adapt.trial();
            for (got, key) in [
                (report.loss, "f"),
                (trial.phi, "phi"),
                (trial.after, "f_plus"),
                (trial.ratio, "rho"),
                (report.step, "eta_used"),
                (adapt.rate(), "eta_next"),
            ] {
                near(name, t, &[got], &want[key]);
            }
            near(name, t, theta, &want["theta_next"]);
        });
    }
}

#[test]
fn lr_adapt_on_a_parabola() {
    // ρ = 2 − ηh, so that η ends within 2/3 and 5/4 of 1/h: from 1e-5 in 55 steps if h = 3.
    let (loss, batch) = parabola(3.0, 0.0, 0.0);
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let mut adapt =
        LrAdapt::new(1, lr_adapt::Config { rate: 1e-5, ..lr_adapt::Config::of(Base::sgd()) }).expect("options");
    let mut steps = 0;
    loop {
        // Held, so that the loss stays in reach of its digits.
        let mut w = [1.0];
        let rate = adapt.rate();
        let report = adapt.step(&mut w, &mut oracles.on(&batch)).expect("a step");
        let ratio = report.ratio.expect("a ratio");
        assert!((ratio - (2.0 - 3.0 * rate)).abs() < 1e-9, "{ratio} at {rate}");
        if (2.0 / 3.0..=1.25).contains(&(3.0 * rate)) {
            assert_eq!(adapt.rate(), rate);
            break;
        }
        steps += 1;
    }
    assert_eq!(steps, 55);
}

#[test]
fn lr_adapt_steps_as_its_base_does() {
    // Without f* and R the step is the base's, bit for bit, whatever the rate becomes.
    let loss = problem(0.3).expect("a loss");
    let examples = examples(&traces()).expect("examples");
    for base in [Base::sgd(), Base::momentum(), Base::nesterov(), Base::adam(), Base::adagrad(), Base::rmsprop()] {
        let config = lr_adapt::Config::of(base);
        let mut adapt = LrAdapt::new(3, config).expect("options");
        let mut theta = vec![1.0, -2.0, 1.5];
        let (mut oracles, mut batch) = (Minibatches::new(&loss, &Device::cpu()), Batch::default());
        // The same gradients: both see the parameters before the step; only the first step has the first rate.
        minibatch(&examples, 0, &mut batch);
        let mut plain = theta.clone();
        let first = first_order::Config::of(config.base, config.rate);
        let mut other = FirstOrder::new(3, first).expect("options");
        adapt.step(&mut theta, &mut oracles.on(&batch)).expect("a step");
        other.step(&mut plain, &mut oracles.on(&batch)).expect("a step");
        assert_eq!(theta, plain);
    }
}

#[test]
fn lr_adapt_takes_back_what_is_not_finite_and_minds_ascent() {
    // √w: a step of 2 from 1 ends below 0.
    let loss = Func::trace(spec([]), spec([]), |_, w, x| w.sqrt() * x).expect("a loss");
    let batch = parabola(1.0, 0.0, 0.0).1;
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let config = lr_adapt::Config { rate: 4.0, ..lr_adapt::Config::of(Base::sgd()) };
    let (mut w, mut adapt) = ([1.0], LrAdapt::new(1, config).expect("options"));
    let report = adapt.step(&mut w, &mut oracles.on(&batch)).expect("a step");
    assert_eq!((report.status, w, adapt.rate()), (Status::Rejected, [1.0], 2.0));
    // Momentum that points uphill: after a long step over the minimum, g·v < 0.
    let (loss, batch) = parabola(1.0, 0.0, 0.0);
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let base = Base { momentum: 0.9, ..Base::momentum() };
    for optimum in [None, Some(0.0)] {
        let config = lr_adapt::Config { base, rate: 1.5, optimum, ..lr_adapt::Config::of(base) };
        let mut adapt = LrAdapt::new(1, config).expect("options");
        adapt.step(&mut [1.0], &mut oracles.on(&batch)).expect("a step");
        let (rate, mut w) = (adapt.rate(), [-0.5]);
        let report = adapt.step(&mut w, &mut oracles.on(&batch)).expect("a step");
        assert!(adapt.trial().phi < 0.0);
        match optimum {
            None => assert!(report.status == Status::Stepped && w[0] < -0.5 && adapt.rate() == rate / 2.0),
            Some(_) => assert!(report.status == Status::NoDescent && w == [-0.5] && adapt.rate() == rate),
        }
    }
    // No gradient at all.
    let (loss, batch) = parabola(0.0, 0.0, 1.0);
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let (mut w, mut adapt) = ([1.0], LrAdapt::new(1, lr_adapt::Config::of(Base::adam())).expect("options"));
    let report = adapt.step(&mut w, &mut oracles.on(&batch)).expect("a step");
    assert_eq!((report.status, w, adapt.rate()), (Status::Stepped, [1.0], 0.01));
}

#[test]
fn with_the_optimum_known_the_first_rate_does_not_matter() {
    let loss = problem(0.3).expect("a loss");
    let examples = examples(&traces()).expect("examples");
    let run = |rate: f64| {
        let config = lr_adapt::Config { rate, optimum: Some(0.0), ..lr_adapt::Config::of(Base::momentum()) };
        let mut adapt = LrAdapt::new(3, config).expect("options");
        let mut theta = vec![1.0, -2.0, 1.5];
        let (mut oracles, mut batch) = (Minibatches::new(&loss, &Device::cpu()), Batch::default());
        (0..30).for_each(|t| {
            minibatch(&examples, t, &mut batch);
            adapt.step(&mut theta, &mut oracles.on(&batch)).expect("a step");
        });
        theta
    };
    let want = run(1e-3);
    for rate in [1e-6, 0.1, 3.0] {
        for (a, b) in run(rate).iter().zip(&want) {
            assert!((a - b).abs() < 1e-6, "{rate}: {a} and {b}");
        }
    }
}

#[test]
fn ogr_follows_its_traces() {
    let file = traces();
    let loss = problem(0.3).expect("a loss");
    let settings = |config: ogr::Config| ogr::Config {
        decay: 0.8,
        momentum: 0.9,
        clip: 0.5,
        rate: 0.05,
        first_rate: 0.05,
        first_steps: 3,
        raw_warm_up: true,
        ..config
    };
    for (name, config) in [("ogr1d", ogr::Config::one()), ("ogr1dc_s_corrected", ogr::Config::centred())] {
        let mut optimizer = Ogr::new(3, settings(config)).expect("options");
        // Six steps of warm-up are not in the trace.
        let padded: Value = [vec![Value::Null; 6], file[name].as_array().expect("steps").clone()].concat().into();
        replay(&loss, &mut optimizer, &padded, |t, ogr, _, theta, want| {
            if !want.is_null() {
                near(name, t, &[ogr.curvature()], &want["lam"]);
                near(name, t, &[ogr.extremum()], &want["p"]);
                near(name, t, theta, &want["theta_abs"]);
            }
        });
    }
}

#[test]
fn asgd_follows_its_trace() {
    let file = traces();
    let loss = problem(0.3).expect("a loss");
    let config =
        asgd::Config { decay: 0.9, epsilon: 0.0, least_rate: 1e-300, most_rate: 1e300, ..asgd::Config::spread() };
    let mut optimizer = Asgd::new(3, config).expect("options");
    replay(&loss, &mut optimizer, &file["asgd"], |t, _, report, theta, want| {
        near("asgd", t, theta, &want["theta_next"]);
        let rates = numbers(&want["lr"]);
        near("asgd", t, &[report.step], &(rates.iter().sum::<f64>() / rates.len() as f64).into());
    });
}

#[test]
fn lines_are_exact_on_a_parabola() {
    // Gradients on a line: λ and p are exact as soon as there are two points, whatever moved the origin.
    let (loss, batch) = parabola(2.3, -1.1, 0.0);
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    for config in [ogr::Config::one(), ogr::Config::safe(), ogr::Config::centred()] {
        let config = ogr::Config { first_steps: 2, turn: 2, first_rate: 0.05, ..config };
        let (mut w, mut ogr) = ([3.0], Ogr::new(1, config).expect("options"));
        for step in 0..25 {
            let before = w[0];
            let report = ogr.step(&mut w, &mut oracles.on(&batch)).expect("a step");
            assert_eq!(report.status, Status::Stepped, "step {step}");
            if step >= 4 {
                assert!((ogr.curvature() - 2.3).abs() < 1e-7, "step {step}: {}", ogr.curvature());
                let to = 1.1 / 2.3;
                let want = before + 0.5 * (to - before).clamp(-0.1, 0.1);
                assert!((w[0] - want).abs() < 1e-7, "step {step}: {} instead of {want}", w[0]);
            }
        }
    }
}

#[test]
fn lines_that_say_nothing() {
    // No curvature: α ε against the slope. A maximum: away from it, or a gradient step.
    let step_of = |a: f64, negative: usize| {
        let (loss, batch) = parabola(a, 0.7, 0.0);
        let mut oracles = Minibatches::new(&loss, &Device::cpu());
        let config = ogr::Config { first_steps: 1, first_rate: 0.01, negative, ..ogr::Config::centred() };
        let (mut w, mut ogr) = ([0.5], Ogr::new(1, config).expect("options"));
        for _ in 0..2 {
            ogr.step(&mut w, &mut oracles.on(&batch)).expect("a step");
        }
        let before = w[0];
        let report = ogr.step(&mut w, &mut oracles.on(&batch)).expect("a step");
        (report.status, w[0] - before, a * before + 0.7)
    };
    let (status, moved, _) = step_of(0.0, 0);
    assert!(status == Status::Fallback && (moved + 0.05).abs() < 1e-12, "{moved}");
    let (status, moved, slope) = step_of(-0.4, 0);
    assert!(status == Status::Stepped && (moved + 0.05 * slope.signum()).abs() < 1e-9, "{moved}");
    let (status, moved, slope) = step_of(-0.4, 1);
    assert!(status == Status::Stepped && (moved + 0.3 * slope).abs() < 1e-9, "{moved}");
}

#[test]
fn rates_of_asgd_collapse_and_grow_about_the_critical_trust() {
    // Pure noise: below √((1 − β²)/β) rates decay to nothing, well above they grow.
    let loss = Func::trace(spec([1]), spec([]), |_, w, x| w.at(0, 0) * x).expect("a loss");
    let noise = {
        let mut rng = osculate::Rng::new(7);
        Array::from_fn([4000], |_| rng.normal())
    };
    let data = Examples::new(spec([]), noise).expect("examples");
    let critical = ((1.0 - 0.81f64) / 0.9).sqrt();
    let last_rate = |trust: f64| {
        let config = asgd::Config { trust, decay: 0.9, least_rate: 1e-300, most_rate: 1e300, ..asgd::Config::spread() };
        let mut asgd = Asgd::new(1, config).expect("options");
        let (mut oracles, mut batch, mut w) = (Minibatches::new(&loss, &Device::cpu()), Batch::default(), [0.0]);
        let mut rate = 0.0;
        for at in 0..4000 {
            data.gather(&[at], &mut batch).expect("a row");
            let before = w[0];
            let report = asgd.step(&mut w, &mut oracles.on(&batch)).expect("a step");
            if report.status == Status::Stepped && w[0] != before {
                let slope = batch_slope(&batch);
                rate = (before - w[0]) / slope;
            }
        }
        rate
    };
    assert!(last_rate(0.5 * critical) < 1e-6);
    assert!(last_rate(2.0 * critical) > 10.0);
}

/// The one example of a minibatch.
fn batch_slope(batch: &Batch<f64>) -> f64 {
    let slope = Func::trace(spec([1]), spec([]), |_, _, x| x).expect("a function");
    let mut oracles = Minibatches::new(&slope, &Device::cpu());
    osculate::optim::Oracle::loss(&mut oracles.on(batch), &[0.0]).expect("a number")
}

#[test]
fn igt_has_its_published_iterates() {
    // H = diag(2, 1) from (1, 1) with η = 0.1.
    let loss = Func::trace(spec([2]), spec([]), |tape, w, x| {
        let h = tape.stack(&[tape.lit(2.0), tape.lit(1.0)]);
        0.5 * x * (h * w * w).sum()
    });
    let loss = loss.expect("a loss");
    let batch = parabola(0.0, 0.0, 0.0).1;
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let (mut w, mut igt) = ([1.0, 1.0], Igt::new(2, igt::Config::sgd()).expect("options"));
    for want in [[0.8, 0.9], [0.64, 0.81], [0.512, 0.729]] {
        igt.step(&mut w, &mut oracles.on(&batch)).expect("a step");
        assert!((w[0] - want[0]).abs() < 1e-15 && (w[1] - want[1]).abs() < 1e-15, "{w:?} instead of {want:?}");
    }
}

#[test]
fn l4_written_out() {
    let (loss, batch) = parabola(1.0, 0.0, 1.0);
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let (mut w, mut l4) = ([2.0], Rated::new(1, L4::momentum()).expect("options"));
    let (mut x, mut mean, mut least) = (2.0f64, 0.0, f64::INFINITY);
    for t in 1..=20 {
        l4.step(&mut w, &mut oracles.on(&batch)).expect("a step");
        let value = 0.5 * x * x + 1.0;
        least = if t == 1 { 0.75 * value } else { least }.min(value);
        mean = 0.9 * mean + 0.1 * x;
        let v = mean / (1.0 - 0.9f64.powi(t));
        x -= 0.15 * (value - 0.9 * least) / (v * v + 1e-12) * v;
        least *= 1.001;
        assert!((w[0] - x).abs() < 1e-10 * x.abs().max(1.0), "step {t}: {} instead of {x}", w[0]);
    }
    // A negative loss is not stepped on.
    let (loss, batch) = parabola(1.0, 0.0, -9.0);
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let report = Rated::new(1, L4::adam()).expect("options").step(&mut w, &mut oracles.on(&batch)).expect("a step");
    assert_eq!(report.status, Status::NoDescent);
}

#[test]
fn hypergradients_written_out() {
    let (loss, batch) = parabola(1.0, 0.0, 0.0);
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    for (base, beta) in [(Base::sgd(), 0.0), (Base::momentum(), 0.9)] {
        let rule = Hypergradient { growth: 0.01, base, ..Hypergradient::sgd() };
        let (mut w, mut descent) = ([2.0], Rated::new(1, rule).expect("options"));
        let (mut x, mut u, mut rate) = (2.0f64, 0.0, 0.1);
        for step in 0..20 {
            let report = descent.step(&mut w, &mut oracles.on(&batch)).expect("a step");
            rate += 0.01 * x * u;
            u = beta * u + x;
            x -= rate * u;
            assert!((report.step - rate).abs() < 1e-14 && (w[0] - x).abs() < 1e-14, "step {step}");
        }
    }
}

#[test]
fn polyak_steps_and_their_bounds() {
    let one = |rule: Polyak, a: f64, at: f64| {
        let (loss, batch) = parabola(a, 0.0, 0.0);
        let mut oracles = Minibatches::new(&loss, &Device::cpu());
        let mut w = [at];
        let report = Rated::new(1, rule).expect("options").step(&mut w, &mut oracles.on(&batch)).expect("a step");
        (report.status, report.step)
    };
    // L/‖g‖² = 1/(2a).
    let near = |got: (Status, f64), want: f64| {
        assert!(got.0 == Status::Stepped && (got.1 - want).abs() < 1e-4 * want, "{got:?}")
    };
    near(one(Polyak::sps_max(), 4.0, 1.0), 0.25);
    near(one(Polyak::sps_max(), 0.1, 1.0), 1.0);
    near(one(Polyak::sps(), 0.1, 1.0), 2f64.powf(0.01));
    near(one(Polyak::ali_g(), 10.0, 1.0), 0.05);
    near(one(Polyak::ali_g(), 1.0, 1.0), 0.1);
    assert_eq!(one(Polyak::sps(), 1.0, 0.0).0, Status::NoDescent);
}

#[test]
fn line_searches_meet_their_condition() {
    let (loss, batch) = parabola(100.0, 0.0, 0.0);
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let (mut w, mut armijo) = ([1.0], Armijo::new(1, armijo::Config::default()).expect("options"));
    for _ in 0..20 {
        let before = w[0];
        let report = armijo.step(&mut w, &mut oracles.on(&batch)).expect("a step");
        // f(θ − ηg) ≤ f − cη‖g‖² is ηh ≤ 2(1 − c); the rate before it was shortened last, or grew, did not do.
        assert!(report.status == Status::Stepped && 100.0 * report.step <= 1.8 + 1e-12);
        assert!(50.0 * w[0] * w[0] <= 50.0 * before * before);
    }
    // One trial is not enough for the first rate.
    let (mut w, config) = ([1.0], armijo::Config { trials: 1, ..armijo::Config::default() });
    let report = Armijo::new(1, config).expect("options").step(&mut w, &mut oracles.on(&batch)).expect("a step");
    assert_eq!((report.status, w), (Status::NoDescent, [1.0]));
}

#[test]
fn adahessian_of_a_diagonal_is_exact_whatever_the_signs() {
    // H = diag(8, ½, 2): |z ⊙ Hz| is the diagonal, so that the first step of rate 1 is Newton's.
    let loss = Func::trace(spec([3]), spec([]), |tape, w, x| {
        let h = tape.stack(&[tape.lit(8.0), tape.lit(0.5), tape.lit(2.0)]);
        0.5 * x * (h * w * w).sum()
    });
    let loss = loss.expect("a loss");
    let batch = parabola(0.0, 0.0, 0.0).1;
    for seed in 0..4 {
        for power in [1.0, 0.5] {
            let config = adahessian::Config { rate: 1.0, epsilon: 1e-300, power, seed, ..Default::default() };
            let (mut w, mut oracles) = ([1.0, -2.0, 3.0], Minibatches::new(&loss, &Device::cpu()));
            let mut optimizer = AdaHessian::new(3, config).expect("options");
            optimizer.step(&mut w, &mut oracles.on(&batch)).expect("a step");
            for ((w, start), h) in w.iter().zip([1.0, -2.0, 3.0f64]).zip([8.0, 0.5, 2.0f64]) {
                let want = start - h * start / h.powf(power);
                assert!((w - want).abs() < 1e-12, "{w} instead of {want}");
            }
        }
    }
}

#[test]
fn adahessian_averages_kernels() {
    // One kernel of 2×2 with the diagonal (1, 2, 3, 6): every coordinate is divided by 3.
    let loss = Func::trace(spec([1, 1, 2, 2]), spec([]), |tape, w, x| {
        let h = tape.stack(&[tape.lit(1.0), tape.lit(2.0), tape.lit(3.0), tape.lit(6.0)]);
        let w = w.flatten();
        0.5 * x * (h * w * w).sum()
    });
    let batch = parabola(0.0, 0.0, 0.0).1;
    let mut oracles = Minibatches::new(&loss.expect("a loss"), &Device::cpu());
    let config = adahessian::Config { rate: 1.0, epsilon: 1e-300, ..Default::default() };
    let (mut w, mut optimizer) = ([1.0; 4], AdaHessian::new(4, config).expect("options"));
    optimizer.step(&mut w, &mut oracles.on(&batch)).expect("a step");
    for (w, h) in w.iter().zip([1.0, 2.0, 3.0, 6.0]) {
        assert!((w - (1.0 - h / 3.0)).abs() < 1e-12, "{w}");
    }
}

/// What is averaged, as the authors' code has it: `[out, in, height, width]` over the last two axes, no other array.
#[test]
fn adahessian_averages_windows_of_kernels_alone() {
    let shapes = [vec![4], vec![2, 2], vec![1, 2, 2], vec![1, 2, 1, 2], vec![1, 1, 1, 2, 2]];
    let batch = parabola(0.0, 0.0, 0.0).1;
    let h = [1.0, 3.0, 2.0, 6.0];
    for shape in shapes {
        let rank = shape.len();
        let loss = Func::trace(spec(shape.as_slice()), spec([]), move |tape, w, x| {
            let h = tape.stack(&h.map(|h| tape.lit(h)));
            let w = w.flatten();
            0.5 * x * (h * w * w).sum()
        });
        for block in [adahessian::Config::NONE, adahessian::Config::SPATIAL] {
            let mut oracles = Minibatches::new(loss.as_ref().expect("a loss"), &Device::cpu());
            let config = adahessian::Config { rate: 1.0, epsilon: 0.0, block, ..Default::default() };
            let (mut w, mut optimizer) = ([1.0; 4], AdaHessian::new(4, config).expect("options"));
            optimizer.step(&mut w, &mut oracles.on(&batch)).expect("a step");
            let averaged = block == adahessian::Config::SPATIAL && rank == 4;
            // θ − g/h: kernels of two have means of 2 and 4.
            let want = if averaged { [1.0 - 0.5, 1.0 - 1.5, 1.0 - 0.5, 1.0 - 1.5] } else { [0.0; 4] };
            for (w, want) in w.iter().zip(want) {
                assert!((w - want).abs() < 1e-12, "rank {rank}, block {block}: {w} instead of {want}");
            }
        }
    }
}

#[test]
fn options_are_set_by_name() {
    for entry in registry::all::<f64>() {
        for (name, value) in entry.options() {
            // Every default can be set as it is printed.
            assert!(entry.make(3, &[(name.into(), value.clone())]).is_ok(), "{}: {name} = {value}", entry.name);
            let wrong = entry.make(3, &[(name.into(), "much".into())]).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(wrong.starts_with(&format!("option {name} = \"much\": ")), "{wrong}");
        }
        let unknown = entry.make(3, &[("speed".into(), "1".into())]).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(unknown.contains("there is no such option; there are"), "{unknown}");
        let names = entry.options().iter().map(|(name, _)| *name).collect::<std::collections::HashSet<_>>();
        assert_eq!(names.len(), entry.options().len(), "{}: names differ", entry.name);
    }
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    for (name, option, value) in [
        ("sgd", "weight-decay", "-1"),
        ("sgd-hd", "growth", "-1"),
        ("kafisto", "momentum-noise", "-0.1"),
        ("lradapt-sgd", "noise", "-1"),
        ("lradapt-sgd", "worse", "2"),
        ("ogr", "rate", "-1"),
        ("asgd", "epsilon", "-1"),
        ("sps", "epsilon", "-1"),
        ("sps", "growth", "0.5"),
        ("l4-adam", "aim", "2"),
        ("igt-tail", "tail", "0"),
        ("armijo", "shrink", "1"),
        ("adahessian", "power", "0"),
    ] {
        let refused = registry::with_options::<f64>(name, 3, &[(option.into(), value.into())]).err();
        let text = refused.map(|e| e.to_string()).unwrap_or_default();
        assert!(text.starts_with(&format!("{option} = {value}: ")), "{name}: {text}");
    }
}

#[test]
fn options_come_in_any_order() {
    let make = |set: &[(&str, &str)]| {
        let set: Vec<_> = set.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
        let refused = registry::with_options::<f64>("meka", 3, &set).err().map(|e| e.to_string());
        refused.unwrap_or_default()
    };
    assert_eq!(make(&[("rate", "0.5"), ("step", "fixed")]), "");
    assert_eq!(make(&[("rate", "0.5"), ("step", "quadratic"), ("step", "fixed")]), "");
    assert_eq!(make(&[("step", "fixed"), ("rate", "0.5"), ("rate", "0.25")]), "");
    let unused =
        "option rate = \"0.5\": it has no meaning beside the other options: with step = fixed it has, not with";
    assert_eq!(make(&[("rate", "0.5")]), format!("{unused} improvement"));
    assert_eq!(make(&[("step", "fixed"), ("rate", "0.5"), ("step", "quadratic")]), format!("{unused} quadratic"));
    assert!(make(&[("rate", "much"), ("rate", "0.5"), ("step", "fixed")]).starts_with("option rate = \"much\""));
}

#[test]
fn options_beyond_the_type_are_refused() {
    let mut refused = 0;
    for entry in registry::all::<f32>() {
        for (option, _) in entry.options() {
            // It is infinite in f32; options that are no numbers say so themselves.
            let set = (option.to_string(), "1e39".to_string());
            let error = entry.make(3, &[set]).err().map(|e| e.to_string()).unwrap_or_default();
            let infinite = error.starts_with(&format!("{option} = {}: a number that the parameters", 1e39));
            let other = error.starts_with(&format!("option {option} = \"1e39\": "));
            assert!(infinite || other, "{}, {option}: {error:?}", entry.name);
            refused += usize::from(infinite);
        }
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn states_of_other_options_are_refused() {
    let set = [("rate".to_string(), "0.05".to_string())];
    for name in ["sgd", "adam", "lradapt-adam", "kafisto", "meka-fixed"] {
        let state = registry::by_name::<f64>(name, 3).expect("an optimizer").save();
        let mut other = registry::with_options::<f64>(name, 3, &set).expect("an optimizer");
        let refused = other.load(&state).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(refused.contains("saved under other options: rate was"), "{name}: {refused}");
    }
}
