//! Sums and sums of squares of per-example vectors, without the vectors where they factor.
//!
//! A parameter's per-example gradient is a sum of outer products: of an activation and a cotangent in a dense layer, of one each a
//! position in what is shared. Opening it into those *terms* makes its sum over examples a contraction of factors, and its squared
//! norm `Σ_{s,t} ⟨term_s, term_t⟩` one of factors too, whose best order (inner products first) the planner finds. What all examples
//! share, as the gradient of a weight decay within the loss, is a term without the example's label. What is added to rows of a table
//! stays by positions (rows.rs). No layer is known here; what does not open, or costs more opened than made, is made.

use super::rows::{Rows, is_scattered};
use crate::expr::labels;
use crate::graph::{Node, Var};
use crate::ops::{Divide, Labels, Op, ScatterAdd, contract, moves, repeated, sum, without};
use crate::plan::cost;
use crate::{Expr, Form, Shape, Tape};

/// Multiply-adds that one element of a made vector costs: written, read for its square and for its sum.
const MADE: usize = 10;

/// Multiply-adds that one element of any other intermediate result costs: written and read.
const FACTOR: usize = 8;

/// Outer products an example beyond which deviations are of vectors that are made.
const MOST_OUTER: usize = 16;

/// Most terms that an array opens into if their products are wanted: products of sums double their number level by level.
const MOST_TERMS: usize = 1000;

/// Most products of terms, were vectors tables.
const MOST_PAIRS: usize = 5000;

/// An expression and the labels of its axes.
pub(super) type Operand<'t> = (Expr<'t>, Labels);

/// `coef · Σ Π operands`: one summand of a per-example array. Labels `0..rank` are those of the array, 0 the example's.
#[derive(Debug, Clone)]
pub(super) struct Term<'t> {
    pub coef: f64,
    pub operands: Vec<Operand<'t>>,
    /// What it is divided by.
    pub below: Vec<Operand<'t>>,
    pub dims: Vec<usize>,
    /// Where along an axis of the array it is added to, if not everywhere.
    pub rows: Option<Rows<'t>>,
}

