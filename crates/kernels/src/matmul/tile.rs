//! The micro-kernels: a few rows by a few vectors of columns, held in registers while the inner
//! dimension goes by.
//!
//! Rows of the left side are read where they lie, one broadcast a row and step; the packed right side
//! streams by, a panel row a step.

use super::super::{Isa, Kernel, LINE, Simd};

/// What a micro-kernel computes at once at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) rows: usize,
    pub(super) panel: PanelSize,
}

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
        shape(isa).panel
    }
}

/// Rows and vectors of the largest tile that the registers hold beside a panel row and a broadcast. More columns than
/// rows: nine row pointers fit the general registers, and rows 4096 bytes apart fit the first cache's ways.
const fn largest<S: Simd>() -> (usize, usize) {
    if S::REGISTERS >= 32 { (9, 3) } else { (6, 2) }
}

/// The largest tile of `isa`.
pub(super) fn shape(isa: Isa) -> Shape {
    struct Ask;
    impl Kernel for Ask {
        type Output = Shape;
        #[inline(always)]
        unsafe fn run<S: Simd>(self) -> Shape {
            let (rows, vectors) = largest::<S>();
            Shape { rows, panel: PanelSize { vectors, lanes: S::LANES } }
        }
    }
    isa.run(Ask)
}

/// Neighbouring floats of a row: a stretch of the inner dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// From where the row starts.
    pub(super) offset: usize,
    pub(super) len: usize,
}

/// One tile's sums over a stretch of the inner dimension.
#[derive(Clone, Copy)]
pub(super) struct Tile<'a> {
    /// The first row of the left side and the floats from one to the next.
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

impl Tile<'_> {
    /// Computes `rows` rows by `vectors` vectors.
    ///
    /// # Safety
    /// `rows` and `vectors` are at least 1 and within `shape(isa)`; each row has the spans' floats, the
    /// panel a row for each of them, `start` (if not null) and `c` have room for the tile, which nothing else uses
    /// meanwhile.
    pub(super) unsafe fn run(self, isa: Isa, rows: usize, vectors: usize) {
        macro_rules! pick {
            ($($r:literal)*) => {
                match (rows, vectors) {
                    $(($r, 1) => isa.run(Micro::<$r, 1>(self)),
                    ($r, 2) => isa.run(Micro::<$r, 2>(self)),
                    ($r, 3) => isa.run(Micro::<$r, 3>(self)),)*
                    _ => unreachable!("no micro-kernel of {rows} rows and {vectors} vectors"),
                }
            };
        }
        pick!(1 2 3 4 5 6 7 8 9);
    }
}

/// A [`Tile`] of `R` rows and `V` vectors; whoever makes one answers for the pointers.
struct Micro<'a, const R: usize, const V: usize>(Tile<'a>);

#[expect(clippy::needless_range_loop, reason = "indices are how the loops unroll into registers")]
impl<const R: usize, const V: usize> Kernel for Micro<'_, R, V> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // Known to the compiler, which then makes no code for tiles that nobody asks for.
        if const { R > largest::<S>().0 || V > largest::<S>().1 } {
            unreachable!("{R} rows and {V} vectors are more than the registers hold");
        }
        let Tile { a, a_stride, spans, mut panel, start, start_stride, c, c_stride, .. } = self.0;
        let Tile { out, out_stride, mut ahead, ahead_step, .. } = self.0;
        // SAFETY: `Tile::run` was promised that rows, panel and `c` are as large as what is read here.
        unsafe {
            let mut sums = [[S::splat(0.0); V]; R];
            if !start.is_null() {
                for r in 0..R {
                    for v in 0..V {
                        sums[r][v] = S::load(start.add(r * start_stride + v * S::LANES));
                    }
                }
            }
            for r in 0..R {
                for v in (0..V).step_by((LINE / S::LANES).max(1)) {
                    S::prefetch(out.wrapping_add(r * out_stride + v * S::LANES));
                }
            }
            for span in spans {
                let mut a = a.add(span.offset);
                for _ in 0..span.len / UNROLL {
                    for k in 0..UNROLL {
                        step::<S, R, V>(&mut sums, a.add(k), a_stride, panel.add(k * V * S::LANES));
                        S::prefetch(ahead);
                        ahead = ahead.wrapping_add(ahead_step);
                    }
                    a = a.add(UNROLL);
                    panel = panel.add(UNROLL * V * S::LANES);
                }
                for k in 0..span.len % UNROLL {
                    step::<S, R, V>(&mut sums, a.add(k), a_stride, panel);
                    panel = panel.add(V * S::LANES);
                }
            }
            for r in 0..R {
                for v in 0..V {
                    S::store(c.add(r * c_stride + v * S::LANES), sums[r][v]);
                }
            }
        }
    }
}

/// One step of the inner dimension.
///
/// # Safety
/// `a` has `R` floats `stride` apart, `panel` has `V` vectors.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "indices are how the loops unroll into registers")]
unsafe fn step<S: Simd, const R: usize, const V: usize>(
    sums: &mut [[S::V; V]; R],
    a: *const f32,
    stride: usize,
    panel: *const f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut row = [S::splat(0.0); V];
        for v in 0..V {
            row[v] = S::load(panel.add(v * S::LANES));
        }
        for r in 0..R {
            let x = S::splat(*a.add(r * stride));
            for v in 0..V {
                sums[r][v] = S::fma(x, row[v], sums[r][v]);
            }
        }
    }
}
