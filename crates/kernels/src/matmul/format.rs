//! The kinds of numbers that a product multiplies, and what they take in memory.
//!
//! Memory is counted in words of four bytes: a `f32`, two bfloat16 or four bytes that follow one another along the
//! inner dimension. A micro-kernel takes one word of a row and one of each column a step, whatever is in them.

use half::{bf16, f16};

/// What the weights of a product are kept as, and what its left side is rounded to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// Weights and left side as they are.
    #[default]
    F32,
    /// Weights as float16, widened when they are multiplied; the left side as it is.
    F16,
    /// Both as bfloat16, each two products and their sum in `f32`.
    Bf16,
    /// Weights as bytes with a sign times a scale of their column, -127 to 127 where they are rounded; each row of the
    /// left side as bytes from 0 to 255 between its least and its greatest number. Sums are exact.
    I8,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Bf16, Self::I8];

    /// Numbers of the left side in a word.
    pub(super) fn in_a_word(self) -> usize {
        match self {
            Self::F32 | Self::F16 => 1,
            Self::Bf16 => 2,
            Self::I8 => 4,
        }
    }

    /// Whether the left side is rounded before it is multiplied.
    pub(super) fn rounds(self) -> bool {
        self.in_a_word() > 1
    }

    /// Words of the left side in a row of `k` numbers.
    pub(super) fn words(self, k: usize) -> usize {
        k.div_ceil(self.in_a_word())
    }

    /// Words of a panel of `width` columns that belong to so many words of the left side.
    pub(super) fn of_panel(self, words: usize, width: usize) -> usize {
        if self == Self::F16 { words * width / 2 } else { words * width }
    }

    /// Words of a whole panel of so many rows, which ends with what its columns need: their scales, and the sums of
    /// their bytes.
    pub(super) fn panel(self, depth: usize, width: usize) -> Option<usize> {
        let rows = self.words(depth).checked_add(if self == Self::I8 { 2 } else { 0 })?;
        let words = rows.checked_mul(width)?;
        Some(if self == Self::F16 { words / 2 } else { words })
    }

    /// Rounds a panel `[depth][width]` of floats to `to`.
    pub(super) fn round(self, floats: &[f32], width: usize, to: &mut [f32]) {
        let depth = floats.len() / width.max(1);
        match self {
            Self::F32 => to.copy_from_slice(floats),
            Self::F16 => {
                for (pair, word) in floats.chunks_exact(2).zip(to) {
                    *word = pack16([pair[0], pair[1]].map(|x| f16::from_f32(x).to_bits()));
                }
            }
            Self::Bf16 => {
                for (i, word) in to.iter_mut().enumerate() {
                    let (k, n) = (i / width * 2, i % width);
                    let number = |k: usize| if k < depth { floats[k * width + n] } else { 0.0 };
                    *word = pack16([k, k + 1].map(|k| bf16::from_f32(number(k)).to_bits()));
                }
            }
            Self::I8 => round_to_bytes(floats, depth, width, to),
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::I8 => "int8",
        })
    }
}

/// Two halves as a word.
fn pack16([low, high]: [u16; 2]) -> f32 {
    f32::from_bits(u32::from(low) | u32::from(high) << 16)
}

/// Columns of the widest panel.
const WIDEST: usize = 64;

/// The scale by which numbers are rounded to bytes: the greatest becomes 127. Of what is not a number it is none.
pub fn scale_of_bytes(numbers: impl Iterator<Item = f32>) -> f32 {
    let larger = |a: f32, b: f32| if a >= b || a.is_nan() { a } else { b };
    numbers.map(f32::abs).fold(0.0, larger) / 127.0
}

/// The byte that stands for a number; 0 where the scale is 0.
pub fn to_byte(number: f32, scale: f32) -> i8 {
    // What divides zero by zero is not a number, which is 0.
    (number / scale).round_ties_even().clamp(-127.0, 127.0) as i8
}

/// Rounds to bytes that go from -127 to 127 in each column.
fn round_to_bytes(floats: &[f32], depth: usize, width: usize, to: &mut [f32]) {
    let mut scales = [0.0; WIDEST];
    for (n, scale) in scales[..width].iter_mut().enumerate() {
        *scale = scale_of_bytes((0..depth).map(|k| floats[k * width + n]));
    }
    lay_bytes(floats, width, |number, n| to_byte(number, scales[n]), |n| scales[n], to);
}

/// Numbers `[depth][width]` that are bytes already, with the scales of their columns.
pub(super) fn put_bytes(numbers: &[f32], width: usize, scale: impl Fn(usize) -> f32, to: &mut [f32]) {
    lay_bytes(numbers, width, |number, _| number as i8, scale, to);
}

/// Four rows to a row of words; then the columns' scales and sums.
fn lay_bytes(
    numbers: &[f32],
    width: usize,
    byte: impl Fn(f32, usize) -> i8,
    scale: impl Fn(usize) -> f32,
    to: &mut [f32],
) {
    let depth = numbers.len() / width.max(1);
    let (bytes, columns) = to.split_at_mut(Format::I8.words(depth) * width);
    let (scales, sums) = columns.split_at_mut(width);
    let mut counted = [0i32; WIDEST];
    for (i, word) in bytes.iter_mut().enumerate() {
        let (k, n) = (i / width * 4, i % width);
        let of_row = |k: usize| if k < depth { byte(numbers[k * width + n], n) } else { 0 };
        let four = [k, k + 1, k + 2, k + 3].map(of_row);
        counted[n] += four.iter().map(|&byte| i32::from(byte)).sum::<i32>();
        *word = f32::from_bits(u32::from_le_bytes(four.map(i8::cast_unsigned)));
    }
    scales.iter_mut().enumerate().for_each(|(n, to)| *to = scale(n));
    sums.iter_mut().zip(counted).for_each(|(to, sum)| *to = f32::from_bits(sum.cast_unsigned()));
}
