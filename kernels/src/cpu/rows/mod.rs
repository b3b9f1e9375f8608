//! Few long vectors, as the rows of a matrix: all their inner products, and their replacement by combinations of them, each in one pass
//! over memory.

// Rows are replaced by columns, which threads share; each use says why it is sound.
#![allow(unsafe_code)]

pub(crate) mod combine;
pub(crate) mod gram;

use std::ops::Range;

use super::simd::Simd;
use crate::{Error, Real};
use combine::Combine;
use gram::{BLOCK, Gram, PAIRS, pair};

/// Most rows.
pub const MOST_ROWS: usize = 80;

/// Multiplications of two elements from which threads share, and about how many parts they share at most.
const SHARED: usize = 1 << 21;
const PARTS: usize = 64;

/// The inner products of all rows with each other, `[n, n]`, in the rows' type within blocks of 512 elements and in f64 across them.
///
/// The last of the `n` are differences, a row less another, which are not kept anywhere. The order is fixed, so the results are the same
/// every time, however many threads there are; they are products, whose last digits differ between instruction sets. Nothing is allocated.
///
/// ```
/// let (a, b) = ([1.0f32, 2.0, 0.0], [0.0, 1.0, 3.0]);
/// let mut products = [0.0; 9];
/// osculate_kernels::gram(&[&a, &b], [[&a, &b]], &mut products)?;
/// assert_eq!(products, [5.0, 2.0, 3.0, 2.0, 10.0, -8.0, 3.0, -8.0, 11.0]);
/// # Ok::<(), osculate_kernels::Error>(())
/// ```
///
/// # Errors
/// Rows of several lengths, more than [`MOST_ROWS`] of them with the differences, or another number of results than of pairs.
pub fn gram<T: Real, const D: usize>(
    rows: &[&[T]],
    differences: [[&[T]; 2]; D],
    products: &mut [f64],
) -> Result<(), Error> {
    let of = Gram { rows, differences: &differences };
    let n = of.count();
    let len = checked(rows.iter().chain(differences.as_flattened()).map(|row| row.len()), n)?;
    if products.len() != n * n {
        return Err(Error::Length { what: "product", index: 0, got: products.len(), want: n * n });
    }
    let mut half = [0.0; PAIRS];
    multiplied::<T, D>(&of, 0..len, least(len, n * n), &mut half);
    for i in 0..n {
        for j in 0..=i {
            let product = half[pair(i, j)];
            (products[i * n + j], products[j * n + i]) = (product, product);
        }
    }
    Ok(())
}

/// Replaces rows by `matrix · rows` of a matrix `[replaced, replaced + read]`, in one pass; what is multiplied by 0 is not looked at. It
/// is a product, whose last digits differ between instruction sets, but not with the number of threads.
///
/// ```
/// let (mut a, mut b, c) = ([1.0, 2.0], [0.0, 1.0], [3.0, 5.0]);
/// osculate_kernels::combine(&[1.0, 2.0, 0.0, -1.0, 0.0, 1.0], &mut [&mut a, &mut b], &[&c])?;
/// assert_eq!((a, b), ([1.0, 4.0], [2.0, 3.0]));
/// # Ok::<(), osculate_kernels::Error>(())
/// ```
///
/// # Errors
/// Rows of several lengths or more than [`MOST_ROWS`] of them, or a matrix of another size; nothing is replaced then.
pub fn combine<T: Real>(matrix: &[T], replaced: &mut [&mut [T]], read: &[&[T]]) -> Result<(), Error> {
    let (m, n) = (replaced.len(), replaced.len() + read.len());
    let len = checked(replaced.iter().map(|row| row.len()).chain(read.iter().map(|row| row.len())), n)?;
    if matrix.len() != m * n {
        return Err(Error::Length { what: "matrix", index: 0, got: matrix.len(), want: m * n });
    }
    let mut rows = [std::ptr::null_mut(); MOST_ROWS];
    let all = replaced.iter_mut().map(|row| row.as_mut_ptr()).chain(read.iter().map(|row| row.as_ptr().cast_mut()));
    rows.iter_mut().zip(all).for_each(|(row, at)| *row = at);
    if m > 0 {
        combined(&Combine { matrix, rows: &rows[..n] }, 0..len, least(len, m * n));
    }
    Ok(())
}

/// The length of so many rows.
fn checked(lengths: impl Iterator<Item = usize> + Clone, count: usize) -> Result<usize, Error> {
    if count > MOST_ROWS {
        return Err(Error::Signature(format!("{count} rows, but at most {MOST_ROWS} go together")));
    }
    let len = lengths.clone().next().unwrap_or(0);
    match lengths.enumerate().find(|&(_, got)| got != len) {
        Some((index, got)) => Err(Error::Length { what: "row", index, got, want: len }),
        None => Ok(len),
    }
}

