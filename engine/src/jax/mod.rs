//! Functions as Python files of `jax.numpy`: an independent system computes what ours does.
//!
//! [`Func::to_jax`] prints any function, one line a primitive; [`Func::jax_check`] adds values, gradients and Hessian-vector products
//! of a loss to compare. The Python name of an elementwise function is that of its row; `prelude.py` says what JAX calls it.

use std::fmt::Write;

use crate::func::specs;
use crate::graph::{Graph, Node, Var};
use crate::tree::Signature;
use crate::{Array, Device, Func, Result, Shape, Spec};

/// Definitions that lines may use, apart by empty lines; the first two blocks are imports and settings.
const PRELUDE: &str = include_str!("prelude.py");

/// The comparison of a function's results with given ones.
const COMPARE: &str = include_str!("compare.py");

/// What a checking file does once everything is defined.
const REPORT: &str = include_str!("report.py");

impl<P: Signature, D: Signature, O: Signature> Func<P, D, O> {
    /// The function as the text of a self-contained Python file: `f(params, data)` takes the leaves of both trees as lists of arrays
    /// and returns the list of results.
    ///
    /// Every primitive is one line of `jax.numpy`, with sizes and constants written out. JAX computes in f64.
    ///
    /// ```
    /// use osculate_engine::{spec, Func};
    /// let f = Func::trace(spec([3]), spec([3]), |_, w, x| (w * x).sum().tanh())?;
    /// assert!(f.to_jax().ends_with("\
    /// def f(params, data):
    ///     v0, = params  # params: f[3]
    ///     v1, = data  # data: f[3]
    ///     v2 = jnp.einsum(\"a,a->a\", v0, v1)  # f[3]
    ///     v3 = jnp.einsum(\"a->\", v2)  # f[]
    ///     v4 = tanh(v3)  # f[]
    ///     return [v4]
    /// "));
    /// # Ok::<(), osculate_engine::Error>(())
    /// ```
    pub fn to_jax(&self) -> String {
        let params = specs(self.params()).len();
        let function = function(self.graph(), params);
        format!("{}\n{function}", definitions(PRELUDE, &function))
    }
}

impl<P: Signature, D: Signature> Func<P, D, Spec> {
    /// A Python file that compares this loss with JAX: it holds the function, the given inputs, and what Osculate computes for them in
    /// f64. Run by a Python that has JAX, it prints a table and exits with 1 where a result differs by more than 1e-10 of the largest
    /// number.
    ///
    /// Compared are the value, the gradient and the Hessian-vector product along `direction` of the first example, and of all examples
    /// by `vmap`. `data` has `n` examples along a new first axis.
    ///
    /// ```
    /// use osculate_engine::{label, spec, Array, Func};
    /// let loss = Func::trace(spec([2, 3]), (spec([2]), label(3)), |_, w, (x, y)| {
    ///     let z = x.dot(w);
    ///     z.exp().sum().ln() - y.one_hot().dot(z)
    /// })?;
    /// let w = Array::from_fn([2, 3], |i| 0.1 * i as f64);
    /// let v = Array::full([2, 3], 1.0);
    /// let examples = (Array::from_fn([4, 2], |i| i as f64 - 3.0), Array::index([4], vec![0, 1, 2, 1])?);
    /// let file = loss.jax_check(&w, &v, &examples, 4)?;
    /// assert!(file.contains("def f(params, data):") && file.contains("\"vmap hvp\""));
    /// # Ok::<(), osculate_engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Transform`](crate::Error::Transform) if the result is not a scalar or `n` is 0, [`Error::Signature`](crate::Error::Signature) for arrays
    /// that do not fit.
    pub fn jax_check(
        &self,
        params: &P::With<Array<f64>>,
        direction: &P::With<Array<f64>>,
        data: &D::With<Array<f64>>,
        n: usize,
    ) -> Result<String> {
        let block = self.jax_block(params, direction, data, n)?;
        Ok(format!("{}\n{COMPARE}\n{block}\n{REPORT}", definitions(PRELUDE, &block)))
    }

