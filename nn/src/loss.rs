//! Losses of one example: unreduced, scalar.

use osculate_engine::{Expr, Tape, Tree};

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

/// ½ Σ w² over the arrays that `of` picks by their paths: λ times that is a weight decay within the loss.
///
/// It is the same for every example, so that it moves gradients and Hessian-vector products and leaves their variances as they are; the
/// moments need no example's vectors for it.
///
/// ```
/// use osculate_engine::{Array, Batch, Device, Examples, Func, Request, spec};
/// use osculate_nn::{Dense, weight_decay};
/// let layer = Dense::new(2, 1);
/// let loss = Func::trace(layer.clone(), spec([2]), |tape, p, x| {
///     p.apply(x).sum() + 0.1 * weight_decay(tape, &p, |path| path.ends_with(".w"))     // not of the bias
/// })?;
/// let batch = Examples::new(spec([2]), Array::new([2, 2], vec![1.0, 2.0, 3.0, 2.0])?)?.all()?;
/// let mut program = loss.moments::<f64>(2, Request::gradient(), &Device::cpu())?;
/// let mut moments = program.moments();
/// program.run(&[5.0, -5.0, 9.0], None, &batch, &mut moments)?;
/// assert_eq!(moments.gradient()?.sum, [1.0 + 3.0 + 2.0 * 0.5, 2.0 + 2.0 - 2.0 * 0.5, 2.0]);
/// assert_eq!(moments.gradient_variances()?[0].value, 1.0);     // of x: 2 and 0, averaged
/// # Ok::<(), osculate_engine::Error>(())
/// ```
pub fn weight_decay<'t, P: Tree<Leaf = Expr<'t>>>(tape: &'t Tape, params: &P, of: impl Fn(&str) -> bool) -> Expr<'t> {
    let leaves = params.leaves("params").into_iter();
    let picked = leaves.filter(|(path, _)| of(&path.to_string())).map(|(_, w)| w.square().sum());
    0.5 * picked.fold(tape.lit(0.0), |sum, squares| sum + squares)
}
