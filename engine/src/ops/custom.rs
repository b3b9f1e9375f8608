//! `custom`: a function with a derivative rule of the user's own (as `jax.custom_jvp`).
//!
//! The value and the rule are graphs, traced once and compared by content.
//!
//! | rule | |
//! |---|---|
//! | jvp | the user's rule, inlined: from there on it is differentiated as anything else |
//! | batch | value and rule of `n` examples |

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::{Op, Primitive, Zero, list};
use crate::graph::{Graph, Node};
use crate::jax::lambda;
use crate::plan::{Lowering, Value};
use crate::{Error, Expr, Spec, Tape, transform};

#[derive(Debug, Clone)]
pub(crate) struct Custom(Arc<Definition>);

#[derive(Debug)]
struct Definition {
    args: Vec<Spec>,
    out: Spec,
    /// Of the arguments.
    value: Graph,
    /// Of the arguments and their tangents, and linear in these.
    rule: Graph,
    hash: u64,
}

impl PartialEq for Custom {
    fn eq(&self, other: &Custom) -> bool {
        let (a, b) = (&self.0, &other.0);
        Arc::ptr_eq(a, b) || (a.hash == b.hash && a.value.same(&b.value) && a.rule.same(&b.rule))
    }
}

impl Eq for Custom {}

impl Hash for Custom {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash.hash(state);
    }
}

/// A graph of inputs of some specs, traced by a function of them.
fn traced(
    specs: &[Spec],
    body: impl for<'a> FnOnce(&'a Tape, &[Expr<'a>]) -> Vec<Expr<'a>>,
) -> Result<(Graph, Spec), Error> {
    let tape = Tape::new();
    let inputs: Vec<Expr<'_>> = specs.iter().map(|s| tape.leaf(s)).collect();
    let outputs = body(&tape, &inputs);
    let graph = tape.finish(&inputs, (0..inputs.len()).map(|i| i.to_string()).collect(), &outputs)?;
    let out = outputs.first().map_or(Spec::real([]), |x| x.spec());
    Ok((graph, out))
}

/// Arguments, then their tangents.
fn doubled(args: &[Spec]) -> Vec<Spec> {
    args.iter().cloned().chain(args.iter().map(|s| Spec::real(&s.shape))).collect()
}

/// Whether a rule is linear in the tangents: they meet linear primitives alone, no mask, and the derivative along them is the rule.
fn is_linear(rule: &Graph, args: &[Spec]) -> bool {
    let mut moves = vec![false; rule.len()];
    rule.inputs[args.len()..].iter().for_each(|var| moves[var.index()] = true);
    for at in 0..rule.len() {
        let Node { op, args, .. } = &rule.nodes[at];
        if args.iter().any(|var| moves[var.index()]) {
            let masks = matches!(op, Op::Select(_)) && moves[args[0].index()];
            if op.linear().is_none() || masks {
                return false;
            }
            moves[at] = true;
        }
    }
    // Zeros that the rule adds or selects are as linear as those of derivatives.
    let mut rule = rule.clone();
    for node in &mut rule.nodes {
        if matches!(&node.op, Op::Contract(c) if c.ins.is_empty() && c.coef() == 0.0) {
            node.op = Zero { shape: node.spec.shape.clone() }.into();
        }
    }
    let tape = Tape::new();
    let inputs: Vec<Expr<'_>> = doubled(args).iter().map(|s| tape.leaf(s)).collect();
    let tangents: Vec<Option<Expr<'_>>> =
        inputs.iter().enumerate().map(|(i, &x)| (i >= args.len()).then_some(x)).collect();
    let (outputs, moved) = transform::jvp(&rule, &tape, &inputs, &tangents);
    outputs.iter().zip(moved).all(|(out, moved)| moved.map_or(out.is_zero(), |moved| moved.var == out.var))
}

impl Custom {
    fn new(args: Vec<Spec>, out: Spec, value: Graph, rule: Graph) -> Custom {
        let mut hasher = DefaultHasher::new();
        [&value, &rule].iter().for_each(|graph| graph.nodes.hash(&mut hasher));
        Custom(Arc::new(Definition { args, out, value, rule, hash: hasher.finish() }))
    }
}

impl Tape {
    /// A function with a derivative of your own: its value, and its tangent as a linear function of the arguments' tangents (the rule
    /// of `jax.custom_jvp`). It composes with every transform; the second derivative differentiates the rule.
    ///
    /// Both closures see arguments of the shapes of `args` (and tangents of these shapes); constants are made by `a[0].tape()`.
    ///
    /// ```
    /// use osculate_engine::{spec, Array, Device, Func};
    /// // Rounds, but passes gradients through as if it did not: a straight-through estimator.
    /// let f = Func::trace(spec([2]), spec([]), |tape, w, _| {
    ///     let level = tape.custom(&[w], |a| a[0].less(0.5).select(0.0, 1.0), |_, tangents| tangents[0]);
    ///     level.square().sum()
    /// })?;
    /// let w = Array::new([2], vec![0.2, 0.7])?;
    /// let (value, gradient) = f.value_and_grad()?.compile::<f64>(&Device::cpu())?.run(&w, &Array::scalar(0.0))?;
    /// assert_eq!((value.item(), gradient.values()), (Some(1.0), &[0.0, 2.0][..]));
    /// # Ok::<(), osculate_engine::Error>(())
    /// ```
    ///
    /// A tangent that is not linear in the tangents, or not of the value's shape, is an error of the trace.
    #[track_caller]
    pub fn custom<'t>(
        &'t self,
        args: &[Expr<'t>],
        value: impl for<'a> FnOnce(&[Expr<'a>]) -> Expr<'a>,
        jvp: impl for<'a> FnOnce(&[Expr<'a>], &[Expr<'a>]) -> Expr<'a>,
    ) -> Expr<'t> {
        let at = std::panic::Location::caller();
        if args.is_empty() {
            self.fail("custom", "at least one argument is wanted".into(), at);
            return self.lit(0.0);
        }
        let specs: Vec<Spec> = args.iter().map(|x| x.spec()).collect();
        let made = traced(&specs, |_, args| vec![value(args)]).and_then(|value| {
            let rule = traced(&doubled(&specs), |_, all| vec![jvp(&all[..specs.len()], &all[specs.len()..])])?;
            Ok((value, rule))
        });
        let ((value, out), (rule, tangent)) = match made {
            Ok(made) => made,
            Err(error) => return self.refuse(error, args),
        };
        let why = if out.is_index() {
            "the value is indices: return them by to_real".into()
        } else if tangent != out {
            format!("the value is {}, its tangent {}", out, tangent)
        } else if !is_linear(&rule, &specs) {
            "the tangent is not linear in the arguments' tangents".into()
        } else {
            return self.apply(Custom::new(specs, out, value, rule).into(), args);
        };
        self.fail("custom", why, at);
        self.poison(args)
    }
}

