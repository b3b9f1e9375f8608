//! Terms that are added to rows of a table: what an example's gradient of an embedding is.
//!
//! Such a term is Σ over positions of its operands, each position's at the row that an index names. The table is never made for an
//! example: where an array meets it, the array is gathered; where two such terms meet, what each adds to one row is added up first, at
//! the first position of that row among those of both.

use super::moments::{Operand, Term, product};
use crate::graph::Node;
use crate::ops::{First, Gather, Labels, Lookup, Op, ScatterAdd, ToIndex, moves};
use crate::{Expr, Kind, Tape};

/// Where a term is added to.
#[derive(Debug, Clone)]
pub(super) struct Rows<'t> {
    /// The array's label that indices stand for; no operand has it.
    pub axis: u8,
    pub index: Operand<'t>,
}

/// Whether a node's array is added to rows by examples of its own: a scatter, a sum of such, and what is multiplied with one element by
/// element.
pub(super) fn is_scattered(node: &Node, scattered: &[bool]) -> bool {
    let of = |at: usize| scattered[node.args[at].index()];
    match &node.op {
        Op::ScatterAdd(ScatterAdd(l)) => {
            l.table.first().is_some_and(|n| *n != l.row && (l.values.contains(n) || l.index.contains(n)))
        }
        Op::Contract(c) => (0..c.ins.len())
            .any(|at| of(at) && c.ins[at].first() == c.out.first() && c.ins[at].iter().all(|l| c.out.contains(l))),
        Op::Add(_) => of(0) || of(1),
        Op::Divide(_) => of(0),
        _ => false,
    }
}

impl<'t> Term<'t> {
    /// Opens an operand of these labels that is a scatter along an axis of the array, if this term is not one.
    pub(super) fn scattered(&self, at: usize, lookup: &Lookup, rank: usize) -> Option<Term<'t>> {
        let (scatter, place) = self.operands[at].clone();
        let axis = place[lookup.table.iter().position(|&l| l == lookup.row)?];
        if self.rows.is_some() || axis as usize >= rank {
            return None;
        }
        let mut term = self.clone();
        let mut mapped = |l: &u8| match lookup.table.iter().position(|o| o == l) {
            Some(at) => place[at],
            None => {
                term.dims.push(lookup.dims[*l as usize]);
                (term.dims.len() - 1) as u8
            }
        };
        // Each label once: values and indices share their positions.
        let labels: Vec<u8> = (0..lookup.dims.len() as u8).map(|l| mapped(&l)).collect();
        let named = |of: &Labels| of.iter().map(|&l| labels[l as usize]).collect::<Labels>();
        let args = scatter.tape.with_node(scatter.var, |node| node.args.clone());
        let [values, index] = [0, 1].map(|arg| Expr::of(scatter.tape, args[arg]));
        term.operands[at] = (values, named(&lookup.values));
        term.rows = Some(Rows { axis, index: (index, named(&lookup.index)) });
        Some(term)
    }

    /// The same with its other operands read where it adds.
    pub(super) fn gathered(mut self) -> Term<'t> {
        if let Some(rows) = self.rows.clone() {
            let all = self.operands.iter_mut().chain(&mut self.below);
            all.for_each(|operand| *operand = rows.picked(operand, &self.dims));
        }
        self
    }

    /// The same as an array without positions.
    fn made(&self, rank: usize, tape: &'t Tape) -> Term<'t> {
        let all: Labels = (0..rank as u8).collect();
        Term::of(self.summed_to(&all, tape), all, &self.dims[..rank])
    }

    /// The same with its coefficient put to an operand.
    fn rescaled(&self) -> Term<'t> {
        let mut term = Term { coef: 1.0, ..self.clone() };
        term.operands.iter_mut().take(1).for_each(|(x, _)| *x = x.scale(self.coef));
        term
    }

    /// The product of terms of one array, element by element.
    pub(super) fn times(&self, other: &Term<'t>, rank: usize, tape: &'t Tape) -> Term<'t> {
        if !moves(self.coef * other.coef) && !self.operands.is_empty() && !other.operands.is_empty() {
            // Together the coefficients may not leave what they scale.
            return self.rescaled().times(&other.rescaled(), rank, tape);
        }
        match (&self.rows, &other.rows) {
            (Some(_), Some(_)) => {
                met(self, other, rank, tape).unwrap_or_else(|| self.beside(&other.made(rank, tape), rank).gathered())
            }
            (None, Some(_)) => other.beside(self, rank).gathered(),
            (_, None) => self.beside(other, rank).gathered(),
        }
    }
}

impl<'t> Rows<'t> {
    /// An operand along the axis, read by the indices.
    fn picked(&self, (x, ls): &Operand<'t>, dims: &[usize]) -> Operand<'t> {
        if !ls.contains(&self.axis) {
            return (*x, ls.clone());
        }
        let (index, of_index) = &self.index;
        let mut values: Labels = ls.iter().copied().filter(|l| *l != self.axis).collect();
        values.extend(of_index.iter().filter(|l| !ls.contains(l)));
        let lookup = Lookup {
            table: ls.clone(),
            row: self.axis,
            index: of_index.clone(),
            values: values.clone(),
            dims: dims.to_vec(),
        };
        (x.tape.apply(Gather(lookup).into(), &[*x, *index]), values)
    }

    /// The sum of a term, which is added to these rows, over all but some labels of the array.
    pub(super) fn added(&self, term: &Term<'t>, kept: &[u8], tape: &'t Tape) -> Expr<'t> {
        let told = [kept, &self.index.1].concat();
        let has = |l: &u8| term.operands.iter().any(|(_, ls)| ls.contains(l));
        let mut own = Labels::new();
        told.iter().filter(|l| has(l)).for_each(|l| {
            if !own.contains(l) {
                own.push(*l)
            }
        });
        let values = product(term.coef * term.repeats(&told), &term.operands, &own, &term.dims, tape);
        self.add(values, own, kept, &term.dims)
    }

