//! x86-64: bytes by VNNI or by products of 16 bits, bfloat16 by AVX512-BF16.

use std::arch::x86_64::*;

use super::Dot;
use crate::simd::{Avx2, Avx512};

/// Bytes by AVX512-VNNI.
pub(in super::super) struct Vnni512;
/// Bytes by AVX-VNNI.
pub(in super::super) struct Vnni256;
/// Bytes as products of 16 bits, for AVX-512BW without VNNI: two sums a column, which meet when they are stored.
pub(in super::super) struct Wide512;
/// The same for AVX2.
pub(in super::super) struct Wide256;
/// bfloat16 by AVX512-BF16. Each product is added with one rounding, the second of a pair first; what is too small for
/// a normal number counts as 0.
pub(crate) struct Bfloats512;

// SAFETY of the bodies below: the trait's promise.
#[rustfmt::skip]
#[expect(clippy::undocumented_unsafe_blocks, reason = "the bodies share the line above")]
impl Dot for Vnni512 {
    type Sum = __m512i;
    type Row = __m512i;
    type Word = __m512i;
    type Simd = Avx512;
    const TILE: (usize, usize) = (9, 3);
    const STEP: usize = 16;

    #[inline(always)] unsafe fn zero() -> __m512i { unsafe { _mm512_setzero_si512() } }
    #[inline(always)] unsafe fn load(from: *const f32) -> __m512i { unsafe { _mm512_loadu_si512(from.cast()) } }
    #[inline(always)] unsafe fn store(to: *mut f32, sum: __m512i) { unsafe { _mm512_storeu_si512(to.cast(), sum) } }
    #[inline(always)] unsafe fn row(from: *const f32) -> __m512i { unsafe { Self::load(from) } }
    #[inline(always)] unsafe fn word(from: *const f32) -> __m512i {
        unsafe { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)] unsafe fn add(sum: __m512i, word: __m512i, row: __m512i) -> __m512i {
        unsafe { _mm512_dpbusd_epi32(sum, word, row) }
    }
}

#[rustfmt::skip]
#[expect(clippy::undocumented_unsafe_blocks, reason = "the bodies share the line above")]
impl Dot for Vnni256 {
    type Sum = __m256i;
    type Row = __m256i;
    type Word = __m256i;
    type Simd = Avx2;
    const TILE: (usize, usize) = (6, 2);
    const STEP: usize = 8;

    #[inline(always)] unsafe fn zero() -> __m256i { unsafe { _mm256_setzero_si256() } }
    #[inline(always)] unsafe fn load(from: *const f32) -> __m256i { unsafe { _mm256_loadu_si256(from.cast()) } }
    #[inline(always)] unsafe fn store(to: *mut f32, sum: __m256i) { unsafe { _mm256_storeu_si256(to.cast(), sum) } }
    #[inline(always)] unsafe fn row(from: *const f32) -> __m256i { unsafe { Self::load(from) } }
    #[inline(always)] unsafe fn word(from: *const f32) -> __m256i {
        unsafe { _mm256_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)] unsafe fn add(sum: __m256i, word: __m256i, row: __m256i) -> __m256i {
        unsafe { _mm256_dpbusd_avx_epi32(sum, word, row) }
    }
}

#[rustfmt::skip]
#[expect(clippy::undocumented_unsafe_blocks, reason = "the bodies share the line above")]
impl Dot for Wide512 {
    type Sum = [__m512i; 2];
    type Row = [__m512i; 2];
    type Word = __m512i;
    type Simd = Avx512;
    const TILE: (usize, usize) = (3, 3);
    const STEP: usize = 16;

