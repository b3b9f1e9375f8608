//! Courses of learning rates: their own values, those of optax and PyTorch, and the losses that a plateau goes by.

use osculate::optim::{FirstOrder, Milestones, Minibatches, Optimizer, Schedule, first_order, registry};
use osculate::{Array, Device, Examples, Func, spec};

fn near(got: f64, want: f64) {
    assert!((got - want).abs() <= 1e-15 * want.abs().max(1.0), "{got} instead of {want}");
}

#[test]
fn courses() {
    let of = |course| Schedule { course, period: 10, drop: 0.5, least: 0.2, ..Schedule::default() };
    let at = |course, steps: [u64; 4]| steps.map(|step| of(course).factor(step));
    assert_eq!(at(Schedule::CONSTANT, [0, 9, 10, u64::MAX]), [1.0; 4]);
    assert_eq!(at(Schedule::STEP, [0, 9, 10, 39]), [1.0, 1.0, 0.5, 0.125]);
    assert_eq!(at(Schedule::LINEAR, [0, 5, 10, 99]), [1.0, 0.6, 0.2, 0.2]);
    assert_eq!(at(Schedule::INVERSE, [0, 10, 30, 90]), [1.0, 0.5, 0.25, 0.1]);
    for (got, want) in at(Schedule::COSINE, [0, 5, 10, 11]).into_iter().zip([1.0, 0.6, 0.2, 0.2]) {
        near(got, want);
    }
    // MultiStepLR: a milestone holds from its own step on.
    let milestones = Milestones::of(&[3, 5, 9]).expect("milestones");
    let drops = Schedule { milestones, ..of(Schedule::MILESTONES) };
    assert_eq!([0, 2, 3, 4, 5, 8, 9, 1000].map(|t| drops.factor(t)), [1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]);
}

/// `optax.warmup_cosine_decay_schedule(init_value=0.1, peak_value=1.0, warmup_steps=6, decay_steps=36, end_value=0.05)` of optax 0.2.8 in f64.
const OPTAX: [(u64, f64); 11] = [
    (0, 0.09999999999999998),
    (1, 0.25),
    (3, 0.55),
    (5, 0.8500000000000001),
    (6, 1.0),
    (7, 0.9973979002999298),
    (15, 0.8041979948389247),
    (21, 0.5250000000000001),
    (35, 0.05260209970007014),
    (36, 0.05),
    (40, 0.05),
];

#[test]
fn warm_ups_are_those_of_optax_and_pytorch() {
    // The course begins where the warm-up ends, so it has its full length and reaches the full rate.
    let cosine = Schedule {
        course: Schedule::COSINE,
        period: 30,
        least: 0.05,
        warm_up: 6,
        warm_up_from: 0.1,
        ..Schedule::default()
    };
    OPTAX.into_iter().for_each(|(step, want)| near(cosine.factor(step), want));
    // SequentialLR([LinearLR(start_factor=1/3, total_iters=4), MultiStepLR([2, 3], gamma=0.1)], milestones=[4]).
    let milestones = Milestones::of(&[2, 3]).expect("milestones");
    let sequential = Schedule {
        course: Schedule::MILESTONES,
        milestones,
        warm_up: 4,
        warm_up_from: 1.0 / 3.0,
        ..Schedule::default()
    };
    let want = [1.0 / 3.0, 0.5, 2.0 / 3.0, 5.0 / 6.0, 1.0, 1.0, 0.1, 0.01, 0.01];
    want.into_iter().enumerate().for_each(|(step, want)| near(sequential.factor(step as u64), want));
    // By default from 0 on, so that the first step stands still; a rate of 0.5 has half of the way at half of the time.
    let plain = Schedule { warm_up: 4, ..Schedule::default() };
    assert_eq!([0, 1, 2, 3, 4, 5].map(|step| plain.factor(step)), [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]);
}

#[test]
fn a_course_may_run_under_its_warm_up() {
    // (t + 1)/6 under a cosine that counts from the first step: a line from 1/6 over 5 steps.
    let within = Schedule {
        course: Schedule::COSINE,
        period: 30,
        warm_up: 5,
        warm_up_from: 1.0 / 6.0,
        warm_up_within: true,
        ..Schedule::default()
    };
    for t in 0..40u64 {
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * (t as f64 / 30.0).min(1.0)).cos());
        near(within.factor(t), cosine.min((t as f64 + 1.0) / 6.0));
    }
    // It never reaches the full rate then.
    assert!((0..40).all(|t| within.factor(t) < 0.95));
}

/// A loss whose value the data say, and whose gradient is 1: a step is the rate.
fn told(losses: &[f64]) -> Vec<f64> {
    let loss = Func::trace(spec([]), spec([]), |_, w, x| w - w.stop_gradient() + x).expect("a loss");
    let data = Examples::new(spec([]), Array::new([losses.len()], losses.to_vec()).expect("an array"));
    let data = data.expect("examples");
    let schedule = Schedule {
        course: Schedule::PLATEAU,
        period: 2,
        drop: 0.5,
        least: 0.2,
        patience: 1,
        threshold: 0.1,
        cooldown: 1,
        ..Schedule::default()
    };
    let mut sgd = FirstOrder::new(1, first_order::Config { rate: 1.0, schedule, ..first_order::Config::sgd() });
    let (mut oracles, mut w) = (Minibatches::new(&loss, &Device::cpu()), [0.0]);
    let mut rates = Vec::new();
    for at in 0..losses.len() {
        let mut batch = osculate::Batch::default();
        data.gather(&[at], &mut batch).expect("a row");
        let sgd = sgd.as_mut().expect("options");
        // A run may stop anywhere.
        let state = sgd.save();
        sgd.load(&state).expect("a state");
        rates.push(sgd.step(&mut w, &mut oracles.on(&batch)).expect("a step").step);
    }
    rates
}

