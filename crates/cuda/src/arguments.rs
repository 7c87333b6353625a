//! What kernels are called with: the structs of `kernels/arguments.h`, made of what plans say.
//!
//! Places are floats from the arena's start; addresses are in the device's memory, 0 until whoever loads a plan has
//! put the tables there.

mod elements;

use flowturbo_kernels as kernels;
use flowturbo_kernels::error::unsupported;
use flowturbo_kernels::{Border, Measure, RANK, Reduction, Result};

pub use elements::Program;

/// A place of something that is not there.
pub const NOWHERE: u64 = u64::MAX;

/// Steps of an epilogue at most.
pub const EPILOGUE_STEPS: usize = 16;

/// Numbers of a head at most.
pub const HEAD: usize = 128;

/// Plain numbers without gaps between them: bytes that the device reads as they are.
///
/// # Safety
/// Whoever implements it says that all its bytes are set, whatever it holds.
pub unsafe trait Plain: std::marker::Copy + 'static {}

// SAFETY: a number has no gaps.
unsafe impl Plain for u64 {}
// SAFETY: likewise.
unsafe impl Plain for f32 {}

/// The bytes of a table.
pub fn bytes<T: Plain>(table: &[T]) -> &[u8] {
    // SAFETY: `Plain` says that all of these bytes are set.
    unsafe { std::slice::from_raw_parts(table.as_ptr().cast(), std::mem::size_of_val(table)) }
}

macro_rules! structs {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $kind:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[repr(C)]
            #[derive(Clone, Copy, Debug, Default, PartialEq)]
            pub struct $name {
                $(pub $field: $kind,)*
            }

            // SAFETY: the sizes of the fields add up to the size of the struct, which is held below.
            unsafe impl Plain for $name {}
            const _: () = assert!(std::mem::size_of::<$name>() == 0 $(+ std::mem::size_of::<$kind>())*);
        )*

        /// Each struct's name and size, and each field's name and offset: what C must have too.
        #[doc(hidden)]
        pub fn layouts() -> Vec<(&'static str, usize, Vec<(&'static str, usize)>)> {
            vec![$((
                stringify!($name),
                std::mem::size_of::<$name>(),
                vec![$((stringify!($field), std::mem::offset_of!($name, $field)),)*],
            ),)*]
        }
    };
}

structs! {
    /// Rows of a product that lie evenly.
    Group { a: u64, c: u64, row: u32, image: u32, }
    /// A step on the finished sums of a product.
    EpilogueStep { kind: u32, factor: f32, offset: u64, stride: u64, }
    /// A product of gathered rows and packed weights, see [`Product`](crate::product::Product).
    Matmul {
        weights: u64,
        groups: u64,
        segments: u64,
        a_stride: u64,
        c_stride: u64,
        rows: u32,
        rows_per_group: u32,
        segment_count: u32,
        k: u32,
        cols: u32,
        aligned: u32,
        steps: u32,
        reserved: u32,
        epilogue: [EpilogueStep; EPILOGUE_STEPS],
    }
    /// Where queries, keys, values or results lie.
    Heads { offset: u64, image_stride: u64, token_stride: u64, head_stride: u64, }
    /// Attention, with a mask of keys or without.
    Attention {
        q: Heads,
        k: Heads,
        v: Heads,
        out: Heads,
        bias: u64,
        bias_stride: u64,
        images: u32,
        heads: u32,
        queries: u32,
        keys: u32,
        dim: u32,
        aligned: u32,
        scale: f32,
        reserved: u32,
    }
    /// A norm of rows, with modulation or without.
    Norm {
        x: u64,
        x_stride: u64,
        out: u64,
        out_stride: u64,
        gamma: u64,
        beta: u64,
        scale: u64,
        shift: u64,
        image_stride: u64,
        rows: u32,
        cols: u32,
        rows_per_image: u32,
        measure: u32,
        eps: f32,
        reserved: u32,
    }
    /// The statistics of a group norm.
    GroupNorm {
        x: u64,
        x_stride: u64,
        image_stride: u64,
        gamma: u64,
        beta: u64,
        partial: u64,
        out: u64,
        images: u32,
        pixels: u32,
        channels: u32,
        groups: u32,
        chunk: u32,
        chunks: u32,
        eps: f32,
        reserved: u32,
    }
    /// What a convolution reads: an image normalised, activated, enlarged and padded.
    Stage {
        x: u64,
        image_stride: u64,
        pixel_stride: u64,
        affine: u64,
        out: u64,
        images: u32,
        height: u32,
        width: u32,
        channels: u32,
        silu: u32,
        enlarge: u32,
        top: u32,
        bottom: u32,
        left: u32,
        right: u32,
        border: u32,
        reserved: u32,
    }
    /// A step of a program on registers.
    ProgramStep { operation: u32, to: u32, a: u32, b: u32, numbers: [f32; 4], }
    /// Elements of a known shape.
    View { offset: u64, strides: [u64; RANK], }
    /// A program over elements, see [`Program`].
    Pointwise {
        steps: u64,
        inputs: u64,
        out: View,
        shape: [u32; RANK],
        rank: u32,
        step_count: u32,
        elements: u32,
        result: u32,
    }
    /// The elements of one view to another.
    Copy { from: View, to: View, shape: [u32; RANK], rank: u32, elements: u32, }
    /// One float of each row.
    Reduce {
        x: u64,
        x_stride: u64,
        out: u64,
        out_stride: u64,
        rows: u32,
        cols: u32,
        reduction: u32,
        reserved: u32,
    }
    /// A softmax of rows.
    Softmax { x: u64, x_stride: u64, out: u64, out_stride: u64, rows: u32, cols: u32, }
    /// Rows of a table in the arena. The integers, `i64`, are in the arena too, from an even place on.
    Gather { table: u64, integers: u64, out: u64, rows: u32, width: u32, count: u32, reserved: u32, }
    /// Rows of a table that all instances share; `encoding` is 0 for `f32` and 1 for `f16`.
    Lookup { table: u64, integers: u64, out: u64, rows: u32, width: u32, count: u32, encoding: u32, }
    /// Integers as floats.
    Integers { integers: u64, out: u64, count: u32, reserved: u32, }
}

