//! Those of x86-64, and what they are shuffled for.

// Registers and raw pointers all through; what makes them sound is each function's contract.
#![allow(unsafe_code)]

use std::arch::x86_64::*;
use std::array::from_fn;

use super::{Masked, Vector};

/// Instructions of a type and a width, by what they do.
macro_rules! vector {
    (
        $type:ty, $vector:ty, $lanes:literal, $mask:ty, $test:ty,
        splat $splat:ident, load $load:ident, store $store:ident, add $add:ident, sub $sub:ident, mul $mul:ident, div $div:ident, sqrt $sqrt:ident,
        mul_add $mul_add:ident, abs $abs:ident, compare $compare:ident, pick $pick:ident,
        mask $first:ident, load_some $load_some:ident, store_some $store_some:ident
    ) => {
        impl Vector<$type> for $vector {
            const LANES: usize = $lanes;
            type Test = $test;
            // SAFETY of all: the trait's contract.
            #[inline(always)]
            unsafe fn splat(value: $type) -> Self {
                unsafe { $splat(value) }
            }
            #[inline(always)]
            unsafe fn load(from: *const $type) -> Self {
                unsafe { $load(from) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $type) {
                unsafe { $store(to, self) }
            }
            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                unsafe { $add(self, other) }
            }
            #[inline(always)]
            unsafe fn mul(self, other: Self) -> Self {
                unsafe { $mul(self, other) }
            }
            #[inline(always)]
            unsafe fn div(self, other: Self) -> Self {
                unsafe { $div(self, other) }
            }
            #[inline(always)]
            unsafe fn sqrt(self) -> Self {
                unsafe { $sqrt(self) }
            }
            #[inline(always)]
            unsafe fn mul_add(self, x: Self, y: Self) -> Self {
                unsafe { $mul_add(self, x, y) }
            }
            #[inline(always)]
            unsafe fn abs(self) -> Self {
                unsafe { $abs(self) }
            }
            #[inline(always)]
            unsafe fn less(self, other: Self) -> $test {
                unsafe { $compare::<_CMP_LT_OQ>(self, other) }
            }
            #[inline(always)]
            unsafe fn less_equal(self, other: Self) -> $test {
                unsafe { $compare::<_CMP_LE_OQ>(self, other) }
            }
            #[inline(always)]
            unsafe fn equal(self, other: Self) -> $test {
                unsafe { $compare::<_CMP_EQ_OQ>(self, other) }
            }
            #[inline(always)]
            unsafe fn pick(test: $test, a: Self, b: Self) -> Self {
                unsafe { $pick(test, a, b) }
            }
        }

        impl Masked<$type> for $vector {
            type Mask = $mask;
            // SAFETY of all: the trait's contract.
            #[inline(always)]
            unsafe fn mask(lanes: usize) -> $mask {
                unsafe { $first(lanes) }
            }
            #[inline(always)]
            unsafe fn load_some(from: *const $type, mask: $mask) -> Self {
                unsafe { $load_some(from, mask) }
            }
            #[inline(always)]
            unsafe fn store_some(self, to: *mut $type, mask: $mask) {
                unsafe { $store_some(to, mask, self) }
            }
            #[inline(always)]
            unsafe fn sub(self, other: Self) -> Self {
                unsafe { $sub(self, other) }
            }
        }
    };
}

