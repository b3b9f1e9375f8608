//! What can go wrong on the command line.

use std::path::Path;

/// Errors with the words a user needs.
#[derive(thiserror::Error)]
pub enum Error {
    /// The library's.
    #[error(transparent)]
    Engine(#[from] osculate::Error),
    /// An optimizer's.
    #[error(transparent)]
    Optim(#[from] osculate::optim::Error),
    /// A name that is not known.
    #[error("there is no {what} {name:?}; {hint}")]
    Unknown { what: &'static str, name: String, hint: String },
    /// Runs whose loss left what it started from.
    #[error("diverged: {0}")]
    Diverged(String),
    /// Work that Ctrl-C ended.
    #[error("stopped by Ctrl-C")]
    Interrupted,
    /// An option that cannot be set.
    #[error("--set {text}: {why}")]
    Set { text: String, why: String },
    /// Optimizers that cannot be named so.
    #[error("--optimizer {text:?}: {why}")]
    Optimizers { text: String, why: &'static str },
    /// A file that could not be written.
    #[error("{file}: {why}")]
    File { file: String, why: String },
    /// Standard output could not be written.
    #[error("standard output: {0}")]
    Output(#[from] std::io::Error),
    /// A benchmark whose results are wrong, or that could not run.
    #[error("bench: {0}")]
    Bench(String),
    /// A check that could not run.
    #[error("check: {0}")]
    Check(String),
    /// A plot that could not be drawn.
    #[error("plot: {0}")]
    Plot(String),
}

impl Error {
    /// A file's trouble.
    pub fn file(path: &Path, why: impl ToString) -> Error {
        Error::File { file: path.display().to_string(), why: why.to_string() }
    }
}

/// The words of `Display`: what `main` prints when it returns an error.
impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
