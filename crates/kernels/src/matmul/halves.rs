//! A Strassen level: seven products of half the size in each direction instead of eight.
//!
//! With `A`, `W` and `C` cut in halves both ways, Winograd's form of Strassen's algorithm is
//!
//! ```text
//! S1 = A21 + A22   T1 = W12 - W11   P1 = A11 W11   P5 = S1 T1    C11 = P1 + P2
//! S2 = S1 - A11    T2 = W22 - T1    P2 = A12 W21   P6 = S2 T2    C12 = P1 + P6 + P5 + P3
//! S3 = A11 - A21   T3 = W22 - W12   P3 = S4 W22    P7 = S3 T3    C21 = P1 + P6 + P7 + P4
//! S4 = A12 - S2    T4 = W21 - T2    P4 = A22 T4                  C22 = P1 + P6 + P7 + P5
//! ```
//!
//! The sums `S` are made once, in a part of the arena; the sums `T` for a pair of panels at a time, in the
//! second cache, so that weights take no more memory. A piece of work is such a pair by a range of rows.
//! Rounding differs from that of the plain product by a small factor.

use super::super::{Isa, Kernel, LINE, Shared, Simd, Workers};
use super::left::stride;
use super::{Finish, Format, Group, Matmul, Microkernel, Packed, Span, Tile, Tiles};

/// How a product is halved.
pub(super) struct Halves {
    /// Where `S1` to `S4` lie in the arena, row after row.
    spare: usize,
    /// Floats from one of their rows to the next.
    stride: usize,
    /// Half of the inner dimension.
    depth: usize,
    /// Multiplies sums, which are floats whatever the weights are.
    floats: &'static Microkernel,
    /// Rows of the upper half before each of its tiles; in the end all of them.
    before: Vec<usize>,
}

/// Longest stretch of the inner dimension whose weights are summed at once.
pub(super) const BLOCK: usize = 576;
/// Tiles of the upper half in a piece, at most: seven sums of each stay in the second cache.
const TILES: usize = 30;
/// Rows, inner dimension and columns below which the sums cost about what the eighth product does.
const LEAST: [usize; 3] = [256, 768, 768];

/// The rows in two halves that match tile by tile, if there are such: some groups and as many others like
/// them, or the halves of each group.
pub(super) fn pair(groups: &[Group], a_stride: usize, c_stride: usize) -> Option<Vec<Group>> {
    let (upper, lower) = groups.split_at(groups.len() / 2);
    if upper.len() == lower.len() && upper.iter().zip(lower).all(|(u, l)| u.rows == l.rows) {
        return Some(groups.to_vec());
    }
    let even = groups.iter().all(|group| group.rows.is_multiple_of(2));
    let half = |group: &Group, number: usize| {
        let (rows, first) = (group.rows / 2, number * group.rows / 2);
        let (a, c) = (group.a + first * a_stride, group.c + first * c_stride);
        Group { a, c, row: group.row + first, rows, ..*group }
    };
    even.then(|| [0, 1].iter().flat_map(|&number| groups.iter().map(move |g| half(g, number))).collect())
}

/// Whether columns and the inner dimension can be halved.
pub(super) fn even(weights: &Packed) -> bool {
    let panels = weights.panels();
    let width = panels.first().map_or(0, |panel| panel.width);
    weights.segments() == 1
        && weights.k().is_multiple_of(2)
        && panels.len().is_multiple_of(2)
        && weights.cols() == panels.len() * width
}

/// Floats of the arena that a product wants for its sums; 0 if it is better left whole.
pub(super) fn room(weights: &Packed, groups: &[Group]) -> usize {
    let rows = groups.iter().map(|group| group.rows).sum();
    let large = [rows, weights.k(), weights.cols()].iter().zip(LEAST).all(|(size, least)| *size >= least);
    if large && even(weights) && pair(groups, 0, 0).is_some() {
        2 * rows * stride(weights.k() / 2)
    } else {
        0
    }
}

