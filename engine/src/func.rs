//! Traced functions and the transforms of them.

mod pick;
mod plain;

use std::panic::Location;

use osculate_kernels::{Real, Sweep};

use crate::graph::Graph;
use crate::program::{Device, Program, sweep};
use crate::sizes::MOST;
use crate::tape::Tape;
use crate::transform::{self, Split};
use crate::tree::{Signature, Tree};
use crate::{Error, Expr, Kind, Result, Shape, Spec};

use plain::{Plain, build};

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
fn reals<P: Signature>(tree: &P, shape: impl Fn(&Spec) -> Shape) -> Result<P> {
    tree.map("", |_, spec| Ok(Spec::real(shape(spec))))
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
    #[track_caller]
    pub fn grad(&self) -> Result<Func<P, D, P>> {
        self.value_and_grad()?.second()
    }

    /// The loss and its gradient.
    ///
    /// # Errors
    /// The result is not a scalar.
    #[track_caller]
    pub fn value_and_grad(&self) -> Result<Func<P, D, (Spec, P)>> {
        must_be_scalar("grad", &self.outputs)?;
        let graph = self.plain().value_and_grad()?;
        Ok(Func::of(graph, self.params.clone(), self.data.clone(), (self.outputs.clone(), self.params.clone())))
    }

    /// Gradient and Hessian-vector product, forward over reverse: `((params, v), data) -> (g, H v)`.
    ///
    /// # Errors
    /// The result is not a scalar.
    #[track_caller]
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
    #[track_caller]
    pub fn directional(&self, order: usize) -> Result<Func<(P, P), D, Vec<Spec>>> {
        let graph = self.plain().directional(order)?;
        let outputs = vec![self.outputs.clone(); graph.outputs.len()];
        Ok(Func::of(graph, (self.params.clone(), self.params.clone()), self.data.clone(), outputs))
    }

    /// The Hessian in the flat order of the parameters' layout, `[D, D]`: one tangent a parameter, so for small D.
    ///
    /// # Errors
    /// The result is not a scalar.
    #[track_caller]
    pub fn hessian(&self) -> Result<Func<P, D, Spec>> {
        let gradient = self.grad()?.flat()?;
        let count = gradient.outputs.shape.size();
        gradient.jacfwd()?.flat_from(&[count])
    }

    /// The Jacobian by forward mode, one tangent a parameter element: leaves are `[output…, leaf…]`.
    ///
    /// # Errors
    /// None but those of tracing.
    #[track_caller]
    pub fn jacfwd(&self) -> Result<Func<P, D, P>> {
        let graph = self.plain().jacfwd()?;
        Ok(Func::of(graph, self.params.clone(), self.data.clone(), self.jacobian()?))
    }

    /// The Jacobian by reverse mode, one cotangent an output element: leaves are `[output…, leaf…]`.
    ///
    /// # Errors
    /// None but those of tracing.
    #[track_caller]
    pub fn jacrev(&self) -> Result<Func<P, D, P>> {
        let graph = self.plain().jacrev()?;
        Ok(Func::of(graph, self.params.clone(), self.data.clone(), self.jacobian()?))
    }

    /// What both give: the output's axes, then those of every parameter.
    fn jacobian(&self) -> Result<P> {
        reals(&self.params, |s| [&self.outputs.shape[..], &s.shape[..]].concat().into())
    }

    /// The mean loss of `n` examples, a function of the minibatch; its gradient never holds one of a single example.
    ///
    /// # Errors
    /// [`Error::Empty`]: `n` is 0.
    #[track_caller]
    pub fn mean(&self, n: usize) -> Result<Func<P, D, Spec>> {
        if n == 0 {
            return Err(Error::empty("mean"));
        }
        let each = self.vmap(n)?;
        let graph = each.plain().averaged()?;
        Ok(Func::of(graph, each.params, each.data, self.outputs.clone()))
    }
}

