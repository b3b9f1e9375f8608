//! `slice` and `pad`: a range of one axis, and zeros around it; each is the other's transpose.
//!
//! | rule | slice | pad |
//! |---|---|---|
//! | jvp | the same of the tangent | the same of the tangent |
//! | transpose | pad | slice |
//! | batch | one axis further | one axis further |
//! | canonical | whole ranges vanish; slices of slices, of pads and of concats look through | nothing to pad vanishes; pads of pads merge |

use osculate_kernels::{Body, Instr};

use super::{Linear, Op, Primitive};
use crate::jax::brackets;
use crate::plan::{Lowering, Value};
use crate::{Expr, Spec, Tape};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Slice {
    pub axis: usize,
    pub start: usize,
    pub end: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Pad {
    pub axis: usize,
    pub before: usize,
    pub after: usize,
}

impl Primitive for Slice {
    fn text(&self) -> String {
        format!("slice[{}: {}..{}]", self.axis, self.start, self.end)
    }

    fn shape(&self, args: &[Spec]) -> Result<Spec, String> {
        let x = &args[0];
        match x.shape.get(self.axis) {
            None => Err(format!("{x} has no axis {}", self.axis)),
            Some(&extent) if self.start >= self.end || self.end > extent => {
                Err(format!("{}..{} is not a range of axis {} of {x}", self.start, self.end, self.axis))
            }
            Some(_) => Ok(Spec { shape: x.shape.with(self.axis, self.end - self.start), kind: x.kind }),
        }
    }

    fn make<'t>(&self, tape: &'t Tape, args: &[Expr<'t>], spec: Spec) -> Expr<'t> {
        let (axis, len) = (self.axis, self.end - self.start);
        let (mut x, mut start) = (args[0], self.start);
        // What it is a slice of is looked through, as far as that goes.
        loop {
            let extent = tape.with_node(x.var, |n| n.spec.shape[axis]);
            if len == extent {
                return x;
            }
            if x.is_zero() {
                return tape.zero(&spec.shape);
            }
            if let Some(value) = x.constant() {
                return tape.full(&spec.shape, value);
            }
            let end = start + len;
            let beyond = |p: &Pad| end <= p.before || start >= extent - p.after;
            if tape.with_node(x.var, |n| matches!(&n.op, Op::Pad(p) if p.axis == axis && beyond(p))) {
                return tape.zero(&spec.shape);
            }
            let within = tape.with_node(x.var, |n| match &n.op {
                Op::Slice(s) if s.axis == axis => Some((n.args[0], s.start + start)),
                Op::Pad(p) if p.axis == axis && start >= p.before && end <= extent - p.after => {
                    Some((n.args[0], start - p.before))
                }
                Op::Concat(c) if c.axis == axis => {
                    let part = c.ends.partition_point(|&end| end <= start);
                    let range = c.range(part);
                    (end <= range.end).then(|| (n.args[part], start - range.start))
                }
                _ => None,
            });
            match within {
                Some((inner, from)) => (x, start) = (Expr::of(tape, inner), from),
                None => return tape.intern(Slice { axis, start, end }.into(), &[x], spec),
            }
        }
    }

    fn jvp<'t>(&self, _: &[Expr<'t>], _: Expr<'t>, tangents: &[Option<Expr<'t>>]) -> Option<Expr<'t>> {
        tangents[0].map(|t| t.slice(self.axis, self.start..self.end))
    }

    fn batch<'t>(&self, args: &[Expr<'t>], _: &[bool], _: usize) -> Expr<'t> {
        args[0].slice(self.axis + 1, self.start..self.end)
    }

    fn lower(&self, _: &mut Lowering, args: &[Value], _: &Spec) -> Value {
        args[0].sliced(self.axis, self.start..self.end)
    }

    fn jax(&self, args: &[&str], _: &Spec) -> String {
        format!("lax.slice_in_dim({}, {}, {}, axis={})", args[0], self.start, self.end, self.axis)
    }
}

impl Linear for Slice {
    fn transpose<'t>(&self, ct: Expr<'t>, args: &[Expr<'t>], _: usize) -> Expr<'t> {
        ct.pad(self.axis, self.start, args[0].shape()[self.axis] - self.end)
    }
}

impl Primitive for Pad {
    fn text(&self) -> String {
        format!("pad[{}: {}, {}]", self.axis, self.before, self.after)
    }

    fn shape(&self, args: &[Spec]) -> Result<Spec, String> {
        let x = &args[0];
        match x.shape.get(self.axis) {
            None => Err(format!("{x} has no axis {}", self.axis)),
            Some(_) if x.is_index() => Err(format!("numbers are wanted, not {x}, which have no zero to pad with")),
            Some(&extent) => match self.before.checked_add(extent).and_then(|n| n.checked_add(self.after)) {
                Some(padded) => Ok(Spec::real(x.shape.with(self.axis, padded))),
                None => Err("a padding that cannot be counted".into()),
            },
        }
    }

    fn make<'t>(&self, tape: &'t Tape, args: &[Expr<'t>], spec: Spec) -> Expr<'t> {
        let x = args[0];
        if self.before + self.after == 0 {
            return x;
        }
        if x.is_zero() {
            return tape.zero(&spec.shape);
        }
        let inner = tape.with_node(x.var, |n| match n.op {
            Op::Pad(Pad { axis, before, after }) if axis == self.axis => Some((before, after, n.args[0])),
            _ => None,
        });
        match inner {
            Some((before, after, var)) => Expr::of(tape, var).pad(self.axis, self.before + before, self.after + after),
            None => tape.intern(self.clone().into(), args, spec),
        }
    }

    fn jvp<'t>(&self, _: &[Expr<'t>], _: Expr<'t>, tangents: &[Option<Expr<'t>>]) -> Option<Expr<'t>> {
        tangents[0].map(|t| t.pad(self.axis, self.before, self.after))
    }

    fn batch<'t>(&self, args: &[Expr<'t>], _: &[bool], _: usize) -> Expr<'t> {
        args[0].pad(self.axis + 1, self.before, self.after)
    }

    fn lower(&self, cx: &mut Lowering, args: &[Value], spec: &Spec) -> Value {
        let out = cx.result(&spec.shape, args);
        let extent = args[0].shape[self.axis];
        let zero = Body(vec![Instr::Const(0.0)]);
        for range in [0..self.before, self.before + extent..self.before + extent + self.after] {
            if !range.is_empty() {
                cx.map_into(zero.clone(), &[], &out.sliced(self.axis, range));
            }
        }
        cx.map_into(Body::product(1), args, &out.sliced(self.axis, self.before..self.before + extent));
        out
    }

    fn jax(&self, args: &[&str], spec: &Spec) -> String {
        let widths = (0..spec.shape.rank()).map(|a| if a == self.axis { (self.before, self.after) } else { (0, 0) });
        format!("jnp.pad({}, {})", args[0], brackets(widths.map(|(before, after)| format!("({before}, {after})"))))
    }
}

impl Linear for Pad {
    fn transpose<'t>(&self, ct: Expr<'t>, args: &[Expr<'t>], _: usize) -> Expr<'t> {
        ct.slice(self.axis, self.before..self.before + args[0].shape()[self.axis])
    }
}
