//! Corners that once went wrong: each with the input that showed it.

mod support;

use osculate::nn::{Mlp, Norm, cross_entropy, squared_error};
use osculate::optim::meka::{Direction, Noise, StepRule};
use osculate::optim::{FirstOrder, Meka, MekaConfig, Minibatches, Optimizer, Oracle, by_name, first_order};
use osculate::{Array, Batch, Device, Examples, Flat, Func, Moments, Request, Rng, Spec, check, label, spec};
use support::*;

fn message<T>(result: Result<T, impl std::fmt::Display>) -> String {
    result.err().map(|e| e.to_string()).unwrap_or_else(|| panic!("no error"))
}

/// After the first bad shape nothing is known of the others: the located error survives whatever follows.
#[test]
fn an_error_survives_what_is_traced_after_it() {
    let error = message(Func::trace(spec([]), spec([3]), |_, w, x| {
        let p = x.pad(0, 1, 1);
        let bad = x.reshape([7]);
        (w + p).sum() + bad.sum() + (p + bad).slice(0, 5..9).at(3, 1).t().max()
    }));
    assert!(
        error.starts_with("reshape at tests/edges.rs:") && error.ends_with("[3] has 3 elements, [7] has 7"),
        "{error}"
    );
}

/// What is not picked does not matter, were it infinite.
#[test]
fn indices_pick_and_do_not_multiply() {
    let loss = Func::trace(spec([3]), label(3), |_, z, y| cross_entropy(z, y)).unwrap();
    let value = |z: [f64; 3], y: u32| {
        let (z, y) = (Array::new([3], z.to_vec()).unwrap(), Array::index([], vec![y]).unwrap());
        loss.compile::<f64>(&Device::cpu()).unwrap().run(&z, &y).unwrap().item().unwrap()
    };
    assert_eq!(value([f64::NEG_INFINITY, 0.0, 0.0], 1), 2f64.ln());
    assert_eq!(value([f64::NEG_INFINITY, 0.0, 0.0], 0), f64::INFINITY);
    let single = loss
        .compile::<f32>(&Device::cpu())
        .unwrap()
        .run(&Array::new([3], vec![3e38, -3e38, 0.0]).unwrap(), &Array::index([], vec![0]).unwrap());
    assert_eq!(single.unwrap().item(), Some(0.0));
    for device in [Device::cpu(), Device::reference()] {
        let take = Func::trace(spec([3, 2]), Spec::index([2], 3), |_, table, i| table.take(i, 0)).unwrap();
        let table = Array::new([3, 2], vec![f64::INFINITY, f64::NAN, 5.0, 6.0, 0.0, 1.0]).unwrap();
        let rows = take.compile::<f64>(&device).unwrap().run(&table, &Array::index([2], vec![1, 2]).unwrap()).unwrap();
        assert_eq!(rows.values(), [5.0, 6.0, 0.0, 1.0]);
    }
}

/// An optimizer sees one flat buffer, whatever tree the parameters are.
#[test]
fn tuples_of_parameters_train() {
    let loss =
        Func::trace((spec([2]), spec([])), (spec([2]), spec([])), |_, (w, b), (x, y)| squared_error(w.dot(x) + b, y));
    let x = Array::new([4, 2], vec![0.0, 1.0, 1.0, 0.0, 1.0, 1.0, -1.0, 0.5]).unwrap();
    let y = Array::new([4], vec![1.0, 2.0, 4.0, 0.0]).unwrap();
    let batch = Examples::new((spec([2]), spec([])), (x, y)).unwrap().all().unwrap();
    let loss = loss.unwrap();
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    for name in osculate::optim::names() {
        let mut theta = vec![0.0; 3];
        let mut optimizer = by_name::<f64>(name, 3).unwrap();
        let first = optimizer.step(&mut theta, &mut oracles.on(&batch).of(&batch)).unwrap();
        for _ in 0..20 {
            optimizer.step(&mut theta, &mut oracles.on(&batch).of(&batch)).unwrap();
        }
        assert!(oracles.on(&batch).loss(&theta).unwrap() < first.loss, "{name}");
    }
    // All the oracle's answers fit together.
    let mut oracle = oracles.on(&batch);
    let (at, v) = ([0.1, -0.2, 0.3], [1.0, 0.5, -1.0]);
    let (mut g, mut h) = (vec![0.0; 3], vec![0.0; 3]);
    let l = oracle.gradient(&at, &mut g).unwrap();
    oracle.hvp(&at, &v, &mut h).unwrap();
    let along = oracle.directional(&at, &v, 3).unwrap();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    for (got, want) in along.iter().zip([l, dot(&g, &v), dot(&h, &v), 0.0]) {
        assert!((got - want).abs() < 1e-14);
    }
    assert_eq!(oracle.loss(&at).unwrap(), l);
    assert_eq!(oracle.count(), 4);
}

