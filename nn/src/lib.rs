//! Layers, losses, initialisers, models and data, all written for **one** example: `vmap` and the moments make minibatches.
//!
//! ```
//! use osculate_engine::{check, Array, Func, Rng, Spec, Tree, label, spec};
//! use osculate_nn::{Init, Mlp, cross_entropy};
//! let model = Mlp::new(&[4, 8, 3]);
//! let loss = Func::trace(model.clone(), (spec([4]), label(3)), |_, p, (x, y)| cross_entropy(p.apply(x, |h| h.tanh()), y))?;
//! let params = Init::LecunNormal.tree::<f64, _>(&model, &mut Rng::new(1))?;
//! let example = (Array::new([4], vec![0.1, -0.7, 0.3, 1.2])?, Array::index([], vec![2])?);
//! check::derivatives(&loss, &params, &example, 3)?;
//! # Ok::<(), osculate_engine::Error>(())
//! ```

mod accuracy;
mod activation;
mod conv;
pub mod data;
mod dense;
mod init;
mod loss;
mod mlp;
pub mod models;
mod norm;
mod pool;
pub mod problems;

pub use accuracy::accuracy;
pub use activation::{elu, gelu, leaky_relu, silu};
pub use conv::{Conv, Padding, Sliding, convolve};
pub use data::{Batches, digits};
pub use dense::Dense;
pub use init::Init;
pub use loss::{
    cross_entropy, log_softmax, log_softmax_axes, log_sum_exp, log_sum_exp_axes, softmax, softmax_axes, squared_error,
    weight_decay,
};
pub use mlp::Mlp;
pub use norm::Norm;
pub use pool::{average_pool, global_average_pool, max_pool};
