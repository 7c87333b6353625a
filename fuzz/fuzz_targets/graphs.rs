//! Valid graphs of random operators: the fused kernels' numbers are plain tract's.
#![no_main]

use flowturbo_fuzz::{Plan, Verdict, compare, contain_panics};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(init: contain_panics(), |data: &[u8]| -> Corpus {
    let plan = Plan::read(data);
    match compare(&plan.write()) {
        Verdict::Agree => Corpus::Keep,
        Verdict::Outside => Corpus::Reject,
        Verdict::Apart(how) => {
            eprintln!("{how}: {plan:?}");
            if let Some(path) = std::env::var_os("FUZZ_ONNX") {
                std::fs::write(path, plan.write()).expect("FUZZ_ONNX names a file");
            }
            std::process::abort()
        }
    }
});
