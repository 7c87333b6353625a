//! The program on a GPU, as a user runs it: the official code's numbers, whole pictures, and what is said where there
//! is none.
//!
//! On the emulated device of `crates/cuda/tests`, or, with `FLOWTURBO_GPU=1`, on the first GPU of this machine. Needs a
//! C and a C++ compiler for the emulation.

#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

#[path = "../../crates/cuda/tests/emulated/built.rs"]
mod built;
#[path = "../common/mod.rs"]
mod common;
mod library;
#[path = "../common/plan_bytes.rs"]
#[allow(dead_code, reason = "the library's tests look at more of it")]
mod plan_bytes;

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use ndarray::Array4;
use ndarray_npy::{read_npy, write_npy};
use tempfile::tempdir;

use common::{cases, data, golden4, largest_error};

/// Whether a GPU of this machine is asked instead of the emulated device.
fn on_gpu() -> bool {
    std::env::var_os("FLOWTURBO_GPU").is_some()
}

fn program(arguments: &[&str]) -> Command {
    // `.ci/cuda` has built it elsewhere.
    let other = std::env::var_os("FLOWTURBO_PROGRAM").filter(|_| on_gpu());
    let mut command = Command::new(other.unwrap_or_else(|| env!("CARGO_BIN_EXE_flowturbo").into()));
    command.args(arguments).env_remove("RUST_LOG");
    if !on_gpu() {
        command.env("LD_LIBRARY_PATH", built::built().parent().unwrap());
    }
    command
}

fn run(arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = program(arguments).output().unwrap();
    assert!(status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// The one line on stderr of a command that fails with `code`.
fn refused(mut command: Command, code: i32) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    let line = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(code), "{command:?}: {line}");
    assert!(line.starts_with("error: ") && line.lines().count() == 1, "{command:?}: {line}");
    line
}

fn textures() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/textures.ftplan")
}

/// Latents of one Euler step of a model, to standard output.
fn latents<'a>(model: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let command = ["latents", model, "--class", "0", "--seed", "1", "--schedule", "E1", "-o", "-"];
    [&command, more].concat()
}

#[test]
fn latents_are_those_of_the_official_code() {
    let folder = tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let bundle = data("bundle").to_str().unwrap().to_owned();
    for case in cases() {
        write_npy(file("noise.npy"), &golden4(&format!("case{}_noise", case.index))).unwrap();
        let classes: Vec<String> = case.classes.iter().map(ToString::to_string).collect();
        let expected = golden4(&format!("case{}_latent", case.index));
        let also_small = case.index == 0 || on_gpu();
        for (precision, near) in [("f32", 1e-4), ("f16", 0.02)].into_iter().take(1 + usize::from(also_small))
        {
            run(&[
                "latents",
                &bundle,
                "--noise",
                &file("noise.npy"),
                "--class",
                &classes.join(","),
                "--schedule",
                &case.schedule,
                "--guidance",
                &case.guidance.to_string(),
                "--device",
                "cuda",
                "--precision",
                precision,
                "-o",
                &file("latent.npy"),
            ]);
            let latent: Array4<f32> = read_npy(file("latent.npy")).unwrap();
            let error = largest_error(&latent, &expected);
            println!("case {} ({}) in {precision}: {error:.1e}", case.index, case.schedule);
            assert!(error < near, "case {} in {precision}: {error}", case.index);
        }
    }
}

/// The pixels of a PNG file.
fn pixels(path: &Path) -> Vec<u8> {
    let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    pixels
}

#[test]
fn a_picture_is_the_processors_but_for_rounding() {
    let folder = tempdir().unwrap();
    let draw = |name: &str, device: &str| {
        let path = folder.path().join(name);
        let file = path.to_str().unwrap();
        run(&[
            "generate",
            "-m",
            textures(),
            "--class",
            "brick",
            "--seed",
            "7",
            "--schedule",
            "H1P1R1",
            "--device",
            device,
            "-o",
            file,
        ]);
        pixels(&path)
    };
    let expected = draw("cpu.png", "cpu");
    assert_eq!(expected.len(), 128 * 128 * 3);
    let found = draw("cuda.png", "cuda");
    let apart = |(a, b): (&u8, &u8)| a.abs_diff(*b);
    let differences: Vec<u8> = expected.iter().zip(&found).map(apart).collect();
    let (largest, differing) = (differences.iter().max(), differences.iter().filter(|&&d| d > 0).count());
    println!("{largest:?} of 255 at most, {differing} bytes differ");
    assert!(largest <= Some(&1) && differing < 100, "{largest:?}, {differing}");
    let note = String::from_utf8_lossy(&std::fs::read(folder.path().join("cuda.png")).unwrap()).into_owned();
    assert!(note.contains(" --device cuda:0"), "the command is not in the file");
}

#[test]
fn auto_takes_the_device_and_says_so() {
    let tiny = data("bundle").to_str().unwrap().to_owned();
    let Output { status, stderr, .. } =
        program(&latents(&tiny, &["--device", "auto", "-v"])).output().unwrap();
    let log = String::from_utf8_lossy(&stderr);
    assert!(status.success() && log.contains("cuda:0: "), "{log}");
}