/// A size that kernels count in 32 bits.
///
/// # Errors
/// `Unsupported`: it is too large.
pub(crate) fn counted(size: usize) -> Result<u32> {
    // Below 2^31, so that sums of two do not overflow either.
    u32::try_from(size).ok().filter(|size| *size < 1 << 31).ok_or_else(|| {
        unsupported(format!("a size of {size} is beyond what CUDA kernels count to (2147483647)"))
    })
}

fn place(offset: usize) -> u64 {
    offset as u64
}

fn place_or_nowhere(offset: Option<usize>) -> u64 {
    offset.map_or(NOWHERE, place)
}

impl Attention {
    /// Attention in an arena; `bias` is a [`MaskedAttention`](kernels::MaskedAttention)'s, and its stride.
    ///
    /// # Errors
    /// `Unsupported`: heads of more than 128 numbers, sizes that are too large.
    pub fn new(attention: &kernels::Attention, bias: Option<(usize, usize)>) -> Result<Self> {
        let kernels::Attention { q, k, v, out, images, heads, queries, keys, dim, scale } = *attention;
        if dim > HEAD {
            return Err(unsupported(format!(
                "attention heads of {dim} numbers; CUDA kernels take {HEAD} at most"
            )));
        }
        let heads_of = |place: kernels::Heads| Heads {
            offset: place.offset as u64,
            image_stride: place.image_stride as u64,
            token_stride: place.token_stride as u64,
            head_stride: place.head_stride as u64,
        };
        let even = |p: kernels::Heads| {
            [p.offset, p.image_stride, p.token_stride, p.head_stride].iter().all(|n| n.is_multiple_of(4))
        };
        counted(images.saturating_mul(heads).saturating_mul(queries.max(1)))?;
        Ok(Self {
            q: heads_of(q),
            k: heads_of(k),
            v: heads_of(v),
            out: heads_of(out),
            bias: place_or_nowhere(bias.map(|(offset, _)| offset)),
            bias_stride: bias.map_or(0, |(_, stride)| stride as u64),
            images: counted(images)?,
            heads: counted(heads)?,
            queries: counted(queries)?,
            keys: counted(keys)?,
            dim: counted(dim)?,
            aligned: u32::from([q, k, v].into_iter().all(even) && dim.is_multiple_of(4)),
            scale,
            reserved: 0,
        })
    }
}

