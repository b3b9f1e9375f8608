//! Forward mode: every node beside its tangent.

use crate::graph::Graph;
use crate::{Expr, Tape};

use super::{all, placed};

/// Outputs and their tangents; an absent tangent is zero.
pub(crate) fn jvp<'t>(
    graph: &Graph,
    tape: &'t Tape,
    inputs: &[Expr<'t>],
    tangents: &[Option<Expr<'t>>],
) -> (Vec<Expr<'t>>, Vec<Option<Expr<'t>>>) {
    let pairs: Vec<_> = inputs.iter().copied().zip(tangents.iter().copied()).collect();
    let mut values = placed(graph, &pairs);
    for (at, node) in graph.nodes.iter().enumerate() {
        if values[at].is_none() {
            let (args, tangents): (Vec<_>, Vec<_>) = all(&values, &node.args).into_iter().unzip();
            let out = tape.apply(node.op.clone(), &args);
            let moves = tangents.iter().any(Option::is_some);
            let tangent = if moves { node.op.primitive().jvp(&args, out, &tangents) } else { None };
            values[at] = Some((out, tangent));
        }
    }
    all(&values, &graph.outputs).into_iter().unzip()
}
