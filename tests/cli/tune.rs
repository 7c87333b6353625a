//! `flowturbo tune` on the tiny bundle: what it finds depends on the machine, how it is told and stored does not.

use std::fs;
use std::path::{Path, PathBuf};

use ndarray::Array4;
use ndarray_npy::read_npy;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::bundle::edit_manifest;
use crate::program::{argument, copy, fail, flowturbo, names, on_windows, run, tiny};

/// Few images, a short reference, and one thread, which on a busy machine waits for no other.
const QUICK: [&str; 8] = ["--samples", "1", "--classes", "3,6", "--reference", "H8", "--threads", "1"];

fn command<'a>(bundle: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["tune", bundle, "--json"][..], &QUICK, more].concat()
}

fn tune(bundle: &str, more: &[&str]) -> Value {
    serde_json::from_str(&run(&command(bundle, more))).unwrap()
}

fn manifest(bundle: &Path) -> Value {
    serde_json::from_slice(&fs::read(bundle.join("bundle.json")).unwrap()).unwrap()
}

#[test]
fn the_report_holds_what_was_measured_and_every_preset_keeps_to_its_budget() {
    let report = tune(&tiny(), &["--budget", "0.2s", "--guidance", "1.5"]);
    assert_eq!((&report["classes"], &report["samples"]), (&json!(["3", "6"]), &json!(1)));
    assert_eq!((&report["reference"], &report["guidance"]), (&json!("H8"), &json!(1.5)));
    assert_eq!((&report["threads"], &report["written"]), (&json!(1), &Value::Null));
    for part in ["predictor_call", "refiner_call"] {
        assert!(report["parts"][part].as_f64().unwrap() > 0.0, "{part}: {report}");
    }
    assert_eq!(report["own"]["schedule"], "H1P5R3");
    let tried = report["precision"]["tried"].as_array().unwrap();
    let of = |numbers: &str| tried.iter().find(|one| one["numbers"] == numbers).unwrap();
    assert_eq!((&of("f32")["error"], &of("f16-weights")["error"]), (&json!(0.0), &json!(0.0)));
    assert!(of("int8")["error"].as_f64().unwrap() > 0.0, "{report}");
    let number = |one: &Value, field: &str| one[field].as_f64().unwrap();
    assert_eq!(of("f32")["speedup"], 1.0);
    assert!(tried.iter().all(|one| number(one, "time") > 0.0 && number(one, "speedup") > 0.0), "{report}");
    // What is taken is near enough and gains something, or is f32 because none of them is.
    let fits = |one: &Value| number(one, "error") <= 0.03 && number(one, "speedup") >= 1.03;
    let fastest = tried
        .iter()
        .filter(|one| fits(one))
        .max_by(|a, b| number(a, "speedup").total_cmp(&number(b, "speedup")));
    assert_eq!(report["precision"]["auto"], fastest.unwrap_or(of("f32"))["numbers"], "{report}");
    for (name, part) in [("best", 1.0), ("balanced", 2.0), ("fast", 3.0)] {
        let preset = &report["presets"][name];
        let number = |field: &str| preset[field].as_f64().unwrap();
        assert!((number("budget") * part - 0.2).abs() < 1e-6, "{name}: {report}");
        assert!(number("time") <= number("budget"), "{name}: {report}");
        assert!((0.0..2.0).contains(&number("distance")), "{name}: {report}");
        assert!(!preset["tried"].as_array().unwrap().is_empty());
    }
}

/// A copy of the bundle whose presets are more exact than the reference, and so than all that is looked at; H60 fits no
/// budget that the bundle's own schedule sets.
fn exact(folder: &Path) -> PathBuf {
    let copy = copy(folder);
    let presets =
        json!({ "fast": { "schedule": "H60" }, "balanced": { "schedule": "H60", "guidance": 2.0 } });
    edit_manifest(&copy, |manifest| manifest["sampling"]["presets"] = presets);
    copy
}

#[test]
fn people_are_told_what_goes_on_and_what_came_out() {
    let folder = tempdir().unwrap();
    let bundle = argument(exact(folder.path()));
    let text = run(&["tune", &bundle, "--samples", "1", "--class", "3", "--reference", "H8", "--write"]);
    for part in [
        "parts  ",
        "reference   H8 of 1 image: ",
        "best  ",
        "distance",
        "(own)      H1P5R3",
        "of the predictor",
        "fast       stays H60: it comes closer",
        "precision         image   f32 / it      error\n",
        "f16-weights",
        "   auto\n",
        "bundle.json: written\n",
    ] {
        assert!(text.contains(part), "'{part}' is not in:\n{text}");
    }
}

