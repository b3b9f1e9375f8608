//! Bad input gets an error that says what, where and what to do, and changes nothing. Each is tested by its message.

#[path = "support/variants.rs"]
mod variants;

use osculate::nn::{Init, Mlp, cross_entropy};
use osculate::optim::{FirstOrder, Meka, MekaConfig, Minibatches, Optimizer, Status, first_order};
use osculate::store::Store;
use osculate::{Array, Batch, Device, Examples, Flat, Func, Request, Rng, Spec, label, spec};
use variants::{made, variants};

fn message<T>(result: Result<T, impl std::fmt::Display>) -> String {
    result.err().map(|e| e.to_string()).unwrap_or_else(|| panic!("no error"))
}

/// The line of this file that holds a text.
fn line_of(text: &str) -> usize {
    1 + include_str!("errors.rs").lines().position(|l| l.contains(text)).expect("the text")
}

#[test]
fn shape_mismatches_name_the_line() {
    let error = message(Func::trace(spec([3]), spec([4]), |_, w, x| {
        let fine = w.tanh();
        (fine * x).sum() // the product that does not fit
    }));
    let at = format!("tests/errors.rs:{}", line_of("// the product that does not"));
    assert_eq!(error, format!("multiply at {at}: shapes [3] and [4] do not broadcast: 3 against 4"));

    // The first of several is the one reported, through any operation.
    let trace = |f: for<'t> fn(&'t osculate::Tape, osculate::Expr<'t>, osculate::Expr<'t>) -> osculate::Expr<'t>| {
        message(Func::trace(spec([2, 3]), label(5), f))
    };
    type Case =
        (for<'t> fn(&'t osculate::Tape, osculate::Expr<'t>, osculate::Expr<'t>) -> osculate::Expr<'t>, &'static str);
    let cases: [Case; 16] = [
        (|_, w, _| w.dot(w), "the last axis of [2, 3] does not match the first of [2, 3]"),
        (|_, w, _| w.reshape([4]).sum(), "[2, 3] has 6 elements, [4] has 4"),
        (|_, w, _| w.slice(1, 2..5).sum(), "2..5 is not a range of axis 1 of [2, 3]"),
        (|_, w, _| w.at(3, 0).sum(), "[2, 3] has no axis 3"),
        (|_, w, _| w.sum_axes(&[0, 0]), "[0, 0] are not distinct axes of [2, 3]"),
        (|_, w, _| w.max_axes(&[2]), "[2] are not distinct axes of [2, 3]"),
        (|_, w, _| w.permute(&[0]).sum(), "[0] is not an order of the axes of [2, 3]"),
        (|_, w, y| (w + y).sum(), "numbers are wanted, not one label below 5: use one_hot, take or to_real"),
        (
            |_, w, y| w.take(y, 0).sum(),
            "one label below 5 reaches beyond axis 0 of [2, 3]: its bound must be at most 2",
        ),
        (|_, w, y| w.take(y, 2).sum(), "[2, 3] has no axis 2"),
        (|_, w, _| w.take(w, 0).sum(), "labels are wanted, not [2, 3]: declare the leaf with label or Spec::index"),
        (
            |_, w, y| w.take_along_axis(y, 0).sum(),
            "axis 0 of [2, 3] by one label below 5: both must have the axis, and as many axes",
        ),
        (|_, w, _| w.one_hot().sum(), "labels are wanted, not [2, 3]: declare the leaf with label or Spec::index"),
        (|t, w, _| t.concat(&[w, w.t()], 0).sum(), "[2, 3] and [3, 2] do not join along axis 0"),
        (|t, w, _| t.einsum("ii->i", &[w]).sum(), "axes 0 and 1 of [2, 3] have one name, but not one extent"),
        (|t, w, _| t.einsum("ij->k", &[w]).sum(), "a letter of the result stands in no operand"),
    ];
    for (f, want) in cases {
        let error = trace(f);
        assert!(error.contains(want) && error.contains("tests/errors.rs:"), "{error}");
    }
}

