//! The whole backend without a GPU: a display driver of ours (`fake_libcuda.c`), whose device is the process's memory
//! and whose kernels are the committed ones, compiled as C++ for the host.
//!
//! Needs a C and a C++ compiler (`CC` and `CXX`, or `cc` and `c++`). What a GPU would do differently, it does not
//! show.

#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

mod built;
mod driver;
mod fake;
mod networks;
