//! Attention, `softmax(scale q kᵀ) v` for each image and head, with no matrix of scores in memory.
//!
//! Everything is computed transposed: a vector's lanes are queries. Then keys and values are only ever
//! broadcast, so they are read where they lie and packed for nobody; the softmax runs along rows of
//! vectors, with no sums across lanes; and the weights come out as the next product wants them. Only
//! queries and results are turned, once each.

mod block;
mod masked;
mod softmax;

use serde::{Deserialize, Serialize};
use std::ops::Range;

use self::block::Task;
pub use self::masked::MaskedAttention;
use super::place::{all_apart, apart, end};
use super::{Kernel, Shared, Simd, Workers};

/// Keys whose scores are held at a time: with as many values and the results of a block of queries, about
/// the first-level cache.
const KEYS: usize = 96;

/// The most queries in a block: four vectors of the widest set.
const QUERIES: usize = 64;

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
}

impl Attention {
    /// Floats of scratch for each lane.
    pub fn scratch(&self) -> usize {
        // Queries and results turned, weights, and the softmax's four rows.
        (2 * self.dim + KEYS + 4) * QUERIES
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

    pub fn run(&self, workers: &mut Workers<'_>, mem: &mut [f32]) {
        self.check(mem.len());
        self.attend(workers, mem, None);
    }

    /// As [`run`](Self::run), of places that were checked; `bias` is where each image's keys have what is added to
    /// their scores: an offset and a stride.
    fn attend(&self, workers: &mut Workers<'_>, mem: &mut [f32], bias: Option<(usize, usize)>) {
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
        workers.each(pairs * blocks, self.scratch(), |piece, scratch| {
            let (pair, first) = (piece / blocks, piece % blocks * block);
            let (image, head) = (pair / self.heads, pair % self.heads);
            let place = |place: &Heads| place.offset + image * place.image_stride + head * place.head_stride;
            isa.run(Queries {
                attention: self,
                memory,
                q: place(&self.q) + first * self.q.token_stride,
                k: place(&self.k),
                v: place(&self.v),
                out: place(&self.out) + first * self.out.token_stride,
                bias: bias.map(|(offset, stride)| offset + image * stride),
                queries: block.min(self.queries - first),
                scratch,
            });
        });
    }
}

/// The queries that a block has at most: as many vectors as tiles are made for.
struct BlockSize;

impl Kernel for BlockSize {
    type Output = usize;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> usize {
        S::LANES * if S::REGISTERS >= 32 { 4 } else { 2 }
    }
}

/// Some queries of one image and head; the offsets are of the first query, key, value and result.
struct Queries<'a> {
    attention: &'a Attention,
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
    unsafe fn run<S: Simd>(self) {
        let mut done = 0;
        while done < self.queries {
            let left = self.queries - done;
            // SAFETY: `Attention::run` checked all places of all pieces; scratch holds `scratch()` floats
            // and no set has vectors of more than a quarter of `QUERIES`. The tiles leave a register for
            // the broadcast and some for the other operand.
            unsafe {
                let task = Task {
                    attention: self.attention,
                    q: self.memory.at(self.q + done * self.attention.q.token_stride),
                    k: self.memory.at(self.k),
                    v: self.memory.at(self.v),
                    out: self.memory.at(self.out + done * self.attention.out.token_stride),
                    bias: self.bias.map(|bias| self.memory.at(bias).cast_const()),
                    scratch: self.scratch.as_mut_ptr(),
                };
                done += if S::REGISTERS >= 32 && left > 3 * S::LANES {
                    task.attend::<S, 6, 4>(left)
                } else if S::REGISTERS >= 32 && left > S::LANES {
                    task.attend::<S, 12, 2>(left)
                } else if left > S::LANES {
                    task.attend::<S, 6, 2>(left)
                } else {
                    task.attend::<S, 8, 1>(left)
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parallel::{all_workers, in_time, noise};
    use super::*;

    fn reference(attention: &Attention, mem: &[f32]) -> Vec<(usize, f64)> {
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
                    let weigh = |(key, s): (usize, &f64)| {
                        (s - max).exp() / total * value(at(&attention.v, image, key, head), d)
                    };
                    let place = at(&attention.out, image, query, head) + d;
                    out.push((place, scores.iter().enumerate().map(weigh).sum()));
                }
            }
        }
        out
    }

    /// q, k and v side by side in one matrix as a fused product leaves them, results in another.
    fn fused(images: usize, heads: usize, queries: usize, keys: usize, dim: usize, scale: f32) -> Attention {
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
        all_workers(attention.scratch(), |workers| {
            let mut mem = before.to_vec();
            attention.run(workers, &mut mem);
            assert!(last.0 != Some(workers.isa) || last.1 == mem, "lanes change nothing");
            last = (Some(workers.isa), mem.clone());
            for (place, want) in &want {
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
        all_workers(attention.scratch(), |workers| {
            let mut mem = before.clone();
            attention.run(workers, &mut mem);
            assert!(mem[attention.out.offset].is_nan(), "{}", workers.isa);
        });
    }

    #[test]
    #[should_panic(expected = "overlaps its inputs")]
    fn results_over_the_inputs_are_refused() {
        let attention = fused(1, 1, 4, 4, 4, 1.0);
        all_workers(attention.scratch(), |workers| {
            Attention { out: attention.q, ..attention }.run(workers, &mut [0.0; 200]);
        });
    }
}
