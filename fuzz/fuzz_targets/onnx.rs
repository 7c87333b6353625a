//! ONNX files of one step, changed field by field: an error, or numbers that are plain tract's, alike twice.
#![no_main]

use flowturbo_fuzz::{Verdict, compare, contain_panics, mutate};
use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(init: contain_panics(), |data: &[u8]| -> Corpus {
    match compare(data) {
        Verdict::Agree => Corpus::Keep,
        Verdict::Outside => Corpus::Reject,
        Verdict::Apart(how) => {
            eprintln!("{how}");
            std::process::abort()
        }
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let changed = (seed % 16 != 0).then(|| mutate(&data[..size], seed / 16)).flatten();
    match changed.filter(|file| file.len() <= max_size) {
        Some(file) => {
            data[..file.len()].copy_from_slice(&file);
            file.len()
        }
        None => fuzzer_mutate(data, size, max_size),
    }
});
