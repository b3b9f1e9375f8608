//! Sums and sums of squares of per-example vectors, without the vectors where they factor.
//!
//! A parameter's per-example gradient is a sum of outer products: of an activation and a cotangent in a dense layer, of one each a
//! position in what is shared. Opening it into those *terms* makes its sum over examples a contraction of factors, and its squared
//! norm `Σ_{s,t} ⟨term_s, term_t⟩` one of factors too, whose best order (inner products first) the planner finds. No layer is
//! known here; what does not open, or costs more opened than made, is made.

use crate::expr::labels;
use crate::graph::{Node, Var};
use crate::ops::{Labels, Op, contract, sum};
use crate::plan::cost;
use crate::{Expr, Tape};

/// Multiply-adds that one element of a made vector costs: written, read for its square and for its sum.
const ELEMENT: usize = 10;

/// `coef · Σ Π operands`: one summand of a per-example array. Labels `0..rank` are those of the array, 0 the example's.
#[derive(Debug, Clone)]
struct Term<'t> {
    coef: f64,
    operands: Vec<(Expr<'t>, Labels)>,
    dims: Vec<usize>,
}

/// A per-example array `[n, …]`, opened into terms if that pays.
pub(crate) struct Vectors<'t> {
    whole: Expr<'t>,
    terms: Option<Vec<Term<'t>>>,
    rank: usize,
    /// Why it is made or opened.
    pub reason: String,
}

/// Which nodes of the tape are sums of per-example outer products: there, two operands carry the example's axis and a kept axis
/// that the other lacks. Computed in one sweep; the example's axis is always the first.
pub(crate) fn outer_products(tape: &Tape) -> Vec<bool> {
    let mut outer = vec![false; tape.len()];
    for at in 0..outer.len() {
        let found = tape.with_node(Var(at as u32), |node| match &node.op {
            Op::Contract(c) => c.out.first().is_some_and(|example| {
                let own = |ls: &Labels, other: &Labels| {
                    ls.contains(example) && ls.iter().any(|l| l != example && c.out.contains(l) && !other.contains(l))
                };
                let pairs = |i: usize| (0..i).any(|j| own(&c.ins[i], &c.ins[j]) && own(&c.ins[j], &c.ins[i]));
                (0..c.ins.len()).any(pairs)
            }),
            Op::Add(_) => node.args.iter().all(|a| outer[a.index()]),
            _ => false,
        });
        outer[at] = found;
    }
    outer
}

impl<'t> Vectors<'t> {
    /// Opens an array whose first axis counts examples; whole if its squares are wanted and cheaper so.
    pub fn new(x: Expr<'t>, outer: &[bool], squares: bool) -> Vectors<'t> {
        let whole = unreshaped(x);
        let rank = whole.shape().rank();
        let mut vectors = Vectors { whole, terms: None, rank, reason: String::new() };
        let terms = open(whole, outer);
        let made = ELEMENT * whole.shape().size();
        let pairs = terms.len() * (terms.len() + 1) / 2;
        // The pairs of many terms cost more to count than the array to make.
        let opened = if !squares {
            0
        } else if pairs < 200 {
            vectors.squares_cost(&terms)
        } else {
            usize::MAX
        };
        let cost = if opened == usize::MAX { "too many to count".into() } else { format!("{opened} multiply-adds") };
        let verdict = if opened < made { "factored" } else { "made, example by example" };
        vectors.reason = format!("{verdict}: {} term(s), {pairs} product(s): {cost}; made: {made}", terms.len());
        if opened < made {
            vectors.terms = Some(terms);
        }
        vectors
    }

    fn squares_cost(&self, terms: &[Term<'t>]) -> usize {
        let mut total = 0;
        for (at, t) in terms.iter().enumerate() {
            for s in &terms[..=at] {
                let (operands, dims) = pair(t, s, self.rank);
                total += cost(operands.into_iter().map(|(_, ls)| ls).collect(), &[0], &dims);
            }
        }
        total
    }

    /// Σᵢ xᵢ, in the shape that the array was given.
    pub fn sum(&self, shape: &crate::Shape) -> Expr<'t> {
        let tape = self.whole.tape();
        let Some(terms) = &self.terms else { return self.whole.sum_axes(&[0]).reshape(shape) };
        let kept = labels(1, self.rank - 1);
        let parts: Vec<Expr<'t>> = terms.iter().map(|t| apply(t.coef, &t.operands, &kept, &t.dims, tape)).collect();
        sum(&parts, tape).reshape(shape)
    }

    /// ‖xᵢ‖² of every example as a sum of products of inner products, each `[n]`.
    ///
    /// The products are left to f64: a factor rounded to f32 would cost the variance its last digits.
    pub fn norms(&self) -> Vec<Square<'t>> {
        let tape = self.whole.tape();
        let Some(terms) = &self.terms else {
            let all = labels(0, self.rank);
            let operands = [(self.whole, all.clone()), (self.whole, all)];
            return vec![Square { coef: 1.0, factors: vec![apply(1.0, &operands, &[0], &self.whole.shape(), tape)] }];
        };
        let mut squares = Vec::new();
        for (at, t) in terms.iter().enumerate() {
            for (other, s) in terms[..=at].iter().enumerate() {
                let (operands, dims) = pair(t, s, self.rank);
                let factors = connected(operands).iter().map(|part| apply(1.0, part, &[0], &dims, tape)).collect();
                let twice = if other < at { 2.0 } else { 1.0 };
                squares.push(Square { coef: twice * t.coef * s.coef, factors });
            }
        }
        squares
    }

