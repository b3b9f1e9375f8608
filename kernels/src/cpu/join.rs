//! Sums and maxima of lanes.

// Registers and raw pointers; each use says why it is sound.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256, __m256d, __m512, __m512d};

use super::block::STEP;
use super::vector::{Array, Vector};
use crate::Real;

/// Lanes that a sum has: as many as keep the adders busy.
pub const LANES: usize = 64;

/// Adds values to sums in f64 by their place among [`LANES`], a few of each lane in their own type first.
///
/// # Safety
/// The machine has the instructions of the vectors, `N` of which are `LANES`.
#[inline(always)]
unsafe fn add_up<T: Real, V: Vector<T>, const N: usize>(values: &[T], totals: &mut [f64; LANES]) {
    const { assert!(N * V::LANES == LANES) };
    let (whole, rest) = values.as_chunks::<LANES>();
    // SAFETY: the caller's contract; all vectors lie within arrays of `LANES`.
    let mut sums = unsafe { [V::splat(T::zero()); N] };
    for values in whole {
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: as above.
            *sum = unsafe { sum.add(V::load(values.as_ptr().wrapping_add(i * V::LANES))) };
        }
    }
    let mut lanes = [T::zero(); LANES];
    for (i, sum) in sums.iter().enumerate() {
        // SAFETY: as above.
        unsafe { sum.store(lanes.as_mut_ptr().wrapping_add(i * V::LANES)) };
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        *lane += value;
    }
    for (total, lane) in totals.iter_mut().zip(lanes) {
        *total += lane.to_f64();
    }
}

/// Whether products of all values with a factor are finite: a product with zero is zero then, else NaN.
///
/// # Safety
/// As above.
#[inline(always)]
unsafe fn finite<T: Real, V: Vector<T>, const N: usize>(values: &[T], by: T) -> bool {
    let (whole, rest) = values.as_chunks::<LANES>();
    // SAFETY: as above.
    let (by_all, zero, mut sums) = unsafe { (V::splat(by), V::splat(T::zero()), [V::splat(T::zero()); N]) };
    for values in whole {
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: as above.
            *sum = unsafe { sum.add(V::load(values.as_ptr().wrapping_add(i * V::LANES)).mul(by_all).mul(zero)) };
        }
    }
    let mut lanes = [T::zero(); LANES];
    for (i, sum) in sums.iter().enumerate() {
        // SAFETY: as above.
        unsafe { sum.store(lanes.as_mut_ptr().wrapping_add(i * V::LANES)) };
    }
    lanes.iter().all(|x| x.is_finite()) && rest.iter().all(|&x| (x * by).is_finite())
}

/// The instances for each type and set.
macro_rules! joins {
    ($($name:ident $finite:ident $type:ty, $vector:ty, $vectors:literal $(, $features:literal)?;)*) => {$(
        /// # Safety
        /// The machine has the features.
        $(#[cfg(target_arch = "x86_64")] #[target_feature(enable = $features)])?
        pub(crate) unsafe fn $name(values: &[$type], totals: &mut [f64; LANES]) {
            // SAFETY: the caller's contract.
            unsafe { add_up::<$type, $vector, $vectors>(values, totals) }
        }

        /// # Safety
        /// The machine has the features.
        $(#[cfg(target_arch = "x86_64")] #[target_feature(enable = $features)])?
        pub(crate) unsafe fn $finite(values: &[$type], by: $type) -> bool {
            // SAFETY: the caller's contract.
            unsafe { finite::<$type, $vector, $vectors>(values, by) }
        }
    )*};
}

joins! {
    f32_portable f32_finite_portable f32, Array<f32>, 4;
    f64_portable f64_finite_portable f64, Array<f64>, 4;
    f32_avx2 f32_finite_avx2 f32, __m256, 8, "avx2,fma";
    f64_avx2 f64_finite_avx2 f64, __m256d, 16, "avx2,fma";
    f32_avx512 f32_finite_avx512 f32, __m512, 4, "avx512f";
    f64_avx512 f64_finite_avx512 f64, __m512d, 8, "avx512f";
}

/// The largest of the lanes, or the NaN among them.
#[inline(always)]
pub(super) fn largest<O: Real>(values: &[O]) -> f64 {
    let mut most = [O::neg_infinity(); STEP];
    let (whole, rest) = values.as_chunks::<STEP>();
    for step in whole {
        for lane in 0..STEP {
            most[lane] = larger(most[lane], step[lane]);
        }
    }
    for (most, &v) in most.iter_mut().zip(rest) {
        *most = larger(*most, v);
    }
    halve(most, larger).to_f64()
}

/// The larger, or the NaN among them.
#[inline(always)]
pub(super) fn larger<O: Real>(a: O, b: O) -> O {
    if a > b || a.is_nan() { a } else { b }
}

/// Joins lanes, halves to halves.
#[inline(always)]
pub(super) fn halve<O: Real, const N: usize>(mut lanes: [O; N], join: impl Fn(O, O) -> O) -> O {
    let mut width = N;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            lanes[lane] = join(lanes[lane], lanes[lane + width]);
        }
    }
    lanes[0]
}
