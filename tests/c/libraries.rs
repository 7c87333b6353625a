//! The libraries that the programs are linked with, made once for all tests. `.ci/package` builds those that are
//! shipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::compiler::passes;
use crate::{made, root};

/// Which library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// As shipped.
    Shipped,
    /// With a longer request, as a later release may have, that can panic.
    Testing,
    /// As shipped, without a compiler.
    Runtime,
}

/// A shared and a static library in a folder of their own.
pub struct Built {
    pub folder: PathBuf,
    pub shared: PathBuf,
    /// As cargo makes it: not closed.
    pub open_archive: PathBuf,
    /// As shipped, once it is asked for.
    archive: OnceLock<PathBuf>,
}

/// What a program that links the archive must link besides; with `-static`, `gcc_eh` in place of the first.
pub const NATIVES: [&str; 4] = ["-lgcc_s", "-lpthread", "-lm", "-ldl"];

impl Library {
    pub fn built(self) -> &'static Built {
        static SHIPPED: OnceLock<Built> = OnceLock::new();
        static TESTING: OnceLock<Built> = OnceLock::new();
        static RUNTIME: OnceLock<Built> = OnceLock::new();
        match self {
            Self::Shipped => SHIPPED.get_or_init(|| built(self, "default", &target(), &WORKSPACE)),
            Self::Testing => {
                let testing = [&WORKSPACE[..], &["--features", "flowturbo-capi/testing"]].concat();
                TESTING.get_or_init(|| built(self, "testing", &target(), &testing))
            }
            Self::Runtime => {
                // As CMake makes it, there too.
                let alone = ["--package", "flowturbo-capi", "--no-default-features", "--features", "text"];
                RUNTIME.get_or_init(|| built(self, "runtime", &target().join("runtime"), &alone))
            }
        }
    }

    /// What -l takes.
    pub fn name(self) -> &'static str {
        if self == Self::Runtime { "flowturbo_runtime" } else { "flowturbo" }
    }

    /// The file name of the shared library, by its ABI.
    pub fn soname(self) -> String {
        format!("lib{}.so.{}", self.name(), env!("CARGO_PKG_VERSION_MAJOR"))
    }

    /// The archive as it is shipped: closed.
    pub fn archive(self) -> &'static Path {
        let built = self.built();
        built.archive.get_or_init(|| {
            let archive = built.folder.join(format!("lib{}.a", self.name()));
            let close = root().join("bindings/closed-archive.sh");
            passes(Command::new(close).arg(&built.open_archive).arg(&archive));
            archive
        })
    }
}

/// The archive that most programs here link.
pub fn archive() -> &'static Path {
    Library::Shipped.archive()
}

/// What cargo was told to build for these tests. It builds dependencies with the features that this selection wants of
/// them: any other, such as our crate alone, would build tract anew.
pub const WORKSPACE: [&str; 2] = ["--workspace", "--lib"];

/// Where cargo puts what it makes.
pub fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned()
}

/// Cargo, to build what is selected in the profile of these tests.
pub fn cargo(target: &Path, selection: &[&str]) -> Command {
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(root())
        .arg("build")
        .args(selection)
        .args(["--profile", profile, "--target-dir"])
        .arg(target);
    cargo
}

/// Where in `target` that is.
pub fn profile_of(target: &Path) -> PathBuf {
    target.join(if cfg!(debug_assertions) { "debug" } else { "release" })
}

/// Cargo puts all variants in one place, so they are made, and taken from there, one at a time.
pub fn alone() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn built(library: Library, variant: &str, target: &Path, selection: &[&str]) -> Built {
    let _alone = alone();
    passes(&mut cargo(target, selection));
    let folder = made().join(variant);
    fs::create_dir_all(&folder).unwrap();
    let from = profile_of(target);
    let (shared, open_archive) = (folder.join(library.soname()), folder.join("open.a"));
    for (name, to) in [("libflowturbo_capi.so", &shared), ("libflowturbo_capi.a", &open_archive)] {
        // Not over the old one: a program may have it open. The time stays, for what is made of it.
        let _ = fs::remove_file(to);
        passes(Command::new("cp").arg("--preserve=timestamps").arg(from.join(name)).arg(to));
    }
    let link = folder.join(format!("lib{}.so", library.name()));
    let _ = fs::remove_file(&link);
    std::os::unix::fs::symlink(library.soname(), link).unwrap();
    Built { folder, shared, open_archive, archive: OnceLock::new() }
}