    /// The part of [`jax_check`](Func::jax_check) that is this loss's own: `f`, `params`, `direction`, `data` and `want`. A process that
    /// has run [`jax_library`] compares one after the other.
    ///
    /// # Errors
    /// As those of [`jax_check`](Func::jax_check).
    pub fn jax_block(
        &self,
        params: &P::With<Array<f64>>,
        direction: &P::With<Array<f64>>,
        data: &D::With<Array<f64>>,
        n: usize,
    ) -> Result<String> {
        let lists =
            self.rebuild(specs(self.params()), specs(self.data()), self.outputs().clone(), |tape, params, data| {
                crate::transform::replay(self.graph(), tape, &[params, data].concat())
            })?;
        let device = Device::cpu();
        let (p, v) = (crate::check::arrays(params), crate::check::arrays(direction));
        let rows = crate::check::arrays(data);
        let first = rows.iter().map(first_row).collect::<Result<Vec<_>>>()?;
        let both = (p.clone(), v.clone());
        let value = lists.compile::<f64>(&device)?.run(&p, &first)?;
        let gradient = lists.grad()?.compile::<f64>(&device)?.run(&p, &first)?;
        let hvp = lists.hvp()?.compile::<f64>(&device)?.run(&both, &first)?.1;
        let values = lists.vmap(n)?.compile::<f64>(&device)?.run(&p, &rows)?;
        let gradients = lists.grad()?.vmap(n)?.compile::<f64>(&device)?.run(&p, &rows)?;
        let hvps = lists.hvp()?.vmap(n)?.compile::<f64>(&device)?.run(&both, &rows)?.1;
        let mut text = function(self.graph(), p.len());
        for (name, arrays) in [("params", &p), ("direction", &v), ("data", &rows)] {
            let _ = writeln!(text, "\n{name} = {}", list(arrays));
        }
        text += "\nwant = {\n";
        let (value, values) = (vec![value], vec![values]);
        let results = [
            ("value", &value),
            ("gradient", &gradient),
            ("hvp", &hvp),
            ("vmap value", &values),
            ("vmap gradient", &gradients),
            ("vmap hvp", &hvps),
        ];
        for (name, arrays) in results {
            let _ = writeln!(text, "    \"{name}\": {},", list(arrays));
        }
        Ok(text + "}\n")
    }
}

/// All definitions that the blocks of [`Func::jax_block`] use, and `compare`, as Python text.
pub fn jax_library() -> String {
    format!("{PRELUDE}\n{COMPARE}")
}

/// The first of the examples.
fn first_row(rows: &Array<f64>) -> Result<Array<f64>> {
    let shape = Shape::from(rows.shape().get(1..).unwrap_or_default());
    match rows.is_index() {
        true => Array::index(&shape, rows.indices().iter().take(shape.size()).copied().collect()),
        false => Array::new(&shape, rows.values().iter().take(shape.size()).copied().collect()),
    }
}

/// `def f(params, data)`, one line a node.
fn function(graph: &Graph, params: usize) -> String {
    let mut text = "def f(params, data):\n".to_string();
    let names: Vec<String> = (0..graph.len()).map(|at| format!("v{at}")).collect();
    for (from, to, what) in [(0, params, "params"), (params, graph.inputs.len(), "data")] {
        let inputs = graph.inputs.get(from..to).unwrap_or_default();
        if inputs.is_empty() {
            continue;
        }
        let vars: String = inputs.iter().map(|v| format!("{}, ", names[v.index()])).collect();
        let kinds = inputs.iter().zip(&graph.names[from..to]);
        let kinds: Vec<String> = kinds.map(|(v, name)| format!("{name}: {}", graph.node(*v).spec.code())).collect();
        let _ = writeln!(text, "    {} = {what}  # {}", vars.trim_end(), kinds.join("; "));
    }
    let is_input: Vec<bool> = {
        let mut marks = vec![false; graph.len()];
        graph.inputs.iter().for_each(|v| marks[v.index()] = true);
        marks
    };
    for (at, Node { op, args, spec }) in graph.nodes.iter().enumerate() {
        if !is_input[at] {
            let args: Vec<&str> = args.iter().map(|v| names[v.index()].as_str()).collect();
            let _ = writeln!(text, "    v{at} = {}  # {}", op.primitive().jax(&args, spec), spec.code());
        }
    }
    let outputs: Vec<&str> = graph.outputs.iter().map(|v| names[v.index()].as_str()).collect();
    let _ = writeln!(text, "    return [{}]", outputs.join(", "));
    text
}

/// A graph of one result as one Python expression: a function of its inputs.
pub(crate) fn lambda(graph: &Graph) -> String {
    let names: Vec<String> = (0..graph.len()).map(|at| format!("v{at}")).collect();
    let name = |vars: &[Var]| vars.iter().map(|v| names[v.index()].as_str()).collect::<Vec<_>>();
    let inner = graph.nodes.iter().enumerate().filter(|(at, _)| !graph.inputs.iter().any(|v| v.index() == *at));
    let lines = inner.map(|(at, n)| format!("v{at} := {}", n.op.primitive().jax(&name(&n.args), &n.spec)));
    let lines: Vec<String> = lines.chain(name(&graph.outputs).into_iter().map(String::from)).collect();
    format!("lambda {}: [{}][-1]", name(&graph.inputs).join(", "), lines.join(", "))
}

