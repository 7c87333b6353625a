//! `flowturbo compile`, and commands that take what it made.

use std::fs;

use tempfile::tempdir;

use crate::program::{argument, fail, flowturbo, names, run, tiny};

#[test]
fn a_plan_is_a_model_for_every_command() {
    let folder = tempdir().unwrap();
    let file = |name: &str| argument(folder.path().join(name));
    let told = run(&["compile", &tiny(), "--target", "native", "--batch", "1,2", "-o", &file("x.ftplan")]);
    assert!(told.starts_with(&file("x.ftplan")) && told.contains("MiB"), "{told}");
    let latents = |model: &str, name: &str| {
        run(&["latents", "-m", model, "-c", "1,2", "--seed", "3", "-o", &file(name), "--quiet"]);
        fs::read(file(name)).unwrap()
    };
    assert!(latents(&file("x.ftplan"), "plan.npy") == latents(&tiny(), "bundle.npy"));
    assert_eq!(run(&["classes", "-m", &file("x.ftplan")]), run(&["classes", "-m", &tiny()]));
    let [plan, bundle] = [file("x.ftplan"), tiny()].map(|model| {
        let told: serde_json::Value = serde_json::from_str(&run(&["inspect", &model, "--json"])).unwrap();
        (told["hash"].clone(), told["networks"]["predictor"]["flops"].clone(), told["target"].clone())
    });
    assert_eq!((&plan.0, &plan.1), (&bundle.0, &bundle.1));
    assert!(plan.2.is_string() && bundle.2.is_null(), "{plan:?} {bundle:?}");
}

#[test]
fn baked_classes_go_by_name_number_and_preset() {
    let folder = tempdir().unwrap();
    let plan = argument(folder.path().join("x.ftplan"));
    let out = argument(folder.path().join("x.npy"));
    let arguments = ["compile", &tiny(), "--classes", "3,0", "--schedule", "H1P2R2", "-o", &plan, "--quiet"];
    assert_eq!(run(&arguments), "");
    run(&["latents", "-m", &plan, "-c", "0", "--seed", "1", "--schedule", "H1P2R2", "-o", &out, "--quiet"]);
    let other = ["latents", "-m", &plan, "-c", "1", "--seed", "1", "--schedule", "H1P2R2", "-o", &out];
    fail(flowturbo(&other), 2, &["class 1 was not planned", "0, 3"]);
}

#[test]
fn what_cannot_be_compiled_is_one_line_and_leaves_files_as_they_were() {
    let folder = tempdir().unwrap();
    let plan = argument(folder.path().join("x.ftplan"));
    fs::write(&plan, "mine").unwrap();
    for (arguments, words) in [
        (&["--target", "avx2"][..], &["no target 'avx2'", "native"][..]),
        (&["--batch", "0"], &["--batch"]),
        (&["--batch", "999999"], &["max_batch"]),
        (&["--size", "17x17"], &["size"]),
        (&["--classes", "999"], &["999"]),
        (&["--classes", "1", "--preset", "none"], &["no preset 'none'"]),
        (&["--classes", "1", "--schedule", "X3"], &["X3"]),
        (&["--schedule", "H1P2R2"], &["--classes"]),
    ] {
        let model = tiny();
        let command = [&["compile", &model, "-o", &plan][..], arguments].concat();
        let mut program = flowturbo(&command);
        let output = program.output().unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{command:?}: {line}");
        assert!(words.iter().all(|word| line.contains(word)), "{command:?}: {line}");
        assert_eq!(
            (fs::read(&plan).unwrap(), names(folder.path())),
            (b"mine".to_vec(), vec!["x.ftplan".into()])
        );
    }
    let (made, out) = (argument(folder.path().join("y.ftplan")), argument(folder.path().join("x.npy")));
    run(&["compile", &tiny(), "-o", &made, "--quiet"]);
    fail(flowturbo(&["compile", &made, "-o", &plan]), 2, &["is a plan, which has no ONNX files"]);
    fail(
        flowturbo(&["tune", &made, "--budget", "1s", "--write"]),
        2,
        &["is a plan, which has no ONNX files"],
    );
    fail(
        flowturbo(&["latents", "-m", &made, "-c", "0", "--seed", "1", "--backend", "reference", "-o", &out]),
        2,
        &["is a plan"],
    );
}
