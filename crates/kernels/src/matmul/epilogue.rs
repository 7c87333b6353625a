//! What is done to the sums of a product while they are still in the first cache.

use super::super::{Kernel, Shared, Simd, math};
use serde::{Deserialize, Serialize};

/// A step on the finished sums; column `n` is counted from the product's first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Epilogue<A = usize> {
    /// `+ mem[offset + n]`
    Bias {
        offset: A,
    },
    /// The tanh form.
    Gelu,
    GeluErf,
    Silu,
    /// `* mem[offset + image * image_stride + n]`
    Gate {
        offset: A,
        image_stride: usize,
    },
    /// `+ mem[offset + row * stride + n]`; this may be the very place the row is written to.
    Residual {
        offset: A,
        stride: usize,
    },
    /// `* factor`
    Scale(f32),
}

impl<A> Epilogue<A> {
    /// The same step with what lies where `to` says.
    pub fn relocate<B>(self, to: &mut impl FnMut(A) -> B) -> Epilogue<B> {
        match self {
            Self::Bias { offset } => Epilogue::Bias { offset: to(offset) },
            Self::Gelu => Epilogue::Gelu,
            Self::GeluErf => Epilogue::GeluErf,
            Self::Silu => Epilogue::Silu,
            Self::Gate { offset, image_stride } => Epilogue::Gate { offset: to(offset), image_stride },
            Self::Residual { offset, stride } => Epilogue::Residual { offset: to(offset), stride },
            Self::Scale(factor) => Epilogue::Scale(factor),
        }
    }
}

/// What makes floats of sums of bytes.
#[derive(Clone, Copy)]
pub(super) struct Bytes {
    /// Where in the arena the first row's scale lies, and the number that stands for 0; and from one row's to the next.
    pub(super) rows: usize,
    pub(super) stride: usize,
    /// What each number was lowered by.
    pub(super) lowers: f32,
    /// The scale of each column, and the sum of its bytes.
    pub(super) scales: *const f32,
    pub(super) sums: *const f32,
}

/// Takes `rows` rows of sums through the steps, to the arena. Whoever makes one answers for the
/// places.
#[derive(Clone, Copy)]
pub(super) struct Finish<'a> {
    pub(super) steps: &'a [Epilogue],
    /// Rows of whole vectors.
    pub(super) sums: *const f32,
    pub(super) sums_stride: usize,
    /// Sums of bytes, and what they stand for.
    pub(super) bytes: Option<Bytes>,
    pub(super) mem: Shared,
    pub(super) c: usize,
    pub(super) c_stride: usize,
    pub(super) rows: usize,
    /// The first column and how many.
    pub(super) col: usize,
    pub(super) cols: usize,
    /// The first row's number in the product, for [`Epilogue::Residual`], and its image's.
    pub(super) row: usize,
    pub(super) image: usize,
}

impl Kernel for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        // SAFETY: the maker's promise; `n` stays below `cols`, each time by as much as is touched.
        unsafe {
            for r in 0..self.rows {
                let mut n = 0;
                while n + 3 * S::LANES <= self.cols {
                    self.vectors::<S, 3>(simd, r, n, S::LANES);
                    n += 3 * S::LANES;
                }
                // A panel of sets with few registers.
                while n + 2 * S::LANES <= self.cols {
                    self.vectors::<S, 2>(simd, r, n, S::LANES);
                    n += 2 * S::LANES;
                }
                while n < self.cols {
                    self.vectors::<S, 1>(simd, r, n, S::LANES.min(self.cols - n));
                    n += S::LANES;
                }
            }
        }
    }
}

// No iterators and closures here: they would not be compiled for the instruction set.
#[expect(clippy::needless_range_loop, reason = "indices are how the loops unroll into registers")]
impl Finish<'_> {
    /// `V` vectors of row `r` from column `n` on; `first` lanes of them if that is less than all.
    ///
    /// # Safety
    /// These columns are there, and `first == S::LANES` unless `V` is 1.
    #[inline(always)]
    unsafe fn vectors<S: Simd, const V: usize>(&self, simd: S, r: usize, n: usize, first: usize) {
        let (col, row) = (self.col + n, self.row + r);
        // SAFETY: the product's check that each step's places lie in the arena for all rows and columns.
        unsafe {
            let mut x = [simd.splat(0.0); V];
            for v in 0..V {
                let (at, sum) = (n + v * S::LANES, r * self.sums_stride);
                x[v] = match &self.bytes {
                    None => simd.load(self.sums.add(sum + at)),
                    Some(bytes) => {
                        let row = self.mem.at(bytes.rows + r * bytes.stride);
                        let scale = simd.mul(simd.splat(*row), simd.load(bytes.scales.add(at)));
                        let zero = *row.add(1) - bytes.lowers;
                        let sums = [self.sums.add(sum + at), bytes.sums.add(at)];
                        let [sum, of_column] = sums.map(|at| at.cast::<S::Whole>().read_unaligned());
                        simd.mul(simd.lowered(sum, zero, of_column), scale)
                    }
                };
            }
            for step in self.steps {
                match *step {
                    Epilogue::Bias { offset } => {
                        for v in 0..V {
                            x[v] = simd.add(x[v], self.load(simd, offset + col + v * S::LANES, first));
                        }
                    }
                    Epilogue::Gelu => {
                        for v in 0..V {
                            x[v] = math::gelu_tanh(simd, x[v]);
                        }
                    }
                    Epilogue::GeluErf => {
                        for v in 0..V {
                            x[v] = math::gelu_erf(simd, x[v]);
                        }
                    }
                    Epilogue::Silu => {
                        for v in 0..V {
                            x[v] = math::silu(simd, x[v]);
                        }
                    }
                    Epilogue::Gate { offset, image_stride } => {
                        for v in 0..V {
                            x[v] = simd.mul(
                                x[v],
                                self.load(
                                    simd,
                                    offset + self.image * image_stride + col + v * S::LANES,
                                    first,
                                ),
                            );
                        }
                    }
                    Epilogue::Residual { offset, stride } => {
                        for v in 0..V {
                            x[v] = simd.add(
                                x[v],
                                self.load(simd, offset + row * stride + col + v * S::LANES, first),
                            );
                        }
                    }
                    Epilogue::Scale(factor) => {
                        for v in 0..V {
                            x[v] = simd.mul(x[v], simd.splat(factor));
                        }
                    }
                }
            }
            for v in 0..V {
                let to = self.mem.at(self.c + r * self.c_stride + col + v * S::LANES);
                if first == S::LANES { simd.store(to, x[v]) } else { simd.store_first(to, x[v], first) }
            }
        }
    }

    /// # Safety
    /// `first` floats of the arena are at `at`.
    #[inline(always)]
    unsafe fn load<S: Simd>(&self, simd: S, at: usize, first: usize) -> S::V {
        // SAFETY: the caller's promise.
        unsafe {
            let from = self.mem.at(at).cast_const();
            if first == S::LANES { simd.load(from) } else { simd.load_first(from, first) }
        }
    }
}
