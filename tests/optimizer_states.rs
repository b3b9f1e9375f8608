//! States that nobody saved: whatever is done to an array of a state, either it is refused by its name and nothing is changed, or steps go on
//! well, and what is saved then loads.

#[path = "support/variants.rs"]
mod variants;

use osculate::optim::{Minibatches, Optimizer, Oracle, Report, Status, registry};
use osculate::store::Store;
use osculate::{Array, Batch, Device, Examples, Func, Real, Spec, spec};
use variants::{made, variants};

type Loss = Func<(Spec, Spec), Spec, Spec>;

fn loss() -> Loss {
    Func::trace((spec([2]), spec([1])), spec([2]), |_, (v, w), x| {
        0.5 * (v - x).square().sum() + 0.1 * w.at(0, 0).powi(4) + 0.2 * w.at(0, 0) * x.at(0, 0) + 3.0
    })
    .expect("a loss")
}

fn batch<T: Real>() -> Batch<T> {
    let rows = [1.0, 2.0, 3.0, -1.0, 0.5, 0.25, -0.75, 1.5].map(T::from_f64).to_vec();
    let x = Array::new([4, 2], rows).expect("an array");
    Examples::new(spec([2]), x).expect("examples").all().expect("a batch")
}

/// An array as its values, in the type in which it is.
fn values(store: &Store, name: &str, len: usize) -> (Vec<f64>, bool) {
    match store.get::<f64>(name, len) {
        Ok(values) => (values, true),
        Err(_) => (store.get::<f32>(name, len).expect("an array").iter().map(|x| f64::from(*x)).collect(), false),
    }
}

fn put(store: &mut Store, name: &str, values: &[f64], wide: bool) {
    match wide {
        true => store.put(name, values),
        false => store.put(name, &values.iter().map(|x| *x as f32).collect::<Vec<_>>()),
    }
}

/// A state without one of its arrays.
fn without(state: &Store, name: &str) -> Store {
    let mut rest = Store::new(state.what());
    for (other, shape) in state.names().filter(|(other, _)| *other != name) {
        let (values, wide) = values(state, other, shape.iter().product());
        put(&mut rest, other, &values, wide);
    }
    rest
}

/// What can be done to an array: its name, and all of a state.
fn mutants(state: &Store) -> Vec<(String, String, Store)> {
    let mut all = Vec::new();
    for (name, shape) in state.names() {
        let len: usize = shape.iter().product();
        let (given, wide) = values(state, name, len);
        let mut add = |what: String, values: &[f64]| {
            let mut mutant = state.clone();
            put(&mut mutant, name, values, wide);
            all.push((name.to_string(), what, mutant));
        };
        // Of options every change is one; else everything, everywhere and at one place.
        let option = name.starts_with("option.");
        for bad in [f64::NAN, -1000.0, f64::INFINITY, 1e300, 3e38, -3e38, 1e17, 0.0, 0.5, 1e-320] {
            if !option {
                add(format!("all {bad:e}"), &vec![bad; len]);
            }
            for at in [0, len / 2, len.saturating_sub(1)].into_iter().filter(|at| *at < len) {
                let mut one = given.clone();
                one[at] = bad;
                add(format!("{bad:e} at {at}"), &one);
            }
            if option && bad == -1000.0 {
                break;
            }
        }
        add("one more".into(), &[&given[..], &[0.0]].concat());
        add("one less".into(), &given[..len.saturating_sub(1)]);
        all.push((name.to_string(), "missing".into(), without(state, name)));
    }
    let mut extra = state.clone();
    extra.put("extra", &[1.0]);
    all.push(("extra".into(), "extra".into(), extra));
    all
}