impl Halves {
    /// For tiles whose second half matches the first.
    pub(super) fn new(spare: usize, weights: &Packed, tiles: &Tiles) -> Self {
        let depth = weights.k() / 2;
        let mut before = vec![0];
        before.extend(tiles.range(0..tiles.len() / 2).scan(0, |rows, tile| {
            *rows += tile.rows;
            Some(*rows)
        }));
        Self { spare, stride: stride(depth), depth, floats: Microkernel::exact(weights.kernel().isa), before }
    }

    fn rows(&self) -> usize {
        self.before.last().copied().unwrap_or(0)
    }

    /// Where a row of sum `s` (0 to 3) lies.
    fn sum(&self, s: usize, row: usize) -> usize {
        self.spare + (s * self.rows() + row) * self.stride
    }

    /// All that is written beside the result.
    pub(super) fn place(&self) -> std::ops::Range<usize> {
        self.spare..self.sum(4, 0)
    }

    /// Floats of scratch for each lane.
    pub(super) fn scratch(&self, width: usize) -> usize {
        let tiles = self.before.windows(2).map(|pair| pair[1] - pair[0]);
        let most = tiles.max().unwrap_or(0) * TILES.min(self.before.len());
        (4 * BLOCK.min(self.depth) + 7 * most) * width
    }
}

impl Matmul {
    pub(super) fn run_halved(&self, halves: &Halves, workers: &mut Workers<'_>, mem: Shared) {
        let (isa, count) = (self.kernel.isa, self.tiles.len() / 2);
        workers.each(count, 0, |t, _| {
            // SAFETY: `end` covers all places; each tile has rows of sums of its own.
            isa.run(SumsOfRows { product: self, halves, mem, tile: t });
        });
        let pairs = self.weights.panels().len() / 2;
        let mut parts = count.div_ceil(TILES).max(1);
        while workers.lanes() > 1 && pairs * parts < 4 * workers.lanes() && count / parts > 8 {
            parts += 1;
        }
        let pieces = pairs * parts;
        workers.each(pieces, self.scratch(), |piece, scratch| {
            let part = piece % parts;
            let tiles = count * part / parts..count * (part + 1) / parts;
            // SAFETY: `end` and `apart` as for the whole product; the sums are only read.
            unsafe { self.halved(halves, mem, scratch, tiles, piece / parts, isa) };
        });
    }

