//! Traced functions and the transforms of them.

mod pick;

use osculate_kernels::{Real, Sweep};

use crate::graph::Graph;
use crate::program::{Device, Program, sweep};
use crate::tape::Tape;
use crate::transform;
use crate::tree::{Signature, Tree};
use crate::{Error, Expr, Kind, Result, Shape, Spec};

/// A function of parameters and data, traced for one example.
///
/// Derivatives are with respect to the parameters `P`; data `D` (where labels live) are what [`vmap`](Func::vmap) batches; `O` is
/// the result, one [`Spec`] for a loss. Every transform gives a `Func` again, so that they compose in any order, to any order:
///
/// ```
/// use osculate_engine::{spec, Array, Device, Func};
/// // f(w; x) = (w·x)³ of one example
/// let f = Func::trace(spec([2]), spec([2]), |_, w, x| w.dot(x).powi(3))?;
/// let each = f.hvp()?.vmap(2)?.compile::<f64>(&Device::cpu())?;
/// let (w, v) = (Array::new([2], vec![1.0, 1.0])?, Array::new([2], vec![0.0, 1.0])?);
/// let x = Array::new([2, 2], vec![1.0, 0.0, 1.0, 2.0])?;
/// let (gradient, hv) = each.clone().run(&(w, v), &x)?;      // per example: 3(w·x)² x and 6(w·x)(x·v) x
/// assert_eq!(gradient.values(), [3.0, 0.0, 27.0, 54.0]);
/// assert_eq!(hv.values(), [0.0, 0.0, 36.0, 72.0]);
/// # Ok::<(), osculate_engine::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Func<P, D, O> {
    graph: Graph,
    params: P,
    data: D,
    outputs: O,
}

/// A function split at a point, see [`Func::linearize`].
#[derive(Debug, Clone)]
pub struct Linearization<P, D, O> {
    /// The outputs and the residuals that the linear map needs.
    pub value: Func<P, D, (O, Vec<Spec>)>,
    /// Tangents of the parameters and residuals to tangents of the outputs.
    pub map: Func<P, Vec<Spec>, O>,
}

pub(crate) fn specs<P: Signature>(tree: &P) -> Vec<Spec> {
    tree.leaves("").into_iter().map(|(_, spec)| spec.clone()).collect()
}

fn exprs<'t, T: Tree<Leaf = Expr<'t>>>(tree: &T) -> Vec<Expr<'t>> {
    tree.leaves("").into_iter().map(|(_, x)| *x).collect()
}

fn paths<P: Signature>(tree: &P, root: &str) -> Vec<String> {
    tree.leaves(root).iter().map(|(path, _)| path.to_string()).collect()
}

/// The signature with every shape changed; cotangents and tangents are plain reals.
fn reals<P: Signature>(tree: &P, shape: impl Fn(usize, &Spec) -> Shape) -> Result<P> {
    let mut at = 0..;
    tree.map("", |_, spec| Ok(Spec::real(shape(at.next().unwrap_or(0), spec))))
}

