//! What a program that was built against the header relies on: symbols, layout, numbers.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::compiler::{compiler, passes};
use crate::libraries::{Library, soname};
use crate::{made, root};

/// The functions that the header declares.
fn declared() -> BTreeSet<String> {
    let header = fs::read_to_string(root().join("include/flowturbo.h")).unwrap();
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
fn symbols(arguments: &[&str], file: &std::path::Path) -> BTreeSet<String> {
    let output = passes(Command::new("nm").args(arguments).arg(file));
    let output = String::from_utf8(output.stdout).unwrap();
    output.lines().filter_map(|line| Some(line.split_whitespace().nth(2)?.to_owned())).collect()
}

#[test]
fn the_shared_library_exports_the_headers_functions_and_nothing_else() {
    assert!(declared().len() > 30 && declared().contains("ft_session_generate"));
    let built = Library::Shipped.built();
    assert_eq!(symbols(&["-D", "--defined-only"], &built.shared), declared());
}

#[test]
fn the_shared_library_is_named_by_its_abi() {
    let output = passes(Command::new("readelf").arg("-d").arg(&Library::Shipped.built().shared));
    let output = String::from_utf8(output.stdout).unwrap();
    assert!(output.contains(&format!("Library soname: [{}]", soname())), "{output}");
    // Nothing that a C program does not have anyway.
    let needed: Vec<&str> = output.lines().filter(|line| line.contains("(NEEDED)")).collect();
    let usual = ["libc.so", "libm.so", "libgcc_s.so", "ld-linux"];
    assert!(needed.iter().all(|line| usual.iter().any(|name| line.contains(name))), "{needed:?}");
}

#[test]
fn structs_lie_in_c_as_the_table_says() {
    let table = fs::read_to_string(root().join("tests/c/layout.txt")).unwrap();
    let mut source = "#include \"flowturbo.h\"\n".to_owned();
    let mut hold = |condition: String| source += &format!("_Static_assert({condition}, \"layout.txt\");\n");
    for line in table.lines() {
        match line.split([' ', '.']).collect::<Vec<_>>()[..] {
            [name, size] => hold(format!("sizeof({name}) == {size}")),
            [name, field, offset, size] => {
                hold(format!("offsetof({name}, {field}) == {offset}"));
                hold(format!("sizeof((({name} *)0)->{field}) == {size}"));
            }
            _ => panic!("{line}"),
        }
    }
    let file = made().join("layout.c");
    fs::write(&file, source).unwrap();
    passes(compiler("c11").arg("-fsyntax-only").arg(file));
}

/// What a header says, put in place of the released one by some edit.
fn judged(name: &str, edit: impl Fn(&str) -> String) -> (bool, String) {
    let folder = made().join("abi").join(name);
    for part in [".ci", "abi", "include"] {
        fs::create_dir_all(folder.join(part)).unwrap();
    }
    let header = fs::read_to_string(root().join("include/flowturbo.h")).unwrap();
    let script = folder.join(".ci/abi");
    fs::copy(root().join(".ci/abi"), &script).unwrap();
    fs::write(folder.join("abi/flowturbo.h"), &header).unwrap();
    fs::write(folder.join("include/flowturbo.h"), edit(&header)).unwrap();
    // Not run itself: another test's new process may hold what has just been written.
    let output = Command::new("bash").arg(script).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn the_header_keeps_to_the_released_one() {
    let output = Command::new(root().join(".ci/abi")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
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
        let (passed, said) = judged(name, |header| {
            assert!(header.contains(from), "{name}");
            header.replacen(from, to, 1)
        });
        assert_eq!(passed, allowed, "{name}: {said}");
    }
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
