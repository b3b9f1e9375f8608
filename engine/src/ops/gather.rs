//! `gather` and `scatter_add`: elements of a table by indices along one of its axes, and values added to where indices say; each is
//! the other's transpose.
//!
//! Axes are named by labels, as in a contraction: `values[…] = table[…]`, where the index stands for the label of the table's axis
//! that it counts (printed `*`). So `take` and `take_along_axis` are one primitive, and a batch of tables, of indices or of both is
//! one more label.
//!
//! | rule | gather | scatter_add |
//! |---|---|---|
//! | jvp | the same of the tangent | the same of the tangent |
//! | transpose | scatter_add | gather, summed along what the values lack |
//! | batch | one more label, on what is batched and on the values | one more label, on what is batched and on the table |
//! | canonical | views of the table fold in, repeating and scaling what is picked instead | views of the values fold in, but for scalings; what no index or row tells apart is summed first |

use super::contract::letters;
use super::{Contract, Labels, Linear, Op, Primitive, contract, not_numbers, sum};
use crate::expr::labels;
use crate::jax::brackets;
use crate::plan::{Lowering, Value};
use crate::{Expr, Kind, Spec, Tape};

/// Most labels: as many loops as a command has.
const MOST: usize = 39;

/// Which axes of a table, of indices into it and of values go together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Lookup {
    /// Of the table.
    pub table: Labels,
    /// The one among them that indices stand for.
    pub row: u8,
    /// Of the indices.
    pub index: Labels,
    /// Of what is picked or added.
    pub values: Labels,
    /// Extent of every label.
    pub dims: Vec<usize>,
}

/// `values` picked from a table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Gather(pub Lookup);

/// A table of zeros to which values are added.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ScatterAdd(pub Lookup);

impl Lookup {
    pub fn extents(&self, labels: &[u8]) -> Vec<usize> {
        labels.iter().map(|&l| self.dims[l as usize]).collect()
    }

    /// Whether indices or rows tell elements along a label apart.
    fn tells(&self, label: &u8) -> bool {
        self.index.contains(label) || self.table.contains(label)
    }

    fn fault(&self, index: &Spec, real: &Spec, labels: &[u8]) -> Result<(), String> {
        let (rows, axis) = (self.dims[self.row as usize], self.table.iter().position(|&l| l == self.row).unwrap_or(0));
        match index.kind {
            Kind::Index(bound) if bound > rows => {
                let table = Spec::real(self.extents(&self.table));
                return Err(format!("{index} reaches beyond axis {axis} of {table}: its bound must be at most {rows}"));
            }
            Kind::Index(_) => {}
            _ => return Err(format!("labels are wanted, not {index}: declare the leaf with label or Spec::index")),
        }
        if real.is_index() {
            return Err(not_numbers(real));
        }
        for (spec, labels) in [(index, &self.index[..]), (real, labels)] {
            if self.extents(labels) != spec.shape[..] {
                return Err(format!("{spec} does not have the extents {:?}", self.extents(labels)));
            }
        }
        if self.dims.len() > MOST {
            return Err(format!("more than {MOST} axes in all"));
        }
        Ok(())
    }

    /// The labels of a view's operand, given those of the view.
    fn within(&mut self, view: &Contract, labels: &[u8]) -> Labels {
        let mut outer = |l: &u8| match view.out.iter().position(|o| o == l) {
            Some(at) => labels[at],
            None => {
                self.dims.push(1);
                (self.dims.len() - 1) as u8
            }
        };
        view.ins[0].iter().map(&mut outer).collect()
    }

    /// Labels numbered by first appearance, those of the result first.
    fn numbered(&self, result: &[u8]) -> Lookup {
        let mut order = Labels::new();
        for l in result.iter().chain(&self.values).chain(&self.index).chain(&self.table) {
            if !order.contains(l) {
                order.push(*l);
            }
        }
        let number = |l: &u8| order.iter().position(|o| o == l).unwrap_or(0) as u8;
        let all = |labels: &[u8]| labels.iter().map(number).collect();
        Lookup {
            table: all(&self.table),
            row: number(&self.row),
            index: all(&self.index),
            values: all(&self.values),
            dims: self.extents(&order),
        }
    }

