//! `onehot`: indices as indicator vectors along a new last axis, as long as the indices' bound.
//!
//! Indexing is a contraction with it, so that its derivatives, its batching and its squares come from `contract`.
//!
//! | rule | |
//! |---|---|
//! | jvp | none: indices have no tangent |
//! | batch | the same |

use osculate_kernels::{Body, Comparison, Instr};

use super::Primitive;
use crate::plan::{Lowering, Value};
use crate::{Expr, Kind, Spec, Tape};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct OneHot;

impl Primitive for OneHot {
    fn text(&self) -> String {
        "onehot".into()
    }

    fn shape(&self, args: &[Spec]) -> Result<Spec, String> {
        match args[0].kind {
            Kind::Index(bound) => Ok(Spec::real([&args[0].shape[..], &[bound]].concat())),
            _ => Err(format!("labels are wanted, not {}: declare the leaf with label or Spec::index", args[0])),
        }
    }

    fn make<'t>(&self, tape: &'t Tape, args: &[Expr<'t>], spec: Spec) -> Expr<'t> {
        tape.intern(OneHot.into(), args, spec)
    }

    fn jvp<'t>(&self, _: &[Expr<'t>], _: Expr<'t>, _: &[Option<Expr<'t>>]) -> Option<Expr<'t>> {
        None
    }

    fn batch<'t>(&self, args: &[Expr<'t>], _: &[bool], _: usize) -> Expr<'t> {
        args[0].one_hot()
    }

    fn lower(&self, cx: &mut Lowering, args: &[Value], spec: &Spec) -> Value {
        let classes = spec.shape[spec.shape.rank() - 1];
        let index = args[0].repeated(classes);
        let iota = cx.iota(classes, &spec.shape);
        let body = vec![Instr::Load(0), Instr::Load(1), Instr::Compare(Comparison::Equal, 0, 1)];
        Value { picks: true, ..cx.map(Body(body), &[index, iota], &spec.shape) }
    }

    fn jax(&self, args: &[&str], spec: &Spec) -> String {
        format!("jax.nn.one_hot({}, {}, dtype=jnp.float64)", args[0], spec.shape[spec.shape.rank() - 1])
    }
}
