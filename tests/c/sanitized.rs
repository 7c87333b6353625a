//! All programs with the library instrumented by a sanitizer, down to the kernels.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::compiler::{compiler, passes};
use crate::libraries::{WORKSPACE, alone, cargo, profile_of, target};
use crate::programs::every_program;
use crate::{made, root};

/// What an instrumented program is linked with: that of Rust's compiler, which may be newer than clang's.
fn runtime(sanitizer: &str) -> PathBuf {
    let folder = passes(Command::new("rustc").args(["--print", "target-libdir"])).stdout;
    let folder = PathBuf::from(String::from_utf8(folder).unwrap().trim());
    let end = format!("_rt.{}san.a", &sanitizer[..1]);
    let mut files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.find(|file| file.to_str().is_some_and(|file| file.ends_with(&end))).expect("Rust's sanitizers")
}

/// Builds the library with a sanitizer: our crates with it, the dependencies, which are there, without. Cargo tells
/// what goes through one wrapper from what goes through another, by the wrapper's path, so each sanitizer has its own.
fn archive(sanitizer: &str) -> PathBuf {
    let wrapper = made().join(sanitizer);
    let _ = fs::remove_file(&wrapper);
    std::os::unix::fs::symlink(root().join("tests/c/unstable"), &wrapper).unwrap();
    let _alone = alone();
    let selection = [&WORKSPACE[..], &["--features", "flowturbo-capi/testing"]].concat();
    // But not the libraries for C, whose files all have one name: what another left would pass for this, and this for
    // another.
    let left = profile_of(&target()).join("deps/libflowturbo_capi.a");
    let _ = fs::remove_file(&left);
    passes(cargo(&target(), &selection).env("RUSTC_WORKSPACE_WRAPPER", &wrapper));
    let archive = made().join(format!("libflowturbo-{sanitizer}.a"));
    fs::copy(profile_of(&target()).join("libflowturbo_capi.a"), &archive).unwrap();
    fs::remove_file(left).unwrap();
    archive
}

fn nothing_is_found(sanitizer: &str, options: &str) {
    let (archive, runtime) = (archive(sanitizer), runtime(sanitizer));
    let build = |source: &str, standard: &str| {
        let stem = Path::new(source).file_stem().unwrap().to_str().unwrap();
        let program = made().join(format!("{stem}-{sanitizer}"));
        let clang = if standard.starts_with("c++") { "clang++" } else { "clang" };
        let mut usual = compiler(standard);
        let object = made().join(format!("{stem}-{sanitizer}.o"));
        let mut compile = Command::new(clang);
        compile.args(usual.arg(format!("-fsanitize={sanitizer}")).get_args());
        compile.args(["-O1", "-g", "-pthread", "-c", "-o"]).arg(&object);
        passes(compile.arg(root().join(source)));
        // Without the sanitizer's own flag: clang would want a runtime of its own, which may not be installed.
        let mut link = Command::new(clang);
        link.args(["-Wl,-z,noexecstack", "-o"]).arg(&program).arg(&object).arg(&archive);
        link.arg("-Wl,--whole-archive").arg(&runtime).arg("-Wl,--no-whole-archive");
        passes(link.args(["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl"]));
        program
    };
    for (program, arguments) in every_program(|_| true, build) {
        println!("{}", program.display());
        let mut program = Command::new(program);
        program.env(format!("{}SAN_OPTIONS", sanitizer[..1].to_uppercase()), options);
        passes(program.args(arguments).current_dir(root()));
    }
}

#[test]
#[ignore = "needs clang: .ci/c"]
fn address_sanitizer_finds_nothing() {
    nothing_is_found("address", "detect_leaks=1");
}

#[test]
#[ignore = "needs clang, and long: .ci/full"]
fn thread_sanitizer_finds_nothing() {
    let suppressions = root().join("tests/c/threads.supp");
    nothing_is_found("thread", &format!("suppressions={}", suppressions.display()));
}
