//! What can be wrong with a program or with the buffers it is given.

/// Errors of this crate: malformed programs and buffers of the wrong length.
#[non_exhaustive]
#[derive(Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// A command of a program is malformed; the message says which and why.
    #[error("command {command}: {why}")]
    Command {
        /// Position of the command in the list.
        command: usize,
        /// What is wrong with it.
        why: String,
    },
    /// A buffer handed to `run` does not have the length that the program declares.
    #[error("{what} {index} has {got} elements, the program wants {want}")]
    Length {
        /// `input` or `output`.
        what: &'static str,
        /// Which one.
        index: usize,
        /// Elements given.
        got: usize,
        /// Elements wanted.
        want: usize,
    },
    /// `run` was given the wrong number of buffers, or an f64 output where the program has a plain one.
    #[error("{0}")]
    Signature(String),
    /// An instruction set was asked for that this machine has not.
    #[error("{variable}={got}: this machine has {have}; name one of these, or unset it")]
    Simd {
        /// The environment variable.
        variable: &'static str,
        /// What it says.
        got: String,
        /// What there is.
        have: String,
    },
}

/// The words of `Display`: what `main` prints when it returns an error.
impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}
