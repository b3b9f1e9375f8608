//! `divide`: x/z of one shape, rounded once.
//!
//! | rule | |
//! |---|---|
//! | jvp | ẋ/z − (y/z) ż, y = x/z: what multiplies ż overflows only if the derivative does, in both modes |
//! | transpose | c/z for x; it is not linear in z |
//! | batch | the same |
//! | canonical | constants fold; z = ±2ᵏ is a scaling by ±2⁻ᵏ; what is repeated on both sides is divided once |

use osculate_kernels::{Body, Instr};

use super::{Contract, Labels, Linear, Op, Primitive, all_batched, contract, list, sum};
use crate::expr::labels;
use crate::plan::{Lowering, Value};
use crate::{Expr, Spec, Tape};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Divide;

/// The reciprocal of a power of two that is a normal number of every type, as is the power: multiplying by it divides exactly.
fn exact_reciprocal(z: f64) -> Option<f64> {
    let least = f64::from(f32::MIN_POSITIVE);
    let power = z.to_bits() << 12 == 0; // no bits but those of sign and exponent
    (power && z.abs() >= least && z.abs() <= 1.0 / least).then(|| 1.0 / z)
}

/// Axes along which an array is one element repeated.
pub(crate) fn repeated(x: Expr<'_>) -> Labels {
    let rank = x.shape().rank();
    let axes = x.tape.with_node(x.var, |node| match &node.op {
        Op::Contract(c) if c.is_view() => {
            let carried = |l: &u8| c.ins.first().is_some_and(|labels| labels.contains(l));
            Some((0..rank as u8).filter(|&axis| !carried(&c.out[axis as usize])).collect())
        }
        _ => None,
    });
    axes.unwrap_or_default()
}

/// An array without some of the axes along which it is repeated.
pub(crate) fn without<'t>(x: Expr<'t>, axes: &[u8]) -> Expr<'t> {
    let (op, args) = x.tape.with_node(x.var, |node| (node.op.clone(), node.args.clone()));
    let Op::Contract(c) = op else { return x };
    let kept = (0..).zip(&c.out).filter(|(axis, _)| !axes.contains(axis)).map(|(_, &l)| l).collect();
    let args: Vec<Expr<'t>> = args.into_iter().map(|var| Expr::of(x.tape, var)).collect();
    x.tape.apply(Contract::new(c.coef(), c.ins, kept, c.dims).into(), &args)
}

impl Primitive for Divide {
    fn text(&self) -> String {
        "divide".into()
    }

    fn shape(&self, args: &[Spec]) -> Result<Spec, String> {
        match args {
            [x, z] if x == z && !x.is_index() => Ok(x.clone()),
            _ => Err(format!("both sides must be reals of one shape, not {}", list(args))),
        }
    }

    fn make<'t>(&self, tape: &'t Tape, args: &[Expr<'t>], spec: Spec) -> Expr<'t> {
        let (x, z) = (args[0], args[1]);
        if x.is_zero() {
            return x;
        }
        match (x.constant(), z.constant()) {
            (Some(x), Some(z)) if (x / z).is_finite() => return tape.full(spec.shape, x / z),
            (None, Some(z)) => {
                if let Some(scale) = exact_reciprocal(z) {
                    return x.scale(scale);
                }
            }
            _ => {}
        }
        let others = repeated(z);
        let both: Labels =
            repeated(x).into_iter().filter(|a| others.contains(a) && spec.shape[usize::from(*a)] > 1).collect();
        if both.is_empty() {
            return tape.intern(Divide.into(), args, spec);
        }
        let once = tape.apply(Divide.into(), &[without(x, &both), without(z, &both)]);
        let all = labels(0, spec.shape.rank());
        let kept: Labels = all.iter().copied().filter(|axis| !both.contains(axis)).collect();
        contract(1.0, &[(once, &kept)], &all, &spec.shape, tape)
    }

    fn jvp<'t>(&self, args: &[Expr<'t>], out: Expr<'t>, tangents: &[Option<Expr<'t>>]) -> Option<Expr<'t>> {
        let over = |x: Expr<'t>| out.tape.apply(Divide.into(), &[x, args[1]]);
        let parts = [tangents[0].map(over), tangents[1].map(|z| over(out).times(z).scale(-1.0))];
        let parts: Vec<Expr<'t>> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| sum(&parts, out.tape))
    }

    fn batch<'t>(&self, args: &[Expr<'t>], batched: &[bool], n: usize) -> Expr<'t> {
        args[0].tape.apply(Divide.into(), &all_batched(args, batched, n))
    }

    fn lower(&self, cx: &mut Lowering, args: &[Value], spec: &Spec) -> Value {
        cx.map(Body(vec![Instr::Load(0), Instr::Load(1), Instr::Div(0, 1)]), args, &spec.shape)
    }

    fn jax(&self, args: &[&str], _: &Spec) -> String {
        format!("divide({}, {})", args[0], args[1])
    }
}

impl Linear for Divide {
    fn transpose<'t>(&self, ct: Expr<'t>, args: &[Expr<'t>], wrt: usize) -> Expr<'t> {
        debug_assert_eq!(wrt, 0, "a tangent below");
        ct.tape.apply(Divide.into(), &[ct, args[1]])
    }
}
