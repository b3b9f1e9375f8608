//! Memory that a program of moments may take, and chunks of examples that fit it.

use osculate_kernels::Real;

use super::chunk::Chunk;
use crate::Result;

/// The most bytes that may be alive while a [`MomentsProgram`](crate::MomentsProgram) or a [`MeansProgram`](crate::MeansProgram) runs:
/// all that its `peak_bytes` counts, which are the parameters, the direction, the minibatch, what is filled, and the program's own
/// memory. Minibatches that would need more are taken in smaller chunks, and on fewer threads.
///
/// ```
/// use osculate_engine::Budget;
/// assert_eq!(Budget::mib(2), Budget::bytes(2 << 20));
/// assert_eq!(Budget::default().limit(), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budget(Option<usize>);

impl Budget {
    /// A number of MiB.
    pub fn mib(n: usize) -> Budget {
        Budget(Some(n.saturating_mul(1 << 20)))
    }

    /// A number of bytes.
    pub fn bytes(n: usize) -> Budget {
        Budget(Some(n))
    }

    /// In bytes; none by default, where chunks are as large as pays.
    pub fn limit(self) -> Option<usize> {
        self.0
    }
}

/// Bytes of a program within which a minibatch is taken as a whole: beyond that, chunks make convolutional nets faster.
const WHOLE: f64 = (48 << 20) as f64;

/// Bytes of a chunk's program otherwise.
const CHUNK: f64 = (24 << 20) as f64;

/// Fewest examples of a chunk that is not small for want of memory: products of fewer rows are slow.
const FEWEST: usize = 4;

/// Examples of a chunk that pays, without a limit. It depends on the loss and the minibatch alone, never on the threads that are there.
///
/// Memory grows evenly with examples, so two small programs tell how.
pub(super) fn preferred<T: Real>(n: usize, make: impl Fn(usize) -> Result<Chunk<T>>) -> Result<usize> {
    if n <= FEWEST {
        return Ok(n);
    }
    let bytes = |n: usize| Ok::<f64, crate::Error>(make(n)?.bytes() as f64);
    let (small, large) = (bytes(FEWEST / 2)?, bytes(FEWEST)?);
    let each = ((large - small) / (FEWEST - FEWEST / 2) as f64).max(1.0);
    let fixed = large - each * FEWEST as f64;
    if fixed + each * n as f64 <= WHOLE {
        return Ok(n);
    }
    let most = (((CHUNK - fixed) / each) as usize).clamp(FEWEST, n);
    // Equal chunks, as many as keep two or four threads busy to the end; no smaller than half of what pays.
    let even = |size: &usize| n.is_multiple_of(*size) && (n / size == 2 || (n / size).is_multiple_of(4));
    let rest = || n.div_ceil(n.div_ceil(most).next_multiple_of(4)).max(FEWEST);
    Ok((most.div_ceil(2).max(FEWEST)..=most).rev().find(even).unwrap_or_else(rest))
}
