//! Every optimizer where its method divides by nothing: no curvature, negative curvature, no noise, no gradient, huge and tiny scales,
//! one example.

#[path = "support/variants.rs"]
mod variants;

use osculate::optim::{Error, Minibatches, Oracle, Status, by_name, names, registry};
use osculate::{Array, Batch, Device, Examples, Func, Layout, Moments, Real, Request, Spec, spec};
use variants::{made, variants};

type Loss = Func<Spec, Spec, Spec>;
/// What it is called, its name, its options.
type Variant = (String, &'static str, Vec<(String, String)>);

fn noisy() -> Batch<f64> {
    batch(&[0.5, -0.5, 1.0, -1.0])
}

fn batch<T: Real>(x: &[f64]) -> Batch<T> {
    let x = Array::new([x.len()], x.iter().map(|&x| T::from_f64(x)).collect()).expect("an array");
    Examples::new(spec([]), x).expect("examples").all().expect("a batch")
}

fn loss(f: for<'t> fn(osculate::Expr<'t>, osculate::Expr<'t>) -> osculate::Expr<'t>) -> Loss {
    Func::trace(spec([2]), spec([]), |_, w, x| f(w, x)).expect("a loss")
}

/// Steps and looks at each: parameters stay numbers, do not move where the report says that they did not, and what is saved can be
/// loaded.
fn walk<T: Real>(name: &'static str, what: &str, loss: &Loss, batch: &Batch<T>, steps: usize) -> [f64; 2] {
    let batches = std::slice::from_ref(batch);
    walks(&(name.into(), name, Vec::new()), what, &mut Minibatches::new(loss, &Device::cpu()), batches, steps)
}

/// The same with programs that are there, and batches in turns.
fn walks<T: Real>(
    (name, of, set): &Variant,
    what: &str,
    oracles: &mut Minibatches<Spec, T>,
    batches: &[Batch<T>],
    steps: usize,
) -> [f64; 2] {
    let mut optimizer = made::<T>(of, set, 2);
    let mut w = [1.0, -0.5].map(T::from_f64);
    for (step, batch) in batches.iter().cycle().take(steps).enumerate() {
        let before = w;
        let report = optimizer.step(&mut w, &mut oracles.on(batch).of(batch)).expect("a step");
        assert!(w.iter().all(|x| x.is_finite()), "{name}, {what}, step {step}: {w:?} after {before:?}, {report:?}");
        if matches!(report.status, Status::NonFinite | Status::NoDescent | Status::Rejected) {
            assert_eq!(w, before, "{name}, {what}, step {step}: {report:?}");
        }
        assert!(
            !report.step.is_nan() && report.gain.is_none_or(|k| (0.0..=1.0).contains(&k)),
            "{name}, {what}: {report:?}"
        );
        assert!(report.probability.is_none_or(|p| (0.0..=1.0).contains(&p)), "{name}, {what}: {report:?}");
        if step % 8 == 0 || step + 1 == steps {
            let loaded = made::<T>(of, set, 2).load(&optimizer.save());
            assert!(loaded.is_ok(), "{name}, {what}, step {step}: {loaded:?} after {report:?}");
        }
    }
    w.map(Real::to_f64)
}

#[test]
fn no_curvature() {
    let linear = loss(|w, x| w.sum() + x * w.at(0, 0) + 10.0);
    for name in names() {
        walk(name, "a line", &linear, &noisy(), 25);
    }
}

#[test]
fn negative_curvature() {
    let hill = loss(|w, x| -0.5 * (w * w).sum() + x * w.at(0, 0));
    for name in names() {
        walk(name, "a hill", &hill, &noisy(), 25);
    }
}

#[test]
fn no_noise() {
    let bowl = loss(|w, x| 0.5 * x * (w * w).sum());
    for name in names() {
        let w = walk(name, "identical examples", &bowl, &batch::<f64>(&[1.0; 3]), 25);
        // All of them descend there, MEKA's rule of probable improvement too.
        assert!(w[0].hypot(w[1]) < 1f64.hypot(0.5), "{name} ends at {w:?}");
    }
}

#[test]
fn no_gradient() {
    let flat = loss(|w, x| 0.0 * w.sum() + x + 5.0);
    for name in names() {
        let w = walk(name, "a plain", &flat, &noisy(), 10);
        // Decoupled decay needs no gradient.
        let still = if name == "adamw" { 1e-3 } else { 0.0 };
        assert!((w[0] - 1.0).abs() <= still && (w[1] + 0.5).abs() <= still, "{name} walks to {w:?}");
    }
}

#[test]
fn huge_and_tiny_scales() {
    let huge = loss(|w, x| 1e60 * (0.5 * (w * w).sum() + x * w.at(0, 0)));
    let tiny = loss(|w, x| 1e-60 * (0.5 * (w * w).sum() + x * w.at(0, 0)));
    for name in names() {
        walk(name, "huge", &huge, &noisy(), 3);
        walk(name, "tiny", &tiny, &noisy(), 10);
    }
}

/// From where everything vanishes to where everything is infinite, all along or once in a while: what cannot be computed is said to be so.
#[test]
fn all_scales_there_are() {
    let bowl = loss(|w, x| x * (0.5 * (w * w).sum() + w.at(0, 0)));
    // Whose slopes never end.
    let waves = loss(|w, x| x * (w.sin().sum() + 3.0 * w.sum()));
    fn all<T: Real>(scale: f64) -> Batch<T> {
        batch(&[0.5, 1.0, 1.5, 2.0].map(|x| x * scale))
    }
    fn every<T: Real>(variant: &Variant, loss: &Loss, what: &str, powers: impl Iterator<Item = i32>) {
        let mut oracles = Minibatches::new(loss, &Device::cpu());
        for power in powers {
            let what = format!("{what} by 1e{power} in {}", T::NAME);
            let scale = 10f64.powi(power);
            walks::<T>(variant, &what, &mut oracles, &[all(scale)], 25);
            let batches = [all(1.0), all(scale), all(-scale), all(1.0)];
            walks::<T>(variant, &format!("{what} once in a while"), &mut oracles, &batches, 25);
        }
    }
    for variant in &variants() {
        for (loss, what) in [(&bowl, "a bowl"), (&waves, "waves")] {
            every::<f32>(variant, loss, what, (-46..=38).filter(|power| power % 3 == 2 || *power > 16));
            every::<f64>(variant, loss, what, (-304..=304).step_by(16));
        }
    }
}

#[test]
fn one_example() {
    let bowl = loss(|w, x| 0.5 * x * (w * w).sum());
    let batch = batch::<f64>(&[1.0]);
    for name in names() {
        if name.contains("meka") {
            // Variances are wanted, and said to be.
            let mut oracles = Minibatches::new(&bowl, &Device::cpu());
            let mut optimizer = by_name::<f64>(name, 2).expect("an optimizer");
            let mut w = [1.0, -0.5];
            let refused = optimizer.step(&mut w, &mut oracles.on(&batch)).err().map(|e| e.to_string());
            assert!(refused.is_some_and(|e| e.contains("at least 2 examples")), "{name}");
            assert_eq!(w, [1.0, -0.5]);
        } else {
            walk(name, "one example", &bowl, &batch, 25);
        }
    }
}

#[test]
fn svrg_asks_for_the_data() {
    let bowl = loss(|w, x| 0.5 * x * (w * w).sum());
    let mut svrg = by_name::<f64>("svrg", 2).expect("an optimizer");
    let refused = svrg.step(&mut [1.0, 1.0], &mut Minibatches::new(&bowl, &Device::cpu()).on(&noisy())).err();
    assert_eq!(
        refused.map(|e| e.to_string()).unwrap_or_default(),
        "this oracle does not know the gradient of all the data: make the oracle by `oracles.on(&batch).of(&examples.all()?)`"
    );
}

/// Legal options, however small, that leave a run something to do.
#[test]
fn options_that_are_all_but_zero_freeze_nothing() {
    let parabola = loss(|w, x| 0.5 * (w - x).square().sum());
    let batch = batch::<f64>(&[0.5, 1.5]);
    let mut oracles = Minibatches::new(&parabola, &Device::cpu());
    for (name, option, value) in [
        ("igt", "delta", "1e-17"),
        ("l4-momentum", "memory", "1e-310"),
        ("l4-adam", "memory", "1e-310"),
        ("armijo", "shrink", "1e-10"),
        ("armijo", "shrink", "1e-300"),
        ("sps", "epsilon", "1e300"),
    ] {
        let set = [(option.to_string(), value.to_string())];
        let mut optimizer = made::<f64>(name, &set, 2);
        let mut w = [3.0, -2.0];
        let mut stepped = 0;
        for step in 0..40 {
            let report = optimizer.step(&mut w, &mut oracles.on(&batch)).expect("a step");
            stepped += usize::from(report.status == Status::Stepped && report.step > 0.0);
            let loaded = made::<f64>(name, &set, 2).load(&optimizer.save());
            assert!(loaded.is_ok(), "{name}, {option} = {value}, step {step}: {loaded:?} after {report:?}");
        }
        // What is far too long a step for the type stays refused; the rest goes on.
        assert!(stepped > 2, "{name}, {option} = {value}: {stepped} steps, {w:?}");
    }
    let shrinks = registry::with_options::<f64>("armijo", 2, &[("growth".into(), "0.5".into())]);
    let refused = shrinks.err().map(|e| e.to_string()).unwrap_or_default();
    assert_eq!(refused, "growth = 0.5: a number of at least 1 is wanted");
}

/// An oracle that fails from some question on.
struct Failing<'a> {
    of: &'a mut dyn Oracle<f64>,
    left: usize,
}

