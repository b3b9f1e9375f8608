//! Few long vectors, as the rows of a matrix: all their inner products, and others that are combined of them, in one pass over memory.

// Rows are written by columns, which threads share; each use says why it is sound.
#![allow(unsafe_code)]

use super::block::STEP;
use super::dot::{BLOCK, block, ended};
use super::simd::{Simd, Work};
use crate::{Error, Real};

/// Most rows.
pub const MOST_ROWS: usize = 80;

/// Rows that one is multiplied with at once: as many as keep the adders busy.
const TILE: usize = 4;

/// Multiplications of two elements from which threads share.
const SHARED: usize = 1 << 21;

/// Inner products of some rows with those up to themselves.
const PAIRS: usize = MOST_ROWS * (MOST_ROWS + 1) / 2;

/// The inner products of all rows with each other, `[n, n]`, in the rows' type within blocks of 512 elements and in f64 across them.
///
/// The order is fixed, so the results are the same every time, however many threads there are; nothing is allocated.
///
/// ```
/// let mut products = [0.0; 4];
/// osculate_kernels::gram(&[&[1.0f32, 2.0, 0.0], &[0.0, 1.0, 3.0]], &mut products)?;
/// assert_eq!(products, [5.0, 2.0, 2.0, 10.0]);
/// # Ok::<(), osculate_kernels::Error>(())
/// ```
///
/// # Errors
/// Rows of several lengths, more than [`MOST_ROWS`] of them, or another number of results than of pairs.
pub fn gram<T: Real>(rows: &[&[T]], products: &mut [f64]) -> Result<(), Error> {
    let n = rows.len();
    let len = checked(rows, "product", products.len(), n * n)?;
    let mut half = [0.0; PAIRS];
    halved(rows, 0, len, &mut half);
    for i in 0..n {
        for j in 0..=i {
            let product = half[i * (i + 1) / 2 + j];
            (products[i * n + j], products[j * n + i]) = (product, product);
        }
    }
    Ok(())
}

/// The rows `matrix · rows`, `[m, len]` of a matrix `[m, n]`; what is multiplied by 0 is not looked at.
///
/// ```
/// let mut sums = [0.0; 6];
/// osculate_kernels::combine(&[1.0, 2.0, 0.0, -1.0], &[&[1.0, 2.0, 0.0], &[0.0, 1.0, 3.0]], &mut sums)?;
/// assert_eq!(sums, [1.0, 4.0, 6.0, 0.0, -1.0, -3.0]);
/// # Ok::<(), osculate_kernels::Error>(())
/// ```
///
/// # Errors
/// Rows of several lengths or more than [`MOST_ROWS`] of them, or a matrix or results of another size.
pub fn combine<T: Real>(matrix: &[T], rows: &[&[T]], sums: &mut [T]) -> Result<(), Error> {
    let (n, m) = (rows.len(), matrix.len() / rows.len().max(1));
    let len = checked(rows, "sum", sums.len(), m * rows.first().map_or(0, |row| row.len()))?;
    if matrix.len() != m * n {
        return Err(Error::Length { what: "matrix", index: 0, got: matrix.len(), want: m * n });
    }
    // SAFETY: `sums` holds m rows of `len` elements, all columns of which are this call's.
    unsafe { combined(matrix, rows, Columns(sums.as_mut_ptr(), len), 0, len) };
    Ok(())
}

/// The length of the rows.
fn checked<T>(rows: &[&[T]], what: &'static str, got: usize, want: usize) -> Result<usize, Error> {
    if rows.len() > MOST_ROWS {
        return Err(Error::Signature(format!("{} rows, but at most {MOST_ROWS} go together", rows.len())));
    }
    let len = rows.first().map_or(0, |row| row.len());
    if let Some(index) = rows.iter().position(|row| row.len() != len) {
        return Err(Error::Length { what: "row", index, got: rows[index].len(), want: len });
    }
    if got == want { Ok(len) } else { Err(Error::Length { what, index: 0, got, want }) }
}

/// Where a range of columns is cut in two for threads to share, if it is worth their while.
fn cut(from: usize, to: usize, work: usize) -> Option<usize> {
    let half = ((to - from) / 2).next_multiple_of(BLOCK);
    ((to - from) * work >= SHARED && half < to - from).then_some(from + half)
}

/// Adds the inner products of a range of columns.
fn halved<T: Real>(rows: &[&[T]], from: usize, to: usize, products: &mut [f64; PAIRS]) {
    let Some(middle) = cut(from, to, rows.len() * rows.len()) else {
        return Simd::best().run(Gram { rows, from, to, products });
    };
    let mut other = [0.0; PAIRS];
    rayon::join(|| halved(rows, from, middle, products), || halved(rows, middle, to, &mut other));
    products.iter_mut().zip(&other[..rows.len() * (rows.len() + 1) / 2]).for_each(|(product, other)| *product += other);
}

