//! Reverse mode: linearise, then transpose.
//!
//! Linearising is `jvp` with fresh leaves (seeds) as tangents. What depends on a seed is linear in it, because derivative rules use
//! tangents only through linear primitives; so it is marked by reachability on the tape and transposed node by node.

use crate::graph::Graph;
use crate::ops::{Op, join_scatters, joins, sum};
use crate::{Expr, Result, Spec, Tape};

use super::{jvp, replay};

/// Which nodes of the tape depend on one of the seeds.
fn linear_nodes(tape: &Tape, seeds: &[Expr<'_>]) -> Vec<bool> {
    let mut linear = vec![false; tape.len()];
    seeds.iter().for_each(|s| linear[s.var.index()] = true);
    for at in 0..linear.len() {
        let depends = tape.with_node(crate::Var(at as u32), |node| node.args.iter().any(|a| linear[a.index()]));
        linear[at] |= depends;
    }
    linear
}

/// Seeds for the inputs marked in `wrt`, and the tangents that they make.
fn seeded<'t>(tape: &'t Tape, inputs: &[Expr<'t>], wrt: &[bool]) -> (Vec<Expr<'t>>, Vec<Option<Expr<'t>>>) {
    let tangents: Vec<Option<Expr<'t>>> =
        inputs.iter().zip(wrt).map(|(x, &wanted)| wanted.then(|| tape.leaf(&Spec::real(x.shape())))).collect();
    (tangents.iter().copied().flatten().collect(), tangents)
}

/// What a node has received so far: what can be is added up as it comes, so that never more than two terms of a sum are there (weights
/// shared by a thousand steps receive a thousand); pads and scatters wait for the others, which they may join to one array.
#[derive(Clone, Default)]
struct Received<'t> {
    total: Option<Expr<'t>>,
    pads: Vec<Expr<'t>>,
    scatters: Vec<Expr<'t>>,
}

impl<'t> Received<'t> {
    fn add(&mut self, tape: &'t Tape, term: Expr<'t>) {
        if tape.with_node(term.var, |node| matches!(node.op, Op::Pad(_))) {
            return self.pads.push(term);
        }
        if joins(term) {
            return self.scatters.push(term);
        }
        self.total = Some(self.total.map_or(term, |total| sum(&[total, term], tape)));
    }