vector!(
    f32, __m512, 16, __mmask16, __mmask16,
    splat _mm512_set1_ps, load _mm512_loadu_ps, store _mm512_storeu_ps, add _mm512_add_ps, sub _mm512_sub_ps, mul _mm512_mul_ps, div _mm512_div_ps, sqrt _mm512_sqrt_ps,
    mul_add _mm512_fmadd_ps, abs _mm512_abs_ps, compare _mm512_cmp_ps_mask, pick f32_pick_avx512,
    mask f32_mask_avx512, load_some f32_load_avx512, store_some _mm512_mask_storeu_ps
);
vector!(
    f64, __m512d, 8, __mmask8, __mmask8,
    splat _mm512_set1_pd, load _mm512_loadu_pd, store _mm512_storeu_pd, add _mm512_add_pd, sub _mm512_sub_pd, mul _mm512_mul_pd, div _mm512_div_pd, sqrt _mm512_sqrt_pd,
    mul_add _mm512_fmadd_pd, abs _mm512_abs_pd, compare _mm512_cmp_pd_mask, pick f64_pick_avx512,
    mask f64_mask_avx512, load_some f64_load_avx512, store_some _mm512_mask_storeu_pd
);
vector!(
    f32, __m256, 8, __m256i, __m256,
    splat _mm256_set1_ps, load _mm256_loadu_ps, store _mm256_storeu_ps, add _mm256_add_ps, sub _mm256_sub_ps, mul _mm256_mul_ps, div _mm256_div_ps, sqrt _mm256_sqrt_ps,
    mul_add _mm256_fmadd_ps, abs f32_abs_avx2, compare _mm256_cmp_ps, pick f32_pick_avx2,
    mask f32_mask_avx2, load_some _mm256_maskload_ps, store_some _mm256_maskstore_ps
);
vector!(
    f64, __m256d, 4, __m256i, __m256d,
    splat _mm256_set1_pd, load _mm256_loadu_pd, store _mm256_storeu_pd, add _mm256_add_pd, sub _mm256_sub_pd, mul _mm256_mul_pd, div _mm256_div_pd, sqrt _mm256_sqrt_pd,
    mul_add _mm256_fmadd_pd, abs f64_abs_avx2, compare _mm256_cmp_pd, pick f64_pick_avx2,
    mask f64_mask_avx2, load_some _mm256_maskload_pd, store_some _mm256_maskstore_pd
);

#[inline]
#[target_feature(enable = "avx512f")]
fn f32_pick_avx512(test: __mmask16, a: __m512, b: __m512) -> __m512 {
    _mm512_mask_blend_ps(test, b, a)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn f64_pick_avx512(test: __mmask8, a: __m512d, b: __m512d) -> __m512d {
    _mm512_mask_blend_pd(test, b, a)
}

#[inline]
#[target_feature(enable = "avx2")]
fn f32_pick_avx2(test: __m256, a: __m256, b: __m256) -> __m256 {
    _mm256_blendv_ps(b, a, test)
}

/// Without the bit of the sign.
#[inline]
#[target_feature(enable = "avx2")]
fn f32_abs_avx2(x: __m256) -> __m256 {
    _mm256_andnot_ps(_mm256_set1_ps(-0.0), x)
}

#[inline]
#[target_feature(enable = "avx2")]
fn f64_pick_avx2(test: __m256d, a: __m256d, b: __m256d) -> __m256d {
    _mm256_blendv_pd(b, a, test)
}

/// Without the bit of the sign.
#[inline]
#[target_feature(enable = "avx2")]
fn f64_abs_avx2(x: __m256d) -> __m256d {
    _mm256_andnot_pd(_mm256_set1_pd(-0.0), x)
}

/// Arguments in the order of the narrower sets.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn f32_load_avx512(from: *const f32, mask: __mmask16) -> __m512 {
    // SAFETY: the trait's contract.
    unsafe { _mm512_maskz_loadu_ps(mask, from) }
}

/// Arguments in the order of the narrower sets.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn f64_load_avx512(from: *const f64, mask: __mmask8) -> __m512d {
    // SAFETY: the trait's contract.
    unsafe { _mm512_maskz_loadu_pd(mask, from) }
}

/// The first lanes.
#[inline]
#[target_feature(enable = "avx512f")]
fn f32_mask_avx512(lanes: usize) -> __mmask16 {
    ((1u32 << lanes) - 1) as __mmask16
}

/// The first lanes.
#[inline]
#[target_feature(enable = "avx512f")]
fn f64_mask_avx512(lanes: usize) -> __mmask8 {
    ((1u32 << lanes) - 1) as __mmask8
}

/// All bits of the first lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn f32_mask_avx2(lanes: usize) -> __m256i {
    _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
}

/// All bits of the first lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn f64_mask_avx2(lanes: usize) -> __m256i {
    _mm256_cmpgt_epi64(_mm256_set1_epi64x(lanes as i64), _mm256_setr_epi64x(0, 1, 2, 3))
}

