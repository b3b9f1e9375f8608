//! The inner loop of matrix products: a tile of the result in registers.
//!
//! Rows of `a` are read element by element and broadcast, columns of `b` a vector at a time. So `a` may be any strided view, read
//! where it lies; `b` is packed into panels. Every element is summed in the order of the inner loops, whatever the tile.

// Registers and raw pointers all through; what makes them sound is the contract of `Real::tile`.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256, __m256d, __m512, __m512d};
#[cfg(target_arch = "x86_64")]
use std::array::from_fn;

use super::simd::{Level, Simd};
#[cfg(target_arch = "x86_64")]
use super::vector::{Masked, Vector};
use crate::Real;

/// Most vectors side by side in a tile.
pub(super) const VECTORS: usize = 2;

/// How large a whole tile is: what operands are packed in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub rows: usize,
    /// Vectors side by side.
    pub vectors: usize,
    /// Lanes of a vector.
    pub lanes: usize,
}

impl Shape {
    pub fn new<T: Real>(simd: Simd) -> Shape {
        match simd.level() {
            // matrixmultiply has tiles of its own within this one.
            Level::Portable => Shape { rows: 64, vectors: 1, lanes: 128 },
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => Shape { rows: 6, vectors: VECTORS, lanes: 32 / size_of::<T>() },
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => Shape { rows: 8, vectors: VECTORS, lanes: 64 / size_of::<T>() },
        }
    }

    /// Columns of a whole tile.
    pub fn cols(self) -> usize {
        self.vectors * self.lanes
    }

    /// From one inner index to the next in a panel of `a` and of `b`.
    pub fn panels(self) -> [usize; 2] {
        [self.rows, self.cols()]
    }
}

/// Whether operands may be read where they lie.
pub(super) fn reads_in_place(simd: Simd) -> bool {
    simd.level() != Level::Portable
}

/// One tile: `c = scale · a b`, or the same added to `c`.
///
/// `a` and `c` have one pointer a row, `b` one a vector. At most one of `a` and `b` is read in place, where `at` says how far from
/// its pointers each inner index lies; the other is a panel.
#[derive(Debug)]
pub struct Tile<'r, T> {
    pub rows: &'r [*const T],
    pub b: [*const T; VECTORS],
    /// Columns of each vector; the last may have none.
    pub lanes: [usize; VECTORS],
    /// Inner indices.
    pub len: usize,
    /// As many offsets, if `a` or `b` is in place.
    pub at: &'r [usize],
    /// Whether rows of `a` and vectors of `b` are panels.
    pub packed: [bool; 2],
    pub c: &'r [*mut T],
    /// Offsets of the vectors from the rows of `c`.
    pub columns: [usize; VECTORS],
    pub scale: T,
    pub add: bool,
}

/// `M` rows by `N` vectors, all of them whole or not; rows (`A`) or vectors (`B`) may be a panel `M0` rows high, or of whole tiles'
/// width, whose steps are then known.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn tile<
    T: Real,
    V: Masked<T>,
    const M0: usize,
    const M: usize,
    const N: usize,
    const WHOLE: bool,
    const A: bool,
    const B: bool,
>(
    t: &Tile<'_, T>,
) {
    // SAFETY: the caller's contract, see `Real::tile`.
    unsafe {
        let masks: [V::Mask; N] = from_fn(|j| V::mask(t.lanes[j]));
        let mut sums = [[V::splat(T::zero()); N]; M];
        let a: [*const T; M] = from_fn(|i| if A { t.rows[0].wrapping_add(i) } else { t.rows[i] });
        let b: [*const T; N] = from_fn(|j| if B { t.b[0].wrapping_add(j * V::LANES) } else { t.b[j] });
        // A table rather than steps: one loop, whose end is guessed right, and one number to add to all pointers.
        for l in 0..t.len {
            let at = if A && B { 0 } else { *t.at.get_unchecked(l) };
            let at_a = if A { l * M0 } else { at };
            let at_b = if B { l * VECTORS * V::LANES } else { at };
            let columns: [V; N] = from_fn(|j| {
                let from = b[j].wrapping_add(at_b);
                if WHOLE || B { V::load(from) } else { V::load_some(from, masks[j]) }
            });
            for i in 0..M {
                let x = V::splat(*a[i].wrapping_add(at_a));
                for j in 0..N {
                    sums[i][j] = x.mul_add(columns[j], sums[i][j]);
                }
            }
        }
        let scale = V::splat(t.scale);
        for (sums, row) in sums.iter().zip(t.c) {
            for (j, &sum) in sums.iter().enumerate() {
                let to = row.wrapping_add(t.columns[j]);
                let value = match (t.add, WHOLE) {
                    (false, _) => sum.mul(scale),
                    (true, true) => sum.mul_add(scale, V::load(to)),
                    (true, false) => sum.mul_add(scale, V::load_some(to, masks[j])),
                };
                if WHOLE { value.store(to) } else { value.store_some(to, masks[j]) }
            }
        }
    }
}

/// The instances for each number of rows and of vectors, behind a function compiled for the instruction set.
#[cfg(target_arch = "x86_64")]
macro_rules! tiles {
    ($name:ident, $features:literal, $type:ty, $vector:ty, $most:literal: $($rows:literal)*) => {
        /// # Safety
        /// The machine has the features, and the contract of `Real::tile` holds.
        #[target_feature(enable = $features)]
        pub(crate) unsafe fn $name(t: &Tile<'_, $type>) {
            const WHOLE: usize = <$vector as Vector<$type>>::LANES;
            macro_rules! with {
                ($m:literal, $a:literal, $b:literal) => {
                    // SAFETY of all: the caller's contract.
                    match t.lanes {
                        [_, 0] => unsafe { tile::<$type, $vector, $most, $m, 1, false, $a, $b>(t) },
                        [WHOLE, WHOLE] => unsafe { tile::<$type, $vector, $most, $m, VECTORS, true, $a, $b>(t) },
                        _ => unsafe { tile::<$type, $vector, $most, $m, VECTORS, false, $a, $b>(t) },
                    }
                };
            }
            match (t.rows.len(), t.packed) {
                $(
                    ($rows, [true, true]) => with!($rows, true, true),
                    ($rows, [true, false]) => with!($rows, true, false),
                    ($rows, [false, _]) => with!($rows, false, true),
                )*
                _ => {} // no tile has more rows
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
tiles!(f32_avx512, "avx512f", f32, __m512, 8: 1 2 3 4 5 6 7 8);
#[cfg(target_arch = "x86_64")]
tiles!(f64_avx512, "avx512f", f64, __m512d, 8: 1 2 3 4 5 6 7 8);
#[cfg(target_arch = "x86_64")]
tiles!(f32_avx2, "avx2,fma", f32, __m256, 6: 1 2 3 4 5 6);
#[cfg(target_arch = "x86_64")]
tiles!(f64_avx2, "avx2,fma", f64, __m256d, 6: 1 2 3 4 5 6);
