//! The kernels by name, and how a launch follows from the arguments.
//!
//! A kernel takes its arguments by value and then the address of the arena. All its shared memory is its own, so that
//! a launch names none.

use std::fmt;

use crate::arguments::{
    Attention, Copy, Gather, GroupNorm, Integers, Lookup, Matmul, Norm, Pointwise, Reduce, Softmax, Stage,
};

/// What products and attention multiply; sums are `f32` always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Number {
    F32,
    /// `f32` rounded to 10 bits of mantissa while it is multiplied.
    Tf32,
    F16,
    Bf16,
}

/// A kernel as the binaries have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    pub name: &'static str,
    /// Threads of a block.
    pub threads: u32,
    /// The oldest compute capability whose binary has it, ten times the major number and the minor one.
    pub since: u32,
}

/// A kernel and how many blocks of it: `grid` and `[threads, 1, 1]` are what the driver wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launch {
    pub kernel: &'static Kernel,
    pub grid: [u32; 3],
}

macro_rules! kernels {
    ($($constant:ident = $name:literal, $threads:literal, $since:literal;)*) => {
        $(static $constant: Kernel = Kernel { name: $name, threads: $threads, since: $since };)*

        /// Every kernel.
        pub static KERNELS: &[&Kernel] = &[$(&$constant,)*];
    };
}

kernels! {
    MATMUL_F32_128 = "matmul_f32_128", 256, 75;
    MATMUL_F32_64 = "matmul_f32_64", 64, 75;
    MATMUL_TF32_128 = "matmul_tf32_128", 256, 80;
    MATMUL_TF32_64 = "matmul_tf32_64", 128, 80;
    MATMUL_F16_128 = "matmul_f16_128", 256, 75;
    MATMUL_F16_64 = "matmul_f16_64", 128, 75;
    MATMUL_BF16_128 = "matmul_bf16_128", 256, 80;
    MATMUL_BF16_64 = "matmul_bf16_64", 128, 80;
    ATTENTION_F32 = "attention_f32", 128, 75;
    ATTENTION_F16_32 = "attention_f16_32", 128, 75;
    ATTENTION_F16_64 = "attention_f16_64", 128, 75;
    ATTENTION_F16_80 = "attention_f16_80", 128, 75;
    ATTENTION_F16_128 = "attention_f16_128", 128, 75;
    ATTENTION_BF16_32 = "attention_bf16_32", 128, 80;
    ATTENTION_BF16_64 = "attention_bf16_64", 128, 80;
    ATTENTION_BF16_80 = "attention_bf16_80", 128, 80;
    ATTENTION_BF16_128 = "attention_bf16_128", 128, 80;
    NORM = "norm_rows", 128, 75;
    GROUP_NORM_PARTIALS = "group_norm_partials", 256, 75;
    GROUP_NORM_FOLD = "group_norm_fold", 128, 75;
    STAGE = "stage", 256, 75;
    POINTWISE = "pointwise", 128, 75;
    COPY = "copy", 256, 75;
    REDUCE = "reduce", 128, 75;
    SOFTMAX = "softmax", 128, 75;
    GATHER = "gather", 256, 75;
    LOOKUP = "lookup", 256, 75;
    INTEGERS = "integers", 256, 75;
}

/// The largest second or third number of a grid.
const GRID: u32 = 65_535;

/// Threads of a warp.
const WARP: u32 = 32;

impl Number {
    pub const ALL: [Self; 4] = [Self::F32, Self::Tf32, Self::F16, Self::Bf16];

    /// The oldest compute capability that multiplies it.
    pub fn since(self) -> u32 {
        match self {
            Self::F32 | Self::F16 => 75,
            Self::Tf32 | Self::Bf16 => 80,
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        })
    }
}

/// A launch of as many blocks as there are; none if there is nothing to do.
fn launch(kernel: &'static Kernel, grid: [u32; 3]) -> Option<Launch> {
    (!grid.contains(&0)).then_some(Launch { kernel, grid })
}

impl Matmul {
    /// The product in `number`s, by tiles of 128 by 128 where these keep `multiprocessors` busy twice, else by those
    /// of 64 by 64.
    pub fn launch(&self, number: Number, multiprocessors: u32) -> Option<Launch> {
        let tiles = |side| u64::from(self.rows.div_ceil(side)) * u64::from(self.cols.div_ceil(side));
        let large = tiles(128) >= 2 * u64::from(multiprocessors);
        let kernel = match (number, large) {
            (Number::F32, true) => &MATMUL_F32_128,
            (Number::F32, false) => &MATMUL_F32_64,
            (Number::Tf32, true) => &MATMUL_TF32_128,
            (Number::Tf32, false) => &MATMUL_TF32_64,
            (Number::F16, true) => &MATMUL_F16_128,
            (Number::F16, false) => &MATMUL_F16_64,
            (Number::Bf16, true) => &MATMUL_BF16_128,
            (Number::Bf16, false) => &MATMUL_BF16_64,
        };
        let blocks = tiles(if large { 128 } else { 64 });
        // `Product` holds that there are not more tiles than a grid has blocks.
        launch(kernel, [u32::try_from(blocks).unwrap_or(u32::MAX), 1, 1])
    }
}

