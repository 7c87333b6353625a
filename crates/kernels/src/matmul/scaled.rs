//! Whole numbers that are weights by scales: how graphs that were quantised elsewhere store them.

use serde::{Deserialize, Serialize};

use super::{Source, Values};
use crate::Result;
use crate::error::{invalid_bundle, non_finite};

/// How whole numbers are stored: bytes, or two to a byte, the first in its low half.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Whole {
    I8,
    U8,
    I4,
    U4,
}

impl Whole {
    /// Bytes of so many numbers.
    pub fn bytes(self, numbers: usize) -> usize {
        match self {
            Self::I8 | Self::U8 => numbers,
            Self::I4 | Self::U4 => numbers.div_ceil(2),
        }
    }

    /// The least and the greatest number.
    pub fn range(self) -> [i32; 2] {
        match self {
            Self::I8 => [-128, 127],
            Self::U8 => [0, 255],
            Self::I4 => [-8, 7],
            Self::U4 => [0, 15],
        }
    }

    /// Number `i` of `bytes`.
    pub fn get(self, bytes: &[u8], i: usize) -> i32 {
        let half = || i32::from(bytes[i / 2] >> (4 * (i % 2)) & 15);
        match self {
            Self::I8 => i32::from(bytes[i].cast_signed()),
            Self::U8 => i32::from(bytes[i]),
            Self::I4 => (half() ^ 8) - 8,
            Self::U4 => half(),
        }
    }
}

/// Which numbers of a tensor share a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    All,
    /// Those of one place along an axis.
    Axis(usize),
    /// So many neighbours along an axis.
    Blocks(usize, usize),
}

/// The scales of a tensor of whole numbers, whose weights are `(number - zero) * scale`: one for all, one for each
/// place along an axis, or one for each block of places there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scales {
    pub whole: Whole,
    /// Places along the axis, and numbers from one to the next.
    along: usize,
    inner: usize,
    /// Places that share a scale.
    block: usize,
    /// From a scale to that of the next numbers before the axis, of the next block, and of the next number behind it.
    steps: [usize; 3],
    scales: Vec<f32>,
    /// As many, or none where all are 0.
    zeros: Vec<i16>,
}

impl Scales {
    /// Those of a tensor of `shape`.
    pub fn new(whole: Whole, shape: &[usize], sharing: Sharing, scales: Vec<f32>, zeros: Vec<i16>) -> Self {
        let (axis, block) = match sharing {
            Sharing::All => {
                return Self { whole, along: 1, inner: 1, block: 1, steps: [0; 3], scales, zeros };
            }
            Sharing::Axis(axis) => (axis, 1),
            Sharing::Blocks(axis, block) => (axis, block),
        };
        let (along, inner) = (shape[axis], shape[axis + 1..].iter().product());
        let steps = match sharing {
            Sharing::Blocks(..) => [along.div_ceil(block) * inner, inner, 1],
            _ => [0, 1, 0],
        };
        Self { whole, along, inner, block, steps, scales, zeros }
    }

    /// Holds that each of so many numbers has a scale and a zero.
    ///
    /// # Errors
    /// `InvalidBundle`: it has not. `NonFinite`: a scale that is infinite or NaN.
    pub fn serve(&self, numbers: usize) -> Result<()> {
        let Self { along, inner, block, steps, ref scales, ref zeros, .. } = *self;
        let last = || {
            let outer = numbers.div_ceil(along.checked_mul(inner)?).saturating_sub(1);
            let places = [outer, (along - 1) / block, inner - 1];
            places.iter().zip(steps).try_fold(0usize, |sum, (n, step)| sum.checked_add(n.checked_mul(step)?))
        };
        let each = along > 0 && inner > 0 && block > 0 && last().is_some_and(|last| last < scales.len());
        if !each || !(zeros.is_empty() || zeros.len() == scales.len()) {
            return Err(invalid_bundle("has numbers without a scale"));
        }
        match scales.iter().find(|scale| !scale.is_finite()) {
            Some(scale) => Err(non_finite(format!("has the scale {scale}; quantise the model again"))),
            None => Ok(()),
        }
    }

    /// Which scale number `i` has.
    fn of(&self, i: usize) -> usize {
        let place = Place::new(self, i);
        place.first + place.inner * self.steps[2]
    }

    fn zero(&self, scale: usize) -> i32 {
        self.zeros.get(scale).map_or(0, |&zero| i32::from(zero))
    }
}