#[test]
fn gradients_of_vectors_say_what_to_do() {
    let f = Func::trace(spec([3]), spec([3]), |_, w, x| w * x).expect("a trace");
    assert_eq!(
        message(f.grad()),
        "grad: the result is [3], not a scalar: for the gradient of a mean over examples use mean(n), else vjp, jacrev, or dot_output"
    );
    assert!(message(f.vmap(0)).contains("a minibatch needs at least one example"));
    let wrong = Func::trace((spec([2]), label(3)), spec([]), |_, (w, _), _| w.sum());
    assert_eq!(
        message(wrong),
        "params.1: want reals (indices have no derivative: put them into the data), got one label below 3"
    );
}

#[test]
fn calls_are_checked() {
    let f = Func::trace(spec([2]), spec([]), |_, w, _| w.sum()).expect("a trace");
    let called = Func::trace(spec([3]), spec([]), |tape, w, x| f.call(tape, &w, &x));
    assert!(message(called).ends_with("params: want [2], got [3]"));
}

fn classifier() -> (Mlp<Spec>, Func<Mlp<Spec>, (Spec, Spec), Spec>) {
    let model = Mlp::new(&[4, 6, 3]);
    let loss =
        Func::trace(model.clone(), (spec([4]), label(3)), |_, p, (x, y)| cross_entropy(p.apply(x, |h| h.tanh()), y));
    (model, loss.expect("a trace"))
}

#[test]
fn wrong_arrays_are_named_by_their_path() {
    let (model, loss) = classifier();
    let params = Init::HeNormal.tree::<f32, _>(&model, &mut Rng::new(0)).expect("values");
    let x = Array::new([4], vec![0.0; 4]).expect("an array");
    let y = Array::index([], vec![1]).expect("an array");
    let mut program = loss.compile::<f32>(&Device::cpu()).expect("a program");
    let mut wrong = params.clone();
    wrong.layers[1].w = Array::full([3, 6], 0.0);
    assert_eq!(message(program.run(&wrong, &(x.clone(), y.clone()))), "params.layers.1.w: want [6, 3], got [3, 6]");
    assert_eq!(message(Flat::pack(&model, &wrong)), "params.layers.1.w: want [6, 3], got [3, 6]");
    assert_eq!(message(program.run(&params, &(y.clone(), x.clone()))), "data.0: want [4], got one label");
    let nine = Array::index([], vec![9]).expect("an array");
    assert_eq!(message(program.run(&params, &(x, nine))), "data.1: element 0 is 9, but indices here are below 3");
    assert_eq!(message(Array::new([2, 2], vec![1.0f32])), "array: want 4 values for shape [2, 2], got 1 values");
    let short = Mlp { layers: params.layers[..1].to_vec() };
    assert_eq!(message(Flat::pack(&model, &short)), "params: want 4 arrays, got 2 arrays");
}

#[test]
fn labels_out_of_range_are_found_when_the_data_are_loaded() {
    let x = Array::new([2, 4], vec![0.0f32; 8]).expect("an array");
    let y = Array::index([2], vec![0, 3]).expect("an array");
    assert_eq!(
        message(Examples::new((spec([4]), label(3)), (x.clone(), y))),
        "data.1: element 1 is 3, but indices here are below 3"
    );
    let y = Array::index([2], vec![0, 2]).expect("an array");
    let examples = Examples::new((spec([4]), label(3)), (x, y)).expect("examples");
    assert_eq!(message(examples.gather(&[0, 2], &mut Batch::default())), "data: want rows below 2, got row 2");
    let none = Examples::<_, f32>::new(spec([4]), Array::new([0, 4], vec![]).expect("an array"));
    assert_eq!(message(none), "data: want at least one example, got none");
}

