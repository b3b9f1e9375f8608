//! What can go wrong, where, and what to do about it.

use std::panic::Location;

/// Errors of the engine: every message says what was wrong, where, and what was wanted.
#[non_exhaustive]
#[derive(Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// An expression is malformed; `at` is the line of user code that made it.
    #[error("{op} at {}:{}: {why}", at.file(), at.line())]
    Expression {
        /// The operation.
        op: String,
        /// What does not fit.
        why: String,
        /// Where the expression was written.
        at: &'static Location<'static>,
    },
    /// An array does not fit the leaf it is meant for.
    #[error("{path}: want {want}, got {got}")]
    Signature {
        /// Path of the leaf, as `params.layers.0.w`.
        path: String,
        /// What the function was traced for.
        want: String,
        /// What was given.
        got: String,
    },
    /// A label or index is outside its range.
    #[error("{path}: element {position} is {value}, but indices here are below {bound}")]
    Index {
        /// Path of the leaf.
        path: String,
        /// Position in the flat array.
        position: usize,
        /// The offending value.
        value: u32,
        /// One past the largest value allowed.
        bound: usize,
    },
    /// A transform does not apply to this function.
    #[error("{transform}: {why}")]
    Transform {
        /// The transform.
        transform: &'static str,
        /// Why not, and what to do instead.
        why: String,
    },
    /// Arrays take more memory than there is.
    #[error("{what} would take {bytes} bytes of memory, which cannot be had")]
    Memory {
        /// Whose memory.
        what: String,
        /// How much it is, at most `usize::MAX`.
        bytes: usize,
    },
    /// A statistic needs more examples than there were.
    #[error("the variance of {what} needs at least 2 examples, but the batch has {count}")]
    Count {
        /// Whose variance.
        what: &'static str,
        /// Examples seen.
        count: usize,
    },
    /// A minibatch has no examples.
    #[error("{call}: a minibatch needs at least one example (Poisson sampling draws empty ones: skip the step)")]
    Empty {
        /// What was called, and the line that called it.
        call: String,
    },
    /// A program cannot be held in a memory budget, however small its chunks.
    #[error("a budget of {limit} bytes is not enough: the least that holds this program is {least} bytes")]
    Budget {
        /// Bytes that were given.
        limit: usize,
        /// Bytes that are needed.
        least: usize,
    },
    /// A derivative disagrees with finite differences.
    #[error(
        "derivative of order {order}: {derivative:e} by automatic differentiation, {difference:e} by differences (relative error {error:.1e} > {tolerance:.1e})"
    )]
    Check {
        /// Order of the derivative.
        order: usize,
        /// Automatic value.
        derivative: f64,
        /// Central difference.
        difference: f64,
        /// Relative error.
        error: f64,
        /// What was allowed.
        tolerance: f64,
    },
    /// A file is not what it should be.
    #[error("{file}: {why}")]
    File {
        /// Its path.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// An array is missing from a file or state, or has another type or shape.
    #[error("{0}")]
    State(String),
    /// The executor refused a program or its buffers.
    #[error(transparent)]
    Kernels(#[from] osculate_kernels::Error),
}

/// The words of `Display`: what `main` prints when it returns an error.
impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl Error {
    /// The error, moved to the line that asked for the trace if it names an expression's.
    pub(crate) fn on_line(self, line: &'static Location<'static>) -> Error {
        match self {
            Error::Expression { op, why, .. } => Error::Expression { op, why, at: line },
            error => error,
        }
    }

    /// A minibatch without examples, given to a function that the user calls.
    #[track_caller]
    pub(crate) fn empty(function: &str) -> Error {
        let at = Location::caller();
        Error::Empty { call: format!("{function} at {}:{}", at.file(), at.line()) }
    }
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
