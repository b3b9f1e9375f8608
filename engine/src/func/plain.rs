//! Transforms of functions whose trees are taken apart into lists: compiled once, whatever trees a user's crate has.

use std::panic::Location;

use crate::graph::Graph;
use crate::ops::sum;
use crate::tape::Tape;
use crate::transform::{self, Split};
use crate::{Error, Expr, Result, Shape, Spec};

/// Highest order of a directional derivative: graphs grow with each.
const ORDERS: usize = 255;

/// Most tangents of a Jacobian, which has a node for each.
const TANGENTS: usize = 1 << 16;

/// A graph whose first inputs are parameters and whose other inputs are data, to be transformed at a line of the user's.
pub(super) struct Plain<'g> {
    graph: &'g Graph,
    params: usize,
    at: &'static Location<'static>,
}

impl<'g> Plain<'g> {
    pub fn new(graph: &'g Graph, params: usize, at: &'static Location<'static>) -> Plain<'g> {
        Plain { graph, params, at }
    }

    fn specs(&self) -> Vec<Spec> {
        self.graph.inputs.iter().map(|v| self.graph.node(*v).spec.clone()).collect()
    }

    /// Leaves of the parameters, and of the data.
    fn leaves(&self) -> (Vec<Spec>, Vec<Spec>) {
        let mut params = self.specs();
        let data = params.split_off(self.params);
        (params, data)
    }

    fn output(&self, at: usize) -> Shape {
        self.graph.output_shape(at).cloned().unwrap_or_default()
    }

    fn outputs(&self) -> usize {
        self.graph.outputs.len()
    }

    /// Which inputs derivatives are with respect to.
    fn wrt(&self) -> Vec<bool> {
        (0..self.graph.inputs.len()).map(|at| at < self.params).collect()
    }

    /// A graph of other leaves, on a fresh tape; its inputs have no names yet.
    fn build(
        &self,
        transform: &'static str,
        leaves: &[Spec],
        body: impl for<'t> FnOnce(&'t Tape, &[Expr<'t>]) -> Vec<Expr<'t>>,
    ) -> Result<Graph> {
        build(transform, self.at, leaves, body)
    }

    /// The same function; unlike the graph it is of, nothing in it serves no output.
    pub fn replayed(&self, transform: &'static str) -> Result<Graph> {
        self.build(transform, &self.specs(), |tape, inputs| transform::replay(self.graph, tape, inputs))
    }

    /// Some of the results; what only others needed is not computed.
    pub fn picked(&self, results: &[usize]) -> Result<Graph> {
        self.build("output", &self.specs(), |tape, inputs| {
            let outputs = transform::replay(self.graph, tape, inputs);
            results.iter().filter_map(|&at| outputs.get(at).copied()).collect()
        })
    }

    pub fn value_and_grad(&self) -> Result<Graph> {
        self.build("grad", &self.specs(), |tape, inputs| {
            let (outputs, gradient) = transform::vjp(self.graph, tape, inputs, &self.wrt(), &[tape.lit(1.0)]);
            [outputs, gradient].concat()
        })
    }

    /// Inputs: parameters, tangents, data.
    pub fn jvp(&self) -> Result<Graph> {
        let (params, data) = self.leaves();
        let n = self.params;
        self.build("jvp", &[&params[..], &params, &data].concat(), |tape, inputs| {
            let tangents: Vec<Option<Expr<'_>>> =
                inputs[n..2 * n].iter().map(|&t| Some(t)).chain(data.iter().map(|_| None)).collect();
            let inputs = [&inputs[..n], &inputs[2 * n..]].concat();
            let (outputs, moved) = transform::jvp(self.graph, tape, &inputs, &tangents);
            let moved: Vec<Expr<'_>> =
                moved.iter().zip(&outputs).map(|(t, o)| t.unwrap_or_else(|| tape.zero(o.shape()))).collect();
            [outputs, moved].concat()
        })
    }

    /// Inputs: parameters, cotangents, data.
    pub fn vjp(&self) -> Result<Graph> {
        let (params, data) = self.leaves();
        let cotangents: Vec<Spec> = (0..self.outputs()).map(|at| Spec::real(self.output(at))).collect();
        let (n, m) = (params.len(), params.len() + cotangents.len());
        self.build("vjp", &[params, cotangents, data].concat(), |tape, inputs| {
            let given = [&inputs[..n], &inputs[m..]].concat();
            let (outputs, gradient) = transform::vjp(self.graph, tape, &given, &self.wrt(), &inputs[n..m]);
            [outputs, gradient].concat()
        })
    }

    /// Inputs: parameters, direction, data; results: the value, and its derivatives along the direction up to an order.
    pub fn directional(&self, order: usize) -> Result<Graph> {
        if order > ORDERS {
            let why = format!("order {order}, but at most {ORDERS} are traced");
            return Err(Error::Transform { transform: "directional", why });
        }
        let (params, data) = self.leaves();
        let n = self.params;
        let leaves = [&params[..], &params, &data].concat();
        let mut level = self.build("directional", &leaves, |tape, inputs| {
            transform::replay(self.graph, tape, &[&inputs[..n], &inputs[2 * n..]].concat())
        })?;
        for _ in 0..order {
            level = self.build("directional", &leaves, |tape, inputs| {
                let still = vec![None; n + data.len()];
                let tangents: Vec<Option<Expr<'_>>> = inputs[n..2 * n].iter().map(|&v| Some(v)).chain(still).collect();
                let (mut outputs, moved) = transform::jvp(&level, tape, inputs, &tangents);
                if let (Some(&last), Some(&moved)) = (outputs.last(), moved.last()) {
                    outputs.push(moved.unwrap_or_else(|| tape.zero(last.shape())));
                }
                outputs
            })?;
        }
        Ok(level)
    }

    /// Of the only result, `[output…, leaf…]` for every parameter.
    pub fn jacfwd(&self) -> Result<Graph> {
        let (params, _) = self.leaves();
        let output = self.output(0);
        params.iter().try_for_each(|spec| few("jacfwd", spec.shape.size()))?;
        let along: Vec<Graph> = (0..params.len()).map(|at| self.along_leaf(at)).collect::<Result<_>>()?;
        self.build("jacfwd", &self.specs(), |tape, inputs| {
            let mut columns = Vec::new();
            for (graph, spec) in along.iter().zip(&params) {
                // One tangent an element of this leaf, batched: the identity, reshaped.
                let n = spec.shape.size();
                let basis = identity(tape, n).reshape(spec.shape.batched(n));
                let inputs = [inputs, &[basis]].concat();
                let mut batched = vec![false; inputs.len()];
                batched[inputs.len() - 1] = true;
                let column = transform::vmap(graph, tape, &inputs, &batched, n)[0];
                let order: Vec<usize> = (1..column.shape().rank()).chain([0]).collect();
                columns.push(column.permute(&order).reshape([&output[..], &spec.shape[..]].concat()));
            }
            columns
        })
    }

    /// Inputs: parameters, data, and a tangent of one leaf; the tangent of the first output.
    fn along_leaf(&self, leaf: usize) -> Result<Graph> {
        let mut leaves = self.specs();
        leaves.push(Spec::real(&leaves[leaf].shape));
        self.build("jacfwd", &leaves, |tape, inputs| {
            let (given, tangent) = inputs.split_at(inputs.len() - 1);
            let mut tangents = vec![None; given.len()];
            tangents[leaf] = Some(tangent[0]);
            let (outputs, moved) = transform::jvp(self.graph, tape, given, &tangents);
            vec![moved[0].unwrap_or_else(|| tape.zero(outputs[0].shape()))]
        })
    }

    /// Of the only result, `[output…, leaf…]` for every parameter.
    pub fn jacrev(&self) -> Result<Graph> {
        let shape = self.output(0);
        let vjp = self.vjp()?;
        let (n, params) = (shape.size(), self.params);
        few("jacrev", n)?;
        self.build("jacrev", &self.specs(), |tape, inputs| {
            let basis = identity(tape, n).reshape(shape.batched(n));
            let mut batched = vec![false; inputs.len() + 1];
            batched[params] = true;
            let inputs = [&inputs[..params], &[basis], &inputs[params..]].concat();
            let rows = transform::vmap(&vjp, tape, &inputs, &batched, n);
            rows[1..].iter().map(|r| r.reshape([&shape[..], &r.shape()[1..]].concat())).collect()
        })
    }

    /// The function of `n` at once of the inputs marked in `batched`.
    #[track_caller]
    pub fn vmap(&self, batched: &[bool], n: usize) -> Result<Graph> {
        if n == 0 {
            return Err(Error::empty("vmap"));
        }
        let grown = |(spec, &batched): (Spec, &bool)| match batched {
            true => Spec { shape: spec.shape.batched(n), kind: spec.kind },
            false => spec,
        };
        let leaves: Vec<Spec> = self.specs().into_iter().zip(batched).map(grown).collect();
        self.build("vmap", &leaves, |tape, inputs| transform::vmap(self.graph, tape, inputs, batched, n))
    }

    /// Results averaged over their first axis.
    pub fn averaged(&self) -> Result<Graph> {
        self.build("mean", &self.specs(), |tape, inputs| {
            transform::replay(self.graph, tape, inputs).iter().map(|x| x.mean_axes(&[0])).collect()
        })
    }

    /// The sum of the results of `n` examples with weights, which are one more input.
    pub fn weighted(&self, n: usize) -> Result<Graph> {
        self.build("weighted", &[self.specs(), vec![Spec::real([n])]].concat(), |tape, inputs| {
            let (inputs, weights) = inputs.split_at(inputs.len() - 1);
            transform::replay(self.graph, tape, inputs).iter().map(|&losses| weights[0].dot(losses)).collect()
        })
    }

    /// The inner product of the results with further inputs.
    pub fn dot_output(&self) -> Result<Graph> {
        let mut leaves = self.specs();
        let n = leaves.len();
        leaves.extend((0..self.outputs()).map(|at| Spec::real(self.output(at))));
        self.build("dot_output", &leaves, |tape, inputs| {
            let outputs = transform::replay(self.graph, tape, &inputs[..n]);
            let products: Vec<Expr<'_>> = outputs.iter().zip(&inputs[n..]).map(|(o, &u)| o.times(u).sum()).collect();
            vec![if products.is_empty() { tape.zero([]) } else { sum(&products, tape) }]
        })
    }

    /// All results joined along one axis, behind axes that all have in front.
    pub fn flat(&self, lead: &[usize]) -> Result<Graph> {
        let rows: usize = lead.iter().product();
        self.build("flat", &self.specs(), |tape, inputs| {
            let outputs = transform::replay(self.graph, tape, inputs);
            let rest = |o: &Expr<'_>| o.shape().size() / rows.max(1);
            let parts: Vec<Expr<'_>> = outputs.iter().map(|o| o.reshape([lead, &[rest(o)]].concat())).collect();
            vec![tape.concat(&parts, lead.len())]
        })
    }

    pub fn linearize(&self) -> Result<Split> {
        transform::linearize(self.graph, &self.specs(), &self.wrt()).map_err(|error| error.on_line(self.at))
    }
}

/// A graph of leaves made on a fresh tape; its inputs have no names yet.
pub(super) fn build(
    transform: &'static str,
    at: &'static Location<'static>,
    leaves: &[Spec],
    body: impl for<'t> FnOnce(&'t Tape, &[Expr<'t>]) -> Vec<Expr<'t>>,
) -> Result<Graph> {
    let tape = Tape::of_transform(transform, at);
    let inputs: Vec<Expr<'_>> = leaves.iter().map(|s| tape.leaf(s)).collect();
    let outputs = body(&tape, &inputs);
    tape.finish(&inputs, Vec::new(), &outputs)
}

/// Refuses Jacobians that would take forever to trace.
fn few(transform: &'static str, tangents: usize) -> Result<()> {
    if tangents <= TANGENTS {
        return Ok(());
    }
    let why = format!("{tangents} rows or columns, but at most {TANGENTS} are traced: use jvp, vjp or hvp");
    Err(Error::Transform { transform, why })
}

/// The n×n identity.
fn identity(tape: &Tape, n: usize) -> Expr<'_> {
    let rows: Vec<Expr<'_>> = (0..n).map(|i| tape.full([1, 1], 1.0).pad(1, i, n - 1 - i)).collect();
    tape.concat(&rows, 0)
}
