//! The libraries that the programs are linked with, made once for all tests. `.ci/package` builds those that are
//! shipped.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};

use crate::compiler::passes;
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
    /// As cargo makes it: not closed.
    pub open_archive: PathBuf,
}

/// What a program that links the archive must link besides; with `-static`, `gcc_eh` in place of the first.
pub const NATIVES: [&str; 4] = ["-lgcc_s", "-lpthread", "-lm", "-ldl"];

impl Library {
    pub fn built(self) -> &'static Built {
        static SHIPPED: OnceLock<Built> = OnceLock::new();
        static TESTING: OnceLock<Built> = OnceLock::new();
        match self {
            Self::Shipped => SHIPPED.get_or_init(|| build("default")),
            Self::Testing => TESTING.get_or_init(|| build("testing")),
        }
    }
}

/// The archive as it is shipped: closed.
pub fn archive() -> &'static Path {
    static ARCHIVE: OnceLock<PathBuf> = OnceLock::new();
    ARCHIVE.get_or_init(|| {
        let built = Library::Shipped.built();
        let archive = built.folder.join("libflowturbo.a");
        passes(
            Command::new(root().join("bindings/closed-archive.sh")).arg(&built.open_archive).arg(&archive),
        );
        archive
    })
}

/// The file name of the shared library, by its ABI.
pub fn soname() -> String {
    format!("libflowturbo.so.{}", env!("CARGO_PKG_VERSION_MAJOR"))
}

/// Links them of the crate as the tests were built with it, which is there already.
fn build(feature: &str) -> Built {
    // Cargo puts both variants in one place.
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root()).args(["rustc", "--package", "flowturbo-capi", "--example", "flowturbo"]);
    cargo.args(["--profile", profile, "--features", feature, "--target-dir"]).arg(target);
    passes(cargo.args(["--", "-C"]).arg(format!("link-arg=-Wl,-soname,{}", soname())));

    let folder = made().join(feature);
    fs::create_dir_all(&folder).unwrap();
    let from = target.join(if cfg!(debug_assertions) { "debug" } else { "release" }).join("examples");
    let (shared, open_archive) = (folder.join(soname()), folder.join("open.a"));
    for (name, to) in [("libflowturbo.so", &shared), ("libflowturbo.a", &open_archive)] {
        // Not over the old one: a program may have it open. The time stays, for what is made of it.
        let _ = fs::remove_file(to);
        passes(Command::new("cp").arg("--preserve=timestamps").arg(from.join(name)).arg(to));
    }
    let link = folder.join("libflowturbo.so");
    let _ = fs::remove_file(&link);
    std::os::unix::fs::symlink(soname(), link).unwrap();
    Built { folder, shared, open_archive }
}
