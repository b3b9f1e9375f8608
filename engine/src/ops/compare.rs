//! `compare`: 1 where x < y (or ≤, =), else 0.
//!
//! | rule | |
//! |---|---|
//! | jvp | none: the result is piecewise constant |
//! | batch | the same |

use osculate_kernels::{Body, Comparison, Instr};

use super::{Primitive, all_batched, list};
use crate::plan::{Lowering, Value};
use crate::{Expr, Spec, Tape};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Compare(pub Comparison);

impl Primitive for Compare {
    fn text(&self) -> String {
        match self.0 {
            Comparison::Less => "less".into(),
            Comparison::LessEqual => "less_equal".into(),
            Comparison::Equal => "equal".into(),
        }
    }

    fn shape(&self, args: &[Spec]) -> Result<Spec, String> {
        match args {
            [x, y] if x == y && !x.is_index() => Ok(x.clone()),
            _ => Err(format!("both sides must be reals of one shape, not {}", list(args))),
        }
    }

    fn make<'t>(&self, tape: &'t Tape, args: &[Expr<'t>], spec: Spec) -> Expr<'t> {
        tape.intern(self.clone().into(), args, spec)
    }

    fn jvp<'t>(&self, _: &[Expr<'t>], _: Expr<'t>, _: &[Option<Expr<'t>>]) -> Option<Expr<'t>> {
        None
    }

    fn batch<'t>(&self, args: &[Expr<'t>], batched: &[bool], n: usize) -> Expr<'t> {
        args[0].tape.apply(self.clone().into(), &all_batched(args, batched, n))
    }

    fn lower(&self, cx: &mut Lowering, args: &[Value], spec: &Spec) -> Value {
        cx.map(Body(vec![Instr::Load(0), Instr::Load(1), Instr::Compare(self.0, 0, 1)]), args, &spec.shape)
    }

    fn jax(&self, args: &[&str], _: &Spec) -> String {
        let how = match self.0 {
            Comparison::Less => "<",
            Comparison::LessEqual => "<=",
            Comparison::Equal => "==",
        };
        format!("jnp.where({} {how} {}, 1.0, 0.0)", args[0], args[1])
    }
}
