//! `check`: the library against an independent system, and against itself.

mod draw;
mod forms;
mod jax;
mod programs;

use clap::Subcommand;

use crate::error::Result;

/// What to check against.
#[derive(Subcommand, Debug)]
pub enum Check {
    /// Compare random programs with JAX, in f64: values, gradients, Hessian-vector products, and all three by vmap.
    ///
    /// Programs hold every primitive and elementwise function, arrays with axes of one element, and edge values. One Python
    /// process takes them all. A difference counts beyond 1e-10 of the largest number, unless JAX's own result moves as much
    /// when its inputs move by a few units in the last place.
    #[command(after_help = "Example: python3 -m venv peers && peers/bin/pip install jax\n         \
                      osculate-lab check jax --python peers/bin/python --programs 1000")]
    Jax(jax::Options),
    /// Compare moments of random losses in every form (factored, Gram, made) with a loop over examples, in f64.
    #[command(after_help = "Example: osculate-lab check forms --programs 1000")]
    Forms(forms::Options),
}

/// Checks.
pub fn run(check: &Check) -> Result<()> {
    match check {
        Check::Jax(options) => jax::run(options),
        Check::Forms(options) => forms::run(options),
    }
}
