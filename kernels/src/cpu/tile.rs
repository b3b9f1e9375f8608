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
use super::vector::Vector;
use crate::Real;

/// Vectors side by side in a tile of our own; its rows are as many as the registers hold.
#[cfg(target_arch = "x86_64")]
const VECTORS: usize = 2;

/// Rows and columns of a whole tile: what operands are packed in.
pub(super) fn shape<T: Real>(simd: Simd) -> [usize; 2] {
    match simd.level() {
        // matrixmultiply has tiles of its own within this one.
        Level::Portable => [64, 128],
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => [6, VECTORS * 32 / size_of::<T>()],
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => [8, VECTORS * 64 / size_of::<T>()],
    }
}

/// Whether rows of `a` may be read where they lie.
pub(super) fn reads_rows_in_place(simd: Simd) -> bool {
    simd.level() != Level::Portable
}

/// One tile: `c = scale · a b`, or the same added to `c`.
///
/// `a` and `c` have one pointer a row, `b` points to a packed panel of whole tile width. The inner index runs through `len` elements
/// of every run of `a`, which start at the given offsets from its rows.
#[derive(Debug)]
pub struct Tile<'r, T> {
    pub rows: &'r [*const T],
    pub runs: &'r [usize],
    pub len: usize,
    pub step: usize,
    pub b: *const T,
    /// Lanes of a row of `b`.
    pub width: usize,
    pub c: &'r [*mut T],
    /// Offset from the rows of `c`, where elements lie side by side.
    pub column: usize,
    pub cols: usize,
    pub scale: T,
    pub add: bool,
}

/// `M` rows by `N` vectors; `c` is written in whole vectors.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn tile<T: Real, V: Vector<T>, const M: usize, const N: usize>(t: &Tile<'_, T>) {
    // SAFETY: the caller's contract, see `Real::tile`.
    unsafe {
        let mut sums = [[V::splat(T::zero()); N]; M];
        let mut b = t.b;
        for &from in t.runs {
            let a: [*const T; M] = from_fn(|i| t.rows[i].wrapping_add(from));
            let mut at = 0;
            for _ in 0..t.len {
                let columns: [V; N] = from_fn(|j| V::load(b.wrapping_add(j * V::LANES)));
                for i in 0..M {
                    let x = V::splat(*a[i].wrapping_add(at));
                    for j in 0..N {
                        sums[i][j] = x.mul_add(columns[j], sums[i][j]);
                    }
                }
                at += t.step;
                b = b.wrapping_add(VECTORS * V::LANES);
            }
        }
        let scale = V::splat(t.scale);
        for (sums, row) in sums.iter().zip(t.c) {
            for (j, &sum) in sums.iter().enumerate() {
                let to = row.wrapping_add(t.column + j * V::LANES);
                let value = if t.add { sum.mul_add(scale, V::load(to)) } else { sum.mul(scale) };
                value.store(to);
            }
        }
    }
}

/// The instances for each number of rows and of vectors, behind a function compiled for the instruction set.
#[cfg(target_arch = "x86_64")]
macro_rules! tiles {
    ($name:ident, $features:literal, $type:ty, $vector:ty, $($rows:literal)*) => {
        /// # Safety
        /// The machine has the features, and the contract of `Real::tile` holds.
        #[target_feature(enable = $features)]
        pub(crate) unsafe fn $name(t: &Tile<'_, $type>) {
            let narrow = t.cols <= <$vector as Vector<$type>>::LANES;
            // SAFETY of all: the caller's contract.
            match (t.rows.len(), narrow) {
                $(
                    ($rows, true) => unsafe { tile::<$type, $vector, $rows, 1>(t) },
                    ($rows, false) => unsafe { tile::<$type, $vector, $rows, VECTORS>(t) },
                )*
                _ => {} // no tile has more rows
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
tiles!(f32_avx512, "avx512f", f32, __m512, 1 2 3 4 5 6 7 8);
#[cfg(target_arch = "x86_64")]
tiles!(f64_avx512, "avx512f", f64, __m512d, 1 2 3 4 5 6 7 8);
#[cfg(target_arch = "x86_64")]
tiles!(f32_avx2, "avx2,fma", f32, __m256, 1 2 3 4 5 6);
#[cfg(target_arch = "x86_64")]
tiles!(f64_avx2, "avx2,fma", f64, __m256d, 1 2 3 4 5 6);