impl<'t> Term<'t> {
    /// An array as one term.
    pub fn whole(x: Expr<'t>) -> Term<'t> {
        Term::of(x, labels(0, x.shape().rank()), &x.shape())
    }

    /// An array of some labels as one.
    pub fn of(x: Expr<'t>, labels: Labels, dims: &[usize]) -> Term<'t> {
        Term { coef: 1.0, operands: vec![(x, labels)], below: Vec::new(), dims: dims.to_vec(), rows: None }
    }

    /// How often a sum meets the same element: along what is not kept and no operand has.
    pub fn repeats(&self, kept: &[u8]) -> f64 {
        // An axis along which it is added to rows has positions instead.
        let axis = self.rows.as_ref().map(|rows| rows.axis);
        let has = |l: &u8| kept.contains(l) || axis == Some(*l) || self.operands.iter().any(|(_, ls)| ls.contains(l));
        (0..self.dims.len() as u8).filter(|l| !has(l)).map(|l| self.dims[l as usize] as f64).product()
    }

    /// The sum over all but some labels of the array, as an array of these.
    pub fn summed_to(&self, kept: &[u8], tape: &'t Tape) -> Expr<'t> {
        match &self.rows {
            None => product(self.coef * self.repeats(kept), &self.operands, kept, &self.dims, tape),
            Some(rows) => rows.added(self, kept, tape),
        }
    }

    /// The operands of both: their arrays' labels are shared, the summed ones kept apart.
    pub fn beside(&self, other: &Term<'t>, rank: usize) -> Term<'t> {
        let shift = (self.dims.len() - rank) as u8;
        let moved = |ls: &Labels| ls.iter().map(|&l| if (l as usize) < rank { l } else { l + shift }).collect();
        Term {
            coef: self.coef * other.coef,
            operands: self
                .operands
                .iter()
                .cloned()
                .chain(other.operands.iter().map(|(x, ls)| (*x, moved(ls))))
                .collect(),
            below: Vec::new(),
            dims: [&self.dims[..], &other.dims[rank..]].concat(),
            rows: self.rows.clone(),
        }
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
            if !own.is_empty()
                && !own.contains(&0)
                && !self.operands.iter().any(|(_, ls)| own.iter().all(|l| ls.contains(l)))
            {
                // One array for all examples, where a product of operands would be one for each.
                self.operands.push((divisor.recip(), own));
                continue;
            }
            let (meets, rest): (Vec<_>, Vec<_>) =
                self.operands.drain(..).partition(|(_, ls)| own.is_empty() || own.iter().any(|l| ls.contains(l)));
            self.operands = rest;
            // The smallest operand that has all of the divisor's axes is divided, or else the product of those that have some: 1/divisor
            // may overflow where the quotient does not.
            let all = |(_, ls): &Operand<'t>| own.iter().all(|l| ls.contains(l));
            let best = meets.iter().enumerate().filter(|(_, x)| all(x)).min_by_key(|(_, (x, _))| x.shape().size());
            let (above, axes) = match best.map(|(at, _)| at) {
                Some(at) => {
                    let best = meets[at].clone();
                    self.operands
                        .extend(meets.into_iter().enumerate().filter(|(other, _)| *other != at).map(|(_, x)| x));
                    best
                }
                None => {
                    let mut axes = own.clone();
                    meets.iter().flat_map(|(_, ls)| ls).for_each(|l| {
                        if !axes.contains(l) {
                            axes.push(*l)
                        }
                    });
                    (product(1.0, &meets, &axes, &self.dims, tape), axes)
                }
            };
            let below = contract(1.0, &[(divisor, &own)], &axes, &self.dims, tape);
            self.operands.push((tape.apply(Divide.into(), &[above, below]), axes));
        }
        self
    }
}

/// A per-example array `[n, …]` as terms: those that it opens into if that pays, else itself.
pub(crate) struct Vectors<'t> {
    terms: Vec<Term<'t>>,
    /// The array itself.
    whole: Expr<'t>,
    /// The array in the shape it was given: `whole` may lack a reshape.
    given: Expr<'t>,
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
    let (mut outer, mut scattered) = (vec![false; tape.len()], vec![false; tape.len()]);
    for at in 0..outer.len() {
        scattered[at] = tape.with_node(Var(at as u32), |node| is_scattered(node, &scattered));
        let found = tape.with_node(Var(at as u32), |node| match &node.op {
            Op::Contract(c) => c.out.first().is_some_and(|example| {
                let own = |ls: &Labels, other: &Labels| {
                    ls.contains(example) && ls.iter().any(|l| l != example && c.out.contains(l) && !other.contains(l))
                };
                let pairs = |i: usize| (0..i).any(|j| own(&c.ins[i], &c.ins[j]) && own(&c.ins[j], &c.ins[i]));
                let shared = !c.ins.is_empty() && !c.ins.iter().any(|ls| ls.contains(example));
                moves(c.coef()) && (scattered[at] || shared || (0..c.ins.len()).any(pairs))
            }),
            Op::ScatterAdd(_) => scattered[at],
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
        let (given, tape) = (x, x.tape());
        let x = unreshaped(x);
        let shape = x.shape();
        let terms = open(x, outer, if squares { MOST_TERMS } else { usize::MAX });
        let pairs = terms.len() * (terms.len() + 1) / 2;
        let made = Cost { operations: 0, elements: shape.size() };
        // The pairs of many terms cost more to count than the array to make.
        let counted = squares && pairs < 200;
        let [factored, gram] = if counted { costs(&terms, shape.rank(), tape) } else { [Cost::default(); 2] };
        let chosen = match form {
            Form::Cheapest if !squares => Form::Factored,
            // A table an example would be more than that many products.
            Form::Cheapest if !counted && pairs < MOST_PAIRS && terms.iter().any(|t| t.rows.is_some()) => {
                Form::Factored
            }
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
        let terms = if chosen == Form::Made { vec![Term::whole(x)] } else { terms };
        Vectors { terms, whole: x, given, shape, tape, form: chosen, reason }
    }

    fn rank(&self) -> usize {
        self.shape.rank()
    }

    /// Σᵢ xᵢ, in the shape that the array was given.
    pub fn sum(&self, shape: &Shape) -> Expr<'t> {
        let kept = labels(1, self.rank() - 1);
        let parts: Vec<Expr<'t>> = self.terms.iter().map(|t| t.summed_to(&kept, self.tape)).collect();
        sum(&parts, self.tape).reshape(shape)
    }

    /// ‖xᵢ‖² of every example as a sum of products of inner products, each `[n]`.
    ///
    /// The products are left to f64: a factor rounded to f32 would cost the variance its last digits.
    pub fn norms(&self) -> Vec<Product<'t>> {
        self.squares().into_iter().map(|t| self.product(t)).collect()
    }

    /// Σᵢ (xᵢ − x̄)² of every coordinate, in the shape that the array was given: of factors, or of differences from a first example's
    /// vector. Sums of squares would leave no digit of it where the mean is a thousand times the deviation. `unit` is the type's rounding
    /// of 1.
    pub fn spread(&self, shape: &Shape, unit: f64) -> Spread<'t> {
        if let Some(spread) = self.factors().filter(|_| self.form != Form::Made) {
            return spread;
        }
        if self.terms.iter().any(|t| t.rows.is_some()) {
            return Spread::Made(self.spread_of_rows(shape, unit));
        }
        let x = self.whole;
        let first = x.slice(0, 0..1);
        // Differences once each way, so that each is added up where it is made.
        let (squared, off) = ((x - first).square().sum_axes(&[0]), (first - x).sum_axes(&[0]));
        let spread = squared - off.square() * (1.0 / self.shape[0] as f64);
        // What rounding left of nothing; a NaN stays one.
        Spread::Made(spread.less(0.0).select(0.0, spread).reshape(shape))
    }

    /// The same of what is added to rows of a table, whose vectors are never made: from sums of squares. Most examples leave a row as it
    /// is, so that its mean is no larger than its deviation; where it is so much larger that less than ten bits are left, none is told.
    fn spread_of_rows(&self, shape: &Shape, unit: f64) -> Expr<'t> {
        let kept = labels(1, self.rank() - 1);
        let parts: Vec<Expr<'t>> = self.squares().iter().map(|t| t.summed_to(&kept, self.tape)).collect();
        let (squared, total) = (sum(&parts, self.tape).reshape(shape), self.sum(shape));
        let spread = squared - total.square() * (1.0 / self.shape[0] as f64);
        spread.less(squared * (1024.0 * unit)).select(0.0, spread)
    }

    /// The vectors as sums of outer products of two factors, which have the first axes and the others.
    fn factors(&self) -> Option<Spread<'t>> {
        let (n, rank) = (self.shape[0], self.rank());
        if self.terms.iter().any(|term| term.rows.is_some()) {
            return None; // examples may differ by where they add alone
        }
        let mut terms = Vec::new();
        let mut split = None;
        // What is the same for all examples has no part in their differences.
        for term in self.terms.iter().filter(|t| t.operands.iter().any(|(_, ls)| ls.contains(&0))) {
            if !term.below.is_empty() {
                return None;
            }
            let kept = |l: u8| l > 0 && (l as usize) < rank;
            let parts = connected(term.operands.clone(), kept);
            let (mut parts, numbers): (Vec<_>, Vec<_>) =
                parts.into_iter().partition(|part| part.iter().any(|(_, ls)| ls.iter().any(|&l| kept(l))));
            let [first, second] = &mut parts[..] else { return None };
            let axes = |part: &[Operand<'_>], picked: &dyn Fn(u8) -> bool| {
                let mut axes: Labels =
                    part.iter().flat_map(|(_, ls)| ls.iter().copied()).filter(|&l| picked(l)).collect();
                axes.sort_unstable();
                axes.dedup();
                axes
            };
            if !axes(first, &kept).contains(&1) {
                std::mem::swap(first, second);
            }
            first.extend(numbers.into_iter().flatten());
            let (rows, cols) = (axes(first, &kept), axes(second, &kept));
            let (all, count) = ([&rows[..], &cols].concat(), rows.len());
            if all != labels(1, rank - 1)[..] || *split.get_or_insert(count) != count {
                return None;
            }
            let summed = axes(first, &|l| l as usize >= rank);
            let summed = axes(second, &|l| summed.contains(&l));
            let inner = summed.iter().map(|&l| term.dims[l as usize]).product();
            let factor = |coef: f64, part: &[Operand<'t>], axes: &Labels| {
                let out = [&[0], &summed[..], axes].concat();
                let size = axes.iter().map(|&l| term.dims[l as usize]).product();
                product(coef, part, &out, &term.dims, self.tape).reshape(vec![n, inner, size])
            };
            let coef = term.coef * term.repeats(&labels(0, rank));
            terms.push([factor(coef, first, &rows), factor(1.0, second, &cols)]);
        }
        let split = split?;
        let inner: usize = terms.iter().map(|[a, _]| a.shape()[1]).sum();
        let size = |axes: &[usize]| axes.iter().product();
        (inner <= MOST_OUTER)
            .then(|| Spread::Factors(terms, [size(&self.shape[1..=split]), size(&self.shape[split + 1..])]))
    }

