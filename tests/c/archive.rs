//! The archive in other people's plugins and programs: what docs/abi.md promises of the shared library holds for it
//! too.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::abi::{declared, symbols};
use crate::compiler::{Link, Program, compiler, passes};
use crate::libraries::{Library, NATIVES, archive};
use crate::programs::miniature;
use crate::{made, root};

/// What readelf says.
fn readelf(arguments: &[&str], file: &Path) -> String {
    String::from_utf8(passes(Command::new("readelf").args(arguments).arg(file)).stdout).unwrap()
}

#[test]
fn the_archive_has_the_headers_functions_for_its_program_alone() {
    assert_eq!(symbols(&["-g", "--defined-only"], archive()), declared());
    // Number, value, size, type, binding, visibility, section, name.
    let table = readelf(&["-sW"], archive());
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let (mut hidden, mut seen) = (BTreeSet::new(), Vec::new());
    for row in rows.filter(|row| row.len() == 8 && row[6] != "UND" && ["GLOBAL", "WEAK"].contains(&row[4])) {
        if row[5] == "HIDDEN" {
            hidden.insert(row[7].to_owned());
        } else {
            seen.push(row[7].to_owned());
        }
    }
    assert_eq!((hidden, seen), (declared(), vec![]));
    // Of two groups with one name in a program, the linker would drop one.
    assert!(readelf(&["-gW"], archive()).contains("no section groups"));
}

/// A shared library that embeds the archive.
fn plugin(name: &str) -> PathBuf {
    let file = made().join(format!("{name}.so"));
    let mut compiler = compiler("c11");
    compiler.args(["-O1", "-fPIC", "-fvisibility=hidden", "-shared", "-o"]).arg(&file);
    passes(compiler.arg(root().join("tests/c/plugin.c")).arg(archive()).args(NATIVES));
    file
}

#[test]
fn each_of_two_plugins_uses_its_own_library() {
    let plugins = ["first-plugin", "second-plugin"].map(plugin);
    assert_eq!(symbols(&["-D", "--defined-only"], &plugins[0]), BTreeSet::from(["plugin".to_owned()]));
    let host = made().join("plugins");
    let mut compiler = compiler("c11");
    passes(compiler.arg(root().join("tests/c/plugins.c")).arg("-o").arg(&host).arg("-ldl"));
    for visible in ["global", "local"] {
        passes(Command::new(&host).arg(&miniature().folder).arg(visible).args(&plugins));
    }
}

#[test]
fn another_rust_library_may_be_linked_beside_it() {
    let other = made().join("libbeside.a");
    let mut rustc = Command::new("rustc");
    rustc.args([
        "--edition",
        "2024",
        "-O",
        "-C",
        "lto=fat",
        "-C",
        "codegen-units=1",
        "--crate-type",
        "staticlib",
    ]);
    passes(rustc.arg(root().join("tests/c/beside.rs")).arg("-o").arg(&other));
    for order in [[archive(), &other], [&other, archive()]] {
        let program = made().join("beside");
        let mut compiler = compiler("c11");
        compiler.arg(root().join("tests/c/beside.c")).args(order).args(NATIVES);
        passes(compiler.arg("-pthread").arg("-o").arg(&program));
        passes(Command::new(program).arg(&miniature().folder));
    }
}

#[test]
fn a_program_may_be_linked_statically_as_a_whole() {
    let program = made().join("whole");
    let mut compiler = compiler("c11");
    compiler.arg("-static").arg(root().join("tests/c/versions.c")).arg(archive()).arg("-lgcc_eh");
    passes(compiler.args(&NATIVES[1..]).arg("-pthread").arg("-o").arg(&program));
    assert!(!readelf(&["-lW"], &program).contains("INTERP"));
    passes(Command::new(program).arg(&miniature().folder).arg("same"));
}

#[test]
fn no_program_gets_an_executable_stack() {
    let program = Program::c("examples/c/hello.c").linked(Link::Static).build();
    for file in [&program, &plugin("stack-plugin"), &Library::Shipped.built().shared] {
        let headers = readelf(&["-lW"], file);
        let stack = headers.lines().find(|line| line.contains("GNU_STACK")).expect("it says so");
        assert!(stack.contains(" RW ") && !stack.contains("RWE"), "{stack}");
    }
}

#[test]
fn what_is_no_archive_of_ours_is_refused_in_one_line() {
    let close = root().join("bindings/closed-archive.sh");
    let strange = made().join("strange.a");
    fs::write(&strange, "!<arch>\n").unwrap();
    for (from, part) in
        [("no/such.a", "there is no no/such.a"), (strange.to_str().unwrap(), "no ft_ function in")]
    {
        let result = made().join("refused.a");
        let output = Command::new(&close).arg(from).arg(&result).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(part) && !result.exists(), "{said}");
    }
}