/// Eight rows of eight elements to columns.
///
/// # Safety
/// The machine has AVX2; rows hold 8 elements, and `to` 8 at every one of 8 steps.
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn f32_turn(rows: [*const f32; 8], to: *mut f32, step: usize) {
    // SAFETY: the caller's contract.
    let r: [__m256; 8] = from_fn(|i| unsafe { _mm256_loadu_ps(rows[i]) });
    // Pairs of rows, then fours, then halves.
    let pairs = from_fn::<_, 4, _>(|i| {
        let (x, y) = (r[2 * i], r[2 * i + 1]);
        [_mm256_unpacklo_ps(x, y), _mm256_unpackhi_ps(x, y)]
    });
    let fours = from_fn::<_, 2, _>(|i| {
        let ([a, b], [c, d]) = (pairs[2 * i], pairs[2 * i + 1]);
        let low = |x, y| _mm256_shuffle_ps::<0x44>(x, y);
        let high = |x, y| _mm256_shuffle_ps::<0xee>(x, y);
        [low(a, c), high(a, c), low(b, d), high(b, d)]
    });
    for (i, (x, y)) in fours[0].into_iter().zip(fours[1]).enumerate() {
        // SAFETY: the caller's contract.
        unsafe {
            _mm256_storeu_ps(to.add(i * step), _mm256_permute2f128_ps::<0x20>(x, y));
            _mm256_storeu_ps(to.add((i + 4) * step), _mm256_permute2f128_ps::<0x31>(x, y));
        }
    }
}

/// Four rows of four elements to columns.
///
/// # Safety
/// The machine has AVX2; rows hold 4 elements, and `to` 4 at every one of 4 steps.
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn f64_turn(rows: [*const f64; 4], to: *mut f64, step: usize) {
    // SAFETY: the caller's contract.
    let r: [__m256d; 4] = from_fn(|i| unsafe { _mm256_loadu_pd(rows[i]) });
    let pairs = from_fn::<_, 2, _>(|i| {
        let (x, y) = (r[2 * i], r[2 * i + 1]);
        [_mm256_unpacklo_pd(x, y), _mm256_unpackhi_pd(x, y)]
    });
    for (i, (x, y)) in pairs[0].into_iter().zip(pairs[1]).enumerate() {
        // SAFETY: the caller's contract.
        unsafe {
            _mm256_storeu_pd(to.add(i * step), _mm256_permute2f128_pd::<0x20>(x, y));
            _mm256_storeu_pd(to.add((i + 2) * step), _mm256_permute2f128_pd::<0x31>(x, y));
        }
    }
}

/// Every other element of 32.
#[target_feature(enable = "avx512f")]
pub(crate) fn f32_evens_avx512(from: &[f32; 32], to: &mut [f32; 16]) {
    let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    // SAFETY: the arrays have these lengths.
    unsafe {
        let (a, b) = (_mm512_loadu_ps(from.as_ptr()), _mm512_loadu_ps(from.as_ptr().add(16)));
        _mm512_storeu_ps(to.as_mut_ptr(), _mm512_permutex2var_ps(a, even, b));
    }
}

/// Every other element of 32.
#[target_feature(enable = "avx2")]
pub(crate) fn f32_evens_avx2(from: &[f32; 32], to: &mut [f32; 16]) {
    for half in 0..2 {
        // SAFETY: the arrays have these lengths.
        unsafe {
            let at = from.as_ptr().add(16 * half);
            let (a, b) = (_mm256_loadu_ps(at), _mm256_loadu_ps(at.add(8)));
            let mixed = _mm256_castps_pd(_mm256_shuffle_ps::<0x88>(a, b));
            let even = _mm256_castpd_ps(_mm256_permute4x64_pd::<0xd8>(mixed));
            _mm256_storeu_ps(to.as_mut_ptr().add(8 * half), even);
        }
    }
}

/// Every other element of 32.
#[target_feature(enable = "avx512f")]
pub(crate) fn f64_evens_avx512(from: &[f64; 32], to: &mut [f64; 16]) {
    let even = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
    for half in 0..2 {
        // SAFETY: the arrays have these lengths.
        unsafe {
            let at = from.as_ptr().add(16 * half);
            let (a, b) = (_mm512_loadu_pd(at), _mm512_loadu_pd(at.add(8)));
            _mm512_storeu_pd(to.as_mut_ptr().add(8 * half), _mm512_permutex2var_pd(a, even, b));
        }
    }
}

