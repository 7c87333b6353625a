//! Tiles: a few rows by a few vectors of columns, held in registers while the inner dimension goes by.
//!
//! Rows of the left side are read where they lie, one broadcast a row and step; the packed right side
//! streams by, a panel row a step.

use super::super::{Isa, Kernel, LINE, Simd};
use super::dot::{self, Dot};

/// The widest panel of a micro-kernel: how weights are packed for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PanelSize {
    pub vectors: usize,
    /// Floats in a vector.
    pub lanes: usize,
}

impl PanelSize {
    /// That of `isa`.
    pub fn of(isa: Isa) -> Self {
        struct Ask;
        impl Kernel for Ask {
            type Output = PanelSize;
            #[inline(always)]
            fn run<S: Simd>(self, _: S) -> PanelSize {
                PanelSize { vectors: dot::largest::<S>().1, lanes: S::LANES }
            }
        }
        isa.run(Ask)
    }
}

/// Neighbouring words of a row: a stretch of the inner dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// From where the row starts.
    pub(super) offset: usize,
    pub(super) len: usize,
}

/// One tile's sums over a stretch of the inner dimension.
#[derive(Clone, Copy)]
pub(super) struct Tile<'a> {
    /// The first row of the left side and the words from one to the next.
    pub(super) a: *const f32,
    pub(super) a_stride: usize,
    pub(super) spans: &'a [Span],
    /// The panel's rows that belong to `spans`.
    pub(super) panel: *const f32,
    /// What the sums start from, 0 if null: a row for each row, or one for all with a stride of 0.
    pub(super) start: *const f32,
    pub(super) start_stride: usize,
    /// Where the sums go.
    pub(super) c: *mut f32,
    pub(super) c_stride: usize,
    /// Where the tile goes in the end: lines that will be wanted soon.
    pub(super) out: *const f32,
    pub(super) out_stride: usize,
    /// Weights to bring into the second cache meanwhile, `ahead_step` floats further with each step.
    pub(super) ahead: *const f32,
    pub(super) ahead_step: usize,
}

/// Steps of the inner dimension that a loop takes at once.
const UNROLL: usize = 4;

/// As many times what takes a number below [`UNROLL`]. Not a loop, which the compiler would leave one for WebAssembly.
macro_rules! unrolled {
    (|$k:ident| $body:block) => {
        unrolled!($k $body 0 1 2 3)
    };
    ($k:ident $body:block $($each:literal)*) => {$({
        let $k: usize = $each;
        $body
    })*};
}

/// Computes `rows` rows by `vectors` vectors.
///
/// # Safety
/// As [`Microkernel::run`](super::table::Microkernel::run).
#[inline(always)]
pub(super) unsafe fn tile<D: Dot>(dot: D, tile: Tile<'_>, rows: usize, vectors: usize) {
    macro_rules! pick {
        ($($r:literal)*) => {
            // SAFETY: the caller's promise.
            unsafe {
                match (rows, vectors) {
                    $(($r, 1) => micro::<D, $r, 1>(dot, tile),
                    ($r, 2) => micro::<D, $r, 2>(dot, tile),
                    ($r, 3) => micro::<D, $r, 3>(dot, tile),)*
                    _ => unreachable!("no micro-kernel of {rows} rows and {vectors} vectors"),
                }
            }
        };
    }
    pick!(1 2 3 4 5 6 7 8 9);
}

/// A tile of `R` rows and `V` vectors. In WebAssembly each is a function of its own: engines give out registers for a
/// function at a time, and that of Node 20 kept sums in memory in the one of all tiles.
///
/// # Safety
/// As [`tile`].
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
#[expect(clippy::needless_range_loop, reason = "indices are how the loops unroll into registers")]
unsafe fn micro<D: Dot, const R: usize, const V: usize>(dot: D, tile: Tile<'_>) {
    // Known to the compiler, which then makes no code for tiles that nobody asks for.
    if const { R > D::TILE.0 || V > D::TILE.1 } {
        unreachable!("{R} rows and {V} vectors are more than the registers hold");
    }
    let lanes = const { <D::Simd as Simd>::LANES };
    let Tile { a, a_stride, spans, mut panel, start, start_stride, c, c_stride, .. } = tile;
    let Tile { out, out_stride, mut ahead, ahead_step, .. } = tile;
    let simd = dot.simd();
    let unroll = const { if D::WIDE { 1 } else { UNROLL } };
    // SAFETY: the caller promised that rows, panel and `c` are as large as what is read here.
    unsafe {
        let mut sums = [[dot.zero(); V]; R];
        if !start.is_null() {
            for r in 0..R {
                for v in 0..V {
                    let from = start.add(r * start_stride + v * lanes);
                    sums[r][v] = dot.begin(from.cast::<D::Stored>().read_unaligned());
                }
            }
        }
        for r in 0..R {
            for v in (0..V).step_by((LINE / lanes).max(1)) {
                simd.prefetch(out.wrapping_add(r * out_stride + v * lanes));
            }
        }
        for span in spans {
            let mut a = a.add(span.offset);
            for _ in 0..span.len / unroll {
                unrolled!(|k| {
                    if k < unroll {
                        step::<D, R, V>(dot, &mut sums, a.add(k), a_stride, panel.add(k * V * D::STEP));
                        simd.prefetch(ahead);
                        ahead = ahead.wrapping_add(ahead_step);
                    }
                });
                a = a.add(unroll);
                panel = panel.add(unroll * V * D::STEP);
            }
            for k in 0..span.len % unroll {
                step::<D, R, V>(dot, &mut sums, a.add(k), a_stride, panel);
                panel = panel.add(V * D::STEP);
            }
        }
        for r in 0..R {
            for v in 0..V {
                let to = c.add(r * c_stride + v * lanes);
                to.cast::<D::Stored>().write_unaligned(dot.end(sums[r][v]));
            }
        }
    }
}

/// One step of the inner dimension.
///
/// # Safety
/// `a` has `R` words `stride` apart, `panel` has `V` vectors.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "indices are how the loops unroll into registers")]
unsafe fn step<D: Dot, const R: usize, const V: usize>(
    dot: D,
    sums: &mut [[D::Sum; V]; R],
    a: *const f32,
    stride: usize,
    panel: *const f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut row = [dot.load_row(panel); V];
        for v in 1..V {
            row[v] = dot.load_row(panel.add(v * D::STEP));
        }
        for r in 0..R {
            let word = dot.load_word(a.add(r * stride));
            for v in 0..V {
                sums[r][v] = dot.add(sums[r][v], word, row[v]);
            }
        }
    }
}
