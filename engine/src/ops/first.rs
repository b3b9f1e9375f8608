//! `first`: for every index along an axis, the first position that has the same.
//!
//! Values that are added to one row of a table meet there; with these positions as indices they meet without the table.
//!
//! | rule | |
//! |---|---|
//! | jvp | none: indices have no tangent |
//! | batch | one axis further |

use super::Primitive;
use crate::plan::{Lowering, Value};
use crate::{Expr, Kind, Spec, Tape};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct First {
    pub axis: usize,
}

impl Primitive for First {
    fn text(&self) -> String {
        format!("first[{}]", self.axis)
    }

    fn shape(&self, args: &[Spec]) -> Result<Spec, String> {
        let x = &args[0];
        match (x.kind, x.shape.get(self.axis)) {
            (Kind::Index(_), Some(&extent)) => Ok(Spec::index(&x.shape, extent)),
            (Kind::Index(_), None) => Err(format!("{x} has no axis {}", self.axis)),
            _ => Err(format!("labels are wanted, not {x}: declare the leaf with label or Spec::index")),
        }
    }

    fn make<'t>(&self, tape: &'t Tape, args: &[Expr<'t>], spec: Spec) -> Expr<'t> {
        tape.intern(self.clone().into(), args, spec)
    }

    fn jvp<'t>(&self, _: &[Expr<'t>], _: Expr<'t>, _: &[Option<Expr<'t>>]) -> Option<Expr<'t>> {
        None
    }

    fn batch<'t>(&self, args: &[Expr<'t>], _: &[bool], _: usize) -> Expr<'t> {
        args[0].tape.apply(First { axis: self.axis + 1 }.into(), args)
    }

    fn lower(&self, cx: &mut Lowering, args: &[Value], _: &Spec) -> Value {
        cx.first(&args[0], self.axis)
    }

    fn jax(&self, args: &[&str], _: &Spec) -> String {
        format!("first({}, {})", args[0], self.axis)
    }
}
