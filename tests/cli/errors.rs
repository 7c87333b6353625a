//! Bad input: one line that names what is wrong, an exit code, and no half files.

use std::fs;
use std::path::Path;

use ndarray::Array4;
use ndarray_npy::write_npy;
use tempfile::tempdir;

use crate::bundle::edit_manifest;
use crate::program::{argument, copy, fail, flowturbo, names, on_windows, tiny};

/// `latents` on the tiny bundle with `more` arguments, which must fail and leave no file behind.
fn latents_fail(code: i32, more: &[&str], words: &[&str]) {
    let folder = tempdir().unwrap();
    let output = argument(folder.path().join("latent.npy"));
    let bundle = tiny();
    let mut arguments = vec!["latents", &bundle, "-o", &output];
    arguments.extend(more);
    fail(flowturbo(&arguments), code, words);
    assert!(names(folder.path()).is_empty(), "{more:?} left {:?}", names(folder.path()));
}

#[test]
fn senseless_requests_are_named() {
    for (more, words) in [
        (&["--class", "nosuch", "--seed", "1"][..], &["no class 'nosuch'", "classes 0 to 9"][..]),
        (&["--class", "11", "--seed", "1"], &["no class '11'"]),
        (&["--class", "", "--seed", "1"], &["no class ''"]),
        (&["--class", "3,,4", "--seed", "1"], &["no class ''"]),
        (&["--class", "a\nb", "--seed", "1"], &["no class 'a\\nb'"]),
        (&["--class", "3", "--seed", "1", "--schedule", "H1Q5"], &["schedule 'H1Q5'", "'Q' is no step"]),
        (&["--class", "3", "--seed", "1", "--schedule", "R3"], &["needs a velocity before it"]),
        (&["--class", "3", "--seed", "1", "--schedule", ""], &["no steps"]),
        (&["--class", "3", "--seed", "1", "--schedule", "H1001"], &["1001 steps", "above the limit of 1000"]),
        (&["--class", "3", "--seed", "1", "--guidance", "nan"], &["guidance NaN"]),
        (&["--class", "3", "--seed", "1", "--guidance", "-1"], &["guidance -1"]),
        (&["--class", "3", "--seed", "1", "--threads", "5000"], &["threads: 5000"]),
        (&["--class", "3", "--seed", "1", "--preset", "fast"], &["no preset 'fast'", "has none"]),
    ] {
        latents_fail(2, more, words);
    }
}

#[test]
fn numbers_out_of_range_are_told_the_range() {
    let seeds = "from 0 to 18446744073709551615";
    for (command, option, range) in [
        ("generate", "--seed", seeds),
        ("latents", "--seed", seeds),
        ("tune", "--seed", seeds),
        ("generate", "-n", "from 1 to 4294967295"),
        ("generate", "--only", "from 0 to 4294967295"),
        ("generate", "--steps", "from 1 to 100000"),
        ("generate", "--columns", "from 1 to"),
        ("decode", "--columns", "from 1 to"),
        ("bench", "--batch", "from 1 to"),
        ("bench", "--runs", "from 1 to"),
        ("bench", "--warmup", "from 0 to"),
        ("inspect", "--batch", "from 1 to"),
        ("tune", "--samples", "from 1 to 1000"),
        ("latents", "--threads", "from 0 to"),
    ] {
        for value in ["-1", "1e3", "x", "99999999999999999999"] {
            let output = flowturbo(&[command, option, value]).output().unwrap();
            let text = String::from_utf8(output.stderr).unwrap();
            let line = text.lines().next().unwrap();
            let told = line.contains(&format!("invalid value '{value}'")) && line.contains("a whole number");
            assert!(
                output.status.code() == Some(2) && told && line.contains(range),
                "{command} {option}: {text}"
            );
        }
    }
    for (command, option, value, words) in [
        ("generate", "--size", "-5x8", "must be written like 512x256"),
        ("tune", "--budget", "-5ms", "must be a number and a unit"),
        ("generate", "--guidance", "much", "must be a number"),
        ("tune", "--guidance", "", "must be a number"),
        ("generate", "--strength", "50%", "must be a number"),
        ("generate", "--vary", "0,5", "must be a number"),
    ] {
        let text = String::from_utf8(flowturbo(&[command, option, value]).output().unwrap().stderr).unwrap();
        let told = text.starts_with(&format!("error: invalid value '{value}' for '{option}"));
        assert!(told && text.contains(words), "{text}");
    }
}