impl Attention {
    /// The attention in `number`s; in `f32` where they are `tf32`.
    pub fn launch(&self, number: Number) -> Option<Launch> {
        let kernel = match (number, self.dim) {
            (Number::F32 | Number::Tf32, _) => &ATTENTION_F32,
            (Number::F16, ..=32) => &ATTENTION_F16_32,
            (Number::F16, ..=64) => &ATTENTION_F16_64,
            (Number::F16, ..=80) => &ATTENTION_F16_80,
            (Number::F16, _) => &ATTENTION_F16_128,
            (Number::Bf16, ..=32) => &ATTENTION_BF16_32,
            (Number::Bf16, ..=64) => &ATTENTION_BF16_64,
            (Number::Bf16, ..=80) => &ATTENTION_BF16_80,
            (Number::Bf16, _) => &ATTENTION_BF16_128,
        };
        let queries = if kernel == &ATTENTION_F32 { 32 } else { 64 };
        let blocks = self.images * self.heads * self.queries.div_ceil(queries);
        launch(kernel, [if self.dim == 0 { 0 } else { blocks }, 1, 1])
    }
}

impl Norm {
    pub fn launch(&self) -> Option<Launch> {
        let blocks = if self.cols == 0 { 0 } else { self.rows.div_ceil(NORM.threads / WARP) };
        launch(&NORM, [blocks, 1, 1])
    }
}

impl GroupNorm {
    /// The two launches, one after the other.
    pub fn launches(&self) -> Option<[Launch; 2]> {
        if self.pixels == 0 {
            return None;
        }
        let partials = [self.images * self.chunks, self.channels.div_ceil(WARP).min(GRID), 1];
        let fold = [self.images * self.groups, 1, 1];
        Some([launch(&GROUP_NORM_PARTIALS, partials)?, launch(&GROUP_NORM_FOLD, fold)?])
    }
}

impl Stage {
    pub fn launch(&self) -> Option<Launch> {
        let height = self.height * self.enlarge + self.top + self.bottom;
        let width = self.width * self.enlarge + self.left + self.right;
        // Not their product, which may be 0 without them.
        let nothing = [self.height, self.width, self.enlarge].contains(&0);
        let pieces = (width * self.channels).div_ceil(STAGE.threads).min(GRID);
        launch(&STAGE, [if nothing { 0 } else { self.images * height }, pieces, 1])
    }
}

impl Pointwise {
    pub fn launch(&self) -> Option<Launch> {
        launch(&POINTWISE, [self.elements.div_ceil(POINTWISE.threads), 1, 1])
    }
}

impl Copy {
    /// None also where both views are one.
    pub fn launch(&self) -> Option<Launch> {
        let elements = if self.from == self.to { 0 } else { self.elements };
        launch(&COPY, [elements.div_ceil(COPY.threads), 1, 1])
    }
}

impl Reduce {
    pub fn launch(&self) -> Option<Launch> {
        launch(&REDUCE, [self.rows.div_ceil(REDUCE.threads / WARP), 1, 1])
    }
}

impl Softmax {
    pub fn launch(&self) -> Option<Launch> {
        let blocks = if self.cols == 0 { 0 } else { self.rows.div_ceil(SOFTMAX.threads / WARP) };
        launch(&SOFTMAX, [blocks, 1, 1])
    }
}

impl Gather {
    pub fn launch(&self) -> Option<Launch> {
        launch(&GATHER, [self.count, self.width.div_ceil(GATHER.threads).min(GRID), 1])
    }
}

impl Lookup {
    pub fn launch(&self) -> Option<Launch> {
        launch(&LOOKUP, [self.count, self.width.div_ceil(LOOKUP.threads).min(GRID), 1])
    }
}

impl Integers {
    pub fn launch(&self) -> Option<Launch> {
        launch(&INTEGERS, [self.count.div_ceil(INTEGERS.threads), 1, 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_large_is_not_taken_for_nothing() {
        // 2^32 pixels.
        let stage =
            Stage { images: 1, height: 1 << 16, width: 1 << 16, enlarge: 1, channels: 1, ..Stage::default() };
        assert_eq!(stage.launch().unwrap().grid, [1 << 16, 256, 1]);
        for nothing in
            [Stage { height: 0, ..stage }, Stage { width: 0, ..stage }, Stage { enlarge: 0, ..stage }]
        {
            assert_eq!(nothing.launch(), None);
        }
    }

    #[test]
    fn more_blocks_than_are_counted_are_refused() {
        let x = flowturbo_kernels::Rows { offset: 0, stride: 1, rows: 1 << 20, cols: 1 };
        let norm = flowturbo_kernels::GroupNorm {
            x,
            images: 1 << 20,
            image_stride: 1,
            groups: 1,
            eps: 0.0,
            gamma: None,
            beta: None,
            partial: 0,
            out: 0,
        };
        assert!(GroupNorm::new(&norm).is_ok());
        let error = GroupNorm::new(&flowturbo_kernels::GroupNorm { groups: 1 << 12, ..norm }).unwrap_err();
        assert!(error.to_string().starts_with("a size of 4294967296 is beyond"), "{error}");
    }
}
