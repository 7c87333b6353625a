//! Weights laid out the way the micro-kernels read them.

use half::f16;
use half::slice::HalfFloatSliceExt;

use std::ops::{Deref, Range};
use std::sync::{Mutex, PoisonError};

use super::super::{Floats, MappedFloats, Shared, Workers};
use super::format::{Format, put_bytes};
use super::scaled::{Columns, Scaled};
use super::table::Microkernel;
use super::tile::PanelSize;
use crate::lock::lock;
use crate::{Result, memory};

/// The numbers of a source matrix, widened while they are packed.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    F32(&'a [f32]),
    /// Little-endian, of any alignment: as a file has them.
    F32Bytes(&'a [u8]),
    /// Likewise.
    F16Bytes(&'a [u8]),
    /// Whole numbers, a byte with a sign each.
    I8Bytes(&'a [u8]),
    /// Whole numbers times scales.
    Scaled(Scaled<'a>),
}

impl<'a> Values<'a> {
    fn len(&self) -> usize {
        match self {
            Self::F32(x) => x.len(),
            Self::F32Bytes(x) => x.len() / 4,
            Self::F16Bytes(x) => x.len() / 2,
            Self::I8Bytes(x) => x.len(),
            Self::Scaled(x) => x.len(),
        }
    }

    /// Those from number `i` on.
    pub fn from(self, i: usize) -> Values<'a> {
        match self {
            Self::F32(x) => Self::F32(&x[i..]),
            Self::F32Bytes(x) => Self::F32Bytes(&x[4 * i..]),
            Self::F16Bytes(x) => Self::F16Bytes(&x[2 * i..]),
            Self::I8Bytes(x) => Self::I8Bytes(&x[i..]),
            Self::Scaled(x) => Self::Scaled(x.from(i)),
        }
    }

    pub fn get(&self, i: usize) -> f32 {
        match self {
            Self::F32(x) => x[i],
            Self::F32Bytes(x) => f32::from_le_bytes([x[4 * i], x[4 * i + 1], x[4 * i + 2], x[4 * i + 3]]),
            Self::F16Bytes(x) => f16::from_le_bytes([x[2 * i], x[2 * i + 1]]).to_f32(),
            Self::I8Bytes(x) => f32::from(x[i].cast_signed()),
            Self::Scaled(x) => x.get(i),
        }
    }

    /// `to` becomes the neighbours from `start` on.
    ///
    /// # Panics
    /// If they go beyond the last.
    pub fn copy(&self, start: usize, to: &mut [f32]) {
        match self {
            Self::F32(x) => to.copy_from_slice(&x[start..start + to.len()]),
            Self::F32Bytes(x) => {
                let (bytes, _) = x[4 * start..4 * (start + to.len())].as_chunks();
                to.iter_mut().zip(bytes).for_each(|(to, bytes)| *to = f32::from_le_bytes(*bytes));
            }
            Self::F16Bytes(x) => {
                let bytes = x[2 * start..2 * (start + to.len())].chunks(2 * RUN);
                for (bytes, to) in bytes.zip(to.chunks_mut(RUN)) {
                    let mut halves = [f16::ZERO; RUN];
                    for (half, pair) in halves.iter_mut().zip(bytes.chunks_exact(2)) {
                        *half = f16::from_le_bytes([pair[0], pair[1]]);
                    }
                    halves[..to.len()].convert_to_f32_slice(to);
                }
            }
            Self::I8Bytes(x) => {
                let bytes = &x[start..start + to.len()];
                to.iter_mut().zip(bytes).for_each(|(to, byte)| *to = f32::from(byte.cast_signed()));
            }
            Self::Scaled(x) => x.copy(start, to),
        }
    }
}

/// Rows that a transposing copy takes at once: what it writes stays in the first cache.
const RUN: usize = 64;

/// A weight as it comes: the value for segment `s`, row `k` and column `n` is number
/// `s * segment_stride + k * row_stride + n * col_stride`.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    pub values: Values<'a>,
    pub cols: usize,
    pub segment_stride: usize,
    pub row_stride: usize,
    pub col_stride: usize,
}

impl Source<'_> {
    /// Holds that so many segments of `k` rows are there: before threads that may be an application's read them.
    ///
    /// # Panics
    /// If they are not.
    pub fn hold(&self, segments: usize, k: usize) {
        let counts = [segments, k, self.cols];
        let strides = [self.segment_stride, self.row_stride, self.col_stride];
        let last = counts.iter().zip(strides).try_fold(0usize, |last, (count, stride)| {
            count.saturating_sub(1).checked_mul(stride).and_then(|more| last.checked_add(more))
        });
        let fits = counts.contains(&0) || last.is_some_and(|last| last < self.values.len());
        assert!(fits, "a weight is shorter than it says");
    }

    /// `to` becomes these rows of segment `s`, one after another, of which it has these columns; those that the source
    /// has not are left as they are.
    ///
    /// # Panics
    /// If the source is shorter than its strides say.
    pub fn copy(&self, s: usize, rows: Range<usize>, columns: Range<usize>, to: &mut [f32]) {
        let &Source { values, cols, segment_stride, row_stride, col_stride } = self;
        let (wide, width) = (columns.len(), columns.end.min(cols) - columns.start);
        let at =
            |row: usize, n: usize| s * segment_stride + row * row_stride + (columns.start + n) * col_stride;
        if col_stride == 1 {
            rows.zip(to.chunks_mut(wide)).for_each(|(row, to)| values.copy(at(row, 0), &mut to[..width]));
            return;
        }
        let mut run = [0.0; RUN];
        for first in rows.clone().step_by(RUN) {
            let run = &mut run[..RUN.min(rows.end - first)];
            let to = &mut to[(first - rows.start) * wide..];
            for n in 0..width {
                if row_stride == 1 {
                    values.copy(at(first, n), run);
                } else {
                    run.iter_mut().enumerate().for_each(|(i, x)| *x = values.get(at(first + i, n)));
                }
                for (x, to) in run.iter().zip(to[n..].iter_mut().step_by(wide)) {
                    *to = *x;
                }
            }
        }
    }
}

