//! A product as its kernel wants it: rows in groups of one size, segments joined, weights in panels.

use std::sync::Mutex;

use flowturbo_kernels as kernels;
use flowturbo_kernels::error::unsupported;
use flowturbo_kernels::lock::lock;
use flowturbo_kernels::{Floats, Isa, Parallel, Result, Source, Workers, memory};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::arguments::{EPILOGUE_STEPS, EpilogueStep, Group, Matmul, counted};
use crate::kernel::Number;

/// Columns of a panel.
pub const PANEL: usize = 64;

/// Rows of a panel come in multiples of this, zeros at the end.
pub const DEPTH: usize = 32;

/// A product in an arena, and the tables that its kernel reads.
pub struct Product {
    /// Where weights, groups and segments are is for whoever uploads them.
    pub arguments: Matmul,
    pub groups: Vec<Group>,
    pub segments: Vec<u64>,
    /// One past the last float of the arena that is read or written, of rows and of what the epilogue takes.
    pub end: usize,
}

/// The shape of a product: places are offsets in an arena.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    pub groups: &'a [kernels::Group],
    pub a_stride: usize,
    /// Where the segments of a row start, from where the row starts.
    pub segments: &'a [usize],
    /// Numbers of a segment.
    pub k: usize,
    pub cols: usize,
    pub c_stride: usize,
    pub epilogue: &'a [kernels::Epilogue],
}

impl Product {
    /// Makes a product's arguments and tables.
    ///
    /// # Errors
    /// `Unsupported`: sizes that are too large, more than 16 steps of an epilogue. `OutOfMemory`.
    pub fn new(shape: Shape) -> Result<Self> {
        let Shape { a_stride, k, cols, c_stride, epilogue, .. } = shape;
        if epilogue.len() > EPILOGUE_STEPS {
            let most = format!("CUDA kernels take {EPILOGUE_STEPS}");
            return Err(unsupported(format!("a product with {} steps behind it; {most}", epilogue.len())));
        }
        let rows = shape.groups.iter().fold(0usize, |sum, group| sum.saturating_add(group.rows));
        counted(shape.segments.len().saturating_mul(k))?;
        // Tiles are counted too, of which there are not more than these.
        counted(rows.div_ceil(64).saturating_mul(cols.div_ceil(64)))?;
        let (segments, k) = joined(shape.segments, k);
        let (groups, rows_per_group) = even(shape.groups, a_stride, c_stride)?;
        let starts = groups.iter().map(|group| group.a as usize);
        let mut places = [a_stride, k].into_iter().chain(segments.iter().copied()).chain(starts);
        let aligned = places.all(|n| n.is_multiple_of(4));
        let mut arguments = Matmul {
            a_stride: a_stride as u64,
            c_stride: c_stride as u64,
            rows: counted(rows)?,
            rows_per_group: counted(rows_per_group)?,
            segment_count: counted(segments.len())?,
            k: counted(k)?,
            cols: counted(cols)?,
            aligned: u32::from(aligned),
            steps: counted(epilogue.len())?,
            ..Matmul::default()
        };
        for (to, step) in arguments.epilogue.iter_mut().zip(epilogue) {
            *to = EpilogueStep::new(step);
        }
        let end = end(&shape);
        let segments = memory::collected(segments.len(), segments.iter().map(|&at| at as u64))?;
        Ok(Self { arguments, groups, segments, end })
    }
}

impl EpilogueStep {
    fn new(step: &kernels::Epilogue) -> Self {
        use flowturbo_kernels::Epilogue;
        let place = |kind, offset: usize, stride: usize| Self {
            kind,
            factor: 0.0,
            offset: offset as u64,
            stride: stride as u64,
        };
        match *step {
            Epilogue::Bias { offset } => place(0, offset, 0),
            Epilogue::Gelu => place(1, 0, 0),
            Epilogue::GeluErf => place(2, 0, 0),
            Epilogue::Silu => place(3, 0, 0),
            Epilogue::Gate { offset, image_stride } => place(4, offset, image_stride),
            Epilogue::Residual { offset, stride } => place(5, offset, stride),
            Epilogue::Scale(factor) => Self { kind: 6, factor, ..Self::default() },
        }
    }
}

