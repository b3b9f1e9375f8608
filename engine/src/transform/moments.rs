//! Sums and sums of squares of per-example vectors, without the vectors where they factor.
//!
//! A parameter's per-example gradient is a sum of outer products: of an activation and a cotangent in a dense layer, of one each a
//! position in what is shared. Opening it into those *terms* makes its sum over examples a contraction of factors, and its squared
//! norm `Σ_{s,t} ⟨term_s, term_t⟩` one of factors too, whose best order (inner products first) the planner finds. What all examples
//! share, as the gradient of a weight decay within the loss, is a term without the example's label. No layer is known here; what
//! does not open, or costs more opened than made, is made.

use crate::expr::labels;
use crate::graph::{Node, Var};
use crate::ops::{Divide, Labels, Op, contract, repeated, sum, without};
use crate::plan::cost;
use crate::{Expr, Form, Shape, Tape};

/// Multiply-adds that one element of a made vector costs: written, read for its square and for its sum.
const MADE: usize = 10;

/// Multiply-adds that one element of any other intermediate result costs: written and read.
const FACTOR: usize = 8;

/// An expression and the labels of its axes.
type Operand<'t> = (Expr<'t>, Labels);

/// `coef · Σ Π operands`: one summand of a per-example array. Labels `0..rank` are those of the array, 0 the example's.
#[derive(Debug, Clone)]
struct Term<'t> {
    coef: f64,
    operands: Vec<Operand<'t>>,
    /// What it is divided by.
    below: Vec<Operand<'t>>,
    dims: Vec<usize>,
}

impl<'t> Term<'t> {
    /// An array as one term.
    fn whole(x: Expr<'t>) -> Term<'t> {
        let shape = x.shape();
        let operands = vec![(x, labels(0, shape.rank()))];
        Term { coef: 1.0, operands, below: Vec::new(), dims: shape.to_vec() }
    }

    /// The same with each divisor under one of its operands, the smallest that has all its axes.
    fn divided(mut self, tape: &'t Tape) -> Term<'t> {
        for (divisor, labels) in std::mem::take(&mut self.below) {
            let alike = repeated(divisor);
            let own: Labels = (0..).zip(labels).filter(|(axis, _)| !alike.contains(axis)).map(|(_, l)| l).collect();
            let divisor = without(divisor, &alike);
            if let Some(value) = divisor.constant() {
                self.coef /= value;
                continue;
            }
            let fits = self.operands.iter_mut().filter(|(_, ls)| own.iter().all(|l| ls.contains(l)));
            match fits.min_by_key(|(x, _)| x.shape().size()) {
                Some((x, ls)) => {
                    let below = contract(1.0, &[(divisor, &own)], ls, &self.dims, tape);
                    *x = tape.apply(Divide.into(), &[*x, below]);
                }
                None => self.operands.push((divisor.recip(), own)),
            }
        }
        self
    }
}

/// A per-example array `[n, …]` as terms: those that it opens into if that pays, else itself.
pub(crate) struct Vectors<'t> {
    terms: Vec<Term<'t>>,
    /// Of the array, the example's axis first.
    shape: Shape,
    tape: &'t Tape,
    form: Form,
    /// Why it is made or opened.
    pub reason: String,
}

/// Which nodes of the tape are sums of per-example outer products, where two operands carry the example's axis and a kept axis that
/// the other lacks, and of arrays that are the same for every example, where no operand carries that axis; and quotients of those.
/// Computed in one sweep; the example's axis is always the first.
pub(crate) fn outer_products(tape: &Tape) -> Vec<bool> {
    let mut outer = vec![false; tape.len()];
    for at in 0..outer.len() {
        let found = tape.with_node(Var(at as u32), |node| match &node.op {
            Op::Contract(c) => c.out.first().is_some_and(|example| {
                let own = |ls: &Labels, other: &Labels| {
                    ls.contains(example) && ls.iter().any(|l| l != example && c.out.contains(l) && !other.contains(l))
                };
                let pairs = |i: usize| (0..i).any(|j| own(&c.ins[i], &c.ins[j]) && own(&c.ins[j], &c.ins[i]));
                let shared = !c.ins.is_empty() && !c.ins.iter().any(|ls| ls.contains(example));
                shared || (0..c.ins.len()).any(pairs)
            }),
            Op::Add(_) => node.args.iter().all(|a| outer[a.index()]),
            Op::Divide(_) => outer[node.args[0].index()],
            _ => false,
        });
        outer[at] = found;
    }
    outer
}

impl<'t> Vectors<'t> {
    /// Opens an array whose first axis counts examples, in the given form or, if its squares are wanted, in the cheapest.
    pub fn new(x: Expr<'t>, outer: &[bool], squares: bool, form: Form) -> Vectors<'t> {
        let (x, tape) = (unreshaped(x), x.tape());
        let shape = x.shape();
        let terms = open(x, outer);
        let pairs = terms.len() * (terms.len() + 1) / 2;
        let made = Cost { operations: 0, elements: shape.size() };
        // The pairs of many terms cost more to count than the array to make.
        let counted = squares && pairs < 200;
        let [factored, gram] = if counted { costs(&terms, shape.rank()) } else { [Cost::default(); 2] };
        let chosen = match form {
            Form::Cheapest if !squares => Form::Factored,
            Form::Cheapest if !counted => Form::Made,
            Form::Cheapest => {
                let best = [(factored.price(FACTOR), Form::Factored), (gram.price(FACTOR), Form::Gram)];
                let best = best.into_iter().chain([(made.price(MADE), Form::Made)]).min_by_key(|(price, _)| *price);
                best.map_or(Form::Made, |(_, form)| form)
            }
            forced => forced,
        };
        let costs = match counted {
            true => format!("factored {factored}, Gram {gram}, made {made}"),
            false => format!("not counted, made {made}"),
        };
        let reason = format!("{chosen}: {} term(s), {pairs} product(s); {costs}", terms.len());
        let whole = || vec![Term::whole(x)];
        Vectors { terms: if chosen == Form::Made { whole() } else { terms }, shape, tape, form: chosen, reason }
    }

    fn rank(&self) -> usize {
        self.shape.rank()
    }

    /// Σᵢ xᵢ, in the shape that the array was given.
    pub fn sum(&self, shape: &Shape) -> Expr<'t> {
        let kept = labels(1, self.rank() - 1);
        let part = |t: &Term<'t>| {
            let coef = t.coef * self.repeats(&t.operands, &kept);
            apply(coef, &t.operands, &kept, &t.dims, self.tape)
        };
        let parts: Vec<Expr<'t>> = self.terms.iter().map(part).collect();
        sum(&parts, self.tape).reshape(shape)
    }

