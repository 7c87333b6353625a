//! Every kernel against the CPU's, without a GPU: the sources that become binaries, compiled as C++ for the host.
//! With `FLOWTURBO_GPU=1` the binaries run, on the first GPU of this machine; `.ci/cuda` passes over what is of the
//! emulation alone.
//!
//! Needs a C++ compiler (`CXX`, or `c++`). `FLOWTURBO_EMULATION_FLAGS` has more of its options: with
//! `-fsanitize=address,undefined` and the sanitizer preloaded, that looks for what the emulation itself does not see.

#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

mod attention;
mod elements;
mod emulation;
mod layout;
mod matmul;
mod rows;
