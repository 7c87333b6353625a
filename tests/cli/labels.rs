//! Classes asked for by labels as published lists have them.

use std::path::Path;

use ndarray::Array4;
use ndarray_npy::read_npy;
use serde_json::json;
use tempfile::{TempDir, tempdir};

use crate::bundle::edit_manifest;
use crate::program::{argument, copy, fail, flowturbo, run};

/// Of ImageNet's lists (the lemmas, torchvision's breeds and garments), and what else people call their folders.
const LABELS: [&str; 10] = [
    "crane",
    "tench, Tinca tinca",
    "crane",
    "Mörtel",
    "Кирпич",
    "straße",
    "Cardigan, Cardigan Welsh corgi",
    "cardigan",
    "great white shark, white shark",
    "9",
];

fn labelled() -> (TempDir, String) {
    let folder = tempdir().unwrap();
    let copy = copy(folder.path());
    edit_manifest(&copy, |manifest| manifest["classes"]["labels"] = json!(LABELS));
    (folder, argument(copy))
}

fn sample(bundle: &str, folder: &Path, classes: &[&str]) -> Array4<f32> {
    let output = argument(folder.join("latent.npy"));
    let classes = classes.iter().flat_map(|class| ["--class", *class]);
    let rest = ["--seed", "1", "--schedule", "E1", "-q", "-o", &output];
    run(&["latents", bundle].into_iter().chain(classes).chain(rest).collect::<Vec<_>>());
    read_npy(output).unwrap()
}

#[test]
fn a_class_has_the_names_that_its_label_holds() {
    let (folder, bundle) = labelled();
    for (names, numbers) in [
        (&["tench, Tinca tinca"][..], "1"),
        (&["TENCH"], "1"),
        (&["MO\u{308}RTEL"], "3"),
        (&["кирпич"], "4"),
        (&["STRASSE"], "5"),
        (&["Cardigan"], "6"),
        (&["cardigan"], "7"),
        (&["0,tench, Tinca tinca,9"], "0,1,9"),
        (&["white shark", "tench, Tinca tinca"], "8,1"),
        (&[r"tench\, Tinca tinca,4"], "1,4"),
    ] {
        let (named, numbered) =
            (sample(&bundle, folder.path(), names), sample(&bundle, folder.path(), &[numbers]));
        assert_eq!(named, numbered, "{names:?}");
    }
}

#[test]
fn what_may_be_several_classes_or_none_is_one_line_of_what_there_is() {
    let (folder, bundle) = labelled();
    let output = argument(folder.path().join("latent.npy"));
    for (class, words) in [
        ("crane", &["class 'crane' may be 0 ('crane') or 2 ('crane'); ask for its number"][..]),
        ("3,Crane", &["'Crane' may be 0"]),
        ("42", &["no class '42'; this bundle has classes 0 to 9, and 10 for no class"]),
        ("-1", &["no class '-1'; this bundle has classes 0 to 9"]),
        ("tensh", &["no class 'tensh'; nearest is 'tench, Tinca tinca'"]),
    ] {
        fail(flowturbo(&["latents", &bundle, "--seed", "1", "--class", class, "-o", &output]), 2, words);
    }
    let listed = run(&["classes", &bundle]);
    assert!(listed.starts_with("0\tcrane\n1\ttench, Tinca tinca\n2\tcrane\n"), "{listed}");
}

#[test]
fn a_model_without_a_null_class_says_so_and_refuses_guidance() {
    let (folder, bundle) = labelled();
    edit_manifest(Path::new(&bundle), |manifest| {
        manifest["classes"].as_object_mut().unwrap().remove("null");
        manifest["sampling"]["guidance"] = json!(1);
    });
    assert!(!run(&["classes", &bundle]).contains("null"));
    assert!(run(&["inspect", &bundle]).contains(", 9; none for no class\n"));
    assert!(run(&["inspect", &bundle, "--json"]).contains("\"null\": null"));
    sample(&bundle, folder.path(), &["3"]);
    let output = argument(folder.path().join("guided.npy"));
    let guided = ["latents", &bundle, "--seed", "1", "--class", "3", "--guidance", "2", "-o", &output];
    fail(flowturbo(&guided), 2, &["guidance 2: must be 1, since this model knows no \"no class\""]);
}