impl Norm {
    /// A norm in an arena.
    ///
    /// # Errors
    /// `Unsupported`: sizes that are too large.
    pub fn new(norm: &kernels::Norm) -> Result<Self> {
        let kernels::Norm { x, out, measure, eps, gamma, beta, modulation } = *norm;
        Ok(Self {
            x: place(x.offset),
            x_stride: x.stride as u64,
            out: place(out.offset),
            out_stride: out.stride as u64,
            gamma: place_or_nowhere(gamma),
            beta: place_or_nowhere(beta),
            scale: place_or_nowhere(modulation.map(|m| m.scale)),
            shift: place_or_nowhere(modulation.and_then(|m| m.shift)),
            image_stride: modulation.map_or(0, |m| m.image_stride as u64),
            rows: counted(x.rows)?,
            cols: counted(x.cols)?,
            rows_per_image: counted(modulation.map_or(x.rows, |m| m.rows_per_image).max(1))?,
            measure: match measure {
                Measure::Deviation => 0,
                Measure::RootMeanSquare => 1,
            },
            eps,
            reserved: 0,
        })
    }
}

impl GroupNorm {
    /// A group norm's statistics in an arena.
    ///
    /// # Errors
    /// `Unsupported`: sizes that are too large.
    pub fn new(norm: &kernels::GroupNorm) -> Result<Self> {
        let kernels::GroupNorm { x, images, image_stride, groups, eps, gamma, beta, partial, out } = *norm;
        let nothing = x.cols == 0;
        // Blocks of a launch are counted too.
        let chunks = if nothing { 0 } else { norm.chunks() };
        counted(images.saturating_mul(chunks.max(groups)))?;
        Ok(Self {
            x: place(x.offset),
            x_stride: x.stride as u64,
            image_stride: image_stride as u64,
            gamma: place_or_nowhere(gamma),
            beta: place_or_nowhere(beta),
            partial: place(partial),
            out: place(out),
            images: counted(images)?,
            pixels: counted(x.rows)?,
            channels: counted(x.cols)?,
            groups: counted(groups)?,
            chunk: if nothing { 0 } else { counted(norm.chunk())? },
            chunks: counted(chunks)?,
            eps,
            reserved: 0,
        })
    }
}

impl Stage {
    /// A stage in an arena.
    ///
    /// # Errors
    /// `Unsupported`: sizes that are too large.
    pub fn new(stage: &kernels::Stage) -> Result<Self> {
        let kernels::Padding { top, bottom, left, right } = stage.padding;
        let (height, width) = stage.size();
        counted(stage.images.saturating_mul(height))?;
        counted(width.saturating_mul(stage.channels))?;
        Ok(Self {
            x: place(stage.x),
            image_stride: stage.image_stride as u64,
            pixel_stride: stage.pixel_stride as u64,
            affine: place_or_nowhere(stage.affine),
            out: place(stage.out),
            images: counted(stage.images)?,
            height: counted(stage.height)?,
            width: counted(stage.width)?,
            channels: counted(stage.channels)?,
            silu: u32::from(stage.silu),
            enlarge: counted(stage.enlarge)?,
            top: counted(top)?,
            bottom: counted(bottom)?,
            left: counted(left)?,
            right: counted(right)?,
            border: match stage.border {
                Border::Zero => 0,
                Border::Circular => 1,
            },
            reserved: 0,
        })
    }
}

impl Reduce {
    /// A reduction in an arena.
    ///
    /// # Errors
    /// `Unsupported`: sizes that are too large.
    pub fn new(reduce: &kernels::Reduce) -> Result<Self> {
        let kernels::Reduce { x, reduction, out, out_stride } = *reduce;
        Ok(Self {
            x: place(x.offset),
            x_stride: x.stride as u64,
            out: place(out),
            out_stride: out_stride as u64,
            rows: counted(x.rows)?,
            cols: counted(x.cols)?,
            reduction: match reduction {
                Reduction::Sum => 0,
                Reduction::Mean => 1,
                Reduction::Max => 2,
            },
            reserved: 0,
        })
    }
}

impl Softmax {
    /// A softmax in an arena.
    ///
    /// # Errors
    /// `Unsupported`: sizes that are too large.
    pub fn new(softmax: &kernels::Softmax) -> Result<Self> {
        let kernels::Softmax { x, out } = *softmax;
        Ok(Self {
            x: place(x.offset),
            x_stride: x.stride as u64,
            out: place(out.offset),
            out_stride: out.stride as u64,
            rows: counted(x.rows)?,
            cols: counted(x.cols)?,
        })
    }
}
