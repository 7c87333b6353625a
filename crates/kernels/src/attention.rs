//! Attention, `softmax(scale q kᵀ) v` for each image and head, with no matrix of scores in memory.
//!
//! Everything is computed transposed: a vector's lanes are queries. Then keys and values are only ever
//! broadcast, so they are read where they lie and packed for nobody; the softmax runs along rows of
//! vectors, with no sums across lanes; and the weights come out as the next product wants them. Only
//! queries and results are turned, once each.
//!
//! What is multiplied may be [rounded to bfloat16](bfloats): then two numbers make a word of four bytes, and a step
//! takes a word where it else takes a float.

#[cfg(target_arch = "x86_64")]
mod bfloats;
mod block;
mod masked;
mod softmax;

use serde::{Deserialize, Serialize};
use std::ops::Range;

use self::block::{Numbers, Task, Words};
pub use self::masked::MaskedAttention;
use super::matmul::Floats;
use super::place::{all_apart, apart, end};
use super::{Format, Isa, Kernel, Microkernel, Shared, Simd, Workers};

/// Keys whose scores are held at a time: with as many values and the results of a block of queries, about
/// the first-level cache.
fn keys_at_once(format: Format) -> usize {
    if format == Format::Bf16 { 128 } else { 96 }
}

/// The most queries in a block: four vectors of the widest set.
const QUERIES: usize = 64;

/// The most words of keys and values that a lane makes for itself: 4 MiB.
const WORDS: usize = 1 << 20;

/// Where one of q, k, v or the result lies: `dim` contiguous floats for each image, token and head.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Heads<A = usize> {
    pub offset: A,
    pub image_stride: usize,
    pub token_stride: usize,
    pub head_stride: usize,
}

/// `softmax(scale q kᵀ) v` for each image and head.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Attention<A = usize> {
    pub q: Heads<A>,
    pub k: Heads<A>,
    pub v: Heads<A>,
    pub out: Heads<A>,
    pub images: usize,
    pub heads: usize,
    pub queries: usize,
    pub keys: usize,
    pub dim: usize,
    /// What scores are multiplied with, above 0; usually `1 / √dim`.
    pub scale: f32,
}

impl<A> Attention<A> {
    /// The same attention over what lies where `to` says.
    pub fn relocate<B>(self, to: &mut impl FnMut(A) -> B) -> Attention<B> {
        let Self { q, k, v, out, images, heads, queries, keys, dim, scale } = self;
        let [q, k, v, out] =
            [q, k, v, out].map(|Heads { offset, image_stride, token_stride, head_stride }| Heads {
                offset: to(offset),
                image_stride,
                token_stride,
                head_stride,
            });
        Attention { q, k, v, out, images, heads, queries, keys, dim, scale }
    }

    /// Words of the keys and values of an image and head.
    fn words(&self) -> Option<usize> {
        let rows = |count: usize| count.div_ceil(2);
        self.keys.checked_mul(rows(self.dim))?.checked_add(rows(self.keys).checked_mul(self.dim)?)
    }

    /// Whether it can be computed with what is multiplied as `format`: floats always, bfloat16 by AVX512-BF16, where
    /// the processor has it for `isa` and not too much of it would have to lie in scratch.
    pub fn takes(&self, isa: Isa, format: Format) -> bool {
        match format {
            Format::F32 => true,
            Format::Bf16 => {
                let has = cfg!(target_arch = "x86_64") && Microkernel::of(isa, format).is_some();
                has && self.words().is_some_and(|words| words <= WORDS)
            }
            Format::F16 | Format::I8 => false,
        }
    }
}

impl Attention {
    /// Floats of scratch for each lane.
    pub fn scratch(&self, format: Format) -> usize {
        self.block_scratch(format) + if format == Format::Bf16 { self.words().unwrap_or(0) } else { 0 }
    }

    /// Floats for a block of queries: queries and results turned, weights, and the softmax's four rows.
    fn block_scratch(&self, format: Format) -> usize {
        (2 * self.dim + keys_at_once(format) + 4) * QUERIES
    }

    fn dims(&self, place: &Heads, tokens: usize) -> [(usize, usize); 3] {
        [(self.images, place.image_stride), (tokens, place.token_stride), (self.heads, place.head_stride)]
    }

