//! Vectors of `f32` as wide as the processor has them: one trait, an implementation for each
//! instruction set, and the run-time choice between them.
//!
//! A kernel is written once, generic over [`Simd`], as a [`Kernel`]; [`Isa::run`] enters it through a
//! function compiled for the instruction set, into which everything `#[inline(always)]` is inlined.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod token;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(target_feature = "simd128")]
mod wasm;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;
pub(crate) use scalar::Scalar;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) use token::{Known, methods};
#[cfg(target_feature = "simd128")]
pub(crate) use wasm::Simd128;

/// Vectors of one instruction set, as a token: only where the processor has the set is there a value, so its methods
/// need no other promise than the memory that some of them touch.
///
/// Pointers need no alignment.
///
/// # Safety
/// `V` and `Whole` are [`LANES`](Self::LANES) numbers of 32 bits, `Halves` as many of 16, `Bytes` of 8, all without
/// padding; any bits are some.
pub unsafe trait Simd: Copy {
    type V: Copy;
    /// Whole numbers of 32 bits.
    type Whole: Copy;
    type Halves: Copy;
    type Bytes: Copy;
    /// As many vectors as a vector has lanes.
    type Square: Copy + AsRef<[Self::V]> + AsMut<[Self::V]>;
    const LANES: usize;
    /// Vector registers, which bound the size of a micro-kernel's tile.
    const REGISTERS: usize;
    /// The integers that [`scale`](Self::scale) takes; the least makes 0 of any `v`, the greatest infinity.
    const EXPONENTS: (f32, f32);

    fn splat(self, x: f32) -> Self::V;
    /// Zeros.
    fn square(self) -> Self::Square;
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// As `min`, but NaN if either is: `min` and `max` give `b` then, which hides that of `a`.
    fn smaller(self, a: Self::V, b: Self::V) -> Self::V;
    /// As `max`, but NaN if either is.
    fn larger(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once (the scalar set too), but for [`Isa::Simd128`].
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The nearest integer, ties to even.
    fn round(self, a: Self::V) -> Self::V;
    fn sqrt(self, a: Self::V) -> Self::V;
    /// `v * 2^n` for integral `n` in [`EXPONENTS`](Self::EXPONENTS) and `v` about 1.
    fn scale(self, v: Self::V, n: Self::V) -> Self::V;
    /// The transpose.
    fn turned(self, rows: Self::Square) -> Self::Square;
    /// Sum of all lanes.
    fn sum(self, v: Self::V) -> f32;
    /// Largest lane; where one is NaN, perhaps another one.
    fn maximum(self, v: Self::V) -> f32;
    /// Float16 as floats.
    fn widened(self, halves: Self::Halves) -> Self::V;
    /// Whole numbers of 0 to 255 as bytes.
    fn bytes(self, v: Self::V) -> Self::Bytes;
    /// Whole numbers of 0 to 255 as numbers of 16 bits.
    fn shorts(self, v: Self::V) -> Self::Halves;
    /// bfloat16: the nearest, ties to even.
    fn bfloats(self, v: Self::V) -> Self::Halves;
    /// Whole numbers, each less `zero` times what lies at the same place of `sums`, as floats.
    fn lowered(self, whole: Self::Whole, zero: f32, sums: Self::Whole) -> Self::V;
    /// Asks for the cache line of `at`, which may be any address, to be brought near: into the second cache.
    fn prefetch(self, at: *const f32);

    /// The first `n` lanes; the others are 0.
    ///
    /// # Safety
    /// `n` floats are there, and no vector has fewer lanes.
    #[inline(always)]
    unsafe fn load_first(self, from: *const f32, n: usize) -> Self::V {
        let mut v = self.splat(0.0);
        // SAFETY: the caller's promise; a vector is as many floats.
        unsafe { (&raw mut v).cast::<f32>().copy_from_nonoverlapping(from, n) };
        v
    }

    /// Writes the first `n` lanes.
    ///
    /// # Safety
    /// `n` floats are there, and no vector has fewer lanes.
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, v: Self::V, n: usize) {
        // SAFETY: the caller's promise; a vector is as many floats.
        unsafe { to.copy_from_nonoverlapping((&raw const v).cast::<f32>(), n) };
    }

    /// # Safety
    /// `LANES` floats are there.
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::V {
        // SAFETY: the caller's promise; a vector is as many floats.
        unsafe { from.cast::<Self::V>().read_unaligned() }
    }