/// Columns from which threads share them, by halves: each half is a function deeper.
fn least(len: usize, work: usize) -> usize {
    (SHARED / work.max(1)).max(len / PARTS)
}

/// Where columns are cut in two.
fn halves(columns: &Range<usize>, least: usize) -> Option<[Range<usize>; 2]> {
    let middle = columns.start + (columns.len() / 2).next_multiple_of(BLOCK);
    let cut = columns.len() >= least && middle < columns.end;
    cut.then_some([columns.start..middle, middle..columns.end])
}

/// Adds the inner products of a range of columns.
fn multiplied<T: Real, const D: usize>(
    of: &Gram<'_, T>,
    columns: Range<usize>,
    least: usize,
    products: &mut [f64; PAIRS],
) {
    let n = of.count();
    let Some([left, right]) = halves(&columns, least) else {
        let mut made = [[T::zero(); BLOCK]; D];
        // SAFETY: `gram` checked the rows.
        return unsafe { T::gram(Simd::current(), of, columns, &mut made, products) };
    };
    let mut other = [0.0; PAIRS];
    rayon::join(
        || multiplied::<T, D>(of, left, least, products),
        || {
            multiplied::<T, D>(of, right, least, &mut other);
        },
    );
    products.iter_mut().zip(&other[..n * (n + 1) / 2]).for_each(|(product, other)| *product += other);
}

