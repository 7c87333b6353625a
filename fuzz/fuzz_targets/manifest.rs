//! Bytes as `bundle.json`: an error, or a bundle whose manifest reads the same again.
#![no_main]

use flowturbo::Bundle;
use flowturbo_fuzz::{Files, check, limits};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let files =
        || Files(vec![("bundle.json".to_owned(), data.to_vec()), ("predictor.onnx".to_owned(), vec![0; 64])]);
    match Bundle::from_source(files(), &limits()) {
        Ok(bundle) => {
            let again = Bundle::from_source(files(), &limits()).expect("read once, refused the second time");
            assert_eq!(format!("{:?}", bundle.manifest()), format!("{:?}", again.manifest()));
        }
        Err(error) => check(&error),
    }
});