    fn take(&mut self, tape: &'t Tape) -> Option<Expr<'t>> {
        let mut scatters = std::mem::take(&mut self.scatters);
        if scatters.len() > 1 {
            scatters = join_scatters(&scatters, tape);
        }
        let terms: Vec<Expr<'t>> = self.total.take().into_iter().chain(self.pads.drain(..)).chain(scatters).collect();
        (!terms.is_empty()).then(|| sum(&terms, tape))
    }
}

/// Outputs, and the cotangents of the inputs marked in `wrt` for the outputs' `cotangents`.
pub(crate) fn vjp<'t>(
    graph: &Graph,
    tape: &'t Tape,
    inputs: &[Expr<'t>],
    wrt: &[bool],
    cotangents: &[Expr<'t>],
) -> (Vec<Expr<'t>>, Vec<Expr<'t>>) {
    let (seeds, tangents) = seeded(tape, inputs, wrt);
    let (outputs, moved) = jvp(graph, tape, inputs, &tangents);
    let linear = linear_nodes(tape, &seeds);
    let mut received: Vec<Received<'t>> = vec![Received::default(); linear.len()];
    for (tangent, &ct) in moved.iter().zip(cotangents) {
        if let Some(tangent) = tangent.filter(|t| linear.get(t.var.index()) == Some(&true)) {
            received[tangent.var.index()].add(tape, ct);
        }
    }
    let mut is_seed = vec![false; linear.len()];
    seeds.iter().for_each(|s| is_seed[s.var.index()] = true);
    for at in (0..linear.len()).rev().filter(|&at| !is_seed[at]) {
        let Some(ct) = received[at].take(tape) else { continue };
        let node = tape.with_node(crate::Var(at as u32), Clone::clone);
        let args: Vec<Expr<'t>> = node.args.iter().map(|&var| Expr::of(tape, var)).collect();
        for (wrt, arg) in node.args.iter().enumerate().filter(|(_, arg)| linear[arg.index()]) {
            match node.op.linear() {
                Some(op) => received[arg.index()].add(tape, op.transpose(ct, &args, wrt)),
                None => tape.fail(
                    &node.op.word(),
                    "a derivative rule used a tangent through a primitive that is not linear".into(),
                    std::panic::Location::caller(),
                ),
            }
        }
    }
    let gradient = |seed: &Expr<'t>| received[seed.var.index()].take(tape).unwrap_or_else(|| tape.zero(seed.shape()));
    (outputs, seeds.iter().map(gradient).collect())
}

/// A function split at a point: `value` gives its outputs and what the linear part needs of them (the residuals), `map` takes
/// tangents and residuals to the outputs' tangents.
pub(crate) struct Split {
    pub value: Graph,
    pub map: Graph,
    pub residuals: Vec<Spec>,
}

/// Splits `graph` into its value and its linear map, with respect to the inputs marked in `wrt`.
pub(crate) fn linearize(graph: &Graph, specs: &[Spec], wrt: &[bool]) -> Result<Split> {
    let tape = Tape::new();
    let inputs: Vec<Expr<'_>> = specs.iter().map(|s| tape.leaf(s)).collect();
    let (seeds, tangents) = seeded(&tape, &inputs, wrt);
    let (outputs, moved) = jvp(graph, &tape, &inputs, &tangents);
    let moved: Vec<Expr<'_>> =
        moved.iter().zip(&outputs).map(|(t, out)| t.unwrap_or_else(|| tape.zero(out.shape()))).collect();
    let names = |n: usize| (0..n).map(|i| format!("input.{i}")).collect::<Vec<_>>();
    // Everything the map needs, then the nodes that do not depend on the seeds but are read by ones that do.
    let whole = tape.finish(&[inputs.clone(), seeds.clone()].concat(), names(inputs.len() + seeds.len()), &moved)?;
    let depends = linear_nodes_of(&whole, inputs.len());
    let mut residual = vec![false; whole.len()];
    let outputs_of_map = whole.outputs.iter().copied().filter(|v| !depends[v.index()]);
    let read = (0..whole.len()).filter(|&at| depends[at]).flat_map(|at| whole.nodes[at].args.clone());
    for var in read.chain(outputs_of_map).filter(|v| !depends[v.index()]) {
        residual[var.index()] = true;
    }
    let vars: Vec<crate::Var> = (0..whole.len() as u32).map(crate::Var).filter(|v| residual[v.index()]).collect();
    let residuals: Vec<Spec> = vars.iter().map(|v| whole.node(*v).spec.clone()).collect();

    // The value: replay the whole and take the residuals as outputs.
    let mut with_residuals = whole.clone();
    with_residuals.outputs = vars.clone();
    let tape = Tape::new();
    let inputs: Vec<Expr<'_>> = specs.iter().map(|s| tape.leaf(s)).collect();
    let zeros: Vec<Expr<'_>> = specs.iter().zip(wrt).filter(|(_, w)| **w).map(|(s, _)| tape.zero(&s.shape)).collect();
    let mut outputs = replay(graph, &tape, &inputs);
    outputs.extend(replay(&with_residuals, &tape, &[inputs.clone(), zeros].concat()));
    let value = tape.finish(&inputs, names(inputs.len()), &outputs)?;

    // The map: the residuals become leaves.
    let tape = Tape::new();
    let seeds: Vec<Expr<'_>> =
        specs.iter().zip(wrt).filter(|(_, w)| **w).map(|(s, _)| tape.leaf(&Spec::real(&s.shape))).collect();
    let leaves: Vec<Expr<'_>> = residuals.iter().map(|s| tape.leaf(s)).collect();
    let mut values: Vec<Option<Expr<'_>>> = vec![None; whole.len()];
    whole.inputs[specs.len()..].iter().zip(&seeds).for_each(|(var, &seed)| values[var.index()] = Some(seed));
    vars.iter().zip(&leaves).for_each(|(var, &leaf)| values[var.index()] = Some(leaf));
    for at in (0..whole.len()).filter(|&at| depends[at]) {
        if values[at].is_none() {
            let args = super::all(&values, &whole.nodes[at].args);
            values[at] = Some(tape.apply(whole.nodes[at].op.clone(), &args));
        }
    }
    let map = tape.finish(
        &[seeds.clone(), leaves].concat(),
        names(seeds.len() + residuals.len()),
        &super::all(&values, &whole.outputs),
    )?;
    Ok(Split { value, map, residuals })
}

/// Which nodes of a graph depend on the inputs from the `first` on.
fn linear_nodes_of(graph: &Graph, first: usize) -> Vec<bool> {
    let mut depends = vec![false; graph.len()];
    graph.inputs[first..].iter().for_each(|v| depends[v.index()] = true);
    for at in 0..graph.len() {
        depends[at] |= graph.nodes[at].args.iter().any(|a| depends[a.index()]);
    }
    depends
}
