//! What threads meet in, the files of ../../crates themselves, run in thousands of orders that Shuttle chooses: the
//! pool, cancel tokens, the registry of handles and its sessions.
//!
//! Here `std` is the crate beside this one. To Shuttle every atomic number is sequentially consistent; that weaker
//! orders are enough is for Miri to doubt (../miri).

#![allow(dead_code, unused_imports, reason = "what uses them is not here")]

extern crate watched_std as std;

#[path = "../../crates/runtime/src/cancel.rs"]
mod cancel;
#[path = "../../crates/kernels/src/lib.rs"]
mod kernels;

#[path = "../../crates/capi/src"]
mod capi {
    #![allow(non_camel_case_types, reason = "as in ../../crates/capi/src/lib.rs")]

    use crate::{CancelToken, Error, ErrorKind, Result, error, kernels};

    pub mod cancel_token;
    pub mod status;

    mod boundary;
    mod of_process;
    mod pointers;
    mod registry;

    #[cfg(test)]
    #[path = "../../../.ci/interleavings/sessions.rs"]
    mod sessions;
    #[cfg(test)]
    #[path = "../../../.ci/interleavings/tokens.rs"]
    mod tokens;
}

use cancel::CancelToken;
use kernels::error::{self, Error, ErrorKind, Result};
use kernels::{lock, memory};

#[cfg(test)]
mod models;
#[cfg(test)]
mod pool;
