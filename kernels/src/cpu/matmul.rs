//! Matrix products of strided views: packed where they are no plain matrices, matrixmultiply for large ones, a plain loop for
//! small ones, rayon over batches or rows.

use rayon::prelude::*;

use super::{PARALLEL, Source};
use crate::nest::{coalesce, offset};
use crate::{Product, Real, View};

/// Multiply-adds below which packing costs more than it saves.
const SMALL: usize = 16 * 16 * 16;

#[derive(Debug, Clone)]
pub(super) struct MatMul {
    batch: Vec<usize>,
    sum: Vec<usize>,
    size: [usize; 3],
    scale: f64,
    a: Matrix,
    b: Matrix,
    out: Matrix,
    accumulate: bool,
    /// Whether products are too small for matrixmultiply; decided for the whole, so that sharing rows changes no bit.
    small: bool,
    /// Step of the first batch loop in `out`, if all that one index writes lies within it: then threads may share the batch.
    apart: Option<usize>,
    /// Whether `out` is one row-major matrix that rows can be shared of.
    plain: bool,
}

/// A view as matrices: strides of the loops around it, and two groups of loops, each joined as far as it goes.
#[derive(Debug, Clone)]
struct Matrix {
    slot: usize,
    offset: usize,
    batch: Vec<usize>,
    sum: Vec<usize>,
    groups: [Group; 2],
}

#[derive(Debug, Clone)]
struct Group {
    dims: Vec<usize>,
    strides: Vec<usize>,
}

impl Group {
    fn new(dims: &[usize], strides: &[usize]) -> Group {
        let (dims, mut strides) = coalesce(dims, &[strides]);
        Group { dims, strides: strides.remove(0) }
    }

    /// The one stride, if the group is evenly spaced.
    fn stride(&self) -> Option<usize> {
        match self.strides[..] {
            [] => Some(1),
            [stride] => Some(stride),
            _ => None,
        }
    }

    fn len(&self) -> usize {
        self.dims.iter().product()
    }

    fn offset(&self, index: usize) -> usize {
        offset(index, &self.dims, &self.strides)
    }

    /// Length and stride of the innermost loop.
    fn run(&self) -> (usize, usize) {
        match (self.dims.last(), self.strides.last()) {
            (Some(&len), Some(&stride)) => (len, stride),
            _ => (1, 0),
        }
    }
}

impl Matrix {
    fn new(view: &View, batch: usize, sum: usize, groups: [&[usize]; 2]) -> Matrix {
        let (batch, rest) = view.strides.split_at(batch);
        let (sum, rest) = rest.split_at(sum);
        let (first, second) = rest.split_at(groups[0].len());
        Matrix {
            slot: view.slot,
            offset: view.offset,
            batch: batch.to_vec(),
            sum: sum.to_vec(),
            groups: [Group::new(groups[0], first), Group::new(groups[1], second)],
        }
    }

    /// Row and column stride, if it is a plain matrix.
    fn plain(&self) -> Option<[usize; 2]> {
        Some([self.groups[0].stride()?, self.groups[1].stride()?])
    }

    fn elements(&self) -> usize {
        self.groups[0].len() * self.groups[1].len()
    }

    /// Copies one matrix into `room`, the group with the longer even run innermost; returns its strides there.
    fn pack<T: Real>(&self, data: &[T], room: &mut [T]) -> [usize; 2] {
        let [rows, cols] = &self.groups;
        let quality = |g: &Group| if g.run().1 == 1 { g.run().0 * 4 } else { g.run().0 };
        let (outer, inner, strides) =
            if quality(cols) >= quality(rows) { (rows, cols, [cols.len(), 1]) } else { (cols, rows, [1, rows.len()]) };
        let (run, step) = inner.run();
        let runs = inner.len() / run;
        let mut filled = 0;
        for o in 0..outer.len() {
            let from = outer.offset(o);
            for r in 0..runs {
                let at = from + inner.offset(r * run);
                let to = &mut room[filled..filled + run];
                if step == 1 {
                    to.copy_from_slice(&data[at..at + run]);
                } else {
                    to.iter_mut().enumerate().for_each(|(i, v)| *v = data[at + i * step]);
                }
                filled += run;
            }
        }
        strides
    }
}