struct Gram<'w, T> {
    rows: &'w [&'w [T]],
    from: usize,
    to: usize,
    products: &'w mut [f64; PAIRS],
}

impl<T: Real> Work for Gram<'_, T> {
    #[inline(always)]
    fn run(self) {
        for at in (self.from..self.to).step_by(BLOCK) {
            let end = self.to.min(at + BLOCK);
            let mut next = 0;
            for (i, row) in self.rows.iter().enumerate() {
                let row = &row[at..end];
                let mut others = self.rows[..=i].chunks_exact(TILE);
                for tile in &mut others {
                    let [a, b, c, d] = [0, 1, 2, 3].map(|k: usize| &tile[k][at..end]);
                    for product in four(row, a, b, c, d) {
                        self.products[next] += product;
                        next += 1;
                    }
                }
                for other in others.remainder() {
                    self.products[next] += block(row, &other[at..end]);
                    next += 1;
                }
            }
        }
    }
}

/// The inner products of one row's block with four others', each as alone; written out, for the sums to stay in registers.
#[inline(always)]
fn four<T: Real>(row: &[T], a: &[T], b: &[T], c: &[T], d: &[T]) -> [f64; TILE] {
    let mut sums = [[T::zero(); STEP]; TILE];
    let [p, q, r, s] = &mut sums;
    let (x, x_rest) = row.as_chunks::<STEP>();
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<STEP>(), b.as_chunks::<STEP>());
    let ((c, c_rest), (d, d_rest)) = (c.as_chunks::<STEP>(), d.as_chunks::<STEP>());
    for ((((x, a), b), c), d) in x.iter().zip(a).zip(b).zip(c).zip(d) {
        for lane in 0..STEP {
            p[lane] += x[lane] * a[lane];
        }
        for lane in 0..STEP {
            q[lane] += x[lane] * b[lane];
        }
        for lane in 0..STEP {
            r[lane] += x[lane] * c[lane];
        }
        for lane in 0..STEP {
            s[lane] += x[lane] * d[lane];
        }
    }
    let [p, q, r, s] = sums;
    [ended(p, x_rest, a_rest), ended(q, x_rest, b_rest), ended(r, x_rest, c_rest), ended(s, x_rest, d_rest)]
}

/// Rows of a length that threads write columns of.
#[derive(Clone, Copy)]
struct Columns<T>(*mut T, usize);

// SAFETY: whoever writes sees to it that the columns are its own.
unsafe impl<T: Send> Send for Columns<T> {}

/// # Safety
/// There are as many rows to write as of the matrix, whose columns from one to another are the caller's.
unsafe fn combined<T: Real>(matrix: &[T], rows: &[&[T]], sums: Columns<T>, from: usize, to: usize) {
    let Some(middle) = cut(from, to, matrix.len()) else {
        return Simd::best().run(Combine { matrix, rows, sums, from, to });
    };
    // SAFETY: the caller's, and each has its own columns.
    let part = |from, to| move || unsafe { combined(matrix, rows, sums, from, to) };
    rayon::join(part(from, middle), part(middle, to));
}

struct Combine<'w, T> {
    matrix: &'w [T],
    rows: &'w [&'w [T]],
    sums: Columns<T>,
    from: usize,
    to: usize,
}

impl<T: Real> Work for Combine<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Columns(to, len) = self.sums;
        for at in (self.from..self.to).step_by(BLOCK) {
            let end = self.to.min(at + BLOCK);
            for (i, factors) in self.matrix.chunks_exact(self.rows.len().max(1)).enumerate() {
                // SAFETY: row `i` has these columns, which are this thread's.
                let sums = unsafe { std::slice::from_raw_parts_mut(to.add(i * len + at), end - at) };
                let (whole, rest) = sums.as_chunks_mut::<{ TILE * STEP }>();
                for (k, sums) in whole.iter_mut().enumerate() {
                    tile(factors, self.rows, at + k * TILE * STEP, sums);
                }
                rest.fill(T::zero());
                let first = end - rest.len();
                for (&factor, row) in factors.iter().zip(self.rows) {
                    if factor != T::zero() {
                        for (sum, &x) in rest.iter_mut().zip(&row[first..end]) {
                            *sum += factor * x;
                        }
                    }
                }
            }
        }
    }
}