    fn span(&self, place: &Heads, tokens: usize) -> Range<usize> {
        place.offset..end(place.offset, &self.dims(place, tokens), self.dim)
    }

    /// Shows each place that is touched.
    pub fn places(&self, see: &mut dyn FnMut(Range<usize>)) {
        let (queries, keys) = (self.queries, self.keys);
        let places = [(&self.q, queries), (&self.k, keys), (&self.v, keys), (&self.out, queries)];
        places.into_iter().for_each(|(place, tokens)| see(self.span(place, tokens)));
    }

    /// Holds its places against each other and against a memory of `len` floats.
    ///
    /// # Panics
    /// If it would touch what lies outside, or write what it reads.
    pub fn check(&self, len: usize) {
        if self.images == 0 || self.heads == 0 || self.queries == 0 || self.dim == 0 {
            return;
        }
        assert!(self.keys > 0, "attention to no keys has no value");
        assert!(self.scale > 0.0, "the scale of scores is not above 0");
        let out = self.span(&self.out, self.queries);
        assert!(out.end <= len, "attention's result lies outside");
        assert!(all_apart(&self.dims(&self.out, self.queries), self.dim), "attention's results overlap");
        for (place, tokens) in [(&self.q, self.queries), (&self.k, self.keys), (&self.v, self.keys)] {
            let span = self.span(place, tokens);
            assert!(span.end <= len, "attention's inputs lie outside");
            assert!(apart(&span, &out), "attention's result overlaps its inputs");
        }
    }

    /// Computes all, with queries, keys, weights and values multiplied as `format`.
    ///
    /// # Panics
    /// As [`check`](Self::check), and if the attention does not [take](Self::takes) the format.
    pub fn run(&self, format: Format, workers: &mut Workers<'_>, mem: &mut [f32]) {
        self.check(mem.len());
        assert!(self.takes(workers.isa, format), "attention does not take {format} here");
        self.attend(format, workers, mem, None);
    }

    /// As [`run`](Self::run), of places that were checked and a format that was; `bias` is where each image's keys have
    /// what is added to their scores: an offset and a stride.
    fn attend(
        &self,
        format: Format,
        workers: &mut Workers<'_>,
        mem: &mut [f32],
        bias: Option<(usize, usize)>,
    ) {
        if self.images == 0 || self.heads == 0 || self.queries == 0 || self.dim == 0 {
            return;
        }
        // A head's keys and values come from afar once if one lane has all its queries; where that makes
        // too few pieces, parts of the queries, and in the end less than whole tiles.
        let (isa, pairs, lanes) = (workers.isa, self.images * self.heads, workers.lanes());
        let whole = isa.run(BlockSize);
        let mut block = self.queries.next_multiple_of(whole);
        while block > whole && pairs * self.queries.div_ceil(block) < 4 * lanes {
            block = (block / 2).next_multiple_of(whole);
        }
        while block % 2 == 0 && pairs * self.queries.div_ceil(block) < 2 * lanes {
            block /= 2;
        }
        let blocks = self.queries.div_ceil(block);
        let memory = Shared::new(mem);
        workers.each(pairs * blocks, self.scratch(format), |piece, scratch| {
            let (pair, first) = (piece / blocks, piece % blocks * block);
            let (image, head) = (pair / self.heads, pair % self.heads);
            let place = |place: &Heads| place.offset + image * place.image_stride + head * place.head_stride;
            let queries = Queries {
                attention: self,
                format,
                memory,
                q: place(&self.q) + first * self.q.token_stride,
                k: place(&self.k),
                v: place(&self.v),
                out: place(&self.out) + first * self.out.token_stride,
                bias: bias.map(|(offset, stride)| offset + image * stride),
                queries: block.min(self.queries - first),
                scratch,
            };
            match format {
                #[cfg(target_arch = "x86_64")]
                Format::Bf16 => bfloats::enter(queries),
                _ => isa.run(queries),
            }
        });
    }
}

/// The queries that a block has at most: as many vectors as tiles are made for.
struct BlockSize;

impl Kernel for BlockSize {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> usize {
        S::LANES * if S::REGISTERS >= 32 { 4 } else { 2 }
    }
}