/// Every other element of 32.
#[target_feature(enable = "avx2")]
pub(crate) fn f64_evens_avx2(from: &[f64; 32], to: &mut [f64; 16]) {
    for quarter in 0..4 {
        // SAFETY: the arrays have these lengths.
        unsafe {
            let at = from.as_ptr().add(8 * quarter);
            let (a, b) = (_mm256_loadu_pd(at), _mm256_loadu_pd(at.add(4)));
            let even = _mm256_permute4x64_pd::<0xd8>(_mm256_shuffle_pd::<0>(a, b));
            _mm256_storeu_pd(to.as_mut_ptr().add(4 * quarter), even);
        }
    }
}

macro_rules! listed {
    (
        $gather:ident, $add:ident, $type:ty, $lanes:literal, $mask:ty, $load:ident, $below:ident, $splat:ident, $get:ident,
        $put:ident, $plus:ident, $write:ident, $zero:ident
    ) => {
        /// Elements from where a table says they lie, as many as both it and `to` have; panics as indexing does.
        #[target_feature(enable = "avx512f,avx512vl")]
        pub(crate) fn $gather(from: &[$type], table: &[u32], to: &mut [$type]) {
            let end = $splat(from.len().min(i32::MAX as usize) as i32);
            let len = table.len().min(to.len());
            for at in (0..len).step_by($lanes) {
                let some = ((1u32 << (len - at).min($lanes)) - 1) as $mask;
                // SAFETY: masked lanes are within both slices, and their offsets, once compared, within `from`.
                unsafe {
                    let index = $load(some, table.as_ptr().add(at).cast());
                    assert!($below(some, index, end) == some, "an offset beyond {} elements", from.len());
                    let values = $get::<{ size_of::<$type>() as i32 }>($zero(), some, index, from.as_ptr().cast());
                    $write(to.as_mut_ptr().add(at), some, values);
                }
            }
        }

        /// Adds values to elements which a table says where they lie, each another; panics as indexing does.
        #[target_feature(enable = "avx512f,avx512vl")]
        pub(crate) fn $add(values: &[$type], table: &[u32], to: &mut [$type]) {
            let end = $splat(to.len().min(i32::MAX as usize) as i32);
            let len = table.len().min(values.len());
            for at in (0..len).step_by($lanes) {
                let some = ((1u32 << (len - at).min($lanes)) - 1) as $mask;
                // SAFETY: as above, of `to`.
                unsafe {
                    let index = $load(some, table.as_ptr().add(at).cast());
                    assert!($below(some, index, end) == some, "an offset beyond {} elements", to.len());
                    let old = $get::<{ size_of::<$type>() as i32 }>($zero(), some, index, to.as_ptr().cast());
                    let new = $plus(some, old, values.as_ptr().add(at));
                    $put::<{ size_of::<$type>() as i32 }>(to.as_mut_ptr().cast(), some, index, new);
                }
            }
        }
    };
}

#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn plus_ps(some: __mmask16, old: __m512, values: *const f32) -> __m512 {
    // SAFETY: the caller's: as many elements as the mask takes.
    _mm512_add_ps(old, unsafe { _mm512_maskz_loadu_ps(some, values) })
}

#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn plus_pd(some: __mmask8, old: __m512d, values: *const f64) -> __m512d {
    // SAFETY: as above.
    _mm512_add_pd(old, unsafe { _mm512_maskz_loadu_pd(some, values) })
}

listed!(
    f32_listed,
    f32_add_listed,
    f32,
    16,
    __mmask16,
    _mm512_maskz_loadu_epi32,
    _mm512_mask_cmplt_epu32_mask,
    _mm512_set1_epi32,
    _mm512_mask_i32gather_ps,
    _mm512_mask_i32scatter_ps,
    plus_ps,
    _mm512_mask_storeu_ps,
    _mm512_setzero_ps
);
listed!(
    f64_listed,
    f64_add_listed,
    f64,
    8,
    __mmask8,
    _mm256_maskz_loadu_epi32,
    _mm256_mask_cmplt_epu32_mask,
    _mm256_set1_epi32,
    _mm512_mask_i32gather_pd,
    _mm512_mask_i32scatter_pd,
    plus_pd,
    _mm512_mask_storeu_pd,
    _mm512_setzero_pd
);