/// The sums of some columns; written out, for them to stay in registers.
#[inline(always)]
fn tile<T: Real>(factors: &[T], rows: &[&[T]], at: usize, to: &mut [T; TILE * STEP]) {
    let mut sums = [[T::zero(); STEP]; TILE];
    let [p, q, r, s] = &mut sums;
    for (&factor, row) in factors.iter().zip(rows) {
        if factor != T::zero() {
            let (steps, _) = row[at..at + TILE * STEP].as_chunks::<STEP>();
            let [a, b, c, d] = [&steps[0], &steps[1], &steps[2], &steps[3]];
            for lane in 0..STEP {
                p[lane] += factor * a[lane];
            }
            for lane in 0..STEP {
                q[lane] += factor * b[lane];
            }
            for lane in 0..STEP {
                r[lane] += factor * c[lane];
            }
            for lane in 0..STEP {
                s[lane] += factor * d[lane];
            }
        }
    }
    to.copy_from_slice(sums.as_flattened());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of few digits, so that sums are exact in every order.
    fn rows<T: Real>(n: usize, len: usize) -> Vec<Vec<T>> {
        let value = |row: usize, at: usize| T::narrow(((at * 7919 + row * 31) % 61) as f64 / 32.0 - 1.0);
        (0..n).map(|row| (0..len).map(|at| value(row, at)).collect()).collect()
    }

    fn checks<T: Real>(n: usize, m: usize, len: usize) {
        let rows = rows::<T>(n, len);
        let rows: Vec<&[T]> = rows.iter().map(|row| &row[..]).collect();
        let wide = |row: usize, at: usize| rows[row][at].wide();
        let mut products = vec![f64::NAN; n * n];
        gram(&rows, &mut products).expect("rows");
        for (pair, &product) in products.iter().enumerate() {
            let exact: f64 = (0..len).map(|at| wide(pair / n, at) * wide(pair % n, at)).sum();
            assert_eq!(product, exact, "{pair} of {n} rows of {len}");
        }
        let matrix: Vec<T> = (0..m * n).map(|at| T::narrow((at % 5) as f64 - 2.0)).collect();
        let mut sums = vec![T::nan(); m * len];
        combine(&matrix, &rows, &mut sums).expect("rows");
        for (at, sum) in sums.iter().enumerate() {
            let (row, at) = (at / len, at % len);
            let exact: f64 = (0..n).map(|k| matrix[row * n + k].wide() * wide(k, at)).sum();
            assert_eq!(sum.wide(), exact, "{row}, {at} of {n} rows of {len}");
        }
    }

    #[test]
    fn products_and_combinations_of_all_sizes() {
        for (n, m, len) in [(1, 1, 1), (2, 3, 15), (3, 1, 16), (4, 2, 17), (5, 5, 511), (8, 3, 512), (9, 2, 513)] {
            checks::<f32>(n, m, len);
            checks::<f64>(n, m, len);
        }
        // Those that threads share.
        checks::<f32>(13, 11, 20_011);
        checks::<f64>(13, 11, 20_011);
        checks::<f32>(MOST_ROWS, 2, 1025);
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let rows: Vec<Vec<f32>> =
            (0..5).map(|row| (0..100_003).map(|at| ((at * (row + 3)) as f32).sin()).collect()).collect();
        let rows: Vec<&[f32]> = rows.iter().map(|row| &row[..]).collect();
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| {
                let (mut products, mut sums) = (vec![0.0; 25], vec![0.0; 2 * 100_003]);
                gram(&rows, &mut products).expect("rows");
                combine(&[0.1, 0.2, 0.3, 0.4, 0.5, 1.1, 0.0, 1.3, 1.4, 1.5], &rows, &mut sums).expect("rows");
                (products, sums)
            })
        };
        assert!(run(1) == run(3));
    }

    #[test]
    fn other_sizes_are_refused() {
        let (a, b) = ([1.0, 2.0], [1.0]);
        assert!(gram(&[&a, &b[..]], &mut [0.0; 4]).is_err() && gram(&[&a[..]], &mut [0.0; 2]).is_err());
        assert!(combine(&[1.0], &[&a[..]], &mut [0.0; 1]).is_err());
        assert!(combine(&[1.0, 1.0, 1.0], &[&a[..], &a], &mut [0.0; 2]).is_err());
        assert!(gram(&[&b[..]; MOST_ROWS + 1], &mut [0.0; (MOST_ROWS + 1) * (MOST_ROWS + 1)]).is_err());
        // Of nothing comes nothing.
        assert!(gram::<f64>(&[], &mut []).is_ok() && combine::<f64>(&[], &[], &mut []).is_ok());
    }
}
