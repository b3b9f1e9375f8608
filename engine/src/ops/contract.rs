//! `contract`: c · Σ Π operands, by labels — the only multilinear primitive.
//!
//! Every operand names its axes by labels; labels that the result lacks are summed over, labels that only the result has repeat
//! it. So products, matrix products, sums, permutations, scalings, broadcasts and fills are all contractions.
//!
//! | rule | |
//! |---|---|
//! | jvp | Σᵢ with operand i replaced by its tangent |
//! | transpose | the cotangent takes the operand's place, the operand's labels become the result's |
//! | batch | one more label, on the batched operands and on the result |
//! | canonical | views (one operand, nothing summed) and fills fold in, coefficients multiply where that is harmless, operands are sorted, labels numbered by first appearance |
//!
//! A coefficient leaves the operand that it scales only within [`moves`]: users scale precisely to keep products within the range of
//! the type. What is computed is then at most 2³⁰ times larger or smaller than what was written. Any other scaling stays a node.

use super::{Linear, Op, Primitive, not_numbers, sum};
use crate::jax::{brackets, number};
use crate::plan::{self, Lowering, Value};
use crate::{Expr, Shape, Spec, Tape};

/// Names of an array's axes.
pub(crate) type Labels = Vec<u8>;

/// Most axes of all operands of a contraction, so that labels fit a byte whatever folds in.
const LABELS: usize = 200;

/// Most powers of two by which a coefficient scales that leaves its operand.
const MOVED: f64 = 30.0;

/// Whether a coefficient may be applied to a product or sum instead of to an operand of it.
pub(crate) fn moves(coef: f64) -> bool {
    within(coef, MOVED as i32)
}

/// Whether a coefficient is far from the ends of the range of every type: two scalings whose product is may be one.
pub(super) fn holds(coef: f64) -> bool {
    within(coef, 100)
}

/// Whether |x| is from 2⁻ᵉ to 2ᵉ.
fn within(x: f64, exponent: i32) -> bool {
    (2f64.powi(-exponent)..=2f64.powi(exponent)).contains(&x.abs())
}

/// An f64 compared by its bits, so that nodes can be hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Coef(u64);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Contract {
    coef: Coef,
    pub ins: Vec<Labels>,
    pub out: Labels,
    /// Extent of every label.
    pub dims: Vec<usize>,
}

/// Applies a contraction.
#[track_caller]
pub(crate) fn contract<'t>(
    coef: f64,
    operands: &[(Expr<'t>, &[u8])],
    out: &[u8],
    dims: &[usize],
    tape: &'t Tape,
) -> Expr<'t> {
    let ins = operands.iter().map(|(_, labels)| labels.to_vec()).collect();
    let args: Vec<Expr<'t>> = operands.iter().map(|(x, _)| *x).collect();
    tape.apply(Contract::new(coef, ins, out.to_vec(), dims.to_vec()).into(), &args)
}

/// Labels as printed.
pub(super) fn letters(labels: &[u8]) -> String {
    let letter = |&l: &u8| match l {
        0..26 => ((b'a' + l) as char).to_string(),
        _ => format!("<{l}>"),
    };
    labels.iter().map(letter).collect()
}

impl Contract {
    pub fn new(coef: f64, ins: Vec<Labels>, out: Labels, dims: Vec<usize>) -> Contract {
        Contract { coef: Coef(coef.to_bits()), ins, out, dims }
    }

    /// The same value everywhere.
    pub fn fill(shape: Shape, value: f64) -> Contract {
        Contract::new(value, Vec::new(), (0..shape.rank() as u8).collect(), shape.to_vec())
    }

    pub fn coef(&self) -> f64 {
        f64::from_bits(self.coef.0)
    }

    pub fn with_coef(&self, coef: f64) -> Contract {
        Contract::new(coef, self.ins.clone(), self.out.clone(), self.dims.clone())
    }

    /// Whether it is its only operand times the coefficient.
    pub fn is_identity(&self) -> bool {
        self.ins.len() == 1 && self.ins[0] == self.out
    }

    /// Whether it sums nothing over more than one element and multiplies nothing: a permutation, broadcast, scaling or fill.
    pub fn is_view(&self) -> bool {
        self.ins.len() <= 1 && !self.sums()
    }

    /// Whether it sums over more than one element.
    pub fn sums(&self) -> bool {
        self.ins.iter().flatten().any(|l| !self.out.contains(l) && self.dims[*l as usize] != 1)
    }

