//! Pooling of one example, channels first.

use osculate_engine::Expr;

use crate::Sliding;

/// Largest element of every window of `sizes` over the axes after the first; beyond the border lies −∞, and ties share their
/// derivative evenly.
#[track_caller]
pub fn max_pool<'t>(x: Expr<'t>, sizes: &[usize], sliding: Sliding) -> Expr<'t> {
    let rank = x.shape().rank();
    let windows = sliding.windows(&x.shape(), sizes);
    let places: Vec<usize> = (rank..rank + sizes.len()).collect();
    x.patches(&windows, f64::NEG_INFINITY).max_axes(&places)
}

/// Mean of every window of `sizes` over the axes after the first; places beyond the border count as 0.
#[track_caller]
pub fn average_pool<'t>(x: Expr<'t>, sizes: &[usize], sliding: Sliding) -> Expr<'t> {
    let rank = x.shape().rank();
    let windows = sliding.windows(&x.shape(), sizes);
    let places: Vec<usize> = (rank..rank + sizes.len()).collect();
    x.patches(&windows, 0.0).mean_axes(&places)
}

/// Mean over all axes after the first.
///
/// ```
/// use osculate_engine::{spec, Array, Device, Func};
/// use osculate_nn::global_average_pool;
/// let f = Func::trace(spec([]), spec([2, 2, 2]), |_, _, x| global_average_pool(x))?;
/// let x = Array::from_fn([2, 2, 2], |i| i as f64);
/// let means = f.compile::<f64>(&Device::cpu())?.run(&Array::scalar(0.0), &x)?;
/// assert_eq!(means.values(), [1.5, 5.5]);
/// # Ok::<(), osculate_engine::Error>(())
/// ```
#[track_caller]
pub fn global_average_pool<'t>(x: Expr<'t>) -> Expr<'t> {
    let axes: Vec<usize> = (1..x.shape().rank()).collect();
    x.mean_axes(&axes)
}
