//! Functions that optimizers are tried on: surfaces over the plane, and quadratics, each with gradients as noisy as one likes.
//!
//! An example is a vector ξ. On a surface its loss is f(θ) + ξ·θ, so that ξ of mean 0 leaves the mean loss f and its covariance is that of
//! the gradients; of a quadratic ξ moves the minimum.

use osculate_engine::{Array, Error, Examples, Expr, Func, Result, Rng, Spec, spec};

/// A function of two variables.
///
/// ```
/// use osculate_engine::{Array, check};
/// use osculate_nn::problems::Surface;
/// let beale = Surface::named("beale")?;
/// let loss = beale.loss()?;
/// check::derivatives(&loss, &Array::new([2], vec![0.7, -0.3])?, &Array::full([2], 0.0), 3)?;
/// # Ok::<(), osculate_engine::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Surface {
    /// What it is called.
    pub name: &'static str,
    /// f(x, y).
    pub value: for<'t> fn(Expr<'t>, Expr<'t>) -> Expr<'t>,
    /// Where descents usually start.
    pub start: [f64; 2],
    /// All points of least value.
    pub minima: &'static [[f64; 2]],
    /// That value.
    pub least: f64,
    /// Ranges of x and y that show its shape.
    pub window: [[f64; 2]; 2],
}

/// 1/(8π), 5.1/(4π²) and 5/π.
const BRANIN: [f64; 3] = [0.039_788_735_772_973_836, 0.129_184_509_142_636_3, 1.591_549_430_918_953_5];

/// All surfaces.
pub const SURFACES: [Surface; 6] = [
    Surface {
        name: "rosenbrock",
        value: |x, y| (1.0 - x).square() + 100.0 * (y - x.square()).square(),
        start: [-1.2, 1.0],
        minima: &[[1.0, 1.0]],
        least: 0.0,
        window: [[-2.0, 2.0], [-1.0, 3.0]],
    },
    Surface {
        name: "beale",
        value: |x, y| {
            let part = |at: f64, power: i32| (at - x + x * y.powi(power)).square();
            part(1.5, 1) + part(2.25, 2) + part(2.625, 3)
        },
        start: [1.0, -1.0],
        minima: &[[3.0, 0.5]],
        least: 0.0,
        window: [[-1.0, 4.5], [-2.0, 2.0]],
    },
    Surface {
        name: "branin",
        value: |x, y| {
            let [t, b, c] = BRANIN;
            (y - b * x.square() + c * x - 6.0).square() + 10.0 * (1.0 - t) * x.cos() + 10.0
        },
        start: [1.0, 7.0],
        minima: &[[-std::f64::consts::PI, 12.275], [std::f64::consts::PI, 2.275], [3.0 * std::f64::consts::PI, 2.475]],
        least: 0.397_887_357_729_738_3,
        window: [[-5.0, 10.0], [0.0, 15.0]],
    },
    Surface {
        name: "matyas",
        value: |x, y| 0.26 * (x.square() + y.square()) - 0.48 * x * y,
        start: [-6.0, 8.0],
        minima: &[[0.0, 0.0]],
        least: 0.0,
        window: [[-10.0, 10.0], [-10.0, 10.0]],
    },
    Surface {
        name: "goldstein-price",
        value: |x, y| {
            let (xx, xy, yy) = (x.square(), x * y, y.square());
            let first = 19.0 - 14.0 * x + 3.0 * xx - 14.0 * y + 6.0 * xy + 3.0 * yy;
            let second = 18.0 - 32.0 * x + 12.0 * xx + 48.0 * y - 36.0 * xy + 27.0 * yy;
            (1.0 + (x + y + 1.0).square() * first) * (30.0 + (2.0 * x - 3.0 * y).square() * second)
        },
        start: [1.0, 1.0],
        minima: &[[0.0, -1.0]],
        least: 3.0,
        window: [[-2.0, 2.0], [-2.0, 2.0]],
    },
    Surface {
        name: "three-hump-camel",
        value: |x, y| 2.0 * x.square() - 1.05 * x.powi(4) + x.powi(6) / 6.0 + x * y + y.square(),
        start: [-1.5, 1.5],
        minima: &[[0.0, 0.0]],
        least: 0.0,
        window: [[-2.5, 2.5], [-2.5, 2.5]],
    },
];

impl Surface {
    /// The surface of a name.
    ///
    /// # Errors
    /// There is none; the error lists those there are.
    pub fn named(name: &str) -> Result<&'static Surface> {
        SURFACES.iter().find(|surface| surface.name == name).ok_or_else(|| {
            let known = SURFACES.map(|surface| surface.name).join(", ");
            Error::State(format!("there is no surface {name:?}; there are {known}"))
        })
    }

    /// f(θ) + ξ·θ of θ `[2]` and ξ `[2]`.
    ///
    /// # Errors
    /// None that is known: the trace's.
    pub fn loss(&self) -> Result<Func<Spec, Spec, Spec>> {
        let value = self.value;
        Func::trace(spec([2]), spec([2]), move |_, at, noise| value(at.at(0, 0), at.at(0, 1)) + noise.dot(at))
    }
}

/// The noisy quadratic ½ (θ − ξ)ᵀH(θ − ξ) of θ `[d]` and ξ `[d]`, for a symmetric H `[d, d]` (Schaul, Zhang and LeCun 2013).
///
/// # Errors
/// H is not square.
///
/// ```
/// use osculate_engine::{Array, Device};
/// use osculate_nn::problems::quadratic;
/// let loss = quadratic(&Array::new([2, 2], vec![2.0, 0.5, 0.5, 1.0])?)?;
/// let at = Array::new([2], vec![1.0, 2.0])?;
/// assert_eq!(loss.compile(&Device::cpu())?.run(&at, &Array::full([2], 0.0))?.item(), Some(4.0));
/// # Ok::<(), osculate_engine::Error>(())
/// ```
pub fn quadratic(h: &Array<f64>) -> Result<Func<Spec, Spec, Spec>> {
    let d = h.shape().first().copied().unwrap_or(0);
    if h.shape()[..] != [d, d] || d == 0 {
        return Err(Error::State(format!("a quadratic wants a square matrix, not {}", h.shape())));
    }
    Func::trace(spec([d]), spec([d]), |tape, at, noise| {
        let rows: Vec<Expr<'_>> = (h.values().chunks(d))
            .map(|row| tape.stack(&row.iter().map(|&value| tape.lit(value)).collect::<Vec<_>>()))
            .collect();
        let gap = at - noise;
        0.5 * gap.dot(tape.stack(&rows).dot(gap))
    })
}

/// `n` vectors ξ `[d]` of independent normal numbers of a standard deviation.
///
/// # Errors
/// There are none, or they have no elements.
pub fn noise(n: usize, d: usize, deviation: f64, rng: &mut Rng) -> Result<Examples<Spec, f64>> {
    Examples::new(spec([d]), Array::from_fn([n, d], |_| deviation * rng.normal()))
}