    /// ‖xᵢ‖² of every example as a sum of products of inner products, each `[n]`.
    ///
    /// The products are left to f64: a factor rounded to f32 would cost the variance its last digits.
    pub fn norms(&self) -> Vec<Product<'t>> {
        let squares = self.squares();
        squares.into_iter().map(|(coef, operands, dims)| self.product(coef, operands, &dims)).collect()
    }

    /// Σᵢ xᵢ² of every coordinate, in the shape that the array was given.
    pub fn elementwise(&self, shape: &Shape) -> Expr<'t> {
        let kept = &labels(1, self.rank() - 1);
        let part = |(coef, operands, dims): (f64, Vec<_>, Vec<_>)| {
            apply(coef * self.repeats(&operands, kept), &operands, kept, &dims, self.tape)
        };
        let parts: Vec<Expr<'t>> = self.squares().into_iter().map(part).collect();
        sum(&parts, self.tape).reshape(shape)
    }

    /// ⟨xᵢ, yᵢ⟩ of every example with another array of the same shape.
    pub fn inner(&self, other: &Vectors<'t>) -> Vec<Product<'t>> {
        let mut products = Vec::new();
        for t in &self.terms {
            for s in &other.terms {
                let (operands, dims) = pair(t, s, self.rank());
                products.push(self.product(t.coef * s.coef, operands, &dims));
            }
        }
        products
    }

    /// ⟨xᵢ, v⟩ of every example with one vector for all.
    pub fn along(&self, v: Expr<'t>) -> Vec<Product<'t>> {
        let v = (v.reshape(self.shape[1..].to_vec()), labels(1, self.rank() - 1));
        let with = |t: &Term<'t>| self.product(t.coef, [&t.operands[..], std::slice::from_ref(&v)].concat(), &t.dims);
        self.terms.iter().map(with).collect()
    }

    /// The products that the square of the array is a sum of: coefficient, operands, extents.
    fn squares(&self) -> Vec<(f64, Vec<Operand<'t>>, Vec<usize>)> {
        let mut squares = Vec::new();
        for (at, t) in self.terms.iter().enumerate() {
            for (other, s) in self.terms[..=at].iter().enumerate() {
                let (operands, dims) = pair(t, s, self.rank());
                let twice = if other < at { 2.0 } else { 1.0 };
                squares.push((twice * t.coef * s.coef, operands, dims));
            }
        }
        squares
    }

    /// How often a sum over axes of the array meets the same element: along those that are not kept and that no operand has.
    fn repeats(&self, operands: &[Operand<'t>], kept: &[u8]) -> f64 {
        let has = |l: u8| kept.contains(&l) || operands.iter().any(|(_, ls)| ls.contains(&l));
        self.shape.iter().zip(0..).filter(|(_, l)| !has(*l)).map(|(&extent, _)| extent as f64).product()
    }

    /// A product summed to one number an example, its factors apart.
    fn product(&self, coef: f64, operands: Vec<Operand<'t>>, dims: &[usize]) -> Product<'t> {
        let coef = coef * self.repeats(&operands, &[0]);
        let apply = |part: &[Operand<'t>], out: &[u8]| apply(1.0, part, out, dims, self.tape);
        let operands = match self.form {
            // What shares kept labels first, position by position.
            Form::Gram => connected(operands, |l| l > 0 && (l as usize) < self.rank())
                .iter()
                .map(|part| {
                    let out = summed(part, self.rank());
                    (apply(part, &out), out)
                })
                .collect(),
            _ => operands,
        };
        let factors = connected(operands, |l| l > 0).iter().map(|part| apply(part, &[0])).collect();
        Product { coef, factors }
    }
}

/// What a contraction costs.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    /// Multiply-adds.
    operations: usize,
    /// Elements of intermediate results.
    elements: usize,
}

impl Cost {
    /// In multiply-adds, given those that an element takes the time of.
    fn price(self, element: usize) -> usize {
        self.operations.saturating_add(self.elements.saturating_mul(element))
    }

    fn add(&mut self, (operations, elements): (usize, usize)) {
        self.operations = self.operations.saturating_add(operations);
        self.elements = self.elements.saturating_add(elements);
    }
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} multiply-adds + {} elements", self.operations, self.elements)
    }
}

/// Of the squares of terms: factor by factor, and as Gram matrices of positions.
fn costs(terms: &[Term<'_>], rank: usize) -> [Cost; 2] {
    let [mut factored, mut gram] = [Cost::default(); 2];
    let only = |part: &[Operand<'_>]| part.iter().map(|(_, ls)| ls.clone()).collect::<Vec<Labels>>();
    for (at, t) in terms.iter().enumerate() {
        for s in &terms[..=at] {
            let (operands, dims) = pair(t, s, rank);
            for part in connected(operands.clone(), |l| l > 0) {
                factored.add(cost(only(&part), &[0], &dims));
            }
            let mut parts = Vec::new();
            for part in connected(operands, |l| l > 0 && (l as usize) < rank) {
                let out = summed(&part, rank);
                gram.add(cost(only(&part), &out, &dims));
                gram.add((0, if out.len() > 1 { out.iter().map(|&l| dims[l as usize]).product() } else { 0 }));
                parts.push(out);
            }
            gram.add(cost(parts, &[0], &dims));
        }
    }
    [factored, gram]
}

/// The example's label, and those that are summed over.
fn summed(part: &[Operand<'_>], rank: usize) -> Labels {
    let mut out: Labels = part.iter().flat_map(|(_, ls)| ls.iter().copied()).collect();
    out.retain(|&l| l == 0 || l as usize >= rank);
    out.sort_unstable();
    out.dedup();
    out
}

/// One summand of a per-example number: a coefficient and factors, `[n]` each.
pub(crate) struct Product<'t> {
    pub coef: f64,
    pub factors: Vec<Expr<'t>>,
}

/// Operands grouped by those shared labels that join: what has none in common multiplies index by index.
fn connected<'t>(operands: Vec<Operand<'t>>, joins: impl Fn(u8) -> bool) -> Vec<Vec<Operand<'t>>> {
    let mut parts: Vec<Vec<Operand<'t>>> = Vec::new();
    for operand in operands {
        let meets =
            |part: &Vec<Operand<'t>>| part.iter().any(|(_, ls)| ls.iter().any(|l| joins(*l) && operand.1.contains(l)));
        let (joined, mut rest): (Vec<_>, Vec<_>) = parts.into_iter().partition(meets);
        rest.push(joined.into_iter().flatten().chain([operand]).collect());
        parts = rest;
    }
    parts
}

fn apply<'t>(coef: f64, operands: &[Operand<'t>], out: &[u8], dims: &[usize], tape: &'t Tape) -> Expr<'t> {
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
    let mut work = vec![Term::whole(x)];
    let mut terms = Vec::new();
    while let Some(mut term) = work.pop() {
        let found = term.operands.iter().position(|(e, ls)| {
            outer.get(e.var.index()) == Some(&true) && ls.first() == Some(&0) // the example's axis leads
        });
        let Some(at) = found else {
            // A summed axis along which all that had it was alike.
            let has = |l: usize| term.operands.iter().chain(&term.below).any(|(_, ls)| ls.contains(&(l as u8)));
            let alike: usize = (shape.rank()..term.dims.len()).filter(|&l| !has(l)).map(|l| term.dims[l]).product();
            term.coef *= alike as f64;
            terms.push(term.divided(tape));
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
            Op::Divide(_) => {
                term.operands[at] = (Expr::of(tape, args[0]), place.clone());
                term.below.push((Expr::of(tape, args[1]), place));
                work.push(term);
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
                work.push(Term { coef: term.coef * c.coef(), operands: rest, below: term.below, dims });
            }
            _ => terms.push(term.divided(tape)),
        }
    }
    terms
}

/// The operands of a product of two terms: their arrays' labels are shared, the summed ones kept apart.
fn pair<'t>(t: &Term<'t>, s: &Term<'t>, rank: usize) -> (Vec<Operand<'t>>, Vec<usize>) {
    let shift = (t.dims.len() - rank) as u8;
    let moved = |l: u8| if (l as usize) < rank { l } else { l + shift };
    let second = s.operands.iter().map(|(x, ls)| (*x, ls.iter().map(|&l| moved(l)).collect()));
    (t.operands.iter().cloned().chain(second).collect(), [&t.dims[..], &s.dims[rank..]].concat())
}