/// Neighbouring columns that a micro-kernel computes together, `width` (whole vectors) from `col` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panel {
    pub col: usize,
    pub width: usize,
}

/// The right-hand side of a [`Matmul`](super::Matmul), for one micro-kernel: panels of a few vectors of columns, each
/// `[segments * k][width]` in words of its [`Format`], one after another; the columns that fill the last vector are
/// zero.
pub struct Packed {
    kernel: &'static Microkernel,
    segments: usize,
    k: usize,
    cols: usize,
    panels: Vec<Panel>,
    data: PackedFloats,
}

/// The numbers of a [`Packed`].
pub enum PackedFloats {
    Own(Floats),
    Mapped(MappedFloats),
}

impl Deref for PackedFloats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Self::Own(floats) => floats,
            Self::Mapped(floats) => floats,
        }
    }
}

impl Packed {
    /// Packs `source`. The inner dimension is `segments` (1 for a matrix, the taps of a convolution kernel)
    /// times `k`.
    ///
    /// # Errors
    /// `OutOfMemory`.
    ///
    /// # Panics
    /// If the source is shorter than its strides say.
    pub fn new(
        workers: &mut Workers,
        kernel: &'static Microkernel,
        segments: usize,
        k: usize,
        source: &Source,
    ) -> Result<Self> {
        let data = pack(kernel.panel(), kernel.format, segments, k, source, workers)?;
        Ok(Self { data: PackedFloats::Own(data), ..Self::hollow(kernel, segments, k, source.cols) })
    }

    /// What [`pack`] made; none if it is of another size.
    pub fn of(
        kernel: &'static Microkernel,
        segments: usize,
        k: usize,
        cols: usize,
        data: PackedFloats,
    ) -> Option<Self> {
        let wanted = packed_len(kernel.panel(), kernel.format, segments, k, cols)?;
        (data.len() == wanted).then(|| Self { data, ..Self::hollow(kernel, segments, k, cols) })
    }

    /// The shape without the numbers: to be replaced before it is multiplied with, which would panic.
    pub fn hollow(kernel: &'static Microkernel, segments: usize, k: usize, cols: usize) -> Self {
        let (panels, data) = (panels(kernel.panel(), cols), PackedFloats::Own(Floats::none()));
        Self { kernel, segments, k, cols, panels, data }
    }

    /// The same numbers as floats, of halves.
    ///
    /// # Errors
    /// `OutOfMemory`.
    ///
    /// # Panics
    /// If they are no halves.
    pub fn widened(&self) -> Result<Self> {
        assert_eq!(self.kernel.format, Format::F16, "only halves are widened");
        let mut floats = Floats::zeros(2 * self.data.len())?;
        for (pair, word) in floats.chunks_exact_mut(2).zip(self.data.iter()) {
            let halves = word.to_bits();
            pair.copy_from_slice(
                &[halves as u16, (halves >> 16) as u16].map(|half| f16::from_bits(half).to_f32()),
            );
        }
        let (kernel, data) = (Microkernel::exact(self.kernel.isa), PackedFloats::Own(floats));
        Ok(Self { data, ..Self::hollow(kernel, self.segments, self.k, self.cols) })
    }

