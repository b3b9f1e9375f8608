//! Inner products: in the type of the vectors within blocks, in f64 across them.

use super::block::{BLOCK, STEP};
use super::join::halve;
use super::simd::{Simd, Work};
use crate::Real;

/// ⟨a, b⟩ with f64 sums across blocks of 512 elements; the shorter length counts.
///
/// Rounding within a block is as harmless as in f64 throughout, and the order is fixed, so the result is the same every time.
///
/// ```
/// let a = vec![0.1f32; 1_000_000];
/// let exact = 1e6 * (0.1f32 as f64).powi(2);
/// assert!((osculate_kernels::dot(&a, &a) - exact).abs() < 1e-6 * exact);
/// ```
pub fn dot<T: Real>(a: &[T], b: &[T]) -> f64 {
    let len = a.len().min(b.len());
    let (a, b) = (&a[..len], &b[..len]);
    let mut total = 0.0;
    Simd::best().run(Dot { a, b, total: &mut total });
    total
}

struct Dot<'w, T> {
    a: &'w [T],
    b: &'w [T],
    total: &'w mut f64,
}

impl<T: Real> Work for Dot<'_, T> {
    #[inline(always)]
    fn run(self) {
        for (a, b) in self.a.chunks(BLOCK).zip(self.b.chunks(BLOCK)) {
            let mut sums = [T::zero(); STEP];
            let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<STEP>(), b.as_chunks::<STEP>());
            for (a, b) in a.iter().zip(b) {
                for lane in 0..STEP {
                    sums[lane] += a[lane] * b[lane];
                }
            }
            sums.iter_mut().zip(a_rest.iter().zip(b_rest)).for_each(|(sum, (&x, &y))| *sum += x * y);
            *self.total += halve(sums, |x, y| x + y).wide();
        }
    }
}
