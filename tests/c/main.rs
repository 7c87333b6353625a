//! The C API as C sees it: the header, the libraries' symbols, and C and C++ programs that are built and run.
//!
//! Needs a C and a C++ compiler (`CC` and `CXX`, or `cc` and `c++`). What needs more tools is ignored here and run by
//! `.ci/c`, which installs them.

mod abi;
mod archive;
#[path = "../common/bundle.rs"]
mod bundle;
mod compiler;
mod examples;
mod header;
mod layout;
mod libraries;
mod process;
mod programs;
mod released;
mod runtime;
mod sanitized;
mod windows;

use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// A folder for what the tests make.
fn made() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("c");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