    /// Σᵢ xᵢ² of every coordinate, in the shape that the array was given.
    pub fn elementwise(&self, shape: &crate::Shape) -> Expr<'t> {
        let (tape, kept) = (self.whole.tape(), &labels(1, self.rank - 1));
        let Some(terms) = &self.terms else {
            let all = labels(0, self.rank);
            let operands = [(self.whole, all.clone()), (self.whole, all)];
            return apply(1.0, &operands, kept, &self.whole.shape(), tape).reshape(shape);
        };
        let mut parts = Vec::new();
        for (at, t) in terms.iter().enumerate() {
            for (other, s) in terms[..=at].iter().enumerate() {
                let (operands, dims) = pair(t, s, self.rank);
                let twice = if other < at { 2.0 } else { 1.0 };
                parts.push(apply(twice * t.coef * s.coef, &operands, kept, &dims, tape));
            }
        }
        sum(&parts, tape).reshape(shape)
    }
}

/// One summand of a squared norm: a coefficient and per-example factors.
pub(crate) struct Square<'t> {
    pub coef: f64,
    pub factors: Vec<Expr<'t>>,
}

/// Operands grouped by shared labels, the example's aside: what has none in common multiplies example by example.
fn connected<'t>(operands: Vec<(Expr<'t>, Labels)>) -> Vec<Vec<(Expr<'t>, Labels)>> {
    let mut parts: Vec<Vec<(Expr<'t>, Labels)>> = Vec::new();
    for operand in operands {
        let meets = |part: &Vec<(Expr<'t>, Labels)>| {
            part.iter().any(|(_, ls)| ls.iter().any(|l| *l != 0 && operand.1.contains(l)))
        };
        let (joined, mut rest): (Vec<_>, Vec<_>) = parts.into_iter().partition(meets);
        rest.push(joined.into_iter().flatten().chain([operand]).collect());
        parts = rest;
    }
    parts
}

fn apply<'t>(coef: f64, operands: &[(Expr<'t>, Labels)], out: &[u8], dims: &[usize], tape: &'t Tape) -> Expr<'t> {
    let operands: Vec<(Expr<'t>, &[u8])> = operands.iter().map(|(x, ls)| (*x, ls.as_slice())).collect();
    contract(coef, &operands, out, dims, tape)
}

/// A reshape that keeps the example's axis permutes nothing: norms and sums are those of its argument.
fn unreshaped<'t>(x: Expr<'t>) -> Expr<'t> {
    let tape = x.tape();
    let inner = tape.with_node(x.var, |node| matches!(node.op, Op::Reshape(_)).then(|| node.args[0]));
    match inner.map(|var| Expr::of(tape, var)) {
        Some(inner) if inner.shape().first() == x.shape().first() => inner,
        _ => x,
    }
}

/// The terms of an array: sums are split and outer products taken apart, as deep as they go.
fn open<'t>(x: Expr<'t>, outer: &[bool]) -> Vec<Term<'t>> {
    let tape = x.tape();
    let shape = x.shape();
    let mut work = vec![Term { coef: 1.0, operands: vec![(x, labels(0, shape.rank()))], dims: shape.to_vec() }];
    let mut terms = Vec::new();
    while let Some(term) = work.pop() {
        let found = term.operands.iter().position(|(e, ls)| {
            outer.get(e.var.index()) == Some(&true) && ls.first() == Some(&0) // the example's axis leads
        });
        let Some(at) = found else {
            terms.push(term);
            continue;
        };
        let (operand, place) = term.operands[at].clone();
        let Node { op, args, .. } = tape.with_node(operand.var, Clone::clone);
        let mut rest = term.operands.clone();
        rest.remove(at);
        match op {
            Op::Add(_) => {
                for var in args {
                    let operands = [rest.clone(), vec![(Expr::of(tape, var), place.clone())]].concat();
                    work.push(Term { operands, ..term.clone() });
                }
            }
            Op::Contract(c) => {
                let mut dims = term.dims.clone();
                // The contraction's kept labels are the operand's; those it sums are new.
                let map: Vec<u8> = (0..c.dims.len() as u8)
                    .map(|l| match c.out.iter().position(|&o| o == l) {
                        Some(axis) => place[axis],
                        None => {
                            dims.push(c.dims[l as usize]);
                            (dims.len() - 1) as u8
                        }
                    })
                    .collect();
                for (var, ls) in args.into_iter().zip(&c.ins) {
                    rest.push((Expr::of(tape, var), ls.iter().map(|&l| map[l as usize]).collect()));
                }
                work.push(Term { coef: term.coef * c.coef(), operands: rest, dims });
            }
            _ => terms.push(term),
        }
    }
    terms
}

/// The operands of a product of two terms: their arrays' labels are shared, the summed ones kept apart.
fn pair<'t>(t: &Term<'t>, s: &Term<'t>, rank: usize) -> (Vec<(Expr<'t>, Labels)>, Vec<usize>) {
    let shift = (t.dims.len() - rank) as u8;
    let moved = |l: u8| if (l as usize) < rank { l } else { l + shift };
    let second = s.operands.iter().map(|(x, ls)| (*x, ls.iter().map(|&l| moved(l)).collect()));
    (t.operands.iter().cloned().chain(second).collect(), [&t.dims[..], &s.dims[rank..]].concat())
}
