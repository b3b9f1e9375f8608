//! The Wengert list: nodes in an arena, in an order in which arguments come first.

use std::fmt;

use crate::ops::Op;
use crate::{Shape, Spec};

/// A node's position in its graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Var(pub(crate) u32);

impl Var {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// One primitive applied to earlier nodes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub op: Op,
    pub args: Vec<Var>,
    pub spec: Spec,
}

/// A traced function in static single assignment form, equal subexpressions being one node.
///
/// It prints as text, one line a node, which golden-file tests read:
///
/// ```
/// use osculate_engine::{spec, Func};
/// let f = Func::trace(spec([3]), spec([3]), |_, w, x| (w * x).sum().tanh())?;
/// assert_eq!(f.graph().to_string(), "\
/// %0: f[3] = leaf params
/// %1: f[3] = leaf data
/// %2: f[3] = contract[a,a->a] %0 %1
/// %3: f[] = contract[a->] %2
/// %4: f[] = tanh %3
/// return %4
/// ");
/// # Ok::<(), osculate_engine::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Graph {
    pub(crate) nodes: Vec<Node>,
    pub(crate) inputs: Vec<Var>,
    pub(crate) names: Vec<String>,
    pub(crate) outputs: Vec<Var>,
}

impl Graph {
    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether it has no nodes.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The output's extents.
    pub fn output_shape(&self, output: usize) -> Option<&Shape> {
        self.outputs.get(output).map(|v| &self.node(*v).spec.shape)
    }

    /// Whether it computes the same by the same nodes, whatever its inputs are called.
    pub(crate) fn same(&self, other: &Graph) -> bool {
        (&self.nodes, &self.inputs, &self.outputs) == (&other.nodes, &other.inputs, &other.outputs)
    }

    pub(crate) fn node(&self, var: Var) -> &Node {
        &self.nodes[var.index()]
    }

    /// Keeps the inputs and what the outputs need, renumbered in order: dead code goes here.
    pub(crate) fn extract(nodes: &[Node], inputs: &[Var], names: Vec<String>, outputs: &[Var]) -> Graph {
        let mut live = vec![false; nodes.len()];
        outputs.iter().for_each(|v| live[v.index()] = true);
        for at in (0..nodes.len()).rev() {
            if live[at] {
                nodes[at].args.iter().for_each(|v| live[v.index()] = true);
            }
        }
        // Inputs come first, needed or not.
        inputs.iter().for_each(|v| live[v.index()] = false);
        let mut renumbered = vec![Var(u32::MAX); nodes.len()];
        let mut graph = Graph { names, ..Graph::default() };
        // Inputs first, in signature order, then the rest in the order in which it was traced.
        let body = (0..nodes.len()).map(|i| Var(i as u32)).filter(|v| live[v.index()]);
        for var in inputs.iter().copied().chain(body) {
            let node = &nodes[var.index()];
            renumbered[var.index()] = Var(graph.nodes.len() as u32);
            let args = node.args.iter().map(|v| renumbered[v.index()]).collect();
            graph.nodes.push(Node { op: node.op.clone(), args, spec: node.spec.clone() });
        }
        graph.inputs = inputs.iter().map(|v| renumbered[v.index()]).collect();
        graph.outputs = outputs.iter().map(|v| renumbered[v.index()]).collect();
        graph
    }
}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |vars: &[Var]| vars.iter().map(|v| format!(" %{}", v.0)).collect::<String>();
        let mut names = vec![None; self.len()];
        self.inputs.iter().zip(&self.names).for_each(|(v, name)| names[v.index()] = Some(name));
        for (at, node) in self.nodes.iter().enumerate() {
            let name = names[at].map(|name| format!(" {name}")).unwrap_or_default();
            writeln!(f, "%{at}: {} = {}{name}{}", node.spec.code(), node.op.primitive().text(), list(&node.args))?;
        }
        writeln!(f, "return{}", list(&self.outputs))
    }
}