impl<P: Signature, D: Signature> Func<P, D, Spec> {
    /// Traces a function with a single result: usually the loss of one example.
    ///
    /// The closure gets the tape (for constants), the parameters and the data.
    ///
    /// # Errors
    /// The first malformed expression, with the line of the closure where it stands; index leaves among the parameters.
    pub fn trace<F>(params: P, data: D, f: F) -> Result<Self>
    where
        F: for<'t> FnOnce(&'t Tape, P::With<Expr<'t>>, D::With<Expr<'t>>) -> Expr<'t>,
    {
        Self::trace_tree(params, data, f)
    }

    /// The gradient of the loss.
    ///
    /// # Errors
    /// The result is not a scalar.
    pub fn grad(&self) -> Result<Func<P, D, P>> {
        self.value_and_grad()?.second()
    }

    /// The loss and its gradient.
    ///
    /// # Errors
    /// The result is not a scalar.
    pub fn value_and_grad(&self) -> Result<Func<P, D, (Spec, P)>> {
        self.must_be_scalar("grad")?;
        let outputs = (self.outputs.clone(), self.params.clone());
        self.rebuild(self.params.clone(), self.data.clone(), outputs, |tape, params, data| {
            let (outputs, gradient) = self.vjp_on(tape, &params, &data, &[tape.lit(1.0)]);
            [outputs, gradient].concat()
        })
    }

    /// Gradient and Hessian-vector product, forward over reverse: `((params, v), data) -> (g, H v)`.
    ///
    /// # Errors
    /// The result is not a scalar.
    pub fn hvp(&self) -> Result<Func<(P, P), D, (P, P)>> {
        self.grad()?.jvp()
    }

    /// Value and directional derivatives up to an order, by nested forward mode: `((params, v), data) -> [f, Df[v], D²f[v, v], …]`.
    ///
    /// ```
    /// use osculate_engine::{spec, Array, Device, Func};
    /// let f = Func::trace(spec([]), spec([]), |_, w, x| x * w.powi(3))?;
    /// let at = (Array::scalar(2.0), Array::scalar(1.0));
    /// let values = f.directional(3)?.compile::<f64>(&Device::cpu())?.run(&at, &Array::scalar(1.0))?;
    /// let values: Vec<f64> = values.iter().filter_map(Array::item).collect();
    /// assert_eq!(values, [8.0, 12.0, 12.0, 6.0]);
    /// # Ok::<(), osculate_engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// None but those of tracing.
    pub fn directional(&self, order: usize) -> Result<Func<(P, P), D, Vec<Spec>>> {
        let pair = (self.params.clone(), self.params.clone());
        let n = specs(&self.params).len();
        let mut level = self.rebuild(pair, self.data.clone(), vec![self.outputs.clone()], |tape, params, data| {
            transform::replay(&self.graph, tape, &[&params[..n], &data].concat())
        })?;
        for _ in 0..order {
            let outputs = vec![self.outputs.clone(); level.outputs.len() + 1];
            level = level.rebuild(level.params.clone(), level.data.clone(), outputs, |tape, params, data| {
                let still = vec![None; n + data.len()];
                let tangents: Vec<Option<Expr<'_>>> = params[n..].iter().map(|&v| Some(v)).chain(still).collect();
                let (mut outputs, moved) = transform::jvp(&level.graph, tape, &[params, data].concat(), &tangents);
                let last = outputs.len() - 1;
                outputs.push(moved[last].unwrap_or_else(|| tape.full(outputs[last].shape(), 0.0)));
                outputs
            })?;
        }
        Ok(level)
    }

    /// The Hessian in the flat order of the parameters' layout, `[D, D]`: one tangent a parameter, so for small D.
    ///
    /// # Errors
    /// The result is not a scalar.
    pub fn hessian(&self) -> Result<Func<P, D, Spec>> {
        let gradient = self.grad()?.flat()?;
        let count = gradient.outputs.shape.size();
        gradient.jacfwd()?.flat_from(count)
    }

    /// The Jacobian by forward mode, one tangent a parameter element: leaves are `[output…, leaf…]`.
    ///
    /// # Errors
    /// None but those of tracing.
    pub fn jacfwd(&self) -> Result<Func<P, D, P>> {
        let outputs = reals(&self.params, |_, s| [&self.outputs.shape[..], &s.shape[..]].concat().into())?;
        let specs = specs(&self.params);
        let along: Vec<Graph> = (0..specs.len()).map(|at| self.jvp_graph(at)).collect::<Result<_>>()?;
        self.rebuild(self.params.clone(), self.data.clone(), outputs, |tape, params, data| {
            let mut columns = Vec::new();
            for (graph, spec) in along.iter().zip(&specs) {
                // One tangent an element of this leaf, batched: the identity, reshaped.
                let n = spec.shape.size();
                let basis = identity(tape, n).reshape(spec.shape.batched(n));
                let inputs = [params.clone(), data.clone(), vec![basis]].concat();
                let mut batched = vec![false; inputs.len()];
                batched[inputs.len() - 1] = true;
                let column = transform::vmap(graph, tape, &inputs, &batched, n)[0];
                let order: Vec<usize> = (1..column.shape().rank()).chain([0]).collect();
                columns.push(column.permute(&order).reshape([&self.outputs.shape[..], &spec.shape[..]].concat()));
            }
            columns
        })
    }

    /// The Jacobian by reverse mode, one cotangent an output element: leaves are `[output…, leaf…]`.
    ///
    /// # Errors
    /// None but those of tracing.
    pub fn jacrev(&self) -> Result<Func<P, D, P>> {
        let shape = self.outputs.shape.clone();
        let outputs = reals(&self.params, |_, s| [&shape[..], &s.shape[..]].concat().into())?;
        let vjp = self.vjp()?;
        let n = shape.size();
        self.rebuild(self.params.clone(), self.data.clone(), outputs, |tape, params, data| {
            let basis = identity(tape, n).reshape(shape.batched(n));
            let mut batched = vec![false; params.len() + 1 + data.len()];
            batched[params.len()] = true;
            let rows = transform::vmap(&vjp.graph, tape, &[params, vec![basis], data].concat(), &batched, n);
            rows[1..].iter().map(|r| r.reshape([&shape[..], &r.shape()[1..]].concat())).collect()
        })
    }

    /// The mean loss of `n` examples, a function of the minibatch; its gradient never holds one of a single example.
    ///
    /// # Errors
    /// `n` is 0.
    pub fn mean(&self, n: usize) -> Result<Func<P, D, Spec>> {
        let each = self.vmap(n)?;
        let outputs = self.outputs.clone();
        each.rebuild(each.params.clone(), each.data.clone(), outputs, |tape, params, data| {
            transform::replay(&each.graph, tape, &[params, data].concat()).iter().map(|l| l.mean_axes(&[0])).collect()
        })
    }

    fn must_be_scalar(&self, transform: &'static str) -> Result<()> {
        match self.outputs.shape.rank() {
            0 => Ok(()),
            _ => Err(Error::Transform {
                transform,
                why: format!(
                    "the result is {}, not a scalar: for the gradient of a mean over examples use mean(n), else vjp, jacrev, or dot_output",
                    self.outputs
                ),
            }),
        }
    }

    /// `(params, data, tangent of one leaf) -> tangent of the output`.
    fn jvp_graph(&self, leaf: usize) -> Result<Graph> {
        let tape = Tape::new();
        let inputs: Vec<Expr<'_>> =
            specs(&self.params).iter().chain(&specs(&self.data)).map(|s| tape.leaf(s)).collect();
        let tangent = tape.leaf(&Spec::real(inputs[leaf].shape()));
        let mut tangents = vec![None; inputs.len()];
        tangents[leaf] = Some(tangent);
        let (outputs, moved) = transform::jvp(&self.graph, &tape, &inputs, &tangents);
        let moved = moved[0].unwrap_or_else(|| tape.full(outputs[0].shape(), 0.0));
        let inputs = [inputs, vec![tangent]].concat();
        tape.finish(&inputs, (0..inputs.len()).map(|i| i.to_string()).collect(), &[moved])
    }
}