    /// # Safety
    /// `LANES` floats are there.
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: Self::V) {
        // SAFETY: the caller's promise; a vector is as many floats.
        unsafe { to.cast::<Self::V>().write_unaligned(v) }
    }

    /// Writes the transpose of a block: `rows` rows of `cols` floats, both at most `LANES`, to `cols` rows.
    ///
    /// # Safety
    /// Both blocks are there, with these floats from one row to the next.
    #[inline(always)]
    unsafe fn transpose(
        self,
        (from, from_stride): (*const f32, usize),
        (to, to_stride): (*mut f32, usize),
        rows: usize,
        cols: usize,
    ) {
        let mut square = self.square();
        // SAFETY: the caller's promise.
        unsafe {
            // Loops of a known length leave all in registers.
            if rows == Self::LANES && cols == Self::LANES {
                for (i, row) in square.as_mut().iter_mut().enumerate() {
                    *row = self.load(from.add(i * from_stride));
                }
                for (i, row) in self.turned(square).as_ref().iter().enumerate() {
                    self.store(to.add(i * to_stride), *row);
                }
                return;
            }
            for (i, row) in square.as_mut().iter_mut().enumerate().take(rows) {
                *row = self.load_first(from.add(i * from_stride), cols);
            }
            for (i, row) in self.turned(square).as_ref().iter().enumerate().take(cols) {
                self.store_first(to.add(i * to_stride), *row, rows);
            }
        }
    }
}

/// Work that is compiled for each instruction set. Mark `run` `#[inline(always)]`.
///
/// Whoever makes one answers for the places that it touches.
pub trait Kernel {
    type Output;

    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// Plain Rust: what the others are held to.
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// WebAssembly's, which rounds a product before it is added.
    #[cfg(target_feature = "simd128")]
    Simd128,
    /// The same, with sums of products that are rounded once, by 64-bit floats.
    #[cfg(target_feature = "simd128")]
    Simd128Exact,
}

impl Isa {
    /// Every set, best first.
    const ALL: &[Self] = &[
        #[cfg(target_arch = "x86_64")]
        Self::Avx512,
        #[cfg(target_arch = "x86_64")]
        Self::Avx2,
        #[cfg(target_arch = "aarch64")]
        Self::Neon,
        #[cfg(target_feature = "simd128")]
        Self::Simd128,
        #[cfg(target_feature = "simd128")]
        Self::Simd128Exact,
        Self::Scalar,
    ];

    /// Whether this processor has it; nothing is allocated to find that out.
    pub fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Avx2::new().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => Avx512::new().is_some(),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => Neon::new().is_some(),
            #[cfg(target_feature = "simd128")]
            Self::Simd128 | Self::Simd128Exact => true,
        }
    }

    /// All that this processor has, best first.
    pub fn available() -> Vec<Self> {
        Self::ALL.iter().copied().filter(|set| set.is_available()).collect()
    }

    /// Those of 8 floats that round once, best first: they add up in the same order and give the same bits, here and on
    /// other processors.
    pub fn portable() -> Vec<Self> {
        let sets = Self::available().into_iter();
        #[cfg(target_arch = "x86_64")]
        let sets = sets.filter(|set| *set != Self::Avx512);
        #[cfg(target_feature = "simd128")]
        let sets = sets.filter(|set| *set != Self::Simd128);
        sets.collect()
    }

    /// Runs `kernel` compiled for this instruction set.
    ///
    /// # Panics
    /// If the processor does not have it.
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        assert!(self.is_available(), "the processor does not have {self}");
        // SAFETY: it has the set.
        unsafe {
            match self {
                Self::Scalar => Scalar::enter(kernel),
                #[cfg(target_arch = "x86_64")]
                Self::Avx2 => Avx2::enter(kernel),
                #[cfg(target_arch = "x86_64")]
                Self::Avx512 => Avx512::enter(kernel),
                #[cfg(target_arch = "aarch64")]
                Self::Neon => Neon::enter(kernel),
                #[cfg(target_feature = "simd128")]
                Self::Simd128 => Simd128::<false>::enter(kernel),
                #[cfg(target_feature = "simd128")]
                Self::Simd128Exact => Simd128::<true>::enter(kernel),
            }
        }
    }
}

impl std::fmt::Display for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "AVX-512",
            #[cfg(target_arch = "aarch64")]
            Self::Neon => "NEON",
            #[cfg(target_feature = "simd128")]
            Self::Simd128 => "SIMD128",
            #[cfg(target_feature = "simd128")]
            Self::Simd128Exact => "SIMD128, exact",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Transpose<'a>(&'a [f32], &'a mut [f32], usize, usize);

    impl Kernel for Transpose<'_> {
        type Output = usize;

        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> usize {
            let (rows, cols) = (self.2.min(S::LANES), self.3.min(S::LANES));
            // SAFETY: the test gives 16 rows of 20 floats and 16 of 18.
            unsafe { simd.transpose((self.0.as_ptr(), 20), (self.1.as_mut_ptr(), 18), rows, cols) };
            S::LANES
        }
    }

    #[test]
    fn blocks_of_every_size_are_transposed() {
        let from: Vec<f32> = (0..320).map(|i| i as f32).collect();
        for isa in Isa::available() {
            for (rows, cols) in (0..17).flat_map(|rows| (0..17).map(move |cols| (rows, cols))) {
                let mut to = vec![-1.0; 16 * 18];
                let lanes = isa.run(Transpose(&from, &mut to, rows, cols));
                for (i, value) in to.into_iter().enumerate() {
                    let (r, c) = (i % 18, i / 18);
                    let inside = r < rows.min(lanes) && c < cols.min(lanes);
                    assert_eq!(value, if inside { from[r * 20 + c] } else { -1.0 }, "{isa} {rows} {cols}");
                }
            }
        }
    }
}
