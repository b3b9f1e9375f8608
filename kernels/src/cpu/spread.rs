//! Sums of squared deviations of outer products, coordinate by coordinate.
//!
//! Every product is formed, but only in registers: a square of the matrix at a time, one example after the other. So deviations from a first
//! example are differences of what they are differences of, and squares of nothing larger are added up.

use rayon::prelude::*;

use super::simd::{Simd, Work};
use crate::{Error, Real};

/// Examples whose deviations are added up in their own type before they go to f64.
const BLOCK: usize = 128;

/// Rows and columns of a square that registers hold.
const SQUARE: [usize; 2] = [4, 16];

/// Multiply-adds from which threads share rows.
const SHARED: usize = 1 << 20;

/// Summands of every example's matrix `Σ aᵀb`: where their factors lie, `a` `[n, inner, rows]` and `b` `[n, inner, cols]`.
#[derive(Debug, Clone, Copy)]
pub struct Outer {
    /// Where the rows' factor begins.
    pub a: usize,
    /// Where the columns' factor begins.
    pub b: usize,
    /// Products that are added up in one example.
    pub inner: usize,
}

/// Σᵢ (xᵢ − x̄)² of every element of `n` matrices `[rows, cols]`, each a sum of outer products of `factors`; of equal matrices it is 0.
///
/// Relative errors are those of n additions, times what a first example is off the mean, squared, in units of the variance (at most n).
/// The order is fixed, so results do not depend on the number of threads.
///
/// ```
/// use osculate_kernels::{Outer, spread};
/// // x = ab of two examples: 1e6 · 1 and 1e6 · 3
/// let mut out = [0f32];
/// spread(2, &[1e6, 1e6, 1.0, 3.0], &[Outer { a: 0, b: 2, inner: 1 }], [1, 1], &mut out)?;
/// assert_eq!(out, [2e12]);
/// # Ok::<(), osculate_kernels::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`]: factors that end before these do, or results of another number.
pub fn spread<T: Real>(
    n: usize,
    factors: &[T],
    terms: &[Outer],
    [rows, cols]: [usize; 2],
    out: &mut [T],
) -> Result<(), Error> {
    let wrong = |what, got, want| Err(Error::Length { what, index: 0, got, want });
    if out.len() != rows * cols {
        return wrong("deviation", out.len(), rows * cols);
    }
    let end = |t: &Outer| (t.a + n * t.inner * rows).max(t.b + n * t.inner * cols);
    let want = terms.iter().map(end).max().unwrap_or(0);
    if factors.len() < want {
        return wrong("factor", factors.len(), want);
    }
    let (simd, inner) = (Simd::current(), terms.iter().map(|t| t.inner).sum::<usize>());
    let squares = |(at, out): (usize, &mut [T])| {
        simd.run(Rows { of: Matrices { n, factors, terms, rows, cols }, from: at * SQUARE[0], out });
    };
    let each = (SQUARE[0] * cols).max(1);
    match n.saturating_mul(rows * cols).saturating_mul(inner) {
        work if work < SHARED => out.chunks_mut(each).enumerate().for_each(squares),
        _ => out.par_chunks_mut(each).enumerate().for_each(squares),
    }
    Ok(())
}

#[derive(Debug, Clone, Copy)]
struct Matrices<'w, T> {
    n: usize,
    factors: &'w [T],
    terms: &'w [Outer],
    rows: usize,
    cols: usize,
}

/// A few rows of the result.
struct Rows<'w, T> {
    of: Matrices<'w, T>,
    from: usize,
    out: &'w mut [T],
}

impl<T: Real> Work for Rows<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Rows { of, from, out } = self;
        let cols = of.cols;
        match out.len() == SQUARE[0] * cols {
            true => along::<T, { SQUARE[0] }>(&of, from, out),
            false => (from..).zip(out.chunks_mut(cols)).for_each(|(row, out)| along::<T, 1>(&of, row, out)),
        }
    }
}

/// `R` rows, squares side by side and then single columns.
#[inline(always)]
fn along<T: Real, const R: usize>(of: &Matrices<'_, T>, row: usize, out: &mut [T]) {
    let whole = of.cols / SQUARE[1] * SQUARE[1];
    for col in (0..whole).step_by(SQUARE[1]) {
        square::<T, R, { SQUARE[1] }>(of, [row, col], out);
    }
    for col in whole..of.cols {
        square::<T, R, 1>(of, [row, col], out);
    }
}

#[inline(always)]
fn square<T: Real, const R: usize, const C: usize>(of: &Matrices<'_, T>, [row, col]: [usize; 2], out: &mut [T]) {
    let first = products::<T, R, C>(of, 0, [row, col]);
    let mut totals = [[[0.0f64; C]; R]; 2];
    for from in (1..of.n).step_by(BLOCK) {
        let mut sums = [[[T::zero(); C]; R]; 2];
        for example in from..of.n.min(from + BLOCK) {
            let x = products::<T, R, C>(of, example, [row, col]);
            for r in 0..R {
                for c in 0..C {
                    let off = x[r][c] - first[r][c];
                    sums[0][r][c] += off;
                    sums[1][r][c] += off * off;
                }
            }
        }
        for (totals, sums) in totals.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
            totals.iter_mut().zip(sums).for_each(|(total, &sum)| *total += sum.to_f64());
        }
    }
    let [off, squared] = totals;
    for r in 0..R {
        for c in 0..C {
            let spread = squared[r][c] - off[r][c] * off[r][c] / of.n as f64;
            // What rounding left of nothing; a NaN stays one.
            out[r * of.cols + col + c] = T::from_f64(if spread < 0.0 { 0.0 } else { spread });
        }
    }
}