#[test]
fn presets_written_to_a_folder_are_there_for_every_command_and_the_rest_stays() {
    let folder = tempdir().unwrap();
    let copy = copy(folder.path());
    let bundle = argument(&copy);
    let path = copy.join("bundle.json");
    let before = fs::read_to_string(&path).unwrap();
    let mine = before.replace(
        "\"guidance\": 4.0\n",
        "\"guidance\": 4.0,\n    \"presets\": {\n      \"mine\": {\"schedule\": \"H1R1\"}, \
         \"fast\": {\"schedule\": \"E9\"}\n    }\n",
    );
    assert_ne!(mine, before);
    fs::write(&path, &mine).unwrap();

    let report = tune(&bundle, &["--budget", "2s", "--guidance", "2.5", "--write"]);
    let separator = if on_windows() { "\\" } else { "/" };
    assert_eq!(report["written"], json!(argument(&copy) + separator + "bundle.json"));
    let presets = manifest(&copy)["sampling"]["presets"].clone();
    assert_eq!(presets.as_object().unwrap().keys().collect::<Vec<_>>(), ["balanced", "best", "fast", "mine"]);
    for name in ["best", "balanced", "fast"] {
        let schedule = &report["presets"][name]["schedule"];
        assert_eq!(presets[name], json!({ "schedule": schedule, "guidance": 2.5 }));
    }
    assert_eq!(presets["mine"], json!({ "schedule": "H1R1", "guidance": 4.0 }));
    let mut rest = manifest(&copy);
    let sampling = rest["sampling"].as_object_mut().unwrap();
    sampling.shift_remove("presets").unwrap();
    let stored = sampling.shift_remove("precision").unwrap();
    assert_eq!(stored["numbers"], report["precision"]["auto"]);
    assert!(stored["device"].as_str().unwrap().ends_with(", 1 thread"), "{stored}");
    assert_eq!(rest["format_version"], "1.1");
    rest["format_version"] = "1.0".into();
    assert_eq!(rest, serde_json::from_str::<Value>(&before).unwrap());
    assert_eq!(names(&copy), ["bundle.json", "predictor.onnx", "refiner.onnx"]);

    let best = presets["best"]["schedule"].as_str().unwrap();
    assert!(run(&["inspect", &bundle]).contains(&format!("preset       best: {best}, guidance 2.5\n")));
    let inspected: Value = serde_json::from_str(&run(&["inspect", &bundle, "--json"])).unwrap();
    assert_eq!(inspected["sampling"]["presets"]["fast"], presets["fast"]);
    assert_eq!(inspected["sampling"]["presets"]["mine"], json!({ "schedule": "H1R1", "guidance": 4.0 }));
    let sample = |more: &[&str]| -> Array4<f32> {
        let file = argument(folder.path().join("latent.npy"));
        run(&[&["latents", &bundle, "--seed", "5", "--class", "3", "-q", "-o", &file], more].concat());
        read_npy(file).unwrap()
    };
    assert_eq!(sample(&["--preset", "best"]), sample(&["--schedule", best, "--guidance", "2.5"]));
    let others = ["latents", &bundle, "--seed", "5", "--class", "3", "-o", "a.npy", "--preset", "slow"];
    fail(flowturbo(&others), 2, &["no preset 'slow'", "has balanced, best, fast, mine"]);

    tune(&bundle, &["--budget", "1s", "--name", "slow", "--write"]);
    let (again, presets) = (manifest(&copy)["sampling"]["presets"].clone(), presets.as_object().unwrap());
    assert!(again["slow"]["schedule"].is_string());
    assert!(presets.iter().all(|(name, preset)| again[name] == *preset), "{again}");
}

