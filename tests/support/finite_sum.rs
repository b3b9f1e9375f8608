//! The small finite sum that the reference traces of optimizers are of.

use osculate::{Array, Batch, Examples, Func, Result, Spec, spec};
use serde_json::Value;

pub fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        other => vec![other.as_f64().expect("a number")],
    }
}

pub type Loss = Func<Spec, (Spec, Spec), Spec>;
pub type Data = Examples<(Spec, Spec), f64>;

/// lᵢ(θ) = ½(θ − ξᵢ)ᵀAᵢ(θ − ξᵢ) + κ/12 Σⱼ θⱼ⁴
pub fn problem(kappa: f64) -> Result<Loss> {
    Func::trace(spec([3]), (spec([3]), spec([3, 3])), move |_, theta, (xi, a)| {
        let gap = theta - xi;
        0.5 * gap.dot(a.dot(gap)) + kappa / 12.0 * theta.powi(4).sum()
    })
}

pub fn traces() -> Value {
    serde_json::from_str(include_str!("../data/optimizer_traces.json")).expect("the traces")
}

pub fn examples(file: &Value) -> Result<Data> {
    let xi = Array::new([7, 3], numbers(&file["problem"]["xi"]))?;
    let a = Array::new([7, 3, 3], numbers(&file["problem"]["A"]))?;
    Examples::new((spec([3]), spec([3, 3])), (xi, a))
}

/// The minibatch of a step: three examples, one after the other.
pub fn minibatch(examples: &Data, step: usize, batch: &mut Batch<f64>) {
    examples.gather(&[3 * step % 7, (3 * step + 1) % 7, (3 * step + 2) % 7], batch).expect("rows");
}
