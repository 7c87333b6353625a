//! The arithmetic: kernels on plain floats, written once over [`simd`] and compiled for each
//! instruction set.
//!
//! A kernel is a description (shapes, strides, offsets, packed weights) with a safe `run` over one memory,
//! the arena: it checks that every place it will touch lies inside, then shares its pieces among [`Workers`].
//! Activations are row-major, token by token, channels last; a [`Rows`] says where.
//!
//! Descriptions name their places by any type `A`. A plan has addresses in buffers there; `relocate` makes them
//! offsets in the arena, which is what runs.

#![allow(rustdoc::private_intra_doc_links, reason = "for who works on it")]
// Vectors as arguments of a call, which simd/wasm.rs has one of.
#![cfg_attr(target_feature = "simd128", feature(simd_ffi))]

mod attention;
#[cfg(test)]
mod bits;
mod blocking;
mod copy;
mod default_floats;
pub mod error;
mod floats;
mod group_norm;
pub mod lock;
mod math;
mod matmul;
pub mod memory;
mod norm;
mod parallel;
mod peaks;
mod place;
mod pointwise;
mod pool;
mod process;
mod reduce;
mod simd;
mod stage;
mod view;

pub use attention::{Attention, Heads, MaskedAttention};
pub use copy::Copy;
pub use default_floats::DefaultFloats;
pub use error::{Error, ErrorKind, Result};
pub use floats::{Floats, LINE, MappedFloats, map};
pub use group_norm::GroupNorm;
pub use matmul::{
    BatchMatmul, Convolution, Epilogue, Form, Format, Group, MICROKERNELS, Matmul, Matrices, Microkernel,
    Packed, PackedFloats, PanelSize, Scaled, Scales, Sharing, Source, Values, Whole, pack, scale_of_bytes,
    to_byte,
};
pub use norm::{Measure, Modulation, Norm};
pub use parallel::Parallel;
pub use parallel::{Inline, Shared, Workers};
pub use peaks::Peaks;
pub use pointwise::{Binary, Elementwise, Pointwise, Unary};
pub use pool::Pool;
pub use process::Process;
pub use reduce::{Reduce, Reduction, Softmax};
pub use simd::Isa;
use simd::{Kernel, Simd};
pub use stage::{Border, Padding, Stage};
pub use view::{RANK, View};

use serde::{Deserialize, Serialize};

/// A matrix in the arena: `rows` rows of `cols` floats, `stride` floats from one to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows<A = usize> {
    pub offset: A,
    pub rows: usize,
    pub cols: usize,
    pub stride: usize,
}

impl<A> Rows<A> {
    /// The same rows where `to` says that they lie.
    pub fn relocate<B>(self, to: &mut impl FnMut(A) -> B) -> Rows<B> {
        let Self { offset, rows, cols, stride } = self;
        Rows { offset: to(offset), rows, cols, stride }
    }
}
