//! Losses and what they are made of: normalisation along axes, and losses of examples.
//!
//! All of these subtract the largest element first, so that nothing overflows, and an infinite one counts as equal to others of its
//! sign. So they are what their limits are where elements are infinite:
//!
//! | x | log-sum-exp | its gradient, which is softmax |
//! |---|---|---|
//! | [0, −∞] | 0 | [1, 0] |
//! | [∞, 0] | ∞ | [1, 0] |
//! | [∞, ∞] | ∞ | [½, ½] |
//! | [−∞, −∞] | −∞ | [½, ½] |
//!
//! Entries of −∞ (masks) are exact zeros of softmax, with derivatives of 0 of every order. A row of nothing but −∞ is one of ties, as
//! [c, c] is for every c: where it is to count for nothing, multiply or select its result away. A NaN makes its row NaN.

use osculate_engine::{Expr, Kind, Shape, Tape, Tree};

/// ln Σ exp x along the last axis, which goes away.
///
/// # Errors
/// Tracing fails at the caller's line for a scalar.
///
/// As `torch.logsumexp(x, -1)`. [`log_sum_exp_axes`] takes other axes.
///
/// ```
/// use osculate_engine::{spec, Array, Device, Func};
/// use osculate_nn::log_sum_exp;
/// let f = Func::trace(spec([2, 2]), spec([]), |_, x, _| log_sum_exp(x))?;
/// let x = Array::new([2, 2], vec![1000.0, 1000.0, f64::NEG_INFINITY, 3.0])?;
/// let y = f.compile::<f64>(&Device::cpu())?.run(&x, &Array::scalar(0.0))?;
/// assert_eq!(y.values(), [1000.0 + 2f64.ln(), 3.0]);
/// # Ok::<(), osculate_engine::Error>(())
/// ```
#[track_caller]
pub fn log_sum_exp(x: Expr<'_>) -> Expr<'_> {
    match last(x) {
        Some(axis) => log_sum_exp_axes(x, &[axis]),
        None => x.fail("log_sum_exp", NO_AXIS.into()),
    }
}

/// ln Σ exp x over a set of axes, which go away.
///
/// # Errors
/// Tracing fails at the caller's line for axes that `x` does not have.
///
/// As `jax.scipy.special.logsumexp(x, axes)`.
#[track_caller]
pub fn log_sum_exp_axes<'t>(x: Expr<'t>, axes: &[usize]) -> Expr<'t> {
    let (shifted, largest) = shifted(x, axes);
    shifted.exp().sum_axes(axes).ln() + largest
}

/// x − ln Σ exp x along the last axis, of the shape of `x`.
///
/// # Errors
/// Tracing fails at the caller's line for a scalar.
///
/// As `jax.nn.log_softmax(x)`. [`log_softmax_axes`] takes other axes.
#[track_caller]
pub fn log_softmax(x: Expr<'_>) -> Expr<'_> {
    match last(x) {
        Some(axis) => log_softmax_axes(x, &[axis]),
        None => x.fail("log_softmax", NO_AXIS.into()),
    }
}

/// x − ln Σ exp x over a set of axes, of the shape of `x`.
///
/// # Errors
/// Tracing fails at the caller's line for axes that `x` does not have.
///
/// As `jax.nn.log_softmax(x, axes)`.
#[track_caller]
pub fn log_softmax_axes<'t>(x: Expr<'t>, axes: &[usize]) -> Expr<'t> {
    let (shifted, _) = shifted(x, axes);
    shifted - shifted.exp().sum_axes(axes).ln().reshape(kept(x, axes))
}

/// exp x / Σ exp x along the last axis, of the shape of `x`.
///
/// # Errors
/// Tracing fails at the caller's line for a scalar.
///
/// As `jax.nn.softmax(x)`. [`softmax_axes`] takes other axes.
///
/// ```
/// use osculate_engine::{spec, Array, Device, Func};
/// use osculate_nn::softmax;
/// let f = Func::trace(spec([2, 2]), spec([]), |_, x, _| softmax(x))?;
/// let x = Array::new([2, 2], vec![7.0, 7.0, f64::NEG_INFINITY, 3.0])?;
/// let y = f.compile::<f64>(&Device::cpu())?.run(&x, &Array::scalar(0.0))?;
/// assert_eq!(y.values(), [0.5, 0.5, 0.0, 1.0]);
/// # Ok::<(), osculate_engine::Error>(())
/// ```
#[track_caller]
pub fn softmax(x: Expr<'_>) -> Expr<'_> {
    match last(x) {
        Some(axis) => softmax_axes(x, &[axis]),
        None => x.fail("softmax", NO_AXIS.into()),
    }
}

/// exp x / Σ exp x over a set of axes, of the shape of `x`.
///
/// # Errors
/// Tracing fails at the caller's line for axes that `x` does not have.
///
/// As `jax.nn.softmax(x, axes)`.
#[track_caller]
pub fn softmax_axes<'t>(x: Expr<'t>, axes: &[usize]) -> Expr<'t> {
    let exp = shifted(x, axes).0.exp();
    exp / exp.sum_axes(axes).reshape(kept(x, axes))
}

