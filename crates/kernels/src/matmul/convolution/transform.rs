//! What is done to pixels, weights and sums: `Bᵀ D B`, `G W Gᵀ` and `Aᵀ M A`.

#![expect(clippy::needless_range_loop, reason = "indices are how the loops unroll into registers")]

use std::ops::Range;

use super::super::super::{Kernel, Shared, Simd};
use super::super::Finish;
use super::winograd::SEEN;
use super::{Convolution, TILE, Windows};

/// The finite points beside 0: these and their negatives.
const P: f32 = 0.625;
const Q: f32 = 1.5;
const PP: f32 = P * P;
const QQ: f32 = Q * Q;
/// One over the products of the differences of 0, of ±P and of ±Q to the other points.
const OF_0: f64 = 1.0 / (PP as f64 * QQ as f64);
const OF_P: f64 = 0.5 / (PP as f64 * (PP as f64 - QQ as f64));
const OF_Q: f64 = 0.5 / (QQ as f64 * (QQ as f64 - PP as f64));

/// `Bᵀ` times six values: the coefficients of the interpolation's polynomials.
#[inline(always)]
fn looked_at<S: Simd>(simd: S, d: [S::V; SEEN]) -> [S::V; SEEN] {
    let c = |x: f32| simd.splat(x);
    let ends = |low, middle, high| simd.fma(c(PP * QQ), low, simd.fma(c(-PP - QQ), middle, high));
    let (even_p, odd_p) = (simd.fma(c(-QQ), d[2], d[4]), simd.fma(c(-QQ), d[1], d[3]));
    let (even_q, odd_q) = (simd.fma(c(-PP), d[2], d[4]), simd.fma(c(-PP), d[1], d[3]));
    [
        ends(d[0], d[2], d[4]),
        simd.fma(c(P), odd_p, even_p),
        simd.fma(c(-P), odd_p, even_p),
        simd.fma(c(Q), odd_q, even_q),
        simd.fma(c(-Q), odd_q, even_q),
        ends(d[1], d[3], d[5]),
    ]
}

/// `Aᵀ` times six values: powers of the points.
#[inline(always)]
fn result<S: Simd>(simd: S, m: [S::V; SEEN]) -> [S::V; TILE] {
    let c = |x: f32| simd.splat(x);
    let (sum_p, less_p) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
    let (sum_q, less_q) = (simd.add(m[3], m[4]), simd.sub(m[3], m[4]));
    [
        simd.add(simd.add(m[0], sum_p), sum_q),
        simd.fma(c(Q), less_q, simd.mul(c(P), less_p)),
        simd.fma(c(QQ), sum_q, simd.mul(c(PP), sum_p)),
        simd.fma(c(Q * QQ), less_q, simd.fma(c(P * PP), less_p, m[5])),
    ]
}

/// Weights that are transformed at once.
const RUN: usize = 16;

/// `G W Gᵀ` of a panel's weights, in double precision: `size` for each tap become as many for each product. Says
/// whether all are finite.
pub(super) struct Kernels<'a> {
    pub(super) from: &'a [f32],
    pub(super) to: &'a mut [f32],
    pub(super) size: usize,
}

impl Kernel for Kernels<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> bool {
        let Self { from, to, size } = self;
        let mut finite = true;
        for at in (0..size).step_by(RUN) {
            let n = RUN.min(size - at);
            let mut columns = [[[0.0; RUN]; 3]; SEEN];
            for x in 0..3 {
                let mut taps = [[0.0; RUN]; 3];
                for y in 0..3 {
                    let from = &from[(3 * y + x) * size + at..][..n];
                    for i in 0..n {
                        taps[y][i] = f64::from(from[i]);
                    }
                }
                let column = powers(&taps);
                for y in 0..SEEN {
                    columns[y][x] = column[y];
                }
            }
            for (y, taps) in columns.iter().enumerate() {
                let line = powers(taps);
                for x in 0..SEEN {
                    let to = &mut to[(SEEN * y + x) * size + at..][..n];
                    for i in 0..n {
                        to[i] = line[x][i] as f32;
                        finite &= to[i].is_finite();
                    }
                }
            }
        }
        finite
    }
}

/// `G` times three values: the points' powers over the products of their differences.
#[inline(always)]
fn powers(taps: &[[f64; RUN]; 3]) -> [[f64; RUN]; SEEN] {
    const PP: f64 = (P * P) as f64;
    const QQ: f64 = (Q * Q) as f64;
    let [x, y, z] = taps;
    let mut values = [[0.0; RUN]; SEEN];
    for i in 0..RUN {
        let (even_p, odd_p) = ((x[i] + PP * z[i]) * OF_P, P as f64 * y[i] * OF_P);
        let (even_q, odd_q) = ((x[i] + QQ * z[i]) * OF_Q, Q as f64 * y[i] * OF_Q);
        values[0][i] = x[i] * OF_0;
        values[1][i] = even_p + odd_p;
        values[2][i] = even_p - odd_p;
        values[3][i] = even_q + odd_q;
        values[4][i] = even_q - odd_q;
        values[5][i] = z[i];
    }
    values
}

