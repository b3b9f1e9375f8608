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
    0.5 * x * (1.0 + (x * std::f64::consts::FRAC_1_SQRT_2).erf())
}

/// x σ(x), also called swish.
#[track_caller]
pub fn silu(x: Expr<'_>) -> Expr<'_> {
    x * x.sigmoid()
}

/// x where positive, `slope` · x elsewhere; the derivative at 0 is `slope`.
#[track_caller]
pub fn leaky_relu(x: Expr<'_>, slope: f64) -> Expr<'_> {
    slope * x + (1.0 - slope) * x.relu()
}

/// x where positive, eˣ − 1 elsewhere.
#[track_caller]
pub fn elu(x: Expr<'_>) -> Expr<'_> {
    // relu(-x) keeps the exponential's argument from growing where it is not used.
    x.relu() + (-(-x).relu()).exp_m1()
}