    /// The tiles `tiles` of both halves by panel `pair` of both halves.
    ///
    /// # Safety
    /// The places of the rows and columns are in `mem` and nobody else writes them meanwhile.
    unsafe fn halved(
        &self,
        halves: &Halves,
        mem: Shared,
        scratch: &mut [f32],
        tiles: std::ops::Range<usize>,
        pair: usize,
        isa: Isa,
    ) {
        let (panels, depth) = (self.weights.panels(), halves.depth);
        let (left, right) = (panels[pair], panels[pair + panels.len() / 2]);
        let width = left.width;
        let first = halves.before[tiles.start];
        let rows = halves.before[tiles.end] - first;
        let (sums_of_weights, products) = scratch.split_at_mut(4 * BLOCK.min(depth) * width);
        let products = &mut products[..7 * rows * width];
        let count = depth.div_ceil(BLOCK);
        let quarter = |pair: usize, right: bool, lower: bool, k: usize| {
            let pair = if right { pair + panels.len() / 2 } else { pair };
            let k = k + if lower { depth } else { 0 };
            &self.weights.panel(panels[pair])[self.kernel.format.of_panel(k, width)..]
        };
        for block in 0..count {
            let (from, to) = (depth * block / count, depth * (block + 1) / count);
            let len = to - from;
            let w = |right, lower| quarter(pair, right, lower, from).as_ptr();
            let [w11, w12, w21, w22] = [w(false, false), w(true, false), w(false, true), w(true, true)];
            let t = sums_of_weights.as_mut_ptr();
            let sum = |i: usize| t.wrapping_add(i * len * width);
            let widened = self.kernel.format == Format::F16;
            isa.run(SumsOfWeights { w: [w11, w12, w21, w22], widened, t, len: len * width });
            let spans = [Span { offset: 0, len }];
            let right_sides = [w11, w21, w22, sum(3), sum(0), sum(1), sum(2)];
            for (p, &panel) in right_sides.iter().enumerate() {
                // The last four products have the quarters of the next panels fetched meanwhile.
                let next = match p.checked_sub(3) {
                    Some(q) if block + 1 < count => quarter(pair, q % 2 == 1, q > 1, to),
                    Some(q) if pair + 1 < panels.len() / 2 => quarter(pair + 1, q % 2 == 1, q > 1, 0),
                    _ => &[],
                };
                let wanted = next.len().min(self.kernel.format.of_panel(BLOCK.min(depth), width));
                let kernel = if p < 3 { self.kernel } else { halves.floats };
                for (i, t) in tiles.clone().enumerate() {
                    let (upper, lower) = (self.tiles.get(t), self.tiles.get(t + self.tiles.len() / 2));
                    let row = halves.before[t];
                    let (a, a_stride) = match p {
                        0 => (upper.a, self.a_stride),
                        1 => (upper.a + depth, self.a_stride),
                        3 => (lower.a + depth, self.a_stride),
                        _ => (halves.sum([0, 0, 3, 0, 0, 1, 2][p], row), halves.stride),
                    };
                    let ahead = (i * len * LINE < wanted).then(|| next[i * len * LINE..].as_ptr());
                    // SAFETY: rows and panels as above; `products` holds seven times the rows of the piece.
                    unsafe {
                        let c = products.as_mut_ptr().add((p * rows + row - first) * width);
                        let tile = Tile {
                            a: mem.at(a + from),
                            a_stride,
                            spans: &spans,
                            panel,
                            start: if block > 0 { c } else { std::ptr::null_mut() },
                            start_stride: width,
                            c,
                            c_stride: width,
                            out: c,
                            out_stride: width,
                            ahead: ahead.unwrap_or(panel),
                            ahead_step: if ahead.is_some() { LINE } else { 0 },
                        };
                        kernel.run(tile, upper.rows, width / self.kernel.panel().lanes);
                    }
                }
            }
        }
        for t in tiles {
            let row = halves.before[t] - first;
            let (upper, lower) = (self.tiles.get(t), self.tiles.get(t + self.tiles.len() / 2));
            // SAFETY: seven products of these rows lie `rows * width` apart.
            let products = unsafe { products.as_mut_ptr().add(row * width) };
            isa.run(Combine { products, apart: rows * width, len: upper.rows * width });
            let quarters = [(&upper, left), (&upper, right), (&lower, left), (&lower, right)];
            for (i, (tile, panel)) in quarters.into_iter().enumerate() {
                isa.run(Finish {
                    steps: &self.epilogue,
                    sums: products.wrapping_add(i * rows * width),
                    sums_stride: width,
                    bytes: None,
                    mem,
                    c: tile.c,
                    c_stride: self.c_stride,
                    rows: tile.rows,
                    col: panel.col,
                    cols: width,
                    row: tile.row,
                    image: tile.image,
                });
            }
        }
    }
}

/// `S1` to `S4` of a tile's rows.
struct SumsOfRows<'a> {
    product: &'a Matmul,
    halves: &'a Halves,
    mem: Shared,
    tile: usize,
}

