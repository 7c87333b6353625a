//! 64-bit Arm: bytes by `USMMLA`, which multiplies two rows of eight by two columns of eight, four sums at once.
//!
//! That is two words of a row and of a column a step, so a tile has loops of its own: its rows go by pairs, and words
//! of columns are put side by side as they are loaded from a panel that is like any other's.

use std::arch::aarch64::*;
use std::arch::{asm, is_aarch64_feature_detected};

use super::super::Tile;
use crate::simd::{Known, Neon, Simd};

/// Where the processor has the instruction.
#[derive(Clone, Copy)]
pub(crate) struct Usmmla(Neon);

/// Columns of a vector.
const LANES: usize = 8;

/// Sums of two rows by two columns: those of the first row, then those of the second.
type Square = int32x4_t;

impl Usmmla {
    /// Rows and vectors of the largest tile: 24 squares, and 7 registers of words.
    pub(in super::super) const TILE: (usize, usize) = (6, 2);
    /// Its left side has no signs.
    pub(in super::super) const LOWERS: f32 = 0.0;
    pub(in super::super) const WIDE: bool = false;

    /// The token, where the processor has all.
    #[inline(always)]
    pub(crate) fn new() -> Option<Self> {
        static HAS: Known = Known::new();
        Neon::new().filter(|_| HAS.or_ask(|| is_aarch64_feature_detected!("i8mm"))).map(Self)
    }

    /// Computes a tile.
    ///
    /// # Safety
    /// As [`Microkernel::run`](super::super::table::Microkernel::run), and the processor has all.
    #[target_feature(enable = "neon,i8mm")]
    pub(in super::super) unsafe fn tile(of: Tile<'_>, rows: usize, vectors: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            let this = Self(Neon::assume());
            match (rows.div_ceil(2), vectors) {
                (1, 1) => this.micro::<1, 1>(of, rows),
                (2, 1) => this.micro::<2, 1>(of, rows),
                (3, 1) => this.micro::<3, 1>(of, rows),
                (1, 2) => this.micro::<1, 2>(of, rows),
                (2, 2) => this.micro::<2, 2>(of, rows),
                (3, 2) => this.micro::<3, 2>(of, rows),
                _ => unreachable!("no micro-kernel of {rows} rows and {vectors} vectors"),
            }
        }
    }

    /// A tile of `P` pairs of rows, of which the last may lack its second, and `V` vectors.
    ///
    /// # Safety
    /// As [`tile`](Self::tile).
    #[inline]
    #[target_feature(enable = "neon,i8mm")]
    #[expect(clippy::needless_range_loop, reason = "indices are how the loops unroll into registers")]
    unsafe fn micro<const P: usize, const V: usize>(self, tile: Tile<'_>, rows: usize) {
        let Tile { a, a_stride, spans, mut panel, start, start_stride, c, c_stride, .. } = tile;
        let Tile { mut ahead, ahead_step, .. } = tile;
        // The rows of a pair; the first stands in for a second one that is not there.
        let pair = |p: usize| [2 * p, (2 * p + 1).min(rows - 1)];
        // SAFETY: the caller promised that rows, panel and `c` are as large as what is read and written here.
        unsafe {
            let mut sums: Sums<P, V> = [[[vdupq_n_s32(0); 4]; V]; P];
            if !start.is_null() {
                for p in 0..P {
                    for v in 0..V {
                        for half in 0..2 {
                            let at = start.add(v * LANES + 4 * half);
                            let rows = pair(p).map(|row| vld1q_s32(at.add(row * start_stride).cast()));
                            [sums[p][v][2 * half], sums[p][v][2 * half + 1]] = turned(rows);
                        }
                    }
                }
            }
            for span in spans {
                let a = a.add(span.offset);
                for k in (0..span.len / 2 * 2).step_by(2) {
                    let left =
                        |row: usize| vcreate_u8(a.add(row * a_stride + k).cast::<u64>().read_unaligned());
                    let words = std::array::from_fn(|p| pair(p).map(left));
                    sums = step(sums, words, panel, Some(panel.add(V * LANES)));
                    panel = panel.add(2 * V * LANES);
                    self.0.prefetch(ahead);
                    self.0.prefetch(ahead.wrapping_add(ahead_step));
                    ahead = ahead.wrapping_add(2 * ahead_step);
                }
                if span.len % 2 == 1 {
                    let k = span.len - 1;
                    let left = |row: usize| {
                        vcreate_u8(a.add(row * a_stride + k).cast::<u32>().read_unaligned().into())
                    };
                    sums = step(sums, std::array::from_fn(|p| pair(p).map(left)), panel, None);
                    panel = panel.add(V * LANES);
                }
            }
            for p in 0..P {
                for v in 0..V {
                    for half in 0..2 {
                        let [upper, lower] = turned([sums[p][v][2 * half], sums[p][v][2 * half + 1]]);
                        let at = c.add(2 * p * c_stride + v * LANES + 4 * half);
                        vst1q_s32(at.cast(), upper);
                        if 2 * p + 1 < rows {
                            vst1q_s32(at.add(c_stride).cast(), lower);
                        }
                    }
                }
            }
        }
    }
}

/// Two rows of four columns as two squares, or back.
#[inline]
#[target_feature(enable = "neon")]
fn turned([a, b]: [int32x4_t; 2]) -> [Square; 2] {
    let (a, b) = (vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b));
    [vreinterpretq_s32_s64(vzip1q_s64(a, b)), vreinterpretq_s32_s64(vzip2q_s64(a, b))]
}

/// Sums of pairs of rows and vectors, by twos of columns.
type Sums<const P: usize, const V: usize> = [[[Square; 4]; V]; P];

/// Adds the products of pairs of rows, eight bytes each, and columns, whose first words lie at `panel` and second ones
/// at `second`, if there are any. Sums go by value: they are to stay in registers.
///
/// # Safety
/// `V` vectors of words are there.
#[inline]
#[target_feature(enable = "neon,i8mm")]
#[expect(clippy::needless_range_loop, reason = "indices are how the loops unroll into registers")]
unsafe fn step<const P: usize, const V: usize>(
    mut sums: Sums<P, V>,
    left: [[uint8x8_t; 2]; P],
    panel: *const f32,
    second: Option<*const f32>,
) -> Sums<P, V> {
    let left = left.map(|[upper, lower]| vcombine_u8(upper, lower));
    for v in 0..V {
        for half in 0..2 {
            // SAFETY: the caller's promise.
            let words = |from: *const f32| unsafe { vld1q_s32(from.add(v * LANES + 4 * half).cast()) };
            let (first, second) = (words(panel), second.map_or(vdupq_n_s32(0), words));
            let columns = [vzip1q_s32(first, second), vzip2q_s32(first, second)];
            for p in 0..P {
                for i in 0..2 {
                    // SAFETY: the processor has the instruction; it touches registers alone.
                    unsafe {
                        asm!(".arch_extension i8mm",
                            "usmmla {sum:v}.4s, {left:v}.16b, {columns:v}.16b",
                            sum = inout(vreg) sums[p][v][2 * half + i],
                            left = in(vreg) left[p], columns = in(vreg) columns[i],
                            options(pure, nomem, nostack, preserves_flags));
                    }
                }
            }
        }
    }
    sums
}
