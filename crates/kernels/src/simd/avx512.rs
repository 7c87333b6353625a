//! AVX-512F: 16 floats, 32 registers.

use std::arch::x86_64::*;

use super::{Kernel, Simd};

#[derive(Clone, Copy)]
pub(crate) struct Avx512;

/// # Safety
/// The processor has AVX-512F.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn enter<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the caller's promise.
    unsafe { kernel.run::<Avx512>() }
}

#[inline(always)]
fn first(n: usize) -> __mmask16 {
    ((1u32 << n) - 1) as __mmask16
}

/// The transpose of 16 rows.
///
/// # Safety
/// The processor has AVX-512F.
#[inline(always)]
unsafe fn turned(mut a: [__m512; 16]) -> [__m512; 16] {
    // SAFETY: the caller's promise.
    unsafe {
        // Pairs, then quadruples of rows within 128-bit quarters; then the quarters change places.
        let mut b = a;
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
}

// SAFETY of the bodies: the trait's promise that AVX-512F is there and that pointers are valid.
#[rustfmt::skip]
#[expect(clippy::undocumented_unsafe_blocks, reason = "the bodies share the line above")]
impl Simd for Avx512 {
    type V = __m512;
    const LANES: usize = 16;
    const REGISTERS: usize = 32;
    const EXPONENTS: (f32, f32) = (-151.0, 129.0);

    #[inline(always)] unsafe fn splat(x: f32) -> __m512 { unsafe { _mm512_set1_ps(x) } }
    #[inline(always)] unsafe fn load(from: *const f32) -> __m512 { unsafe { _mm512_loadu_ps(from) } }
    #[inline(always)] unsafe fn store(to: *mut f32, v: __m512) { unsafe { _mm512_storeu_ps(to, v) } }
    #[inline(always)] unsafe fn load_first(from: *const f32, n: usize) -> __m512 {
        unsafe { _mm512_maskz_loadu_ps(first(n), from) }
    }
    #[inline(always)] unsafe fn store_first(to: *mut f32, v: __m512, n: usize) {
        unsafe { _mm512_mask_storeu_ps(to, first(n), v) }
    }
    #[inline(always)] unsafe fn add(a: __m512, b: __m512) -> __m512 { unsafe { _mm512_add_ps(a, b) } }
    #[inline(always)] unsafe fn sub(a: __m512, b: __m512) -> __m512 { unsafe { _mm512_sub_ps(a, b) } }
    #[inline(always)] unsafe fn mul(a: __m512, b: __m512) -> __m512 { unsafe { _mm512_mul_ps(a, b) } }
    #[inline(always)] unsafe fn div(a: __m512, b: __m512) -> __m512 { unsafe { _mm512_div_ps(a, b) } }
    #[inline(always)] unsafe fn min(a: __m512, b: __m512) -> __m512 { unsafe { _mm512_min_ps(a, b) } }
    #[inline(always)] unsafe fn max(a: __m512, b: __m512) -> __m512 { unsafe { _mm512_max_ps(a, b) } }
    #[inline(always)] unsafe fn smaller(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mask_mov_ps(_mm512_min_ps(a, b), _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a), a) }
    }
    #[inline(always)] unsafe fn larger(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mask_mov_ps(_mm512_max_ps(a, b), _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a), a) }
    }
    #[inline(always)] unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)] unsafe fn round(a: __m512) -> __m512 {
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)] unsafe fn sqrt(a: __m512) -> __m512 { unsafe { _mm512_sqrt_ps(a) } }
    #[inline(always)] unsafe fn pow2(n: __m512) -> __m512 {
        unsafe { _mm512_scalef_ps(_mm512_set1_ps(1.0), n) }
    }
    #[inline(always)] unsafe fn scale(v: __m512, n: __m512) -> __m512 { unsafe { _mm512_scalef_ps(v, n) } }
    #[inline(always)] unsafe fn transpose(
        from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize, rows: usize, cols: usize,
    ) {
        unsafe {
            let mut a = [Self::splat(0.0); 16];
            // Loops of a known length leave all in registers.
            if rows == 16 && cols == 16 {
                for (i, a) in a.iter_mut().enumerate() {
                    *a = Self::load(from.add(i * from_stride));
                }
                for (i, b) in turned(a).into_iter().enumerate() {
                    Self::store(to.add(i * to_stride), b);
                }
                return;
            }
            for (i, a) in a.iter_mut().enumerate().take(rows) {
                *a = Self::load_first(from.add(i * from_stride), cols);
            }
            for (i, b) in turned(a).into_iter().enumerate().take(cols) {
                Self::store_first(to.add(i * to_stride), b, rows);
            }
        }
    }
    #[inline(always)] unsafe fn sum(v: __m512) -> f32 { unsafe { _mm512_reduce_add_ps(v) } }
    #[inline(always)] unsafe fn maximum(v: __m512) -> f32 { unsafe { _mm512_reduce_max_ps(v) } }
    #[inline(always)] unsafe fn load_halves(from: *const u16) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
    }
    #[inline(always)] unsafe fn store_bytes(to: *mut u8, v: __m512) {
        unsafe { _mm_storeu_si128(to.cast(), _mm512_cvtusepi32_epi8(_mm512_cvtps_epi32(v))) }
    }
    #[inline(always)] unsafe fn store_bfloats(to: *mut u16, v: __m512) {
        unsafe {
            let bits = _mm512_castps_si512(v);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let near = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
            // What is not a number must not be carried over to infinity.
            let quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x40_0000));
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v);
            let high = _mm512_srli_epi32::<16>(_mm512_mask_mov_epi32(near, nan, quiet));
            _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(high));
        }
    }
    #[inline(always)] unsafe fn lowered(whole: *const f32, zero: f32, sums: *const f32) -> __m512 {
        unsafe {
            let (whole, sums) = (_mm512_loadu_si512(whole.cast()), _mm512_loadu_si512(sums.cast()));
            let zeros = _mm512_mullo_epi32(_mm512_set1_epi32(zero as i32), sums);
            _mm512_cvtepi32_ps(_mm512_sub_epi32(whole, zeros))
        }
    }
    #[inline(always)] unsafe fn prefetch(at: *const f32) { unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) } }
}