/// Elements of an example's matrix.
#[inline(always)]
fn products<T: Real, const R: usize, const C: usize>(
    of: &Matrices<'_, T>,
    example: usize,
    [row, col]: [usize; 2],
) -> [[T; C]; R] {
    let mut x = [[T::zero(); C]; R];
    for term in of.terms {
        for at in example * term.inner..(example + 1) * term.inner {
            let a = &of.factors[term.a + at * of.rows + row..][..R];
            let b = &of.factors[term.b + at * of.cols + col..][..C];
            for r in 0..R {
                for c in 0..C {
                    x[r][c] += a[r] * b[c];
                }
            }
        }
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two passes in f64 over what the factors make.
    fn exact(n: usize, factors: &[f64], terms: &[Outer], [rows, cols]: [usize; 2], at: usize) -> f64 {
        let (r, c) = (at / cols, at % cols);
        let product = |t: &Outer, k: usize| factors[t.a + k * rows + r] * factors[t.b + k * cols + c];
        let x = |i: usize| {
            terms.iter().map(|t| (i * t.inner..(i + 1) * t.inner).map(|k| product(t, k)).sum::<f64>()).sum::<f64>()
        };
        let mean = (0..n).map(x).sum::<f64>() / n as f64;
        (0..n).map(|i| (x(i) - mean).powi(2)).sum()
    }

    fn check<T: Real>(n: usize, [rows, cols]: [usize; 2], inners: &[usize], offset: f64, tolerance: f64) {
        let (mut terms, mut end) = (Vec::new(), 0);
        for &inner in inners {
            terms.push(Outer { a: end, b: end + n * inner * rows, inner });
            end += n * inner * (rows + cols);
        }
        let value = |i: usize| offset + ((i * 7919) % 61) as f64 / 32.0 - 1.0;
        let factors: Vec<T> = (0..end).map(|i| T::from_f64(value(i))).collect();
        let wide: Vec<f64> = factors.iter().map(|x| (*x).to_f64()).collect();
        let mut out = vec![T::nan(); rows * cols];
        spread(n, &factors, &terms, [rows, cols], &mut out).expect("factors");
        for (at, got) in out.iter().enumerate() {
            let want = exact(n, &wide, &terms, [rows, cols], at);
            let got = (*got).to_f64();
            assert!((got - want).abs() <= tolerance * want, "{n}, {rows}×{cols}, {inners:?}: {got} for {want}");
        }
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
        let mut again = vec![T::nan(); rows * cols];
        alone.install(|| spread(n, &factors, &terms, [rows, cols], &mut again)).expect("factors");
        assert!(again == out, "one thread is as several");
        assert!(spread(n, &factors[1..], &terms, [rows, cols], &mut out).is_err());
        assert!(spread(n, &factors, &terms, [rows, cols], &mut out[1..]).is_err());
    }

    #[test]
    fn deviations_of_all_sizes() {
        for size in [[1, 1], [3, 5], [4, 16], [5, 17], [9, 40], [60, 130]] {
            for (n, inners) in [(2, &[1][..]), (3, &[1, 1]), (129, &[2, 1]), (300, &[1])] {
                check::<f64>(n, size, inners, 0.0, 1e-12);
                check::<f32>(n, size, inners, 0.0, 1e-4);
                check::<f64>(n, size, inners, 1e3, 1e-9);
                check::<f32>(n, size, inners, 1e3, 1e-2);
            }
        }
    }

    #[test]
    fn equal_matrices_have_no_spread() {
        let factors: Vec<f32> = (0..5 * 7).map(|i| [0.1, 3.3, 7.7, 1e9, -0.3, 1e-3, 0.7][i % 7]).collect();
        let (a, b): (Vec<f32>, Vec<f32>) = (
            factors.chunks(7).flat_map(|row| row[..3].to_vec()).collect(),
            factors.chunks(7).flat_map(|row| row[3..].to_vec()).collect(),
        );
        let mut out = [f32::NAN; 12];
        spread(5, &[a, b].concat(), &[Outer { a: 0, b: 15, inner: 1 }], [3, 4], &mut out).expect("factors");
        assert_eq!(out, [0.0; 12]);
        // One example has none, and an infinity leaves none.
        spread(1, &[2.0, 3.0], &[Outer { a: 0, b: 1, inner: 1 }], [1, 1], &mut out[..1]).expect("factors");
        assert_eq!(out[0], 0.0);
        let infinite = [1.0, f32::INFINITY, 1.0, 1.0];
        spread(2, &infinite, &[Outer { a: 0, b: 2, inner: 1 }], [1, 1], &mut out[..1]).expect("factors");
        assert!(out[0].is_nan());
    }
}
