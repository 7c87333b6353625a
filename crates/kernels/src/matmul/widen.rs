//! Bytes of a panel as numbers of 16 bits, for processors that multiply these only.
//!
//! It is done for each piece of work, so that weights lie in memory, and in plan files, as bytes for every processor;
//! rows that share a piece share the work, and products are as fast as those of bfloat16.

use super::super::{Kernel, Simd};

/// Makes two rows of words of each of `from`, `width` words long: words of four bytes become words of their first two,
/// then of their last two.
pub(super) struct Widen<'a> {
    pub(super) from: &'a [f32],
    pub(super) to: &'a mut [f32],
    pub(super) width: usize,
}

impl Kernel for Widen<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (from, to) in self.from.chunks_exact(self.width).zip(self.to.chunks_exact_mut(2 * self.width)) {
            let (first, last) = to.split_at_mut(self.width);
            for i in 0..self.width {
                let word = from[i].to_bits().cast_signed();
                let pair = |low: i32, high: i32| f32::from_bits((low & 0xffff | high << 16).cast_unsigned());
                first[i] = pair(word << 24 >> 24, word << 16 >> 24);
                last[i] = pair(word << 8 >> 24, word >> 24);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Isa;
    use super::*;

    #[test]
    fn every_byte_keeps_its_sign_and_place() {
        for (isa, width) in Isa::available().into_iter().flat_map(|isa| [1, 8, 48].map(|width| (isa, width)))
        {
            let bytes: Vec<i8> = (0..12 * width).map(|i| (i * 37 % 255) as i8).collect();
            let words =
                bytes.chunks(4).map(|b| f32::from_bits(u32::from_le_bytes([0, 1, 2, 3].map(|i| b[i] as u8))));
            let (from, mut to) = (words.collect::<Vec<_>>(), vec![0.0; 6 * width]);
            isa.run(Widen { from: &from, to: &mut to, width });
            for (i, word) in to.iter().enumerate() {
                let first = 4 * (i / (2 * width) * width + i % width) + i / width % 2 * 2;
                let pair = [word.to_bits() as i16, (word.to_bits() >> 16) as i16];
                assert_eq!(pair, [first, first + 1].map(|at| i16::from(bytes[at])), "{isa} {width} {i}");
            }
        }
    }
}
