//! Inner products of rows, by squares of rows: a vector that is loaded is multiplied with as many others as registers can sum.

// Registers and raw pointers; each use says why it is sound.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256, __m256d, __m512, __m512d};
use std::array::from_fn;
use std::ops::Range;

use super::MOST_ROWS;
use crate::Real;
use crate::cpu::block::STEP;
use crate::cpu::join::halve;
use crate::cpu::vector::{Array, Vector};

/// Elements added up in the type of the rows; the first cache holds as many of several rows.
pub const BLOCK: usize = 512;

/// Inner products of some rows with those up to themselves.
pub const PAIRS: usize = MOST_ROWS * (MOST_ROWS + 1) / 2;

/// What is multiplied with each other: rows, then differences of two, which are made a block at a time.
#[derive(Debug, Clone, Copy)]
pub struct Gram<'w, T> {
    pub rows: &'w [&'w [T]],
    pub differences: &'w [[&'w [T]; 2]],
}

impl<T> Gram<'_, T> {
    pub fn count(&self) -> usize {
        self.rows.len() + self.differences.len()
    }
}

/// Where the product of a row with one up to itself is.
pub(super) fn pair(i: usize, j: usize) -> usize {
    i * (i + 1) / 2 + j
}

/// Adds the inner products of a range of columns, squares of `S` rows by `S`; differences go to blocks of their own.
///
/// # Safety
/// The machine has the instructions of the vectors; all rows have the columns, and there are at most `MOST_ROWS` of them with the
/// differences.
#[inline(always)]
unsafe fn gram<T: Real, V: Vector<T>, const S: usize>(
    of: &Gram<'_, T>,
    columns: Range<usize>,
    made: &mut [[T; BLOCK]],
    products: &mut [f64; PAIRS],
) {
    let n = of.count();
    let mut rows = [std::ptr::null::<T>(); MOST_ROWS];
    for at in columns.clone().step_by(BLOCK) {
        let len = BLOCK.min(columns.end - at);
        for (block, [a, b]) in made.iter_mut().zip(of.differences) {
            for ((to, &a), &b) in block.iter_mut().zip(&a[at..at + len]).zip(&b[at..at + len]) {
                *to = a - b;
            }
        }
        let given = of.rows.iter().map(|row| row[at..at + len].as_ptr());
        let blocks = given.chain(made.iter().map(|block| block.as_ptr()));
        rows.iter_mut().zip(blocks).for_each(|(to, from)| *to = from);
        // SAFETY: the caller's; rows of a tile are below `n`.
        unsafe {
            for top in (0..n).step_by(S) {
                if top + S <= n {
                    for left in (0..top).step_by(S) {
                        tile::<T, V, S, S, false>(&rows, [top, left], len, products);
                    }
                    tile::<T, V, S, S, true>(&rows, [top, top], len, products);
                } else {
                    for row in top..n {
                        for left in (0..top).step_by(S) {
                            tile::<T, V, 1, S, false>(&rows, [row, left], len, products);
                        }
                        for left in top..=row {
                            tile::<T, V, 1, 1, false>(&rows, [row, left], len, products);
                        }
                    }
                }
            }
        }
    }
}

/// Adds the inner products of `R` rows with `C` others, of those with each other that are not above them on the `DIAGONAL`.
///
/// # Safety
/// All rows have so many elements.
#[inline(always)]
unsafe fn tile<T: Real, V: Vector<T>, const R: usize, const C: usize, const DIAGONAL: bool>(
    rows: &[*const T; MOST_ROWS],
    [top, left]: [usize; 2],
    len: usize,
    products: &mut [f64; PAIRS],
) {
    let a: [*const T; R] = from_fn(|r| rows[top + r]);
    let b: [*const T; C] = from_fn(|c| rows[left + c]);
    let whole = len / V::LANES * V::LANES;
    // SAFETY of all: the caller's contract.
    let mut sums = unsafe { [[V::splat(T::zero()); C]; R] };
    for at in (0..whole).step_by(V::LANES) {
        let down: [V; R] = from_fn(|r| unsafe { V::load(a[r].wrapping_add(at)) });
        for c in 0..C {
            let across = unsafe { V::load(b[c].wrapping_add(at)) };
            for r in 0..R {
                if !DIAGONAL || c <= r {
                    sums[r][c] = unsafe { down[r].mul_add(across, sums[r][c]) };
                }
            }
        }
    }
    for r in 0..R {
        for c in 0..if DIAGONAL { r + 1 } else { C } {
            let mut lanes = [T::zero(); STEP];
            unsafe { sums[r][c].store(lanes.as_mut_ptr()) };
            for (lane, at) in lanes.iter_mut().zip(whole..len) {
                *lane += unsafe { *a[r].add(at) * *b[c].add(at) };
            }
            products[pair(top + r, left + c)] += halve(lanes, |x, y| x + y).to_f64();
        }
    }
}

/// The instances for each type and set.
macro_rules! grams {
    ($($name:ident $type:ty, $vector:ty, $square:literal $(, $features:literal)?;)*) => {$(
        /// # Safety
        /// The machine has the features, and the contract of `Real::gram` holds.
        $(#[cfg(target_arch = "x86_64")] #[target_feature(enable = $features)])?
        pub(crate) unsafe fn $name(
            of: &Gram<'_, $type>,
            columns: Range<usize>,
            made: &mut [[$type; BLOCK]],
            products: &mut [f64; PAIRS],
        ) {
            // SAFETY: the caller's contract.
            unsafe { gram::<$type, $vector, $square>(of, columns, made, products) }
        }
    )*};
}

grams! {
    f32_portable f32, Array<f32>, 2;
    f64_portable f64, Array<f64>, 1;
    f32_avx2 f32, __m256, 3, "avx2,fma";
    f64_avx2 f64, __m256d, 3, "avx2,fma";
    f32_avx512 f32, __m512, 4, "avx512f";
    f64_avx512 f64, __m512d, 4, "avx512f";
}
