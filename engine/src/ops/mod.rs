//! The closed set of primitives: what the engine may ask of one, and the one list of them.
//!
//! To add an elementwise function, add a row to the table in `unary.rs`, or in `binary.rs` if it has two arguments. To add a structural
//! primitive, add a file beside it and its name to the list below; the compiler then names every missing rule.
//!
//! # Canonical forms, and what is true of every number
//!
//! Constructors (`make`) fold what holds for **every** number: infinities, NaN and both zeros. `x·1` is x, views and reshapes collapse,
//! coefficients of one sign are added, a function of a constant is one. What does not hold stays to be computed: `x·0` (NaN for an
//! infinite x), `x − x`, `x/x`, `x + 0` (0 for −0). Coefficients move only where that leaves the range of no type (see `contract.rs`).
//!
//! The zero of derivatives is another thing: an absent tangent, the cotangent of what nothing reads, the border of a pad. It is the symbol
//! [`Zero`] or no expression at all, and what is multiplied by it vanishes, whatever that is: a branch not taken or a constant leaves no
//! trace in a derivative. So a slice of nothing but a border is 0 in every product, too.
//!
//! Constants are f64 until a program narrows them to its type: 1e300 is infinite in f32 and 1e-300 is 0 there, as in other libraries.

mod add;
mod binary;
mod cast;
mod compare;
mod concat;
mod constant;
mod contract;
mod custom;
mod divide;
mod first;
mod gather;
mod integer_pow;
mod leaf;
mod max;
mod onehot;
mod reshape;
mod select;
mod slice;
mod stop;
mod unary;
mod window;
mod zero;

pub(crate) use add::{Add, sum};
pub(crate) use binary::Binary;
pub use binary::{Elementwise2, elementwise2};
pub(crate) use cast::{ToIndex, ToReal};
pub(crate) use compare::Compare;
pub(crate) use concat::Concat;
pub(crate) use constant::Constant;
pub(crate) use contract::{Contract, Labels, contract, moves};
pub(crate) use custom::Custom;
pub(crate) use divide::{Divide, repeated, without};
pub(crate) use first::First;
pub(crate) use gather::{Gather, Lookup, ScatterAdd, join_scatters, joins};
pub(crate) use integer_pow::{IntegerPow, integer_pow};
pub(crate) use leaf::Leaf;
pub(crate) use max::Max;
pub(crate) use onehot::OneHot;
pub(crate) use osculate_kernels::Comparison;
pub(crate) use reshape::Reshape;
pub(crate) use select::Select;
pub(crate) use slice::{Pad, Slice};
pub(crate) use stop::Stop;
pub(crate) use unary::Unary;
pub use unary::{Elementwise, elementwise};
pub use window::Window;
pub(crate) use window::{Fold, Patches, Room};
pub(crate) use zero::Zero;

use crate::plan::{Lowering, Value};
use crate::{Expr, Spec, Tape};

/// Everything the engine may ask of a primitive. No method has a default: a missing rule is a compile error.
pub(crate) trait Primitive {
    /// Name and attributes as printed.
    fn text(&self) -> String;
    /// Extents and kind of the result, or what is wrong with the arguments.
    fn shape(&self, args: &[Spec]) -> Result<Spec, String>;
    /// The canonical form of this applied to checked arguments: simpler if it can be, a node otherwise.
    fn make<'t>(&self, tape: &'t Tape, args: &[Expr<'t>], spec: Spec) -> Expr<'t>;
    /// The tangent of the result; an absent tangent is zero. It may use tangents only through linear primitives.
    fn jvp<'t>(&self, args: &[Expr<'t>], out: Expr<'t>, tangents: &[Option<Expr<'t>>]) -> Option<Expr<'t>>;
    /// The same for `n` examples at once: batched arguments have a leading axis of extent `n`, and so has the result.
    fn batch<'t>(&self, args: &[Expr<'t>], batched: &[bool], n: usize) -> Expr<'t>;
    /// Emits the commands that compute it, or a view of an argument.
    fn lower(&self, cx: &mut Lowering, args: &[Value], spec: &Spec) -> Value;
    /// A Python expression of `jax.numpy` for the result `spec`, given the names of the arguments; `jax/prelude.py` is in scope.
    fn jax(&self, args: &[&str], spec: &Spec) -> String;
}

/// A primitive that can be transposed in an argument that it is linear in.
pub(crate) trait Linear: Primitive {
    /// The cotangent that argument `wrt` receives from the result's.
    fn transpose<'t>(&self, ct: Expr<'t>, args: &[Expr<'t>], wrt: usize) -> Expr<'t>;
}

macro_rules! primitives {
    (linear: $($linear:ident),*; other: $($other:ident),* $(,)?) => {
        /// One of the primitives, with its attributes.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub(crate) enum Op { $($linear($linear),)* $($other($other),)* }

        impl Op {
            pub fn primitive(&self) -> &dyn Primitive {
                match self { $(Op::$linear(op) => op,)* $(Op::$other(op) => op,)* }
            }
            pub fn linear(&self) -> Option<&dyn Linear> {
                match self { $(Op::$linear(op) => Some(op),)* $(Op::$other(_) => None,)* }
            }
            /// The word for it in messages.
            pub fn word(&self) -> String {
                match self {
                    Op::Contract(_) => "product or sum".into(),
                    Op::OneHot(_) => "one_hot".into(),
                    op => op.primitive().text().split('[').next().unwrap_or_default().to_string(),
                }
            }
        }

        $(impl From<$linear> for Op { fn from(op: $linear) -> Op { Op::$linear(op) } })*
        $(impl From<$other> for Op { fn from(op: $other) -> Op { Op::$other(op) } })*
    };
}

primitives! {
    linear: Add, Contract, Divide, Reshape, Slice, Pad, Concat, Patches, Fold, Select, Gather, ScatterAdd;
    other: Leaf, Zero, Constant, Unary, Binary, IntegerPow, OneHot, First, ToReal, ToIndex, Max, Compare, Stop, Custom,
}

/// Most copies of indices that are the same for all examples: each is a node's argument.
const COPIES: usize = 1 << 20;

/// Arguments with a leading axis each: those without one are repeated.
pub(crate) fn all_batched<'t>(args: &[Expr<'t>], batched: &[bool], n: usize) -> Vec<Expr<'t>> {
    args.iter().zip(batched).map(|(&x, &b)| if b { x } else { copies(x, n) }).collect()
}

/// An expression `n` times along a new leading axis.
pub(crate) fn copies(x: Expr<'_>, n: usize) -> Expr<'_> {
    if !x.spec().is_index() {
        return x.broadcast_to(x.shape().batched(n));
    }
    // Indices cannot be contracted: copies side by side.
    match n > COPIES {
        true => x.fail("batch", format!("{n} copies of {}, but at most {COPIES} are traced: batch it, too", x.spec())),
        false => x.tape().stack(&vec![x; n]),
    }
}

/// Why indices are refused where numbers are wanted.
pub(crate) fn not_numbers(spec: &Spec) -> String {
    format!("numbers are wanted, not {spec}: use one_hot, take or to_real")
}

/// Specs as they stand in messages.
pub(crate) fn list(specs: &[Spec]) -> String {
    specs.iter().map(Spec::to_string).collect::<Vec<_>>().join(", ")
}
