//! What the process around the library has set up: its floating-point environment, forks, limits.

use std::process::Command;

use crate::compiler::{Program, passes};
use crate::programs::{Model, bundled, miniature};
use crate::root;

fn run(source: &str, model: &Model, more: &[&str]) {
    let program = Program::c(source).build();
    let output = passes(Command::new(program).arg(&model.folder).args(more).current_dir(root()));
    println!("{}", String::from_utf8_lossy(&output.stdout));
    // The library prints nothing of its own, in no process.
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn the_callers_floating_point_environment_neither_harms_nor_is_harmed() {
    for model in [miniature(), bundled()] {
        run("tests/c/floats.c", model, &[]);
    }
}

#[test]
fn a_forked_child_frees_in_silence_and_what_it_may_not_use_is_an_error() {
    for threads in ["1", "2"] {
        run("tests/c/fork.c", bundled(), &[threads, "50"]);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn threads_that_the_system_refuses_are_done_without_or_are_a_runtime_error() {
    let zip = miniature().zip.to_str().unwrap();
    run("tests/c/refused_threads.c", miniature(), &[zip]);
}
