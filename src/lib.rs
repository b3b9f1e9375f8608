#![doc = include_str!("../README.md")]

pub use osculate_engine::*;

#[cfg(feature = "nn")]
pub use osculate_nn as nn;
#[cfg(feature = "optim")]
pub use osculate_optim as optim;
