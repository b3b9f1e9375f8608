//! Batching: one example's graph becomes that of `n` examples.

use crate::graph::Graph;
use crate::ops::copies;
use crate::{Expr, Tape};

use super::{all, placed};

/// Outputs with a leading axis of extent `n`; inputs marked in `batched` have one.
pub(crate) fn vmap<'t>(
    graph: &Graph,
    tape: &'t Tape,
    inputs: &[Expr<'t>],
    batched: &[bool],
    n: usize,
) -> Vec<Expr<'t>> {
    let pairs: Vec<_> = inputs.iter().copied().zip(batched.iter().copied()).collect();
    let mut values = placed(graph, &pairs);
    for (at, node) in graph.nodes.iter().enumerate() {
        if values[at].is_none() {
            let (args, batched): (Vec<_>, Vec<_>) = all(&values, &node.args).into_iter().unzip();
            let any = batched.contains(&true);
            let out =
                if any { node.op.primitive().batch(&args, &batched, n) } else { tape.apply(node.op.clone(), &args) };
            values[at] = Some((out, any));
        }
    }
    let repeat = |(x, batched): (Expr<'t>, bool)| if batched { x } else { copies(x, n) };
    all(&values, &graph.outputs).into_iter().map(repeat).collect()
}
