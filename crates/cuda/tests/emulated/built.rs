//! The fake driver as a library, with the kernels' emulation in it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The library, built once for all tests of this program.
pub fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let (own, made) = (
            Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../cuda")),
            Path::new(env!("CARGO_TARGET_TMPDIR")),
        );
        let folder = made.join("emulated");
        std::fs::create_dir_all(&folder).unwrap();
        let compiler = |variable: &str, usual: &str| {
            Command::new(std::env::var(variable).unwrap_or_else(|_| usual.to_owned()))
        };
        let run = |mut command: Command| {
            let said = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
            assert!(said.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said.stderr));
        };
        let (driver, library) = (folder.join("driver.o"), folder.join("libcuda.so.1"));
        let mut c = compiler("CC", "cc");
        c.args(["-std=c11", "-O2", "-fPIC", "-Wall", "-Wextra", "-Werror", "-c", "-o"]).arg(&driver);
        c.arg(own.join("tests/fake_libcuda.c"));
        run(c);
        let mut cpp = compiler("CXX", "c++");
        cpp.args(["-std=c++17", "-O2", "-fPIC", "-shared", "-o"]).arg(&library);
        cpp.arg(own.join("kernels/emulation/emulation.cpp")).arg(&driver).arg("-lpthread");
        run(cpp);
        library
    })
}
