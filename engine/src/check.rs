//! Derivatives of every order against finite differences, for users' own tests.
//!
//! ```
//! use osculate_engine::{check, label, spec, Array, Func};
//! let loss = Func::trace(spec([3, 2]), (spec([2]), label(3)), |_, w, (x, y)| {
//!     let z = w.dot(x);
//!     z.exp().sum().ln() - (y.one_hot() * z).sum()
//! })?;
//! let w = Array::from_fn([3, 2], |i| 0.3 * i as f64 - 0.5);
//! let example = (Array::new([2], vec![0.4, -1.2])?, Array::index([], vec![2])?);
//! let report = check::derivatives(&loss, &w, &example, 3)?;
//! println!("{report}");
//! assert!(report.orders.iter().all(|order| order.error < 1e-8));
//! # Ok::<(), osculate_engine::Error>(())
//! ```

use std::fmt;

use crate::tree::{Signature, Tree};
use crate::{Array, Device, Error, Func, Result, Rng, Spec};

/// Relative error allowed by [`derivatives`].
const TOLERANCE: f64 = 1e-6;

/// What was compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// One entry an order, from 1.
    pub orders: Vec<Order>,
}

/// One order's directional derivative, in two ways.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Order {
    /// How often it was differentiated.
    pub order: usize,
    /// By nested forward mode.
    pub derivative: f64,
    /// Central difference (five points) of the order below.
    pub difference: f64,
    /// Their difference, relative to the largest of both, a thousandth of the order below, and what rounding alone would excuse.
    pub error: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "order  {:>23}  {:>23}  {:>9}", "derivative", "difference", "error")?;
        for o in &self.orders {
            writeln!(f, "{:>5}  {:>23.15e}  {:>23.15e}  {:>9.1e}", o.order, o.derivative, o.difference, o.error)?;
        }
        Ok(())
    }
}

/// Compares the derivatives of orders 1 to `order` along a random direction with central differences, in f64.
///
/// The gradient (reverse mode) and the Hessian-vector product (forward over reverse) are held against the same numbers. A result
/// that is not a scalar is contracted with a random vector first. Kinks near the point make differences meaningless: choose
/// another point.
///
/// # Errors
/// [`Error::Check`] for the first order that disagrees by more than 1e-6 of its size; errors of tracing and running.
pub fn derivatives<P: Signature, D: Signature>(
    func: &Func<P, D, Spec>,
    params: &P::With<Array<f64>>,
    data: &D::With<Array<f64>>,
    order: usize,
) -> Result<Report> {
    fits(func.params(), params, "params")?;
    fits(func.data(), data, "data")?;
    let rng = &mut Rng::new(0);
    let u = Array::from_fn(func.outputs().shape.clone(), |_| rng.normal());
    let point = arrays(params);
    // The direction is of unit length, so that one step size serves every model.
    let mut v: Vec<Array<f64>> = point.iter().map(|a| Array::from_fn(a.shape(), |_| rng.normal())).collect();
    let length = dot(&v, &v).sqrt();
    v.iter_mut().flat_map(|a| a.values_mut()).for_each(|x| *x /= length);
    let moved = |t: f64| -> Result<P::With<Array<f64>>> {
        let step =
            |(a, v): (&Array<f64>, &Array<f64>)| Array::from_fn(a.shape(), |i| a.values()[i] + t * v.values()[i]);
        func.params().with_leaves(point.iter().zip(&v).map(step))
    };
    let direction = || func.params().with_leaves(v.iter().cloned());
    let data = (func.data().with_leaves(arrays(data))?, u);
    let scalar = func.dot_output()?;
    let mut orders = Vec::new();
    for at in 1..=order {
        let mut program = scalar.directional(at)?.compile::<f64>(&Device::cpu())?;
        let mut value = |t: f64, order: usize| -> Result<f64> {
            let values = program.run(&(moved(t)?, direction()?), &data)?;
            Ok(values[order].item().unwrap_or(f64::NAN))
        };
        let h = 1e-3;
        let mut largest = 0.0f64;
        let mut below = |t: f64| value(t, at - 1).inspect(|v| largest = largest.max(v.abs()));
        let mut across = |t: f64| -> Result<f64> { Ok(below(t)? - below(-t)?) };
        let [near, far] = [across(h)?, across(2.0 * h)?];
        let difference = (8.0 * near - far) / (12.0 * h);
        let scale = below(0.0)?.abs();
        // Of twice the step, a difference leaves out 16 times as much; nothing is known of it where the function ends before.
        let farther = value(4.0 * h, at - 1)? - value(-4.0 * h, at - 1)?;
        let left_out = ((8.0 * far - farther) / (24.0 * h) - difference).abs() / 15.0;
        let left_out = if left_out.is_finite() { left_out } else { 0.0 };
        // What rounding and truncation alone make of a difference.
        let noise = 100.0 * f64::EPSILON * largest / h + 2.0 * left_out;
        let derivative = value(0.0, at)?;
        let here = (moved(0.0)?, direction()?);
        orders.push(compare(at, derivative, difference, scale, noise)?);
        let reverse = match at {
            1 => Some(scalar.grad()?.compile::<f64>(&Device::cpu())?.run(&here.0, &data)?),
            2 => Some(scalar.hvp()?.compile::<f64>(&Device::cpu())?.run(&here, &data)?.1),
            _ => None,
        };
        if let Some(reverse) = reverse {
            compare(at, dot(&arrays(&reverse), &v), derivative, scale, noise)?;
        }
    }
    Ok(Report { orders })
}

/// Refuses arrays that are not those of the signature.
fn fits<P: Signature>(spec: &P, tree: &P::With<Array<f64>>, root: &str) -> Result<()> {
    let (want, got) = (spec.leaves(root), tree.leaves(root));
    if want.len() != got.len() {
        let (want, got) = (format!("{} arrays", want.len()), got.len().to_string());
        return Err(Error::Signature { path: root.into(), want, got });
    }
    want.iter().zip(got).try_for_each(|((path, spec), (_, array))| array.fits(spec, &path.to_string()))
}

pub(crate) fn arrays<T: Tree<Leaf = Array<f64>>>(tree: &T) -> Vec<Array<f64>> {
    tree.leaves("").into_iter().map(|(_, array)| array.clone()).collect()
}

fn dot(a: &[Array<f64>], b: &[Array<f64>]) -> f64 {
    a.iter().zip(b).flat_map(|(a, b)| a.values().iter().zip(b.values())).map(|(x, y)| x * y).sum()
}

fn compare(order: usize, derivative: f64, difference: f64, below: f64, noise: f64) -> Result<Order> {
    // A gap that the difference's own error explains is within tolerance whatever the size of the derivative.
    let scale = derivative.abs().max(difference.abs()).max(1e-3 * below).max(noise / TOLERANCE);
    let gap = (derivative - difference).abs();
    let error = if gap == 0.0 { 0.0 } else { gap / scale };
    if error <= TOLERANCE {
        return Ok(Order { order, derivative, difference, error });
    }
    Err(Error::Check { order, derivative, difference, error, tolerance: TOLERANCE })
}
