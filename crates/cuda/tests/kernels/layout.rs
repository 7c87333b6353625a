//! The structs of C and those of Rust.

use std::fmt::Write;
use std::path::Path;

use flowturbo_cuda::arguments::{self, layouts};

use crate::emulation::{compiler, run, sources};

#[test]
fn arguments_lie_in_rust_as_in_c() {
    let mut text = "#include <stddef.h>\n#include \"arguments.h\"\n".to_owned();
    for (name, size, fields) in layouts() {
        writeln!(text, "static_assert(sizeof({name}) == {size});").unwrap();
        for (field, offset) in fields {
            writeln!(text, "static_assert(offsetof({name}, {field}) == {offset}, \"{name}.{field}\");")
                .unwrap();
        }
    }
    for (name, number) in [
        ("EPILOGUE_STEPS", arguments::EPILOGUE_STEPS as u64),
        ("RANK", flowturbo_kernels::RANK as u64),
        ("NOWHERE", arguments::NOWHERE),
    ] {
        writeln!(text, "static_assert({name} == {number}ull, \"{name}\");").unwrap();
    }
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("layout.cpp");
    std::fs::write(&file, text).unwrap();
    let mut command = compiler();
    command.arg("-fsyntax-only").arg("-I").arg(sources()).arg(file);
    run(command);
}
