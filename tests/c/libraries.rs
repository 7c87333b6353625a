//! The libraries, built as their users build them, once for all tests.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};

use crate::{made, root};

/// Which library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// As shipped.
    Shipped,
    /// With a longer request, as a later release may have, that can panic.
    Testing,
}

/// A shared and a static library in a folder of their own.
pub struct Built {
    pub folder: PathBuf,
    pub shared: PathBuf,
    pub archive: PathBuf,
    /// What a program that links the static library must link besides, as rustc tells.
    pub natives: Vec<String>,
}

impl Library {
    pub fn built(self) -> &'static Built {
        static SHIPPED: OnceLock<Built> = OnceLock::new();
        static TESTING: OnceLock<Built> = OnceLock::new();
        match self {
            Self::Shipped => SHIPPED.get_or_init(|| build("capi")),
            Self::Testing => TESTING.get_or_init(|| build("testing")),
        }
    }
}

/// The file name of the shared library, by its ABI.
pub fn soname() -> String {
    format!("libflowturbo.so.{}", env!("CARGO_PKG_VERSION_MAJOR"))
}

/// Builds with the dependencies that the tests were built with, which are there already.
fn build(feature: &str) -> Built {
    // Cargo puts both variants in one place.
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root()).args(["rustc", "--lib", "--profile", profile, "--features", feature]);
    cargo.args(["--crate-type", "cdylib,staticlib", "--target-dir"]).arg(target);
    cargo.args(["--", "--print", "native-static-libs", "-C"]);
    cargo.arg(format!("link-arg=-Wl,-soname,{}", soname()));
    let output = cargo.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let natives = told.lines().find_map(|line| line.strip_prefix("note: native-static-libs: "));
    let natives = natives.expect("rustc names the native libraries").split_whitespace().map(str::to_owned);

    let folder = made().join(feature);
    fs::create_dir_all(&folder).unwrap();
    let from = target.join(if cfg!(debug_assertions) { "debug" } else { "release" });
    let (shared, archive) = (folder.join(soname()), folder.join("libflowturbo.a"));
    for (name, to) in [("libflowturbo.so", &shared), ("libflowturbo.a", &archive)] {
        // Not over the old one: a program may have it open.
        let _ = fs::remove_file(to);
        fs::copy(from.join(name), to).unwrap();
    }
    let link = folder.join("libflowturbo.so");
    let _ = fs::remove_file(&link);
    std::os::unix::fs::symlink(soname(), link).unwrap();
    Built { folder, shared, archive, natives: natives.collect() }
}
