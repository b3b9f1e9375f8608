//! The machine that bodies run on: a tile of vectors is its accumulator, every instruction does the same to all of them.
//!
//! What an instruction costs beyond its vectors (to be read and jumped to) is shared by a tile; what follows it finds the values in
//! registers, not in memory.

// Registers and raw pointers all through; what makes them sound is the contract of `Real::steps`.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256, __m256d, __m512, __m512d};
use std::ops::Range;

use super::block::STEP;
use super::code::{ARGS, Arg, Op};
use super::vector::{Array, Vector};
use crate::{Inline, Real};

/// Vectors of a tile.
const TILE: usize = 8;

/// Lanes of what tiles keep for themselves: those of the widest.
pub(super) const LOCAL: usize = TILE * STEP;

/// Where the lanes of an argument lie: one an element, the same ones for every tile, or one vector for all.
#[derive(Debug, Clone, Copy)]
#[doc(hidden)]
pub struct Lanes<T> {
    /// The first.
    pub at: *mut T,
    /// What of a lane's number says how far it is from there.
    mask: usize,
}

impl<T> Lanes<T> {
    /// Nowhere.
    pub(super) const NONE: Lanes<T> = Lanes::vector(std::ptr::null_mut());

    pub(super) const fn vector(at: *mut T) -> Lanes<T> {
        Lanes { at, mask: usize::MAX }
    }

    /// Of [`LOCAL`] lanes.
    pub(super) const fn local(at: *mut T) -> Lanes<T> {
        Lanes { at, mask: LOCAL - 1 }
    }

    /// Of the lanes of the widest vector, all of the same value.
    pub(super) const fn same(at: *mut T) -> Lanes<T> {
        Lanes { at, mask: 0 }
    }

    /// Whether there is one lane an element.
    pub(super) fn is_vector(&self) -> bool {
        self.mask == usize::MAX && !self.at.is_null()
    }

    #[inline(always)]
    fn is_same(&self) -> bool {
        self.mask == 0
    }

    #[inline(always)]
    fn from(&self, lane: usize) -> *mut T {
        self.at.wrapping_add(lane & self.mask)
    }
}

// SAFETY: whoever dereferences an address sees to it that no other thread uses the elements.
unsafe impl<T: Send> Send for Lanes<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Lanes<T> {}

/// Runs instructions over a range of lanes, which whole vectors fill.
#[inline(always)]
unsafe fn steps<T: Real, V: Vector<T>>(ops: &[Op], args: &[Lanes<T>; ARGS], lanes: Range<usize>) {
    const { assert!(TILE * V::LANES <= LOCAL && LOCAL.is_power_of_two()) };
    debug_assert!(lanes.start == 0 || lanes.len() == STEP, "{lanes:?} is neither from the first lane on nor one step");
    let mut lane = lanes.start;
    // SAFETY: the caller's contract, see `Real::steps`.
    unsafe {
        while lane + TILE * V::LANES <= lanes.end {
            tile::<T, V, TILE>(ops, args, lane);
            lane += TILE * V::LANES;
        }
        while lane < lanes.end {
            tile::<T, V, 1>(ops, args, lane);
            lane += V::LANES;
        }
    }
}

