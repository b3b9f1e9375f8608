//! Products summed over axes.

use std::panic::Location;

use super::{Expr, labels};
use crate::Tape;
use crate::ops::{Contract, Labels, contract};

impl<'t> Expr<'t> {
    /// Contracts its last axis with the first of `other`: vector·vector, vector·matrix, matrix·vector, matrix·matrix, and so on.
    #[track_caller]
    pub fn dot(self, other: Expr<'t>) -> Expr<'t> {
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

impl Tape {
    /// Einstein summation: `einsum("ij,j->i", &[a, x])`; a letter left out of the result is summed over.
    ///
    /// A letter may not stand twice in one operand, and every letter of the result must stand in an operand.
    #[track_caller]
    pub fn einsum<'t>(&'t self, text: &str, operands: &[Expr<'t>]) -> Expr<'t> {
        match Contract::parse(text, &operands.iter().map(|o| o.shape()).collect::<Vec<_>>()) {
            Ok(op) => self.apply(op.into(), operands),
            Err(why) => {
                self.fail(&format!("einsum {text:?}"), why, Location::caller());
                operands.first().copied().unwrap_or_else(|| self.lit(0.0))
            }
        }
    }
}
