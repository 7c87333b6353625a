//! Bytes as a zip file: an error or a bundle.
#![no_main]

use flowturbo::Bundle;
use flowturbo_fuzz::{check, limits};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    match Bundle::from_bytes(data.to_vec(), &limits()) {
        Ok(bundle) => drop(bundle.verify().inspect_err(check)),
        Err(error) => check(&error),
    }
});