/// What a scalar lacks.
const NO_AXIS: &str = "a scalar has no axis to work along";

/// The last axis.
fn last(x: Expr<'_>) -> Option<usize> {
    x.shape().rank().checked_sub(1)
}

/// The shape with extents of 1 for some axes.
fn kept(x: Expr<'_>, axes: &[usize]) -> Shape {
    let one = |(axis, &extent): (usize, &usize)| if axes.contains(&axis) { 1 } else { extent };
    x.shape().iter().enumerate().map(one).collect::<Vec<_>>().into()
}

/// `x` less its largest element over some axes, and that element as a constant: what is computed of them does not depend on it.
#[track_caller]
fn shifted<'t>(x: Expr<'t>, axes: &[usize]) -> (Expr<'t>, Expr<'t>) {
    let largest = x.max_axes(axes).stop_gradient();
    (x.gap(largest.reshape(kept(x, axes))), largest)
}

/// −ln softmax(logits)\[label\] of every label: logits `[…, classes]` and labels `[…]` below `classes` give losses `[…]`.
///
/// One label gives a scalar, the loss of one example.
///
/// # Errors
/// Tracing fails at the caller's line where labels are no indices, have another bound than the classes, or other axes than the logits
/// before their last.
///
/// As `torch.nn.functional.cross_entropy(logits, labels, reduction="none")`, classes last.
///
/// ```
/// use osculate_engine::{label, spec, Array, Device, Func, Spec};
/// use osculate_nn::cross_entropy;
/// let loss = Func::trace(spec([3]), label(3), |_, z, y| cross_entropy(z, y))?;
/// let z = Array::new([3], vec![1000.0, 0.0, 0.0])?;
/// let loss = loss.compile::<f32>(&Device::cpu())?.run(&z, &Array::index([], vec![0])?)?;
/// assert_eq!(loss.item(), Some(0.0));
/// // a label for each of 5 places: 5 losses
/// let losses = Func::trace(spec([5, 3]), Spec::index([5], 3), |_, z, y| cross_entropy(z, y))?;
/// assert_eq!(losses.outputs().shape.to_vec(), [5]);
/// # Ok::<(), osculate_engine::Error>(())
/// ```
#[track_caller]
pub fn cross_entropy<'t>(logits: Expr<'t>, labels: Expr<'t>) -> Expr<'t> {
    if let Some(why) = misfit(&logits.shape(), labels) {
        return logits.fail("cross_entropy", why);
    }
    let axis = labels.shape().rank();
    // Shifted before it is picked: a large common offset then costs no digits.
    let (shifted, _) = shifted(logits, &[axis]);
    let rows: String = ('a'..).take(axis).collect();
    let all = shifted.exp().sum_axes(&[axis]).ln();
    all - logits.tape().einsum(&format!("{rows}Z,{rows}Z->{rows}"), &[labels.one_hot(), shifted])
}

/// Why labels are not those of such logits, if they are not.
fn misfit(logits: &Shape, labels: Expr<'_>) -> Option<String> {
    let (given, Some((&classes, leading))) = (labels.spec(), logits.split_last()) else {
        return Some("logits are a scalar: [..., classes] are wanted".into());
    };
    let Kind::Index(bound) = given.kind else {
        return Some(format!("labels are {given}: indices are wanted, declared with label({classes}) or Spec::index"));
    };
    if bound != classes {
        return Some(format!("labels are below {bound}, but the last axis of logits {logits} holds {classes} classes"));
    }
    let leading = Shape::from(leading);
    (given.shape != leading)
        .then(|| format!("labels are {}, but logits {logits} want a label for each of {leading}", given.shape))
}

/// ½‖prediction − target‖² of two arrays of one shape.
///
/// # Errors
/// Tracing fails at the caller's line where shapes differ: nothing is repeated.
///
/// ```
/// use osculate_engine::{spec, Func};
/// use osculate_nn::squared_error;
/// let column = Func::trace(spec([3]), spec([3, 1]), |_, p, y| squared_error(p, y));
/// assert!(column.is_err());
/// let column = Func::trace(spec([3]), spec([3, 1]), |_, p, y| squared_error(p, y.flatten()))?;
/// # Ok::<(), osculate_engine::Error>(())
/// ```
#[track_caller]
pub fn squared_error<'t>(prediction: Expr<'t>, target: Expr<'t>) -> Expr<'t> {
    let (given, wanted) = (prediction.shape(), target.shape());
    if given != wanted {
        return prediction
            .fail("squared_error", format!("the prediction is {given}, the target {wanted}: reshape one"));
    }
    0.5 * (prediction - target).square().sum()
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
    let squares = leaves.filter(|(path, _)| of(&path.to_string())).map(|(_, w)| w.square().sum());
    squares.reduce(|sum, squares| sum + squares).map_or(tape.lit(0.0), |sum| 0.5 * sum)
}