/// The left side of a block of tiles: a row for each tile, of each product, which lie `apart`.
pub(super) struct Input<'a> {
    pub(super) convolution: &'a Convolution,
    pub(super) mem: Shared,
    pub(super) tiles: Range<usize>,
    pub(super) values: *mut f32,
    pub(super) apart: usize,
}

impl Kernel for Input<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { convolution, mem, tiles, values, apart } = self;
        let (windows, product) = (&convolution.windows, &convolution.product);
        let (k, pixel, depth) = (product.weights.k(), product.a_stride, convolution.depth());
        let mut places = Places::new(windows, tiles.start);
        for t in 0..tiles.len() {
            let Places { image, y, x } = places;
            let (height, width) = (windows.rows + 2 - y, windows.cols + 2 - x);
            let whole = height >= SEEN && width >= SEEN;
            let first = convolution.group(image, 0).a + y * windows.line + x * pixel;
            for at in (0..k).step_by(S::LANES) {
                let n = S::LANES.min(k - at);
                // SAFETY: the maker's promise: these pixels are in the arena, and values have room.
                unsafe {
                    let from = mem.at(first + at).cast_const();
                    let mut lines = [[simd.splat(0.0); SEEN]; SEEN];
                    for column in 0..SEEN {
                        let mut d = [simd.splat(0.0); SEEN];
                        if whole && n == S::LANES {
                            for line in 0..SEEN {
                                d[line] = simd.load(from.add(line * windows.line + column * pixel));
                            }
                        } else if column < width {
                            for line in 0..SEEN {
                                if line < height {
                                    d[line] =
                                        simd.load_first(from.add(line * windows.line + column * pixel), n);
                                }
                            }
                        }
                        let d = looked_at(simd, d);
                        for line in 0..SEEN {
                            lines[line][column] = d[line];
                        }
                    }
                    let to = values.add(t * depth + at);
                    for line in 0..SEEN {
                        let d = looked_at(simd, lines[line]);
                        for column in 0..SEEN {
                            simd.store(to.add((line * SEEN + column) * apart), d[column]);
                        }
                    }
                }
            }
            places.next(windows);
        }
    }
}

/// The results of a block of tiles, taken through the epilogue.
pub(super) struct Output<'a> {
    pub(super) convolution: &'a Convolution,
    pub(super) mem: Shared,
    pub(super) tiles: Range<usize>,
    /// A row for each tile, of each product, which lie `apart`.
    pub(super) sums: *const f32,
    pub(super) apart: usize,
    /// Room for the pixels of a tile.
    pub(super) pixels: *mut f32,
}

impl Kernel for Output<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { convolution, mem, tiles, sums, apart, pixels } = self;
        let (windows, product) = (&convolution.windows, &convolution.product);
        let width = convolution.width();
        let mut places = Places::new(windows, tiles.start);
        for t in 0..tiles.len() {
            for at in (0..width).step_by(S::LANES) {
                // SAFETY: the maker's promise: sums of this tile and room for its pixels.
                unsafe {
                    let from = sums.add(t * width + at);
                    let mut lines = [[simd.splat(0.0); SEEN]; TILE];
                    for column in 0..SEEN {
                        let mut m = [simd.splat(0.0); SEEN];
                        for line in 0..SEEN {
                            m[line] = simd.load(from.add((line * SEEN + column) * apart));
                        }
                        let m = result(simd, m);
                        for line in 0..TILE {
                            lines[line][column] = m[line];
                        }
                    }
                    for line in 0..TILE {
                        let m = result(simd, lines[line]);
                        for column in 0..TILE {
                            simd.store(pixels.add((line * TILE + column) * width + at), m[column]);
                        }
                    }
                }
            }
            let Places { image, y, x } = places;
            for line in 0..TILE.min(windows.rows - y) {
                let group = convolution.group(image, y + line);
                let finish = Finish {
                    steps: &product.epilogue,
                    sums: pixels.wrapping_add(line * TILE * width),
                    sums_stride: width,
                    bytes: None,
                    mem,
                    c: group.c + x * product.c_stride,
                    c_stride: product.c_stride,
                    rows: TILE.min(windows.cols - x),
                    col: 0,
                    cols: product.weights.cols(),
                    row: group.row + x,
                    image: group.image,
                };
                finish.run(simd);
            }
            places.next(windows);
        }
    }
}

/// Where a tile begins.
#[derive(Clone, Copy)]
struct Places {
    image: usize,
    y: usize,
    x: usize,
}

impl Places {
    #[inline(always)]
    fn new(windows: &Windows, tile: usize) -> Self {
        let (across, down) = (windows.cols.div_ceil(TILE), windows.rows.div_ceil(TILE));
        let (line, image) = (tile / across % down, tile / across / down);
        Self { image, y: line * TILE, x: tile % across * TILE }
    }

    /// Goes on to the tile after this one.
    #[inline(always)]
    fn next(&mut self, windows: &Windows) {
        self.x += TILE;
        if self.x >= windows.cols {
            (self.x, self.y) = (0, self.y + TILE);
        }
        if self.y >= windows.rows {
            (self.y, self.image) = (0, self.image + 1);
        }
    }
}
