//! `stop`: the same value, constant to every derivative.
//!
//! | rule | |
//! |---|---|
//! | jvp | none |
//! | batch | the same |
//! | canonical | of a constant or of a stop: the argument |

use super::{Op, Primitive};
use crate::plan::{Lowering, Value};
use crate::{Expr, Spec, Tape};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Stop;

impl Primitive for Stop {
    fn text(&self) -> String {
        "stop".into()
    }

    fn shape(&self, args: &[Spec]) -> Result<Spec, String> {
        Ok(args[0].clone())
    }

    fn make<'t>(&self, tape: &'t Tape, args: &[Expr<'t>], spec: Spec) -> Expr<'t> {
        let stopped = tape.with_node(args[0].var, |n| matches!(n.op, Op::Stop(_)));
        if stopped || spec.is_index() || args[0].constant().is_some() {
            return args[0];
        }
        tape.intern(Stop.into(), args, spec)
    }

    fn jvp<'t>(&self, _: &[Expr<'t>], _: Expr<'t>, _: &[Option<Expr<'t>>]) -> Option<Expr<'t>> {
        None
    }

    fn batch<'t>(&self, args: &[Expr<'t>], _: &[bool], _: usize) -> Expr<'t> {
        args[0].stop_gradient()
    }

    fn lower(&self, _: &mut Lowering, args: &[Value], _: &Spec) -> Value {
        args[0].clone()
    }

    fn jax(&self, args: &[&str], _: &Spec) -> String {
        format!("lax.stop_gradient({})", args[0])
    }
}
