//! `concat`: arrays joined along one axis.
//!
//! | rule | |
//! |---|---|
//! | jvp | the same of the tangents, absent ones being zeros |
//! | transpose | the slice where the argument lies |
//! | batch | one axis further |
//! | canonical | nested ones flatten; one part is itself |

use osculate_kernels::Body;

use super::{Linear, Op, Primitive, all_batched};
use crate::jax::brackets;
use crate::plan::{Lowering, Value};
use crate::{Expr, Spec, Tape};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Concat {
    pub axis: usize,
    /// Where each part ends along the axis.
    pub ends: Vec<usize>,
}

impl Concat {
    pub fn of(axis: usize, parts: &[Expr<'_>]) -> Concat {
        let mut end = 0usize;
        let mut next = |part: &Expr<'_>| {
            end = end.saturating_add(part.tape().with_node(part.var, |n| n.spec.shape.get(axis).copied().unwrap_or(0)));
            end
        };
        Concat { axis, ends: parts.iter().map(&mut next).collect() }
    }

    /// Elements of a part along the axis, from the first of all on.
    pub fn range(&self, part: usize) -> std::ops::Range<usize> {
        let from = part.checked_sub(1).map_or(0, |before| self.ends[before]);
        from..self.ends[part]
    }
}

impl Primitive for Concat {
    fn text(&self) -> String {
        format!("concat[{}]", self.axis)
    }

    fn shape(&self, args: &[Spec]) -> Result<Spec, String> {
        let first = args.first().ok_or("there is nothing to join")?;
        if self.axis >= first.shape.rank() {
            return Err(format!("{first} has no axis {}", self.axis));
        }
        let mut extent = 0usize;
        for spec in args {
            let but_one = |(a, (d, e)): (usize, (&usize, &usize))| a == self.axis || d == e;
            if spec.shape.rank() != first.shape.rank()
                || spec.kind != first.kind
                || !spec.shape.iter().zip(first.shape.iter()).enumerate().all(but_one)
            {
                return Err(format!("{first} and {spec} do not join along axis {}", self.axis));
            }
            extent = extent.checked_add(spec.shape[self.axis]).ok_or("more elements than can be counted")?;
        }
        Ok(Spec { shape: first.shape.with(self.axis, extent), kind: first.kind })
    }

    fn make<'t>(&self, tape: &'t Tape, args: &[Expr<'t>], spec: Spec) -> Expr<'t> {
        let mut parts = Vec::new();
        for &x in args {
            let nested = tape.with_node(x.var, |n| match &n.op {
                Op::Concat(inner) if inner.axis == self.axis => Some(n.args.clone()),
                _ => None,
            });
            match nested {
                Some(vars) => parts.extend(vars.into_iter().map(|var| Expr::of(tape, var))),
                None => parts.push(x),
            }
        }
        if let [one] = parts[..] {
            return one;
        }
        if parts.iter().all(|p| p.is_zero()) {
            return tape.zero(&spec.shape);
        }
        if let Some(value) = parts[0].constant()
            && parts.iter().all(|p| p.is_constant(value))
        {
            return tape.full(&spec.shape, value);
        }
        tape.intern(Concat::of(self.axis, &parts).into(), &parts, spec)
    }

    fn jvp<'t>(&self, args: &[Expr<'t>], out: Expr<'t>, tangents: &[Option<Expr<'t>>]) -> Option<Expr<'t>> {
        if tangents.iter().all(Option::is_none) {
            return None;
        }
        let parts: Vec<Expr<'t>> =
            tangents.iter().zip(args).map(|(t, x)| t.unwrap_or_else(|| out.tape.zero(x.shape()))).collect();
        Some(out.tape.concat(&parts, self.axis))
    }

    fn batch<'t>(&self, args: &[Expr<'t>], batched: &[bool], n: usize) -> Expr<'t> {
        args[0].tape.concat(&all_batched(args, batched, n), self.axis + 1)
    }

    fn lower(&self, cx: &mut Lowering, args: &[Value], spec: &Spec) -> Value {
        let out = cx.result(&spec.shape, args);
        for (at, part) in args.iter().enumerate() {
            cx.map_into(Body::product(1), std::slice::from_ref(part), &out.sliced(self.axis, self.range(at)));
        }
        out
    }

    fn jax(&self, args: &[&str], _: &Spec) -> String {
        format!("jnp.concatenate({}, axis={})", brackets(args), self.axis)
    }
}

impl Linear for Concat {
    fn transpose<'t>(&self, ct: Expr<'t>, _: &[Expr<'t>], wrt: usize) -> Expr<'t> {
        ct.slice(self.axis, self.range(wrt))
    }
}