/// Segments that follow one another made one, if all become equally long.
fn joined(segments: &[usize], k: usize) -> (Vec<usize>, usize) {
    let count = segments.len();
    let joins = |together: &usize| {
        count.is_multiple_of(*together)
            && segments.chunks(*together).all(|s| s.windows(2).all(|pair| pair[1] == pair[0] + k))
    };
    let together = (1..=count).rev().find(joins).unwrap_or(1);
    (segments.iter().copied().step_by(together).collect(), k * together)
}

/// The same rows in groups of one size.
fn even(groups: &[kernels::Group], a_stride: usize, c_stride: usize) -> Result<(Vec<Group>, usize)> {
    let common = |a: usize, b: usize| {
        let (mut a, mut b) = (a, b);
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let size = groups.iter().fold(0, |size, group| common(size, group.rows)).max(1);
    let mut same = Vec::new();
    memory::reserve(&mut same, groups.iter().map(|group| group.rows / size).sum())?;
    for group in groups {
        for first in (0..group.rows).step_by(size) {
            same.push(Group {
                a: (group.a + first * a_stride) as u64,
                c: (group.c + first * c_stride) as u64,
                row: counted(group.row + first)?,
                image: counted(group.image)?,
            });
        }
    }
    Ok((same, size))
}

/// One past the last float that is touched.
fn end(shape: &Shape) -> usize {
    use flowturbo_kernels::Epilogue;
    let Shape { groups, a_stride, segments, k, cols, c_stride, epilogue } = *shape;
    let furthest = segments.iter().max().map_or(0, |segment| segment.saturating_add(k));
    let after = |start: usize, count: usize, stride: usize, run: usize| {
        start.saturating_add(count.saturating_mul(stride)).saturating_add(run)
    };
    let mut end = 0;
    for group in groups.iter().filter(|group| group.rows > 0) {
        let last = group.rows - 1;
        end = end.max(after(group.a, last, a_stride, furthest)).max(after(group.c, last, c_stride, cols));
        for step in epilogue {
            end = end.max(match *step {
                Epilogue::Bias { offset } => after(offset, 0, 0, cols),
                Epilogue::Gate { offset, image_stride } => after(offset, group.image, image_stride, cols),
                Epilogue::Residual { offset, stride } => after(offset, group.row + last, stride, cols),
                _ => 0,
            });
        }
    }
    end
}

/// Packs the weights of `source`, segments of `k` rows, as the kernel for `number` reads them: panels of 64 columns,
/// each with all rows, filled up with zeros. Each of `parallel`'s threads takes the next panel. `room` is memory from
/// one matrix to the next, since the system gives what is new slowly.
///
/// A panel of `f32` has row after row. In the others a warp's share of a tensor-core instruction lies together:
/// blocks of 16 columns by 16 rows (8 of `tf32`), in each 16 bytes for every lane, which are its operands of two
/// instructions.
///
/// # Errors
/// `OutOfMemory`.
///
/// # Panics
/// If the source is shorter than its strides say.
pub fn pack<'a>(
    number: Number,
    segments: usize,
    k: usize,
    source: &Source,
    parallel: &dyn Parallel,
    room: &'a mut Floats,
) -> Result<&'a [f32]> {
    source.hold(segments, k);
    let depth = segments.saturating_mul(k);
    let of_panel = depth.div_ceil(DEPTH).saturating_mul(words(number));
    let panels = source.cols.div_ceil(PANEL);
    let all = panels.saturating_mul(of_panel);
    if room.len() < all {
        *room = Floats::none();
        *room = Floats::zeros(all)?;
    }
    let each = memory::collected(panels, room[..all].chunks_mut(of_panel.max(1)).map(Mutex::new))?;
    let workers = &mut Workers::new(Isa::available()[0], parallel, &mut []);
    workers.each(each.len(), 0, |i, _| {
        let panel = &mut lock(&each[i]);
        let columns = i * PANEL..(i + 1) * PANEL;
        for (first, to) in (0..depth).step_by(DEPTH).zip(panel.chunks_mut(words(number))) {
            let mut rows = [0.0; DEPTH * PANEL];
            let (mut row, end) = (first, depth.min(first + DEPTH));
            // They may be of several segments.
            while row < end {
                let (segment, within) = (row / k, row % k);
                let count = (k - within).min(end - row);
                let to = &mut rows[(row - first) * PANEL..];
                source.copy(segment, within..within + count, columns.clone(), to);
                row += count;
            }
            arrange(number, &rows, to);
        }
    });
    drop(each);
    Ok(&room[..all])
}