    /// The same for `n` examples: a label in front of what has one.
    fn batched(&self, table: bool, index: bool, values: bool, n: usize) -> Lookup {
        let label = self.dims.len() as u8;
        let with = |labels: &Labels, has: bool| if has { [&[label], &labels[..]].concat() } else { labels.clone() };
        Lookup {
            table: with(&self.table, table),
            row: self.row,
            index: with(&self.index, index),
            values: with(&self.values, values),
            dims: [&self.dims[..], &[n]].concat(),
        }
    }

    /// All labels but the row's, those of the values first.
    fn all(&self) -> Labels {
        let mut all = Labels::new();
        for l in self.values.iter().chain(&self.index).chain(&self.table).filter(|l| **l != self.row) {
            if !all.contains(l) {
                all.push(*l);
            }
        }
        all
    }

    /// The table's labels as Python's helpers take them: -1 is where indices stand.
    fn python(&self) -> String {
        brackets(self.table.iter().map(|&l| if l == self.row { -1 } else { i32::from(l) }))
    }

    fn starred(&self) -> String {
        let letter = |l: &u8| if *l == self.row { "*".into() } else { letters(&[*l]) };
        self.table.iter().map(letter).collect()
    }
}

/// A contraction of one operand that only repeats, drops or reorders axes and scales.
fn view<'t>(x: Expr<'t>) -> Option<(Contract, Expr<'t>)> {
    x.tape.with_node(x.var, |node| match &node.op {
        Op::Contract(c) if c.is_view() => node.args.first().map(|&var| (c.clone(), Expr::of(x.tape, var))),
        _ => None,
    })
}

impl Primitive for Gather {
    fn text(&self) -> String {
        format!("gather[{},{}->{}]", self.0.starred(), letters(&self.0.index), letters(&self.0.values))
    }

    fn shape(&self, args: &[Spec]) -> Result<Spec, String> {
        let [table, index] = args else { return Err(format!("two arguments, not {}", args.len())) };
        self.0.fault(index, table, &self.0.table)?;
        Ok(Spec::real(self.0.extents(&self.0.values)))
    }

    fn make<'t>(&self, tape: &'t Tape, args: &[Expr<'t>], spec: Spec) -> Expr<'t> {
        let (mut table, mut lookup, mut coef) = (args[0], self.0.clone(), 1.0);
        if table.is_zero() {
            return tape.zero(&spec.shape);
        }
        if let Some(value) = table.constant() {
            return tape.full(&spec.shape, value);
        }
        if let Some((view, inner)) = view(table) {
            lookup.table = lookup.within(&view, &self.0.table);
            (table, coef) = (inner, view.coef());
        }
        let Lookup { values, dims, .. } = lookup.clone();
        if !lookup.table.contains(&lookup.row) {
            return contract(coef, &[(table, &lookup.table)], &values, &dims, tape); // all rows are alike
        }
        let told: Labels = values.iter().copied().filter(|l| lookup.tells(l)).collect();
        if coef == 1.0 && told == values {
            let spec = Spec::real(spec.shape);
            return tape.intern(Gather(lookup.numbered(&values)).into(), &[table, args[1]], spec);
        }
        let picked = tape.apply(Gather(Lookup { values: told.clone(), ..lookup }).into(), &[table, args[1]]);
        contract(coef, &[(picked, &told)], &values, &dims, tape)
    }

    fn jvp<'t>(&self, args: &[Expr<'t>], out: Expr<'t>, tangents: &[Option<Expr<'t>>]) -> Option<Expr<'t>> {
        tangents[0].map(|t| out.tape.apply(self.clone().into(), &[t, args[1]]))
    }

    fn batch<'t>(&self, args: &[Expr<'t>], batched: &[bool], n: usize) -> Expr<'t> {
        args[0].tape.apply(Gather(self.0.batched(batched[0], batched[1], true, n)).into(), args)
    }

    fn lower(&self, cx: &mut Lowering, args: &[Value], spec: &Spec) -> Value {
        cx.gather(&self.0, &args[0], &args[1], &spec.shape)
    }

    fn jax(&self, args: &[&str], _: &Spec) -> String {
        let (at, order) = (brackets(&self.0.index), brackets(&self.0.values));
        format!("gather({}, {}, {}, {at}, {order})", args[0], args[1], self.0.python())
    }
}

