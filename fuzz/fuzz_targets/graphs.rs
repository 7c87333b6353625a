//! Valid graphs of random operators: the fused kernels' numbers are plain tract's. The last graph is written to the
//! file that `FUZZ_ONNX` names.
#![no_main]

use flowturbo_fuzz::{Plan, Verdict, compare, contain_panics};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(init: contain_panics(), |data: &[u8]| -> Corpus {
    let plan = Plan::read(data);
    let file = plan.write();
    if let Some(path) = std::env::var_os("FUZZ_ONNX") {
        std::fs::write(path, &file).expect("FUZZ_ONNX names a file");
    }
    match compare(&file) {
        Verdict::Agree => Corpus::Keep,
        Verdict::Outside => Corpus::Reject,
        Verdict::Apart(how) => {
            eprintln!("{how}: {plan:?}");
            std::process::abort()
        }
    }
});