#[test]
fn a_preset_that_is_there_never_gives_way_to_a_worse_one_that_nobody_asked_for() {
    let folder = tempdir().unwrap();
    let copy = exact(folder.path());
    let report = tune(&argument(&copy), &["--write"]);
    let stored = manifest(&copy)["sampling"]["presets"].clone();
    assert_eq!(stored["fast"], json!({ "schedule": "H60", "guidance": 4.0 }), "{report}");
    assert_eq!(stored["balanced"], json!({ "schedule": "H60", "guidance": 2.0 }));
    assert_eq!(
        (&report["presets"]["fast"]["stays"], &report["presets"]["best"]["stays"]),
        (&json!("H60"), &Value::Null)
    );
    assert_eq!(stored["best"]["schedule"], report["presets"]["best"]["schedule"]);
    let pace = &report["pace"];
    assert!(pace["steady"].is_boolean() && pace["quick"].as_f64().unwrap() <= pace["slow"].as_f64().unwrap());
}

#[test]
fn a_tuned_copy_is_a_zip_with_the_presets_and_the_bundle_stays_as_it_was() {
    let folder = tempdir().unwrap();
    let copy = copy(folder.path());
    let before = fs::read(copy.join("bundle.json")).unwrap();
    let (zip, again) = (argument(folder.path().join("tuned.zip")), argument(folder.path().join("again.zip")));
    let report = tune(&argument(&copy), &["--budget", "1s", "--name", "one", "-o", &zip]);
    assert_eq!(fs::read(copy.join("bundle.json")).unwrap(), before);
    assert!(run(&["inspect", &zip]).contains("one: "));
    // Standard output holds the file alone, and the report is told beside it.
    let piped = flowturbo(&command(&zip, &["--budget", "1s", "--name", "two", "-o", "-"])).output().unwrap();
    assert!(piped.status.success(), "{}", String::from_utf8_lossy(&piped.stderr));
    let beside: Value = serde_json::from_slice(&piped.stderr).unwrap();
    assert_eq!(beside["written"], "standard output");
    fs::write(&again, piped.stdout).unwrap();
    let inspected: Value = serde_json::from_str(&run(&["inspect", &again, "--json"])).unwrap();
    assert_eq!(inspected["sampling"]["presets"]["one"]["schedule"], report["presets"]["one"]["schedule"]);
    assert_eq!(inspected["sampling"]["presets"]["two"]["schedule"], beside["presets"]["two"]["schedule"]);
    assert_eq!(names(folder.path()), ["again.zip", "copy", "tuned.zip"]);
    fail(
        flowturbo(&["tune", &zip, "--write", "--json"]),
        2,
        &["tuned.zip: a zip file stays as it is", "-o FILE.zip"],
    );
}

#[test]
fn what_cannot_be_tuned_is_refused_and_nothing_is_written() {
    let folder = tempdir().unwrap();
    let copy = copy(folder.path());
    let (bundle, before) = (argument(&copy), fs::read(copy.join("bundle.json")).unwrap());
    let nowhere = argument(folder.path().join("none/tuned.zip"));
    for (more, code, words) in [
        (&["--budget", "1us", "--write"][..], 2, &["no schedule makes an image in 0.0 ms", "E1 takes"][..]),
        (&["--budget", "1s", "--name", "very fast", "--write"], 2, &["sampling.presets: must be 1 to 64 of"]),
        (&["--classes", "nosuch"], 2, &["no class 'nosuch'"]),
        (&["--reference", "R3"], 2, &["needs a velocity before it"]),
        (&["--reference", "H1001"], 2, &["1001 steps"]),
        (&["--guidance", "-1"], 2, &["guidance -1"]),
        (&["-o", &nowhere], 1, &["none/tuned.zip: cannot be written"]),
        (&["-o", &bundle], 1, &["cannot be written: is a directory"]),
    ] {
        fail(flowturbo(&[&["tune", &bundle, "--json"], more].concat()), code, words);
    }
    for more in [
        &["--budget", "80"][..],
        &["--budget", "0ms"],
        &["--budget", "-5ms"],
        &["--budget", "fast"],
        &["--samples", "0"],
        &["--name", "mine"],
        &["--write", "-o", "a.zip"],
    ] {
        let output = flowturbo(&[&["tune", &bundle], more].concat()).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && text.contains("--help"), "{more:?}: {text}");
    }
    assert_eq!(fs::read(copy.join("bundle.json")).unwrap(), before);
    assert_eq!(names(&copy), ["bundle.json", "predictor.onnx", "refiner.onnx"]);
}