impl MatMul {
    pub(super) fn new(product: &Product) -> MatMul {
        let Product { batch, sum, rows, inner, cols, scale, a, b, out, accumulate } = product;
        let size @ [m, k, n] = [rows, inner, cols].map(|dims| dims.iter().product());
        let within: usize = out.strides.iter().zip(&product.dims()[2]).skip(1).map(|(s, d)| s * (d - 1)).sum();
        let out = Matrix::new(out, batch.len(), 0, [rows, cols]);
        let apart = out.batch.first().copied().filter(|&step| within < step);
        let plain = batch.is_empty() && !accumulate && out.plain() == Some([size[2], 1]);
        MatMul {
            batch: batch.clone(),
            sum: sum.clone(),
            size,
            scale: *scale,
            a: Matrix::new(a, batch.len(), sum.len(), [rows, inner]),
            b: Matrix::new(b, batch.len(), sum.len(), [inner, cols]),
            out,
            accumulate: *accumulate,
            small: m == 1 || n == 1 || m * k * n < SMALL,
            apart,
            plain,
        }
    }

    pub(super) fn out_slot(&self) -> usize {
        self.out.slot
    }

    /// Elements of packing room that one thread needs.
    pub(super) fn scratch(&self) -> usize {
        let packed = |m: &Matrix| if m.plain().is_none() { m.elements() } else { 0 };
        let result = if self.direct().is_some() { 0 } else { self.out.elements() };
        packed(&self.a) + packed(&self.b) + result
    }

    /// Strides of the result, if products can be written straight there.
    fn direct(&self) -> Option<[usize; 2]> {
        self.out.plain().filter(|_| !self.accumulate)
    }

    pub(super) fn run<T: Real>(&self, source: Source<'_, T>, scratch: &mut [Vec<T>], out: &mut [T]) {
        let [m, k, n] = self.size;
        let count: usize = self.batch.iter().product();
        let sums: usize = self.sum.iter().product();
        let threads = scratch.len();
        let out = &mut out[self.out.offset..];
        if threads == 1 || count * sums * m * k * n / 16 < PARALLEL {
            return (0..count).for_each(|p| self.product(source, p, [0, m], &mut scratch[0], self.result(p, out)));
        }
        match self.apart {
            Some(step) if self.batch[0] > 1 => {
                let first = self.batch[0];
                let within = count / first;
                let share = first.div_ceil(threads);
                out.par_chunks_mut(share * step).zip(scratch).enumerate().for_each(|(part, (out, scratch))| {
                    for p in part * share * within..((part + 1) * share).min(first) * within {
                        let at = offset(p, &self.batch, &self.out.batch) - part * share * step;
                        self.product(source, p, [0, m], scratch, &mut out[at..]);
                    }
                });
            }
            _ if self.plain && m > 1 => {
                // Multiples of 16 rows keep the register tiles of every share full.
                let share = m.div_ceil(threads).next_multiple_of(16);
                out[..m * n].par_chunks_mut(share * n).zip(scratch).enumerate().for_each(|(part, (out, scratch))| {
                    self.product(source, 0, [part * share, (part * share + share).min(m)], scratch, out);
                });
            }
            _ => (0..count).for_each(|p| self.product(source, p, [0, m], &mut scratch[0], self.result(p, out))),
        }
    }