impl Kernel for SumsOfRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { product, halves, mem, tile } = self;
        let (upper, lower) = (product.tiles.get(tile), product.tiles.get(tile + product.tiles.len() / 2));
        let depth = halves.depth;
        for r in 0..upper.rows {
            let row = halves.before[tile] + r;
            let (a1, a2) = (upper.a + r * product.a_stride, lower.a + r * product.a_stride);
            let mut k = 0;
            while k < depth {
                let n = S::LANES.min(depth - k);
                // SAFETY: the maker's promise; `n` floats from `k` on are in each half of a row.
                unsafe {
                    let a11 = load(simd, mem.at(a1 + k), n);
                    let a12 = load(simd, mem.at(a1 + depth + k), n);
                    let a21 = load(simd, mem.at(a2 + k), n);
                    let a22 = load(simd, mem.at(a2 + depth + k), n);
                    let s1 = simd.add(a21, a22);
                    let s2 = simd.sub(s1, a11);
                    store(simd, mem.at(halves.sum(0, row) + k), s1, n);
                    store(simd, mem.at(halves.sum(1, row) + k), s2, n);
                    store(simd, mem.at(halves.sum(2, row) + k), simd.sub(a11, a21), n);
                    store(simd, mem.at(halves.sum(3, row) + k), simd.sub(a12, s2), n);
                }
                k += S::LANES;
            }
        }
    }
}

/// # Safety
/// `n` floats are there.
#[inline(always)]
unsafe fn load<S: Simd>(simd: S, from: *const f32, n: usize) -> S::V {
    // SAFETY: the caller's promise.
    unsafe { if n == S::LANES { simd.load(from) } else { simd.load_first(from, n) } }
}

/// # Safety
/// `n` floats are there.
#[inline(always)]
unsafe fn store<S: Simd>(simd: S, to: *mut f32, v: S::V, n: usize) {
    // SAFETY: the caller's promise.
    unsafe { if n == S::LANES { simd.store(to, v) } else { simd.store_first(to, v, n) } }
}

/// `T1` to `T4` of `len` floats, whole vectors, one after another from `t` on.
struct SumsOfWeights {
    /// `W11`, `W12`, `W21`, `W22`.
    w: [*const f32; 4],
    /// They are halves, to be widened.
    widened: bool,
    t: *mut f32,
    len: usize,
}

impl Kernel for SumsOfWeights {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { w, widened, t, len } = self;
        for at in (0..len).step_by(S::LANES) {
            // SAFETY: the maker's promise.
            unsafe {
                let mut loaded = [simd.splat(0.0); 4];
                for i in 0..4 {
                    loaded[i] = match widened {
                        true => simd.widened(w[i].add(at / 2).cast::<S::Halves>().read_unaligned()),
                        false => simd.load(w[i].add(at)),
                    };
                }
                let [w11, w12, w21, w22] = loaded;
                let t1 = simd.sub(w12, w11);
                let t2 = simd.sub(w22, t1);
                simd.store(t.add(at), t1);
                simd.store(t.add(len + at), t2);
                simd.store(t.add(2 * len + at), simd.sub(w22, w12));
                simd.store(t.add(3 * len + at), simd.sub(w21, t2));
            }
        }
    }
}

/// `C11`, `C12`, `C21`, `C22` in the places of the first four of seven products, which lie `apart`.
struct Combine {
    products: *mut f32,
    apart: usize,
    /// Floats of each, whole vectors.
    len: usize,
}

impl Kernel for Combine {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { products, apart, len } = self;
        for at in (0..len).step_by(S::LANES) {
            // SAFETY: the maker's promise.
            unsafe {
                let c = products.add(at);
                let (p1, p7) = (simd.load(c), simd.load(c.add(6 * apart)));
                let u = simd.add(p1, simd.load(c.add(5 * apart)));
                let v = simd.add(u, simd.load(c.add(4 * apart)));
                let c11 = simd.add(p1, simd.load(c.add(apart)));
                let c12 = simd.add(v, simd.load(c.add(2 * apart)));
                let c21 = simd.add(simd.add(u, p7), simd.load(c.add(3 * apart)));
                simd.store(c, c11);
                simd.store(c.add(apart), c12);
                simd.store(c.add(2 * apart), c21);
                simd.store(c.add(3 * apart), simd.add(v, p7));
            }
        }
    }
}