fn must_be_scalar(transform: &'static str, output: &Spec) -> Result<()> {
    match output.shape.rank() {
        0 => Ok(()),
        _ => Err(Error::Transform {
            transform,
            why: format!(
                "the result is {output}, not a scalar: for the gradient of a mean over examples use mean(n), else vjp, jacrev, or dot_output"
            ),
        }),
    }
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
        check_leaves(&params.leaves("params"), &data.leaves("data"))?;
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
            spec if spec.is_index() => Err(Error::Signature {
                path: path.to_string(),
                want: "numbers (to_real makes them of indices)".into(),
                got: spec.to_string(),
            }),
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
    #[track_caller]
    pub fn jvp(&self) -> Result<Func<(P, P), D, (O, O)>> {
        let graph = self.plain().jvp()?;
        let params = (self.params.clone(), self.params.clone());
        Ok(Func::of(graph, params, self.data.clone(), (self.outputs.clone(), self.outputs.clone())))
    }

    /// Values and the transposed derivative, reverse mode: `((params, cotangents), data) -> (outputs, cotangents of params)`.
    ///
    /// # Errors
    /// None but those of tracing.
    #[track_caller]
    pub fn vjp(&self) -> Result<Func<(P, O), D, (O, P)>> {
        let graph = self.plain().vjp()?;
        let params = (self.params.clone(), reals(&self.outputs, |s| s.shape.clone())?);
        Ok(Func::of(graph, params, self.data.clone(), (self.outputs.clone(), self.params.clone())))
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
    ///     assert!(moved.values().iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-15));
    /// }
    /// # Ok::<(), osculate_engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// None but those of tracing.
    #[track_caller]
    pub fn linearize(&self) -> Result<Linearization<P, D, O>> {
        let Split { value, map, residuals } = self.plain().linearize()?;
        let outputs = (self.outputs.clone(), residuals.clone());
        Ok(Linearization {
            value: Func::of(value, self.params.clone(), self.data.clone(), outputs),
            map: Func::of(map, self.params.clone(), residuals, self.outputs.clone()),
        })
    }

    /// The function of `n` examples at once: data and outputs get a leading axis, parameters are shared.
    ///
    /// # Errors
    /// [`Error::Empty`]: `n` is 0.
    #[track_caller]
    pub fn vmap(&self, n: usize) -> Result<Func<P, D, O>> {
        self.vmap_picked(n, |path| path == "data" || path.starts_with("data."))
    }

    /// Batches the inputs whose path (`params.…`, `data.…`) is picked: an ensemble, or one tangent after another.
    ///
    /// # Errors
    /// [`Error::Empty`]: `n` is 0. [`Error::Transform`]: no path is picked.
    #[track_caller]
    pub fn vmap_where(&self, n: usize, picked: impl Fn(&str) -> bool) -> Result<Func<P, D, O>> {
        let names = &self.graph.names;
        if !names.iter().any(|name| picked(name)) {
            let why = format!("no input is picked; there are {}", names.join(", "));
            return Err(Error::Transform { transform: "vmap_where", why });
        }
        self.vmap_picked(n, picked)
    }

    #[track_caller]
    fn vmap_picked(&self, n: usize, picked: impl Fn(&str) -> bool) -> Result<Func<P, D, O>> {
        let batched: Vec<bool> = self.graph.names.iter().map(|name| picked(name)).collect();
        let graph = self.plain().vmap(&batched, n)?;
        let grown: Vec<Spec> = graph.inputs.iter().map(|v| graph.node(*v).spec.clone()).collect();
        let (params, data) = grown.split_at(specs(&self.params).len());
        let params = self.params.with_leaves(params.iter().cloned())?;
        let data = self.data.with_leaves(data.iter().cloned())?;
        let outputs = self.outputs.map("", |_, s| Ok(Spec { shape: s.shape.batched(n), kind: s.kind }))?;
        Ok(Func::of(graph, params, data, outputs))
    }

    /// The scalar Σ ⟨output, u⟩ with `u` as further data: how non-scalar results are made ready for `grad`.
    ///
    /// # Errors
    /// None but those of tracing.
    #[track_caller]
    pub fn dot_output(&self) -> Result<Func<P, (D, O), Spec>> {
        let graph = self.plain().dot_output()?;
        let data = (self.data.clone(), reals(&self.outputs, |s| s.shape.clone())?);
        Ok(Func::of(graph, self.params.clone(), data, Spec::real([])))
    }

    /// All outputs as one vector, in the flat order of their layout.
    ///
    /// # Errors
    /// None but those of tracing.
    #[track_caller]
    pub fn flat(&self) -> Result<Func<P, D, Spec>> {
        self.flat_from(&[])
    }

    /// Outputs with common leading extents as one array.
    #[track_caller]
    fn flat_from(&self, lead: &[usize]) -> Result<Func<P, D, Spec>> {
        let graph = self.plain().flat(lead)?;
        let outputs = Spec::real(graph.output_shape(0).cloned().unwrap_or_default());
        Ok(Func::of(graph, self.params.clone(), self.data.clone(), outputs))
    }

    /// The same function of its parameters as a list, which lies in one flat buffer whatever tree they were.
    ///
    /// # Errors
    /// None but those of tracing.
    #[track_caller]
    pub fn listed(&self) -> Result<Func<Vec<Spec>, D, O>> {
        let graph = self.plain().replayed("listed")?;
        Ok(Func::of(graph, specs(&self.params), self.data.clone(), self.outputs.clone()))
    }

    /// Marks outputs that programs add up in f64 whatever type they run in; [`run_wide`](crate::Program::run_wide) and
    /// [`Out::Wide`](crate::Out::Wide) have them as they are, [`run`](crate::Program::run) rounds them once, at the very end.
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
        Program::new(&self.graph, &self.params, &self.data, self.outputs.clone(), device, threads)
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

    /// A graph as a function of trees that have its inputs as leaves.
    pub(crate) fn of(mut graph: Graph, params: P, data: D, outputs: O) -> Func<P, D, O> {
        graph.names = [paths(&params, "params"), paths(&data, "data")].concat();
        Func { graph, params, data, outputs }
    }

    /// The function without its trees, to be transformed for whoever asked for it.
    #[track_caller]
    fn plain(&self) -> Plain<'_> {
        Plain::new(&self.graph, specs(&self.params).len(), Location::caller())
    }

    /// A function of other trees, made on a fresh tape.
    #[track_caller]
    pub(crate) fn rebuild<P2: Signature, D2: Signature, O2: Signature>(
        &self,
        params: P2,
        data: D2,
        outputs: O2,
        body: impl for<'t> FnOnce(&'t Tape, Vec<Expr<'t>>, Vec<Expr<'t>>) -> Vec<Expr<'t>>,
    ) -> Result<Func<P2, D2, O2>> {
        let (mut leaves, n) = (specs(&params), specs(&params).len());
        leaves.extend(specs(&data));
        let graph = build("moments", Location::caller(), &leaves, |tape, inputs| {
            body(tape, inputs[..n].to_vec(), inputs[n..].to_vec())
        })?;
        Ok(Func::of(graph, params, data, outputs))
    }
}

