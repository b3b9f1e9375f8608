//! Data sets and minibatches.

mod batches;
mod digits;

pub use batches::Batches;
pub use digits::{Digits, digits};
