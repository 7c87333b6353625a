//! `--context` and `--negative-context`: files of contexts, and what is told of them.

use ndarray::{Array2, Array4, ArrayD, Axis, s};
use ndarray_npy::{NpzReader, read_npy, write_npy};
use serde_json::Value;
use tempfile::tempdir;

use crate::common::{data, largest_error};
use crate::program::{argument, fail, flowturbo, names, run, tiny};

fn pooled() -> String {
    argument(data("../contexts/pooled"))
}

fn golden(name: &str) -> ArrayD<f32> {
    let file = std::fs::File::open(data("../contexts/golden.npz")).unwrap();
    NpzReader::new(file).unwrap().by_name(name).unwrap()
}

#[test]
fn latents_of_contexts_are_the_golden_ones() {
    let folder = tempdir().unwrap();
    let file = |name: &str| argument(folder.path().join(name));
    // The second case of golden.json: one context for both, another one for each to go away from.
    for name in ["noise", "context", "negative"] {
        write_npy(file(name), &golden(&format!("case1_{name}"))).unwrap();
    }
    let (noise, context, negative, out) = (file("noise"), file("context"), file("negative"), file("out.npy"));
    let mut arguments = vec!["latents", "-m"];
    let bundle = pooled();
    arguments.extend([&bundle, "--class", "1,3", "--schedule", "H1P1R1", "--guidance", "2.5", "-o", &out]);
    arguments.extend(["--noise", &noise, "--context", &context, "--negative-context", &negative]);
    run(&arguments);
    let latents: Array4<f32> = read_npy(&out).unwrap();
    let states = golden("case1_traj");
    let error = largest_error(&latents, states.index_axis(Axis(0), states.len_of(Axis(0)) - 1).iter());
    assert!(error < 2e-4, "{error}");
}

#[test]
fn images_keep_their_contexts_when_only_some_are_made_and_the_command_is_told() {
    let folder = tempdir().unwrap();
    let file = |name: &str| argument(folder.path().join(name));
    let contexts = Array2::from_shape_fn((3, 12), |(image, i)| ((image * 5 + i) % 7) as f32 - 3.0);
    write_npy(file("three.npy"), &contexts).unwrap();
    write_npy(file("last.npy"), &contexts.slice(s![2..3, ..]).to_owned()).unwrap();
    let bundle = pooled();
    let generate = |more: &[&str], out: &str| {
        let all = ["generate", "-m", &bundle, "--class", "1", "--seed", "4", "--quiet", "-o", out];
        run(&[&all[..], more].concat());
        image::open(out).unwrap().to_rgb8().into_raw()
    };
    let apart = |a: &[u8], b: &[u8]| a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    let (three, last) = (file("three.npy"), file("last.npy"));
    let third = generate(&["-n", "3", "--only", "2", "--context", &three], &file("third.png"));
    let same = generate(&["-n", "3", "--only", "2", "--context", &last], &file("same.png"));
    let plain = generate(&["-n", "3", "--only", "2"], &file("plain.png"));
    let away = ["-n", "3", "--only", "2", "--context", &last, "--negative-context", &three];
    let away = generate(&away, &file("away.png"));
    assert!(apart(&third, &same) <= 1, "{}", apart(&third, &same));
    assert!(apart(&third, &plain) > 8 && apart(&third, &away) > 8);
    let bytes = String::from_utf8_lossy(&std::fs::read(file("away.png")).unwrap()).into_owned();
    assert!(bytes.contains(" --context last.npy --negative-context three.npy"));
}

#[test]
fn inspect_tells_the_contexts() {
    let text = run(&["inspect", &pooled()]);
    assert!(text.contains("context      12 floats for each image; zeros is no prompt\n"), "{text}");
    assert!(text.contains("context f32 [2, 12]"), "{text}");
    let tokens = pooled().replace("pooled", "tokens");
    let text = run(&["inspect", &tokens]);
    assert!(text.contains("context      7 x 12 floats for each image; zeros is no prompt\n"), "{text}");
    let json: Value = serde_json::from_str(&run(&["inspect", "--json", &tokens])).unwrap();
    assert_eq!(json["context"], serde_json::json!({ "width": 12, "tokens": 7, "no_prompt": "zeros" }));
    let json: Value = serde_json::from_str(&run(&["inspect", "--json", &tiny()])).unwrap();
    assert_eq!(json["context"], Value::Null);
}

#[test]
fn contexts_that_do_not_fit_are_refused_in_one_line() {
    let folder = tempdir().unwrap();
    let file = |name: &str| argument(folder.path().join(name));
    write_npy(file("wide.npy"), &Array2::<f32>::zeros((1, 13))).unwrap();
    write_npy(file("three.npy"), &Array2::<f32>::zeros((3, 12))).unwrap();
    write_npy(file("doubles.npy"), &Array2::<f64>::zeros((1, 12))).unwrap();
    write_npy(file("one.npy"), &Array2::<f32>::zeros((1, 12))).unwrap();
    write_npy(file("endless.npy"), &Array2::<f32>::from_elem((1, 12), f32::INFINITY)).unwrap();
    let before = names(folder.path());
    let (pooled, tiny) = (pooled(), tiny());
    for (bundle, given, words) in [
        (
            &pooled,
            ["--context", &file("wide.npy")],
            "context: shape [1, 13], must be [2, 12], or [1, 12] for all",
        ),
        (&pooled, ["--negative-context", &file("three.npy")], "negative context: shape [3, 12]"),
        (&pooled, ["--context", &file("doubles.npy")], "doubles.npy: holds"),
        (&pooled, ["--context", &file("none.npy")], "none.npy: "),
        (
            &pooled,
            ["--negative-context", &file("endless.npy")],
            "endless.npy: holds a number that is not finite",
        ),
        (
            &tiny,
            ["--context", &file("one.npy")],
            "context: this model takes no contexts (text in bundle.json)",
        ),
    ] {
        for command in [["latents", "out.npy"], ["generate", "out.png"]] {
            let out = file(command[1]);
            let plain = [command[0], "-m", bundle, "--class", "0,1", "--seed", "0", "-o", &out];
            fail(flowturbo(&[&plain[..], &given].concat()), 2, &[words]);
        }
    }
    let standard = ["--context", "-", "--negative-context", "-"];
    let plain = ["generate", "-m", &pooled, "--class", "0", "-o", "-"];
    fail(flowturbo(&[&plain[..], &standard].concat()), 2, &["standard input is only one of them"]);
    let standard = ["--context", "-", "--init", "-"];
    let words = "--context - --init -: standard input is only one of them";
    fail(flowturbo(&[&plain[..], &standard].concat()), 2, &[words]);
    let latents = ["latents", "-m", &pooled, "--class", "0", "-o", "-", "--noise", "-", "--context", "-"];
    fail(flowturbo(&latents), 2, &["--context - --noise -: standard input is only one of them"]);
    assert_eq!(names(folder.path()), before);
}