/// Where a number is, and the scale of the first one behind the axis.
struct Place {
    outer: usize,
    along: usize,
    inner: usize,
    first: usize,
}

impl Place {
    fn new(scales: &Scales, i: usize) -> Self {
        let (rest, inner) = (i / scales.inner, i % scales.inner);
        let mut place = Self { outer: rest / scales.along, along: rest % scales.along, inner, first: 0 };
        place.enter(scales);
        place
    }

    fn enter(&mut self, scales: &Scales) {
        let block = if scales.block == 1 { self.along } else { self.along / scales.block };
        self.first = self.outer * scales.steps[0] + block * scales.steps[1];
    }

    fn next(&mut self, scales: &Scales) {
        self.inner += 1;
        if self.inner < scales.inner {
            return;
        }
        (self.inner, self.along) = (0, self.along + 1);
        if self.along == scales.along {
            (self.along, self.outer) = (0, self.outer + 1);
        }
        self.enter(scales);
    }
}

/// Whole numbers and their scales, from one of them on.
#[derive(Clone, Copy, Debug)]
pub struct Scaled<'a> {
    bytes: &'a [u8],
    scales: &'a Scales,
    start: usize,
    /// As numbers less their zeros, without the scales.
    bare: bool,
}

impl<'a> Scaled<'a> {
    pub fn new(bytes: &'a [u8], scales: &'a Scales) -> Self {
        Self { bytes, scales, start: 0, bare: false }
    }

    pub(super) fn len(&self) -> usize {
        let per = if self.scales.whole.bytes(2) == 1 { 2 } else { 1 };
        (self.bytes.len() * per).saturating_sub(self.start)
    }

    pub(super) fn from(self, i: usize) -> Self {
        Self { start: self.start + i, ..self }
    }

    pub(super) fn get(&self, i: usize) -> f32 {
        self.weight(self.start + i, self.scales.of(self.start + i))
    }

    fn weight(&self, i: usize, scale: usize) -> f32 {
        // Exact: both are small.
        let number = (self.scales.whole.get(self.bytes, i) - self.scales.zero(scale)) as f32;
        if self.bare { number } else { number * self.scales.scales[scale] }
    }

    pub(super) fn copy(&self, start: usize, to: &mut [f32]) {
        let first = self.start + start;
        let mut place = Place::new(self.scales, first);
        for (i, to) in to.iter_mut().enumerate() {
            *to = self.weight(first + i, place.first + place.inner * self.scales.steps[2]);
            place.next(self.scales);
        }
    }
}

/// The columns of a matrix as bytes with a sign, as they are stored, and the scale of each.
pub(super) struct Columns<'a> {
    /// The numbers less their zeros.
    pub(super) numbers: Source<'a>,
    scaled: Scaled<'a>,
}

impl<'a> Columns<'a> {
    /// Those of `scaled`, which is what `source` has, for `k` rows in each of some segments; none if a column has
    /// several scales, or numbers that are no bytes.
    pub(super) fn new(scaled: Scaled<'a>, source: &Source<'a>, segments: usize, k: usize) -> Option<Self> {
        let Scales { whole, along, inner, steps, zeros, .. } = scaled.scales;
        let alike = || {
            // A step keeps the place along the axis if it goes around whole axes, or stays behind one place of it.
            let round = along * inner;
            let within = [(source.segment_stride, segments), (source.row_stride, k)]
                .iter()
                .filter(|(stride, _)| !stride.is_multiple_of(round))
                .map(|(stride, count)| stride * (count - 1))
                .sum::<usize>();
            let columns = source.cols <= 1 || source.col_stride.is_multiple_of(*inner);
            *steps == [0, 1, 0]
                && scaled.scales.block == 1
                && columns
                && scaled.start % inner + within < *inner
        };
        let one = *steps == [0; 3];
        let [least, most] = whole.range();
        let bytes = |zero: i32| least - zero >= -128 && most - zero <= 127;
        let all = if zeros.is_empty() { bytes(0) } else { zeros.iter().all(|&zero| bytes(i32::from(zero))) };
        let empty = segments * k == 0;
        let numbers = Source { values: Values::Scaled(Scaled { bare: true, ..scaled }), ..*source };
        (all && !empty && (one || alike())).then_some(Self { numbers, scaled })
    }

