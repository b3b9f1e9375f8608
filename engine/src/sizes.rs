//! Sizes that can be counted, and memory that is there.

use std::hint::black_box;

use osculate_kernels::Real;

use crate::{Error, Result, Spec};

/// Most elements of an array or buffer: their bytes can be counted, in f64 too.
pub(crate) const MOST: usize = isize::MAX as usize / 8;

/// Refuses minibatches that cannot be counted.
pub(crate) fn countable(transform: &'static str, n: usize, example: &[Spec]) -> Result<()> {
    let all = example.iter().fold(1usize, |all, spec| all.saturating_add(spec.shape.size())).saturating_mul(n);
    if all <= MOST {
        return Ok(());
    }
    Err(Error::Transform { transform, why: format!("{n} examples have more numbers than can be counted") })
}

/// Asks for so many bytes at once, to be told now whether they are there rather than to be ended by an allocation that fails.
///
/// Systems that promise more than they have refuse what is more than all of it (Linux by default, macOS and Windows do).
pub(crate) fn available(bytes: usize, what: impl FnOnce() -> String) -> Result<()> {
    let mut probe: Vec<u8> = Vec::new();
    match probe.try_reserve_exact(bytes) {
        Ok(()) => {
            black_box(&probe); // or there would be no asking
            Ok(())
        }
        Err(_) => Err(Error::Memory { what: what(), bytes }),
    }
}

/// Zeros.
pub(crate) fn zeros<T: Real>(len: usize, what: impl FnOnce() -> String) -> Result<Vec<T>> {
    available(len.saturating_mul(size_of::<T>()), what)?;
    Ok(vec![T::zero(); len])
}