#[test]
fn noise_that_cannot_be_used_is_named() {
    let missing = if on_windows() { "File not found" } else { "No such file" };
    let folder = tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        argument(path)
    };
    let array = |name: &str, shape: [usize; 4], value: f32| {
        let path = folder.path().join(name);
        write_npy(&path, &Array4::from_elem(shape, value)).unwrap();
        argument(path)
    };
    let header = |text: &str, data: usize| {
        let text = format!("{text:117}\n");
        let length = (text.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\x00", &length[..], text.as_bytes(), &vec![0; data]].concat()
    };
    let dictionary = |kind: &str, shape: &str| {
        format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}")
    };
    let whole = fs::read(array("whole.npy", [1, 4, 16, 16], 0.5)).unwrap();
    let double = header(&dictionary("<f8", "(1, 4, 16, 16)"), 8192);
    let three = header(&dictionary("<f4", "(4, 16, 16)"), 4096);
    let claim = header(&dictionary("<f4", "(4000000000, 4, 16, 16)"), 4096);
    let overflow = header(&dictionary("<f4", "(4000000000, 4000000000, 16, 16)"), 4096);
    for (path, words) in [
        (argument(folder.path().join("none.npy")), &["none.npy", missing][..]),
        (argument(folder.path()), &["is not a file"]),
        (file("text.npy", b"not numpy"), &["text.npy", "not a readable NumPy .npy file"]),
        (file("empty.npy", b""), &["empty.npy: is empty"]),
        (
            file("short.npy", &whole[..whole.len() - 1]),
            &["short.npy", "not a readable", "is not what its 4095 bytes hold"],
        ),
        (file("double.npy", &double), &["'<f8'", "must hold float32"]),
        (file("three.npy", &three), &["[4, 16, 16]", "four axes [N, C, H, W]"]),
        (file("claim.npy", &claim), &["not a readable", "is not what its 4096 bytes hold"]),
        (file("overflow.npy", &overflow), &["not a readable", "overflow"]),
        (array("two.npy", [2, 4, 16, 16], 0.5), &["has shape [2, 4, 16, 16]", "must be [1, 4, 16, 16]"]),
        (array("size.npy", [1, 4, 8, 8], 0.5), &["has shape [1, 4, 8, 8]", "must be [1, 4, 16, 16]"]),
        (array("nan.npy", [1, 4, 16, 16], f32::NAN), &["nan.npy", "not finite"]),
    ] {
        latents_fail(2, &["--class", "3", "--noise", &path], words);
    }
}

