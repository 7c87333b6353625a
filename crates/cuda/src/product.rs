//! A product as its kernel wants it: rows in groups of one size, segments joined, weights in panels.

use flowturbo_kernels as kernels;
use flowturbo_kernels::error::unsupported;
use flowturbo_kernels::{Result, memory};
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

/// Bytes of packed weights `[depth, cols]`.
pub fn packed_bytes(number: Number, depth: usize, cols: usize) -> usize {
    let size = if matches!(number, Number::F16 | Number::Bf16) { 2 } else { 4 };
    cols.div_ceil(PANEL) * PANEL * depth.next_multiple_of(DEPTH) * size
}

/// Packs weights `[depth, cols]`, of which `get` gives each, as the kernel for `number` reads them: panels of 64
/// columns, each with all rows.
///
/// A panel of `f32` has row after row. In the others a warp's share of a tensor-core instruction lies together:
/// blocks of 16 columns by 16 rows (8 of `tf32`), in each 16 bytes for every lane, which are its operands of two
/// instructions.
///
/// # Errors
/// `OutOfMemory`.
pub fn pack(number: Number, depth: usize, cols: usize, get: impl Fn(usize, usize) -> f32) -> Result<Vec<u8>> {
    let mut packed = memory::filled(packed_bytes(number, depth, cols), 0u8)?;
    let padded = depth.next_multiple_of(DEPTH);
    for row in 0..depth {
        for col in 0..cols {
            let (value, within) = (get(row, col), col % PANEL);
            let first = col / PANEL * PANEL * padded;
            match number {
                Number::F32 => put(&mut packed, first + row * PANEL + within, value.to_le_bytes()),
                Number::Tf32 => {
                    // Lanes have rows t and t + 4 of columns g and g + 8.
                    let block = (row / 8 * PANEL / 16 + within / 16) * 128;
                    let lane = within % 8 * 4 + row % 4;
                    let at = lane * 4 + within % 16 / 8 * 2 + row % 8 / 4;
                    put(&mut packed, first + block + at, to_tf32(value).to_le_bytes());
                }
                Number::F16 | Number::Bf16 => {
                    // Lanes have rows 2t, 2t + 1, 2t + 8 and 2t + 9 of columns g and g + 8.
                    let block = (row / 16 * PANEL / 16 + within / 16) * 256;
                    let lane = within % 8 * 4 + row % 8 / 2;
                    let at = lane * 8 + within % 16 / 8 * 4 + row % 16 / 8 * 2 + row % 2;
                    let bits = match number {
                        Number::F16 => f16::from_f32(value).to_bits(),
                        _ => bf16::from_f32(value).to_bits(),
                    };
                    put(&mut packed, first + block + at, bits.to_le_bytes());
                }
            }
        }
    }
    Ok(packed)
}

fn put<const N: usize>(packed: &mut [u8], at: usize, bytes: [u8; N]) {
    packed[at * N..][..N].copy_from_slice(&bytes);
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

    #[test]
    fn packing_keeps_every_number_once_and_fills_up_with_zeros() {
        for number in Number::ALL {
            for (depth, cols) in [(1, 1), (33, 65), (48, 64), (16, 130)] {
                // Small whole numbers, which all kinds have.
                let packed =
                    pack(number, depth, cols, |row, col| ((row * cols + col) % 200 + 1) as f32).unwrap();
                let values: Vec<f32> = match number {
                    Number::F32 | Number::Tf32 => {
                        packed.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
                    }
                    Number::F16 => {
                        packed.as_chunks().0.iter().map(|&bytes| f16::from_le_bytes(bytes).to_f32()).collect()
                    }
                    Number::Bf16 => packed
                        .as_chunks()
                        .0
                        .iter()
                        .map(|&bytes| bf16::from_le_bytes(bytes).to_f32())
                        .collect(),
                };
                let kept = values.iter().filter(|value| **value != 0.0).count();
                assert_eq!(kept, depth * cols, "{number} {depth} {cols}");
                let sum: f64 = values.iter().map(|value| f64::from(*value)).sum();
                let want: usize = (0..depth * cols).map(|i| i % 200 + 1).sum();
                assert_eq!(sum, want as f64, "{number} {depth} {cols}");
            }
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
