//! Attention in bfloat16 by AVX512-BF16: queries, keys, weights and values are rounded to it; scores, the softmax and
//! sums stay `f32`.
//!
//! A word of queries or keys is two numbers of one of them; a word of weights or values is of two keys. Keys and values
//! become words once for each piece of work, in the lane's scratch.

use std::arch::x86_64::*;

use super::super::matmul::{Bfloats512, Dot};
use super::super::simd::{Avx512, Simd, methods};
use super::block::{Numbers, Words};
use super::softmax::Softmax;
use super::{Attention, Queries};

type S = Avx512;
const LANES: usize = S::LANES;

/// Computes as [`Queries`] does, having made words of its keys and values.
///
/// # Panics
/// If the processor does not have AVX512-BF16, or scratch less than the floats of [`Attention::scratch`].
pub(super) fn enter(queries: Queries<'_>) {
    let numbers = Bfloats512::new().expect("whoever asks for bfloat16 has seen that the processor has it");
    // SAFETY: the token is there where the processor has these features.
    unsafe { attend(numbers, queries) }
}

#[target_feature(enable = "avx512f,avx512bf16")]
fn attend(numbers: Bfloats512, queries: Queries<'_>) {
    let Attention { k, v, keys, dim, .. } = *queries.attention;
    let (scratch, words) = queries.scratch.split_at_mut(queries.attention.block_scratch(queries.format));
    assert!(words.len() >= keys * dim.div_ceil(2) + keys.div_ceil(2) * dim, "a lane has no room for words");
    let queries = Queries { scratch, ..queries };
    // SAFETY: `Attention::run` checked where keys and values lie; words have their room behind what all kinds of
    // numbers need.
    unsafe {
        let (from_k, from_v) = (queries.memory.at(queries.k), queries.memory.at(queries.v));
        let to = words.as_mut_ptr();
        let k_words = Words { at: to, stride: dim.div_ceil(2) };
        for key in 0..keys {
            numbers.round(from_k.add(key * k.token_stride), dim, to.add(key * k_words.stride));
        }
        let to = to.add(keys * k_words.stride);
        for key in (0..keys).step_by(2) {
            let low = from_v.add(key * v.token_stride);
            let high = (key + 1 < keys).then(|| low.add(v.token_stride).cast_const());
            numbers.mix(low, high, dim, to.add(key / 2 * dim));
        }
        queries.blocks(numbers, k_words, Words { at: to, stride: dim });
    }
}

impl Bfloats512 {
    methods! { "avx512f,avx512bf16"
        /// Two vectors side by side as bfloat16, the nearest, ties to even.
        fn rounded(first: __m512, second: __m512) -> __m512bh { _mm512_cvtne2ps_pbh(second, first) }

        /// Words of each a number of `low` and one of `high`.
        fn pairs(low: __m512, high: __m512) -> __m512bh {
            const PLACES: [u16; 32] = {
                let mut places = [0; 32];
                let mut i = 0;
                while i < 32 {
                    places[i] = (i / 2 + i % 2 * 16) as u16;
                    i += 1;
                }
                places
            };
            // SAFETY: all are 512 bits.
            unsafe {
                let places = std::mem::transmute::<[u16; 32], __m512i>(PLACES);
                let both = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low));
                std::mem::transmute::<__m512i, __m512bh>(_mm512_permutexvar_epi16(places, both))
            }
        }

        /// `2^x` for `x` not above 0, relative error 8e-5: bfloat16 is up to 50 times as far from what it is rounded
        /// from.
        fn exp2(x: __m512) -> __m512 {
            // Minimax on 0 to 1, relative error 7.5e-5.
            let r = _mm512_sub_ps(x, _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(x));
            let mut y = _mm512_set1_ps(7.802_452e-2);
            for c in [0.226_067_16, 0.695_833_54, 0.999_925_2] {
                y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(c));
            }
            // Which takes the power of 2 below `x`, and makes 0 of what is not a number if `x` is -∞.
            _mm512_scalef_ps(y, x)
        }
    }

    /// Writes the first `n` words.
    ///
    /// # Safety
    /// There is room.
    #[inline(always)]
    unsafe fn put(self, to: *mut f32, words: __m512bh, n: usize) {
        // SAFETY: the caller's promise; vectors of the same 512 bits.
        unsafe {
            let words = std::mem::transmute::<__m512bh, __m512>(words);
            if n == LANES { self.simd().store(to, words) } else { self.simd().store_first(to, words, n) }
        }
    }

    /// Makes words of a row of `len` numbers.
    ///
    /// # Safety
    /// They are there, and room for `len / 2` words, rounded up.
    #[inline(always)]
    unsafe fn round(self, from: *const f32, len: usize, to: *mut f32) {
        let simd = self.simd();
        // SAFETY: the caller's promise.
        unsafe {
            let mut at = 0;
            while at + 2 * LANES <= len {
                let (first, second) = (simd.load(from.add(at)), simd.load(from.add(at + LANES)));
                self.put(to.add(at / 2), self.rounded(first, second), LANES);
                at += 2 * LANES;
            }
            if at < len {
                let left = len - at;
                let first = simd.load_first(from.add(at), left.min(LANES));
                let second = simd.load_first(from.wrapping_add(at + LANES), left.saturating_sub(LANES));
                self.put(to.add(at / 2), self.rounded(first, second), left.div_ceil(2));
            }
        }
    }

    /// Makes words of two rows of `len` numbers; of one and zeros where there is no other.
    ///
    /// # Safety
    /// They are there, and room for `len` words.
    #[inline(always)]
    unsafe fn mix(self, low: *const f32, high: Option<*const f32>, len: usize, to: *mut f32) {
        let simd = self.simd();
        // SAFETY: the caller's promise.
        unsafe {
            let (high, both) = (high.unwrap_or(low), high.is_some());
            let mut at = 0;
            while both && at + LANES <= len {
                let words = self.pairs(simd.load(low.add(at)), simd.load(high.add(at)));
                self.put(to.add(at), words, LANES);
                at += LANES;
            }
            while at < len {
                let left = LANES.min(len - at);
                let second = simd.load_first(high.add(at), if both { left } else { 0 });
                self.put(to.add(at), self.pairs(simd.load_first(low.add(at), left), second), left);
                at += LANES;
            }
        }
    }
}

