//! What is asked of whole vectors: inner products (in their type within blocks, in f64 across them), and whether all is finite.

use super::block::STEP;
use super::join::halve;
use super::simd::{Simd, Work};
use crate::Real;

/// Elements added up in the type of the vectors.
const BLOCK: usize = 512;

/// Elements from which threads share a search.
const SHARED: usize = 1 << 17;

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

/// Whether all elements are finite.
///
/// ```
/// use osculate_kernels::finite;
/// assert!(finite(&[1.0, -1e300]) && !finite(&[0.0, f64::NAN]) && !finite(&[f32::INFINITY]));
/// ```
pub fn finite<T: Real>(vector: &[T]) -> bool {
    if vector.len() >= SHARED {
        let (left, right) = vector.split_at(vector.len() / 2);
        let (left, right) = rayon::join(|| finite(left), || finite(right));
        return left && right;
    }
    T::finite(Simd::best(), vector)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_infinity_is_found_wherever_it_is() {
        for (len, step) in [(1, 1), (31, 1), (64, 1), (65, 1), (100, 1), (2 * SHARED + 5, 9973)] {
            let (mut x, mut narrow) = (vec![1e300; len], vec![1e38f32; len]);
            for simd in Simd::available() {
                assert!(finite(&x) && f64::finite(simd, &x) && f32::finite(simd, &narrow));
                for at in (0..len).step_by(step).chain([len - 1]) {
                    for bad in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
                        (x[at], narrow[at]) = (bad, bad as f32);
                        assert!(!finite(&x) && !f64::finite(simd, &x), "{bad} at {at} of {len}, {simd}");
                        assert!(!finite(&narrow) && !f32::finite(simd, &narrow), "{bad} at {at} of {len}, {simd}");
                    }
                    (x[at], narrow[at]) = (-0.5, -0.5);
                }
            }
        }
    }
}