impl Failing<'_> {
    fn ask(&mut self) -> osculate::optim::Result<&mut dyn Oracle<f64>> {
        self.left = self.left.checked_sub(1).ok_or(Error::Oracle { what: "more", instead: "ask less" })?;
        Ok(self.of)
    }
}

impl Oracle<f64> for Failing<'_> {
    fn layout(&self) -> &Layout {
        self.of.layout()
    }

    fn count(&self) -> usize {
        self.of.count()
    }

    fn loss(&mut self, at: &[f64]) -> osculate::optim::Result<f64> {
        self.ask()?.loss(at)
    }

    fn gradient(&mut self, at: &[f64], into: &mut [f64]) -> osculate::optim::Result<f64> {
        self.ask()?.gradient(at, into)
    }

    fn hvp(&mut self, at: &[f64], along: &[f64], into: &mut [f64]) -> osculate::optim::Result<()> {
        self.ask()?.hvp(at, along, into)
    }

    fn directional(&mut self, at: &[f64], along: &[f64], order: usize) -> osculate::optim::Result<[f64; 4]> {
        self.ask()?.directional(at, along, order)
    }

    fn moments(
        &mut self,
        at: &[f64],
        along: Option<&[f64]>,
        request: Request,
    ) -> osculate::optim::Result<&Moments<f64>> {
        self.ask()?.moments(at, along, request)
    }

    fn per_example(
        &mut self,
        at: &[f64],
        along: Option<&[f64]>,
        gradients: &mut [f64],
        products: &mut [f64],
    ) -> osculate::optim::Result<()> {
        self.ask()?.per_example(at, along, gradients, products)
    }

    fn whole_gradient(&mut self, at: &[f64], into: &mut [f64]) -> osculate::optim::Result<f64> {
        self.ask()?.whole_gradient(at, into)
    }
}

