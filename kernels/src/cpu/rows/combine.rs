//! Rows that become combinations of themselves and others, a few columns at a time.

// Registers and raw pointers; each use says why it is sound.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256, __m256d, __m512, __m512d};
use std::mem::MaybeUninit;
use std::ops::Range;

use super::MOST_ROWS;
use crate::Real;
use crate::cpu::vector::{Array, Vector};

/// Most columns of a tile.
const COLUMNS: usize = 128;

/// Rows, the first of which are replaced by a matrix times all of them.
#[derive(Debug, Clone, Copy)]
pub struct Combine<'w, T> {
    /// `[replaced, rows]`.
    pub matrix: &'w [T],
    /// Where the rows begin; those that are only read are not written to.
    pub rows: &'w [*mut T],
}

// SAFETY: whoever runs it sees to it that no other thread uses the columns.
unsafe impl<T: Send> Send for Combine<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Combine<'_, T> {}

/// Replaces a range of columns, `W` vectors at a time.
///
/// # Safety
/// The machine has the instructions of the vectors; all rows have the columns, which nobody else uses; there are from 1 to `MOST_ROWS`
/// rows, and not fewer than of the matrix.
#[inline(always)]
unsafe fn combine<T: Real, V: Vector<T>, const W: usize>(of: &Combine<'_, T>, columns: Range<usize>) {
    const { assert!(W * V::LANES <= COLUMNS) };
    let n = of.rows.len();
    // What was there, since rows are written one after another.
    let mut old = [MaybeUninit::<[T; COLUMNS]>::uninit(); MOST_ROWS];
    old[..n].fill(MaybeUninit::new([T::zero(); COLUMNS]));
    let mut ends = [T::zero(); COLUMNS];
    for at in columns.clone().step_by(W * V::LANES) {
        let len = (W * V::LANES).min(columns.end - at);
        let whole = len == W * V::LANES;
        for (old, row) in old.iter_mut().zip(of.rows) {
            let old = old.as_mut_ptr().cast::<T>();
            let row = row.wrapping_add(at);
            // SAFETY: the caller's; a tile is not wider than `COLUMNS`.
            unsafe {
                if whole {
                    for w in 0..W {
                        V::load(row.wrapping_add(w * V::LANES)).store(old.wrapping_add(w * V::LANES));
                    }
                } else {
                    std::ptr::copy_nonoverlapping(row, old, len);
                }
            }
        }
        for (factors, row) in of.matrix.chunks_exact(n).zip(of.rows) {
            // SAFETY: as above.
            let mut sums = unsafe { [V::splat(T::zero()); W] };
            for (&factor, old) in factors.iter().zip(&old) {
                if factor != T::zero() {
                    let old = old.as_ptr().cast::<T>();
                    // SAFETY: as above; there is a row for each factor.
                    unsafe {
                        let factor = V::splat(factor);
                        for (w, sum) in sums.iter_mut().enumerate() {
                            *sum = factor.mul_add(V::load(old.wrapping_add(w * V::LANES)), *sum);
                        }
                    }
                }
            }
            let row = row.wrapping_add(at);
            let to = if whole { row } else { ends.as_mut_ptr() };
            // SAFETY: as above.
            unsafe {
                for (w, sum) in sums.iter().enumerate() {
                    sum.store(to.wrapping_add(w * V::LANES));
                }
                if !whole {
                    std::ptr::copy_nonoverlapping(ends.as_ptr(), row, len);
                }
            }
        }
    }
}

/// The instances for each type and set.
macro_rules! combines {
    ($($name:ident $type:ty, $vector:ty, $vectors:literal $(, $features:literal)?;)*) => {$(
        /// # Safety
        /// The machine has the features, and the contract of `Real::combine` holds.
        $(#[cfg(target_arch = "x86_64")] #[target_feature(enable = $features)])?
        pub(crate) unsafe fn $name(of: &Combine<'_, $type>, columns: Range<usize>) {
            // SAFETY: the caller's contract.
            unsafe { combine::<$type, $vector, $vectors>(of, columns) }
        }
    )*};
}

combines! {
    f32_portable f32, Array<f32>, 2;
    f64_portable f64, Array<f64>, 2;
    f32_avx2 f32, __m256, 8, "avx2,fma";
    f64_avx2 f64, __m256d, 8, "avx2,fma";
    f32_avx512 f32, __m512, 8, "avx512f";
    f64_avx512 f64, __m512d, 8, "avx512f";
}
