//! The C API: what `include/flowturbo.h` declares, one file per noun in the header's order.
//!
//! ```text
//! C ──▶ exported function ──guard──▶ handles, versioned structs, texts ──▶ Model, Session, … (safe Rust)
//!          status ◀── last error ◀── Failure, or a panic
//! ```
//!
//! cbindgen makes the header of the doc comments here; `tests/c` holds the committed file to them. Every body
//! that can fail runs inside `boundary::guard`, the one panic boundary. Handles are numbers, not addresses
//! (`registry`), so a stale one is an error and never a wild pointer.

#![cfg_attr(all(target_family = "wasm", target_feature = "atomics"), feature(asm_experimental_arch))]
#![allow(clippy::missing_safety_doc, reason = "the header says what the caller promises")]
#![allow(non_camel_case_types, reason = "Rust and C names are equal: one search finds both sides")]

pub mod version;

pub mod status;

pub mod log;

pub mod pixels;

pub mod cancel_token;

pub mod threads;

pub mod reader;

pub mod limits;

pub mod device;

pub mod precision;

pub mod model_options;

pub mod model;

pub mod request;

pub mod memory;

pub mod session;

pub mod coding;

pub mod map;

mod boundary;
#[cfg(all(target_family = "wasm", target_feature = "atomics"))]
mod heap;
#[cfg(test)]
mod layout;
mod of_process;
mod pointers;
mod registry;
mod versioned;

use flowturbo::{
    BackendKind, Bundle, CancelToken, Device, Error, ErrorKind, Limits, Map, Model, ModelOptions, Morph,
    NormalY, Output, Parallel, PixelFormat, Pixels, PixelsRef, Precision, PreviewKind, Progress, Request,
    Result, Role, Seamless, Session, Variation, devices, file, png_file,
};
use flowturbo_runtime::{bundle, error, kernels};
