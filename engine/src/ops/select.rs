//! `select`: y where the mask is not zero, else z.
//!
//! | rule | |
//! |---|---|
//! | jvp | select(m, ẏ, ż), absent tangents being zeros; the mask's is not used |
//! | transpose | select(m, c, 0), select(m, 0, c) |
//! | batch | the same |
//! | canonical | equal branches are the branch |
//!
//! It is linear in its branches, never a product with the mask: 0·∞ would be NaN.

use osculate_kernels::{Body, Instr};

use super::{Linear, Primitive, all_batched};
use crate::plan::{Lowering, Value};
use crate::{Expr, Spec, Tape};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Select;

impl Primitive for Select {
    fn text(&self) -> String {
        "select".into()
    }

    fn shape(&self, args: &[Spec]) -> Result<Spec, String> {
        match args {
            [m, y, z] if m == y && y == z && !m.is_index() => Ok(y.clone()),
            _ => Err(format!("mask and branches must be reals of one shape, not {}", crate::ops::list(args))),
        }
    }

    fn make<'t>(&self, tape: &'t Tape, args: &[Expr<'t>], spec: Spec) -> Expr<'t> {
        match (args[0].constant(), args[1].var == args[2].var) {
            (_, true) => args[1],
            (Some(mask), _) => args[if mask != 0.0 { 1 } else { 2 }],
            _ => tape.intern(Select.into(), args, spec),
        }
    }

    fn jvp<'t>(&self, args: &[Expr<'t>], out: Expr<'t>, tangents: &[Option<Expr<'t>>]) -> Option<Expr<'t>> {
        if tangents[1].is_none() && tangents[2].is_none() {
            return None;
        }
        let zero = out.tape.zero(out.shape());
        let branches = [tangents[1].unwrap_or(zero), tangents[2].unwrap_or(zero)];
        Some(out.tape.apply(Select.into(), &[args[0], branches[0], branches[1]]))
    }

    fn batch<'t>(&self, args: &[Expr<'t>], batched: &[bool], n: usize) -> Expr<'t> {
        args[0].tape.apply(Select.into(), &all_batched(args, batched, n))
    }

    fn lower(&self, cx: &mut Lowering, args: &[Value], spec: &Spec) -> Value {
        let body = vec![Instr::Load(0), Instr::Load(1), Instr::Load(2), Instr::Select(0, 1, 2)];
        cx.map(Body(body), args, &spec.shape)
    }

    fn jax(&self, args: &[&str], _: &Spec) -> String {
        format!("jnp.where({} != 0.0, {}, {})", args[0], args[1], args[2])
    }
}

impl Linear for Select {
    fn transpose<'t>(&self, ct: Expr<'t>, args: &[Expr<'t>], wrt: usize) -> Expr<'t> {
        let zero = ct.tape.zero(ct.shape());
        let branches = if wrt == 1 { [ct, zero] } else { [zero, ct] };
        ct.tape.apply(Select.into(), &[args[0], branches[0], branches[1]])
    }
}
