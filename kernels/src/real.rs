//! The two scalar types programs run in.

use std::fmt::{Debug, Display};
use std::ops::{AddAssign, MulAssign};

use num_traits::Float;

/// `f32` or `f64`: what buffers hold.
pub trait Real: Float + AddAssign + MulAssign + Default + Debug + Display + Send + Sync + 'static {
    /// The type's name as users write it.
    const NAME: &'static str;
    /// Rounds an `f64` once.
    fn narrow(value: f64) -> Self;
    /// Widens exactly.
    fn wide(self) -> f64;
    /// Picks the instance of an elementwise function for this type.
    fn apply(scalar: &crate::Scalar, values: &mut [Self]);
    /// `c = alpha a b + beta c` (c unread if beta is 0) with strides in elements: `a` is m×k, `b` is k×n, `c` is m×n.
    ///
    /// # Safety
    /// Every element addressed through the pointers and strides must be inside its allocation; elements of `c` must be distinct
    /// and not overlap `a` or `b`.
    #[allow(unsafe_code, clippy::too_many_arguments)]
    unsafe fn gemm(
        size: [usize; 3],
        alpha: Self,
        a: *const Self,
        a_strides: [isize; 2],
        b: *const Self,
        b_strides: [isize; 2],
        beta: Self,
        c: *mut Self,
        c_strides: [isize; 2],
    );
}

macro_rules! real {
    ($type:ident, $gemm:path) => {
        impl Real for $type {
            const NAME: &'static str = stringify!($type);
            #[inline(always)]
            fn narrow(value: f64) -> Self {
                value as $type
            }
            #[inline(always)]
            fn wide(self) -> f64 {
                self as f64
            }
            fn apply(scalar: &crate::Scalar, values: &mut [Self]) {
                (scalar.$type)(values)
            }
            #[allow(unsafe_code)]
            unsafe fn gemm(
                [m, k, n]: [usize; 3],
                alpha: Self,
                a: *const Self,
                [rsa, csa]: [isize; 2],
                b: *const Self,
                [rsb, csb]: [isize; 2],
                beta: Self,
                c: *mut Self,
                [rsc, csc]: [isize; 2],
            ) {
                // SAFETY: the caller's contract is matrixmultiply's.
                unsafe { $gemm(m, k, n, alpha, a, rsa, csa, b, rsb, csb, beta, c, rsc, csc) }
            }
        }
    };
}

real!(f32, matrixmultiply::sgemm);
real!(f64, matrixmultiply::dgemm);
