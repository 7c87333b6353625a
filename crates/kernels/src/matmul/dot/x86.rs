//! x86-64: bytes by VNNI or by products of 16 bits, bfloat16 by AVX512-BF16.

use std::arch::x86_64::*;

use super::Dot;
use crate::simd::{Avx2, Avx512, methods};

dot!(
    /// Bytes by AVX512-VNNI.
    Vnni512, Avx512, "avx512f,avx512vnni", is_x86_feature_detected!("avx512vnni")
);
dot!(
    /// Bytes by AVX-VNNI.
    Vnni256, Avx2, "avx2,avxvnni", is_x86_feature_detected!("avxvnni")
);
dot!(
    /// Bytes as products of 16 bits, for AVX-512BW without VNNI: two sums a column, which meet when they are stored.
    Wide512, Avx512, "avx512f,avx512bw", is_x86_feature_detected!("avx512bw")
);
dot!(
    /// The same for AVX2.
    Wide256, Avx2, "avx2", true
);
dot!(
    /// bfloat16 by AVX512-BF16. Each product is added with one rounding, the second of a pair first; what is too small
    /// for a normal number counts as 0.
    Bfloats512, Avx512, "avx512f,avx512bf16", is_x86_feature_detected!("avx512bf16")
);

/// A word of four bytes for every column, whose products are added up in 32 bits by one instruction.
macro_rules! by_one_instruction {
    ($name:ident, $simd:ident, $features:literal, $v:ty, $lanes:literal, $tile:expr,
     $zero:ident, $set:ident, $add:ident) => {
        // SAFETY: vectors of whole numbers of 32 bits.
#[rustfmt::skip]
        unsafe impl Dot for $name {
            type Simd = $simd;
            type Sum = $v;
            type Stored = $v;
            type Row = $v;
            type Packed = $v;
            type Word = $v;
            const TILE: (usize, usize) = $tile;
            const STEP: usize = $lanes;

            #[inline(always)] fn simd(self) -> $simd { self.0 }
            methods! { $features
                fn zero() -> $v { $zero() }
                fn begin(stored: $v) -> $v { stored }
                fn end(sum: $v) -> $v { sum }
                fn row(packed: $v) -> $v { packed }
                fn word(bits: u32) -> $v { $set(bits.cast_signed()) }
                fn add(sum: $v, word: $v, row: $v) -> $v { $add(sum, word, row) }
            }
        }
    };
}

by_one_instruction!(
    Vnni512,
    Avx512,
    "avx512f,avx512vnni",
    __m512i,
    16,
    (9, 3),
    _mm512_setzero_si512,
    _mm512_set1_epi32,
    _mm512_dpbusd_epi32
);
by_one_instruction!(
    Vnni256,
    Avx2,
    "avx2,avxvnni",
    __m256i,
    8,
    (6, 2),
    _mm256_setzero_si256,
    _mm256_set1_epi32,
    _mm256_dpbusd_avx_epi32
);

// SAFETY: vectors of whole numbers of 32 bits.
#[rustfmt::skip]
unsafe impl Dot for Wide512 {
    type Simd = Avx512;
    type Sum = [__m512i; 2];
    type Stored = [__m256i; 2];
    type Row = [__m512i; 2];
    type Packed = [__m256i; 2];
    type Word = __m512i;
    const TILE: (usize, usize) = (3, 3);
    const STEP: usize = 16;

