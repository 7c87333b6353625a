//! What a program that was built against the header relies on: symbols, layout, numbers.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::compiler::{compiler, passes};
use crate::libraries::Library;
use crate::released::{breaks, machines};
use crate::{made, root};

/// The functions that the header declares.
pub fn declared() -> BTreeSet<String> {
    let header = header();
    // A declaration begins a line; comments and fields do not.
    let function = |line: &str| {
        let (before, _) = line.split_once('(')?;
        let name = before.rsplit([' ', '*']).next()?;
        let begins = line.starts_with(|c: char| c.is_ascii_lowercase()) && !line.starts_with("typedef");
        (begins && name.starts_with("ft_")).then(|| name.to_owned())
    };
    header.lines().filter_map(function).collect()
}

/// The third column of `nm`.
pub fn symbols(arguments: &[&str], file: &std::path::Path) -> BTreeSet<String> {
    let output = passes(Command::new("nm").args(arguments).arg(file));
    let output = String::from_utf8(output.stdout).unwrap();
    output.lines().filter_map(|line| Some(line.split_whitespace().nth(2)?.to_owned())).collect()
}

#[test]
fn the_shared_libraries_export_the_headers_functions_and_nothing_else() {
    assert!(declared().len() > 30 && declared().contains("ft_session_generate"));
    for library in [Library::Shipped, Library::Runtime] {
        let built = library.built();
        assert_eq!(symbols(&["-D", "--defined-only"], &built.shared), declared(), "{library:?}");
    }
}

#[test]
fn the_shared_libraries_are_named_by_their_abi() {
    for library in [Library::Shipped, Library::Runtime] {
        let output = passes(Command::new("readelf").arg("-d").arg(&library.built().shared));
        let output = String::from_utf8(output.stdout).unwrap();
        assert!(output.contains(&format!("Library soname: [{}]", library.soname())), "{output}");
        // Nothing that a C program does not have anyway.
        let needed: Vec<&str> = output.lines().filter(|line| line.contains("(NEEDED)")).collect();
        let usual = ["libc.so", "libm.so", "libgcc_s.so", "ld-linux"];
        assert!(needed.iter().all(|line| usual.iter().any(|name| line.contains(name))), "{needed:?}");
    }
}

fn header() -> String {
    fs::read_to_string(root().join("include/flowturbo.h")).unwrap()
}

/// What the header `now` would break if `released` had been released.
fn judged(released: &str, now: &str) -> Vec<String> {
    machines().iter().flat_map(|machine| breaks(released, now, machine)).collect()
}

#[test]
fn the_header_keeps_to_the_released_one() {
    let released = fs::read_to_string(root().join("abi/flowturbo.h")).unwrap();
    assert_eq!(judged(&released, &header()), [""; 0]);
}

#[test]
fn a_break_is_told_from_an_addition() {
    for (name, allowed, from, to) in [
        ("same", true, "", ""),
        ("function", true, "ft_status ft_log_set(", "ft_status ft_new(void);\nft_status ft_log_set("),
        ("number", true, "#define FT_OK 0", "#define FT_OK 0\n#define FT_NEW 99"),
        ("tag", true, "ft_session_reset(struct ft_session *", "ft_session_reset(ft_session *"),
        ("grown", true, "\n} ft_request;", "\n  uint64_t more;\n} ft_request;"),
        ("removed", false, "uint32_t ft_version(void);", ""),
        ("parameter", false, "uint64_t microseconds", "uint32_t microseconds"),
        ("result", false, "uint32_t ft_version(void);", "uint64_t ft_version(void);"),
        (
            "callback",
            false,
            "typedef int32_t (*ft_progress_callback)",
            "typedef void (*ft_progress_callback)",
        ),
        ("value", false, "#define FT_OK 0", "#define FT_OK 1"),
        ("type", false, "  uint64_t seed;", "  uint32_t seed;"),
        ("renamed", false, "  uint64_t seed;", "  uint64_t random;"),
        ("inserted", false, "  uint64_t seed;", "  uint64_t more;\n  uint64_t seed;"),
        ("array", false, "\n} ft_option;", "\n  uint64_t more;\n} ft_option;"),
    ] {
        assert!(header().contains(from), "{name}");
        let broken = judged(&header(), &header().replacen(from, to, 1));
        assert_eq!(broken.is_empty(), allowed, "{name}: {broken:?}");
    }
}