    /// The scale of a column; of those that fill a panel 0.
    pub(super) fn scale(&self, column: usize) -> f32 {
        let Source { cols, col_stride, .. } = self.numbers;
        let scale =
            |n: usize| self.scaled.scales.scales[self.scaled.scales.of(self.scaled.start + n * col_stride)];
        if column < cols { scale(column) } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Inline, Isa, Workers};
    use super::super::{Format, Microkernel, Packed};
    use super::*;

    const KINDS: [Whole; 4] = [Whole::I8, Whole::U8, Whole::I4, Whole::U4];

    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 89 + i / 7) as u8).collect()
    }

    fn scales(len: usize) -> Vec<f32> {
        (0..len).map(|i| 0.01 + i as f32 / 512.0).collect()
    }

    fn packed(
        values: Values,
        format: Format,
        [segments, k, cols]: [usize; 3],
        strides: [usize; 3],
    ) -> Packed {
        let workers = &mut Workers::new(Isa::Scalar, &Inline, &mut []);
        let [segment_stride, row_stride, col_stride] = strides;
        let source = Source { values, cols, segment_stride, row_stride, col_stride };
        let kernel = Microkernel::of(Isa::Scalar, format).unwrap();
        Packed::new(workers, kernel, segments, k, &source).unwrap()
    }

    fn words(packed: &Packed) -> Vec<u32> {
        packed.panels().iter().flat_map(|panel| packed.panel(*panel)).map(|word| word.to_bits()).collect()
    }

    #[test]
    fn numbers_become_floats_by_the_scale_and_the_zero_of_their_place() {
        let shape = [3, 5, 4];
        for whole in KINDS {
            let bytes = bytes(whole.bytes(60));
            for (sharing, count) in [
                (Sharing::All, 1),
                (Sharing::Axis(0), 3),
                (Sharing::Axis(1), 5),
                (Sharing::Axis(2), 4),
                (Sharing::Blocks(1, 2), 36),
                (Sharing::Blocks(2, 4), 15),
                (Sharing::Blocks(0, 9), 20),
            ] {
                for zeros in [Vec::new(), (0..count as i16).map(|i| i % 7 - 3).collect()] {
                    let scales = Scales::new(whole, &shape, sharing, scales(count), zeros.clone());
                    scales.serve(60).unwrap();
                    let scaled = Scaled::new(&bytes, &scales);
                    let expected: Vec<f32> = (0..60)
                        .map(|i| {
                            let [a, b, c] = [i / 20, i / 4 % 5, i % 4];
                            let of = match sharing {
                                Sharing::All => 0,
                                Sharing::Axis(axis) => [a, b, c][axis],
                                Sharing::Blocks(0, _) => i % 20,
                                Sharing::Blocks(1, _) => a * 12 + b / 2 * 4 + c,
                                Sharing::Blocks(..) => a * 5 + b,
                            };
                            let zero = zeros.get(of).map_or(0, |&zero| i32::from(zero));
                            (whole.get(&bytes, i) - zero) as f32 * scales.scales[of]
                        })
                        .collect();
                    let mut all = vec![0.0; 60];
                    scaled.copy(0, &mut all);
                    assert_eq!(all, expected, "{whole:?} {sharing:?}");
                    let mut some = vec![0.0; 13];
                    scaled.from(6).copy(11, &mut some);
                    assert_eq!(some, expected[17..30], "{whole:?} {sharing:?}");
                    assert_eq!(scaled.from(5).get(32), expected[37]);
                }
            }
        }
    }

    #[test]
    fn numbers_are_read_as_they_are_stored() {
        let bytes = [0x7f, 0x80, 0xf1];
        let all = |whole: Whole, count| (0..count).map(|i| whole.get(&bytes, i)).collect::<Vec<_>>();
        assert_eq!(all(Whole::I8, 3), [127, -128, -15]);
        assert_eq!(all(Whole::U8, 3), [127, 128, 241]);
        assert_eq!(all(Whole::I4, 6), [-1, 7, 0, -8, 1, -1]);
        assert_eq!(all(Whole::U4, 6), [15, 7, 0, 8, 1, 15]);
    }

    #[test]
    fn bytes_that_have_a_scale_for_each_column_are_multiplied_as_they_are() {
        // Sizes, the shape in the file, the strides, which axis has the scales, where the matrix starts.
        let cases = [
            ([1, 9, 37], vec![9, 37], [0, 37, 1], 1, 0),
            ([1, 9, 37], vec![37, 9], [0, 1, 9], 0, 0),
            ([1, 9, 11], vec![9, 37], [0, 37, 1], 1, 20),
            ([1, 9, 11], vec![37, 9], [0, 1, 9], 0, 9 * 20),
            ([4, 6, 5], vec![5, 6, 2, 2], [1, 4, 24], 0, 0),
            ([1, 9, 37], vec![3, 3, 37], [0, 37, 1], 2, 0),
        ];
        for (sizes, shape, strides, axis, start) in cases {
            let [segments, k, cols] = sizes;
            let numbers: usize = shape.iter().product();
            for (whole, zero) in [(Whole::I8, 0), (Whole::U8, 128), (Whole::I4, -3), (Whole::U4, 9)] {
                for sharing in [Sharing::All, Sharing::Axis(axis)] {
                    let count = if sharing == Sharing::All { 1 } else { shape[axis] };
                    let bytes = bytes(whole.bytes(numbers));
                    let zeros = if zero == 0 { Vec::new() } else { vec![zero; count] };
                    let scales = Scales::new(whole, &shape, sharing, scales(count), zeros);
                    let values = Values::Scaled(Scaled::new(&bytes, &scales)).from(start);
                    let packed = packed(values, Format::I8, sizes, strides);
                    for panel in packed.panels() {
                        let (words, width) = (packed.panel(*panel), panel.width);
                        let rows = (segments * k).div_ceil(4);
                        for n in 0..panel.width.min(cols - panel.col) {
                            let column = panel.col + n;
                            let of = |s: usize, row: usize| {
                                start + s * strides[0] + row * strides[1] + column * strides[2]
                            };
                            assert_eq!(words[rows * width + n], scales.scales[scales.of(of(0, 0))]);
                            for i in 0..segments * k {
                                let word = words[i / 4 * width + n].to_bits().to_le_bytes();
                                let number = whole.get(&bytes, of(i / k, i % k)) - i32::from(zero);
                                assert_eq!(
                                    i32::from(word[i % 4].cast_signed()),
                                    number,
                                    "{whole:?} {shape:?}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_has_no_such_bytes_is_rounded_as_its_floats_are() {
        let (sizes, shape, strides) = ([1, 8, 12], [8, 12], [0, 12, 1]);
        for (whole, sharing, count, zero) in [
            (Whole::I8, Sharing::Axis(0), 8, 0),
            (Whole::I8, Sharing::Blocks(0, 4), 24, 0),
            (Whole::I8, Sharing::Axis(1), 12, 1),
            (Whole::U8, Sharing::Axis(1), 12, 127),
            (Whole::I4, Sharing::Blocks(0, 8), 12, 0),
        ] {
            let bytes = bytes(whole.bytes(96));
            let zeros = if zero == 0 { Vec::new() } else { vec![zero; count] };
            let scales = Scales::new(whole, &shape, sharing, scales(count), zeros);
            let scaled = Scaled::new(&bytes, &scales);
            let mut floats = vec![0.0; 96];
            scaled.copy(0, &mut floats);
            for format in
                Format::ALL.into_iter().filter(|&format| Microkernel::of(Isa::Scalar, format).is_some())
            {
                let packed = |values| words(&packed(values, format, sizes, strides));
                assert_eq!(
                    packed(Values::Scaled(scaled)),
                    packed(Values::F32(&floats)),
                    "{whole:?} {format}"
                );
            }
        }
    }

    #[test]
    fn scales_that_do_not_serve_all_numbers_are_refused() {
        let of = |sharing, scales: Vec<f32>, zeros| Scales::new(Whole::I8, &[4, 6], sharing, scales, zeros);
        assert!(of(Sharing::Axis(1), scales(6), vec![1; 6]).serve(24).is_ok());
        for wrong in [
            of(Sharing::Axis(1), scales(5), Vec::new()),
            of(Sharing::Blocks(0, 2), scales(11), Vec::new()),
            of(Sharing::All, Vec::new(), Vec::new()),
            of(Sharing::Axis(1), scales(6), vec![1; 5]),
            Scales { along: 0, ..of(Sharing::All, scales(1), Vec::new()) },
            Scales { steps: [usize::MAX; 3], ..of(Sharing::Axis(1), scales(6), Vec::new()) },
        ] {
            let error = wrong.serve(24).unwrap_err().to_string();
            assert_eq!(error, "has numbers without a scale");
        }
        let error = of(Sharing::All, vec![f32::NAN], Vec::new()).serve(24).unwrap_err().to_string();
        assert_eq!(error, "has the scale NaN; quantise the model again");
    }
}
