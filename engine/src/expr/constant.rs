//! Arrays of numbers that a trace carries.

use std::panic::Location;

use super::Expr;
use crate::ops::Constant;
use crate::{Shape, Spec, Tape};

/// Most elements of a constant: larger arrays are data.
const MOST: usize = 1 << 24;

impl Tape {
    /// An array of given numbers, row-major; no derivative flows through it. Equal arrays exist once.
    ///
    /// ```
    /// use osculate_engine::{spec, Array, Device, Func};
    /// let f = Func::trace(spec([3]), spec([]), |tape, w, _| w.dot(tape.constant([3], &[1.0, 10.0, 100.0])))?;
    /// let value = f.compile::<f64>(&Device::cpu())?.run(&Array::new([3], vec![1.0, 2.0, 3.0])?, &Array::scalar(0.0))?;
    /// assert_eq!(value.item(), Some(321.0));
    /// # Ok::<(), osculate_engine::Error>(())
    /// ```
    ///
    /// Other numbers of values than the shape has, and more than 2²⁴ (which are better data), are errors of the trace.
    #[track_caller]
    pub fn constant(&self, shape: impl Into<Shape>, values: &[f64]) -> Expr<'_> {
        self.array("constant", Spec::real(shape), values)
    }

    /// An array of given indices below `bound`, row-major: what [`take`](Expr::take) and [`one_hot`](Expr::one_hot) want.
    ///
    /// Other numbers of values than the shape has, an index that is not below `bound`, and more than 2²⁴ are errors of the trace.
    #[track_caller]
    pub fn indices(&self, shape: impl Into<Shape>, values: &[u32], bound: usize) -> Expr<'_> {
        if let Some(value) = values.iter().find(|&&v| v as usize >= bound) {
            self.fail("indices", format!("{value} is not below {bound}"), Location::caller());
            return self.lit(0.0);
        }
        let values: Vec<f64> = values.iter().map(|&v| f64::from(v)).collect();
        self.array("indices", Spec::index(shape, bound), &values)
    }

    /// The numbers 0, 1, … n − 1 (as `numpy.arange`).
    #[track_caller]
    pub fn arange(&self, n: usize) -> Expr<'_> {
        self.counted("arange", n, |i| i as f64)
    }

    /// `n` evenly spaced numbers from `start` to `end`, both among them (as `numpy.linspace`).
    ///
    /// ```
    /// use osculate_engine::{spec, Array, Device, Func};
    /// let f = Func::trace(spec([]), spec([]), |tape, w, _| w * tape.linspace(-1.0, 1.0, 5))?;
    /// let values = f.compile::<f64>(&Device::cpu())?.run(&Array::scalar(1.0), &Array::scalar(0.0))?;
    /// assert_eq!(values.values(), [-1.0, -0.5, 0.0, 0.5, 1.0]);
    /// # Ok::<(), osculate_engine::Error>(())
    /// ```
    #[track_caller]
    pub fn linspace(&self, start: f64, end: f64, n: usize) -> Expr<'_> {
        let last = n.saturating_sub(1).max(1) as f64;
        // Weights of both ends, so that neither their difference overflows nor the last one misses its end.
        self.counted("linspace", n, |i| start * ((last - i as f64) / last) + end * (i as f64 / last))
    }

    /// The n×n identity matrix (as `numpy.eye`).
    #[track_caller]
    pub fn eye(&self, n: usize) -> Expr<'_> {
        let diagonal = self.arange(n);
        diagonal.expand_dims(1).equal(diagonal)
    }

    #[track_caller]
    fn counted(&self, op: &str, n: usize, value: impl Fn(usize) -> f64) -> Expr<'_> {
        let values: Vec<f64> = (0..n.min(MOST + 1)).map(value).collect();
        self.array(op, Spec::real([values.len()]), &values)
    }

    #[track_caller]
    fn array(&self, op: &str, spec: Spec, values: &[f64]) -> Expr<'_> {
        let size = spec.shape.size();
        let why = if size == 0 {
            "an array has at least one element".into()
        } else if size != values.len() {
            format!("{} values were given for the shape {}", values.len(), spec.shape)
        } else if size > MOST {
            format!("more than {MOST} elements: pass so large an array as data")
        } else {
            return self.apply(Constant::new(spec, values).into(), &[]);
        };
        self.fail(op, why, Location::caller());
        self.lit(0.0)
    }
}
