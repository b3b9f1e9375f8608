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
    #[track_caller]
    pub fn apply(&self, x: Expr<'t>) -> Expr<'t> {
        x.dot(self.w) + self.b
    }
}
