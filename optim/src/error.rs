//! What can go wrong in an optimizer.

/// Errors of this crate.
#[non_exhaustive]
#[derive(Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The engine's: tracing, running, too few examples, files.
    #[error(transparent)]
    Engine(#[from] osculate_engine::Error),
    /// An option has no sensible meaning.
    #[error("{option} = {value}: {why}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What was given.
        value: f64,
        /// What is wanted.
        why: String,
    },
    /// A named option cannot be set so.
    #[error("option {name} = {text:?}: {why}")]
    Setting {
        /// What was named.
        name: String,
        /// What was given.
        text: String,
        /// What is wanted.
        why: String,
    },
    /// The parameter vector is not the one the optimizer was made for, or there are no parameters.
    #[error("the optimizer wants {want} parameters, but was given {got}")]
    Length {
        /// Its size.
        want: usize,
        /// That of the vector.
        got: usize,
    },
    /// There is no room for so many parameters.
    #[error("{len} parameters want {bytes} bytes for every vector that is kept of them: there is no such room")]
    Memory {
        /// Number of parameters.
        len: usize,
        /// Size of a vector of them.
        bytes: u128,
    },
    /// The oracle has no answer to what an optimizer asks.
    #[error("this oracle does not know {what}: {instead}")]
    Oracle {
        /// What was asked.
        what: &'static str,
        /// What to do.
        instead: &'static str,
    },
    /// A matrix or vector of another size is wanted.
    #[error("an array of {want} numbers is wanted, not of {got}")]
    Matrix {
        /// Its number of elements.
        want: usize,
        /// That of what was given.
        got: usize,
    },
    /// There is no optimizer of this name.
    #[error("there is no optimizer {name:?}; there are {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// All names.
        known: String,
    },
}

/// The words of `Display`: what `main` prints when it returns an error.
impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
