//! `zero`: the zero of tangents and cotangents, what nothing depends on or reads, and what a pad adds.
//!
//! It is a symbol, not the number 0: products with it are it again, were the other factor infinite or NaN, and sums lose it. Transforms
//! make it, users do not: their `0.0` is a number (see the head of this folder).
//!
//! | rule | |
//! |---|---|
//! | jvp | none |
//! | batch | the same: it has no arguments |
//! | canonical | linear primitives of nothing else are it |

use super::Primitive;
use crate::plan::{Lowering, Value};
use crate::{Expr, Shape, Spec, Tape};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Zero {
    pub shape: Shape,
}

impl Tape {
    /// The zero of a shape.
    #[track_caller]
    pub(crate) fn zero(&self, shape: impl Into<Shape>) -> Expr<'_> {
        self.apply(Zero { shape: shape.into() }.into(), &[])
    }
}

impl Expr<'_> {
    pub(crate) fn is_zero(self) -> bool {
        self.tape.with_node(self.var, |node| matches!(node.op, super::Op::Zero(_)))
    }
}

impl Primitive for Zero {
    fn text(&self) -> String {
        "zero".into()
    }

    fn shape(&self, _: &[Spec]) -> Result<Spec, String> {
        Ok(Spec::real(&self.shape))
    }

    fn make<'t>(&self, tape: &'t Tape, _: &[Expr<'t>], spec: Spec) -> Expr<'t> {
        tape.intern(self.clone().into(), &[], spec)
    }

    fn jvp<'t>(&self, _: &[Expr<'t>], _: Expr<'t>, _: &[Option<Expr<'t>>]) -> Option<Expr<'t>> {
        None
    }

    fn batch<'t>(&self, args: &[Expr<'t>], _: &[bool], _: usize) -> Expr<'t> {
        args[0]
    }

    fn lower(&self, cx: &mut Lowering, _: &[Value], spec: &Spec) -> Value {
        cx.fill(&spec.shape, 0.0)
    }

    fn jax(&self, _: &[&str], spec: &Spec) -> String {
        format!("jnp.zeros({})", spec.shape)
    }
}