fn every<T: Real>() {
    let (loss, batch) = (loss(), batch::<T>());
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let (mut refused, mut taken) = (0, 0);
    for (name, of, set) in &variants() {
        let mut optimizer = made::<T>(of, set, 3);
        let mut w = [1.0, -0.5, 0.75].map(T::from_f64);
        for _ in 0..12 {
            optimizer.step(&mut w, &mut oracles.on(&batch).of(&batch)).expect("a step");
        }
        let state = optimizer.save();
        let start = w;
        let (mut other, mut again) = (made::<T>(of, set, 3), made::<T>(of, set, 3));
        for (array, what, mutant) in mutants(&state) {
            let told = format!("{name} in {}: {array}, {what}", T::NAME);
            other.load(&state).expect("its own state");
            if let Err(error) = other.load(&mutant) {
                refused += 1;
                let short = array.strip_prefix("option.").unwrap_or(&array);
                assert!(error.to_string().contains(short), "{told}: {error}");
                assert_eq!(other.save(), state, "{told}");
                continue;
            }
            taken += 1;
            let mut w = start;
            for step in 0..4 {
                let (before, kept) = (w, other.save());
                let report = other.step(&mut w, &mut oracles.on(&batch).of(&batch)).expect("a step");
                assert!(w.iter().all(|x| x.is_finite()), "{told}, step {step}: {w:?}, {report:?}");
                assert!(!report.step.is_nan(), "{told}, step {step}: {report:?}");
                if report.status == Status::NonFinite {
                    assert!(before == w && other.save() == kept, "{told}, step {step}: changed by {report:?}");
                }
                let loaded = again.load(&other.save());
                assert!(loaded.is_ok(), "{told}, step {step}: {loaded:?} after {report:?}");
            }
        }
    }
    assert!(refused > 1000 && taken > 1000, "{refused} refused, {taken} taken");
}

#[test]
fn whatever_is_done_to_a_state() {
    every::<f64>();
}

#[test]
fn whatever_is_done_to_a_state_in_f32() {
    every::<f32>();
}

#[test]
fn a_negative_second_moment_is_refused_by_its_name() {
    let mut adam = registry::by_name::<f64>("adam", 2).expect("an optimizer");
    let mut state = adam.save();
    state.put("buffer.1", &[0.5, -1000.0]);
    let error = adam.load(&state).expect_err("a refusal").to_string();
    assert!(
        error
            .contains("element 1 of the state's \"buffer.1\" is -1000: a finite number that is not negative is wanted"),
        "{error}"
    );
}

fn with(name: &str, set: &[(&str, &str)]) -> Box<dyn Optimizer<f64>> {
    let set: Vec<_> = set.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
    registry::with_options(name, 3, &set).expect("an optimizer")
}

#[test]
fn a_run_goes_on_under_another_rate() {
    let (loss, batch) = (loss(), batch());
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let (mut adam, mut w) = (with("adam", &[]), [1.0, -0.5, 0.75]);
    for _ in 0..5 {
        adam.step(&mut w, &mut oracles.on(&batch)).expect("a step");
    }
    let state = adam.save();
    let options = [("rate", "0.01"), ("weight-decay", "0.1"), ("clip", "1"), ("schedule", "cosine"), ("period", "50")];
    let mut other = with("adam", &options);
    let refused = other.load(&state).expect_err("a refusal").to_string();
    assert!(refused.contains("rate was 0.001 and is 0.01; `resume` loads it nevertheless"), "{refused}");
    let changes: Vec<String> = other.resume(&state).expect("a state").iter().map(|c| c.to_string()).collect();
    assert_eq!(
        changes,
        [
            "rate was 0.001 and is 0.01",
            "schedule was constant and is cosine",
            "period was not in use and is 50",
            "least was not in use and is 0",
            "weight-decay was 0 and is 0.1",
            "decoupled was not in use and is false",
            "clip was none and is 1",
        ]
    );
    // The averages are the old ones, the rate is the new one, five steps into its course.
    let report = other.step(&mut w.clone(), &mut oracles.on(&batch)).expect("a step");
    assert_eq!(report.step, 0.01 * 0.5 * (1.0 + (std::f64::consts::PI * 0.1).cos()));
    assert_eq!(other.save().get::<f64>("steps", 1).expect("steps"), [6.0]);
    // The same options change nothing.
    assert_eq!(with("adam", &[]).resume(&state).expect("a state"), []);

    // What a state is made of does not change.
    for (name, set, why) in [
        ("adam", [("momentum", "0.8")], "momentum was 0.9 and is 0.8"),
        ("adam", [("rule", "rmsprop")], "rule was adam and is rmsprop"),
        ("adam", [("amsgrad", "true")], "amsgrad was false and is true"),
        // Read before the first step alone: another would do nothing.
        ("lradapt-sgd", [("rate", "0.5")], "rate was 0.01 and is 0.5"),
        ("sgd-hd", [("rate", "0.5")], "rate was 0.1 and is 0.5"),
        ("armijo", [("rate", "0.5")], "rate was 1 and is 0.5"),
    ] {
        let state = with(name, &[]).save();
        let refused = with(name, &set).resume(&state).expect_err("a refusal").to_string();
        assert!(refused.contains(why), "{name}: {refused}");
    }
}