    #[inline(always)] unsafe fn zero() -> [__m512i; 2] { unsafe { [_mm512_setzero_si512(); 2] } }
    #[inline(always)] unsafe fn load(from: *const f32) -> [__m512i; 2] {
        unsafe {
            let half = |at: usize| _mm512_cvtepu32_epi64(_mm256_loadu_si256(from.add(at).cast()));
            [half(0), half(8)]
        }
    }
    #[inline(always)] unsafe fn store(to: *mut f32, sum: [__m512i; 2]) {
        unsafe {
            for (i, sum) in sum.into_iter().enumerate() {
                let both = _mm512_add_epi32(sum, _mm512_srli_epi64::<32>(sum));
                _mm256_storeu_si256(to.add(8 * i).cast(), _mm512_cvtepi64_epi32(both));
            }
        }
    }
    #[inline(always)] unsafe fn row(from: *const f32) -> [__m512i; 2] {
        unsafe {
            let half = |at: usize| _mm512_cvtepi8_epi16(_mm256_loadu_si256(from.add(at).cast()));
            [half(0), half(8)]
        }
    }
    #[inline(always)] unsafe fn word(from: *const f32) -> __m512i {
        unsafe {
            let four = _mm_cvtepu8_epi16(_mm_cvtsi32_si128(from.cast::<i32>().read_unaligned()));
            _mm512_broadcastq_epi64(four)
        }
    }
    #[inline(always)] unsafe fn add(sum: [__m512i; 2], word: __m512i, row: [__m512i; 2]) -> [__m512i; 2] {
        unsafe {
            let add = |i: usize| _mm512_add_epi32(sum[i], _mm512_madd_epi16(word, row[i]));
            [add(0), add(1)]
        }
    }
}

#[rustfmt::skip]
#[expect(clippy::undocumented_unsafe_blocks, reason = "the bodies share the line above")]
impl Dot for Wide256 {
    type Sum = [__m256i; 2];
    type Row = [__m256i; 2];
    type Word = __m256i;
    type Simd = Avx2;
    const TILE: (usize, usize) = (2, 2);
    const STEP: usize = 8;

    #[inline(always)] unsafe fn zero() -> [__m256i; 2] { unsafe { [_mm256_setzero_si256(); 2] } }
    #[inline(always)] unsafe fn load(from: *const f32) -> [__m256i; 2] {
        unsafe {
            let half = |at: usize| _mm256_cvtepu32_epi64(_mm_loadu_si128(from.add(at).cast()));
            [half(0), half(4)]
        }
    }
    #[inline(always)] unsafe fn store(to: *mut f32, sum: [__m256i; 2]) {
        unsafe {
            // Pairs by quarters: columns 0, 1, 4, 5, 2, 3, 6, 7.
            let mixed = _mm256_hadd_epi32(sum[0], sum[1]);
            _mm256_storeu_si256(to.cast(), _mm256_permute4x64_epi64::<0b11_01_10_00>(mixed));
        }
    }
    #[inline(always)] unsafe fn row(from: *const f32) -> [__m256i; 2] {
        unsafe {
            let half = |at: usize| _mm256_cvtepi8_epi16(_mm_loadu_si128(from.add(at).cast()));
            [half(0), half(4)]
        }
    }
    #[inline(always)] unsafe fn word(from: *const f32) -> __m256i {
        unsafe {
            let four = _mm_cvtepu8_epi16(_mm_cvtsi32_si128(from.cast::<i32>().read_unaligned()));
            _mm256_broadcastq_epi64(four)
        }
    }
    #[inline(always)] unsafe fn add(sum: [__m256i; 2], word: __m256i, row: [__m256i; 2]) -> [__m256i; 2] {
        unsafe {
            let add = |i: usize| _mm256_add_epi32(sum[i], _mm256_madd_epi16(word, row[i]));
            [add(0), add(1)]
        }
    }
}

#[rustfmt::skip]
#[expect(clippy::undocumented_unsafe_blocks, reason = "the bodies share the line above")]
impl Dot for Bfloats512 {
    type Sum = __m512;
    type Row = __m512bh;
    type Word = __m512bh;
    type Simd = Avx512;
    const TILE: (usize, usize) = (9, 3);
    const STEP: usize = 16;

    #[inline(always)] unsafe fn zero() -> __m512 { unsafe { _mm512_setzero_ps() } }
    #[inline(always)] unsafe fn load(from: *const f32) -> __m512 { unsafe { _mm512_loadu_ps(from) } }
    #[inline(always)] unsafe fn store(to: *mut f32, sum: __m512) { unsafe { _mm512_storeu_ps(to, sum) } }
    #[inline(always)] unsafe fn row(from: *const f32) -> __m512bh {
        unsafe { from.cast::<__m512bh>().read_unaligned() }
    }
    #[inline(always)] unsafe fn word(from: *const f32) -> __m512bh {
        unsafe { std::mem::transmute(_mm512_set1_epi32(from.cast::<i32>().read_unaligned())) }
    }
    #[inline(always)] unsafe fn add(sum: __m512, word: __m512bh, row: __m512bh) -> __m512 {
        unsafe { _mm512_dpbf16_ps(sum, word, row) }
    }
}