#[test]
fn checks_accept_a_perfect_fit_and_refuse_other_trees() {
    let loss = Func::trace(spec([2]), (spec([2]), spec([])), |_, w, (x, y)| (w.dot(x) - y).square()).unwrap();
    let w = Array::new([2], vec![0.1, 0.3]).unwrap();
    let x = Array::new([2], vec![0.4, 0.2]).unwrap();
    let report = check::derivatives(&loss, &w, &(x.clone(), Array::scalar(0.1)), 3).unwrap();
    assert!(report.orders.iter().all(|o| o.error < 1e-6), "{report}");
    let wrong = Array::index([2], vec![0, 1]).unwrap();
    assert_eq!(
        message(check::derivatives(&loss, &wrong, &(x, Array::scalar(0.1)), 2)),
        "params: want [2], got labels [2]"
    );
    let list = Func::trace(vec![spec([])], Vec::<Spec>::new(), |_, w, _| w[0]).unwrap();
    let two = vec![Array::scalar(0.0); 2];
    assert_eq!(message(check::derivatives(&list, &two, &vec![], 1)), "params: want 1 arrays, got 2");
    // A wrong derivative is caught: stop hides one.
    let hidden = Func::trace(spec([]), spec([]), |_, w, _| w * w.stop_gradient()).unwrap();
    let error = message(check::derivatives(&hidden, &Array::scalar(2.0), &Array::scalar(0.0), 2));
    assert!(error.starts_with("derivative of order 1: "), "{error}");
}

#[test]
fn sizes_that_cannot_be() {
    let empty = Func::trace(Mlp::new(&[4, 0, 3]), spec([4]), |_, p, x| p.apply(x, |h| h.tanh()).sum());
    assert_eq!(
        message(empty),
        "params.layers.0.w: want extents of at least 1, and elements that can be counted, got [4, 0]"
    );
    assert!(
        message(FirstOrder::<f32>::new(0, first_order::Config::sgd())).contains("wants 1 parameters, but was given 0")
    );
    assert!(message(Meka::<f32>::new(0, MekaConfig::default())).contains("wants 1 parameters"));
    assert!(Array::<f64>::new([1 << 33, 1 << 31], vec![]).is_err());
    type Case = for<'t> fn(osculate::Expr<'t>) -> osculate::Expr<'t>;
    let cases: [Case; 5] = [
        |w| w.at(0, usize::MAX),
        |w| w.pad(0, usize::MAX, 1),
        |w| w.patches(&[osculate::Window::new(0, 1).pad(usize::MAX, 1)], 0.0),
        |w| w.split(0, usize::MAX)[0],
        |w| (0..40).fold(w, |w, _| w.reshape([&[1], &w.shape()[..]].concat())),
    ];
    for case in cases {
        assert!(message(Func::trace(spec([2]), spec([]), |_, w, _| case(w).sum())).contains("tests/edges.rs:"));
    }
    let odd = Func::trace(Norm::new(6), spec([6, 2, 2]), |_, p, x| p.group(x, 4).sum());
    assert!(message(odd).contains("6 channels of [6, 2, 2] do not split into 4 groups"));
    let wide = Func::trace(spec([2]), Spec { shape: [2].into(), kind: osculate::Kind::Wide }, |_, w, x| (w * x).sum());
    assert!(message(wide).contains("only results can be wide"));
    assert!(message(Flat::<_, f64>::pack(&label(3), &Array::index([], vec![1]).unwrap())).contains("holds no indices"));
    let scalars = Examples::<_, f64>::new(spec([]), Array::scalar(1.0));
    assert_eq!(message(scalars), "data: want a leading axis that counts examples, got a scalar");
}

#[test]
fn ensembles_of_indices() {
    let f = trace(vec![], vec![Spec::index([2], 4), Spec::index([1], 4)], |tape, _, d| {
        vec![tape.concat(&[d[0], d[1]], 0).one_hot()]
    });
    let picked = f.vmap_where(2, |path| path == "data.0").unwrap();
    let rng = &mut Rng::new(0);
    let d = vec![array(&Spec::index([2, 2], 4), rng, (0.0, 1.0)), array(&Spec::index([1], 4), rng, (0.0, 1.0))];
    let all = run(&picked, &vec![], &d);
    for i in 0..2 {
        let one = run(&f, &vec![], &vec![row(&d[..1].to_vec(), &f.data()[..1], i).remove(0), d[1].clone()]);
        same(&row(&all, f.outputs(), i), &one, 0.0).unwrap();
    }
}

#[test]
fn the_moments_of_nothing_are_neutral() {
    let loss = Func::trace(spec([]), spec([]), |_, w, x| 0.5 * (w - x).square()).unwrap();
    let batch = Examples::new(spec([]), Array::new([3], vec![1.0, 2.0, 6.0]).unwrap()).unwrap().all().unwrap();
    let mut program = loss.moments::<f64>(3, Request::gradient(), &Device::cpu()).unwrap();
    let mut moments = program.moments();
    program.run(&[0.0], None, &batch, &mut moments).unwrap();
    let mut merged = moments.clone();
    merged.merge(&Moments::empty(moments.layout().clone(), Request::gradient())).unwrap();
    merged.merge(&program.moments()).unwrap();
    assert_eq!(merged, moments);
    let mut empty = Moments::empty(moments.layout().clone(), Request::gradient());
    program.run(&[0.0], None, &batch, &mut empty).unwrap();
    assert_eq!(empty, moments);
    let mut other = Moments::<f64>::empty(moments.layout().clone(), Request::gradient().and_hvp());
    assert!(message(program.run(&[0.0], None, &batch, &mut other)).contains("requested differently"));
}

