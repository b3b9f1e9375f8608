//! Tape, primitives, transforms and planning: from the loss of one example to programs that compute its curvature.
//!
//! ```text
//! closure over Expr --trace--> Graph --grad, jvp, vjp, vmap, linearize--> Graph --compile--> Program --run--> arrays
//! ```
//!
//! | module | idea |
//! |---|---|
//! | [`tree`](mod@tree) | structs of arrays: parameters as named leaves, one flat buffer in memory |
//! | [`Expr`], [`Tape`] | the algebra users write in; bad expressions are recorded with their line, never a panic |
//! | [`Graph`] | hash-consed single-assignment list of primitives, in canonical form, printed as text |
//! | [`Func`] | a traced function and the transforms of it |
//! | [`Program`] | a compiled function with its memory |
//! | [`Moments`] | count, sums and sums of squares of per-example losses, gradients and Hessian-vector products |
//! | [`check`] | derivatives of every order against finite differences |
//! | [`store`] | named arrays in safetensors files |

mod array;
mod batch;
pub mod check;
mod error;
mod expr;
mod func;
mod graph;
mod jax;
mod moments;
mod moments_program;
mod ops;
mod plan;
mod program;
mod random;
mod request;
mod shape;
mod sizes;
pub mod store;
mod tape;
mod transform;
pub mod tree;

pub use array::Array;
pub use batch::{Batch, Examples};
pub use error::{Error, Result};
pub use expr::{Expr, IntoExpr};
pub use func::{Func, Linearization};
pub use graph::{Graph, Var};
pub use jax::jax_library;
pub use moments::{Inner, Moments, PerExample, Sums, Variance};
pub use moments_program::{Budget, MeansProgram, MomentsProgram};
pub use ops::{Elementwise, Elementwise2, Window, elementwise, elementwise2};
pub use osculate_kernels::{Out, Real, Size, Sweep, combine, dot, dots, finite, gram, largest};
pub use program::{Device, In, Program};
pub use random::Rng;
pub use request::{Form, Request};
pub use shape::{Kind, Shape, Spec, label, spec};
pub use tape::Tape;
pub use tree::{Flat, Layout, Leaf, Path, Segment, Signature, Tree};