impl Primitive for Custom {
    fn text(&self) -> String {
        format!("custom[{} nodes]", self.0.value.len())
    }

    fn shape(&self, args: &[Spec]) -> Result<Spec, String> {
        match args == self.0.args {
            true => Ok(self.0.out.clone()),
            false => Err(format!("its arguments are {}, not {}", list(&self.0.args), list(args))),
        }
    }

    fn make<'t>(&self, tape: &'t Tape, args: &[Expr<'t>], spec: Spec) -> Expr<'t> {
        tape.intern(self.clone().into(), args, spec)
    }

    fn jvp<'t>(&self, args: &[Expr<'t>], out: Expr<'t>, tangents: &[Option<Expr<'t>>]) -> Option<Expr<'t>> {
        let still = |x: &Expr<'t>| out.tape.zero(x.shape());
        let tangents = args.iter().zip(tangents).map(|(x, t)| t.unwrap_or_else(|| still(x)));
        let inputs: Vec<Expr<'t>> = args.iter().copied().chain(tangents).collect();
        transform::replay(&self.0.rule, out.tape, &inputs).pop()
    }

    fn batch<'t>(&self, args: &[Expr<'t>], batched: &[bool], n: usize) -> Expr<'t> {
        let specs: Vec<Spec> = args.iter().map(|x| x.spec()).collect();
        let both = [batched, batched].concat();
        let value = traced(&specs, |tape, inputs| transform::vmap(&self.0.value, tape, inputs, batched, n));
        let rule = traced(&doubled(&specs), |tape, inputs| transform::vmap(&self.0.rule, tape, inputs, &both, n));
        match (value, rule) {
            (Ok((value, out)), Ok((rule, _))) => args[0].tape.apply(Custom::new(specs, out, value, rule).into(), args),
            (Err(error), _) | (_, Err(error)) => args[0].tape.refuse(error, args),
        }
    }

    fn lower(&self, cx: &mut Lowering, args: &[Value], _: &Spec) -> Value {
        cx.inlined(&self.0.value, args)
    }

    fn jax(&self, args: &[&str], _: &Spec) -> String {
        format!("ruled({}, {})({})", lambda(&self.0.value), lambda(&self.0.rule), args.join(", "))
    }
}
