//! What is asked of whole vectors: inner products (in their type within blocks, in f64 across them), and whether all is finite.

use super::block::STEP;
use super::join::halve;
use super::simd::{Simd, Work};
use crate::Real;

/// Elements added up in the type of the vectors; the first cache holds as many of several vectors.
const BLOCK: usize = 512;

/// Elements from which threads share.
const SHARED: usize = 1 << 17;

/// ⟨a, b⟩ with f64 sums across blocks of 512 elements; the shorter length counts.
///
/// Rounding within a block is as harmless as in f64 throughout, and the order is fixed, so the result is the same every time, however
/// many threads there are.
///
/// ```
/// let a = vec![0.1f32; 1_000_000];
/// let exact = 1e6 * (0.1f32 as f64).powi(2);
/// assert!((osculate_kernels::dot(&a, &a) - exact).abs() < 1e-6 * exact);
/// ```
pub fn dot<T: Real>(a: &[T], b: &[T]) -> f64 {
    let [dot] = dots([[a, b]]);
    dot
}

/// The [`dot`]s of several pairs in one pass over memory: a vector that is in more than one is read once. The shortest length counts.
///
/// ```
/// use osculate_kernels::dots;
/// let (a, b) = ([1.0f32, 2.0], [3.0, 4.0]);
/// assert_eq!(dots([[&a, &a], [&a, &b]]), [5.0, 11.0]);
/// ```
pub fn dots<T: Real, const N: usize>(pairs: [[&[T]; 2]; N]) -> [f64; N] {
    let len = pairs.iter().flatten().map(|vector| vector.len()).min().unwrap_or(0);
    shared(pairs.map(|pair| pair.map(|vector| &vector[..len])), len)
}

/// Of vectors of one length, by halves: where they are cut depends on nothing else.
fn shared<T: Real, const N: usize>(pairs: [[&[T]; 2]; N], len: usize) -> [f64; N] {
    if len < SHARED {
        let mut totals = [0.0; N];
        Simd::current().run(Dots { pairs, len, totals: &mut totals });
        return totals;
    }
    let half = (len / 2).next_multiple_of(BLOCK);
    let (left, right) = rayon::join(
        || shared(pairs.map(|pair| pair.map(|vector| &vector[..half])), half),
        || shared(pairs.map(|pair| pair.map(|vector| &vector[half..])), len - half),
    );
    std::array::from_fn(|i| left[i] + right[i])
}

struct Dots<'w, T, const N: usize> {
    pairs: [[&'w [T]; 2]; N],
    len: usize,
    totals: &'w mut [f64; N],
}

impl<T: Real, const N: usize> Work for Dots<'_, T, N> {
    #[inline(always)]
    fn run(self) {
        for at in (0..self.len).step_by(BLOCK) {
            let end = self.len.min(at + BLOCK);
            for ([a, b], total) in self.pairs.iter().zip(self.totals.iter_mut()) {
                *total += block(&a[at..end], &b[at..end]);
            }
        }
    }
}

/// Of one block.
#[inline(always)]
fn block<T: Real>(a: &[T], b: &[T]) -> f64 {
    let mut sums = [T::zero(); STEP];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<STEP>(), b.as_chunks::<STEP>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..STEP {
            sums[lane] += a[lane] * b[lane];
        }
    }
    ended(sums, a_rest, b_rest)
}

/// The sums of whole steps and what is left beside them.
#[inline(always)]
fn ended<T: Real>(mut sums: [T; STEP], a: &[T], b: &[T]) -> f64 {
    for ((sum, &x), &y) in sums.iter_mut().zip(a).zip(b) {
        *sum += x * y;
    }
    halve(sums, |x, y| x + y).to_f64()
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
    T::finite(Simd::current(), vector, T::one())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_of_any_number_and_length_are_those_in_f64() {
        for len in [0, 1, 15, 16, 17, 511, 512, 513, 1025, SHARED - 1, SHARED, SHARED + 1, 3 * SHARED + 7] {
            // Of few digits, so that every sum is exact in both types.
            let vector = |seed: usize| (0..len).map(move |i| ((i * 7919 + seed) % 61) as f64 / 32.0 - 1.0);
            let (a, b): (Vec<f64>, Vec<f64>) = (vector(1).collect(), vector(5).collect());
            let narrow = |v: &[f64]| v.iter().map(|&x| x as f32).collect::<Vec<f32>>();
            let (c, d) = (narrow(&a), narrow(&b));
            let exact = [&a, &b].map(|other| a.iter().zip(other).map(|(x, y)| x * y).sum::<f64>());
            assert_eq!(dots([[&a, &a], [&a, &b]]), exact, "{len}");
            assert_eq!(dots([[&c, &c], [&c, &d]]), exact, "{len} in f32");
            assert_eq!([dot(&a, &b), dot(&c, &d)], [exact[1]; 2], "{len} one at a time");
            let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
            let (p, q): (Vec<f32>, Vec<f32>) = (0..len).map(|i| ((i as f32).sin(), (i as f32).cos())).unzip();
            assert_eq!(alone.install(|| dot(&p, &q)), dot(&p, &q), "one thread is as several, {len}");
        }
        assert_eq!(dots([[&[1.0, 2.0][..], &[3.0]], [&[1.0], &[1.0, 5.0, 9.0]]]), [3.0, 1.0]);
    }

    #[test]
    fn one_infinity_is_found_wherever_it_is() {
        for (len, step) in [(1, 1), (31, 1), (64, 1), (65, 1), (100, 1), (2 * SHARED + 5, 9973)] {
            let (mut x, mut narrow) = (vec![1e300; len], vec![1e38f32; len]);
            for simd in Simd::available() {
                assert!(finite(&x) && f64::finite(simd, &x, 1.0) && f32::finite(simd, &narrow, 1.0));
                for at in (0..len).step_by(step).chain([len - 1]) {
                    for bad in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
                        (x[at], narrow[at]) = (bad, bad as f32);
                        assert!(!finite(&x) && !f64::finite(simd, &x, 1.0), "{bad} at {at} of {len}, {simd}");
                        assert!(!finite(&narrow) && !f32::finite(simd, &narrow, 1.0), "{bad} at {at} of {len}, {simd}");
                    }
                    (x[at], narrow[at]) = (-0.5, -0.5);
                }
            }
        }
    }
}
