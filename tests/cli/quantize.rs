//! `flowturbo quantize`, and commands that take what it made.

use std::fs;
use std::path::Path;

use tempfile::tempdir;

use crate::program::{argument, fail, flowturbo, names, run, tiny};

fn textures() -> String {
    argument(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/textures"))
}

#[test]
fn a_quantized_bundle_is_a_model_for_every_command() {
    let folder = tempdir().unwrap();
    let file = |name: &str| argument(folder.path().join(name));
    let zip = file("q.zip");
    let told = run(&["quantize", "-m", &textures(), "-o", &zip]);
    assert!(told.starts_with(&zip) && told.contains("MiB"), "{told}");
    let told = run(&["inspect", &zip]);
    assert!(told.contains("INT8"), "{told}");
    let latents = |model: &str, name: &str| {
        let made = file(name);
        let how =
            ["latents", "-m", model, "-c", "1,2", "--seed", "3", "--schedule", "H1R2", "--precision", "int8"];
        run(&[&how[..], &["-o", &made, "--quiet"]].concat());
        fs::read(made).unwrap()
    };
    assert!(latents(&zip, "quantized.npy") == latents(&textures(), "original.npy"));
    fail(flowturbo(&["quantize", &zip, "-o", &file("twice.zip")]), 2, &["its weights are bytes already"]);
    // What is there is replaced; what cannot be made leaves it.
    assert_eq!(run(&["quantize", &textures(), "-o", &file("original.npy"), "--quiet"]), "");
    assert!(fs::read(file("original.npy")).unwrap() == fs::read(&zip).unwrap());
    fail(flowturbo(&["quantize", &tiny(), "-o", &zip]), 2, &["no weights that int8 multiplies by"]);
    run(&["inspect", &zip]);
    let plan = file("x.ftplan");
    run(&["compile", &zip, "-o", &plan, "--quiet"]);
    fail(flowturbo(&["quantize", &plan, "-o", &file("plan.zip")]), 2, &["is a plan"]);
    fail(flowturbo(&["quantize", &zip, "-o", folder.path().to_str().unwrap()]), 1, &["cannot be written"]);
    assert_eq!(names(folder.path()), ["original.npy", "q.zip", "quantized.npy", "x.ftplan"]);
}