/// Refuses leaves that no function has.
fn check_leaves(params: &[(crate::Path, &Spec)], data: &[(crate::Path, &Spec)]) -> Result<()> {
    for (root, leaves) in [("params", params), ("data", data)] {
        let all = leaves.iter().fold(0usize, |n, (_, spec)| n.saturating_add(spec.shape.size()));
        if all > MOST {
            let (want, got) = (format!("at most {MOST} elements in all"), "more".into());
            return Err(Error::Signature { path: root.into(), want, got });
        }
    }
    let refuse = |path: &crate::Path, want: &str, got: &Spec| {
        Err(Error::Signature { path: path.to_string(), want: want.into(), got: got.to_string() })
    };
    if let Some((path, spec)) = params.iter().find(|(_, spec)| spec.is_index()) {
        return refuse(path, "reals (indices have no derivative: put them into the data)", spec);
    }
    for (path, spec) in params.iter().chain(data) {
        if spec.kind == Kind::Index(0) {
            return refuse(path, "at least one class", spec);
        }
        if spec.shape.rank() > crate::tape::RANK {
            return refuse(path, &format!("at most {} axes", crate::tape::RANK), spec);
        }
        if spec.shape.contains(&0) || !spec.shape.is_countable() {
            return refuse(path, "extents of at least 1, and elements that can be counted", spec);
        }
        if spec.kind == Kind::Wide {
            return refuse(path, "reals or indices (only results can be wide)", spec);
        }
    }
    Ok(())
}