#[test]
fn devices_are_listed() {
    let text = run(&["devices"]);
    assert!(text.starts_with("cuda:0\t") && text.contains(", compute capability "), "{text}");
}

/// A folder without a driver, for a machine that may have one.
fn without_driver(arguments: &[&str]) -> Command {
    let mut command = program(arguments);
    command.env("LD_LIBRARY_PATH", "/nonexistent");
    command
}

/// `.ci/cuda` passes over it by name.
#[test]
fn without_a_driver_it_is_one_line_at_once_and_auto_goes_on() {
    let latents = |device| latents(textures(), &["--quiet", "--device", device]);
    // Beside other work the quickest says most.
    let quickest = (0..20).map(|_| {
        let started = Instant::now();
        let line = refused(without_driver(&latents("cuda")), 2);
        let took = started.elapsed();
        assert!(line.contains("device cuda:0: no NVIDIA display driver is here (libcuda.so.1: "), "{line}");
        took
    });
    let quickest = quickest.min().unwrap();
    println!("refused in {quickest:?}");
    assert!(quickest < Duration::from_millis(50), "{quickest:?}");
    refused(without_driver(&["devices"]), 2);
    let said = without_driver(&latents("auto")).output().unwrap();
    assert!(said.status.success() && said.stderr.is_empty());
    assert_eq!(said.stdout, without_driver(&latents("cpu")).output().unwrap().stdout);
}

#[test]
fn what_the_device_cannot_is_refused_by_name() {
    for (more, words) in [
        (&["--device", "cuda:77"][..], "device cuda:77: cuda:77 asked for, there "),
        (&["--device", "cuda", "--precision", "int8"], "device cuda:0: precision: int8 is for the cpu"),
        (
            &["--device", "cuda", "--deterministic"],
            "device cuda:0: deterministic: a CUDA device adds up in another order",
        ),
        (&["--device", "cuda", "--backend", "reference"], "device cuda:0: plain tract computes on the cpu"),
        (&["--device", "cpu", "--precision", "f16"], "precision: f16 is for CUDA devices"),
    ] {
        let line = refused(program(&latents(textures(), more)), 2);
        assert!(line.contains(words), "{more:?}: {line}");
    }
    let folder = tempdir().unwrap();
    let packed = folder.path().join("packed.ftplan").to_str().unwrap().to_owned();
    let bundle = data("bundle").to_str().unwrap().to_owned();
    run(&["compile", "-m", &bundle, "--target", "x86-64-v3", "-o", &packed]);
    let line = refused(program(&latents(&packed, &["--device", "cuda"])), 2);
    assert!(line.contains("the plan's weights are packed for x86-64-v3, which no device reads"), "{line}");
}

/// As `crates/cuda/tests/fake_libcuda.c` is told by its environment; `.ci/cuda` passes over it by name.
#[test]
fn a_driver_that_cannot_is_one_line_too() {
    for (told, code, words) in [
        ("version=11080", 2, "the NVIDIA display driver is too old: it speaks CUDA 11.8"),
        ("devices=0", 2, "the driver sees no device"),
        ("fail=cuInit:1:999", 2, "starting the driver failed (CUDA_ERROR_UNKNOWN"),
        ("memory=1000000", 1, "reserving "),
        ("fail=cuGraphLaunch:1:719", 1, "running a network failed (CUDA_ERROR_LAUNCH_FAILED"),
    ] {
        let mut command = program(&latents(textures(), &["--device", "cuda"]));
        command.env("FAKE_CUDA", told);
        let line = refused(command, code);
        assert!(line.contains(words), "{told}: {line}");
    }
}

/// As the processor is held to in `tests/library/damaged_plans.rs`.
#[test]
fn plans_of_strangers_stay_within_their_own_memory() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("strange.ftplan");
    let (bundle, plan) = (data("bundle").to_str().unwrap().to_owned(), file.to_str().unwrap());
    run(&["compile", "-m", &bundle, "--batch", "1,2", "-o", plan]);
    let good = std::fs::read(&file).unwrap();
    let command =
        ["latents", plan, "--class", "1", "--seed", "1", "--schedule", "H1R1", "--device", "cuda", "-o", "-"];
    assert!(program(&command).output().unwrap().status.success());
    // Each is a program of its own, and a driver takes its time to start.
    let plans = if on_gpu() { 20 } else { 120 };
    let (mut refusals, mut senseless) = (0, 0);
    for (i, strange) in plan_bytes::strange(&good).take(plans).enumerate() {
        std::fs::write(&file, strange).unwrap();
        let Output { status, stderr, .. } = program(&command).output().unwrap();
        if status.success() {
            continue;
        }
        refusals += 1;
        let line = String::from_utf8(stderr).unwrap();
        assert!(line.starts_with("error: ") && line.lines().count() == 1, "plan {i}: {status}: {line}");
        let of_others = ["bug in flowturbo", "cuda: "].iter().any(|words| line.contains(words));
        assert!(!of_others, "plan {i}: {line}");
        senseless += usize::from(line.contains("the plan makes no sense: node '"));
    }
    println!("{refusals} of {plans} refused, {senseless} for what a node does");
    assert!(refusals >= plans / 5 && (on_gpu() || senseless > 0));
}
