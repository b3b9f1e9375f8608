//! `add`: x + y of one shape.
//!
//! | rule | |
//! |---|---|
//! | jvp | ẋ + ẏ |
//! | transpose | c, c |
//! | batch | the same |
//! | canonical | zeros vanish, c₁k + c₂k = (c₁ + c₂)k for coefficients of one sign, disjoint pads join to a concat, arguments are sorted |
//!
//! `k − k` is NaN where k is infinite, so that coefficients of two signs are not added; and −0 + 0 is 0, so that only −0 can be left out.

use osculate_kernels::{Body, Instr};

use super::contract::holds;
use super::{Concat, Contract, Linear, Op, Pad, Primitive, all_batched};
use crate::plan::{Lowering, Value};
use crate::{Expr, Spec, Tape, Var};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Add;

/// Adds expressions of one shape; no expressions make no sum, so there must be one.
///
/// Pads of the same axis that do not overlap (what slices of a sequence transpose to) are joined first: a chain of T sums of
/// full-length pads would cost T² elements.
#[track_caller]
pub(crate) fn sum<'t>(terms: &[Expr<'t>], tape: &'t Tape) -> Expr<'t> {
    let mut terms = terms.to_vec();
    if tape.failed() {
        return terms[0]; // shapes mean nothing after an error
    }
    if terms.len() > 2 {
        join_pads(&mut terms, tape);
    }
    let mut total = terms[0];
    for &term in &terms[1..] {
        total = tape.apply(Add.into(), &[total, term]);
    }
    total
}

/// Most parts of an array that pads join to one by one: each joins anew what was joined so far.
const JOINED: usize = 64;

/// The sum of two, where both are pads that join, or one is a sum with such a pad.
fn joined<'t>(x: Expr<'t>, y: Expr<'t>, tape: &'t Tape) -> Option<Expr<'t>> {
    // The axis of a pad, and how many parts it has.
    let pad = |var: Var| {
        let (axis, inner) = tape.with_node(var, |n| match n.op {
            Op::Pad(Pad { axis, .. }) => Some((axis, n.args[0])),
            _ => None,
        })?;
        let parts =
            tape.with_node(inner, |n| if matches!(&n.op, Op::Concat(c) if c.axis == axis) { n.args.len() } else { 1 });
        Some((axis, parts))
    };
    let both = |a: Expr<'t>, b: Expr<'t>| {
        let (p, q) = (pad(a.var)?, pad(b.var)?);
        let mut terms = vec![a, b];
        if p.0 == q.0 && p.1 + q.1 <= JOINED {
            join_pads(&mut terms, tape);
        }
        (terms.len() == 1).then(|| terms[0])
    };
    if let Some(whole) = both(x, y) {
        return Some(whole);
    }
    let (of, term) = if pad(y.var).is_some() { (x, y) } else { (y, x) };
    let args = tape.with_node(of.var, |n| if matches!(n.op, Op::Add(_)) { n.args.clone() } else { Vec::new() });
    let args: Vec<Expr<'t>> = args.into_iter().map(|var| Expr::of(tape, var)).collect();
    let &[a, b] = &args[..] else { return None };
    let (rest, whole) = both(b, term).map(|whole| (a, whole)).or_else(|| both(a, term).map(|whole| (b, whole)))?;
    Some(tape.apply(Add.into(), &[rest, whole]))
}

fn join_pads<'t>(terms: &mut Vec<Expr<'t>>, tape: &'t Tape) {
    let pad = |x: &Expr<'t>| {
        tape.with_node(x.var, |node| match node.op {
            Op::Pad(Pad { axis, before, after }) => Some((axis, before, after, node.args[0])),
            _ => None,
        })
    };
    let Some(axis) = terms.iter().find_map(pad).map(|(axis, ..)| axis) else { return };
    let mut pads: Vec<_> = terms.iter().filter_map(pad).filter(|p| p.0 == axis).collect();
    pads.sort_by_key(|&(_, before, ..)| before);
    let extent = terms[0].shape()[axis];
    let ends = |&(_, _, after, _): &(usize, usize, usize, _)| extent - after;
    if pads.len() < 2 || pads.windows(2).any(|p| ends(&p[0]) > p[1].1) {
        return;
    }
    let mut parts = Vec::new();
    let mut at = pads[0].1;
    for p in &pads {
        let x = Expr::of(tape, p.3);
        if p.1 > at {
            parts.push(tape.zero(x.shape().with(axis, p.1 - at)));
        }
        parts.push(x);
        at = ends(p);
    }
    let joined = tape.apply(Concat::of(axis, &parts).into(), &parts).pad(axis, pads[0].1, extent - at);
    terms.retain(|x| pad(x).is_none_or(|p| p.0 != axis));
    terms.push(joined);
}