    /// ⟨xᵢ, yᵢ⟩ of every example with another array of the same shape.
    pub fn inner(&self, other: &Vectors<'t>) -> Vec<Product<'t>> {
        if self.shape != other.shape {
            // A reshape came off one of the two alone.
            let [x, y] = [self, other].map(|vectors| Term::whole(vectors.given));
            return vec![self.product(x.times(&y, self.given.shape().rank(), self.tape))];
        }
        let pairs = self.terms.iter().flat_map(|t| other.terms.iter().map(move |s| (t, s)));
        pairs.map(|(t, s)| self.product(t.times(s, self.rank(), self.tape))).collect()
    }

    /// ⟨xᵢ, v⟩ of every example with one vector for all.
    pub fn along(&self, v: Expr<'t>) -> Vec<Product<'t>> {
        let v = Term::of(v.reshape(self.shape[1..].to_vec()), labels(1, self.rank() - 1), &self.shape);
        self.terms.iter().map(|t| self.product(t.times(&v, self.rank(), self.tape))).collect()
    }

    /// The products that the square of the array is a sum of.
    fn squares(&self) -> Vec<Term<'t>> {
        let mut squares = Vec::new();
        for (at, t) in self.terms.iter().enumerate() {
            for (other, s) in self.terms[..=at].iter().enumerate() {
                let mut square = t.times(s, self.rank(), self.tape);
                square.coef *= if other < at { 2.0 } else { 1.0 };
                squares.push(square);
            }
        }
        squares
    }

    /// A product summed to one number an example, its factors apart.
    fn product(&self, term: Term<'t>) -> Product<'t> {
        let coef = term.coef * term.repeats(&[0]);
        let apply = |part: &[Operand<'t>], out: &[u8]| product(1.0, part, out, &term.dims, self.tape);
        let operands = match self.form {
            // What shares kept labels first, position by position.
            Form::Gram => connected(term.operands.clone(), |l| l > 0 && (l as usize) < self.rank())
                .iter()
                .map(|part| {
                    let out = summed(part, self.rank());
                    (apply(part, &out), out)
                })
                .collect(),
            _ => term.operands.clone(),
        };
        let factors = connected(operands, |l| l > 0).iter().map(|part| apply(part, &[0])).collect();
        Product { coef, factors }
    }
}

/// How sums of squared deviations come about.
pub(crate) enum Spread<'t> {
    /// Within the program.
    Made(Expr<'t>),
    /// From the factors of every term, `[n, inner, rows]` and `[n, inner, cols]`, and the numbers of rows and columns.
    Factors(Vec<[Expr<'t>; 2]>, [usize; 2]),
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
fn costs<'t>(terms: &[Term<'t>], rank: usize, tape: &'t Tape) -> [Cost; 2] {
    let [mut factored, mut gram] = [Cost::default(); 2];
    let only = |part: &[Operand<'_>]| part.iter().map(|(_, ls)| ls.clone()).collect::<Vec<Labels>>();
    for (at, t) in terms.iter().enumerate() {
        for s in &terms[..=at] {
            let Term { operands, dims, rows, .. } = t.times(s, rank, tape);
            if rows.is_some() {
                // Operands that are read or brought together by indices first.
                let given = |x: Expr<'t>| t.operands.iter().chain(&s.operands).any(|(y, _)| x.var == y.var);
                let moved = operands.iter().filter(|(x, _)| !given(*x)).map(|(x, _)| x.shape().size()).sum();
                factored.add((0, moved));
                gram.add((0, moved));
            }
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

/// A contraction of operands.
pub(super) fn product<'t>(coef: f64, operands: &[Operand<'t>], out: &[u8], dims: &[usize], tape: &'t Tape) -> Expr<'t> {
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

/// The terms of an array: sums are split and outer products taken apart, as deep as they go; the array itself if they are too many.
fn open<'t>(x: Expr<'t>, outer: &[bool], most: usize) -> Vec<Term<'t>> {
    let rank = x.shape().rank();
    let (mut work, mut terms) = (vec![Term::whole(x)], Vec::new());
    while let Some(term) = work.pop() {
        if work.len() + terms.len() >= most {
            return vec![Term::whole(x)];
        }
        let parts = term.operands.iter().enumerate().find_map(|(at, (e, ls))| {
            let opens = outer.get(e.var.index()) == Some(&true) && ls.first() == Some(&0); // the example's axis leads
            if opens && moves(term.coef * coefficient(*e)) { opened(&term, at, rank) } else { None }
        });
        match parts {
            Some(parts) => work.extend(parts),
            None => terms.push(term.gathered().divided(x.tape())),
        }
    }
    terms
}

/// What scales an expression that opens.
fn coefficient(x: Expr<'_>) -> f64 {
    x.tape().with_node(x.var, |node| match &node.op {
        Op::Contract(c) => c.coef(),
        _ => 1.0,
    })
}

/// The terms that one becomes when an operand of it is taken apart, if that can be.
fn opened<'t>(term: &Term<'t>, at: usize, rank: usize) -> Option<Vec<Term<'t>>> {
    let (operand, place) = &term.operands[at];
    let tape = operand.tape();
    let Node { op, args, .. } = tape.with_node(operand.var, Clone::clone);
    let with = |parts: Vec<Operand<'t>>| {
        let mut operands = term.operands.clone();
        operands.remove(at);
        operands.extend(parts);
        operands
    };
    match op {
        Op::Add(_) => {
            let part = |var: Var| Term { operands: with(vec![(Expr::of(tape, var), place.clone())]), ..term.clone() };
            Some(args.into_iter().map(part).collect())
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
            let part = |(var, ls): (Var, &Labels)| (Expr::of(tape, var), ls.iter().map(|&l| map[l as usize]).collect());
            let operands = with(args.into_iter().zip(&c.ins).map(part).collect());
            Some(vec![Term { coef: term.coef * c.coef(), operands, dims, ..term.clone() }])
        }
        Op::Divide(_) => {
            let below = [&term.below[..], &[(Expr::of(tape, args[1]), place.clone())]].concat();
            Some(vec![Term { operands: with(vec![(Expr::of(tape, args[0]), place.clone())]), below, ..term.clone() }])
        }
        Op::ScatterAdd(ScatterAdd(lookup)) => Some(vec![term.scattered(at, &lookup, rank)?]),
        _ => None,
    }
}
