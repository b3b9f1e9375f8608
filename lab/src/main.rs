//! The command line of osculate: experiments on exact per-example curvature.

mod bench;
mod check;
mod error;
mod interrupt;
mod landscape;
mod names;
mod noisy_quadratic;
mod output;
mod plot;
mod problems;
mod progress;
mod train;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Experiments with optimizers that live on exact per-example curvature.
///
/// Start with `osculate-lab train digits`: it trains a small network on handwritten digits with MEKA (which has no learning rate),
/// its relatives and SGD, prints one table, and writes curves and plots.
#[derive(Parser)]
#[command(name = "osculate-lab", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train a problem with one or more optimizers and compare them.
    ///
    /// Every optimizer starts from the same parameters and sees the same minibatches. The table's time is the median of a step;
    /// the ratio is to SGD's, if SGD is among them.
    #[command(after_help = "Examples:
  osculate-lab train digits --optimizer meka,sgd --epochs 20 --out out/digits
  osculate-lab train digits --optimizer kafisto,adam --set alpha=0.5 --set adam.rate=0.01")]
    Train(train::Options),
    /// Draw where optimizers go on a test surface, over its contours.
    #[command(
        after_help = "Example: osculate-lab landscape beale --optimizer meka,adam --set adam.rate=0.1 --noise 0.1"
    )]
    Landscape(landscape::Options),
    /// Compare seven methods on ill-conditioned quadratics with noisy gradients, as Figure 4 of the MEKA paper does.
    NoisyQuadratic(noisy_quadratic::Options),
    /// Measure what steps cost.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Check the library against an independent system.
    #[command(subcommand)]
    Check(check::Check),
    /// Print the plan of a moments step: why each parameter took its form, and every command.
    Plan(bench::Plan),
    /// Name all problems and optimizers, or all options of one optimizer.
    List {
        /// An optimizer.
        optimizer: Option<String>,
    },
}

/// Where results go when nobody says.
fn default_out() -> PathBuf {
    PathBuf::from("out")
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Train(options) => train::run(&options),
        Command::Landscape(options) => landscape::run(&options),
        Command::NoisyQuadratic(options) => noisy_quadratic::run(&options),
        Command::Bench(bench) => bench::run(&bench),
        Command::Check(check) => check::run(&check),
        Command::Plan(options) => bench::plan(&options),
        Command::List { optimizer: None } => output::list(),
        Command::List { optimizer: Some(name) } => output::options(&name),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has had enough (`… | head`).
        Err(error::Error::Output(closed)) if closed.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error @ error::Error::Interrupted) => {
            eprintln!("{error}");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
