//! Loop nests on strided buffers, and the executors that run them.
//!
//! A [`Program`] is a list of [`Command`]s on numbered slots. It knows nothing of graphs, primitives or derivatives: the
//! engine lowers its graphs to programs, and executors run them.
//!
//! | executor | what it is for |
//! |---|---|
//! | [`Reference`] | naive loops in f64: the oracle that every other executor is tested against |
//! | [`Cpu`] | rayon and vector instructions, f32 or f64 |
//! | [`Sweep`] | the same for elementwise programs over long vectors, in place |
//!
//! Everything about a program that could go wrong (a view outside its slot, an output read back, a body that names a missing
//! register) is refused by [`Program::new`], so running one has only its argument lengths left to check.
//!
//! ```
//! use osculate_kernels::{Body, Command, Cpu, Nest, Out, Program, Slot, View};
//! // out[i] = a[i] * b, with b broadcast by a stride of zero
//! let map = Command::Map(Nest {
//!     dims: vec![3],
//!     body: Body::product(2),
//!     inputs: vec![View::new(0, 0, &[1]), View::new(1, 0, &[0])],
//!     out: View::new(2, 0, &[1]),
//! });
//! let program = Program::new(vec![Slot::Input(3), Slot::Input(1), Slot::Output { len: 3, wide: false }], vec![map])?;
//! let mut out = [0f32; 3];
//! Cpu::new(program).run(&[&[1.0, 2.0, 3.0], &[10.0]], &mut [Out::Real(&mut out)])?;
//! assert_eq!(out, [10.0, 20.0, 30.0]);
//! # Ok::<(), osculate_kernels::Error>(())
//! ```

mod body;
mod cpu;
mod error;
mod lookup;
pub mod math;
mod memory;
mod nest;
mod program;
mod real;
mod reference;
mod text;

pub use body::{Body, Comparison, Inline, Instr, Scalar, Scalar2};
pub use cpu::{Cpu, MOST_ROWS, Outer, Simd, Size, Sweep, combine, dot, dots, finite, gram, largest, spread};
pub use error::Error;
pub use lookup::{First, Lookup};
pub use memory::Out;
pub use program::{Command, Fold, Nest, Product, Program, Slot, View};
pub use real::Real;
pub use reference::Reference;