#[test]
fn every_optimizer_resumes_under_what_it_may() {
    // All options of course, one after the other, of all that have them.
    let may = ["rate", "schedule", "warm-up", "weight-decay", "clip", "max-step", "scale"];
    // Those whose `rate` is η₀, which only the first step reads.
    let starts = [
        "lradapt-sgd",
        "lradapt-momentum",
        "lradapt-adam",
        "lradapt-adagrad",
        "lradapt-rmsprop",
        "sgd-hd",
        "adam-hd",
        "armijo",
    ];
    let (mut resumed, mut refused) = (0, Vec::new());
    for entry in registry::all::<f64>() {
        let state = entry.make(3, &[]).expect("an optimizer").save();
        for help in entry.help().into_iter().filter(|help| may.contains(&help.name)) {
            let text = match help.name {
                "schedule" => "inverse",
                "warm-up" => "7",
                _ => "0.625",
            };
            let mut other = entry.make(3, &[(help.name.into(), text.into())]).expect("an optimizer");
            assert!(other.load(&state).is_err(), "{}: {}", entry.name, help.name);
            match other.resume(&state) {
                Ok(changes) => {
                    resumed += 1;
                    assert_eq!(changes[0].option, help.name, "{}", entry.name);
                    assert_eq!(changes[0].now.as_deref(), Some(text), "{}", entry.name);
                }
                Err(error) => {
                    assert!(help.name == "rate", "{}: {}: {error}", entry.name, help.name);
                    refused.push(entry.name);
                }
            }
        }
    }
    refused.sort_unstable();
    let mut starts = starts.to_vec();
    starts.sort_unstable();
    assert_eq!(refused, starts);
    assert!(resumed > 80, "{resumed}");
}

#[test]
fn checkpoints_hold_a_run() {
    use osculate::optim::Checkpoint;
    let path = std::env::temp_dir().join(format!("osculate-checkpoint-{}.safetensors", std::process::id()));
    let (loss, batch) = (loss(), batch());
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let (mut adam, mut w) = (with("adam", &[]), [1.0, -0.5, 0.75]);
    adam.step(&mut w, &mut oracles.on(&batch)).expect("a step");
    let mut checkpoint = Checkpoint::of(&w, adam.as_ref(), (3, 64));
    checkpoint.store().put("best", &[0.25]);
    checkpoint.save(&path).expect("a file");

    let mut back = Checkpoint::open(&path).expect("a file");
    let (mut other, mut v) = (with("adam", &[]), [0.0; 3]);
    assert_eq!(back.restore(&mut v, other.as_mut()).expect("a run"), (3, 64));
    assert_eq!((v, other.save()), (w, adam.save()));
    assert_eq!(back.store().get::<f64>("best", 1).expect("a number"), [0.25]);
    // Another rate wants to be asked for, and nothing is changed without.
    let (mut slower, mut u) = (with("adam", &[("rate", "0.0001")]), [0.0; 3]);
    assert!(back.restore(&mut u, slower.as_mut()).is_err() && u == [0.0; 3]);
    let (position, changes) = back.resume(&mut u, slower.as_mut()).expect("a run");
    assert_eq!((position, u, changes.len()), ((3, 64), w, 1));
    assert!(back.restore(&mut [0.0; 2], other.as_mut()).is_err());
    std::fs::remove_file(&path).ok();
}

