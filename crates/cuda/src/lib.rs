//! FlowTurbo on CUDA: kernels made ahead for each kind of GPU, and what runs plans with them.
//!
//! ```text
//! libcuda.so.1 ─driver─▶ gpu (devices, modules), buffer (memory), stream (graphs)
//! kernels/*.cu ─compile.py─▶ kernels/binaries ─binaries─▶ a module
//! Plan ─load─▶ launches: kernel, grid, arguments (arguments, product) ─program─▶ a graph an instance
//! ```

pub mod arguments;
pub mod binaries;
mod buffer;
mod driver;
mod gpu;
pub mod kernel;
mod load;
pub mod product;
mod program;
mod stream;
#[doc(hidden)]
pub mod trial;

#[cfg(not(target_pointer_width = "64"))]
compile_error!(
    "flowturbo on CUDA (the feature cuda) takes a 64-bit target: addresses of a device are of 64 bits"
);

pub use driver::Driver;
pub use gpu::Gpu;
pub use program::Cuda;
