//! Bytes as a predictor's ONNX file: an error, or a model that answers one request alike twice.
#![no_main]

use flowturbo::BackendKind;
use flowturbo_fuzz::{bundle, check, is_outside, sample};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|data: &[u8]| -> Corpus {
    let Ok(bundle) = bundle(data.to_vec()) else { return Corpus::Reject };
    match sample(bundle, BackendKind::Fused) {
        Ok(_) => Corpus::Keep,
        Err(error) => {
            check(&error);
            if is_outside(&error) { Corpus::Reject } else { Corpus::Keep }
        }
    }
});