/// Two optimizers of a user's, with arrays of the same names, which do not look at what a state is called.
struct Own(&'static str, [f64; 3]);

impl Optimizer<f64> for Own {
    fn step(&mut self, _: &mut [f64], _: &mut dyn Oracle<f64>) -> osculate::optim::Result<Report> {
        Ok(Report::not_finite(f64::NAN))
    }

    fn save(&self) -> Store {
        let mut store = Store::new(self.0);
        store.put("mean", &self.1);
        store
    }

    fn load(&mut self, state: &Store) -> osculate::optim::Result<()> {
        self.1.copy_from_slice(&state.get::<f64>("mean", 3)?);
        Ok(())
    }
}

#[test]
fn checkpoints_are_of_one_kind_of_optimizer() {
    use osculate::optim::Checkpoint;
    let run = Checkpoint::of(&[1.0, 2.0, 3.0], &Own("one", [4.0, 5.0, 6.0]), (0, 0));
    let (mut other, mut w) = (Own("another", [0.0; 3]), [0.0; 3]);
    let refused = run.restore(&mut w, &mut other).expect_err("a refusal").to_string();
    assert_eq!(refused, "the run's optimizer is \"one\", not \"another\"");
    assert!(run.resume(&mut w, &mut other).is_err() && w == [0.0; 3] && other.1 == [0.0; 3]);
    let mut same = Own("one", [0.0; 3]);
    assert!(run.restore(&mut w, &mut same).is_ok() && w == [1.0, 2.0, 3.0] && same.1 == [4.0, 5.0, 6.0]);
    // Of those that come with the library, too, by their kinds, not by an array that one of them lacks.
    let run = Checkpoint::of(&[1.0; 3], with("kafisto", &[]).as_ref(), (0, 0));
    let refused = run.restore(&mut w, with("adam", &[]).as_mut()).expect_err("a refusal").to_string();
    assert_eq!(refused, "the run's optimizer is \"osculate.kafisto\", not \"osculate.first_order\"");
}

#[test]
fn checkpoints_hold_numbers_and_names_that_make_sense() {
    use osculate::nn::Batches;
    use osculate::optim::Checkpoint;
    let path = std::env::temp_dir().join(format!("osculate-checkpoint-names-{}.safetensors", std::process::id()));
    let (adam, mut w) = (with("adam", &[]), [0.0; 3]);
    for bad in [f64::NAN, f64::INFINITY] {
        let run = Checkpoint::of(&[1.0, bad, 3.0], adam.as_ref(), (0, 0));
        let refused = run.restore(&mut w, with("adam", &[]).as_mut()).expect_err("a refusal").to_string();
        assert!(refused.contains("element 1 of the run's \"params\"") && w == [0.0; 3], "{refused}");
    }
    for name in ["params", "position", "sampler", "optimizer.buffer.0", "optimizer-is.adam"] {
        let mut run = Checkpoint::of(&[1.0, 2.0, 3.0], adam.as_ref(), (3, 64));
        run.store().put(name, &[9.0, 9.0, 9.0]);
        let refused = run.save(&path).expect_err("a refusal").to_string();
        assert!(refused.contains(&format!("{name:?}")) && refused.contains("another name is wanted"), "{refused}");
        assert!(!path.exists());
        // Not even before it is saved.
        assert_eq!(run.restore(&mut w, with("adam", &[]).as_mut()).expect("a run"), (3, 64));
        assert_eq!(w, [1.0, 2.0, 3.0]);
    }
    // Seeds have more digits than f64.
    let (batches, seed) = (|size, seed| Batches::new(100, size, seed).source(), u64::MAX - 6);
    Checkpoint::of(&w, adam.as_ref(), (3, 64)).sampled(batches(16, seed)).save(&path).expect("a file");
    let back = Checkpoint::open(&path).expect("a file");
    back.must_sample(batches(16, seed)).expect("the same sampler");
    for (other, why) in [
        (batches(16, seed + 1), "sampler's seed is 18446744073709551609, not 18446744073709551610"),
        (batches(32, seed), "minibatch size is 16, not 32"),
        (Batches::new(99, 16, seed).source(), "number of examples is 100, not 99"),
    ] {
        let refused = back.must_sample(other).expect_err("a refusal").to_string();
        assert!(refused.contains(why), "{refused}");
    }
    std::fs::remove_file(&path).ok();
}

/// What averages and products come to after many steps, and where a run stands still, is a state that loads.
fn long<T: Real>() {
    // A parabola that small steps solve to the last digit, and one example's noise to be filtered.
    let loss = Func::trace(spec([3]), spec([3]), |_, w, x| 0.5 * (w - x).square().sum()).expect("a loss");
    let rows = [1.0, -0.5, 0.25, 1.5, 0.5, -0.25].map(T::from_f64).to_vec();
    let data = Examples::new(spec([3]), Array::new([2, 3], rows).expect("an array")).expect("examples");
    let batch = data.all().expect("a batch");
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let plateau = [("schedule", "plateau"), ("period", "1"), ("patience", "0"), ("threshold", "1")];
    let more = [
        ("nadam", vec![("momentum", "0")]),
        ("nadam", vec![("momentum", "0.8")]),
        ("sgd", plateau.to_vec()),
        ("momentum", [&plateau[..], &[("drop", "10"), ("rate", "1e-6")]].concat()),
        ("kafisto", plateau.to_vec()),
        ("sps", vec![("epoch", "1"), ("growth", "1")]),
    ];
    let more = more.into_iter().map(|(of, set)| {
        let set: Vec<_> = set.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
        (format!("{of} {set:?}"), of, set)
    });
    for (name, of, set) in variants().into_iter().chain(more) {
        let (mut optimizer, mut again) = (made::<T>(of, &set, 3), made::<T>(of, &set, 3));
        let mut w = [3.0, -2.0, 1.0].map(T::from_f64);
        for step in 1..=2000 {
            let report = optimizer.step(&mut w, &mut oracles.on(&batch).of(&batch)).expect("a step");
            assert!(w.iter().all(|x| x.is_finite()), "{name}, step {step}: {w:?}, {report:?}");
            if step % 50 == 0 || step < 4 {
                let state = optimizer.save();
                let loaded = again.load(&state);
                assert!(loaded.is_ok(), "{name} in {}, step {step}: {loaded:?}", T::NAME);
                assert_eq!(again.save(), state, "{name}, step {step}");
            }
        }
    }
}

/// Gradients that end: averages fade through the smallest numbers to 0.
fn fading<T: Real>() {
    let loss = Func::trace(spec([3]), spec([3]), |_, w, x| (w * x).sum() + 1.0).expect("a loss");
    let batch = |rows: [f64; 6]| -> Batch<T> {
        let x = Array::new([2, 3], rows.map(T::from_f64).to_vec()).expect("an array");
        Examples::new(spec([3]), x).expect("examples").all().expect("a batch")
    };
    let (some, none) = (batch([1.0, -0.5, 0.25, 0.5, -0.25, 0.75]), batch([0.0; 6]));
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let steps = 1500;
    // What fades faster is through in fewer steps.
    let faster = [("ogr", "momentum"), ("ogr-safe", "momentum"), ("ogr-centred", "momentum"), ("momentum", "momentum")];
    let faster = faster.into_iter().flat_map(|(of, option)| {
        ["0.5", "0.8"].map(|text| (format!("{of} {option} = {text}"), of, vec![(option.to_string(), text.to_string())]))
    });
    for (name, of, set) in variants().into_iter().chain(faster) {
        let (mut optimizer, mut again) = (made::<T>(of, &set, 3), made::<T>(of, &set, 3));
        let mut w = [3.0, -2.0, 1.0].map(T::from_f64);
        for step in 0..steps {
            let batch = if step < 20 { &some } else { &none };
            let report = optimizer.step(&mut w, &mut oracles.on(batch).of(batch)).expect("a step");
            assert!(w.iter().all(|x| x.is_finite()), "{name}, step {step}: {w:?}, {report:?}");
            if step % 10 == 0 {
                let loaded = again.load(&optimizer.save());
                assert!(loaded.is_ok(), "{name} in {}, step {step}: {loaded:?}", T::NAME);
            }
        }
    }
}

#[test]
fn states_of_faded_averages_load() {
    fading::<f64>();
}

#[test]
fn states_of_faded_averages_load_in_f32() {
    fading::<f32>();
}

#[test]
fn states_of_long_runs_load() {
    long::<f64>();
}

#[test]
fn states_of_long_runs_load_in_f32() {
    long::<f32>();
}