#[test]
fn one_example_has_no_variance() {
    let (model, loss) = classifier();
    let params = Init::HeNormal.tree::<f64, _>(&model, &mut Rng::new(0)).expect("values");
    let flat = Flat::pack(&model, &params).expect("a buffer");
    let x = Array::new([1, 4], vec![0.5; 4]).expect("an array");
    let batch = Examples::new((spec([4]), label(3)), (x, Array::index([1], vec![2]).expect("an array")))
        .and_then(|e| e.all())
        .expect("a batch");
    let mut program = loss.moments::<f64>(1, Request::gradient(), &Device::cpu()).expect("a program");
    let mut moments = program.moments();
    program.run(flat.values(), None, &batch, &mut moments).expect("a run");
    let want = "the variance of the gradient needs at least 2 examples, but the batch has 1";
    assert_eq!(message(moments.gradient_variance()), want);
    assert_eq!(message(moments.loss_variance()), want.replace("gradient", "loss"));
    assert_eq!(message(moments.hvp_variance()), "the moments of the Hv product were not requested");
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let mut theta = flat.values().to_vec();
    let mut meka = Meka::new(theta.len(), MekaConfig::default()).expect("options");
    assert!(message(meka.step(&mut theta, &mut oracles.on(&batch))).contains("needs at least 2 examples"));
    assert_eq!(theta, flat.values());
    let along = program.run(flat.values(), Some(flat.values()), &batch, &mut moments);
    assert!(
        message(along)
            .contains("a direction is given exactly when Hessian-vector products or inner products are requested")
    );
}

#[test]
fn a_nan_in_a_batch_changes_nothing() {
    let (model, loss) = classifier();
    let params = Init::HeNormal.tree::<f32, _>(&model, &mut Rng::new(0)).expect("values");
    let theta = Flat::pack(&model, &params).expect("a buffer").values().to_vec();
    let batch = |poison: f32| {
        let mut x = vec![0.25f32; 16];
        x[5] = poison;
        let x = Array::new([4, 4], x).expect("an array");
        let y = Array::index([4], vec![0, 1, 2, 0]).expect("an array");
        Examples::new((spec([4]), label(3)), (x, y)).and_then(|e| e.all()).expect("a batch")
    };
    for (name, of, set) in variants() {
        let mut oracles = Minibatches::new(&loss, &Device::cpu());
        let mut optimizer = made::<f32>(of, &set, theta.len());
        let mut now = theta.clone();
        optimizer.step(&mut now, &mut oracles.on(&batch(0.5)).of(&batch(0.5))).expect("a step");
        for poison in [f32::NAN, f32::INFINITY] {
            let (before, state) = (now.clone(), optimizer.save());
            let report =
                optimizer.step(&mut now, &mut oracles.on(&batch(poison)).of(&batch(poison))).expect("a report");
            assert_eq!(report.status, Status::NonFinite, "{name}");
            assert_eq!((&now, optimizer.save()), (&before, state), "{name}");
        }
        let report = optimizer.step(&mut now, &mut oracles.on(&batch(0.5)).of(&batch(0.5))).expect("a step");
        assert_eq!(report.status, Status::Stepped, "{name}");
        assert!(now.iter().all(|x| x.is_finite()));
    }
}

/// A finite loss whose gradient is not: before the first step, and after one.
#[test]
fn a_gradient_that_is_not_finite_changes_nothing() {
    let loss = Func::trace(spec([3]), spec([]), |_, w, x| {
        let square = w.square().sum();
        0.5 * square + ((1.0 + square) * x).sqrt()
    })
    .expect("a loss");
    let batch = |x: f32| {
        let x = Array::new([4], vec![1.0, 2.0, x, 3.0]).expect("an array");
        Examples::new(spec([]), x).and_then(|e| e.all()).expect("a batch")
    };
    for (name, of, set) in variants() {
        let mut oracles = Minibatches::new(&loss, &Device::cpu());
        let mut optimizer = made::<f32>(of, &set, 3);
        let mut now = vec![0.5f32, -0.25, 1.0];
        for round in 0..2 {
            let (before, state) = (now.clone(), optimizer.save());
            let report = optimizer.step(&mut now, &mut oracles.on(&batch(0.0)).of(&batch(0.0))).expect("a report");
            assert_eq!((report.status, report.loss.is_finite()), (Status::NonFinite, true), "{name}, {round}");
            assert_eq!((&now, optimizer.save()), (&before, state), "{name}, {round}");
            optimizer.step(&mut now, &mut oracles.on(&batch(0.5)).of(&batch(0.5))).expect("a step");
            assert!(now.iter().all(|x| x.is_finite()));
        }
    }
}

