//! Vector registers: what loops written by hand are made of.

// Raw pointers all through; what makes them sound is each function's contract.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
pub(crate) mod x86;

use std::array::from_fn;

use crate::Real;

/// A vector register.
///
/// # Safety
/// All functions: the machine has the instructions, and pointers are to as many elements as there are lanes.
pub(super) trait Vector<T>: Copy {
    const LANES: usize;
    /// Which lanes hold something.
    type Test: Copy;
    unsafe fn splat(value: T) -> Self;
    unsafe fn load(from: *const T) -> Self;
    unsafe fn store(self, to: *mut T);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    unsafe fn sqrt(self) -> Self;
    /// `self · x + y`, rounded once by all but [`Array`].
    unsafe fn mul_add(self, x: Self, y: Self) -> Self;
    unsafe fn abs(self) -> Self;
    unsafe fn less(self, other: Self) -> Self::Test;
    unsafe fn less_equal(self, other: Self) -> Self::Test;
    unsafe fn equal(self, other: Self) -> Self::Test;
    /// `a` where the test holds, else `b`.
    unsafe fn pick(test: Self::Test, a: Self, b: Self) -> Self;
}

/// One that can be read and written in part, and does what only loops for such machines need.
///
/// # Safety
/// As above; pointers are to as many elements as a mask takes.
#[cfg(target_arch = "x86_64")]
pub(super) trait Masked<T>: Vector<T> {
    /// Which lanes `load_some` reads (the others are 0) and `store_some` writes.
    type Mask: Copy;
    /// The first lanes.
    unsafe fn mask(lanes: usize) -> Self::Mask;
    unsafe fn load_some(from: *const T, mask: Self::Mask) -> Self;
    unsafe fn store_some(self, to: *mut T, mask: Self::Mask);
    unsafe fn sub(self, other: Self) -> Self;
}

/// Sends for the cache lines of so many elements, which need not be there.
#[inline(always)]
pub(super) fn prefetch<T>(from: *const T, len: usize) {
    #[cfg(target_arch = "x86_64")]
    for byte in (0..len * size_of::<T>()).step_by(64) {
        // SAFETY: whatever the address is, nothing is read that anyone could see.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(from.cast::<i8>().wrapping_add(byte))
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, len);
}

/// Copies past the caches, which have no use for what is larger than they are; other threads see it after [`streamed`].
#[inline(always)]
pub(super) fn stream<T: Real>(to: &mut [T], from: &[T]) {
    let len = to.len().min(from.len());
    let (to, from) = (&mut to[..len], &from[..len]);
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_stream_si128};
        const WIDTH: usize = size_of::<__m128i>();
        const { assert!(WIDTH.is_multiple_of(size_of::<T>())) };
        let lanes = WIDTH / size_of::<T>();
        let head = to.as_ptr().align_offset(WIDTH).min(len);
        let whole = (len - head) / lanes * lanes;
        to[..head].copy_from_slice(&from[..head]);
        for at in (head..head + whole).step_by(lanes) {
            // SAFETY: `lanes` elements from `at` on lie inside, where `to` is at a whole vector.
            unsafe { _mm_stream_si128(to.as_mut_ptr().add(at).cast(), _mm_loadu_si128(from.as_ptr().add(at).cast())) }
        }
        to[head + whole..].copy_from_slice(&from[head + whole..]);
    }
    #[cfg(not(target_arch = "x86_64"))]
    to.copy_from_slice(from);
}

/// To be called once a thread has streamed all that it had.
#[inline(always)]
pub(super) fn streamed() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction is there on every machine of this kind, and touches no memory.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

/// Lanes of an [`Array`].
const LANES: usize = 16;

/// What the compiler makes vectors of, on every machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Array<T>([T; LANES]);

impl<T: Real> Array<T> {
    #[inline(always)]
    fn each(self, other: Self, f: impl Fn(T, T) -> T) -> Self {
        Array(from_fn(|lane| f(self.0[lane], other.0[lane])))
    }

    #[inline(always)]
    fn test(self, other: Self, f: impl Fn(T, T) -> bool) -> [bool; LANES] {
        from_fn(|lane| f(self.0[lane], other.0[lane]))
    }
}

impl<T: Real> Vector<T> for Array<T> {
    const LANES: usize = LANES;
    type Test = [bool; LANES];
    #[inline(always)]
    unsafe fn splat(value: T) -> Self {
        Array([value; LANES])
    }
    #[inline(always)]
    unsafe fn load(from: *const T) -> Self {
        // SAFETY: the trait's contract.
        Array(unsafe { from.cast::<[T; LANES]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut T) {
        // SAFETY: the trait's contract.
        unsafe { to.cast::<[T; LANES]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.each(other, |x, y| x + y)
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        self.each(other, |x, y| x * y)
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        self.each(other, |x, y| x / y)
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        self.each(self, |x, _| x.sqrt())
    }
    #[inline(always)]
    unsafe fn mul_add(self, x: Self, y: Self) -> Self {
        Array(from_fn(|lane| self.0[lane] * x.0[lane] + y.0[lane]))
    }
    #[inline(always)]
    unsafe fn abs(self) -> Self {
        self.each(self, |x, _| x.abs())
    }
    #[inline(always)]
    unsafe fn less(self, other: Self) -> Self::Test {
        self.test(other, |x, y| x < y)
    }
    #[inline(always)]
    unsafe fn less_equal(self, other: Self) -> Self::Test {
        self.test(other, |x, y| x <= y)
    }
    #[inline(always)]
    unsafe fn equal(self, other: Self) -> Self::Test {
        self.test(other, |x, y| x == y)
    }
    #[inline(always)]
    unsafe fn pick(test: Self::Test, a: Self, b: Self) -> Self {
        Array(from_fn(|lane| if test[lane] { a.0[lane] } else { b.0[lane] }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_every_length_and_place() {
        for len in 0..40 {
            for at in 0..8 {
                let from: Vec<f32> = (0..len).map(|i| i as f32 + 1.0).collect();
                let mut to = vec![0.0f32; len + 16];
                stream(&mut to[at..at + len], &from);
                streamed();
                assert_eq!(to[at..at + len], from);
                assert!(to[..at].iter().chain(&to[at + len..]).all(|&x| x == 0.0), "{len} at {at}");
                let (from, mut to) = (from.iter().map(|&x| f64::from(x)).collect::<Vec<_>>(), vec![0.0f64; len + 16]);
                stream(&mut to[at..at + len], &from);
                assert_eq!(to[at..at + len], from);
            }
        }
    }
}
