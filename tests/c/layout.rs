//! How the header's structs lie in memory, on 64-bit and on 32-bit machines, and what its numbers are.

use std::fs;
use std::process::Command;

use crate::compiler::{compiler, passes};
use crate::{made, root};

/// A table of this folder, the flags by which a compiler for x86-64 lays structs out like that, and machines that do.
const LAYOUTS: [(&str, &[&str], &[&str]); 3] = [
    ("layout", &[], &["x86_64-linux-gnu", "aarch64-linux-android", "x86_64-pc-windows-msvc"]),
    ("layout-32", &["-m32", "-malign-double"], &["armv7-linux-gnueabihf", "wasm32", "i686-pc-windows-msvc"]),
    ("layout-x86", &["-m32"], &["i686-linux-gnu", "i686-linux-android"]),
];

fn table(name: &str) -> String {
    fs::read_to_string(root().join(format!("tests/c/{name}.txt"))).unwrap()
}

/// Compiles, for any machine, a source that holds if structs lie as a table says.
fn holds(name: &str, compiler: &mut Command) {
    let mut source = "#include \"flowturbo.h\"\n".to_owned();
    let mut hold = |condition: String| source += &format!("_Static_assert({condition}, \"{name}.txt\");\n");
    for line in table(name).lines() {
        match line.split([' ', '.']).collect::<Vec<_>>()[..] {
            [name, size] => hold(format!("sizeof({name}) == {size}")),
            [name, field, offset, size] => {
                hold(format!("offsetof({name}, {field}) == {offset}"));
                hold(format!("sizeof((({name} *)0)->{field}) == {size}"));
            }
            _ => panic!("{line}"),
        }
    }
    let file = made().join(format!("{name}.c"));
    fs::write(&file, source).unwrap();
    // Needs no library of that machine's.
    passes(compiler.args(["-ffreestanding", "-fsyntax-only"]).arg(file));
}

#[test]
fn structs_lie_in_c_as_the_tables_say() {
    let others = if cfg!(target_arch = "x86_64") { 3 } else { 1 };
    for (name, flags, _) in &LAYOUTS[..others] {
        holds(name, compiler("c11").args(*flags));
    }
}

#[test]
#[ignore = "needs clang: .ci/c"]
fn structs_lie_on_other_machines_as_the_tables_say() {
    for (name, _, machines) in LAYOUTS {
        for machine in machines {
            let mut clang = Command::new("clang");
            clang.arg(format!("--target={machine}")).args(compiler("c11").get_args());
            holds(name, &mut clang);
        }
    }
}

/// Where a struct ends in padding, a field that is added lies in what an older program never set.
#[test]
fn no_struct_ends_in_padding_on_any_machine() {
    for (name, ..) in LAYOUTS {
        let (mut size, mut end) = (0, 0);
        for line in table(name).lines().chain(["end 0"]) {
            let numbers: Vec<usize> = line.split(' ').skip(1).map(|number| number.parse().unwrap()).collect();
            match numbers[..] {
                [next] => {
                    assert_eq!(size, end, "{name}: the struct before {line}");
                    size = next;
                }
                [offset, bytes] => end = offset + bytes,
                _ => panic!("{line}"),
            }
        }
    }
}

/// SWIG, ctypesgen and bindgen leave out what they would have to look up elsewhere.
#[test]
fn numbers_are_written_in_digits() {
    let header = fs::read_to_string(root().join("include/flowturbo.h")).unwrap();
    let mut numbers = header.lines().filter_map(|line| line.strip_prefix("#define FT_")?.split_once(' '));
    assert!(numbers.clone().count() > 30);
    let digits = |value: &str| {
        let value = value.trim_start_matches('-').trim_end_matches(['u', 'l']);
        !value.is_empty() && value.chars().all(|c| c.is_ascii_digit() || c == '.')
    };
    // Made of others by bits, and a text.
    let but = ["VERSION", "VERSION_STRING"];
    assert_eq!(numbers.find(|(name, value)| !digits(value) && !but.contains(name)), None);

    let source = made().join("numbers.c");
    let hold = "#include \"flowturbo.h\"\n\
        _Static_assert(sizeof FT_WHOLE_STEP == 8 && FT_WHOLE_STEP == UINT64_MAX, \"\");\n";
    fs::write(&source, hold).unwrap();
    passes(compiler("c11").arg("-fsyntax-only").arg(source));
}