impl Linear for Gather {
    fn transpose<'t>(&self, ct: Expr<'t>, args: &[Expr<'t>], _: usize) -> Expr<'t> {
        ct.tape.apply(ScatterAdd(self.0.clone()).into(), &[ct, args[1]])
    }
}

impl Primitive for ScatterAdd {
    fn text(&self) -> String {
        format!("scatter_add[{},{}->{}]", letters(&self.0.values), letters(&self.0.index), self.0.starred())
    }

    fn shape(&self, args: &[Spec]) -> Result<Spec, String> {
        let [values, index] = args else { return Err(format!("two arguments, not {}", args.len())) };
        self.0.fault(index, values, &self.0.values)?;
        Ok(Spec::real(self.0.extents(&self.0.table)))
    }

    fn make<'t>(&self, tape: &'t Tape, args: &[Expr<'t>], spec: Spec) -> Expr<'t> {
        let (mut values, mut lookup) = (args[0], self.0.clone());
        if values.is_zero() {
            return tape.zero(&spec.shape);
        }
        // Scaling what is added is less work than scaling tables.
        match (values.constant(), view(values)) {
            (Some(value), _) => (values, lookup.values) = (tape.lit(value), Labels::new()),
            (_, Some((view, inner))) if !view.is_identity() => {
                lookup.values = lookup.within(&view, &self.0.values);
                values = inner.scale(view.coef());
            }
            _ => {}
        }
        let told: Labels =
            lookup.values.iter().copied().filter(|l| lookup.tells(l) || lookup.dims[*l as usize] == 1).collect();
        if told != lookup.values {
            let sums = contract(1.0, &[(values, &lookup.values)], &told, &lookup.dims, tape);
            return tape.apply(ScatterAdd(Lookup { values: told, ..lookup }).into(), &[sums, args[1]]);
        }
        let table = lookup.table.clone();
        tape.intern(ScatterAdd(lookup.numbered(&table)).into(), &[values, args[1]], spec)
    }

    fn jvp<'t>(&self, args: &[Expr<'t>], out: Expr<'t>, tangents: &[Option<Expr<'t>>]) -> Option<Expr<'t>> {
        tangents[0].map(|t| out.tape.apply(self.clone().into(), &[t, args[1]]))
    }

    fn batch<'t>(&self, args: &[Expr<'t>], batched: &[bool], n: usize) -> Expr<'t> {
        args[0].tape.apply(ScatterAdd(self.0.batched(true, batched[1], batched[0], n)).into(), args)
    }

    fn lower(&self, cx: &mut Lowering, args: &[Value], spec: &Spec) -> Value {
        cx.scatter_add(&self.0, &args[0], &args[1], &spec.shape)
    }

    fn jax(&self, args: &[&str], spec: &Spec) -> String {
        let [values, at, order] = [&self.0.values, &self.0.index, &self.0.all()].map(brackets);
        let (table, shape) = (self.0.python(), brackets(&spec.shape[..]));
        format!("scatter_add({}, {}, {values}, {at}, {table}, {shape}, {order})", args[0], args[1])
    }
}