/// Words that the rows of a panel take which are packed together.
fn words(number: Number) -> usize {
    if matches!(number, Number::F16 | Number::Bf16) { DEPTH * PANEL / 2 } else { DEPTH * PANEL }
}

/// Puts rows of a panel in the order of their kernel.
fn arrange(number: Number, rows: &[f32; DEPTH * PANEL], to: &mut [f32]) {
    match number {
        Number::F32 => to.copy_from_slice(rows),
        Number::Tf32 => {
            // Lanes have rows t and t + 4 of columns g and g + 8.
            for (at, to) in to.iter_mut().enumerate() {
                let (block, lane) = (at / 128, at / 4 % 32);
                let row = block / (PANEL / 16) * 8 + lane % 4 + at % 2 * 4;
                let column = block % (PANEL / 16) * 16 + lane / 4 + at / 2 % 2 * 8;
                *to = to_tf32(rows[(row * PANEL + column) % rows.len()]);
            }
        }
        Number::F16 => {
            let mut halves = [f16::ZERO; DEPTH * PANEL];
            halves.convert_from_f32_slice(rows);
            arrange_halves(halves.reinterpret_cast(), to);
        }
        Number::Bf16 => {
            let mut halves = [bf16::ZERO; DEPTH * PANEL];
            halves.convert_from_f32_slice(rows);
            arrange_halves(halves.reinterpret_cast(), to);
        }
    }
}

/// Likewise of two bytes each.
fn arrange_halves(rows: &[u16], to: &mut [f32]) {
    // Lanes have rows 2t, 2t + 1, 2t + 8 and 2t + 9 of columns g and g + 8.
    for (at, to) in to.iter_mut().enumerate() {
        let (block, lane) = (at / 128, at / 4 % 32);
        let row = block / (PANEL / 16) * 16 + lane % 4 * 2 + at % 2 * 8;
        let column = block % (PANEL / 16) * 16 + lane / 4 + at / 2 % 2 * 8;
        let [first, second] = [row, row + 1].map(|row| u32::from(rows[(row * PANEL + column) % rows.len()]));
        *to = f32::from_bits(first | second << 16);
    }
}

