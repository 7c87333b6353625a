//! The kernels of ../../src without the rest: built for another machine in seconds, and tested there under an emulator.

#![allow(dead_code, unused_imports, reason = "what uses them is not here")]

#[path = "../../src"]
mod source {
    pub mod error;
    pub mod kernels;
    pub mod lock;
    pub mod memory;
}

use source::error::{self, Error, ErrorKind, Result};
use source::{kernels, lock, memory};
