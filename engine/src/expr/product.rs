//! Products summed over axes.

use super::{Expr, labels};
use crate::ops::{Labels, contract};

impl<'t> Expr<'t> {
    /// Contracts its last axis with the first of `other`: vector·vector, vector·matrix, matrix·vector, matrix·matrix, and so on.
    #[track_caller]
    pub fn dot(self, other: Expr<'t>) -> Expr<'t> {
        if !self.is_real("dot") || !other.is_real("dot") {
            return self;
        }
        let (a, b) = (self.shape(), other.shape());
        match (a.last(), b.first()) {
            (Some(k), Some(l)) if k == l => {}
            _ => return self.fail("dot", format!("the last axis of {a} does not match the first of {b}")),
        }
        let (m, n) = (a.rank() - 1, b.rank() - 1);
        let la = labels(0, m + 1);
        let lb = labels(m, n + 1);
        let out: Labels = la[..m].iter().chain(&lb[1..]).copied().collect();
        let dims = [&a[..], &b[1..]].concat();
        contract(1.0, &[(self, &la), (other, &lb)], &out, &dims, self.tape)
    }
}
