//! Vectors of `f32` as wide as the processor has them: one trait, an implementation for each
//! instruction set, and the run-time choice between them.
//!
//! A kernel is written once, generic over [`Simd`], as a [`Kernel`]; [`Isa::run`] enters it through a
//! function compiled for the instruction set, into which everything `#[inline(always)]` is inlined.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;
pub(crate) use scalar::Scalar;

/// Vectors of one instruction set.
///
/// # Safety
/// Every method may be called only where the instruction set is available, which [`Isa::run`] sees to.
/// Pointers need no alignment; `load` and `store` touch `LANES` floats, the `_first` forms only the
/// first `n <= LANES` (the other lanes load as 0).
pub trait Simd: Copy {
    type V: Copy;
    const LANES: usize;
    /// Vector registers, which bound the size of a micro-kernel's tile.
    const REGISTERS: usize;
    /// The integers that [`scale`](Self::scale) takes; the least makes 0 of any `v`, the greatest infinity.
    const EXPONENTS: (f32, f32);

    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(from: *const f32) -> Self::V;
    unsafe fn store(to: *mut f32, v: Self::V);
    unsafe fn load_first(from: *const f32, n: usize) -> Self::V;
    unsafe fn store_first(to: *mut f32, v: Self::V, n: usize);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// As `min`, but NaN if either is: `min` and `max` give `b` then, which hides that of `a`.
    unsafe fn smaller(a: Self::V, b: Self::V) -> Self::V;
    /// As `max`, but NaN if either is.
    unsafe fn larger(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once (the scalar set too).
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The nearest integer, ties to even.
    unsafe fn round(a: Self::V) -> Self::V;
    unsafe fn sqrt(a: Self::V) -> Self::V;
    /// `2^n` for integral `n` in -126..=127.
    unsafe fn pow2(n: Self::V) -> Self::V;
    /// `v * 2^n` for integral `n` in [`EXPONENTS`](Self::EXPONENTS) and `v` about 1.
    unsafe fn scale(v: Self::V, n: Self::V) -> Self::V;
    /// Writes the transpose of a block: `rows` rows of `cols` floats, both at most `LANES`, to `cols` rows.
    unsafe fn transpose(
        from: *const f32,
        from_stride: usize,
        to: *mut f32,
        to_stride: usize,
        rows: usize,
        cols: usize,
    );
    /// Sum of all lanes.
    unsafe fn sum(v: Self::V) -> f32;
    /// Largest lane; where one is NaN, perhaps another one.
    unsafe fn maximum(v: Self::V) -> f32;
    /// Widens `LANES` halves.
    unsafe fn load_halves(from: *const u16) -> Self::V;
    /// Writes whole numbers of 0 to 255 as `LANES` bytes.
    unsafe fn store_bytes(to: *mut u8, v: Self::V);
    /// Writes `LANES` bfloat16: the nearest, ties to even.
    unsafe fn store_bfloats(to: *mut u16, v: Self::V);
    /// Whole numbers of 32 bits, each less `zero` times what lies at the same place of `sums`, as floats.
    unsafe fn lowered(whole: *const f32, zero: f32, sums: *const f32) -> Self::V;
    /// Asks for the cache line of `at`, which may be any address, to be brought near: into the second cache.
    unsafe fn prefetch(at: *const f32);
}

/// Work that is compiled for each instruction set. Mark `run` `#[inline(always)]`.
pub trait Kernel {
    type Output;

    /// # Safety
    /// Only where `S` is available.
    unsafe fn run<S: Simd>(self) -> Self::Output;
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
        Self::Scalar,
    ];

    /// Whether this processor has it; nothing is allocated to find that out.
    pub fn is_available(self) -> bool {
        // Miri knows few of the others' instructions, whatever the processor says.
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                let widens = is_x86_feature_detected!("f16c");
                cfg!(not(miri))
                    && is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && widens
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                // Bytes are multiplied by the second where there is no VNNI.
                cfg!(not(miri)) && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
            }
            #[cfg(target_arch = "aarch64")]
            Self::Neon => cfg!(not(miri)),
        }
    }

    /// All that this processor has, best first.
    pub fn available() -> Vec<Self> {
        Self::ALL.iter().copied().filter(|set| set.is_available()).collect()
    }

    /// Those of 8 floats, best first: they add up in the same order and give the same bits, here and on other
    /// processors.
    pub fn portable() -> Vec<Self> {
        let sets = Self::available().into_iter();
        #[cfg(target_arch = "x86_64")]
        let sets = sets.filter(|set| *set != Self::Avx512);
        sets.collect()
    }

    /// Runs `kernel` compiled for this instruction set.
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: whoever names a set other than Scalar has asked `is_available`.
        unsafe {
            match self {
                Self::Scalar => kernel.run::<scalar::Scalar>(),
                #[cfg(target_arch = "x86_64")]
                Self::Avx2 => avx2::enter(kernel),
                #[cfg(target_arch = "x86_64")]
                Self::Avx512 => avx512::enter(kernel),
                #[cfg(target_arch = "aarch64")]
                Self::Neon => kernel.run::<neon::Neon>(),
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
        unsafe fn run<S: Simd>(self) -> usize {
            let (rows, cols) = (self.2.min(S::LANES), self.3.min(S::LANES));
            // SAFETY: the test gives 16 rows of 20 floats and 16 of 18.
            unsafe { S::transpose(self.0.as_ptr(), 20, self.1.as_mut_ptr(), 18, rows, cols) };
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