/// Replaces a range of columns.
fn combined<T: Real>(of: &Combine<'_, T>, columns: Range<usize>, least: usize) {
    match halves(&columns, least) {
        // SAFETY: the rows are `combine`'s, which checked them, and each range of columns is one thread's.
        None => unsafe { T::combine(Simd::current(), of, columns) },
        Some([left, right]) => {
            rayon::join(|| combined(of, left, least), || combined(of, right, least));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of few digits, so that sums are exact in every order.
    fn rows<T: Real>(n: usize, len: usize) -> Vec<Vec<T>> {
        let value = |row: usize, at: usize| T::from_f64(((at * 7919 + row * 31) % 61) as f64 / 32.0 - 1.0);
        (0..n).map(|row| (0..len).map(|at| value(row, at)).collect()).collect()
    }

    fn refs<T>(rows: &[Vec<T>]) -> Vec<&[T]> {
        rows.iter().map(|row| &row[..]).collect()
    }

    fn multiplies<T: Real, const D: usize>(simd: Simd, n: usize, len: usize) {
        let all = rows::<T>(n + 2 * D, len);
        let (given, others) = all.split_at(n);
        let differences: [[&[T]; 2]; D] = std::array::from_fn(|i| [&others[2 * i][..], &others[2 * i + 1]]);
        let less = |[a, b]: [&[T]; 2]| a.iter().zip(b).map(|(&a, &b)| a - b).collect::<Vec<T>>();
        let made: Vec<Vec<T>> = given.iter().cloned().chain(differences.map(less)).collect();
        let exact: Vec<f64> = (0..(n + D) * (n + D))
            .map(|pair| {
                made[pair / (n + D)].iter().zip(&made[pair % (n + D)]).map(|(&a, &b)| a.to_f64() * b.to_f64()).sum()
            })
            .collect();
        let mut products = vec![f64::NAN; (n + D) * (n + D)];
        gram(&refs(given), differences, &mut products).expect("rows");
        assert_eq!(products, exact, "{n} rows and {D} differences of {len}");
        // From any column on, added to what is there.
        let of = Gram { rows: &refs(given), differences: &differences };
        let (mut half, mut made) = ([1.0; PAIRS], [[T::zero(); BLOCK]; D]);
        for columns in [0..len / 3, len / 3..len] {
            // SAFETY: all rows have the columns, and each difference a block.
            unsafe { T::gram(simd, &of, columns, &mut made, &mut half) };
        }
        for i in 0..n + D {
            (0..=i).for_each(|j| assert_eq!(half[pair(i, j)], 1.0 + exact[i * (n + D) + j], "{i}, {j} of {n}, {simd}"));
        }
    }

    fn combines<T: Real>(simd: Simd, m: usize, n: usize, len: usize) {
        let old = rows::<T>(n, len);
        let matrix: Vec<T> = (0..m * n).map(|at| T::from_f64((at % 5) as f64 - 2.0)).collect();
        let exact =
            |row: usize, at: usize| (0..n).map(|k| matrix[row * n + k].to_f64() * old[k][at].to_f64()).sum::<f64>();
        let whole = |rows: &[Vec<T>], what: &str| {
            for (row, values) in rows.iter().enumerate() {
                for (at, &value) in values.iter().enumerate() {
                    let want = if row < m { exact(row, at) } else { old[row][at].to_f64() };
                    assert_eq!(value.to_f64(), want, "{row}, {at} of {m} of {n} rows of {len}, {what}");
                }
            }
        };
        let mut rows = old.clone();
        let (replaced, read) = rows.split_at_mut(m);
        let mut replaced: Vec<&mut [T]> = replaced.iter_mut().map(|row| &mut row[..]).collect();
        combine(&matrix, &mut replaced, &refs(read)).expect("rows");
        whole(&rows, "shared");
        let mut rows = old.clone();
        let at: Vec<*mut T> = rows.iter_mut().map(|row| row.as_mut_ptr()).collect();
        for columns in [0..len / 3, len / 3..len] {
            // SAFETY: all rows have the columns, which are this thread's.
            unsafe { T::combine(simd, &Combine { matrix: &matrix, rows: &at }, columns) };
        }
        whole(&rows, simd.name());
    }

    #[test]
    fn products_and_combinations_of_all_sizes() {
        for simd in Simd::available() {
            for len in [1, 15, 16, 17, 127, 128, 129, 511, 512, 513, 1541] {
                for n in 1..10 {
                    multiplies::<f32, 0>(simd, n, len);
                    multiplies::<f64, 1>(simd, n, len);
                    multiplies::<f32, 2>(simd, n - 1, len);
                }
                for (m, n) in [(1, 1), (1, 3), (2, 2), (4, 5), (9, 9), (3, 17)] {
                    combines::<f32>(simd, m, n, len);
                    combines::<f64>(simd, m, n, len);
                }
            }
            multiplies::<f32, 1>(simd, MOST_ROWS - 1, 1025);
            combines::<f32>(simd, MOST_ROWS, MOST_ROWS, 300);
        }
        // Those that threads share.
        multiplies::<f32, 1>(Simd::best(), 12, 20_011);
        multiplies::<f64, 1>(Simd::best(), 13, 20_011);
        combines::<f32>(Simd::best(), 11, 13, 20_011);
        combines::<f64>(Simd::best(), 13, 14, 20_011);
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        // More than are shared, by either.
        let sines = |row: usize| (0..300_003).map(|at| ((at * (row + 3)) as f32).sin()).collect();
        let rows: Vec<Vec<f32>> = (0..5).map(sines).collect();
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| {
                let (mut products, mut rows) = (vec![0.0; 25], rows.clone());
                gram(&refs(&rows[..4]), [[&rows[4], &rows[0]]], &mut products).expect("rows");
                let (replaced, read) = rows.split_at_mut(2);
                let mut replaced: Vec<&mut [f32]> = replaced.iter_mut().map(|row| &mut row[..]).collect();
                combine(&[0.1, 0.2, 0.3, 0.4, 0.5, 1.1, 0.0, 1.3, 1.4, 1.5], &mut replaced, &refs(read)).expect("rows");
                (products, rows)
            })
        };
        assert!(run(1) == run(3));
    }

    #[test]
    fn what_is_multiplied_by_zero_is_not_looked_at() {
        let (mut a, b, mut c) = (vec![1.5; 200], vec![f64::NAN; 200], vec![f64::INFINITY; 200]);
        combine(&[2.0, 0.0, 0.0, 1.0, 0.0, 0.0], &mut [&mut a, &mut c], &[&b]).expect("rows");
        assert!(a.iter().all(|&x| x == 3.0) && c.iter().all(|&x| x == 1.5));
    }

    #[test]
    fn other_sizes_are_refused() {
        let (a, b) = ([1.0, 2.0], [1.0]);
        assert!(gram(&[&a, &b[..]], [], &mut [0.0; 4]).is_err() && gram(&[&a[..]], [], &mut [0.0; 2]).is_err());
        assert!(gram(&[&a[..]], [[&a, &b]], &mut [0.0; 4]).is_err());
        assert!(gram(&[&b[..]; MOST_ROWS], [[&b, &b]], &mut [0.0; (MOST_ROWS + 1) * (MOST_ROWS + 1)]).is_err());
        let mut c = [4.0, 5.0];
        assert!(combine(&[1.0, 1.0], &mut [&mut c], &[&b[..]]).is_err());
        assert!(combine(&[1.0, 1.0, 1.0], &mut [&mut c], &[&a[..]]).is_err());
        assert!(combine(&[1.0; MOST_ROWS + 1], &mut [&mut c], &[&a[..]; MOST_ROWS]).is_err());
        assert_eq!(c, [4.0, 5.0]);
        // Of nothing comes nothing.
        assert!(gram::<f64, 0>(&[], [], &mut []).is_ok() && combine::<f64>(&[], &mut [], &[]).is_ok());
        assert!(combine::<f64>(&[], &mut [], &[&a[..]]).is_ok());
    }
}
