//! FlowTurbo on CUDA: kernels made ahead for each kind of GPU, and what runs plans with them.
//!
//! ```text
//! libcuda.so.1 ──driver──▶ gpu: memory, modules, streams, graphs
//! kernels/*.cu ──compile.py──▶ kernels/binaries ──binaries──▶ a module
//! Plan ──load──▶ launches: kernel, grid, arguments (arguments, product) ──program──▶ a graph for each instance
//! ```

pub mod arguments;
pub mod binaries;
mod driver;
mod gpu;
pub mod kernel;
mod load;
pub mod product;
mod program;

pub use driver::Driver;
pub use gpu::Gpu;
pub use program::Cuda;