/// `(c, k)` with `x = c·k`: `k` is a contraction with coefficient 1 over the operands, or without one the operand itself.
///
/// Contractions that sum are left whole: with another coefficient they would be computed again.
fn scaled<'t>(x: Expr<'t>) -> (f64, Option<Contract>, Vec<Expr<'t>>) {
    let found = x.tape.with_node(x.var, |node| match &node.op {
        Op::Contract(c) if !c.sums() => Some((c.clone(), node.args.clone())),
        _ => None,
    });
    match found {
        None => (1.0, None, vec![x]),
        Some((c, args)) => {
            let args: Vec<Expr<'t>> = args.into_iter().map(|var| Expr::of(x.tape, var)).collect();
            let core = c.with_coef(1.0);
            let plain = core.is_identity();
            (c.coef(), (!plain).then_some(core), args)
        }
    }
}

impl Primitive for Add {
    fn text(&self) -> String {
        "add".into()
    }

    fn shape(&self, args: &[Spec]) -> Result<Spec, String> {
        match args {
            [a, b] if a == b && !a.is_index() => Ok(a.clone()),
            [a, b] => Err(format!("cannot add {a} and {b}")),
            _ => Err(format!("two arguments, not {}", args.len())),
        }
    }

    fn make<'t>(&self, tape: &'t Tape, args: &[Expr<'t>], spec: Spec) -> Expr<'t> {
        let (mut x, mut y) = (args[0], args[1]);
        if y.is_zero() || y.is_constant(-0.0) {
            return x;
        }
        if x.is_zero() || x.is_constant(-0.0) {
            return y;
        }
        let ((cx, kx, ax), (cy, ky, ay)) = (scaled(x), scaled(y));
        if kx == ky && ax.iter().map(|e| e.var).eq(ay.iter().map(|e| e.var)) {
            let harmless = ax.is_empty() || cx * cy > 0.0 && holds(cx + cy);
            match kx {
                Some(core) if harmless => return tape.apply(core.with_coef(cx + cy).into(), &ax),
                None if harmless => return ax[0].scale(cx + cy),
                _ if x.var == y.var => return x.scale(2.0),
                _ => {}
            }
        }
        if let Some(joined) = joined(x, y, tape) {
            return joined;
        }
        if y.var < x.var {
            std::mem::swap(&mut x, &mut y);
        }
        tape.intern(Add.into(), &[x, y], spec)
    }

    fn jvp<'t>(&self, _: &[Expr<'t>], out: Expr<'t>, tangents: &[Option<Expr<'t>>]) -> Option<Expr<'t>> {
        match *tangents {
            [Some(x), Some(y)] => Some(sum(&[x, y], out.tape)),
            [x, y] => x.or(y),
            _ => None,
        }
    }

    fn batch<'t>(&self, args: &[Expr<'t>], batched: &[bool], n: usize) -> Expr<'t> {
        sum(&all_batched(args, batched, n), args[0].tape)
    }

    fn lower(&self, cx: &mut Lowering, args: &[Value], spec: &Spec) -> Value {
        cx.map(Body(vec![Instr::Load(0), Instr::Load(1), Instr::Add(0, 1)]), args, &spec.shape)
    }

    fn jax(&self, args: &[&str], _: &Spec) -> String {
        format!("{} + {}", args[0], args[1])
    }
}

impl Linear for Add {
    fn transpose<'t>(&self, ct: Expr<'t>, _: &[Expr<'t>], _: usize) -> Expr<'t> {
        ct
    }
}
