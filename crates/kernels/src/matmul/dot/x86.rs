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
    /// Bytes as numbers of 16 bits, for AVX-512BW without VNNI.
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

/// Whole numbers, a word of them for every column, whose products are added up in 32 bits.
macro_rules! whole_numbers {
    ($name:ident, $simd:ident, $features:literal, $v:ty, $lanes:literal, $tile:expr, $wide:literal,
     $zero:ident, $set:ident, |$sum:ident, $word:ident, $row:ident| $add:expr) => {
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
            const WIDE: bool = $wide;

            #[inline(always)] fn simd(self) -> $simd { self.0 }
            methods! { $features
                fn zero() -> $v { $zero() }
                fn begin(stored: $v) -> $v { stored }
                fn end(sum: $v) -> $v { sum }
                fn row(packed: $v) -> $v { packed }
                fn word(bits: u32) -> $v { $set(bits.cast_signed()) }
                fn add($sum: $v, $word: $v, $row: $v) -> $v { $add }
            }
        }
    };
}

#[rustfmt::skip]
whole_numbers!(
    Vnni512, Avx512, "avx512f,avx512vnni", __m512i, 16, (9, 3), false, _mm512_setzero_si512, _mm512_set1_epi32,
    |sum, word, row| _mm512_dpbusd_epi32(sum, word, row)
);
#[rustfmt::skip]
whole_numbers!(
    Wide512, Avx512, "avx512f,avx512bw", __m512i, 16, (9, 3), true, _mm512_setzero_si512, _mm512_set1_epi32,
    |sum, word, row| _mm512_add_epi32(sum, _mm512_madd_epi16(word, row))
);
#[rustfmt::skip]
whole_numbers!(
    Vnni256, Avx2, "avx2,avxvnni", __m256i, 8, (6, 2), false, _mm256_setzero_si256, _mm256_set1_epi32,
    |sum, word, row| _mm256_dpbusd_avx_epi32(sum, word, row)
);
#[rustfmt::skip]
whole_numbers!(
    Wide256, Avx2, "avx2", __m256i, 8, (6, 2), true, _mm256_setzero_si256, _mm256_set1_epi32,
    |sum, word, row| _mm256_add_epi32(sum, _mm256_madd_epi16(word, row))
);

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