/// The n×n identity.
fn identity(tape: &Tape, n: usize) -> Expr<'_> {
    let rows: Vec<Expr<'_>> = (0..n).map(|i| tape.full([1, 1], 1.0).pad(1, i, n - 1 - i)).collect();
    tape.concat(&rows, 0)
}

impl<P: Signature, D: Signature, O: Signature> Func<P, D, O> {
    /// Traces a function whose result is a tree; name it, as in `Func::<_, _, (Spec, Spec)>::trace_tree(…)`.
    ///
    /// # Errors
    /// The first malformed expression, with the line of the closure where it stands; index leaves among the parameters.
    pub fn trace_tree<F>(params: P, data: D, f: F) -> Result<Self>
    where
        F: for<'t> FnOnce(&'t Tape, P::With<Expr<'t>>, D::With<Expr<'t>>) -> O::With<Expr<'t>>,
    {
        let refuse = |path: &crate::Path, want: &str, got: &Spec| {
            Err(Error::Signature { path: path.to_string(), want: want.into(), got: got.to_string() })
        };
        for (path, spec) in params.leaves("params") {
            if spec.is_index() {
                return refuse(&path, "reals (indices have no derivative: put them into the data)", spec);
            }
        }
        for (path, spec) in params.leaves("params").into_iter().chain(data.leaves("data")) {
            if spec.kind == Kind::Index(0) {
                return refuse(&path, "at least one class", spec);
            }
            if spec.shape.contains(&0) || spec.shape.size() == usize::MAX {
                return refuse(&path, "extents of at least 1, and elements that can be counted", spec);
            }
            if spec.kind == Kind::Wide {
                return refuse(&path, "reals or indices (only results can be wide)", spec);
            }
        }
        let tape = Tape::new();
        let mut leaves = Vec::new();
        let mut names = Vec::new();
        let mut leaf = |path: &crate::Path, spec: &Spec| {
            leaves.push(tape.leaf(spec));
            names.push(path.to_string());
            Ok(leaves[leaves.len() - 1])
        };
        let p = params.map("params", &mut leaf)?;
        let d = data.map("data", &mut leaf)?;
        let result = f(&tape, p, d);
        let graph = tape.finish(&leaves, names, &exprs(&result))?;
        let outputs = result.map("result", |path, x| match x.spec() {
            spec if spec.is_index() => {
                Err(Error::Signature { path: path.to_string(), want: "reals".into(), got: spec.to_string() })
            }
            spec => Ok(spec),
        })?;
        Ok(Func { graph, params, data, outputs })
    }

    /// The traced graph; it prints as text.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Shapes of the parameters.
    pub fn params(&self) -> &P {
        &self.params
    }

    /// Shapes of the data.
    pub fn data(&self) -> &D {
        &self.data
    }

    /// Shapes of the result.
    pub fn outputs(&self) -> &O {
        &self.outputs
    }

    /// The results of this function inside another trace, as one more operator: no error to return, no `?` in the closure.
    ///
    /// Arguments that do not fit are recorded as that trace's error, as any malformed expression is.
    ///
    /// ```
    /// use osculate_engine::{spec, Array, Device, Func};
    /// let loss = Func::trace(spec([2]), spec([2]), |_, w, x| w.dot(x).square())?;
    /// let slope = loss.grad()?;
    /// // A penalty on the gradient: ‖2 (w·x) x‖²
    /// let penalty = Func::trace(spec([2]), spec([2]), |tape, w, x| slope.call(tape, &w, &x).square().sum())?;
    /// let (w, x) = (Array::new([2], vec![1.0, 1.0])?, Array::new([2], vec![1.0, 2.0])?);
    /// assert_eq!(penalty.compile::<f64>(&Device::cpu())?.run(&w, &x)?.item(), Some(180.0));
    /// # Ok::<(), osculate_engine::Error>(())
    /// ```
    #[track_caller]
    pub fn call<'t>(&self, tape: &'t Tape, params: &P::With<Expr<'t>>, data: &D::With<Expr<'t>>) -> O::With<Expr<'t>> {
        let at = std::panic::Location::caller();
        let given = [exprs(params), exprs(data)].concat();
        let want = [specs(&self.params), specs(&self.data)].concat();
        if given.len() != want.len() {
            tape.fail("call", format!("{} arrays were given to a function of {}", given.len(), want.len()), at);
        }
        for ((x, spec), name) in given.iter().zip(&want).zip(&self.graph.names) {
            if x.spec() != *spec {
                tape.fail("call", format!("{name}: want {spec}, got {}", x.spec()), at);
            }
        }
        let results = if tape.failed() { Vec::new() } else { transform::replay(&self.graph, tape, &given) };
        let mut results = results.into_iter();
        self.outputs.build(&mut || results.next().unwrap_or_else(|| tape.lit(0.0)))
    }

    /// Values and directional derivatives, forward mode: `((params, tangents), data) -> (outputs, tangents)`.
    ///
    /// # Errors
    /// None but those of tracing.
    pub fn jvp(&self) -> Result<Func<(P, P), D, (O, O)>> {
        let n = specs(&self.params).len();
        let outputs = (self.outputs.clone(), self.outputs.clone());
        self.rebuild((self.params.clone(), self.params.clone()), self.data.clone(), outputs, |tape, params, data| {
            let inputs = [&params[..n], &data].concat();
            let tangents: Vec<Option<Expr<'_>>> =
                params[n..].iter().map(|&t| Some(t)).chain(data.iter().map(|_| None)).collect();
            let (outputs, moved) = transform::jvp(&self.graph, tape, &inputs, &tangents);
            let moved = moved.iter().zip(&outputs).map(|(t, o)| t.unwrap_or_else(|| tape.full(o.shape(), 0.0)));
            outputs.iter().copied().chain(moved).collect()
        })
    }

    /// Values and the transposed derivative, reverse mode: `((params, cotangents), data) -> (outputs, cotangents of params)`.
    ///
    /// # Errors
    /// None but those of tracing.
    pub fn vjp(&self) -> Result<Func<(P, O), D, (O, P)>> {
        let n = specs(&self.params).len();
        let params = (self.params.clone(), reals(&self.outputs, |_, s| s.shape.clone())?);
        self.rebuild(params, self.data.clone(), (self.outputs.clone(), self.params.clone()), |tape, params, data| {
            let (outputs, gradient) = self.vjp_on(tape, &params[..n], &data, &params[n..]);
            [outputs, gradient].concat()
        })
    }

    fn vjp_on<'t>(
        &self,
        tape: &'t Tape,
        params: &[Expr<'t>],
        data: &[Expr<'t>],
        cotangents: &[Expr<'t>],
    ) -> (Vec<Expr<'t>>, Vec<Expr<'t>>) {
        let wrt: Vec<bool> = params.iter().map(|_| true).chain(data.iter().map(|_| false)).collect();
        transform::vjp(&self.graph, tape, &[params, data].concat(), &wrt, cotangents)
    }

    /// Splits the function at a point, so that many tangents can be pushed through one linearisation.
    ///
    /// ```
    /// use osculate_engine::{spec, Array, Device, Func};
    /// let f = Func::trace(spec([2]), spec([2]), |_, w, x| (w * x).tanh())?;
    /// let split = f.linearize()?;
    /// let (w, x) = (Array::new([2], vec![0.5, -1.0])?, Array::new([2], vec![1.0, 2.0])?);
    /// let (value, residuals) = split.value.compile::<f64>(&Device::cpu())?.run(&w, &x)?;
    /// let mut push = split.map.compile::<f64>(&Device::cpu())?;
    /// for tangent in [[1.0, 0.0], [0.0, 1.0]] {
    ///     let moved = push.run(&Array::new([2], tangent.to_vec())?, &residuals)?;
    ///     let want: Vec<f64> = (0..2).map(|i| (1.0 - value.values()[i].powi(2)) * x.values()[i] * tangent[i]).collect();
    ///     assert_eq!(moved.values(), want);
    /// }
    /// # Ok::<(), osculate_engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// None but those of tracing.
    pub fn linearize(&self) -> Result<Linearization<P, D, O>> {
        let (p, d) = (specs(&self.params), specs(&self.data));
        let wrt: Vec<bool> = p.iter().map(|_| true).chain(d.iter().map(|_| false)).collect();
        let mut split = transform::linearize(&self.graph, &[p, d].concat(), &wrt)?;
        split.value.names = [paths(&self.params, "params"), paths(&self.data, "data")].concat();
        split.map.names = [paths(&self.params, "params"), paths(&split.residuals, "data")].concat();
        let value = Func {
            graph: split.value,
            params: self.params.clone(),
            data: self.data.clone(),
            outputs: (self.outputs.clone(), split.residuals.clone()),
        };
        let map = Func {
            graph: split.map,
            params: self.params.clone(),
            data: split.residuals,
            outputs: self.outputs.clone(),
        };
        Ok(Linearization { value, map })
    }

    /// The function of `n` examples at once: data and outputs get a leading axis, parameters are shared.
    ///
    /// # Errors
    /// `n` is 0.
    pub fn vmap(&self, n: usize) -> Result<Func<P, D, O>> {
        self.vmap_picked(n, |path| path == "data" || path.starts_with("data."))
    }

    /// Batches the inputs whose path (`params.…`, `data.…`) is picked: an ensemble, or one tangent after another.
    ///
    /// # Errors
    /// [`Error::Transform`]: `n` is 0, or no path is picked.
    pub fn vmap_where(&self, n: usize, picked: impl Fn(&str) -> bool) -> Result<Func<P, D, O>> {
        let names = &self.graph.names;
        if !names.iter().any(|name| picked(name)) {
            let why = format!("no input is picked; there are {}", names.join(", "));
            return Err(Error::Transform { transform: "vmap_where", why });
        }
        self.vmap_picked(n, picked)
    }

    fn vmap_picked(&self, n: usize, picked: impl Fn(&str) -> bool) -> Result<Func<P, D, O>> {
        if n == 0 {
            return Err(Error::Transform { transform: "vmap", why: "a batch of 0 examples".into() });
        }
        let batched: Vec<bool> = self.graph.names.iter().map(|name| picked(name)).collect();
        let grown =
            |tree_at: usize, spec: &Spec| if batched[tree_at] { spec.shape.batched(n) } else { spec.shape.clone() };
        let mut at = 0..;
        let mut grow =
            |_: &crate::Path, spec: &Spec| Ok(Spec { shape: grown(at.next().unwrap_or(0), spec), kind: spec.kind });
        let params = self.params.map("", &mut grow)?;
        let data = self.data.map("", &mut grow)?;
        let outputs = self.outputs.map("", |_, s| Ok(Spec { shape: s.shape.batched(n), kind: s.kind }))?;
        self.rebuild(params, data, outputs, |tape, params, data| {
            transform::vmap(&self.graph, tape, &[params, data].concat(), &batched, n)
        })
    }

    /// The scalar Σ ⟨output, u⟩ with `u` as further data: how non-scalar results are made ready for `grad`.
    ///
    /// # Errors
    /// None but those of tracing.
    pub fn dot_output(&self) -> Result<Func<P, (D, O), Spec>> {
        let n = specs(&self.data).len();
        let data = (self.data.clone(), reals(&self.outputs, |_, s| s.shape.clone())?);
        self.rebuild(self.params.clone(), data, Spec::real([]), |tape, params, data| {
            let outputs = transform::replay(&self.graph, tape, &[&params[..], &data[..n]].concat());
            let mut total = tape.lit(0.0);
            for (output, &u) in outputs.iter().zip(&data[n..]) {
                total = total + output.times(u).sum();
            }
            vec![total]
        })
    }

    /// All outputs as one vector, in the flat order of their layout.
    ///
    /// # Errors
    /// None but those of tracing.
    pub fn flat(&self) -> Result<Func<P, D, Spec>> {
        self.flat_rows(0, Vec::new())
    }

    /// Outputs with a common leading extent `rows` as one matrix.
    fn flat_from(&self, rows: usize) -> Result<Func<P, D, Spec>> {
        self.flat_rows(1, vec![rows])
    }

    fn flat_rows(&self, axis: usize, lead: Vec<usize>) -> Result<Func<P, D, Spec>> {
        let rows: usize = lead.iter().product();
        let total: usize = specs(&self.outputs).iter().map(|s| s.shape.size() / rows).sum();
        let outputs = Spec::real([&lead[..], &[total]].concat());
        self.rebuild(self.params.clone(), self.data.clone(), outputs, |tape, params, data| {
            let outputs = transform::replay(&self.graph, tape, &[params, data].concat());
            let parts: Vec<Expr<'_>> =
                outputs.iter().map(|o| o.reshape([&lead[..], &[o.shape().size() / rows]].concat())).collect();
            vec![tape.concat(&parts, axis)]
        })
    }

    /// The same function of its parameters as a list, which lies in one flat buffer whatever tree they were.
    ///
    /// # Errors
    /// None but those of tracing.
    pub fn listed(&self) -> Result<Func<Vec<Spec>, D, O>> {
        self.rebuild(specs(&self.params), self.data.clone(), self.outputs.clone(), |tape, params, data| {
            transform::replay(&self.graph, tape, &[params, data].concat())
        })
    }

    /// Marks outputs that programs return in f64 whatever type they run in: sums are then rounded once, at the very end.
    ///
    /// # Errors
    /// None.
    pub fn wide(&self, picked: impl Fn(&str) -> bool) -> Result<Func<P, D, O>> {
        let outputs = self.outputs.map("result", |path, spec| {
            let kind = if picked(&path.to_string()) { Kind::Wide } else { spec.kind };
            Ok(Spec { shape: spec.shape.clone(), kind })
        })?;
        Ok(Func { outputs, ..self.clone() })
    }

    /// Plans and compiles for `f32` or `f64` on a device.
    ///
    /// # Errors
    /// Bounds of indices that the type cannot count exactly.
    pub fn compile<T: Real>(&self, device: &Device) -> Result<Program<T, P, D, O>> {
        self.compile_shared(device, rayon::current_num_threads())
    }

    /// The same for a number of threads.
    pub(crate) fn compile_shared<T: Real>(&self, device: &Device, threads: usize) -> Result<Program<T, P, D, O>> {
        let (params, data, outputs) = (self.params.clone(), self.data.clone(), self.outputs.clone());
        Program::new(&self.graph, params, data, outputs, device, threads)
    }

    /// The function as one pass over vectors of any length, in place: the parameters are numbers, the data vectors of one length (which
    /// is traced with any above 1), and the results replace the first of these. Results beyond so many are added up instead.
    ///
    /// ```
    /// use osculate_engine::{spec, Func, Spec};
    /// // v ← v/2 + g, x ← x − s v, and ‖v‖²
    /// let step = Func::<Spec, Vec<Spec>, Vec<Spec>>::trace_tree(spec([1]), vec![spec([2]); 3], |_, s, vectors| {
    ///     let (x, v, g) = (vectors[0], vectors[1], vectors[2]);
    ///     let v = 0.5 * v + g;
    ///     vec![x - s.at(0, 0) * v, v, v * v]
    /// })?;
    /// let mut step = step.sweep::<f32>(2)?;
    /// let (mut x, mut v) = ([1.0, 2.0, 3.0], [0.0, 2.0, 4.0]);
    /// let sums = step.run(&[0.5], &mut [&mut x, &mut v], &[&[1.0, 1.0, 0.0]])?;
    /// assert_eq!(sums, [9.0]);
    /// assert_eq!((x, v), ([0.5, 1.0, 2.0], [1.0, 2.0, 2.0]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A function that is not elementwise, or more than 96 instructions or 16 results.
    pub fn sweep<T: Real>(&self, replaced: usize) -> Result<Sweep<T>> {
        sweep(&self.graph, &self.params, &self.data, &self.outputs, replaced)
    }

    /// The same function with its results described anew.
    pub(crate) fn with_outputs<O2: Signature>(self, outputs: O2) -> Func<P, D, O2> {
        Func { graph: self.graph, params: self.params, data: self.data, outputs }
    }

    /// A function of other trees, made on a fresh tape.
    pub(crate) fn rebuild<P2: Signature, D2: Signature, O2: Signature>(
        &self,
        params: P2,
        data: D2,
        outputs: O2,
        body: impl for<'t> FnOnce(&'t Tape, Vec<Expr<'t>>, Vec<Expr<'t>>) -> Vec<Expr<'t>>,
    ) -> Result<Func<P2, D2, O2>> {
        let tape = Tape::new();
        let leaves = |list: Vec<Spec>| list.iter().map(|s| tape.leaf(s)).collect::<Vec<_>>();
        let (p, d) = (leaves(specs(&params)), leaves(specs(&data)));
        let names = [paths(&params, "params"), paths(&data, "data")].concat();
        let results = body(&tape, p.clone(), d.clone());
        debug_assert!(tape.failed() || results.len() >= specs(&outputs).len());
        let graph = tape.finish(&[p, d].concat(), names, &results)?;
        Ok(Func { graph, params, data, outputs })
    }
}