    /// Adds an array of some labels to a table of others.
    fn add(&self, x: Expr<'t>, values: Labels, table: &[u8], dims: &[usize]) -> Expr<'t> {
        let (index, of_index) = self.index.clone();
        let lookup = Lookup { table: table.to_vec(), row: self.axis, index: of_index, values, dims: dims.to_vec() };
        x.tape.apply(ScatterAdd(lookup).into(), &[x, index])
    }
}

/// Indices with one axis for all positions.
struct List<'t> {
    index: Expr<'t>,
    /// Labels of the array before and after that axis.
    before: Labels,
    after: Labels,
    positions: Labels,
}

impl<'t> List<'t> {
    /// Of a term's rows, if its positions lie side by side.
    fn of(term: &Term<'t>, rank: usize) -> Option<List<'t>> {
        let (index, ls) = &term.rows.as_ref()?.index;
        let is_position = |l: &&u8| **l as usize >= rank;
        let before: Labels = ls.iter().copied().take_while(|l| !is_position(&l)).collect();
        let positions: Labels = ls[before.len()..].iter().copied().take_while(|l| is_position(&l)).collect();
        let after = ls[before.len() + positions.len()..].to_vec();
        if after.iter().any(|l| is_position(&l)) {
            return None;
        }
        let extents = |labels: &[u8]| labels.iter().map(|&l| term.dims[l as usize]).collect::<Vec<_>>();
        let count = extents(&positions).iter().product();
        let index = index.reshape([extents(&before), vec![count], extents(&after)].concat());
        Some(List { index, before, after, positions })
    }

    fn axis(&self) -> usize {
        self.before.len()
    }

    fn len(&self) -> usize {
        self.index.shape()[self.axis()]
    }
}

/// A product of two terms that are added to rows along one axis, by indices that lie alike: what either adds to a row is brought to
/// the row's first position.
fn met<'t>(t: &Term<'t>, s: &Term<'t>, rank: usize, tape: &'t Tape) -> Option<Term<'t>> {
    let (a, b) = (List::of(t, rank)?, List::of(s, rank)?);
    let axis = t.rows.as_ref()?.axis;
    if axis != s.rows.as_ref()?.axis || (&a.before, &a.after) != (&b.before, &b.after) {
        return None;
    }
    let bound = |list: &List<'t>| if let Kind::Index(bound) = list.index.spec().kind { bound } else { 0 };
    let same = a.index.var == b.index.var;
    if same && a.len() == 1 {
        return Some(t.beside(s, rank)); // nothing meets
    }
    let both = bound(&a).max(bound(&b));
    let wide = |list: &List<'t>| match bound(list) {
        own if own == both => list.index,
        _ => tape.apply(ToIndex { bound: both }.into(), &[list.index.to_real()]),
    };
    let index = if same { a.index } else { tape.concat(&[wide(&a), wide(&b)], a.axis()) };
    let first = tape.apply(First { axis: a.axis() }.into(), &[index]);
    let part =
        |from: usize, list: &List<'t>| if same { first } else { first.slice(list.axis(), from..from + list.len()) };
    let count = index.shape()[a.axis()];
    let dims = [&t.dims[..rank], &[count]].concat();
    let operands =
        vec![brought(t, &a, part(0, &a), count, rank, tape), brought(s, &b, part(a.len(), &b), count, rank, tape)];
    let of_index = [&a.before[..], &[rank as u8], &a.after].concat();
    Some(Term { coef: 1.0, operands, below: Vec::new(), dims, rows: Some(Rows { axis, index: (index, of_index) }) })
}

/// What a term adds to rows, added up where `first` says instead: an array along as many positions as both terms have, of label `rank`.
fn brought<'t>(
    t: &Term<'t>,
    list: &List<'t>,
    first: Expr<'t>,
    count: usize,
    rank: usize,
    tape: &'t Tape,
) -> Operand<'t> {
    let has = |l: &u8| t.operands.iter().any(|(_, ls)| ls.contains(l));
    let own: Labels = (0..rank as u8).filter(has).collect();
    let all = [&own[..], &list.positions].concat();
    let told: Labels = (0..rank as u8).chain(list.positions.iter().copied()).collect();
    let values = product(t.coef * t.repeats(&told), &t.operands, &all, &t.dims, tape);
    let extents = own.iter().map(|&l| t.dims[l as usize]).chain([list.len()]).collect::<Vec<_>>();
    let (to, position) = (rank as u8, rank as u8 + 1);
    let others = list.before.iter().chain(&list.after).copied().filter(|l| !has(l));
    let table: Labels = own.iter().copied().chain(others).chain([to]).collect();
    let rows = Rows { axis: to, index: (first, [&list.before[..], &[position], &list.after].concat()) };
    let dims = [&t.dims[..rank], &[count, list.len()]].concat();
    let made = rows.add(values.reshape(extents), [&own[..], &[position]].concat(), &table, &dims);
    (made, table)
}