#[test]
fn bundles_that_cannot_be_used_are_named() {
    let folder = tempdir().unwrap();
    let none = argument(folder.path().join("none"));
    for command in ["inspect", "classes", "bench", "tune"] {
        fail(flowturbo(&[command, &none]), 2, &["none: no such bundle"]);
    }
    fail(flowturbo(&["classes", &argument(folder.path())]), 2, &["has no bundle.json"]);
    let mut command = flowturbo(&["classes"]);
    command.env("FLOWTURBO_BUNDLE", &none);
    fail(command, 2, &["none: no such bundle", "$FLOWTURBO_BUNDLE"]);
    let text = folder.path().join("text");
    fs::write(&text, "not a zip").unwrap();
    fail(flowturbo(&["classes", &argument(text)]), 2, &["text: ", "zip"]);

    let copy = copy(folder.path());
    let mut bytes = fs::read(copy.join("predictor.onnx")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(copy.join("predictor.onnx"), bytes).unwrap();
    for command in ["inspect", "bench"] {
        fail(flowturbo(&[command, &argument(&copy)]), 2, &["predictor.onnx", "SHA-256"]);
    }
}

#[test]
fn refiner_steps_without_a_refiner_are_refused() {
    let folder = tempdir().unwrap();
    let copy = copy(folder.path());
    edit_manifest(&copy, |manifest| {
        manifest["networks"].as_object_mut().unwrap().remove("refiner");
        manifest["sampling"]["schedule"] = "H1P5".into();
    });
    let (bundle, output) = (argument(copy), argument(folder.path().join("latent.npy")));
    let arguments =
        ["latents", &bundle, "--seed", "1", "--class", "3", "--schedule", "H1P5R3", "-o", &output];
    fail(flowturbo(&arguments), 2, &["schedule H1P5R3 has R steps", "no refiner"]);
    assert_eq!(names(folder.path()), ["copy"]);
}

#[test]
fn outputs_that_cannot_be_written_are_found_before_anything_is_loaded() {
    let missing = if on_windows() { "Path not found" } else { "No such file" };
    let folder = tempdir().unwrap();
    let at = |name: &str| argument(folder.path().join(name));
    let (bundle, nowhere, here) = (tiny(), at("none/out.npy"), at("out.npy"));
    let around = argument(folder.path().join("..").join(folder.path().file_name().unwrap()).join("out.npy"));
    let sample = ["latents", &bundle, "--seed", "1", "--class", "3"];
    for (more, code, words) in [
        (&["-o", &nowhere][..], 1, &["none/out.npy: cannot be written: ", missing][..]),
        (&["-o", &here, "--trajectory", &nowhere], 1, &["none/out.npy: cannot be written"]),
        (&["-o", &at("")], 1, &["cannot be written: is a directory"]),
        (&["-o", &here, "--trajectory", &here], 2, &["name the same file"]),
        (&["-o", &here, "--trajectory", &around], 2, &["name the same file"]),
    ] {
        let arguments: Vec<&str> = sample.iter().chain(more).copied().collect();
        let mut command = flowturbo(&arguments);
        // Loading would add lines to the log, and so to stderr.
        command.env("RUST_LOG", "flowturbo=debug");
        fail(command, code, words);
    }
    let generate = ["generate", "--bundle", &bundle, "--class", "3"];
    for (more, code, words) in [
        (&["-o", "out.jpg"][..], 2, &["out.jpg: only PNG"][..]),
        (&["-o", &at("none/out.png")], 1, &["none/out.png: cannot be written"]),
        (&["-o", &at("none/out.png"), "--separate"], 1, &["out-0.png: cannot be written"]),
        (&["-o", &at("out.png"), "-n", "4000000000"], 2, &["4000000000 images", "at most 256"]),
    ] {
        let arguments: Vec<&str> = generate.iter().chain(more).copied().collect();
        fail(flowturbo(&arguments), code, words);
    }
    assert!(names(folder.path()).is_empty());
}

#[test]
fn images_need_a_decoder() {
    let folder = tempdir().unwrap();
    let arguments =
        ["generate", "--bundle", &tiny(), "--class", "3", "-o", &argument(folder.path().join("a"))];
    fail(flowturbo(&arguments), 2, &["bundle 'tiny-sit' has no decoder"]);
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_wrong_command_line_is_pointed_to_the_help() {
    for arguments in [
        &[][..],
        &["paint"],
        &["generate", "-o", "a.png"],
        &["generate", "--class", "3"],
        &["generate", "--class", "3", "-o", "a.png", "--steps", "0"],
        &["generate", "--class", "3", "-o", "a.png", "-n", "0"],
        &["generate", "--class", "3", "-o", "a.png", "--seed", "-1"],
        &["generate", "--class", "3", "-o", "a.png", "--steps", "4", "--schedule", "H1"],
        &["latents", "--class", "3", "-o", "a.npy"],
        &["latents", "--class", "3", "-o", "a.npy", "--seed", "1", "--noise", "n.npy"],
        &["inspect", "one", "two"],
    ] {
        let output = flowturbo(arguments).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains("--help"), "{arguments:?}: {text}");
        // Either will do, and a message that names one would hide the other.
        let start = arguments.first() == Some(&"latents");
        assert!(!start || text.contains("--noise") && text.contains("--seed"), "{arguments:?}: {text}");
    }
    assert!(!Path::new("a.png").exists() && !Path::new("a.npy").exists());
}
