//! Steps that would leave the type's numbers are refused, bit for bit, and sizes that nothing holds are errors.

#[path = "support/variants.rs"]
#[allow(dead_code)]
mod variants;

use osculate::optim::{Minibatches, Optimizer, Status, by_name, names, registry};
use osculate::{Array, Batch, Device, Examples, Func, Real, Spec, spec};
use variants::variants;

fn batch<T: Real>(x: &[f64]) -> Batch<T> {
    let x = Array::new([x.len()], x.iter().map(|&x| T::from_f64(x)).collect()).expect("an array");
    Examples::new(spec([]), x).expect("examples").all().expect("a batch")
}

/// A loss that stays finite wherever the parameters go.
fn bounded() -> Func<Spec, Spec, Spec> {
    Func::trace(spec([2]), spec([]), |_, w, x| (w.tanh().sum() * x + 3.0) + 0.1 * (w * x).cos().sum()).expect("a loss")
}

/// A loss with slopes.
fn slope(by: f64) -> Func<Spec, Spec, Spec> {
    Func::trace(spec([2]), spec([]), move |_, w, x| (w.at(0, 0) + 2.0 * w.at(0, 1)) * by * x + 1.0).expect("a loss")
}

/// Steps, and looks at each.
fn walk<T: Real>(
    told: &str,
    optimizer: &mut dyn Optimizer<T>,
    oracles: &mut Minibatches<Spec, T>,
    batch: &Batch<T>,
) -> usize {
    let mut refused = 0;
    for start in [[1.0, -0.5], [0.9, -0.9].map(|x| x * T::max_value().to_f64())] {
        let mut w = start.map(T::from_f64);
        for step in 0..4 {
            let (before, kept) = (w, optimizer.save());
            let report = optimizer.step(&mut w, &mut oracles.on(batch).of(batch)).expect("a step");
            assert!(w.iter().all(|x| x.is_finite()), "{told}, step {step}: {w:?} after {before:?}, {report:?}");
            if matches!(report.status, Status::NonFinite | Status::Rejected | Status::NoDescent) {
                let bits = |w: [T; 2]| w.map(|x| x.to_f64().to_bits());
                assert_eq!(bits(w), bits(before), "{told}, step {step}: {report:?}");
            }
            if report.status == Status::NonFinite {
                refused += 1;
                assert_eq!(optimizer.save(), kept, "{told}, step {step}: {report:?}");
            }
        }
    }
    refused
}

fn every<T: Real>(rates: &[&str]) {
    let batch = batch::<T>(&[0.5, -0.25, 1.0, 0.75]);
    let mut refused = 0;
    for loss in [bounded(), slope(1.0), slope(T::max_value().to_f64().sqrt()), slope(T::max_value().to_f64() / 8.0)] {
        let mut oracles = Minibatches::new(&loss, &Device::cpu());
        for (name, of, set) in &variants() {
            let entry = registry::all::<T>().into_iter().find(|entry| entry.name == *of).expect("an optimizer");
            let known: Vec<&str> = entry.help().iter().map(|help| help.name).collect();
            // Whatever makes steps long.
            for option in ["rate", "scale", "trust", "most-rate", "first-rate", "part", "clip", "weight-decay"] {
                let companion = if *of == "sps-max" || *of == "ali-g" { Some(("most", "none")) } else { None };
                for rate in rates.iter().filter(|_| known.contains(&option)) {
                    let mut set = set.clone();
                    let more = [Some((option, *rate)), companion].into_iter().flatten();
                    set.extend(more.map(|(name, text)| (name.to_string(), text.to_string())));
                    let Ok(mut optimizer) = entry.make(2, &set) else { continue };
                    let told = format!("{name} in {}, {option} = {rate}", T::NAME);
                    refused += walk(&told, optimizer.as_mut(), &mut oracles, &batch);
                }
            }
        }
    }
    assert!(refused > 200, "{refused}");
}

#[test]
fn steps_beyond_f32_are_refused() {
    every::<f32>(&["1e30", "1e38", "3e38"]);
}

#[test]
fn steps_beyond_f64_are_refused() {
    every::<f64>(&["1e200", "1e300", "1.7e308"]);
}

#[test]
fn rmsprop_beyond_f32() {
    let loss = Func::trace(spec([]), spec([]), |_, w, x| 0.5 * (w - x).square()).expect("a loss");
    let batch = batch::<f32>(&[1.0, 3.0]);
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let mut rmsprop = registry::with_options::<f32>("rmsprop", 1, &[("rate".into(), "1e38".into())]).expect("options");
    let (mut w, state) = ([0.0], rmsprop.save());
    let report = rmsprop.step(&mut w, &mut oracles.on(&batch)).expect("a step");
    assert_eq!((report.status, w, rmsprop.save()), (Status::NonFinite, [0.0], state));
}