    fn result<'o, T>(&self, p: usize, out: &'o mut [T]) -> &'o mut [T] {
        &mut out[offset(p, &self.batch, &self.out.batch)..]
    }

    /// Rows `from..to` of product `p`, summed over the sum loops, to the start of `out`.
    fn product<T: Real>(&self, source: Source<'_, T>, p: usize, rows: [usize; 2], scratch: &mut [T], out: &mut [T]) {
        let [from, to] = rows;
        let [_, k, n] = self.size;
        let m = to - from;
        let scale = T::narrow(self.scale);
        let (a_room, rest) = scratch.split_at_mut(if self.a.plain().is_none() { self.a.elements() } else { 0 });
        let (b_room, c_room) = rest.split_at_mut(if self.b.plain().is_none() { self.b.elements() } else { 0 });
        let direct = self.direct();
        for s in 0..self.sum.iter().product() {
            let at = |x: &Matrix| x.offset + offset(p, &self.batch, &x.batch) + offset(s, &self.sum, &x.sum);
            let (a, [ra, ca]) = matrix(&self.a, &source.slot(self.a.slot)[at(&self.a)..], a_room);
            let (b, b_strides) = matrix(&self.b, &source.slot(self.b.slot)[at(&self.b)..], b_room);
            let beta = if s == 0 { T::zero() } else { T::one() };
            let multiply = if self.small { small } else { gemm };
            match direct {
                Some(strides) => {
                    multiply([m, k, n], scale, &a[from * ra..], [ra, ca], b, b_strides, beta, out, strides)
                }
                None => multiply([m, k, n], scale, &a[from * ra..], [ra, ca], b, b_strides, beta, c_room, [n, 1]),
            }
        }
        if direct.is_none() {
            let [rows, cols] = &self.out.groups;
            let (run, step) = cols.run();
            for (r, values) in c_room[..m * n].chunks(n).enumerate() {
                let row = rows.offset(from + r);
                for (c, values) in values.chunks(run).enumerate() {
                    let to = out[row + cols.offset(c * run)..].iter_mut().step_by(step.max(1));
                    if self.accumulate {
                        to.zip(values).for_each(|(o, &v)| *o += v);
                    } else {
                        to.zip(values).for_each(|(o, &v)| *o = v);
                    }
                }
            }
        }
    }
}

/// One matrix: where it lies, or packed.
fn matrix<'d, T: Real>(x: &Matrix, data: &'d [T], room: &'d mut [T]) -> (&'d [T], [usize; 2]) {
    match x.plain() {
        Some(strides) => (data, strides),
        None => {
            let strides = x.pack(data, room);
            (room, strides)
        }
    }
}

/// `out = scale · a b + beta · out`.
#[allow(clippy::too_many_arguments)]
fn gemm<T: Real>(
    [m, k, n]: [usize; 3],
    scale: T,
    a: &[T],
    [ra, ca]: [usize; 2],
    b: &[T],
    [rb, cb]: [usize; 2],
    beta: T,
    out: &mut [T],
    [ro, co]: [usize; 2],
) {
    // matrixmultiply trusts its arguments; this is where they are checked, once a product.
    assert!((m - 1) * ra + (k - 1) * ca < a.len());
    assert!((k - 1) * rb + (n - 1) * cb < b.len());
    assert!((m - 1) * ro + (n - 1) * co < out.len());
    let signed = |[r, c]: [usize; 2]| [r as isize, c as isize];
    // SAFETY: the assertions above keep every element inside its slice; `out` is a unique slice, so it overlaps neither operand,
    // and its elements are distinct: `Program::new` refuses a result whose loops overlap, and packed results are row-major.
    #[allow(unsafe_code)]
    unsafe {
        T::gemm(
            [m, k, n],
            scale,
            a.as_ptr(),
            signed([ra, ca]),
            b.as_ptr(),
            signed([rb, cb]),
            beta,
            out.as_mut_ptr(),
            signed([ro, co]),
        );
    }
}

/// Products too small to pack: sums of scaled rows where those are contiguous, else dot products of rows and columns.
#[allow(clippy::too_many_arguments)]
fn small<T: Real>(
    [m, k, n]: [usize; 3],
    scale: T,
    a: &[T],
    [ra, ca]: [usize; 2],
    b: &[T],
    [rb, cb]: [usize; 2],
    beta: T,
    out: &mut [T],
    [ro, co]: [usize; 2],
) {
    for i in 0..m {
        if cb == 1 && co == 1 && n > 1 {
            let row = &mut out[i * ro..i * ro + n];
            if beta == T::zero() {
                row.fill(T::zero());
            }
            for l in 0..k {
                let factor = scale * a[i * ra + l * ca];
                row.iter_mut().zip(&b[l * rb..]).for_each(|(o, &v)| *o += factor * v);
            }
        } else {
            for j in 0..n {
                let value = scale * dot(k, &a[i * ra..], ca, &b[j * cb..], rb);
                let element = &mut out[i * ro + j * co];
                *element = if beta == T::zero() { value } else { *element + value };
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
