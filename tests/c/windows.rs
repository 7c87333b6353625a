//! The programs of this folder as Windows runs them: made by MinGW, run under Wine with the DLLs that CMake made.
//!
//! `FLOWTURBO_WINDOWS` is the folder of DLLs and import libraries, `WINE` what runs a program.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use flowturbo::{Bundle, PlanOptions};

use crate::compiler::{Program, WARNINGS, passes};
use crate::programs::{every_program, miniature};
use crate::{made, root};

/// What wants signals and measures of a process, or a library of the tests.
const OF_UNIX: [&str; 4] = ["cancel", "files", "flat", "versions"];

fn from_environment(variable: &str) -> PathBuf {
    env::var_os(variable).unwrap_or_else(|| panic!("{variable} is not set: run .ci/windows")).into()
}

/// Compiles a program and links it with one of the DLLs.
fn program(source: &str, standard: &str, library: &str) -> PathBuf {
    let folder = from_environment("FLOWTURBO_WINDOWS");
    let stem = Path::new(source).file_stem().unwrap().to_str().unwrap();
    // Beside the DLLs, where Windows looks for them.
    let program = folder.join(format!("{stem}-{library}.exe"));
    let cpp = standard.starts_with("c++");
    let mut compiler = Command::new(format!("x86_64-w64-mingw32-{}-posix", if cpp { "g++" } else { "gcc" }));
    compiler.arg(format!("-std={standard}")).args(if cpp { &WARNINGS[..5] } else { &WARNINGS[..] });
    compiler.args(["-O1", "-pthread", "-static", "-I"]).arg(root().join("include"));
    compiler.arg("-o").arg(&program).arg(root().join(source));
    passes(compiler.arg(folder.join(format!("lib{library}.dll.a"))));
    program
}

fn run(program: &Path, arguments: &[&str]) {
    println!("{}", program.display());
    let mut wine = Command::new(from_environment("WINE"));
    passes(wine.arg(program).args(arguments).current_dir(root()));
}

#[test]
#[ignore = "needs MinGW and Wine: .ci/windows"]
fn windows_makes_the_same_image_of_a_plan_without_a_compiler() {
    let bundle = miniature().folder.to_str().unwrap();
    let path = |end: &str| made().join(format!("windows.{end}")).into_os_string().into_string().unwrap();
    let (plan, image) = (path("ftplan"), path("image"));
    let out = std::fs::File::create(&plan).unwrap();
    flowturbo::compile(Bundle::open(bundle).unwrap(), &PlanOptions::default(), out).unwrap();
    Program::c("tests/c/plan.c").run(&[bundle, &image]);
    let program = program("tests/c/plan.c", "c11", "flowturbo_runtime");
    run(&program, &[&plan, &image, "same", bundle, miniature().zip.to_str().unwrap()]);
}

#[test]
#[ignore = "needs MinGW and Wine: .ci/windows"]
fn every_program_works_on_windows() {
    let chosen = |source: &str| !OF_UNIX.contains(&source);
    for (program, arguments) in
        every_program(chosen, |source, standard| program(source, standard, "flowturbo"))
    {
        run(&program, &arguments);
    }
}