    pub fn is_hollow(&self) -> bool {
        self.data.is_empty() && !self.panels.is_empty()
    }

    /// What multiplies by it.
    pub fn kernel(&self) -> &'static Microkernel {
        self.kernel
    }

    pub fn segments(&self) -> usize {
        self.segments
    }

    /// Rows of one segment.
    pub fn k(&self) -> usize {
        self.k
    }

    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Memory held.
    pub fn bytes(&self) -> usize {
        self.data.len() * size_of::<f32>()
    }

    pub(super) fn panels(&self) -> &[Panel] {
        &self.panels
    }

    /// The words of a panel.
    pub(super) fn panel(&self, panel: Panel) -> &[f32] {
        &self.data[self.words(panel.col)..][..self.words(panel.width)]
    }

    /// Words of so many columns.
    fn words(&self, cols: usize) -> usize {
        self.kernel.format.panel(self.segments * self.k, cols).unwrap_or(usize::MAX)
    }
}

/// Panels that are packed together, so that a row of the source is read in long stretches.
const TOGETHER: usize = 8;

/// The panels of `size` that `source` becomes, one after another: see [`Packed::new`], whose numbers these are. What
/// processor does it makes no difference. What is no float is rounded to the nearest number of its format; bytes that
/// have a scale for each column stay what they are.
///
/// # Errors
/// `OutOfMemory`.
///
/// # Panics
/// If the source is shorter than its strides say.
pub fn pack(
    size: PanelSize,
    format: Format,
    segments: usize,
    k: usize,
    source: &Source,
    workers: &mut Workers,
) -> Result<Floats> {
    source.hold(segments, k);
    let (panels, depth) = (panels(size, source.cols), segments * k);
    let columns = match source.values {
        Values::Scaled(scaled) if format == Format::I8 => Columns::new(scaled, source, segments, k),
        _ => None,
    };
    let source = columns.as_ref().map_or(source, |columns| &columns.numbers);
    let words = |cols: usize| format.panel(depth, cols).unwrap_or(usize::MAX);
    let mut data = Floats::zeros(panels.last().map_or(0, |p| words(p.col + p.width)))?;
    let (all, pieces) = (Shared::new(&mut data), panels.len().div_ceil(TOGETHER));
    let refused = Mutex::new(Ok(()));
    workers.each(pieces, 0, |piece, _| {
        let mine = &panels[piece * TOGETHER..panels.len().min((piece + 1) * TOGETHER)];
        let (from, wide) = (words(mine[0].col), mine.iter().map(|p| p.width).sum::<usize>());
        // SAFETY: panels lie one after another inside `data`, and no other piece has these.
        let mut to = unsafe { std::slice::from_raw_parts_mut(all.at(from), words(wide)) };
        if format == Format::F32 {
            return (0..segments).for_each(|s| pack_segment(source, s, k, depth, mine, to));
        }
        let mut floats = match memory::filled(wide * depth, 0.0) {
            Ok(floats) => floats,
            Err(error) => return *lock(&refused) = Err(error),
        };
        (0..segments).for_each(|s| pack_segment(source, s, k, depth, mine, &mut floats));
        let mut left = floats.as_slice();
        for panel in mine {
            let (floats, others) = left.split_at(panel.width * depth);
            let (words, further) = to.split_at_mut(words(panel.width));
            match &columns {
                Some(columns) => put_bytes(floats, panel.width, |n| columns.scale(panel.col + n), words),
                None => format.round(floats, panel.width, words),
            }
            (left, to) = (others, further);
        }
    });
    let refused = refused.into_inner().unwrap_or_else(PoisonError::into_inner);
    refused.map(|()| data)
}

/// Words of a packed matrix; none if they are more than can be counted.
fn packed_len(size: PanelSize, format: Format, segments: usize, k: usize, cols: usize) -> Option<usize> {
    let width = cols.div_ceil(size.lanes).checked_mul(size.lanes)?;
    format.panel(segments.checked_mul(k)?, width)
}

/// Cuts `cols` columns into panels as wide as the micro-kernels allow. A last panel of a single vector
/// would keep the multipliers waiting, so it takes one from the panel before.
fn panels(shape: PanelSize, cols: usize) -> Vec<Panel> {
    let vectors = cols.div_ceil(shape.lanes);
    let (mut at, mut panels) = (0, Vec::new());
    while at < vectors {
        let left = vectors - at;
        let take =
            if shape.vectors > 2 && left == shape.vectors + 1 { shape.vectors - 1 } else { shape.vectors };
        let take = take.min(left);
        panels.push(Panel { col: at * shape.lanes, width: take * shape.lanes });
        at += take;
    }
    panels
}

