//! The library for plans with the feature `cuda`, as C calls it: what `bindings/jetson/build` builds for boards.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::tempdir;

use crate::common::data;
use crate::{built, run};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn passes(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A folder with the library, built once.
fn library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build)
}

fn build() -> PathBuf {
    let made = Path::new(env!("CARGO_TARGET_TMPDIR"));
    // Beside the one without, which has the same dependencies: `tests/c`.
    let target = made.parent().unwrap().join("runtime");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--package", "flowturbo-capi", "--no-default-features", "--features", "text,cuda"]);
    let (profile, folder) = if cfg!(debug_assertions) { ("dev", "debug") } else { ("release", "release") };
    passes(cargo.args(["--lib", "--profile", profile, "--target-dir"]).arg(&target).current_dir(root()));
    let to = made.join("runtime-cuda");
    fs::create_dir_all(&to).unwrap();
    let built = target.join(folder).join("libflowturbo_capi.so");
    for name in ["libflowturbo_runtime.so", "libflowturbo_runtime.so.0"] {
        let _ = fs::remove_file(to.join(name));
        fs::copy(&built, to.join(name)).unwrap();
    }
    to
}

#[test]
fn c_sees_devices_and_what_goes_wrong_with_them() {
    let (library, folder) = (library(), tempdir().unwrap());
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (plan, program) = (file("tiny.ftplan"), file("devices"));
    run(&["compile", "-m", data("bundle").to_str().unwrap(), "-o", &plan]);
    let mut c = Command::new(std::env::var("CC").unwrap_or_else(|_| "cc".to_owned()));
    c.args(["-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-Iinclude", "tests/c/devices.c", "-o"]);
    c.arg(&program).arg("-L").arg(library).args(["-lflowturbo_runtime", "-ldl"]);
    c.arg(format!("-Wl,-rpath,{}", library.display()));
    passes(c.current_dir(root()));
    passes(
        Command::new(&program)
            .args([&plan, "driver"])
            .env("LD_LIBRARY_PATH", built::built().parent().unwrap()),
    );
    passes(Command::new(&program).arg(&plan).env("LD_LIBRARY_PATH", "/nonexistent"));
}

/// What `tests/c/runtime.rs` looks for in vain where the feature is not there.
#[test]
fn it_has_what_one_without_cuda_has_not() {
    let bytes = fs::read(library().join("libflowturbo_runtime.so")).unwrap();
    let has = |wanted: &[u8]| bytes.windows(wanted.len()).any(|window| window == wanted);
    assert!(has(b"cuInit") && has(b"libcuda.so"));
    for entry in fs::read_dir(root().join("crates/cuda/kernels/binaries")).unwrap() {
        let path = entry.unwrap().path();
        let binary = fs::read(&path).unwrap();
        assert!(has(&binary[binary.len() / 2..][..16]), "{}", path.display());
    }
}