#[inline(always)]
unsafe fn tile<T: Real, V: Vector<T>, const W: usize>(ops: &[Op], args: &[Lanes<T>; ARGS], lane: usize) {
    // SAFETY of all: the caller's contract.
    let splat = |value: T| unsafe { V::splat(value) };
    let arg = |arg: Arg| args[usize::from(arg) % ARGS];
    let mut acc = [splat(T::zero()); W];
    macro_rules! each {
        // All vectors of the accumulator, with those of an argument, or of two.
        (|$x:ident| $value:expr) => {
            for $x in &mut acc {
                #[allow(unused_unsafe)]
                let value = unsafe { $value };
                *$x = value;
            }
        };
        ($a:expr, |$x:ident, $y:ident| $value:expr) => {{
            let a = arg($a);
            if a.is_same() {
                let $y = unsafe { V::load(a.at) };
                each!(|$x| $value);
            } else {
                let from = a.from(lane);
                for (i, $x) in acc.iter_mut().enumerate() {
                    *$x = unsafe {
                        let $y = V::load(from.wrapping_add(i * V::LANES));
                        $value
                    };
                }
            }
        }};
        ($a:expr, $b:expr, |$x:ident, $y:ident, $z:ident| $value:expr) => {{
            let b = arg($b);
            if b.is_same() {
                let $z = unsafe { V::load(b.at) };
                each!($a, |$x, $y| $value);
            } else {
                let (a, from) = (arg($a), b.from(lane));
                if a.is_same() {
                    let $y = unsafe { V::load(a.at) };
                    for (i, $x) in acc.iter_mut().enumerate() {
                        *$x = unsafe {
                            let $z = V::load(from.wrapping_add(i * V::LANES));
                            $value
                        };
                    }
                } else {
                    let a = a.from(lane);
                    for (i, $x) in acc.iter_mut().enumerate() {
                        *$x = unsafe {
                            let $y = V::load(a.wrapping_add(i * V::LANES));
                            let $z = V::load(from.wrapping_add(i * V::LANES));
                            $value
                        };
                    }
                }
            }
        }};
    }
    let (zero, one) = (splat(T::zero()), splat(T::one()));
    for op in ops {
        match *op {
            Op::Load(a) => each!(a, |_x, y| y),
            Op::Store(a) => {
                let to = arg(a).from(lane);
                for (i, x) in acc.iter().enumerate() {
                    unsafe { x.store(to.wrapping_add(i * V::LANES)) }
                }
            }
            Op::Sum(a) => {
                let to = arg(a).from(lane);
                for (i, x) in acc.iter().enumerate() {
                    let to = to.wrapping_add(i * V::LANES);
                    unsafe { V::load(to).add(*x).store(to) }
                }
            }
            Op::Add(a) => each!(a, |x, y| x.add(y)),
            Op::Mul(a) => each!(a, |x, y| x.mul(y)),
            Op::Div(a) => each!(a, |x, y| x.div(y)),
            Op::Under(a) => each!(a, |x, y| y.div(*x)),
            Op::AddMul(a, b) => each!(a, b, |x, y, z| x.add(y.mul(z))),
            Op::LoadAdd(a, b) => each!(a, b, |_x, y, z| y.add(z)),
            Op::LoadMul(a, b) => each!(a, b, |_x, y, z| y.mul(z)),
            Op::AddAdd(a, b) => each!(a, b, |x, y, z| x.add(y).add(z)),
            Op::AddThenMul(a, b) => each!(a, b, |x, y, z| x.add(y).mul(z)),
            Op::MulAdd(a, b) => each!(a, b, |x, y, z| x.mul(y).add(z)),
            Op::MulMul(a, b) => each!(a, b, |x, y, z| x.mul(y).mul(z)),
            Op::Less(a) => each!(a, |x, y| V::pick(x.less(y), one, zero)),
            Op::LessEqual(a) => each!(a, |x, y| V::pick(x.less_equal(y), one, zero)),
            Op::More(a) => each!(a, |x, y| V::pick(y.less(*x), one, zero)),
            Op::MoreEqual(a) => each!(a, |x, y| V::pick(y.less_equal(*x), one, zero)),
            Op::Equal(a) => each!(a, |x, y| V::pick(x.equal(y), one, zero)),
            Op::Pick(a, b) => each!(a, b, |x, y, z| V::pick(x.equal(zero), z, y)),
            Op::AtLeast(a) => each!(a, |x, y| V::pick(x.less(y), y, *x)),
            Op::AtMost(a) => each!(a, |x, y| V::pick(y.less(*x), y, *x)),
            Op::Inline(Inline::Sqrt) => each!(|x| x.sqrt()),
            Op::Inline(Inline::Rsqrt) => each!(|x| one.div(x.sqrt())),
            Op::Inline(Inline::Abs) => each!(|x| x.abs()),
            // What compares to nothing is NaN, and stays.
            Op::Inline(Inline::Relu) => each!(|x| V::pick(x.less_equal(zero), zero, *x)),
            Op::Inline(Inline::Min0) => each!(|x| V::pick(zero.less(*x), zero, *x)),
            Op::Inline(Inline::Step) => {
                each!(|x| V::pick(x.less_equal(zero), zero, V::pick(zero.less(*x), one, *x)))
            }
            Op::Inline(Inline::Sign) => {
                let minus = splat(-T::one());
                each!(|x| {
                    let above = V::pick(zero.less(*x), one, *x);
                    V::pick(x.less(zero), minus, V::pick(x.equal(zero), zero, above))
                });
            }
        }
    }
}

/// The instances for each type and set.
macro_rules! machines {
    ($($name:ident $type:ty, $vector:ty $(, $features:literal)?;)*) => {$(
        /// # Safety
        /// The machine has the features, and the contract of `Real::steps` holds.
        $(#[cfg(target_arch = "x86_64")] #[target_feature(enable = $features)])?
        pub(crate) unsafe fn $name(ops: &[Op], args: &[Lanes<$type>; ARGS], lanes: Range<usize>) {
            // SAFETY: the caller's contract.
            unsafe { steps::<$type, $vector>(ops, args, lanes) }
        }
    )*};
}

machines! {
    f32_portable f32, Array<f32>;
    f64_portable f64, Array<f64>;
    f32_avx2 f32, __m256, "avx2,fma";
    f64_avx2 f64, __m256d, "avx2,fma";
    f32_avx512 f32, __m512, "avx512f";
    f64_avx512 f64, __m512d, "avx512f";
}
