//! `to_real` and `to_index`: indices as numbers, and whole numbers as indices; memory holds the same for both.
//!
//! | rule | |
//! |---|---|
//! | jvp | none: indices have no tangent |
//! | batch | the same |
//! | canonical | each undoes the other; of a constant: a constant |

use super::{Op, Primitive};
use crate::plan::{Lowering, Value};
use crate::{Expr, Kind, Spec, Tape};

/// Indices as real numbers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ToReal;

/// Whole numbers below `bound`, which whoever applies it sees to, as indices.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ToIndex {
    pub bound: usize,
}

/// What `x` was before the opposite cast.
fn before<'t>(x: Expr<'t>, undone: impl Fn(&Op) -> bool) -> Option<Expr<'t>> {
    let var = x.tape.with_node(x.var, |n| undone(&n.op).then(|| n.args[0]));
    var.map(|var| Expr::of(x.tape, var))
}

impl Primitive for ToReal {
    fn text(&self) -> String {
        "to_real".into()
    }

    fn shape(&self, args: &[Spec]) -> Result<Spec, String> {
        Ok(Spec::real(&args[0].shape))
    }

    fn make<'t>(&self, tape: &'t Tape, args: &[Expr<'t>], spec: Spec) -> Expr<'t> {
        let x = args[0];
        if !x.spec().is_index() {
            return x;
        }
        if let Some(whole) = before(x, |op| matches!(op, Op::ToIndex(_))) {
            return whole;
        }
        let constant = tape.with_node(x.var, |n| match &n.op {
            Op::Constant(c) => Some(c.described(spec.clone())),
            _ => None,
        });
        match constant {
            Some(constant) => tape.apply(constant.into(), &[]),
            None => tape.intern(ToReal.into(), args, spec),
        }
    }

    fn jvp<'t>(&self, _: &[Expr<'t>], _: Expr<'t>, _: &[Option<Expr<'t>>]) -> Option<Expr<'t>> {
        None
    }

    fn batch<'t>(&self, args: &[Expr<'t>], _: &[bool], _: usize) -> Expr<'t> {
        args[0].to_real()
    }

    fn lower(&self, _: &mut Lowering, args: &[Value], _: &Spec) -> Value {
        args[0].clone()
    }

    fn jax(&self, args: &[&str], _: &Spec) -> String {
        format!("jnp.asarray({}, dtype=jnp.float64)", args[0])
    }
}

impl Primitive for ToIndex {
    fn text(&self) -> String {
        format!("to_index[{}]", self.bound)
    }

    fn shape(&self, args: &[Spec]) -> Result<Spec, String> {
        Ok(Spec { shape: args[0].shape.clone(), kind: Kind::Index(self.bound) })
    }

    fn make<'t>(&self, tape: &'t Tape, args: &[Expr<'t>], spec: Spec) -> Expr<'t> {
        match before(args[0], |op| matches!(op, Op::ToReal(_))) {
            Some(indices) if indices.spec() == spec => indices,
            _ => tape.intern(self.clone().into(), args, spec),
        }
    }

    fn jvp<'t>(&self, _: &[Expr<'t>], _: Expr<'t>, _: &[Option<Expr<'t>>]) -> Option<Expr<'t>> {
        None
    }

    fn batch<'t>(&self, args: &[Expr<'t>], _: &[bool], _: usize) -> Expr<'t> {
        args[0].tape.apply(self.clone().into(), args)
    }

    fn lower(&self, _: &mut Lowering, args: &[Value], _: &Spec) -> Value {
        args[0].clone()
    }

    fn jax(&self, args: &[&str], _: &Spec) -> String {
        format!("jnp.asarray({}, dtype=jnp.int64)", args[0])
    }
}
