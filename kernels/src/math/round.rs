//! Whole numbers near others, as numpy has them: exact, the sign of a zero kept.

/// From here on, all are whole.
const WHOLE: f64 = 4503599627370496.0;

/// The nearest whole number, of two the even one.
#[inline(always)]
pub(super) fn round(x: f64) -> f64 {
    let a = x.abs();
    let y = (a + WHOLE) - WHOLE;
    (if a < WHOLE { y } else { a }).copysign(x)
}

/// The largest whole number that is not larger.
#[inline(always)]
pub(super) fn floor(x: f64) -> f64 {
    let y = round(x);
    (if y > x { y - 1.0 } else { y }).copysign(x)
}

/// The smallest whole number that is not smaller.
#[inline(always)]
pub(super) fn ceil(x: f64) -> f64 {
    let y = round(x);
    (if y < x { y + 1.0 } else { y }).copysign(x)
}

/// The whole number toward 0.
#[inline(always)]
pub(super) fn trunc(x: f64) -> f64 {
    floor(x.abs()).copysign(x)
}