#[test]
fn plateaus_are_reduce_on_plateau() {
    let rng = &mut osculate::Rng::new(4);
    let losses: Vec<f64> = (0..80).map(|t| (1.0 + 0.3 * rng.normal()) * (0.3 + (-0.05 * t as f64).exp())).collect();
    // torch.optim.lr_scheduler.ReduceLROnPlateau(factor=0.5, patience=1, threshold=0.1, cooldown=1, min_lr=0.2), of means of two.
    let (mut best, mut bad, mut resting, mut rate) = (f64::INFINITY, 0, 0, 1.0f64);
    let mut want = Vec::new();
    for pair in losses.chunks(2) {
        want.extend([rate; 2]);
        let metric = (pair[0] + pair[1]) / 2.0;
        if metric < best * (1.0 - 0.1) {
            (best, bad) = (metric, 0);
        } else {
            bad += 1;
        }
        if resting > 0 {
            (resting, bad) = (resting - 1, 0);
        }
        if bad > 1 {
            rate = (rate * 0.5).max(0.2);
            (resting, bad) = (1, 0);
        }
    }
    assert_eq!(told(&losses), want);
    assert!(want.contains(&0.5) && want.contains(&0.2), "{want:?}");
}

#[test]
fn courses_are_set_by_name() {
    let made = |set: &[(&str, &str)]| {
        let set: Vec<_> = set.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
        registry::with_options::<f64>("adam", 3, &set).err().map(|e| e.to_string()).unwrap_or_default()
    };
    assert_eq!(made(&[("milestones", "30,60,80"), ("schedule", "milestones"), ("drop", "0.2")]), "");
    assert_eq!(
        made(&[("warm-up-from", "0.1"), ("warm-up", "5"), ("warm-up-within", "true"), ("schedule", "cosine")]),
        ""
    );
    assert_eq!(
        made(&[("schedule", "milestones"), ("milestones", "30,20")]),
        "option milestones = \"30,20\": at most 16 whole numbers that grow are wanted, like 30,60,80"
    );
    assert_eq!(
        made(&[("period", "10")]),
        "option period = \"10\": it has no meaning beside the other options: with schedule = step it has, not with constant"
    );
    assert_eq!(
        made(&[("warm-up-from", "0.1")]),
        "option warm-up-from = \"0.1\": it has no meaning beside the other options: with warm-up = 1 it has, not with 0"
    );
    assert_eq!(made(&[("schedule", "cosine"), ("period", "0")]), "period = 0: a whole number above 0 is wanted");
}

/// A run of SGD on losses that the data say, under a plateau that drops after every look.
fn dropping(losses: &[f64], drop: f64, steps: usize) -> Vec<f64> {
    let loss = Func::trace(spec([]), spec([]), |_, w, x| w - w.stop_gradient() + x).expect("a loss");
    let data = Examples::new(spec([]), Array::new([losses.len()], losses.to_vec()).expect("an array"));
    let data = data.expect("examples");
    let schedule = Schedule { course: Schedule::PLATEAU, period: 2, drop, patience: 0, ..Schedule::default() };
    let config = first_order::Config { rate: 1.0, schedule, ..first_order::Config::sgd() };
    let mut sgd = FirstOrder::new(1, config).expect("options");
    let (mut oracles, mut w) = (Minibatches::new(&loss, &Device::cpu()), [0.0]);
    let mut batch = osculate::Batch::default();
    (0..steps)
        .map(|at| {
            data.gather(&[at % losses.len()], &mut batch).expect("a row");
            let step = sgd.step(&mut w, &mut oracles.on(&batch)).expect("a step").step;
            let state = sgd.save();
            sgd.load(&state).expect("a state");
            step
        })
        .collect()
}

#[test]
fn plateaus_stop_dropping_before_they_stand_still() {
    let rates = dropping(&[1.0, 1.0], 0.1, 2000);
    // The first look is the best there was, each after it a drop, until one would be smaller than 1e-8.
    assert_eq!(rates[..6], [1.0, 1.0, 1.0, 1.0, 0.1, 0.1]);
    assert!(rates.iter().all(|rate| *rate > 9e-9) && rates[1999] < 1.1e-8, "{}", rates[1999]);
    // A factor that grows stays a number.
    assert!(dropping(&[1.0, 1.0], 10.0, 1000).iter().all(|rate| rate.is_finite()));
}

#[test]
fn plateaus_of_huge_losses_are_saved() {
    let rates = dropping(&[1e308, 1e308, 1e308], 0.5, 12);
    assert_eq!(rates[..6], [1.0, 1.0, 1.0, 1.0, 0.5, 0.5]);
}

#[test]
fn a_plateau_has_no_course_to_run_under_a_warm_up() {
    let set = [("schedule", "plateau"), ("warm-up", "3")].map(|(name, text)| (name.to_string(), text.to_string()));
    for entry in registry::all::<f64>() {
        if let Ok(help) = entry.help_with(&set) {
            assert!(help.iter().all(|help| help.name != "warm-up-within"), "{}", entry.name);
        }
    }
}
