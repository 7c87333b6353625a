//! FlowTurbo on CUDA: kernels made ahead for each kind of GPU, and what runs plans with them.

pub mod arguments;
pub mod kernel;
pub mod product;