/// Whether an expression is a scatter that joins others: its indices are the same for all other axes of the table.
pub(crate) fn joins(x: Expr<'_>) -> bool {
    x.tape.with_node(x.var, |node| match &node.op {
        Op::ScatterAdd(ScatterAdd(lookup)) => !lookup.index.iter().any(|l| lookup.table.contains(l)),
        _ => false,
    })
}

/// One scatter of those that [join](joins) along one axis of one table, where each alone would write the whole table.
///
/// Indices of the loss's own stay apart from the data's: of those alone every example has its own.
pub(crate) fn join_scatters<'t>(scatters: &[Expr<'t>], tape: &'t Tape) -> Vec<Expr<'t>> {
    let mut groups: Vec<(Lookup, (Kind, bool), Vec<[Expr<'t>; 2]>)> = Vec::new();
    let mut joined = Vec::new();
    for &scatter in scatters {
        let Some((row, [values, index])) = listed(scatter) else {
            joined.push(scatter);
            continue;
        };
        let constant = tape.with_node(index.var, |node| matches!(node.op, Op::Constant(_)));
        let kind = (index.spec().kind, constant);
        let table = scatter.shape();
        let rank = table.rank();
        let dims = [&table[..], &[0]].concat();
        let with = |labels: Labels| [&[rank as u8], &labels[..]].concat();
        let others = with(labels(0, rank).into_iter().filter(|l| *l != row).collect());
        let lookup = Lookup { table: labels(0, rank), row, index: vec![rank as u8], values: others, dims };
        match groups.iter_mut().find(|(known, bound, _)| *known == lookup && *bound == kind) {
            Some((.., parts)) => match parts.iter_mut().find(|[_, known]| known.var == index.var) {
                Some([sum_of, _]) => *sum_of = sum(&[*sum_of, values], tape),
                None => parts.push([values, index]),
            },
            None => groups.push((lookup, kind, vec![[values, index]])),
        }
    }
    for (mut lookup, _, parts) in groups {
        let [values, index] = [0, 1].map(|at| tape.concat(&parts.iter().map(|part| part[at]).collect::<Vec<_>>(), 0));
        lookup.dims[lookup.table.len()] = index.shape()[0];
        joined.push(tape.apply(ScatterAdd(lookup).into(), &[values, index]));
    }
    joined
}

/// The axis of a scatter, and what it adds as a list: values `[positions, …]` with the table's other axes in order, and indices
/// `[positions]`; none if it does not [join](joins).
fn listed<'t>(scatter: Expr<'t>) -> Option<(u8, [Expr<'t>; 2])> {
    let (lookup, args) = scatter.tape.with_node(scatter.var, |node| match &node.op {
        Op::ScatterAdd(ScatterAdd(lookup)) => Some((lookup.clone(), node.args.clone())),
        _ => None,
    })?;
    let [values, index] = [0, 1].map(|at| Expr::of(scatter.tape, args[at]));
    let others: Labels = lookup.table.iter().copied().filter(|l| *l != lookup.row).collect();
    if !joins(scatter) {
        return None;
    }
    let order = [&lookup.index[..], &others].concat();
    let values = contract(1.0, &[(values, &lookup.values)], &order, &lookup.dims, scatter.tape);
    let positions = index.shape().size();
    let row = lookup.table.iter().position(|l| *l == lookup.row)? as u8;
    Some((row, [values.reshape([&[positions][..], &lookup.extents(&others)].concat()), index.reshape([positions])]))
}

impl Linear for ScatterAdd {
    fn transpose<'t>(&self, ct: Expr<'t>, args: &[Expr<'t>], _: usize) -> Expr<'t> {
        let Lookup { values, dims, .. } = &self.0;
        let all = self.0.all();
        let picked = ct.tape.apply(Gather(Lookup { values: all.clone(), ..self.0.clone() }).into(), &[ct, args[1]]);
        contract(1.0, &[(picked, &all)], values, dims, ct.tape)
    }
}