    /// An einsum of the operands, repeated along the axes that none of them has.
    fn to_jax(&self, args: &[&str], spec: &Spec) -> String {
        let carried = |l: &u8| self.ins.iter().any(|ls| ls.contains(l));
        let out: Labels = self.out.iter().copied().filter(carried).collect();
        if self.ins.is_empty() {
            return format!("jnp.full({}, {})", spec.shape, number(self.coef()));
        }
        // Letters as numpy has them, or numbers where those run out.
        let letter = |&l: &u8| char::from(if l < 26 { b'a' + l } else { b'A' + (l - 26) });
        let product = if self.ins.len() == 1 && self.ins[0] == out {
            args[0].to_string()
        } else if self.dims.len() <= 52 {
            let letters = |labels: &Labels| labels.iter().map(letter).collect::<String>();
            let ins: Vec<String> = self.ins.iter().map(letters).collect();
            format!("jnp.einsum(\"{}->{}\", {})", ins.join(","), letters(&out), args.join(", "))
        } else {
            let operands: Vec<String> =
                args.iter().zip(&self.ins).map(|(x, labels)| format!("{x}, {}", brackets(labels))).collect();
            format!("jnp.einsum({}, {})", operands.join(", "), brackets(&out))
        };
        let product = if self.coef() == 1.0 { product } else { format!("{} * {product}", number(self.coef())) };
        if out.len() == self.out.len() {
            return product;
        }
        let new = self.out.iter().enumerate().filter(|(_, l)| !carried(l)).map(|(axis, _)| axis);
        format!("spread({product}, {}, {})", brackets(new), spec.shape)
    }
}

impl<'t> Expr<'t> {
    /// The value, if it is the same number everywhere.
    pub(crate) fn constant(self) -> Option<f64> {
        self.tape.with_node(self.var, |node| match &node.op {
            Op::Contract(c) if c.ins.is_empty() => Some(c.coef()),
            Op::Zero(_) => Some(0.0),
            _ => None,
        })
    }

    /// Whether it is this number everywhere, sign of a zero and all.
    pub(crate) fn is_constant(self, value: f64) -> bool {
        self.constant().is_some_and(|constant| constant.to_bits() == value.to_bits())
    }
}

/// Operands of a contraction while it is brought into canonical form, labels `0..dims.len()`.
struct Parts<'t> {
    coef: f64,
    operands: Vec<(Expr<'t>, Labels)>,
    dims: Vec<usize>,
    /// Σ |log₂ c| of the coefficients c taken out of operands so far. It is limited as a single one is: operands are multiplied in any
    /// order, so that a product of some of them may lack several of these coefficients at once.
    moved: f64,
}

impl<'t> Parts<'t> {
    /// Takes views and fills among the operands in, as long as there are any whose coefficients may leave them.
    fn fold_views(&mut self, out: &[u8]) {
        let (mut at, mut idle) = (0, 0);
        while idle < self.operands.len() {
            at %= self.operands.len();
            match self.fold_view(at, out) {
                true => idle = 0,
                false => (at, idle) = (at + 1, idle + 1),
            }
        }
    }

    /// Takes one in, if it is a view or fill and may be.
    fn fold_view(&mut self, at: usize, out: &[u8]) -> bool {
        let (x, labels) = self.operands[at].clone();
        let tape = x.tape;
        let view = tape.with_node(x.var, |node| match &node.op {
            Op::Contract(c) if c.is_view() => Some((c.clone(), node.args.first().copied())),
            _ => None,
        });
        let Some((view, inner)) = view else { return false };
        let mut dims = self.dims.clone();
        let mut place = |l: &u8| match view.out.iter().position(|o| o == l) {
            Some(axis) => labels[axis],
            None => {
                dims.push(1);
                (dims.len() - 1) as u8
            }
        };
        let within: Labels = view.ins.iter().flatten().map(&mut place).collect();
        // A label that is summed over but that no operand carries any more counts its extent.
        let others = || self.operands.iter().enumerate().filter(|&(other, _)| other != at).map(|(_, (_, ls))| ls);
        let carried = |l: &u8| within.contains(l) || out.contains(l) || others().any(|ls| ls.contains(l));
        let repeats: f64 = labels.iter().filter(|l| !carried(l)).map(|&l| dims[l as usize] as f64).product();
        let merged = self.coef * view.coef() * repeats;
        let scales = others().next().is_none() && within.iter().all(|l| out.contains(l) || dims[*l as usize] == 1);
        let exact = view.coef().abs() == 1.0 && repeats == 1.0 || scales && self.coef.abs() == 1.0 && repeats == 1.0;
        // A number scales nothing of its own.
        let moved = self.moved + (view.coef() * repeats).abs().log2().abs();
        if !(inner.is_none() || exact || if scales { holds(merged) } else { moves(merged) && moved <= MOVED }) {
            return false;
        }
        if !(inner.is_none() || scales) {
            self.moved = moved;
        }
        (self.coef, self.dims) = (merged, dims);
        match inner {
            Some(var) => self.operands[at] = (Expr::of(tape, var), within),
            None => drop(self.operands.remove(at)),
        }
        true
    }

    /// Whether something is multiplied or summed besides the coefficient.
    fn computes(&self, out: &[u8]) -> bool {
        let summed = |l: &u8| !out.contains(l) && self.dims[*l as usize] != 1;
        self.operands.len() > 1 || self.operands.iter().any(|(_, labels)| labels.iter().any(summed))
    }
}

