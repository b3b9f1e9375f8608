//! Inner products: in the type of the vectors within blocks, in f64 across them.

use super::nest::{BLOCK, sum};
use crate::Real;

/// ⟨a, b⟩ with f64 sums across blocks of 256 elements; the shorter length counts.
///
/// Rounding within a block is as harmless as in f64 throughout, and the order is fixed, so the result is the same every time.
///
/// ```
/// let a = vec![0.1f32; 1_000_000];
/// let exact = 1e6 * (0.1f32 as f64).powi(2);
/// assert!((osculate_kernels::dot(&a, &a) - exact).abs() < 1e-6 * exact);
/// ```
pub fn dot<T: Real>(a: &[T], b: &[T]) -> f64 {
    let mut products = [T::zero(); BLOCK];
    let mut total = 0.0;
    for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
        products.iter_mut().zip(a).zip(b).for_each(|((p, &x), &y)| *p = x * y);
        total += sum(&products[..a.len().min(b.len())]);
    }
    total
}
