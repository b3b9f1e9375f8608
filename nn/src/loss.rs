//! Losses of one example: unreduced, scalar.

use osculate_engine::Expr;

/// ln Σᵢ exp(xᵢ) of a vector, without overflow.
///
/// The maximum is subtracted as a constant; that is exact, since it cancels.
#[track_caller]
pub fn log_sum_exp<'t>(x: Expr<'t>) -> Expr<'t> {
    let shift = x.max().stop_gradient();
    (x - shift).exp().sum().ln() + shift
}

/// x − ln Σ exp x of a vector.
#[track_caller]
pub fn log_softmax<'t>(x: Expr<'t>) -> Expr<'t> {
    x - log_sum_exp(x)
}

/// exp x / Σ exp x of a vector.
#[track_caller]
pub fn softmax<'t>(x: Expr<'t>) -> Expr<'t> {
    log_softmax(x).exp()
}

/// −ln softmax(logits)\[label\]: logits `[classes]`, one label below `classes`.
///
/// ```
/// use osculate_engine::{label, spec, Array, Device, Func};
/// use osculate_nn::cross_entropy;
/// let loss = Func::trace(spec([3]), label(3), |_, z, y| cross_entropy(z, y))?;
/// let z = Array::new([3], vec![1000.0, 0.0, 0.0])?;
/// let loss = loss.compile::<f32>(&Device::cpu())?.run(&z, &Array::index([], vec![0])?)?;
/// assert_eq!(loss.item(), Some(0.0));
/// # Ok::<(), osculate_engine::Error>(())
/// ```
#[track_caller]
pub fn cross_entropy<'t>(logits: Expr<'t>, label: Expr<'t>) -> Expr<'t> {
    // Shifted before it is picked: a large common offset then costs no digits.
    let shifted = logits - logits.max().stop_gradient();
    shifted.exp().sum().ln() - label.one_hot().dot(shifted)
}

/// ½‖prediction − target‖²; both have the same number of elements.
#[track_caller]
pub fn squared_error<'t>(prediction: Expr<'t>, target: Expr<'t>) -> Expr<'t> {
    // Shapes [3] and [3, 1] would broadcast to [3, 3].
    0.5 * (prediction - target.reshape(prediction.shape())).square().sum()
}
