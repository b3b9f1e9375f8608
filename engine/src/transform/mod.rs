//! Transforms: replays of a graph on a tape that never mention a primitive by name.
//!
//! Each takes a graph and the expressions that stand for its inputs, and returns expressions for its outputs, so they nest freely:
//! `hvp` is `jvp` of `vjp`, and every word of them is a graph again.

mod jvp;
mod linear;
mod moments;
mod rows;
mod vmap;

pub(crate) use jvp::jvp;
pub(crate) use linear::{Split, linearize, vjp};
pub(crate) use moments::{Product, Spread, Vectors, outer_products};
pub(crate) use vmap::vmap;

use crate::graph::{Graph, Var};
use crate::{Expr, Tape};

/// The graph's outputs with `inputs` in place of its leaves.
#[track_caller]
pub(crate) fn replay<'t>(graph: &Graph, tape: &'t Tape, inputs: &[Expr<'t>]) -> Vec<Expr<'t>> {
    let mut values: Vec<Option<Expr<'t>>> = placed(graph, inputs);
    for (at, node) in graph.nodes.iter().enumerate() {
        if values[at].is_none() {
            let args = all(&values, &node.args);
            values[at] = Some(tape.apply(node.op.clone(), &args));
        }
    }
    all(&values, &graph.outputs)
}

/// One value a node, those of the inputs given.
fn placed<V: Clone>(graph: &Graph, inputs: &[V]) -> Vec<Option<V>> {
    let mut values = vec![None; graph.len()];
    graph.inputs.iter().zip(inputs).for_each(|(var, value)| values[var.index()] = Some(value.clone()));
    values
}

/// The values of some nodes; arguments come first in a graph, so they are there.
fn all<V: Clone>(values: &[Option<V>], vars: &[Var]) -> Vec<V> {
    vars.iter().filter_map(|v| values[v.index()].clone()).collect()
}
