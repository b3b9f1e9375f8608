//! The transforms of Winograd's products: squares of values to squares of points, and back.
//!
//! All six multiply a square by a small matrix from both sides, for a vector of channels at a time; `matmul/winograd` says why.

// Registers and raw pointers all through; what makes them sound is the contract of `Real::change`.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256, __m256d, __m512, __m512d};
use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use super::tile::VECTORS;
#[cfg(target_arch = "x86_64")]
use super::vector::Masked;
#[cfg(target_arch = "x86_64")]
use crate::Real;

/// Which matrix is on both sides (A, B and G are those of Lavin and Gray for F(2, 3)), and so what squares are read and written.
#[derive(Debug, Clone, Copy)]
pub enum Matrix {
    /// Bᵀ: a window of 4×4 values to as many points.
    Window,
    /// B: points to what they add to a window.
    Unwindow,
    /// A: 2×2 places to points.
    Place,
    /// Aᵀ: points to places.
    Unplace,
    /// G: 3×3 taps to points.
    Taps,
    /// Gᵀ: points to taps.
    Untaps,
}

/// One transform of many squares, all channels of each.
#[derive(Debug, Clone)]
pub struct Change<'r, T> {
    pub matrix: Matrix,
    pub from: *const T,
    pub to: *mut T,
    /// Offsets of each square in both.
    pub at: &'r [[usize; 2]],
    /// Steps in both: of rows and columns of a square, and of panels of channels. Channels of a panel lie side by side.
    pub steps: [[usize; 3]; 2],
    /// Whole vectors of them.
    pub channels: Range<usize>,
    /// Whether what is there is added to.
    pub add: bool,
}

/// A matrix, times a vector.
#[cfg(target_arch = "x86_64")]
trait Side<const IN: usize, const OUT: usize> {
    /// # Safety
    /// The machine has the instructions.
    unsafe fn times<T: Real, V: Masked<T>>(x: [V; IN]) -> [V; OUT];
}

