//! The two scalar types programs run in.

use std::any::TypeId;
use std::fmt::{Debug, Display};
use std::ops::{AddAssign, MulAssign, Range};

use num_traits::Float;

#[cfg(target_arch = "x86_64")]
use crate::cpu::change;
use crate::cpu::rows::{
    combine,
    combine::Combine,
    gram,
    gram::{BLOCK, Gram, PAIRS},
};
#[cfg(target_arch = "x86_64")]
use crate::cpu::vector::x86;
use crate::cpu::{ARGS, Change, LANES, Lanes, Level, Op, Tile, join, machine, tile};
use crate::{Cpu, Out, Program, Scalar, Scalar2, Simd, Size, math};

/// `f32` or `f64`: what buffers hold.
pub trait Real:
    Float + math::Elementary + AddAssign + MulAssign + Default + Debug + Display + Send + Sync + 'static
{
    /// The type's name as users write it.
    const NAME: &'static str;
    /// What is moderate is below it, 2⁶³ in f32 and 2⁵¹¹ in f64: its square is a quarter of the type's range.
    const MODERATE: f64;
    /// What leaves the type's numbers exactly if what it is multiplied by is not below [`MODERATE`](Real::MODERATE).
    #[doc(hidden)]
    const MODERATION: f64;
    /// Rounds an `f64` once.
    fn from_f64(value: f64) -> Self;
    /// Its value in `f64`, exactly. (Of a reference `&T` write `(*x).to_f64()`: `x.to_f64()` is then num-traits' method.)
    fn to_f64(self) -> f64;
    /// Picks the instance of an elementwise function for this type.
    fn apply(scalar: &Scalar, simd: Simd, values: &mut [Self]);
    /// The same for a function of two arguments.
    fn apply2(scalar: &Scalar2, simd: Simd, values: &mut [Self], others: &[Self]);
    /// These values, if they are of type `O`.
    #[doc(hidden)]
    fn same<O: Real>(values: &[Self]) -> Option<&[O]>;
    /// `Cpu::with`, and `Cpu::run` by its threads: compiled once in this crate, for each type, rather than in all that use them.
    #[doc(hidden)]
    fn prepare(program: Program, threads: usize, simd: Simd) -> Cpu<Self>;
    #[doc(hidden)]
    fn run(cpu: &mut Cpu<Self>, inputs: &[&[Self]], outputs: &mut [Out<'_, Self>], look: bool) -> Size;
    /// Computes a tile of a matrix product.
    ///
    /// # Safety
    /// Every element that the tile's rows, vectors and offsets address is inside its allocation; rows of `c` are apart from `a` and
    /// `b`. There are no more rows, vectors and lanes than `Shape` says, and an offset for each inner index where one operand is in
    /// place; if the set is portable, none is, and rows of `c` are evenly spaced.
    #[doc(hidden)]
    #[allow(unsafe_code)]
    unsafe fn tile(simd: Simd, tile: &Tile<'_, Self>);
    /// Transforms squares; never asked of the portable set.
    ///
    /// # Safety
    /// Every vector that the squares' offsets and steps address is inside its allocation; what is written is apart from what is read.
    #[doc(hidden)]
    #[allow(unsafe_code)]
    unsafe fn change(simd: Simd, change: &Change<'_, Self>);
    /// Runs the instructions of a body over a range of lanes.
    ///
    /// # Safety
    /// The range is of whole steps of 16 lanes, and begins at 0 or is of a single one. All arguments that instructions name hold as many
    /// elements as it ends at (one step if they are all the same, 128 if tiles keep them), to be written if they are stored to.
    #[doc(hidden)]
    #[allow(unsafe_code)]
    unsafe fn steps(simd: Simd, ops: &[Op], args: &[Lanes<Self>; ARGS], lanes: Range<usize>);
    /// Adds values to sums in f64 by their place among the lanes, a few of each in their own type first.
    #[doc(hidden)]
    fn add_up(simd: Simd, values: &[Self], totals: &mut [f64; LANES]);
    /// Adds inner products of rows.
    ///
    /// # Safety
    /// All rows have the columns; with the differences, for each of which there is a block, there are no more of them than `PAIRS` is for.
    #[doc(hidden)]
    #[allow(unsafe_code)]
    unsafe fn gram(
        simd: Simd,
        of: &Gram<'_, Self>,
        columns: Range<usize>,
        made: &mut [[Self; BLOCK]],
        products: &mut [f64; PAIRS],
    );
    /// Replaces columns of rows by combinations of them.
    ///
    /// # Safety
    /// All rows have the columns, which nobody else uses; there are from 1 to `MOST_ROWS`, and not fewer than of the matrix.
    #[doc(hidden)]
    #[allow(unsafe_code)]
    unsafe fn combine(simd: Simd, of: &Combine<'_, Self>, columns: Range<usize>);
    /// Whether products of all values with a factor are finite.
    #[doc(hidden)]
    fn finite(simd: Simd, values: &[Self], by: Self) -> bool;
    /// Rows and columns of the squares that `turn` takes.
    #[doc(hidden)]
    const SQUARE: usize;
    /// Writes a square of elements, given by rows, to columns: row `i` goes to `to[i]`, `to[i + step]`, …
    #[doc(hidden)]
    fn turn<'d>(simd: Simd, rows: impl Fn(usize) -> &'d [Self], to: &mut [Self], step: usize);
    /// Every other element.
    #[doc(hidden)]
    fn evens(simd: Simd, from: &[Self; 32], to: &mut [Self; 16]);
    /// Elements from where a table says they lie, as many as both it and `to` have.
    #[doc(hidden)]
    fn listed(simd: Simd, from: &[Self], table: &[u32], to: &mut [Self]);
    /// Adds values to elements which a table says where they lie, each another.
    #[doc(hidden)]
    fn add_listed(simd: Simd, values: &[Self], table: &[u32], to: &mut [Self]);
}

/// Calls the instance of a function for a set.
macro_rules! by_set {
    ($simd:ident, $module:ident::[$portable:ident, $avx2:ident, $avx512:ident] $args:tt) => {
        // SAFETY of all: such a `Simd` exists only where the features do; the rest is the caller's contract.
        match $simd.level() {
            Level::Portable => unsafe { $module::$portable $args },
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { $module::$avx2 $args },
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { $module::$avx512 $args },
        }
    };
}

macro_rules! real {
    ($type:ident, $moderate:expr, $gemm:path, $portable:ident, $avx2:ident, $avx512:ident, $finite:ident, $finite2:ident,
     $finite512:ident, $square:literal, $turn:ident, $evens2:ident, $evens512:ident,
     $listed:ident, $add_listed:ident) => {
        impl Real for $type {
            const NAME: &'static str = stringify!($type);
            const MODERATE: f64 = $moderate;
            const MODERATION: f64 = 4.0 * $moderate;
            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as $type
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
            fn apply(scalar: &Scalar, simd: Simd, values: &mut [Self]) {
                (scalar.$type)(simd, values)
            }
            fn apply2(scalar: &Scalar2, simd: Simd, values: &mut [Self], others: &[Self]) {
                (scalar.$type)(simd, values, others)
            }
            #[inline(always)]
            fn same<O: Real>(values: &[Self]) -> Option<&[O]> {
                // SAFETY: the types are the same.
                #[allow(unsafe_code)]
                let cast = || unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<O>(), values.len()) };
                (TypeId::of::<O>() == TypeId::of::<$type>()).then(cast)
            }
            fn prepare(program: Program, threads: usize, simd: Simd) -> Cpu<Self> {
                Cpu::prepared(program, threads, simd)
            }
            fn run(cpu: &mut Cpu<Self>, inputs: &[&[Self]], outputs: &mut [Out<'_, Self>], look: bool) -> Size {
                cpu.run_all(inputs, outputs, look)
            }
            #[inline]
            #[allow(unsafe_code)]
            unsafe fn tile(simd: Simd, t: &Tile<'_, Self>) {
                match simd.level() {
                    Level::Portable => {
                        let (a, b, c) = (t.rows[0], t.b[0], t.c[0].wrapping_add(t.columns[0]));
                        let down =
                            t.c.get(1).map_or(1, |row| (*row as isize - t.c[0] as isize) / size_of::<Self>() as isize);
                        let [step_a, step_b] = tile::Shape::new::<Self>(simd).panels().map(|step| step as isize);
                        let beta = if t.add { 1.0 } else { 0.0 };
                        let (m, k, n) = (t.rows.len(), t.len, t.lanes[0]);
                        // SAFETY: the caller's contract is matrixmultiply's.
                        unsafe { $gemm(m, k, n, t.scale, a, 1, step_a, b, step_b, 1, beta, c, down, 1) }
                    }
                    // SAFETY: such a `Simd` exists only where the features do; the rest is the caller's contract.
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 => unsafe { tile::$avx2(t) },
                    // SAFETY: as above.
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx512 => unsafe { tile::$avx512(t) },
                }
            }
            #[inline]
            #[allow(unsafe_code)]
            unsafe fn change(simd: Simd, c: &Change<'_, Self>) {
                match simd.level() {
                    Level::Portable => debug_assert!(false, "{c:?}"),
                    // SAFETY: such a `Simd` exists only where the features do; the rest is the caller's contract.
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 => unsafe { change::$avx2(c) },
                    // SAFETY: as above.
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx512 => unsafe { change::$avx512(c) },
                }
            }
            #[inline]
            #[allow(unsafe_code)]
            unsafe fn steps(simd: Simd, ops: &[Op], args: &[Lanes<Self>; ARGS], lanes: Range<usize>) {
                by_set!(simd, machine::[$portable, $avx2, $avx512](ops, args, lanes))
            }
            #[inline]
            #[allow(unsafe_code)]
            unsafe fn gram(
                simd: Simd,
                of: &Gram<'_, Self>,
                columns: Range<usize>,
                made: &mut [[Self; BLOCK]],
                products: &mut [f64; PAIRS],
            ) {
                by_set!(simd, gram::[$portable, $avx2, $avx512](of, columns, made, products))
            }
            #[inline]
            #[allow(unsafe_code)]
            unsafe fn combine(simd: Simd, of: &Combine<'_, Self>, columns: Range<usize>) {
                by_set!(simd, combine::[$portable, $avx2, $avx512](of, columns))
            }
            #[inline]
            #[allow(unsafe_code)]
            fn add_up(simd: Simd, values: &[Self], totals: &mut [f64; LANES]) {
                by_set!(simd, join::[$portable, $avx2, $avx512](values, totals))
            }
            #[inline]
            #[allow(unsafe_code)]
            fn finite(simd: Simd, values: &[Self], by: Self) -> bool {
                by_set!(simd, join::[$finite, $finite2, $finite512](values, by))
            }
            #[inline(always)]
            fn evens(simd: Simd, from: &[Self; 32], to: &mut [Self; 16]) {
                match simd.level() {
                    Level::Portable => to.iter_mut().zip(from.iter().step_by(2)).for_each(|(to, &v)| *to = v),
                    // SAFETY: such a `Simd` exists only where the features do.
                    #[cfg(target_arch = "x86_64")]
                    #[allow(unsafe_code)]
                    Level::Avx2 => unsafe { x86::$evens2(from, to) },
                    // SAFETY: as above.
                    #[cfg(target_arch = "x86_64")]
                    #[allow(unsafe_code)]
                    Level::Avx512 => unsafe { x86::$evens512(from, to) },
                }
            }
            #[inline(always)]
            fn listed(simd: Simd, from: &[Self], table: &[u32], to: &mut [Self]) {
                #[cfg(target_arch = "x86_64")]
                if simd.level() == Level::Avx512 {
                    // SAFETY: such a `Simd` exists only where the features do.
                    #[allow(unsafe_code)]
                    return unsafe { x86::$listed(from, table, to) };
                }
                for (to, &at) in to.iter_mut().zip(table) {
                    *to = from[at as usize];
                }
            }
            #[inline(always)]
            fn add_listed(simd: Simd, values: &[Self], table: &[u32], to: &mut [Self]) {
                #[cfg(target_arch = "x86_64")]
                if simd.level() == Level::Avx512 {
                    // SAFETY: as above.
                    #[allow(unsafe_code)]
                    return unsafe { x86::$add_listed(values, table, to) };
                }
                for (&v, &at) in values.iter().zip(table) {
                    to[at as usize] += v;
                }
            }
            const SQUARE: usize = $square;
            #[inline(always)]
            fn turn<'d>(simd: Simd, rows: impl Fn(usize) -> &'d [Self], to: &mut [Self], step: usize) {
                let to = &mut to[..($square - 1) * step + $square];
                #[cfg(target_arch = "x86_64")]
                if simd.level() != Level::Portable {
                    let rows: [*const Self; $square] = std::array::from_fn(|i| rows(i)[..$square].as_ptr());
                    // SAFETY: such a `Simd` exists only where the features do; rows and columns were sliced to their lengths.
                    #[allow(unsafe_code)]
                    return unsafe { x86::$turn(rows, to.as_mut_ptr(), step) };
                }
                for i in 0..$square {
                    rows(i)[..$square].iter().zip(to[i..].iter_mut().step_by(step)).for_each(|(&v, to)| *to = v);
                }
            }
        }
    };
}

real!(
    f32,
    f64::from_bits((1023 + 63) << 52),
    matrixmultiply::sgemm,
    f32_portable,
    f32_avx2,
    f32_avx512,
    f32_finite_portable,
    f32_finite_avx2,
    f32_finite_avx512,
    8,
    f32_turn,
    f32_evens_avx2,
    f32_evens_avx512,
    f32_listed,
    f32_add_listed
);
real!(
    f64,
    f64::from_bits((1023 + 511) << 52),
    matrixmultiply::dgemm,
    f64_portable,
    f64_avx2,
    f64_avx512,
    f64_finite_portable,
    f64_finite_avx2,
    f64_finite_avx512,
    4,
    f64_turn,
    f64_evens_avx2,
    f64_evens_avx512,
    f64_listed,
    f64_add_listed
);
