//! Batched products: matrixmultiply for large ones, a plain loop for small ones, rayon over batches or rows.

use rayon::prelude::*;

use super::{PARALLEL, Source};
use crate::nest::offset;
use crate::{Real, View};

/// Multiply-adds below which packing costs more than it saves.
const SMALL: usize = 16 * 16 * 16;

#[derive(Debug, Clone)]
pub(super) struct MatMul {
    batch: Vec<usize>,
    size: [usize; 3],
    scale: f64,
    a: Matrix,
    b: Matrix,
    out: Matrix,
    /// Whether `out` is one row-major block over batch and rows, so that it can be split among threads.
    contiguous: bool,
}

/// A view split into its batch strides and its row and column strides.
#[derive(Debug, Clone)]
struct Matrix {
    slot: usize,
    offset: usize,
    batch: Vec<usize>,
    strides: [usize; 2],
}

impl Matrix {
    fn new(view: &View) -> Matrix {
        let n = view.strides.len() - 2;
        Matrix {
            slot: view.slot,
            offset: view.offset,
            batch: view.strides[..n].to_vec(),
            strides: [view.strides[n], view.strides[n + 1]],
        }
    }
}

impl MatMul {
    pub(super) fn new(batch: &[usize], size: [usize; 3], scale: f64, a: &View, b: &View, out: &View) -> MatMul {
        let [m, _, n] = size;
        let dims = [batch, &[m, n]].concat();
        let mut want = 1;
        let contiguous = dims.iter().zip(&out.strides).rev().all(|(&d, &s)| {
            let ok = s == want || d == 1;
            want *= d;
            ok
        });
        MatMul {
            batch: batch.to_vec(),
            size,
            scale,
            a: Matrix::new(a),
            b: Matrix::new(b),
            out: Matrix::new(out),
            contiguous,
        }
    }

    pub(super) fn out_slot(&self) -> usize {
        self.out.slot
    }

    pub(super) fn run<T: Real>(&self, source: Source<'_, T>, out: &mut [T]) {
        let [m, k, n] = self.size;
        let count: usize = self.batch.iter().product();
        let threads = rayon::current_num_threads();
        if !self.contiguous || threads == 1 || count * m * k * n / 16 < PARALLEL {
            for p in 0..count {
                let at = self.out.offset + offset(p, &self.batch, &self.out.batch);
                self.rows(source, p, 0, m, &mut out[at..], self.out.strides);
            }
            return;
        }
        // Whole products to threads if there are enough of them, else rows of each.
        let out = &mut out[self.out.offset..][..count * m * n];
        if count >= threads {
            let share = count.div_ceil(threads);
            out.par_chunks_mut(share * m * n).enumerate().for_each(|(part, out)| {
                for (i, out) in out.chunks_mut(m * n).enumerate() {
                    self.rows(source, part * share + i, 0, m, out, [n, 1]);
                }
            });
        } else {
            // Multiples of 16 rows keep the register tiles of every share full.
            let share = m.div_ceil(threads).next_multiple_of(16);
            for (p, out) in out.chunks_mut(m * n).enumerate() {
                out.par_chunks_mut(share * n).enumerate().for_each(|(part, out)| {
                    self.rows(source, p, part * share, (part * share + share).min(m), out, [n, 1]);
                });
            }
        }
    }

    /// Rows `from..to` of product `p`, written to the start of `out`.
    fn rows<T: Real>(
        &self,
        source: Source<'_, T>,
        p: usize,
        from: usize,
        to: usize,
        out: &mut [T],
        strides: [usize; 2],
    ) {
        let [_, k, n] = self.size;
        let m = to - from;
        let [ra, ca] = self.a.strides;
        let [rb, cb] = self.b.strides;
        let a = &source.slot(self.a.slot)[self.a.offset + offset(p, &self.batch, &self.a.batch) + from * ra..];
        let b = &source.slot(self.b.slot)[self.b.offset + offset(p, &self.batch, &self.b.batch)..];
        let scale = T::narrow(self.scale);
        if m == 1 || n == 1 || m * k * n < SMALL {
            return small([m, k, n], scale, a, [ra, ca], b, [rb, cb], out, strides);
        }
        debug_assert!((m - 1) * ra + (k - 1) * ca < a.len());
        debug_assert!((k - 1) * rb + (n - 1) * cb < b.len());
        debug_assert!((m - 1) * strides[0] + (n - 1) * strides[1] < out.len());
        let signed = |[r, c]: [usize; 2]| [r as isize, c as isize];
        // SAFETY: `Program::new` checked that every index of the loops stays inside the slots and that the output's loops do not
        // overlap; `a`, `b` and `out` start at the first element and are slices, so `out` overlaps neither.
        #[allow(unsafe_code)]
        unsafe {
            T::gemm(
                [m, k, n],
                scale,
                a.as_ptr(),
                signed([ra, ca]),
                b.as_ptr(),
                signed([rb, cb]),
                out.as_mut_ptr(),
                signed(strides),
            );
        }
    }
}

/// Products too small to pack: dot products of rows and columns, or sums of scaled rows when those are contiguous.
#[allow(clippy::too_many_arguments)]
fn small<T: Real>(
    [m, k, n]: [usize; 3],
    scale: T,
    a: &[T],
    [ra, ca]: [usize; 2],
    b: &[T],
    [rb, cb]: [usize; 2],
    out: &mut [T],
    [ro, co]: [usize; 2],
) {
    for i in 0..m {
        if cb == 1 && co == 1 && n > 1 {
            let row = &mut out[i * ro..i * ro + n];
            row.fill(T::zero());
            for l in 0..k {
                let factor = a[i * ra + l * ca];
                row.iter_mut().zip(&b[l * rb..]).for_each(|(o, &v)| *o += factor * v);
            }
            row.iter_mut().for_each(|o| *o *= scale);
        } else {
            for j in 0..n {
                out[i * ro + j * co] = scale * dot(k, &a[i * ra..], ca, &b[j * cb..], rb);
            }
        }
    }
}

/// Dot product in eight fixed lanes.
fn dot<T: Real>(k: usize, a: &[T], sa: usize, b: &[T], sb: usize) -> T {
    let mut lanes = [T::zero(); 8];
    if sa == 1 && sb == 1 {
        for (a, b) in a[..k].chunks(8).zip(b[..k].chunks(8)) {
            lanes.iter_mut().zip(a).zip(b).for_each(|((l, &x), &y)| *l += x * y);
        }
    } else {
        for l in 0..k {
            lanes[l % 8] += a[l * sa] * b[l * sb];
        }
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}
