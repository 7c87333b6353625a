//! `flowturbo latents` against the official code's numbers.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use ndarray::{Array4, ArrayD, Axis, s};
use ndarray_npy::{read_npy, write_npy};
use tempfile::tempdir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::common::{cases, data, golden, golden4, largest_error};
use crate::program::{argument, names, run, tiny};

const TOLERANCE: f32 = 2e-4;

/// Runs every golden case through the program and compares each step and the end.
fn check_all(bundle: &str) {
    let folder = tempdir().unwrap();
    let file = |name: &str| argument(folder.path().join(name));
    for case in cases() {
        write_npy(file("noise.npy"), &golden4(&format!("case{}_noise", case.index))).unwrap();
        let classes: Vec<String> = case.classes.iter().map(ToString::to_string).collect();
        let stdout = run(&[
            "latents",
            bundle,
            "--noise",
            &file("noise.npy"),
            "--class",
            &classes.join(","),
            "--schedule",
            &case.schedule,
            "--guidance",
            &case.guidance.to_string(),
            "--trajectory",
            &file("trajectory.npy"),
            "-o",
            &file("latent.npy"),
        ]);
        assert!(stdout.starts_with(&file("latent.npy")), "{stdout}");
        let trajectory: ArrayD<f32> = read_npy(file("trajectory.npy")).unwrap();
        let expected = golden(&format!("case{}_traj", case.index));
        assert_eq!(trajectory.shape(), expected.shape());
        for (step, (state, expected)) in trajectory.outer_iter().zip(expected.outer_iter()).enumerate() {
            let error = largest_error(&state, &expected);
            assert!(error < TOLERANCE, "case {}, step {}: {error}", case.index, step + 1);
        }
        let latent: Array4<f32> = read_npy(file("latent.npy")).unwrap();
        let error = largest_error(&latent, &golden4(&format!("case{}_latent", case.index)));
        println!("case {} ({}): {error:.1e}", case.index, case.schedule);
        assert!(error < TOLERANCE, "case {}: {error}", case.index);
        assert_eq!(latent.into_dyn(), trajectory.index_axis(Axis(0), trajectory.len_of(Axis(0)) - 1));
    }
    assert_eq!(names(folder.path()), ["latent.npy", "noise.npy", "trajectory.npy"]);
}

fn zip_to(path: &Path) {
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut zip = ZipWriter::new(File::create(path).unwrap());
    for name in names(&data("bundle")) {
        zip.start_file(&name, options).unwrap();
        zip.write_all(&std::fs::read(data("bundle").join(&name)).unwrap()).unwrap();
    }
    zip.finish().unwrap();
}

#[test]
fn every_step_of_all_six_cases_agrees_with_the_official_sampler() {
    check_all(&tiny());
}

#[test]
fn a_zip_gives_the_official_numbers_too() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("tiny.zip");
    zip_to(&path);
    check_all(&argument(path));
}

#[test]
fn a_plan_gives_the_official_numbers_too() {
    let folder = tempdir().unwrap();
    let path = argument(folder.path().join("tiny.ftplan"));
    run(&["compile", &tiny(), "--target", "native", "--batch", "1,2,3,4", "--quiet", "-o", &path]);
    check_all(&path);
}

#[test]
fn a_seed_gives_the_same_latent_again_and_in_a_larger_batch() {
    let folder = tempdir().unwrap();
    let sample = |seed: &str, classes: &str, name: &str| -> Array4<f32> {
        let file = argument(folder.path().join(name));
        let stdout =
            run(&["latents", "--bundle", &tiny(), "--seed", seed, "--class", classes, "-q", "-o", &file]);
        assert!(stdout.is_empty(), "{stdout}");
        read_npy(file).unwrap()
    };
    let (one, again) = (sample("5", "3", "one.npy"), sample("5", "3", "again.npy"));
    assert_eq!(one, again);
    let two = sample("5", "3,6", "two.npy");
    assert_eq!(two.shape(), [2, 4, 16, 16]);
    assert!(largest_error(two.slice(s![..1, .., .., ..]), &one) < TOLERANCE);
    assert!(largest_error(&sample("6", "3", "other.npy"), &one) > 0.1);
}