impl Primitive for Contract {
    fn text(&self) -> String {
        let ins: Vec<String> = self.ins.iter().map(|labels| letters(labels)).collect();
        let coef = if self.coef() == 1.0 { String::new() } else { format!("{} ", self.coef()) };
        format!("contract[{coef}{}->{}]", ins.join(","), letters(&self.out))
    }

    fn shape(&self, args: &[Spec]) -> Result<Spec, String> {
        if self.dims.len() + args.iter().map(|a| a.shape.rank()).sum::<usize>() > LABELS {
            return Err(format!("operands with more than {LABELS} axes in all"));
        }
        for (labels, spec) in self.ins.iter().zip(args) {
            if spec.is_index() {
                return Err(not_numbers(spec));
            }
            let dims: Vec<usize> = labels.iter().map(|&l| self.dims[l as usize]).collect();
            if dims != spec.shape[..] {
                return Err(format!("an operand is {spec}, not {}", Shape::from(dims)));
            }
        }
        for labels in self.ins.iter().chain([&self.out]) {
            if labels.iter().enumerate().any(|(i, l)| labels[..i].contains(l)) {
                return Err(
                    "an axis is named twice in one operand (a diagonal): multiply by an identity matrix instead".into(),
                );
            }
        }
        Ok(Spec::real(self.out.iter().map(|&l| self.dims[l as usize]).collect::<Vec<_>>()))
    }

    fn make<'t>(&self, tape: &'t Tape, args: &[Expr<'t>], spec: Spec) -> Expr<'t> {
        if args.iter().any(|x| x.is_zero()) {
            return tape.zero(spec.shape);
        }
        let operands = args.iter().copied().zip(self.ins.iter().cloned()).collect();
        let mut parts = Parts { coef: self.coef(), operands, dims: self.dims.clone(), moved: 0.0 };
        parts.fold_views(&self.out);
        if !moves(parts.coef) && parts.computes(&self.out) {
            // Applied to an operand, where the largest of numbers meets the smallest.
            let coef = std::mem::replace(&mut parts.coef, 1.0);
            parts.operands[0].0 = parts.operands[0].0.scale(coef);
            parts.fold_views(&self.out);
        }
        let Parts { coef, mut operands, dims, .. } = parts;
        let place = |l: &u8| self.out.iter().position(|o| o == l).unwrap_or(usize::MAX);
        operands.sort_by_key(|(x, labels)| (x.var, labels.iter().map(place).collect::<Vec<_>>()));
        let mut order: Labels = self.out.clone();
        for l in operands.iter().flat_map(|(_, labels)| labels) {
            if !order.contains(l) {
                order.push(*l);
            }
        }
        let number = |l: &u8| order.iter().position(|o| o == l).unwrap_or(0) as u8;
        let canonical = Contract::new(
            coef,
            operands.iter().map(|(_, labels)| labels.iter().map(number).collect()).collect(),
            self.out.iter().map(number).collect(),
            order.iter().map(|&l| dims[l as usize]).collect(),
        );
        if canonical.is_identity() && coef == 1.0 {
            return operands[0].0; // x · 1 is x for every number
        }
        let args: Vec<Expr<'t>> = operands.into_iter().map(|(x, _)| x).collect();
        tape.intern(canonical.into(), &args, spec)
    }

    fn jvp<'t>(&self, args: &[Expr<'t>], out: Expr<'t>, tangents: &[Option<Expr<'t>>]) -> Option<Expr<'t>> {
        let mut terms = Vec::new();
        for (at, tangent) in tangents.iter().enumerate() {
            if let Some(tangent) = tangent {
                let mut args = args.to_vec();
                args[at] = *tangent;
                terms.push(out.tape.apply(self.clone().into(), &args));
            }
        }
        (!terms.is_empty()).then(|| sum(&terms, out.tape))
    }

    fn batch<'t>(&self, args: &[Expr<'t>], batched: &[bool], n: usize) -> Expr<'t> {
        let label = self.dims.len() as u8;
        let with = |labels: &Labels| [&[label], labels.as_slice()].concat();
        let ins = self.ins.iter().zip(batched).map(|(ls, &b)| if b { with(ls) } else { ls.clone() }).collect();
        let dims = [self.dims.as_slice(), &[n]].concat();
        args[0].tape.apply(Contract::new(self.coef(), ins, with(&self.out), dims).into(), args)
    }

    fn lower(&self, cx: &mut Lowering, args: &[Value], _: &Spec) -> Value {
        plan::contract(cx, self, args)
    }

    fn jax(&self, args: &[&str], spec: &Spec) -> String {
        self.to_jax(args, spec)
    }
}

impl Linear for Contract {
    fn transpose<'t>(&self, ct: Expr<'t>, args: &[Expr<'t>], wrt: usize) -> Expr<'t> {
        let mut operands: Vec<(Expr<'t>, &[u8])> = vec![(ct, &self.out)];
        operands.extend(args.iter().copied().zip(self.ins.iter().map(Vec::as_slice)));
        operands.remove(wrt + 1);
        contract(self.coef(), &operands, &self.ins[wrt], &self.dims, ct.tape)
    }
}
