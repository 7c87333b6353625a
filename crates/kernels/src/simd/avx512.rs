//! AVX-512: 16 floats, 32 registers.

use std::arch::x86_64::*;

use super::Simd;
use super::token::{methods, token};

token!(
    /// AVX-512F, and AVX-512BW, by which bytes are multiplied where there is no VNNI.
    Avx512,
    "avx512f",
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
);

/// `n` leading ones.
#[inline(always)]
fn first(n: usize) -> __mmask16 {
    ((1u32 << n) - 1) as __mmask16
}

// SAFETY: 512 bits are 16 floats or whole numbers, 256 are 16 halves, 128 are 16 bytes.
#[rustfmt::skip]
unsafe impl Simd for Avx512 {
    type V = __m512;
    type Whole = __m512i;
    type Halves = __m256i;
    type Bytes = __m128i;
    type Square = [__m512; 16];
    const LANES: usize = 16;
    const REGISTERS: usize = 32;
    const EXPONENTS: (f32, f32) = (-151.0, 129.0);

    methods! { "avx512f"
        fn splat(x: f32) -> __m512 { _mm512_set1_ps(x) }
        fn square() -> [__m512; 16] { [_mm512_setzero_ps(); 16] }
        fn add(a: __m512, b: __m512) -> __m512 { _mm512_add_ps(a, b) }
        fn sub(a: __m512, b: __m512) -> __m512 { _mm512_sub_ps(a, b) }
        fn mul(a: __m512, b: __m512) -> __m512 { _mm512_mul_ps(a, b) }
        fn div(a: __m512, b: __m512) -> __m512 { _mm512_div_ps(a, b) }
        fn min(a: __m512, b: __m512) -> __m512 { _mm512_min_ps(a, b) }
        fn max(a: __m512, b: __m512) -> __m512 { _mm512_max_ps(a, b) }
        fn smaller(a: __m512, b: __m512) -> __m512 {
            _mm512_mask_mov_ps(_mm512_min_ps(a, b), _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a), a)
        }
        fn larger(a: __m512, b: __m512) -> __m512 {
            _mm512_mask_mov_ps(_mm512_max_ps(a, b), _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a), a)
        }
        fn fma(a: __m512, b: __m512, c: __m512) -> __m512 { _mm512_fmadd_ps(a, b, c) }
        fn round(a: __m512) -> __m512 {
            _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a)
        }
        fn sqrt(a: __m512) -> __m512 { _mm512_sqrt_ps(a) }
        fn scale(v: __m512, n: __m512) -> __m512 { _mm512_scalef_ps(v, n) }
        fn turned(rows: [__m512; 16]) -> [__m512; 16] {
            // Pairs, then quadruples of rows within 128-bit quarters; then the quarters change places.
            let (mut a, mut b) = (rows, rows);
            for i in 0..8 {
                b[2 * i] = _mm512_unpacklo_ps(a[2 * i], a[2 * i + 1]);
                b[2 * i + 1] = _mm512_unpackhi_ps(a[2 * i], a[2 * i + 1]);
            }
            for i in 0..4 {
                for j in 0..2 {
                    let (low, high) = (_mm512_castps_pd(b[4 * i + j]), _mm512_castps_pd(b[4 * i + j + 2]));
                    a[4 * i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
                    a[4 * i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
                }
            }
            for i in 0..4 {
                let even = _mm512_shuffle_f32x4::<0x88>(a[i], a[i + 4]);
                let odd = _mm512_shuffle_f32x4::<0xdd>(a[i], a[i + 4]);
                let even_below = _mm512_shuffle_f32x4::<0x88>(a[i + 8], a[i + 12]);
                let odd_below = _mm512_shuffle_f32x4::<0xdd>(a[i + 8], a[i + 12]);
                b[i] = _mm512_shuffle_f32x4::<0x88>(even, even_below);
                b[i + 4] = _mm512_shuffle_f32x4::<0x88>(odd, odd_below);
                b[i + 8] = _mm512_shuffle_f32x4::<0xdd>(even, even_below);
                b[i + 12] = _mm512_shuffle_f32x4::<0xdd>(odd, odd_below);
            }
            b
        }
        fn sum(v: __m512) -> f32 { _mm512_reduce_add_ps(v) }
        fn maximum(v: __m512) -> f32 { _mm512_reduce_max_ps(v) }
        fn widened(halves: __m256i) -> __m512 { _mm512_cvtph_ps(halves) }
        fn bytes(v: __m512) -> __m128i { _mm512_cvtusepi32_epi8(_mm512_cvtps_epi32(v)) }
        fn shorts(v: __m512) -> __m256i { _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(v)) }
        fn bfloats(v: __m512) -> __m256i {
            let bits = _mm512_castps_si512(v);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let near = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
            // What is not a number must not be carried over to infinity.
            let quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x40_0000));
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v);
            _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(_mm512_mask_mov_epi32(near, nan, quiet)))
        }
        fn lowered(whole: __m512i, zero: f32, sums: __m512i) -> __m512 {
            let zeros = _mm512_mullo_epi32(_mm512_set1_epi32(zero as i32), sums);
            _mm512_cvtepi32_ps(_mm512_sub_epi32(whole, zeros))
        }
    }

    #[inline(always)]
    fn prefetch(self, at: *const f32) {
        // SAFETY: the processor has SSE; no address is read.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
    }

    #[inline(always)]
    unsafe fn load_first(self, from: *const f32, n: usize) -> __m512 {
        // SAFETY: the token, and the caller's promise.
        unsafe { _mm512_maskz_loadu_ps(first(n), from) }
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, v: __m512, n: usize) {
        // SAFETY: the token, and the caller's promise.
        unsafe { _mm512_mask_storeu_ps(to, first(n), v) }
    }
}
