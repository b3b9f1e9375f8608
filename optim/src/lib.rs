//! Filters, step-size rules and optimizers that live on exact per-example statistics.
//!
//! ```text
//! Oracle (loss, gradient, moments, Hv on one minibatch) --pulled by--> Optimizer --> step, Report
//! ```
//!
//! An optimizer is given an [`Oracle`] and pulls what it needs; what it never pulls is never compiled. Parameters are one flat
//! `[D]` buffer. Vector work is traced and compiled like any other function; scalar decisions are plain f64.
//!
//! | module | idea |
//! |---|---|
//! | [`oracle`] | what an optimizer may ask about a minibatch |
//! | [`kalman`] | the scalar Kalman filter |
//! | [`improvement`] | the step that most probably improves: a polynomial and its safeguarded Newton iteration |
//! | [`meka`] | MEKA and AdaMEKA (Chen et al. 2020) |
//! | [`sgd`] | stochastic gradient descent |
//! | [`registry`] | all optimizers by name |

mod error;
pub mod improvement;
pub mod kalman;
pub mod meka;
mod optimizer;
pub mod oracle;
pub mod registry;
pub mod sgd;
mod smooth;

pub use error::{Error, Result};
pub use meka::{Meka, MekaConfig};
pub use optimizer::{Optimizer, Report, Status};
pub use oracle::{Minibatches, Oracle};
pub use registry::{by_name, names};
pub use sgd::Sgd;
pub use smooth::Smooth;
