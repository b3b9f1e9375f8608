//! Hyperbolic functions.

use super::{exp_m1, within};
use crate::Real;

/// Hyperbolic tangent.
#[inline(always)]
pub fn tanh<T: Real>(x: T) -> T {
    let two = T::from_f64(2.0);
    let t = exp_m1(two * within(x.abs(), T::zero(), T::from_f64(22.0)));
    // Its own sign: that of a zero, too.
    (t / (t + two)).copysign(x)
}
