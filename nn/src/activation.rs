//! Elementwise functions that layers put between them, beside the methods of [`Expr`] (`tanh`, `sigmoid`, `relu`, `softplus`,
//! `softsign`, `sin`).

use osculate_engine::Expr;

/// x Φ(x), Φ the normal distribution function (Hendrycks and Gimpel 2016), exactly, by the error function.
///
/// ```
/// use osculate_engine::{check, spec, Array, Func};
/// use osculate_nn::gelu;
/// let f = Func::trace(spec([3]), spec([]), |_, x, _| gelu(x))?;
/// check::derivatives(&f, &Array::new([3], vec![-1.0, 0.2, 3.0])?, &Array::scalar(0.0), 3)?;
/// # Ok::<(), osculate_engine::Error>(())
/// ```
#[track_caller]
pub fn gelu(x: Expr<'_>) -> Expr<'_> {
    x.gelu()
}

/// x σ(x), also called swish; as [`Expr::silu`].
#[track_caller]
pub fn silu(x: Expr<'_>) -> Expr<'_> {
    x.silu()
}

/// x where positive, `slope` · x elsewhere; the derivative at 0 is `slope`, as torch's.
#[track_caller]
pub fn leaky_relu(x: Expr<'_>, slope: f64) -> Expr<'_> {
    x.relu() + slope * x.min0()
}

/// x where positive, `alpha` (eˣ − 1) elsewhere; derivatives at 0 are those from below, `alpha`, as torch's.
///
/// ```
/// use osculate_engine::{spec, Array, Device, Func};
/// use osculate_nn::elu;
/// let f = Func::trace(spec([]), spec([]), |_, x, _| elu(x, 1.0))?;
/// let slope = f.grad()?.compile::<f64>(&Device::cpu())?.run(&Array::scalar(0.0), &Array::scalar(0.0))?;
/// assert_eq!(slope.item(), Some(1.0));
/// # Ok::<(), osculate_engine::Error>(())
/// ```
#[track_caller]
pub fn elu(x: Expr<'_>, alpha: f64) -> Expr<'_> {
    // The smaller of x and 0 keeps the exponential's argument from growing where it is not used.
    x.relu() + alpha * x.min0().exp_m1()
}