#[test]
fn options_and_states_of_meka() {
    let refused = |change: fn(&mut MekaConfig)| {
        let mut config = MekaConfig::default();
        change(&mut config);
        message(Meka::<f64>::new(3, config))
    };
    assert_eq!(
        refused(|c| c.direction = Direction::Adaptive { epsilon: -1.0 }),
        "epsilon = -1: a finite number that is not negative is wanted"
    );
    let noise = |c: &mut MekaConfig| c.noise = Some(Noise { loss: 1.0, gradient: -3.0, hvp: 0.0 });
    assert_eq!(refused(noise), "gradient-noise = -3: a finite number that is not negative, or none is wanted");
    let adaptive = by_name::<f64>("adameka", 3).unwrap().save();
    let mut fixed = by_name::<f64>("meka-fixed", 3).unwrap();
    let other = message(fixed.load(&adaptive));
    assert_eq!(other, "the state was saved under other options: direction was adaptive and is mean");
    let mut broken = fixed.save();
    broken.put("mean", &[0.0, f64::NAN, 0.0]);
    let broken = message(fixed.load(&broken));
    assert!(broken.contains("\"mean\"") && broken.contains("NaN"), "{broken}");

    // The probability is that of the step taken, scale and all.
    let loss = Func::trace(spec([]), spec([]), |_, w, x| 0.5 * (w - x).square()).unwrap();
    let batch = Examples::new(spec([]), Array::new([3], vec![1.0, 2.0, 6.0]).unwrap()).unwrap().all().unwrap();
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let step = |scale: f64, oracles: &mut Minibatches<Spec, f64>| {
        let mut w = [0.0];
        let config = MekaConfig { scale, step: StepRule::Improvement, ..MekaConfig::default() };
        Meka::new(1, config).unwrap().step(&mut w, &mut oracles.on(&batch)).unwrap().probability.unwrap()
    };
    let (near, far) = (step(1.0, &mut oracles), step(1e3, &mut oracles));
    assert!(near > 0.5 && far < 0.1, "{near} {far}");
    // AdaMEKA's denominators are at least ε: no step is longer than |m|/ε, and none is NaN.
    let flat = Func::trace(spec([2]), spec([]), |_, w, x| (w.slice(0, 0..1) * x).sum()).unwrap();
    let mut oracles = Minibatches::new(&flat, &Device::cpu());
    let mut adaptive = by_name::<f64>("adameka-fixed", 2).unwrap();
    let mut w = [0.0, 0.0];
    adaptive.step(&mut w, &mut oracles.on(&batch)).unwrap();
    assert!(w[0] < 0.0 && w[1] == 0.0, "{w:?}");
}

#[test]
fn a_lone_last_example_joins_the_minibatch_before() {
    use osculate::nn::Batches;
    for count in 1..40 {
        for size in 1..12 {
            let mut batches = Batches::new(count, size, 3);
            let mut seen = Vec::new();
            let sizes: Vec<usize> = (0..batches.per_epoch())
                .map(|_| {
                    let rows = batches.next_rows();
                    seen.extend_from_slice(rows);
                    rows.len()
                })
                .collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..count).collect::<Vec<_>>(), "{count} {size} {sizes:?}");
            assert!(size == 1 || count == 1 || sizes.iter().all(|&n| n > 1), "{count} {size} {sizes:?}");
            assert_eq!(batches.position().0, 0);
        }
    }
    let none: &[usize] = &[];
    assert_eq!(Batches::new(0, 4, 0).next_rows(), none);
    let batch = Batch::<f32>::default();
    assert_eq!(batch.count(), 0);
}

#[test]
fn extreme_coefficients_give_a_step_or_say_that_they_do_not() {
    use osculate::optim::improvement::{Coefficients, Outcome};
    let c = Coefficients { slope: 1.0, curvature: 1e160, v0: 1.0, v2: 1e-10, ..Coefficients::default() };
    let (step, outcome) = c.best_step();
    assert!(outcome == Outcome::Ok && (step * 1e160 - 1.0).abs() < 1e-12, "{step} {outcome:?}");
    for v in [1e-300, 1e300] {
        let c = Coefficients { slope: 1.0, curvature: -1.0, v0: v, v2: 1e-10, v4: 1e-300, ..Coefficients::default() };
        let (step, outcome) = c.best_step();
        assert!((step > 0.0 && step.is_finite()) == (outcome == Outcome::Ok), "{step} {outcome:?}");
    }
    assert_eq!(Coefficients { slope: -1.0, curvature: 1.0, ..Coefficients::default() }.mean_minimiser(), None);
}
