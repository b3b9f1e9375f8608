//! `leaf`: an input of the function.

use super::Primitive;
use crate::plan::{Lowering, Value};
use crate::{Expr, Spec, Tape};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Leaf {
    /// Distinguishes the leaves of a tape.
    pub id: u32,
    pub spec: Spec,
}

// Transforms replace leaves by the expressions they are given and the planner by slots, so only the first three are ever asked.
impl Primitive for Leaf {
    fn text(&self) -> String {
        "leaf".into()
    }
    fn shape(&self, _: &[Spec]) -> Result<Spec, String> {
        Ok(self.spec.clone())
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
    fn lower(&self, _: &mut Lowering, args: &[Value], _: &Spec) -> Value {
        args[0].clone()
    }

    fn jax(&self, args: &[&str], _: &Spec) -> String {
        args.concat()
    }
}