/// Some queries of one image and head; the offsets are of the first query, key, value and result.
struct Queries<'a> {
    attention: &'a Attention,
    format: Format,
    memory: Shared,
    q: usize,
    k: usize,
    v: usize,
    out: usize,
    bias: Option<usize>,
    queries: usize,
    scratch: &'a mut [f32],
}

impl Kernel for Queries<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Attention { k, v, .. } = self.attention;
        // SAFETY: `Attention::run` checked all places of all pieces; floats are words as they are.
        unsafe {
            let words =
                |at, place: &Heads| Words { at: self.memory.at(at).cast_const(), stride: place.token_stride };
            let (k, v) = (words(self.k, k), words(self.v, v));
            self.blocks(Floats(simd), k, v);
        }
    }
}

impl Queries<'_> {
    /// Attends block by block.
    ///
    /// # Safety
    /// `k` and `v` are all words of the keys and values as `D` has them.
    #[inline(always)]
    unsafe fn blocks<S: Simd, D: Numbers<S>>(self, numbers: D, k: Words, v: Words) {
        let mut done = 0;
        while done < self.queries {
            let left = self.queries - done;
            // SAFETY: `Attention::run` checked all places of all pieces; scratch holds `block_scratch` floats
            // and no set has vectors of more than a quarter of `QUERIES`. The tiles leave a register for
            // the broadcast and some for the other operand.
            unsafe {
                let task = Task {
                    attention: self.attention,
                    at_once: keys_at_once(self.format),
                    q: self.memory.at(self.q + done * self.attention.q.token_stride),
                    k,
                    v,
                    out: self.memory.at(self.out + done * self.attention.out.token_stride),
                    bias: self.bias.map(|bias| self.memory.at(bias).cast_const()),
                    scratch: self.scratch.as_mut_ptr(),
                };
                done += if S::REGISTERS >= 32 && left > 3 * S::LANES {
                    task.attend::<S, D, 6, 4>(numbers, left)
                } else if S::REGISTERS >= 32 && left > S::LANES {
                    task.attend::<S, D, 12, 2>(numbers, left)
                } else if S::REGISTERS < 16 {
                    task.attend::<S, D, 4, 1>(numbers, left)
                } else if left > S::LANES {
                    task.attend::<S, D, 6, 2>(numbers, left)
                } else {
                    task.attend::<S, D, 8, 1>(numbers, left)
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parallel::{all_workers, in_time, noise};
    use super::super::{Inline, LINE};
    use super::*;

    /// Each place of the result, what belongs there, and how far values are from it, by their weights.
    pub(super) fn reference(attention: &Attention, mem: &[f32]) -> Vec<(usize, f64, f64)> {
        let at = |place: &Heads, image, token, head| {
            place.offset + image * place.image_stride + token * place.token_stride + head * place.head_stride
        };
        let mut out = Vec::new();
        for (image, head) in
            (0..attention.images).flat_map(|image| (0..attention.heads).map(move |h| (image, h)))
        {
            for query in 0..attention.queries {
                let value = |start: usize, d: usize| mem[start + d] as f64;
                let q = at(&attention.q, image, query, head);
                let scores: Vec<f64> = (0..attention.keys)
                    .map(|key| at(&attention.k, image, key, head))
                    .map(|k| (0..attention.dim).map(|d| value(q, d) * value(k, d)).sum::<f64>())
                    .map(|score| score * attention.scale as f64)
                    .collect();
                let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let total: f64 = scores.iter().map(|s| (s - max).exp()).sum();
                for d in 0..attention.dim {
                    let sum = |of: &dyn Fn(f64) -> f64| -> f64 {
                        let weigh = |(key, s): (usize, &f64)| {
                            (s - max).exp() / total * of(value(at(&attention.v, image, key, head), d))
                        };
                        scores.iter().enumerate().map(weigh).sum()
                    };
                    let mean = sum(&|value| value);
                    let place = at(&attention.out, image, query, head) + d;
                    out.push((place, mean, sum(&|value| (value - mean).abs())));
                }
            }
        }
        out
    }

    /// q, k and v side by side in one matrix as a fused product leaves them, results in another.
    pub(super) fn fused(
        images: usize,
        heads: usize,
        queries: usize,
        keys: usize,
        dim: usize,
        scale: f32,
    ) -> Attention {
        let stride = 3 * heads * dim + 2;
        let q = Heads {
            offset: 5,
            image_stride: queries.max(keys) * stride,
            token_stride: stride,
            head_stride: dim,
        };
        let out_stride = heads * dim + 1;
        let out = Heads {
            offset: 5 + images * q.image_stride,
            image_stride: queries * out_stride,
            token_stride: out_stride,
            head_stride: dim,
        };
        let k = Heads { offset: 5 + heads * dim, ..q };
        let v = Heads { offset: 5 + 2 * heads * dim, ..q };
        Attention { q, k, v, out, images, heads, queries, keys, dim, scale }
    }

    fn check(attention: &Attention, before: &[f32], tolerance: f64) {
        let want = reference(attention, before);
        let mut last = (None, Vec::new());
        all_workers(attention.scratch(Format::F32), |workers| {
            let mut mem = before.to_vec();
            attention.run(Format::F32, workers, &mut mem);
            assert!(last.0 != Some(workers.isa) || last.1 == mem, "lanes change nothing");
            last = (Some(workers.isa), mem.clone());
            for (place, want, _) in &want {
                let error = (mem[*place] as f64 - want).abs();
                assert!(error <= tolerance, "{} {attention:?} at {place}: {error:e}", workers.isa);
                mem[*place] = before[*place];
            }
            assert_eq!(mem, before, "nothing else is written");
        });
    }

    #[test]
    fn attention_agrees_with_f64_for_every_shape() {
        for (images, heads, queries, keys, dim) in [
            (2, 2, 64, 64, 64),
            (1, 2, 100, 130, 72),
            (1, 1, 65, 63, 48),
            (2, 3, 7, 1, 5),
            (1, 1, 1, 200, 33),
            (1, 2, 49, 77, 32),
            (1, 1, 17, 65, 1),
        ] {
            // A block of keys and queries at least.
            if !in_time(images * heads * 1024 * dim) {
                continue;
            }
            let attention = fused(images, heads, queries, keys, dim, 1.0 / (dim as f32).sqrt());
            check(
                &attention,
                &noise(attention.out.offset + images * attention.out.image_stride, dim as u64),
                1e-6,
            );
        }
    }

    #[test]
    fn scores_of_thousands_do_not_overflow() {
        let attention = fused(1, 2, 40, 150, 24, 3.0);
        let mut before = noise(attention.out.offset + attention.out.image_stride, 3);
        before.iter_mut().for_each(|v| *v *= 16.0);
        check(&attention, &before, 5e-3);
    }

    #[test]
    fn what_is_not_a_number_is_not_hidden() {
        let attention = fused(1, 1, 20, 70, 8, 1.0);
        let mut before = noise(attention.out.offset + attention.out.image_stride, 4);
        before[attention.k.offset + 66 * attention.k.token_stride] = f32::NAN;
        all_workers(attention.scratch(Format::F32), |workers| {
            let mut mem = before.clone();
            attention.run(Format::F32, workers, &mut mem);
            assert!(mem[attention.out.offset].is_nan(), "{}", workers.isa);
        });
    }

    #[test]
    fn no_more_scratch_is_written_than_asked_for() {
        for (queries, keys, dim) in [(64, 129, 16), (17, 3, 33), (1, 256, 1), (130, 97, 8)] {
            if !in_time(queries * keys * dim) {
                continue;
            }
            let attention = fused(1, 1, queries, keys, dim, 1.0);
            let before = noise(attention.out.offset + attention.out.image_stride, 5);
            for (isa, format) in Isa::available().into_iter().flat_map(|isa| Format::ALL.map(|f| (isa, f))) {
                if !attention.takes(isa, format) {
                    continue;
                }
                let need = attention.scratch(format);
                let mut scratch = vec![7.0; need + 100 * LINE];
                let mut mem = before.clone();
                attention.run(format, &mut Workers::new(isa, &Inline, &mut scratch), &mut mem);
                assert!(scratch[need..].iter().all(|&x| x == 7.0), "{isa} {format} {queries} {keys} {dim}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "overlaps its inputs")]
    fn results_over_the_inputs_are_refused() {
        let attention = fused(1, 1, 4, 4, 4, 1.0);
        all_workers(attention.scratch(Format::F32), |workers| {
            Attention { out: attention.q, ..attention }.run(Format::F32, workers, &mut [0.0; 200]);
        });
    }
}