/// Whatever question of a step has no answer: parameters and state are as before, and the step can be taken again; but for the averages
/// of LR-Adapt's direction.
#[test]
fn an_oracle_that_fails_changes_nothing() {
    let wavy = loss(|w, x| 0.5 * (w - x).square().sum() + (2.0 * w).cos().sum() + 3.0);
    let batch = noisy();
    let mut oracles = Minibatches::new(&wavy, &Device::cpu());
    let plateau = [("schedule", "plateau"), ("period", "2"), ("patience", "0")];
    let (mut failed, mut later) = (0, 0);
    for (name, of, set) in variants() {
        for more in [&[][..], &plateau] {
            let mut set = set.clone();
            set.extend(more.iter().map(|(name, text)| (name.to_string(), text.to_string())));
            let Ok(mut optimizer) = registry::with_options::<f64>(of, 2, &set) else { continue };
            let mut w = [1.0, -0.5];
            for step in 0..4 {
                for left in 0..9 {
                    let (before, kept) = (w, optimizer.save());
                    let mut of_batch = oracles.on(&batch).of(&batch);
                    let mut failing = Failing { of: &mut of_batch, left };
                    if optimizer.step(&mut w, &mut failing).is_ok() {
                        break;
                    }
                    (failed, later) = (failed + 1, later + usize::from(left > 0));
                    assert_eq!(w, before, "{name}, step {step}, question {left}");
                    let mut after = optimizer.save();
                    if name.starts_with("lradapt") {
                        for buffer in ["buffer.0", "buffer.1"] {
                            if let Ok(values) = kept.get::<f64>(buffer, 2) {
                                after.put(buffer, &values);
                            }
                        }
                    }
                    assert_eq!(after, kept, "{name}, step {step}, question {left}");
                }
            }
        }
    }
    assert!(failed > 300 && later > 100, "{failed}, {later} of them after an answer");
}