fn sgd(len: usize, rate: f64) -> osculate::optim::Result<FirstOrder<f32>> {
    FirstOrder::new(len, first_order::Config { rate, ..first_order::Config::sgd() })
}

#[test]
fn truncated_and_foreign_states_are_refused() {
    let folder = std::env::temp_dir().join(format!("osculate-errors-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("meka.safetensors");
    let meka = Meka::<f32>::new(5, MekaConfig::default()).expect("options");
    meka.save().save(&path).expect("a file");
    let bytes = std::fs::read(&path).expect("bytes");
    let show = path.display().to_string();

    std::fs::write(&path, &bytes[..bytes.len() - 7]).expect("a file");
    assert!(message(Store::load(&path, "osculate.meka")).starts_with(&format!("{show}: not a whole safetensors file")));
    std::fs::write(&path, &bytes[..3]).expect("a file");
    assert!(message(Store::load(&path, "osculate.meka")).contains("not a whole safetensors file"));
    std::fs::write(&path, b"").expect("a file");
    assert!(message(Store::load(&path, "osculate.meka")).contains("not a whole safetensors file"));
    std::fs::write(&path, &bytes).expect("a file");
    assert_eq!(
        message(Store::load(&path, "osculate.first_order")),
        format!("{show}: it holds \"osculate.meka\", wanted \"osculate.first_order\"")
    );
    let missing = folder.join("none.safetensors");
    assert!(message(Store::load(&missing, "osculate.meka")).contains("No such file"));

    let state = Store::load(&path, "osculate.meka").expect("a state");
    let mut sgd = FirstOrder::<f32>::new(5, first_order::Config::sgd()).expect("options");
    assert_eq!(message(sgd.load(&state)), "this is \"osculate.meka\", wanted \"osculate.first_order\"");
    let mut other = Meka::<f32>::new(6, MekaConfig::default()).expect("options");
    let before = other.save();
    assert_eq!(message(other.load(&state)), "\"mean\" is 5 × F32, wanted 6 × F32");
    let mut double = Meka::<f64>::new(5, MekaConfig::default()).expect("options");
    assert_eq!(message(double.load(&state)), "\"mean\" is 5 × F32, wanted 5 × F64");
    assert_eq!(other.save(), before);
    // A save that cannot be finished leaves the old file and no other.
    let blocked = folder.join("meka.safetensors").join("below a file");
    assert!(message(meka.save().save(blocked)).contains("Not a directory"));
    assert_eq!(std::fs::read(&path).expect("bytes"), bytes);
    assert_eq!(std::fs::read_dir(&folder).expect("a folder").count(), 1);
    std::fs::remove_dir_all(&folder).ok();
}

#[test]
fn options_out_of_range_are_refused() {
    let with = |change: fn(&mut MekaConfig)| {
        let mut config = MekaConfig::default();
        change(&mut config);
        message(Meka::<f32>::new(3, config))
    };
    assert_eq!(with(|c| c.gradient_decay = 1.0), "gradient-decay = 1: a number in [0, 1) is wanted");
    assert_eq!(with(|c| c.scale = -1.0), "scale = -1: a positive number is wanted");
    assert_eq!(message(sgd(3, f64::NAN)), "rate = NaN: a positive number is wanted");
    let mut oracles = {
        let loss = Func::trace(spec([2]), spec([]), |_, w, x| (w * x).sum()).expect("a trace");
        Minibatches::<_, f32>::new(&loss, &Device::cpu())
    };
    let batch =
        Examples::new(spec([]), Array::new([2], vec![1.0f32, 2.0]).expect("x")).and_then(|e| e.all()).expect("b");
    let error = message(sgd(3, 0.1).expect("options").step(&mut [0.0; 2], &mut oracles.on(&batch)));
    assert_eq!(error, "the optimizer wants 3 parameters, but was given 2");
    let error = message(sgd(3, 0.1).expect("options").step(&mut [0.0; 3], &mut oracles.on(&batch)));
    assert_eq!(error, "params: want 2 reals, got 3 reals");
}