/// Copies segment `s` of `source` to the panels `mine` in `to`.
fn pack_segment(source: &Source, s: usize, k: usize, depth: usize, mine: &[Panel], to: &mut [f32]) {
    let rows = if source.col_stride == 1 { 1 } else { RUN };
    for first in (0..k).step_by(rows) {
        let rows = first..k.min(first + rows);
        for panel in mine {
            let to = &mut to[(panel.col - mine[0].col) * depth + (s * k + first) * panel.width..];
            source.copy(s, rows.clone(), panel.col..panel.col + panel.width, to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Isa;
    use super::super::super::parallel::{all_workers, noise};
    use super::*;

    /// Value of a packed weight at row `at` of the whole inner dimension and column `n`.
    fn value(packed: &Packed, at: usize, n: usize) -> f32 {
        let panel = packed.panels().iter().find(|p| (p.col..p.col + p.width).contains(&n)).unwrap();
        packed.panel(*panel)[at * panel.width + n - panel.col]
    }

    fn holds(segments: usize, k: usize, source: &Source) {
        all_workers(0, |workers| {
            let packed = Packed::new(workers, Microkernel::exact(workers.isa), segments, k, source).unwrap();
            for at in 0..segments * k {
                for n in 0..source.cols {
                    let from = at / k * source.segment_stride + at % k * source.row_stride;
                    let expected = source.values.get(from + n * source.col_stride);
                    assert_eq!(value(&packed, at, n), expected);
                }
            }
            assert_eq!(packed.cols(), source.cols);
            let padding = source.cols..packed.panels().last().map_or(0, |p| p.col + p.width);
            assert!(padding.into_iter().all(|n| (0..segments * k).all(|at| value(&packed, at, n) == 0.0)));
        });
    }

    fn halves(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect()
    }

    #[test]
    fn either_order_of_a_matrix_packs_to_the_same() {
        let (k, cols) = (150, 131);
        let values = noise(k * cols, 1);
        let (halves, floats) = (halves(&values), values.iter().flat_map(|x| x.to_le_bytes()));
        let floats: Vec<u8> = floats.collect();
        let bytes: Vec<u8> = (0..k * cols).map(|i| (i * 37 % 251) as u8).collect();
        let files = [Values::F32Bytes(&floats), Values::F16Bytes(&halves), Values::I8Bytes(&bytes)];
        assert_eq!((files[2].get(0), files[2].get(1), files[2].get(6)), (0.0, 37.0, -34.0));
        for values in [Values::F32(&values)].into_iter().chain(files) {
            for (row_stride, col_stride) in [(cols, 1), (1, k)] {
                holds(1, k, &Source { values, cols, segment_stride: 0, row_stride, col_stride });
            }
        }
    }

    #[test]
    fn every_number_of_columns_packs() {
        let (k, values) = (70, noise(70 * 300, 1));
        for (cols, row_stride, col_stride) in [(5, 5, 1), (200, 1, 70), (0, 0, 0), (60, 60, 1), (1, 1, 70)] {
            holds(
                1,
                k,
                &Source { values: Values::F32(&values), cols, segment_stride: 0, row_stride, col_stride },
            );
        }
    }

    #[test]
    fn a_convolution_kernel_becomes_segments() {
        let (cols, k) = (48, 20);
        let values = noise(cols * k * 9, 1);
        let values = Values::F32(&values);
        holds(9, k, &Source { values, cols, segment_stride: 1, row_stride: 9, col_stride: 9 * k });
    }

    #[test]
    fn panels_start_on_cache_lines() {
        all_workers(0, |workers| {
            let values = noise(64 * 96, 1);
            let source = Source {
                values: Values::F32(&values),
                cols: 96,
                segment_stride: 0,
                row_stride: 96,
                col_stride: 1,
            };
            let packed = Packed::new(workers, Microkernel::exact(workers.isa), 1, 64, &source).unwrap();
            assert!(packed.panels().iter().all(|p| packed.panel(*p).as_ptr().addr().is_multiple_of(64)));
        });
    }

    #[test]
    #[should_panic(expected = "shorter than it says")]
    fn a_short_weight_is_refused() {
        let workers = &mut Workers::new(Isa::Scalar, &super::super::super::Inline, &mut []);
        let values = Values::F32(&[0.0; 11]);
        let _ = Packed::new(
            workers,
            Microkernel::exact(Isa::Scalar),
            1,
            3,
            &Source { values, cols: 4, segment_stride: 0, row_stride: 4, col_stride: 1 },
        );
    }
}
