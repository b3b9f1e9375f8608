//! How large what a vector holds is.

use super::dot::finite;
use super::simd::Simd;
use crate::Real;

/// How large the elements of a vector are, largest first; what holds of the larger is not said of the smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Size {
    /// All are below [`Real::MODERATE`]: they can be squared, and a few of them added and multiplied, without leaving the type's numbers.
    Moderate,
    /// All are finite.
    Finite,
    /// One is infinite, or no number.
    NotFinite,
}

impl Size {
    /// The size of a vector's elements.
    ///
    /// ```
    /// use osculate_kernels::Size;
    /// assert_eq!(Size::of(&[1.0f32, -1e18]), Size::Moderate);
    /// assert_eq!(Size::of(&[1.0f32, -1e20]), Size::Finite);
    /// assert_eq!(Size::of(&[1.0f32, f32::NAN]), Size::NotFinite);
    /// assert_eq!([Size::of(&[1e150]), Size::of(&[1e160])], [Size::Moderate, Size::Finite]);
    /// ```
    pub fn of<T: Real>(vector: &[T]) -> Size {
        match vector {
            vector if T::finite(Simd::current(), vector, T::from_f64(T::MODERATION)) => Size::Moderate,
            vector if finite(vector) => Size::Finite,
            _ => Size::NotFinite,
        }
    }

    /// Whether all elements are finite.
    pub fn is_finite(self) -> bool {
        self != Size::NotFinite
    }
}

/// The largest magnitude of the elements of a vector; infinite if one is no number, 0 of none.
///
/// ```
/// use osculate_kernels::largest;
/// assert_eq!(largest(&[1.0, -3.0, 2.0]), 3.0);
/// assert_eq!(largest(&[1.0, f64::NAN]), f64::INFINITY);
/// ```
pub fn largest<T: Real>(vector: &[T]) -> f64 {
    if !finite(vector) {
        return f64::INFINITY;
    }
    vector.iter().fold(T::zero(), |most, x| if x.abs() > most { x.abs() } else { most }).to_f64()
}
