//! AVX2 with FMA and F16C: 8 floats, 16 registers.

use std::arch::x86_64::*;

use super::Simd;
use super::token::{methods, token};

token!(
    /// AVX2, FMA and F16C.
    Avx2,
    "avx2,fma,f16c",
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
);

/// Ones, then zeros: `MASK[8 - n..]` has `n` leading ones.
static MASK: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

/// `n` leading ones.
///
/// # Safety
/// The processor has AVX; `n` is at most 8.
#[inline(always)]
unsafe fn first(n: usize) -> __m256i {
    // SAFETY: 8 integers from `8 - n` on lie inside.
    unsafe { _mm256_loadu_si256(MASK.as_ptr().add(8 - n).cast()) }
}

/// Whole numbers of 0 to 255.
#[inline]
#[target_feature(enable = "avx2")]
fn shorts(v: __m256) -> __m128i {
    let whole = _mm256_cvtps_epi32(v);
    _mm_packus_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256::<1>(whole))
}

// SAFETY: 256 bits are 8 floats or whole numbers, 128 are 8 halves, and the bytes are 8.
#[rustfmt::skip]
unsafe impl Simd for Avx2 {
    type V = __m256;
    type Whole = __m256i;
    type Halves = __m128i;
    type Bytes = u64;
    type Square = [__m256; 8];
    const LANES: usize = 8;
    const REGISTERS: usize = 16;
    const EXPONENTS: (f32, f32) = (-127.0, 128.0);

    methods! { "avx2,fma,f16c"
        fn splat(x: f32) -> __m256 { _mm256_set1_ps(x) }
        fn square() -> [__m256; 8] { [_mm256_setzero_ps(); 8] }
        fn add(a: __m256, b: __m256) -> __m256 { _mm256_add_ps(a, b) }
        fn sub(a: __m256, b: __m256) -> __m256 { _mm256_sub_ps(a, b) }
        fn mul(a: __m256, b: __m256) -> __m256 { _mm256_mul_ps(a, b) }
        fn div(a: __m256, b: __m256) -> __m256 { _mm256_div_ps(a, b) }
        fn min(a: __m256, b: __m256) -> __m256 { _mm256_min_ps(a, b) }
        fn max(a: __m256, b: __m256) -> __m256 { _mm256_max_ps(a, b) }
        fn smaller(a: __m256, b: __m256) -> __m256 {
            _mm256_blendv_ps(_mm256_min_ps(a, b), a, _mm256_cmp_ps::<_CMP_UNORD_Q>(a, a))
        }
        fn larger(a: __m256, b: __m256) -> __m256 {
            _mm256_blendv_ps(_mm256_max_ps(a, b), a, _mm256_cmp_ps::<_CMP_UNORD_Q>(a, a))
        }
        fn fma(a: __m256, b: __m256, c: __m256) -> __m256 { _mm256_fmadd_ps(a, b, c) }
        fn round(a: __m256) -> __m256 {
            _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a)
        }
        fn sqrt(a: __m256) -> __m256 { _mm256_sqrt_ps(a) }
        fn scale(v: __m256, n: __m256) -> __m256 {
            // Exponents -127 and 128 come out as the bits of 0 and of infinity.
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
            _mm256_mul_ps(v, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent)))
        }
        fn turned(rows: [__m256; 8]) -> [__m256; 8] {
            // Pairs, then quadruples of rows within 128-bit halves; then the halves change places.
            let (mut a, mut b) = (rows, rows);
            for i in 0..4 {
                b[2 * i] = _mm256_unpacklo_ps(a[2 * i], a[2 * i + 1]);
                b[2 * i + 1] = _mm256_unpackhi_ps(a[2 * i], a[2 * i + 1]);
            }
            for i in 0..2 {
                for j in 0..2 {
                    let (low, high) = (_mm256_castps_pd(b[4 * i + j]), _mm256_castps_pd(b[4 * i + j + 2]));
                    a[4 * i + 2 * j] = _mm256_castpd_ps(_mm256_unpacklo_pd(low, high));
                    a[4 * i + 2 * j + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(low, high));
                }
            }
            for i in 0..4 {
                b[i] = _mm256_permute2f128_ps::<0x20>(a[i], a[i + 4]);
                b[i + 4] = _mm256_permute2f128_ps::<0x31>(a[i], a[i + 4]);
            }
            b
        }
        fn sum(v: __m256) -> f32 {
            let v = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)))
        }
        fn maximum(v: __m256) -> f32 {
            let v = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let v = _mm_max_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_max_ss(v, _mm_movehdup_ps(v)))
        }
        fn widened(halves: __m128i) -> __m256 { _mm256_cvtph_ps(halves) }
        fn bytes(v: __m256) -> u64 {
            let shorts = shorts(v);
            _mm_cvtsi128_si64(_mm_packus_epi16(shorts, shorts)).cast_unsigned()
        }
        fn shorts(v: __m256) -> __m128i { shorts(v) }
        fn bfloats(v: __m256) -> __m128i {
            let bits = _mm256_castps_si256(v);
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let near = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
            // What is not a number must not be carried over to infinity.
            let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x40_0000));
            let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(v, v));
            let high = _mm256_srli_epi32::<16>(_mm256_blendv_epi8(near, quiet, nan));
            _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256::<1>(high))
        }
        fn lowered(whole: __m256i, zero: f32, sums: __m256i) -> __m256 {
            let zeros = _mm256_mullo_epi32(_mm256_set1_epi32(zero as i32), sums);
            _mm256_cvtepi32_ps(_mm256_sub_epi32(whole, zeros))
        }
    }

    #[inline(always)]
    fn prefetch(self, at: *const f32) {
        // SAFETY: the processor has SSE; no address is read.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
    }

    #[inline(always)]
    unsafe fn load_first(self, from: *const f32, n: usize) -> __m256 {
        // SAFETY: the token, and the caller's promise.
        unsafe { _mm256_maskload_ps(from, first(n)) }
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, v: __m256, n: usize) {
        // SAFETY: the token, and the caller's promise. Masked stores are slow on some processors.
        unsafe { if n == 8 { self.store(to, v) } else { _mm256_maskstore_ps(to, first(n), v) } }
    }
}