/// On a 64-bit machine alone it would look like an addition.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_field_in_what_was_padding_on_32_bit_machines_is_a_break() {
    let padded = header().replacen("  size_t reserved_end;\n} ft_reader;", "} ft_reader;", 1);
    let filled =
        padded.replacen("\n} ft_reader;", "\n  uint32_t more;\n  uint32_t yet_more;\n} ft_reader;", 1);
    assert!(padded != header() && filled != padded);
    let broken = judged(&padded, &filled);
    let said = "32 bits: not behind the end of its struct: ft_reader 28 uint32_t more;";
    assert!(broken.iter().any(|line| line == said), "{broken:?}");
}

/// Android's newer devices load nothing that is laid out for smaller ones.
#[test]
fn libraries_for_android_have_pages_of_16_kib() {
    let script = made().join("build-script");
    let source = root().join("crates/capi/build.rs");
    passes(Command::new("rustc").args(["--edition", "2024", "-o"]).arg(&script).arg(source));
    let flags = |system: &str, width: &str| {
        let mut run = Command::new(&script);
        run.env("CARGO_CFG_TARGET_OS", system).env("CARGO_CFG_TARGET_POINTER_WIDTH", width);
        let said = String::from_utf8(passes(&mut run).stdout).unwrap();
        let flags = said.lines().filter_map(|line| line.strip_prefix("cargo::rustc-link-arg="));
        flags.map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(flags("linux", "64").is_empty() && flags("android", "32").is_empty());

    let (source, library) = (made().join("pages.c"), made().join("libpages.so"));
    fs::write(&source, "int page(void);\nint page(void) { return 1; }\n").unwrap();
    let mut compiler = compiler("c11");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source);
    passes(compiler.args(flags("android", "64")));
    let headers = String::from_utf8(passes(Command::new("readelf").arg("-lW").arg(library)).stdout).unwrap();
    let loaded = headers.lines().filter(|line| line.trim_start().starts_with("LOAD"));
    let pages: Vec<&str> = loaded.filter_map(|line| line.split_whitespace().last()).collect();
    assert!(pages.len() > 1 && pages.iter().all(|page| *page == "0x4000"), "{pages:?}");
}

/// Compiles a source that includes headers in some order, in every standard.
fn headers_stand_alone(compilers: &[(&str, &str)]) {
    let once = "#include \"flowturbo.h\"\n";
    let orders = [
        once.to_owned(),
        once.repeat(2),
        format!("#include <stdio.h>\n#include <stdlib.h>\n{once}"),
        format!("{once}#include <string.h>\n#include <stdint.h>\n"),
    ];
    let cpp = "#include \"flowturbo.hpp\"\n";
    let cpp_orders =
        [cpp.to_owned(), cpp.repeat(2), format!("{once}{cpp}"), format!("{cpp}{once}#include <vector>\n")];
    let uses = "int main(void) { return ft_version() == FT_VERSION ? 0 : 1; }\n";
    let file = |name: &str, source: &str| {
        let path = made().join(name);
        fs::write(&path, format!("{source}{uses}")).unwrap();
        path
    };
    for (c, cxx) in compilers {
        for (i, source) in orders.iter().enumerate() {
            for standard in ["c99", "c11", "c17", "c++11", "c++14", "c++17", "c++20"] {
                let plus = standard.starts_with("c++");
                let path =
                    file(&format!("order-{c}-{i}-{standard}.{}", if plus { "cpp" } else { "c" }), source);
                let mut compiler = compiler(standard);
                passes(again(&mut compiler, if plus { cxx } else { c }).arg("-fsyntax-only").arg(path));
            }
        }
        for (i, source) in cpp_orders.iter().enumerate() {
            for standard in ["c++17", "c++20"] {
                let path = file(&format!("order-hpp-{c}-{i}-{standard}.cpp"), source);
                let mut compiler = compiler(standard);
                passes(again(&mut compiler, cxx).args(["-Wshadow", "-fsyntax-only"]).arg(path));
            }
        }
    }
}

/// The same arguments for another compiler.
fn again<'a>(compiler: &'a mut Command, program: &str) -> &'a mut Command {
    let arguments: Vec<_> = compiler.get_args().map(ToOwned::to_owned).collect();
    *compiler = Command::new(program);
    compiler.args(arguments)
}

#[test]
fn the_headers_compile_alone_twice_and_in_every_order() {
    headers_stand_alone(&[("cc", "c++")]);
}

#[test]
#[ignore = "needs gcc and clang: .ci/c"]
fn the_headers_compile_with_gcc_and_clang() {
    headers_stand_alone(&[("gcc", "g++"), ("clang", "clang++")]);
}