#[cfg(target_arch = "x86_64")]
macro_rules! side {
    ($name:ident, $in:literal, $out:literal, [$($x:ident),*], $half:ident => [$($value:expr),*]) => {
        struct $name;
        impl Side<$in, $out> for $name {
            #[inline(always)]
            unsafe fn times<T: Real, V: Masked<T>>([$($x),*]: [V; $in]) -> [V; $out] {
                // SAFETY: the trait's contract.
                unsafe {
                    let $half = V::splat(T::from_f64(0.5));
                    [$($value),*]
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
side!(Window, 4, 4, [a, b, c, d], _half => [a.sub(c), b.add(c), c.sub(b), b.sub(d)]);
#[cfg(target_arch = "x86_64")]
side!(Unwindow, 4, 4, [a, b, c, d], _half => [a, b.sub(c).add(d), b.add(c).sub(a), V::splat(T::zero()).sub(d)]);
#[cfg(target_arch = "x86_64")]
side!(Place, 2, 4, [a, b], _half => [a, a.add(b), a.sub(b), V::splat(T::zero()).sub(b)]);
#[cfg(target_arch = "x86_64")]
side!(Unplace, 4, 2, [a, b, c, d], _half => [a.add(b).add(c), b.sub(c).sub(d)]);
#[cfg(target_arch = "x86_64")]
side!(Taps, 3, 4, [a, b, c], half => [a, half.mul(a.add(c).add(b)), half.mul(a.add(c).sub(b)), c]);
#[cfg(target_arch = "x86_64")]
side!(Untaps, 4, 3, [a, b, c, d], half => [a.add(half.mul(b.add(c))), half.mul(b.sub(c)), half.mul(b.add(c)).add(d)]);

/// # Safety
/// The contract of `Real::change`.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn change<T: Real, V: Masked<T>, S: Side<IN, OUT>, const IN: usize, const OUT: usize>(c: &Change<'_, T>) {
    let [[row, col, panel], [to_row, to_col, to_panel]] = c.steps;
    let width = VECTORS * V::LANES;
    for &[from, to] in c.at {
        for channel in c.channels.clone().step_by(V::LANES) {
            let (whole, lane) = (channel / width, channel % width);
            let from = c.from.wrapping_add(from + whole * panel + lane);
            let to = c.to.wrapping_add(to + whole * to_panel + lane);
            // SAFETY: the caller's contract.
            unsafe {
                // Loops, since closures are not compiled for the instruction set.
                let zero = V::splat(T::zero());
                let mut half = [[zero; OUT]; IN];
                for (i, half) in half.iter_mut().enumerate() {
                    let mut values = [zero; IN];
                    for (j, value) in values.iter_mut().enumerate() {
                        *value = V::load(from.wrapping_add(i * row + j * col));
                    }
                    *half = S::times(values);
                }
                for j in 0..OUT {
                    let mut values = [zero; IN];
                    for (value, half) in values.iter_mut().zip(&half) {
                        *value = half[j];
                    }
                    for (i, &result) in S::times(values).iter().enumerate() {
                        let to = to.wrapping_add(i * to_row + j * to_col);
                        let value = if c.add { V::load(to).add(result) } else { result };
                        value.store(to);
                    }
                }
            }
        }
    }
}

/// The instances, behind a function compiled for the instruction set.
#[cfg(target_arch = "x86_64")]
macro_rules! changes {
    ($name:ident, $features:literal, $type:ty, $vector:ty) => {
        /// # Safety
        /// The machine has the features, and the contract of `Real::change` holds.
        #[target_feature(enable = $features)]
        pub(crate) unsafe fn $name(c: &Change<'_, $type>) {
            // SAFETY of all: the caller's contract.
            match c.matrix {
                Matrix::Window => unsafe { change::<$type, $vector, Window, 4, 4>(c) },
                Matrix::Unwindow => unsafe { change::<$type, $vector, Unwindow, 4, 4>(c) },
                Matrix::Place => unsafe { change::<$type, $vector, Place, 2, 4>(c) },
                Matrix::Unplace => unsafe { change::<$type, $vector, Unplace, 4, 2>(c) },
                Matrix::Taps => unsafe { change::<$type, $vector, Taps, 3, 4>(c) },
                Matrix::Untaps => unsafe { change::<$type, $vector, Untaps, 4, 3>(c) },
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
changes!(f32_avx512, "avx512f", f32, __m512);
#[cfg(target_arch = "x86_64")]
changes!(f64_avx512, "avx512f", f64, __m512d);
#[cfg(target_arch = "x86_64")]
changes!(f32_avx2, "avx2,fma", f32, __m256);
#[cfg(target_arch = "x86_64")]
changes!(f64_avx2, "avx2,fma", f64, __m256d);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::tile::Shape;
    use crate::{Real, Simd};

    /// Each matrix, row by row.
    const MATRICES: [(Matrix, &[&[f64]]); 6] = [
        (Matrix::Window, &[&[1., 0., -1., 0.], &[0., 1., 1., 0.], &[0., -1., 1., 0.], &[0., 1., 0., -1.]]),
        (Matrix::Unwindow, &[&[1., 0., 0., 0.], &[0., 1., -1., 1.], &[-1., 1., 1., 0.], &[0., 0., 0., -1.]]),
        (Matrix::Place, &[&[1., 0.], &[1., 1.], &[1., -1.], &[0., -1.]]),
        (Matrix::Unplace, &[&[1., 1., 1., 0.], &[0., 1., -1., -1.]]),
        (Matrix::Taps, &[&[1., 0., 0.], &[0.5, 0.5, 0.5], &[0.5, -0.5, 0.5], &[0., 0., 1.]]),
        (Matrix::Untaps, &[&[1., 0.5, 0.5, 0.], &[0., 0.5, -0.5, 0.], &[0., 0.5, 0.5, 1.]]),
    ];

    /// Two squares of two panels and a vector more of channels, in whole numbers: all sums are exact.
    #[allow(unsafe_code)]
    fn exact<T: Real>(simd: Simd) {
        let width = Shape::new::<T>(simd).cols();
        let channels = 16..2 * width + 16;
        for (matrix, rows) in MATRICES {
            for add in [false, true] {
                // From the last square on; what is written lies the other way round, in panels.
                let (size, step) = (channels.end + 3, [rows[0].len(), rows.len()]);
                let value = |at: usize| ((at * 7919) % 23) as f64 * 2.0 - 22.0;
                let from: Vec<T> = (0..2 * 16 * size).map(|at| T::from_f64(value(at))).collect();
                let (panel, point) = (width * 5, 5 * width * 5);
                let mut to = vec![T::from_f64(0.25); 2 * 16 * point];
                let change = Change {
                    matrix,
                    from: from.as_ptr(),
                    to: to.as_mut_ptr(),
                    at: &[[16 * size, width], [0, 0]],
                    steps: [[step[0] * size, size, width], [step[1] * point, point, panel]],
                    channels: channels.clone(),
                    add,
                };
                // SAFETY: squares of at most 16 such steps, with all channels, lie inside both.
                unsafe { T::change(simd, &change) };
                let mut want = vec![0.25; to.len()];
                for (square, start) in [(16 * size, width), (0, 0)] {
                    for channel in channels.clone() {
                        for (i, a) in rows.iter().enumerate() {
                            for (j, b) in rows.iter().enumerate() {
                                let mut sum = 0.0;
                                for (k, x) in a.iter().enumerate() {
                                    for (l, y) in b.iter().enumerate() {
                                        sum += x * y * value(square + (k * step[0] + l) * size + channel);
                                    }
                                }
                                let at = start + (i * step[1] + j) * point + channel / width * panel + channel % width;
                                want[at] = sum + if add { want[at] } else { 0.0 };
                            }
                        }
                    }
                }
                assert!(to.iter().zip(&want).all(|(&to, want)| to.to_f64() == *want), "{matrix:?} {simd} {add}");
            }
        }
    }

    #[test]
    fn both_sides_are_multiplied() {
        for simd in Simd::available().into_iter().filter(|&simd| simd != Simd::portable()) {
            exact::<f32>(simd);
            exact::<f64>(simd);
        }
    }
}
