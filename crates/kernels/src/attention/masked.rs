//! Attention under a mask of keys.

use serde::{Deserialize, Serialize};
use std::ops::Range;

use super::super::place::{apart, end};
use super::super::{Format, Workers};
use super::Attention;

/// `softmax(scale (q kᵀ + bias)) v`, where `bias` has a number for each image and key: a mask is 0 where a key counts
/// and far below 0 where it does not.
///
/// The numbers must be finite: beside a key that counts, one of -1e30 has the weight 0 exactly.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct MaskedAttention<A = usize> {
    pub attention: Attention<A>,
    /// `keys` contiguous floats for each image.
    pub bias: A,
    /// From one image's to the next one's.
    pub bias_stride: usize,
}

impl<A> MaskedAttention<A> {
    /// The same attention over what lies where `to` says.
    pub fn relocate<B>(self, to: &mut impl FnMut(A) -> B) -> MaskedAttention<B> {
        let Self { attention, bias, bias_stride } = self;
        MaskedAttention { attention: attention.relocate(to), bias: to(bias), bias_stride }
    }
}

impl MaskedAttention {
    /// Floats of scratch for each lane.
    pub fn scratch(&self) -> usize {
        self.attention.scratch(Format::F32)
    }

    fn span(&self) -> Range<usize> {
        let Attention { images, keys, .. } = self.attention;
        self.bias..end(self.bias, &[(images, self.bias_stride)], keys)
    }

    /// Shows each place that is touched.
    pub fn places(&self, see: &mut dyn FnMut(Range<usize>)) {
        self.attention.places(see);
        see(self.span());
    }

    /// Holds its places against each other and against a memory of `len` floats.
    ///
    /// # Panics
    /// If it would touch what lies outside, or write what it reads.
    pub fn check(&self, len: usize) {
        self.attention.check(len);
        let Attention { out, queries, .. } = &self.attention;
        let span = self.span();
        assert!(span.end <= len, "attention's bias lies outside");
        let out = self.attention.span(out, *queries);
        assert!(apart(&span, &out), "attention's result overlaps its bias");
    }

    pub fn run(&self, workers: &mut Workers<'_>, mem: &mut [f32]) {
        self.check(mem.len());
        self.attention.attend(Format::F32, workers, mem, Some((self.bias, self.bias_stride)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::parallel::{all_workers, noise};
    use super::super::Heads;
    use super::*;

    /// Keys that are masked out might as well not be there: all of the first block, all behind it, every other one.
    #[test]
    fn keys_that_are_masked_out_count_for_nothing() {
        let (images, heads, queries, keys, dim) = (2, 2, 19, 130, 24);
        let stride = heads * dim;
        let place = |offset, tokens| Heads {
            offset,
            image_stride: tokens * stride,
            token_stride: stride,
            head_stride: dim,
        };
        let floats = images * keys * stride;
        let (q, k, v) = (place(0, keys), place(floats, keys), place(2 * floats, keys));
        let bias = 3 * floats;
        let out = place(bias + images * keys, queries);
        let attention = Attention { q, k, v, out, images, heads, queries, keys, dim, scale: 0.2 };
        let len = out.offset + images * queries * stride;
        let masks: [fn(usize, usize) -> bool; 3] =
            [|_, key| key >= 100, |image, key| key < 7 + image, |image, key| key % 2 == image];
        for counts in masks {
            let mut before = noise(len, 9);
            for (image, key) in (0..images).flat_map(|image| (0..keys).map(move |key| (image, key))) {
                before[bias + image * keys + key] = if counts(image, key) { 0.0 } else { -1e30 };
            }
            all_workers(attention.scratch(Format::F32), |workers| {
                let mut mem = before.clone();
                MaskedAttention { attention, bias, bias_stride: keys }.run(workers, &mut mem);
                // The same of the keys that count alone, side by side, an image at a time.
                for image in 0..images {
                    let mut alone = before.clone();
                    let kept: Vec<usize> = (0..keys).filter(|&key| counts(image, key)).collect();
                    for (to, &from) in kept.iter().enumerate() {
                        for part in [k, v] {
                            let row = |key: usize| part.offset + (image * keys + key) * stride;
                            alone.copy_within(row(from)..row(from) + stride, row(to));
                        }
                    }
                    Attention { keys: kept.len(), ..attention }.run(Format::F32, workers, &mut alone);
                    let results = |mem: &[f32]| {
                        mem[out.offset + image * out.image_stride..][..out.image_stride].to_vec()
                    };
                    for (masked, alone) in results(&mem).into_iter().zip(results(&alone)) {
                        assert!((masked - alone).abs() < 2e-6, "{}: {masked} {alone}", workers.isa);
                    }
                }
                assert_eq!(mem[..out.offset], before[..out.offset], "nothing else is written");
            });
        }
    }

    #[test]
    #[should_panic(expected = "overlaps its bias")]
    fn a_result_over_the_bias_is_refused() {
        let place = |offset| Heads { offset, image_stride: 0, token_stride: 4, head_stride: 0 };
        let (q, out) = (place(0), place(100));
        let attention =
            Attention { q, k: q, v: q, out, images: 1, heads: 1, queries: 4, keys: 4, dim: 4, scale: 1.0 };
        MaskedAttention { attention, bias: 98, bias_stride: 4 }.check(200);
    }
}
