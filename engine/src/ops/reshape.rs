//! `reshape`: the same elements in row-major order.
//!
//! | rule | |
//! |---|---|
//! | jvp | the same of the tangent |
//! | transpose | back to the argument's shape |
//! | batch | the leading axis stays |
//! | canonical | reshapes collapse; adding or dropping axes of extent 1 is a contraction (a view, which folds further) |

use super::{Contract, Labels, Linear, Op, Primitive};
use crate::plan::{Lowering, Value};
use crate::{Expr, Shape, Spec, Tape};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Reshape {
    pub shape: Shape,
}

/// The contraction that only adds and drops axes of extent 1, if that is all there is to do.
fn unit_axes(from: &Shape, to: &Shape) -> Option<Contract> {
    let solid = |s: &Shape| s.iter().copied().filter(|&d| d != 1).collect::<Vec<_>>();
    let solids = solid(from);
    if solids != solid(to) {
        return None;
    }
    let mut dims = solids.clone();
    let mut name = |shape: &Shape| -> Labels {
        let mut next = 0;
        let mut labels = Labels::new();
        for &extent in shape.iter() {
            if extent == 1 {
                dims.push(1);
                labels.push((dims.len() - 1) as u8);
            } else {
                labels.push(next);
                next += 1;
            }
        }
        labels
    };
    let (ins, out) = (name(from), name(to));
    Some(Contract::new(1.0, vec![ins], out, dims))
}

impl Primitive for Reshape {
    fn text(&self) -> String {
        "reshape".into()
    }

    fn shape(&self, args: &[Spec]) -> Result<Spec, String> {
        let from = &args[0];
        if from.shape.size() != self.shape.size() {
            return Err(format!("{from} has {} elements, {} has {}", from.shape.size(), self.shape, self.shape.size()));
        }
        Ok(Spec { shape: self.shape.clone(), kind: from.kind })
    }

    fn make<'t>(&self, tape: &'t Tape, args: &[Expr<'t>], spec: Spec) -> Expr<'t> {
        let mut x = args[0];
        let inner = tape.with_node(x.var, |n| matches!(n.op, Op::Reshape(_)).then(|| n.args[0]));
        if let Some(var) = inner {
            x = Expr::of(tape, var);
        }
        let from = x.shape();
        if from == self.shape {
            return x;
        }
        if x.is_zero() {
            return tape.zero(&self.shape);
        }
        if let Some(value) = x.constant() {
            return tape.full(&self.shape, value);
        }
        match unit_axes(&from, &self.shape) {
            Some(view) if !spec.is_index() => tape.apply(view.into(), &[x]),
            _ => tape.intern(self.clone().into(), &[x], spec),
        }
    }

    fn jvp<'t>(&self, _: &[Expr<'t>], _: Expr<'t>, tangents: &[Option<Expr<'t>>]) -> Option<Expr<'t>> {
        tangents[0].map(|t| t.reshape(&self.shape))
    }

    fn batch<'t>(&self, args: &[Expr<'t>], _: &[bool], n: usize) -> Expr<'t> {
        args[0].reshape(self.shape.batched(n))
    }

    fn lower(&self, cx: &mut Lowering, args: &[Value], spec: &Spec) -> Value {
        cx.reshaped(&args[0], &spec.shape)
    }

    fn jax(&self, args: &[&str], spec: &Spec) -> String {
        format!("jnp.reshape({}, {})", args[0], spec.shape)
    }
}

impl Linear for Reshape {
    fn transpose<'t>(&self, ct: Expr<'t>, args: &[Expr<'t>], _: usize) -> Expr<'t> {
        ct.reshape(args[0].shape())
    }
}
