//! The builder of graphs: hash-consing, canonical constructors, and the first error.

use std::cell::RefCell;
use std::hash::BuildHasher;
use std::panic::Location;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::graph::{Graph, Node, Var};
use crate::ops::{Contract, Leaf, Op};
use crate::{Error, Expr, Result, Shape, Spec};

/// Most nodes of a graph, so that their numbers fit.
const NODES: usize = u32::MAX as usize - 1;

/// Most axes of an array.
pub(crate) const RANK: usize = 32;

/// What a traced closure writes to; it makes constants and joins expressions.
///
/// Operators never panic and need no `?`: the first bad one is recorded with the caller's file and line, and tracing returns it.
/// Expressions of two traces cannot meet: their lifetimes differ.
///
/// ```compile_fail
/// use osculate_engine::{spec, Func};
/// Func::trace(spec([]), spec([]), |_, w, _| {
///     Func::trace(spec([]), spec([]), |_, v, _| v * w); // w is not of this trace
///     w
/// })?;
/// # Ok::<(), osculate_engine::Error>(())
/// ```
pub struct Tape {
    inner: RefCell<Inner>,
    /// The transform that is written here, and the line that asked for it: what fails is that one's.
    transform: Option<(&'static str, &'static Location<'static>)>,
}

#[derive(Default)]
struct Inner {
    nodes: Vec<Node>,
    /// Positions in `nodes`, hashed by the node: equal nodes exist once.
    table: HashTable<Var>,
    hasher: DefaultHashBuilder,
    error: Option<Error>,
    leaves: u32,
}

impl Tape {
    pub(crate) fn new() -> Tape {
        Tape { inner: RefCell::default(), transform: None }
    }

    /// The tape that a transform writes for a line of the user's.
    pub(crate) fn of_transform(name: &'static str, at: &'static Location<'static>) -> Tape {
        Tape { transform: Some((name, at)), ..Tape::new() }
    }

    /// An array of one number everywhere, of a shape.
    ///
    /// A program rounds it to its type: 1e300 is infinite in f32, and 1e-300 is 0 there.
    #[track_caller]
    pub fn full(&self, shape: impl Into<Shape>, value: f64) -> Expr<'_> {
        self.apply(Contract::fill(shape.into(), value).into(), &[])
    }

    /// A scalar constant; a program rounds it to its type, as that of [`Tape::full`].
    #[track_caller]
    pub fn lit(&self, value: f64) -> Expr<'_> {
        self.full([], value)
    }

    /// Appends a primitive: checks its arguments, brings it into canonical form, and finds it if it is already there.
    #[track_caller]
    pub(crate) fn apply<'t>(&'t self, op: Op, args: &[Expr<'t>]) -> Expr<'t> {
        let at = Location::caller();
        if self.failed() {
            return self.poison(args);
        }
        let specs: Vec<Spec> = args.iter().map(|a| a.spec()).collect();
        match op.primitive().shape(&specs) {
            Ok(spec) if spec.shape.contains(&0) => {
                self.fail(&op.word(), format!("the result {spec} has an extent of 0"), at);
                self.poison(args)
            }
            Ok(spec) if !spec.shape.is_countable() => {
                self.fail(&op.word(), format!("the result {spec} has more elements than can be counted"), at);
                self.poison(args)
            }
            Ok(spec) if spec.shape.rank() > RANK => {
                self.fail(&op.word(), format!("the result has more than {RANK} axes"), at);
                self.poison(args)
            }
            Ok(spec) => op.primitive().make(self, args, spec),
            Err(why) => {
                self.fail(&op.word(), why, at);
                self.poison(args)
            }
        }
    }

    /// What a failed operation returns: its first argument, so that shapes asked for later stay plausible.
    pub(crate) fn poison<'t>(&'t self, args: &[Expr<'t>]) -> Expr<'t> {
        match args.first() {
            Some(&first) => first,
            None => self.intern(Contract::fill(Shape::default(), 0.0).into(), &[], Spec::real([])),
        }
    }

    /// Records the first error; later ones are its consequences.
    pub(crate) fn fail(&self, op: &str, why: String, at: &'static Location<'static>) {
        let mut inner = self.inner.borrow_mut();
        if inner.error.is_none() {
            inner.error = Some(match self.transform {
                Some((name, at)) => Error::Expression { op: name.into(), why: format!("{op}: {why}"), at },
                None => Error::Expression { op: op.to_string(), why, at },
            });
        }
    }

    /// Records an error of a trace within this one.
    pub(crate) fn refuse<'t>(&'t self, error: Error, args: &[Expr<'t>]) -> Expr<'t> {
        let error = match self.transform {
            Some((_, line)) => error.on_line(line),
            None => error,
        };
        self.inner.borrow_mut().error.get_or_insert(error);
        self.poison(args)
    }

    /// Whether an error was recorded: what is traced from then on means nothing.
    pub(crate) fn failed(&self) -> bool {
        self.inner.borrow().error.is_some()
    }

    /// Appends a canonical node, or finds it.
    pub(crate) fn intern<'t>(&'t self, op: Op, args: &[Expr<'t>], spec: Spec) -> Expr<'t> {
        let node = Node { op, args: args.iter().map(|a| a.var).collect(), spec };
        let mut inner = self.inner.borrow_mut();
        let Inner { nodes, table, hasher, error, .. } = &mut *inner;
        let hash = hasher.hash_one(&node);
        let var = match table.find(hash, |v| nodes[v.index()] == node) {
            Some(&var) => var,
            // Nothing is computed of a trace that failed.
            None if nodes.len() >= NODES => {
                let why = format!("a graph of more than {NODES} nodes");
                error.get_or_insert(Error::Expression { op: "trace".into(), why, at: Location::caller() });
                Var(0)
            }
            None => {
                let var = Var(nodes.len() as u32);
                nodes.push(node);
                table.insert_unique(hash, var, |v| hasher.hash_one(&nodes[v.index()]));
                var
            }
        };
        Expr::of(self, var)
    }

    /// A new input.
    #[track_caller]
    pub(crate) fn leaf(&self, spec: &Spec) -> Expr<'_> {
        let id = {
            let mut inner = self.inner.borrow_mut();
            inner.leaves += 1;
            inner.leaves
        };
        self.apply(Leaf { id, spec: spec.clone() }.into(), &[])
    }

    pub(crate) fn with_node<R>(&self, var: Var, look: impl FnOnce(&Node) -> R) -> R {
        look(&self.inner.borrow().nodes[var.index()])
    }

    pub(crate) fn len(&self) -> usize {
        self.inner.borrow().nodes.len()
    }

    /// Ends tracing: the recorded error, or the graph of what the outputs need.
    pub(crate) fn finish(&self, inputs: &[Expr<'_>], names: Vec<String>, outputs: &[Expr<'_>]) -> Result<Graph> {
        let inner = self.inner.borrow();
        if let Some(error) = &inner.error {
            return Err(error.clone());
        }
        let vars = |exprs: &[Expr<'_>]| exprs.iter().map(|e| e.var).collect::<Vec<_>>();
        Ok(Graph::extract(&inner.nodes, &vars(inputs), names, &vars(outputs)))
    }
}

impl std::fmt::Debug for Tape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tape of {} nodes", self.len())
    }
}