/// Those blocks of the prelude that a text uses, and what these use.
fn definitions(prelude: &str, text: &str) -> String {
    let blocks: Vec<&str> = prelude.split("\n\n").map(str::trim_end).collect();
    let name = |block: &str| -> Option<String> {
        let first = block.lines().next()?;
        let named = first.strip_prefix("def ").and_then(|rest| rest.split('(').next());
        Some(named.or_else(|| first.split_once(" = ").map(|(name, _)| name))?.to_string())
    };
    let calls = |text: &str, name: &str| {
        text.match_indices(name).any(|(at, _)| {
            let before = text[..at].chars().next_back();
            let after = text[at + name.len()..].chars().next();
            after.is_some_and(|c| c == '(') && !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '.')
        })
    };
    let named: Vec<Option<String>> = blocks.iter().map(|block| name(block)).collect();
    let mut used: Vec<bool> = named.iter().map(Option::is_none).collect();
    let mut texts = vec![text];
    while let Some(text) = texts.pop() {
        for ((block, name), used) in blocks.iter().zip(&named).zip(&mut used) {
            if !*used && name.as_ref().is_some_and(|name| calls(text, name)) {
                *used = true;
                texts.push(block);
            }
        }
    }
    let kept: Vec<&str> = blocks.iter().zip(used).filter(|(_, used)| *used).map(|(block, _)| *block).collect();
    kept.join("\n\n") + "\n"
}

/// A number as Python reads it.
pub(crate) fn number(value: f64) -> String {
    match value {
        v if v.is_nan() => "jnp.nan".into(),
        v if v.is_infinite() => if v > 0.0 { "jnp.inf" } else { "-jnp.inf" }.into(),
        v => format!("{v:?}"),
    }
}

/// A list of numbers or texts as Python reads it.
pub(crate) fn brackets(items: impl IntoIterator<Item = impl std::fmt::Display>) -> String {
    let items: Vec<String> = items.into_iter().map(|i| i.to_string()).collect();
    format!("[{}]", items.join(", "))
}

/// Arrays as a list of Python ones.
fn list(arrays: &[Array<f64>]) -> String {
    let each = |a: &Array<f64>| match a.is_index() {
        true => format!("index({}, {})", brackets(a.indices()), a.shape()),
        false => format!("array({}, {})", brackets(a.values().iter().map(|v| number(*v))), a.shape()),
    };
    brackets(arrays.iter().map(each))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_its_name_in_python() {
        for row in crate::elementwise() {
            let called = format!("x = {}(y)", row.name);
            let found = definitions(PRELUDE, &called);
            let defined = [format!("\n{} = ", row.name), format!("\ndef {}(", row.name)];
            assert!(defined.iter().any(|d| found.contains(d.as_str())), "prelude.py lacks {}", row.name);
        }
    }

    #[test]
    fn definitions_are_whole() {
        let blocks: Vec<&str> = PRELUDE.split("\n\n").collect();
        let names = |text: &str| -> Vec<String> {
            let named = text.split("\n\n").filter_map(|block| {
                let first = block.trim_start().lines().next()?;
                let function = first.strip_prefix("def ").and_then(|rest| rest.split('(').next());
                function.or_else(|| first.split_once(" = ").map(|(name, _)| name)).map(String::from)
            });
            named.collect()
        };
        let all = names(PRELUDE);
        assert!(all.len() > 50 && blocks.len() > 50);
        for name in &all {
            let text = definitions(PRELUDE, &format!("x = {name}(y)"));
            let here = names(&text);
            // Words that are no attributes, parameters or keywords of calls.
            let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')).collect::<Vec<_>>();
            for used in all.iter().filter(|n| text.contains(&format!("{n}(")) && words.contains(&n.as_str())) {
                assert!(here.contains(used), "{name} uses {used}, which its file lacks:\n{text}");
            }
            for passed in all.iter().filter(|n| text.contains(&format!("ruled({n},"))) {
                assert!(here.contains(passed), "{name} passes {passed}, which its file lacks:\n{text}");
            }
        }
    }

    #[test]
    fn files_define_what_they_use_and_no_more() {
        let text = definitions(PRELUDE, "v2 = fold(v1, [], [2])\nv3 = xtanh(v2)\nv4 = jnp.exp(v3)");
        assert!(text.contains("def fold(") && text.contains("def patches("), "{text}");
        assert!(!text.contains("\ntanh = ") && !text.contains("\nexp = "), "{text}");
    }
}