/// What is large but fits is stepped, not refused.
#[test]
fn long_steps_that_fit_are_taken() {
    let loss = slope(1.0);
    let batch = batch::<f32>(&[1.0, 1.0]);
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    for (name, rate) in
        [("sgd", "1e37"), ("momentum", "1e37"), ("adam", "1e37"), ("rmsprop", "1e36"), ("adagrad", "1e37")]
    {
        let mut optimizer = registry::with_options::<f32>(name, 2, &[("rate".into(), rate.into())]).expect("options");
        let mut w = [0.0, 0.0];
        let report = optimizer.step(&mut w, &mut oracles.on(&batch)).expect("a step");
        assert!(report.status == Status::Stepped && w[0] < -5e36, "{name}: {w:?}, {report:?}");
    }
}

#[test]
fn too_many_parameters_are_an_error() {
    // KaFiStO without momentum keeps nothing of that size.
    for name in names().into_iter().filter(|name| *name != "kafisto-vanilla") {
        for len in [1 << 61, usize::MAX, 1 << 60] {
            let error = by_name::<f64>(name, len).err().map(|e| e.to_string()).unwrap_or_default();
            let bytes = len as u128 * 8;
            assert!(
                error.starts_with(&format!("{len} parameters want ")) && error.contains(" bytes"),
                "{name}: {error:?}"
            );
            assert!(error.contains(&bytes.to_string()) || name.starts_with("ogr-d"), "{name}: {error}");
        }
    }
}

/// A bound that is not a number is none: what it is of is tried, and taken back.
#[test]
fn factors_that_are_no_number_are_not_taken_for_small() {
    use osculate::optim::Kafisto;
    use osculate::optim::kafisto::Config;
    let loss = Func::trace(spec([]), spec([]), |_, w, x| 0.5 * (w - x).square()).expect("a loss");
    let batch = batch::<f64>(&[0.0]);
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    for variance in [5e307, 1e307, 1e300, 1e200] {
        for config in [Config::dynamics(), Config::vanilla(), Config { by_layer: true, ..Config::dynamics() }] {
            let config = Config { rate: 1e308, variance, ..config };
            let mut kafisto = Kafisto::new(1, config).expect("options");
            let mut w = [10.0];
            for step in 0..3 {
                let (before, kept) = (w, kafisto.save());
                let report = kafisto.step(&mut w, &mut oracles.on(&batch)).expect("a step");
                assert!(w[0].is_finite(), "{variance:e}, step {step}: {report:?}");
                if report.status == Status::NonFinite {
                    assert!(w == before && kafisto.save() == kept, "{variance:e}, step {step}");
                }
            }
        }
    }
    let config = Config { rate: 1e308, variance: 5e307, ..Config::dynamics() };
    let report = Kafisto::new(1, config).expect("options").step(&mut [10.0], &mut oracles.on(&batch));
    assert_eq!(report.expect("a step").status, Status::NonFinite);
}

/// Scalars that leave the type where what they multiply is 0: their product is no number, though a bound of it in f64 is 0.
#[test]
fn scalars_beyond_f32_do_not_meet_zeros() {
    let flat = Func::trace(spec([2]), spec([]), |_, w, x| 0.0 * w.sum() + x * w.at(0, 0) + 1.0).expect("a loss");
    let mut oracles = Minibatches::new(&flat, &Device::cpu());
    let batches = [batch::<f32>(&[0.0, 0.0]), batch(&[1e-30, 1e-30]), batch(&[0.5, 0.5])];
    // 1e40, which is none of f32, at the third step.
    let schedule = [("schedule", "step"), ("period", "1"), ("drop", "1e20")];
    let mut looked = 0;
    for (name, of, set) in &variants() {
        let entry = registry::all::<f32>().into_iter().find(|entry| entry.name == *of).expect("an optimizer");
        // What makes steps short all the same.
        let short: [&[(&str, &str)]; 4] =
            [&[], &[("epsilon", "1e30")], &[("clip", "1e-30")], &[("most-rate", "1e-30"), ("least-rate", "1e-32")]];
        for more in short {
            let mut set = set.clone();
            set.extend(schedule.iter().chain(more).map(|(name, text)| (name.to_string(), text.to_string())));
            let Ok(mut optimizer) = entry.make(2, &set) else { continue };
            for batch in &batches {
                let mut w = [1.0, -0.5];
                for step in 0..6 {
                    let before = w;
                    let report = optimizer.step(&mut w, &mut oracles.on(batch).of(batch)).expect("a step");
                    assert!(w.iter().all(|x| x.is_finite()), "{name} {more:?}, step {step}: {w:?}, {report:?}");
                    assert!(report.status != Status::NonFinite || w == before, "{name}, step {step}: {report:?}");
                    let saved = optimizer.save();
                    let loaded = entry.make(2, &set).expect("options").load(&saved);
                    assert!(loaded.is_ok(), "{name} {more:?}, step {step}: {loaded:?}");
                    looked += 1;
                }
            }
        }
    }
    assert!(looked > 500, "{looked}");
}
