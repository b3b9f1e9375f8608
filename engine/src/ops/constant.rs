//! `constant`: an array of numbers or indices that the graph carries.
//!
//! | rule | |
//! |---|---|
//! | jvp | none |
//! | batch | none: it has no arguments |
//! | canonical | one number everywhere is a fill; equal contents, bit by bit, are one node |

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::Primitive;
use crate::jax::{brackets, number};
use crate::plan::{Lowering, Value};
use crate::{Expr, Kind, Spec, Tape};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Constant {
    spec: Spec,
    content: Content,
}

/// Numbers compared by their bits; their hash is made once, since every transform looks nodes up again.
#[derive(Debug, Clone)]
struct Content {
    values: Arc<[f64]>,
    hash: u64,
}

impl PartialEq for Content {
    fn eq(&self, other: &Content) -> bool {
        Arc::ptr_eq(&self.values, &other.values)
            || (self.hash == other.hash
                && self.values.iter().map(|v| v.to_bits()).eq(other.values.iter().map(|v| v.to_bits())))
    }
}

impl Eq for Content {}

impl Hash for Content {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

impl Constant {
    pub fn new(spec: Spec, values: &[f64]) -> Constant {
        let mut hasher = DefaultHasher::new();
        values.iter().for_each(|v| v.to_bits().hash(&mut hasher));
        Constant { spec, content: Content { values: values.into(), hash: hasher.finish() } }
    }

    /// The same content under another kind.
    pub fn described(&self, spec: Spec) -> Constant {
        Constant { spec, content: self.content.clone() }
    }
}

impl Primitive for Constant {
    fn text(&self) -> String {
        "constant".into()
    }

    fn shape(&self, _: &[Spec]) -> Result<Spec, String> {
        match self.content.values.len() {
            n if n == self.spec.shape.size() => Ok(self.spec.clone()),
            n => Err(format!("{n} values for the shape {}", self.spec.shape)),
        }
    }

    fn make<'t>(&self, tape: &'t Tape, _: &[Expr<'t>], spec: Spec) -> Expr<'t> {
        let values = &self.content.values;
        let first = values[0];
        // A fill knows no sign of zero.
        let fill = spec.kind == Kind::Real && first.to_bits() != (-0.0f64).to_bits();
        if fill && values.iter().all(|v| v.to_bits() == first.to_bits()) {
            return tape.full(&spec.shape, first);
        }
        tape.intern(self.clone().into(), &[], spec)
    }

    fn jvp<'t>(&self, _: &[Expr<'t>], _: Expr<'t>, _: &[Option<Expr<'t>>]) -> Option<Expr<'t>> {
        None
    }

    fn batch<'t>(&self, args: &[Expr<'t>], _: &[bool], _: usize) -> Expr<'t> {
        args[0] // never asked: no argument can be batched
    }

    fn lower(&self, cx: &mut Lowering, _: &[Value], spec: &Spec) -> Value {
        cx.array(&spec.shape, &self.content.values)
    }

    fn jax(&self, _: &[&str], spec: &Spec) -> String {
        let numbers = brackets(self.content.values.iter().map(|&v| number(v)));
        let kind = if spec.is_index() { "int" } else { "float" };
        format!("jnp.reshape(jnp.array({numbers}, dtype=jnp.{kind}64), {})", spec.shape)
    }
}
