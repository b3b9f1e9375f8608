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
//! | [`kalman`] | Kalman filters of a number, and of a vector with its covariance |
//! | [`improvement`] | the step that most probably improves: a polynomial and its safeguarded Newton iteration |
//! | [`meka`] | MEKA and AdaMEKA (Chen et al. 2020) |
//! | [`kafisto`] | KaFiStO, vanilla and with momentum (Davtyan et al. 2022) |
//! | [`lr_adapt`] | LR-Adapt around any base direction (de Roos et al. 2021) |
//! | [`ogr`] | online gradient regression along one direction (Duda 2019) |
//! | [`ogr_d`] | the same in a subspace of a few directions |
//! | [`asgd`] | a rate for every coordinate from its spread and its gradient's (Duda 2019) |
//! | [`regression`] | a line through fading points |
//! | [`symmetric`] | small symmetric matrices: eigenvalues, Lyapunov's equation, geometric means |
//! | [`base`] | directions: SGD, momentum, Nesterov, Adam, NAdam, Adagrad, RMSprop, Adadelta |
//! | [`first_order`] | those with a learning rate, a schedule, clipping and weight decay |
//! | [`rated`] | rules that choose a learning rate a step: [`polyak`] (SPS, ALI-G), [`l4`], [`hypergradient`] |
//! | [`igt`] | implicit gradient transport (Arnold et al. 2019) |
//! | [`svrg`] | gradients corrected by the whole data's (Johnson and Zhang 2013) |
//! | [`kalman_descent`] | parameters and gradient as the state of a Kalman filter (Vuckovic 2018) |
//! | [`armijo`] | a line search on each minibatch (Vaswani et al. 2019) |
//! | [`adahessian`] | Adam with the Hessian's diagonal (Yao et al. 2021) |
//! | [`observe`] | reports to CSV and to TensorBoard |
//! | [`options`] | options by name |
//! | [`registry`] | all optimizers by name |

pub mod adahessian;
pub mod armijo;
pub mod asgd;
pub mod base;
mod checkpoint;
mod error;
pub mod first_order;
pub mod hypergradient;
pub mod igt;
pub mod improvement;
pub mod kafisto;
pub mod kalman;
pub mod kalman_descent;
pub mod l4;
pub mod lr_adapt;
pub mod meka;
mod milestones;
mod minibatches;
pub mod observe;
pub mod ogr;
pub mod ogr_d;
mod optimizer;
pub mod options;
pub mod oracle;
pub mod polyak;
pub mod rated;
pub mod registry;
pub mod regression;
mod schedule;
mod smooth;
mod state;
pub mod svrg;
pub mod symmetric;
mod vectors;
mod worker;

pub use adahessian::AdaHessian;
pub use armijo::Armijo;
pub use asgd::Asgd;
pub use checkpoint::Checkpoint;
pub use error::{Error, Result};
pub use first_order::FirstOrder;
pub use igt::Igt;
pub use kafisto::Kafisto;
pub use kalman_descent::KalmanDescent;
pub use lr_adapt::LrAdapt;
pub use meka::{Meka, MekaConfig};
pub use milestones::Milestones;
pub use minibatches::{Minibatches, On};
pub use ogr::Ogr;
pub use ogr_d::OgrD;
pub use optimizer::{Optimizer, Report, Status};
pub use oracle::Oracle;
pub use rated::Rated;
pub use registry::{by_name, names};
pub use schedule::Schedule;
pub use smooth::Smooth;
pub use svrg::Svrg;
