//! MEKA against the reference traces and the properties that its specification promises.

use osculate::optim::meka::{Init, Noise, StepRule, VarianceOf};
use osculate::optim::{Meka, MekaConfig, Minibatches, Optimizer, Oracle};
use osculate::{Array, Batch, Device, Examples, Func, Result, Spec, spec};
use serde_json::Value;

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        other => vec![other.as_f64().expect("a number")],
    }
}

type Loss = Func<Spec, (Spec, Spec), Spec>;
type Data = Examples<(Spec, Spec), f64>;

/// lᵢ(θ) = ½(θ − ξᵢ)ᵀAᵢ(θ − ξᵢ) + κ/12 Σⱼ θⱼ⁴
fn problem(kappa: f64) -> Result<Loss> {
    Func::trace(spec([3]), (spec([3]), spec([3, 3])), move |_, theta, (xi, a)| {
        let gap = theta - xi;
        0.5 * gap.dot(a.dot(gap)) + kappa / 12.0 * theta.powi(4).sum()
    })
}

fn traces() -> Value {
    serde_json::from_str(include_str!("data/meka_traces.json")).expect("the traces")
}

fn examples(file: &Value) -> Result<Data> {
    let xi = Array::new([7, 3], numbers(&file["problem"]["xi"]))?;
    let a = Array::new([7, 3, 3], numbers(&file["problem"]["A"]))?;
    Examples::new((spec([3]), spec([3, 3])), (xi, a))
}

fn replay(key: &str, config: MekaConfig) {
    let file = traces();
    let loss = problem(file["problem"]["kappa"].as_f64().expect("kappa")).expect("a loss");
    let examples = examples(&file).expect("examples");
    let mut theta = numbers(&file["problem"]["theta0"]);
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let mut meka = Meka::new(3, config).expect("options");
    let mut batch = Batch::default();
    for (t, want) in file[key].as_array().expect("steps").iter().enumerate() {
        examples.gather(&[3 * t % 7, (3 * t + 1) % 7, (3 * t + 2) % 7], &mut batch).expect("rows");
        let report = meka.step(&mut theta, &mut oracles.on(&batch)).expect("a step");
        let f = meka.filter();
        let mut got = vec![
            ("alpha", vec![report.step]),
            ("k", vec![f.gain]),
            ("sigma", vec![f.sigma]),
            ("q", vec![f.q]),
            ("p", vec![f.p]),
            ("u", vec![f.u]),
            ("s", vec![f.s]),
            ("r", vec![f.r]),
            ("lam", vec![f.lambda]),
            ("y", vec![report.loss]),
            ("m", meka.mean().to_vec()),
            ("theta_next", theta.clone()),
        ];
        if !want["raw"].is_null() {
            got.push(("raw", vec![report.step]));
        }
        for (name, got) in got {
            for (a, b) in got.iter().zip(numbers(&want[name])) {
                assert!((a - b).abs() <= 1e-9 * b.abs().max(1.0), "{key} step {t} {name}: {a} instead of {b}");
            }
        }
    }
}

#[test]
fn trace_of_fixed_steps() {
    replay("meka_fixed_0.2", MekaConfig { step: StepRule::Fixed(0.2), ..MekaConfig::default() });
}

fn nines() -> MekaConfig {
    MekaConfig { loss_decay: 0.9, gradient_decay: 0.9, coefficient_decay: 0.9, ..MekaConfig::default() }
}

#[test]
fn trace_of_probable_improvement() {
    replay("meka_pi_coefema_0.9", nines());
}

#[test]
fn trace_without_surprise() {
    replay("meka_pi_no_lambda", MekaConfig { surprise: false, ..nines() });
}

#[test]
fn trace_with_sample_variance() {
    replay("meka_pi_sample_var", MekaConfig { variance_of: VarianceOf::Sample, ..nines() });
}