/// The nearest number of 10 bits of mantissa, ties away from 0 as `cvt.rna.tf32` has them.
fn to_tf32(value: f32) -> f32 {
    if value.is_finite() { f32::from_bits((value.to_bits() + 0x1000) & !0x1fff) } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_in_groups_of_one_size_and_segments_that_follow_are_one() {
        let group = |a, c, row, rows, image| kernels::Group { a, c, row, rows, image };
        let groups = [group(100, 900, 0, 6, 0), group(200, 960, 6, 4, 1)];
        let epilogue = [kernels::Epilogue::Residual { offset: 2000, stride: 7 }];
        let shape = Shape {
            groups: &groups,
            a_stride: 8,
            segments: &[0, 4, 40, 44],
            k: 4,
            cols: 5,
            c_stride: 10,
            epilogue: &epilogue,
        };
        let product = Product::new(shape).unwrap();
        let made: Vec<_> = product.groups.iter().map(|g| (g.a, g.c, g.row, g.image)).collect();
        let want = [(100, 900, 0, 0), (116, 920, 2, 0), (132, 940, 4, 0), (200, 960, 6, 1), (216, 980, 8, 1)];
        assert_eq!(made, want);
        assert_eq!(product.segments, [0, 40]);
        let Matmul { rows, rows_per_group, segment_count, k, aligned, .. } = product.arguments;
        assert_eq!((rows, rows_per_group, segment_count, k, aligned), (10, 2, 2, 8, 1));
        assert_eq!(product.end, 2000 + 9 * 7 + 5);
        // Segments that do not all become equally long stay as they are.
        let product = Product::new(Shape { segments: &[0, 4, 41], ..shape }).unwrap();
        assert_eq!(
            (product.segments, product.arguments.k, product.arguments.aligned),
            (vec![0, 4, 41], 4, 0)
        );
    }

    /// Where `matmul_tensor.cu` and `matmul_f32.cu` look for a number: its word, and which half of that.
    fn place(number: Number, depth: usize, row: usize, col: usize) -> (usize, usize) {
        let (padded, within) = (depth.next_multiple_of(DEPTH), col % PANEL);
        let first = col / PANEL * PANEL * padded;
        match number {
            Number::F32 => (first + row * PANEL + within, 0),
            Number::Tf32 => {
                let block = (row / 8 * 4 + within / 16) * 128;
                let lane = within % 8 * 4 + row % 4;
                (first + block + lane * 4 + within % 16 / 8 * 2 + row % 8 / 4, 0)
            }
            Number::F16 | Number::Bf16 => {
                let block = (row / 16 * 4 + within / 16) * 128;
                let lane = within % 8 * 4 + row % 8 / 2;
                (first / 2 + block + lane * 4 + within % 16 / 8 * 2 + row % 16 / 8, row % 2)
            }
        }
    }

    #[test]
    fn packing_puts_every_number_where_its_kernel_looks_and_zeros_beside_them() {
        let (two, mut room) = (kernels::Pool::new(2).unwrap(), Floats::none());
        for number in Number::ALL {
            for (segments, k, cols) in
                [(1, 1, 1), (3, 11, 65), (1, 48, 64), (2, 20, 130), (1, 0, 3), (9, 70, 9)]
            {
                // Small whole numbers, which all kinds have.
                let floats: Vec<f32> = (0..segments * k * cols).map(|i| (i % 200 + 1) as f32).collect();
                let depth = segments * k;
                let strides = [(k * cols, cols, 1), (k, 1, depth), (1, segments, depth)];
                for (segment_stride, row_stride, col_stride) in strides {
                    let values = kernels::Values::F32(&floats);
                    let source = Source { values, cols, segment_stride, row_stride, col_stride };
                    // Used for something else before.
                    room.fill(f32::NAN);
                    let packed = pack(number, segments, k, &source, &two, &mut room).unwrap();
                    let mut left = packed.iter().filter(|word| word.to_bits() != 0).count();
                    assert!(left <= depth * cols, "{number} {segments} {k} {cols}: {left}");
                    for (row, col) in (0..depth).flat_map(|row| (0..cols).map(move |col| (row, col))) {
                        let (word, half) = place(number, depth, row, col);
                        let bits = (packed[word].to_bits() >> (16 * half)) as u16;
                        let found = match number {
                            Number::F32 | Number::Tf32 => packed[word],
                            Number::F16 => f16::from_bits(bits).to_f32(),
                            Number::Bf16 => bf16::from_bits(bits).to_f32(),
                        };
                        let at = row / k * segment_stride + row % k * row_stride + col * col_stride;
                        assert_eq!(
                            found, floats[at],
                            "{number} {segments} {k} {cols}: row {row}, column {col}"
                        );
                        left -= usize::from(half == 0);
                    }
                    assert_eq!(left, 0, "{number} {segments} {k} {cols}");
                }
            }
        }
    }

    #[test]
    fn weights_beyond_memory_are_an_error() {
        let values = kernels::Values::F32(&[1.0]);
        for (segments, k, cols) in
            [(1, usize::MAX, 1), (usize::MAX, 3, 1), (1, 1, usize::MAX), (1, 1 << 40, 1 << 40)]
        {
            let source = Source { values, cols, segment_stride: 0, row_stride: 0, col_stride: 0 };
            let room = &mut Floats::none();
            let error = pack(Number::F16, segments, k, &source, &kernels::Inline, room).err().unwrap();
            assert_eq!(error.kind(), kernels::ErrorKind::OutOfMemory, "{segments} {k} {cols}: {error}");
        }
    }

    #[test]
    fn tf32_is_rounded_to_ten_bits() {
        assert_eq!(to_tf32(1.0 + 2f32.powi(-11)), 1.0 + 2f32.powi(-10));
        assert_eq!(to_tf32(-1.0 - 2f32.powi(-12)), -1.0);
        assert!(to_tf32(f32::NAN).is_nan() && to_tf32(f32::INFINITY) == f32::INFINITY);
    }

    #[test]
    fn a_long_epilogue_is_refused_by_name() {
        let epilogue = [kernels::Epilogue::Gelu; 17];
        let shape = Shape {
            groups: &[],
            a_stride: 1,
            segments: &[0],
            k: 1,
            cols: 1,
            c_stride: 1,
            epilogue: &epilogue,
        };
        let error = Product::new(shape).err().unwrap().to_string();
        assert_eq!(error, "a product with 17 steps behind it; CUDA kernels take 16");
    }
}