impl Numbers<S> for Bfloats512 {
    const IN_A_WORD: usize = 2;

    #[inline(always)]
    unsafe fn queries<const N: usize>(self, rows: *mut f32, dim: usize) {
        let simd = self.simd();
        // SAFETY: the caller's promise; what is written was read before.
        unsafe {
            for d in (0..dim).step_by(2) {
                for j in 0..N {
                    let from = rows.add((d * N + j) * LANES);
                    let high = if d + 1 < dim { simd.load(from.add(N * LANES)) } else { simd.splat(0.0) };
                    self.put(rows.add((d / 2 * N + j) * LANES), self.pairs(simd.load(from), high), LANES);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn weigh<const N: usize>(self, softmax: &Softmax, keys: usize) {
        let simd = self.simd();
        // SAFETY: the caller's promise; what is written was read before.
        unsafe {
            let scale = simd.splat(softmax.binary_scale());
            let (offsets, mut totals) = softmax.offsets::<S, N>(simd);
            // Weights are summed as they are multiplied, rounded: what rounding adds or takes is divided away.
            let one = self.word(0x3f80_3f80);
            for key in (0..keys).step_by(2) {
                for j in 0..N {
                    let from = softmax.weights.add((key * N + j) * LANES);
                    let low = self.exp2(simd.fma(simd.load(from), scale, offsets[j]));
                    let high = if key + 1 < keys {
                        self.exp2(simd.fma(simd.load(from.add(N * LANES)), scale, offsets[j]))
                    } else {
                        simd.splat(0.0)
                    };
                    let words = self.pairs(low, high);
                    totals[j] = self.add(totals[j], one, words);
                    self.put(softmax.weights.add((key / 2 * N + j) * LANES), words, LANES);
                }
            }
            softmax.keep::<S, N>(simd, totals);
        }
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::super::super::parallel::{all_workers, noise};
    use super::super::super::{Format, Isa};
    use super::super::Heads;
    use super::super::tests::{fused, reference};
    use super::*;

    /// Calls `test` with what each number of lanes makes of `before`, if the processor has bfloat16.
    fn each_result(attention: &Attention, before: &[f32], mut test: impl FnMut(Vec<f32>)) {
        all_workers(attention.scratch(Format::Bf16), |workers| {
            if attention.takes(workers.isa, Format::Bf16) {
                let mut mem = before.to_vec();
                attention.run(Format::Bf16, workers, &mut mem);
                test(mem);
            }
        });
    }

    /// Weights are off by half a unit of bfloat16, and their exponential; what is common to all is divided away.
    fn check(attention: &Attention, before: &[f32]) {
        let rounded: Vec<f32> = before.iter().map(|x| bf16::from_f32(*x).to_f32()).collect();
        let want = reference(attention, &rounded);
        let mut last: Option<Vec<f32>> = None;
        each_result(attention, before, |mut mem| {
            assert!(last.as_ref().is_none_or(|last| *last == mem), "lanes change nothing");
            last = Some(mem.clone());
            for &(place, want, spread) in &want {
                let error = (f64::from(mem[place]) - want).abs();
                let bound = (1.0 / 256.0 + 1e-4) * spread + 3e-6;
                assert!(error <= bound, "{attention:?} at {place}: {error:e}, {bound:e} allowed");
                mem[place] = before[place];
            }
            assert_eq!(mem, before, "nothing else is written");
        });
    }

    #[test]
    fn only_rounding_parts_attention_from_f64() {
        let tokens = [(1, 1), (3, 3), (17, 17), (65, 65), (256, 256), (17, 256), (65, 3), (3, 129), (100, 1)];
        for (queries, keys) in tokens {
            for (i, dim) in [1, 3, 8, 33, 64, 72, 128].into_iter().enumerate() {
                let (images, heads) = [(1, 1), (2, 3), (1, 2)][i % 3];
                let attention = fused(images, heads, queries, keys, dim, 4.0 / (dim as f32).sqrt());
                let len = attention.out.offset + images * attention.out.image_stride;
                check(&attention, &noise(len, (keys + dim) as u64));
            }
        }
    }

    #[test]
    fn what_is_not_finite_makes_what_it_reaches_not_a_number() {
        let attention = fused(1, 2, 20, 71, 9, 1.0);
        let before = noise(attention.out.offset + attention.out.image_stride, 4);
        let at = |place: &Heads, token: usize| place.offset + token * place.token_stride + place.head_stride;
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            // Of the second head: one query, a key, the last of values.
            for (place, token, queries, dims) in
                [(attention.q, 7, 7..8, 0..9), (attention.k, 66, 0..20, 0..9), (attention.v, 70, 0..20, 4..5)]
            {
                let mut before = before.clone();
                before[at(&place, token) + 4] = bad;
                each_result(&attention, &before, |mem| {
                    for (query, d) in (0..20).flat_map(|query| (0..9).map(move |d| (query, d))) {
                        let number = mem[at(&attention.out, query) + d];
                        // A score far below all others gives its key no weight.
                        let below = place.offset == attention.k.offset
                            && before[at(&attention.q, query) + 4] * bad == f32::NEG_INFINITY;
                        let reached = queries.contains(&query) && dims.contains(&d) && !below;
                        assert_eq!(!number.is_finite(), reached, "{bad} {token} {query} {d}: {number}");
                        assert!(mem[at(&attention.out, query) - 9 + d].is_finite(), "the other head");
                    }
                });
            }
        }
    }

    #[test]
    fn too_many_keys_are_left_to_floats() {
        let attention = |keys, dim| fused(1, 1, 1, keys, dim, 1.0);
        for isa in Isa::available() {
            let has = attention(1024, 512).takes(isa, Format::Bf16);
            assert_eq!(attention(4096, 72).takes(isa, Format::Bf16), has, "{isa}");
            assert!(!attention(4096, 512).takes(isa, Format::Bf16), "{isa}");
            assert!(attention(4096, 512).takes(isa, Format::F32), "{isa}");
        }
    }

    #[test]
    fn weights_are_powers_of_2() {
        let Some(numbers) = Bfloats512::new() else { return };
        let exp2 = |x: f32| {
            let mut lanes = [0.0; LANES];
            // SAFETY: a vector of floats.
            unsafe { numbers.simd().store(lanes.as_mut_ptr(), numbers.exp2(numbers.simd().splat(x))) };
            lanes[0]
        };
        for x in (0..100_000).map(|i| -1.26e-3 * i as f32).chain([-1e-9, 1e-6, -0.0]) {
            let want = f64::from(x).exp2();
            let error = (f64::from(exp2(x)) - want).abs() / want;
            assert!(error <= 8e-5, "{x}: {error:e}");
        }
        assert_eq!((exp2(-1e30), exp2(f32::NEG_INFINITY)), (0.0, 0.0));
        assert!(exp2(f32::NAN).is_nan());
    }
}
