//! Affine maps.

use osculate_engine::{Expr, Spec, spec, tree};

tree! {
    /// An affine map x ↦ xᵀW + b with W `[inputs, outputs]` and b `[outputs]`.
    pub struct Dense {
        /// Weights, `[inputs, outputs]`.
        w,
        /// Biases, `[outputs]`.
        b,
    }
}

impl Dense<Spec> {
    /// Its shapes.
    pub fn new(inputs: usize, outputs: usize) -> Dense<Spec> {
        Dense { w: spec([inputs, outputs]), b: spec([outputs]) }
    }
}

impl<'t> Dense<Expr<'t>> {
    /// xᵀW + b of one example: `[…, inputs]` to `[…, outputs]`.
    ///
    /// # Errors
    /// Tracing fails at the caller's line where shapes do not fit.
    #[track_caller]
    pub fn apply(&self, x: Expr<'t>) -> Expr<'t> {
        let (given, w, b) = (x.shape(), self.w.shape(), self.b.shape());
        match (given.last(), &w[..], &b[..]) {
            (Some(inputs), [rows, cols], [biases]) if inputs == rows && cols == biases => x.dot(self.w) + self.b,
            _ => x.fail(
                "dense",
                format!(
                    "[..., inputs], [inputs, outputs] and [outputs] are wanted, not {given}, weights {w} and biases {b}"
                ),
            ),
        }
    }
}