    #[inline(always)] fn simd(self) -> Avx512 { self.0 }
    methods! { "avx512f,avx512bw"
        fn zero() -> [__m512i; 2] { [_mm512_setzero_si512(); 2] }
        fn begin(stored: [__m256i; 2]) -> [__m512i; 2] {
            [_mm512_cvtepu32_epi64(stored[0]), _mm512_cvtepu32_epi64(stored[1])]
        }
        fn end(sum: [__m512i; 2]) -> [__m256i; 2] {
            let both = |sum| _mm512_cvtepi64_epi32(_mm512_add_epi32(sum, _mm512_srli_epi64::<32>(sum)));
            [both(sum[0]), both(sum[1])]
        }
        fn row(packed: [__m256i; 2]) -> [__m512i; 2] {
            [_mm512_cvtepi8_epi16(packed[0]), _mm512_cvtepi8_epi16(packed[1])]
        }
        fn word(bits: u32) -> __m512i {
            _mm512_broadcastq_epi64(_mm_cvtepu8_epi16(_mm_cvtsi32_si128(bits.cast_signed())))
        }
        fn add(sum: [__m512i; 2], word: __m512i, row: [__m512i; 2]) -> [__m512i; 2] {
            let add = |sum, row| _mm512_add_epi32(sum, _mm512_madd_epi16(word, row));
            [add(sum[0], row[0]), add(sum[1], row[1])]
        }
    }
}

// SAFETY: vectors of whole numbers of 32 bits.
#[rustfmt::skip]
unsafe impl Dot for Wide256 {
    type Simd = Avx2;
    type Sum = [__m256i; 2];
    type Stored = [__m128i; 2];
    type Row = [__m256i; 2];
    type Packed = [__m128i; 2];
    type Word = __m256i;
    const TILE: (usize, usize) = (2, 2);
    const STEP: usize = 8;

    #[inline(always)] fn simd(self) -> Avx2 { self.0 }
    methods! { "avx2"
        fn zero() -> [__m256i; 2] { [_mm256_setzero_si256(); 2] }
        fn begin(stored: [__m128i; 2]) -> [__m256i; 2] {
            [_mm256_cvtepu32_epi64(stored[0]), _mm256_cvtepu32_epi64(stored[1])]
        }
        fn end(sum: [__m256i; 2]) -> [__m128i; 2] {
            // Pairs by quarters: columns 0, 1, 4, 5, 2, 3, 6, 7.
            let ordered = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(sum[0], sum[1]));
            [_mm256_castsi256_si128(ordered), _mm256_extracti128_si256::<1>(ordered)]
        }
        fn row(packed: [__m128i; 2]) -> [__m256i; 2] {
            [_mm256_cvtepi8_epi16(packed[0]), _mm256_cvtepi8_epi16(packed[1])]
        }
        fn word(bits: u32) -> __m256i {
            _mm256_broadcastq_epi64(_mm_cvtepu8_epi16(_mm_cvtsi32_si128(bits.cast_signed())))
        }
        fn add(sum: [__m256i; 2], word: __m256i, row: [__m256i; 2]) -> [__m256i; 2] {
            let add = |sum, row| _mm256_add_epi32(sum, _mm256_madd_epi16(word, row));
            [add(sum[0], row[0]), add(sum[1], row[1])]
        }
    }
}

// SAFETY: vectors of floats, and of pairs of bfloat16.
#[rustfmt::skip]
unsafe impl Dot for Bfloats512 {
    type Simd = Avx512;
    type Sum = __m512;
    type Stored = __m512;
    type Row = __m512bh;
    type Packed = __m512bh;
    type Word = __m512bh;
    const TILE: (usize, usize) = (9, 3);
    const STEP: usize = 16;

    #[inline(always)] fn simd(self) -> Avx512 { self.0 }
    methods! { "avx512f,avx512bf16"
        fn zero() -> __m512 { _mm512_setzero_ps() }
        fn begin(stored: __m512) -> __m512 { stored }
        fn end(sum: __m512) -> __m512 { sum }
        fn row(packed: __m512bh) -> __m512bh { packed }
        fn word(bits: u32) -> __m512bh {
            // SAFETY: vectors of the same 512 bits.
            unsafe { std::mem::transmute(_mm512_set1_epi32(bits.cast_signed())) }
        }
        fn add(sum: __m512, word: __m512bh, row: __m512bh) -> __m512 { _mm512_dpbf16_ps(sum, word, row) }
    }
}
