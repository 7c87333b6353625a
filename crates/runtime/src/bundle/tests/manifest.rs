//! `bundle.json`, good and bad.

use serde_json::{Value, json};

use super::super::manifest::{Direction, Preset, Time};
use super::super::testing::Files;
use super::super::*;
use super::error;
use crate::ErrorKind::{self, InvalidBundle, LimitExceeded, Unsupported};

#[test]
fn every_field_is_read() {
    let bundle = Files::complete().open().unwrap();
    let m = bundle.manifest();
    assert_eq!((m.description.as_deref(), m.license.as_deref()), (Some("one line"), Some("MIT")));
    assert_eq!((m.latent.channels, m.latent.height, m.latent.width), (4, 8, 16));
    assert_eq!((m.latent.scale, m.latent.shift), (0.5, 0.25));
    let image = m.image.as_ref().unwrap();
    assert_eq!((image.height, image.width, image.wraps), (64, 128, true));
    assert_eq!(image.preview.as_ref().unwrap()[2], [0.0, 0.0, 1.0, 0.0, 0.5]);
    assert_eq!((m.classes.count, m.classes.null), (2, Some(2)));
    assert_eq!(m.classes.labels.as_deref().unwrap(), ["brick", "moss"]);
    assert_eq!(m.time, Time { direction: Direction::DataToNoise, scale: 1000.0, velocity_sign: -1 });
    assert_eq!(m.guided_channels(), 3);
    assert_eq!((m.sampling.schedule.as_str(), m.sampling.guidance), ("H1P5R3", 4.0));
    assert_eq!(m.sampling.presets["fast"], Preset { schedule: "H1R2".into(), guidance: Some(1.5) });
    assert_eq!(m.networks.refiner.as_ref().unwrap().inputs.v, "v");
    assert_eq!(m.networks.predictor.external_data[0].file, "predictor.onnx.data");
}

#[test]
fn optional_fields_have_the_documented_defaults() {
    let bundle = Files::minimal().open().unwrap();
    let m = bundle.manifest();
    assert_eq!((m.latent.scale, m.latent.shift), (1.0, 0.0));
    assert_eq!(m.time, Time { direction: Direction::NoiseToData, scale: 1.0, velocity_sign: 1 });
    assert_eq!(m.guided_channels(), 4);
    assert!(m.image.is_none() && m.guidance.is_none() && m.classes.labels.is_none());
    assert!(m.sampling.presets.is_empty() && m.networks.predictor.external_data.is_empty());
}

#[test]
fn the_example_in_the_docs_is_a_valid_manifest() {
    let docs = include_str!("../../../../../docs/bundle.md");
    let examples: Vec<_> =
        docs.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        let manifest = parse::manifest(example.as_bytes()).unwrap();
        validate::manifest(&manifest, &Limits::default()).unwrap();
    }
}

/// Each change to the complete manifest: field, new value, kind of the error, its text behind the field.
#[test]
fn each_broken_rule_names_its_field() {
    let long = "x".repeat(65);
    let cases: &[(&str, Value, ErrorKind, &str)] = &[
        ("format", json!("zip"), InvalidBundle, "must be \"flowturbo-bundle\", is \"zip\""),
        ("format_version", json!("1"), InvalidBundle, "must be 'major.minor', such as 1.1, is \"1\""),
        ("format_version", json!("1.00"), InvalidBundle, "must be 'major.minor'"),
        ("format_version", json!("+1.0"), InvalidBundle, "must be 'major.minor'"),
        ("format_version", json!("1.99999999999"), InvalidBundle, "must be 'major.minor'"),
        ("format_version", json!("2.0"), Unsupported, "2.0 is newer than 1.1, the version this build reads"),
        ("format_version", json!("0.9"), Unsupported, "0.9 is older than 1.1, the version this build reads"),
        ("name", json!(""), InvalidBundle, "must be 1 to 64 of"),
        ("name", json!(long), InvalidBundle, "must be 1 to 64 of"),
        ("name", json!("a b"), InvalidBundle, "must be 1 to 64 of A-Z a-z 0-9 . _ -, is \"a b\""),
        ("name", json!("a\nb"), InvalidBundle, "is \"a\\nb\""),
        ("description", json!("two\nlines"), InvalidBundle, "must be one line"),
        ("description", json!(null), InvalidBundle, "invalid type: null"),
        ("license", json!("a\u{7}"), InvalidBundle, "must be one line"),
        ("latent", json!([4, 8, 16, 1.0, 0.0]), InvalidBundle, "invalid type: sequence, expected an object"),
        ("latent.channels", json!(0), InvalidBundle, "must be at least 1, is 0"),
        ("latent.channels", json!(-1), InvalidBundle, "invalid type: integer `-1`, expected a whole number"),
        ("latent.channels", json!(4.5), InvalidBundle, "invalid type: floating point `4.5`"),
        ("latent.channels", json!("4"), InvalidBundle, "invalid type: string \"4\""),
        ("latent.channels", json!(257), LimitExceeded, "is 257, above the limit of 256 (max_channels)"),
        ("latent.channels", json!(4_000_000_000_u64), LimitExceeded, "above the limit of 256"),
        ("latent.height", json!(1_000_000_000), LimitExceeded, "is 1000000000, above the limit of 8192"),
        ("latent.width", json!(u64::MAX), LimitExceeded, "is over 4294967294, above the limit of 8192"),
        ("latent.scale", json!(0), InvalidBundle, "must not be 0"),
        ("latent.scale", json!(1e-60), InvalidBundle, "must not be 0"),
        ("latent.scale", json!(1e300), InvalidBundle, "must be a finite 32-bit number"),
        ("latent.shift", json!(-1e300), InvalidBundle, "must be a finite 32-bit number"),
        ("latent.shift", json!(null), InvalidBundle, "invalid type: null"),
        ("image", json!(null), InvalidBundle, "invalid type: null, expected an object"),
        ("image.height", json!(0), InvalidBundle, "must be at least 1, is 0"),
        ("image.height", json!(60), InvalidBundle, "must be a multiple of latent.height (8), is 60"),
        ("image.width", json!(120), InvalidBundle, "must be a multiple of latent.width (16), is 120"),
        ("image.width", json!(1 << 20), LimitExceeded, "is 1048576, above the limit of 8192"),
        (
            "image.preview",
            json!([[0], [0]]),
            InvalidBundle,
            "invalid length 2, expected an array of length 3",
        ),
        (
            "image.preview[1]",
            json!([[0, 0, 0, 0, 0], [0, 0, 0, 0], []]),
            InvalidBundle,
            "must have 5 numbers (latent.channels and a constant), has 4",
        ),
        (
            "image.preview[2]",
            json!([[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 1e39]]),
            InvalidBundle,
            "must be a finite 32-bit number",
        ),
        ("classes.count", json!(0), InvalidBundle, "must be at least 1, is 0"),
        ("classes.count", json!(1_000_000_000_000_u64), LimitExceeded, "is over 4294967294, above the limit"),
        ("classes.null", json!(1), InvalidBundle, "must be at least 2 (classes.count)"),
        ("classes.null", json!(-1), InvalidBundle, "so that it is no class; is -1"),
        ("classes.null", json!(1e30), InvalidBundle, "invalid type: floating point"),
        ("classes.labels", json!(["brick"]), InvalidBundle, "must have 2 entries (classes.count), has 1"),
        ("classes.labels", json!([]), InvalidBundle, "must have 2 entries (classes.count), has 0"),
        ("classes.null", json!(null), InvalidBundle, "invalid type: null"),
        ("classes.labels[1]", json!(["brick", "0"]), InvalidBundle, "another class's number, is \"0\""),
        ("classes.labels[0]", json!([" \t", "moss"]), InvalidBundle, "must not be empty"),
        ("classes.labels[0]", json!(["", "moss"]), InvalidBundle, "must not be empty"),
        ("classes.labels[0]", json!([7, "moss"]), InvalidBundle, "invalid type: integer `7`"),
        (
            "time.direction",
            json!("sideways"),
            InvalidBundle,
            "must be \"noise_to_data\" or \"data_to_noise\"",
        ),
        ("time.direction", json!({ "noise_to_data": null }), InvalidBundle, "invalid type: map"),
        ("time.scale", json!(0.0), InvalidBundle, "must not be 0"),
        ("time.scale", json!(1e39), InvalidBundle, "must be a finite 32-bit number"),
        ("time.velocity_sign", json!(0), InvalidBundle, "must be 1 or -1, is 0"),
        ("guidance.channels", json!(0), InvalidBundle, "must be 1 to 4 (latent.channels), is 0"),
        ("guidance.channels", json!(5), InvalidBundle, "must be 1 to 4 (latent.channels), is 5"),
        (
            "guidance.refiner_guided",
            json!(true),
            InvalidBundle,
            "is true, but only 3 of 4 channels are guided",
        ),
        ("guidance.refiner_guided", json!(1), InvalidBundle, "invalid type: integer `1`, expected a boolean"),
        ("sampling.schedule", json!(""), InvalidBundle, "no steps"),
        ("sampling.schedule", json!("H1X2"), InvalidBundle, "'X' is no step"),
        ("sampling.schedule", json!("R3"), InvalidBundle, "an R step needs a velocity before it"),
        ("sampling.schedule", json!("h1 p5"), InvalidBundle, "must be written like H1P5R3, is \"h1 p5\""),
        ("sampling.schedule", json!("H99999999999999999999"), InvalidBundle, "more than"),
        ("sampling.presets.fast.schedule", json!("P0"), InvalidBundle, "P0 is no step"),
        ("sampling.guidance", json!(-0.5), InvalidBundle, "must be at least 0, is -0.5"),
        ("sampling.guidance", json!(1e39), InvalidBundle, "must be a finite 32-bit number"),
        ("sampling.presets.fast.guidance", json!(-1), InvalidBundle, "must be at least 0, is -1"),
        ("sampling.presets.fast.guidance", json!(null), InvalidBundle, "invalid type: null"),
        ("sampling.presets.fast.guidance", json!(1e39), InvalidBundle, "must be a finite 32-bit number"),
        ("sampling.presets.fast", json!(["H1", 1.0]), InvalidBundle, "expected an object"),
        ("networks.refiner", json!(null), InvalidBundle, "invalid type: null, expected an object"),
        ("networks.predictor.sha256", json!("ab"), InvalidBundle, "must be 64 lower-case hex digits"),
        (
            "networks.predictor.sha256",
            json!("A".repeat(64)),
            InvalidBundle,
            "must be 64 lower-case hex digits",
        ),
        ("networks.predictor.output", json!(""), InvalidBundle, "must not be empty"),
        ("networks.refiner.inputs.v", json!("x"), InvalidBundle, "repeats the tensor \"x\""),
        ("networks.refiner.inputs.v", json!(""), InvalidBundle, "must not be empty"),
        ("networks.decoder.inputs", json!(["latent"]), InvalidBundle, "expected an object"),
    ];
    for (field, value, kind, text) in cases {
        let mut files = Files::complete();
        // A label's own field can only be broken together with the whole list.
        files.set(field.split('[').next().unwrap(), value.clone());
        let error = error(files.open());
        let message = error.to_string();
        assert!(
            message.starts_with(&format!("test files: bundle.json: {field}: ")),
            "{field} {value}: {message}"
        );
        assert!(message.contains(text), "{field} {value}: {message}");
        assert_eq!(error.kind(), *kind, "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn labels_may_repeat_and_say_their_own_number() {
    for labels in [["crane", "crane"], ["Cardigan", "cardigan"], ["0", "1"], ["tench, Tinca tinca", "n/a"]] {
        let bundle = Files::complete().set("classes.labels", json!(labels)).open().unwrap();
        assert_eq!(bundle.manifest().classes.labels.as_deref().unwrap(), labels);
    }
}

#[test]
fn without_a_null_class_nothing_is_guided() {
    let mut files = Files::complete();
    files.remove("classes.null").set("sampling.guidance", json!(1));
    let message = error(files.open()).to_string();
    let expected =
        "sampling.presets.fast.guidance: must be 1, since classes has no null to guide away from; is 1.5";
    assert!(message.ends_with(expected), "{message}");
    files.set("sampling.presets.fast.guidance", json!(1));
    assert_eq!(files.open().unwrap().manifest().classes.null, None);
    let message = error(files.clone().set("sampling.guidance", json!(0)).open()).to_string();
    assert!(
        message.ends_with("sampling.guidance: must be 1, since classes has no null to guide away from; is 0")
    );
    files.set("guidance", json!({ "channels": 4, "refiner_guided": true }));
    let message = error(files.open()).to_string();
    let expected = "guidance.refiner_guided: is true, but classes has no null to guide away from";
    assert!(message.ends_with(expected), "{message}");
}

#[test]
fn a_predictor_that_takes_no_class_is_a_bundle_of_one() {
    let mut files = Files::complete();
    files.remove("networks.predictor.inputs.y").set("networks.predictor.inputs.t", json!("time"));
    for (field, value, message) in [
        ("sampling.guidance", json!(1), "classes.count: is 2, but the predictor takes no class"),
        (
            "classes",
            json!({ "count": 1, "null": 1 }),
            "classes.null: is there, but the predictor takes no class",
        ),
        ("classes", json!({ "count": 1 }), "sampling.presets.fast.guidance: must be 1"),
        ("sampling.presets", json!({}), ""),
    ] {
        let outcome = files.set(field, value).open();
        match outcome {
            Ok(bundle) => {
                assert!(message.is_empty() && bundle.manifest().networks.predictor.inputs.y.is_none())
            }
            Err(error) => {
                let text = error.to_string();
                assert!(!message.is_empty() && text.contains(&format!("bundle.json: {message}")), "{text}");
            }
        }
    }
    assert_eq!(
        files.open().unwrap().manifest().networks.refiner.as_ref().unwrap().inputs.y.as_deref(),
        Some("y")
    );
    files.set("networks.predictor.inputs.y", json!(null));
    let message = error(files.open()).to_string();
    assert!(message.contains("networks.predictor.inputs.y: invalid type: null"), "{message}");
}

#[test]
fn a_file_name_that_leads_elsewhere_is_refused() {
    let long = "x".repeat(129);
    for name in [
        "",
        ".",
        "..",
        "../predictor.onnx",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "C:x",
        ".hidden",
        "a..b",
        "a b",
        "ä",
        "a\0",
        &long,
    ] {
        for field in ["networks.predictor.file", "networks.predictor.external_data.0.file"] {
            let mut files = Files::complete();
            files.set(field, json!(name));
            let error = error(files.open());
            assert_eq!(error.kind(), InvalidBundle, "{name}");
            assert!(error.to_string().contains(".file: must be a flat name"), "{error}");
        }
    }
    assert!(validate::is_file_name(&"x".repeat(128)));
}

#[test]
fn a_missing_field_names_its_parent() {
    for (field, message) in [
        ("name", "bundle.json: missing field `name` at line"),
        ("format", "bundle.json: missing field `format` at line"),
        ("latent.width", "bundle.json: latent: missing field `width` at line"),
        ("classes.count", "bundle.json: classes: missing field `count` at line"),
        ("networks.predictor", "bundle.json: networks: missing field `predictor` at line"),
        ("networks.refiner.inputs.v", "bundle.json: networks.refiner.inputs: missing field `v` at line"),
        ("image", "bundle.json: image: is missing, but networks has a decoder or an encoder"),
    ] {
        let error = error(Files::complete().remove(field).open());
        assert!(error.to_string().contains(message), "{error}");
        assert_eq!(error.kind(), InvalidBundle);
    }
    let mut files = Files::minimal();
    let error = error(files.set("image", json!({ "height": 64, "width": 128 })).open());
    assert!(error.to_string().contains("image: is there, but networks has neither"), "{error}");
}

#[test]
fn an_unknown_field_is_an_error_in_a_known_version_and_ignored_in_a_newer_minor_one() {
    for path in [
        "colour",
        "latent.chanels",
        "time.zone",
        "networks.upscaler",
        "networks.refiner.inputs.prompt",
        "networks.predictor.external_data.0.size",
        "sampling.presets.fast.steps",
        "classes.a\nb",
    ] {
        let shown = path.replace(".0.", "[0].").replace('\n', "\\n");
        let mut files = Files::complete();
        files.set(path, json!({ "anything": [1, null] }));
        let error = error(files.open());
        let message = format!("test files: bundle.json: {shown}: unknown field in format 1.0");
        assert_eq!(error.to_string(), message);
        assert_eq!(error.kind(), InvalidBundle);
        files.set("format_version", json!("1.7")).open().unwrap();
    }
}

#[test]
fn a_misspelt_field_is_reported_rather_than_the_missing_one() {
    let mut files = Files::complete();
    files.remove("latent.channels").set("latent.chanels", json!(4));
    let message = error(files.open()).to_string();
    assert!(message.ends_with("latent.chanels: unknown field in format 1.0"), "{message}");
}

#[test]
fn a_newer_major_version_is_refused_for_its_version_whatever_else_changed() {
    let mut files = Files::complete();
    files.set("format_version", json!("2.3")).set("latent", json!("gone")).set("colour", json!(1));
    let error = error(files.open());
    assert_eq!(error.kind(), Unsupported);
    let message = "test files: bundle.json: format_version: 2.3 is newer than 1.1, the version this build reads; \
                   update flowturbo";
    assert_eq!(error.to_string(), message);
}

#[test]
fn a_schedule_with_r_steps_needs_a_refiner() {
    let mut files = Files::minimal();
    let presets = json!({ "best": { "schedule": "H1R1", "guidance": 1 } });
    for (field, value, place) in
        [("schedule", json!("H1R1"), "schedule"), ("presets", presets, "presets.best.schedule")]
    {
        let error = error(files.clone().set(&format!("sampling.{field}"), value).open());
        let message =
            format!("bundle.json: sampling.{place}: \"H1R1\" has R steps, but networks has no refiner");
        assert!(error.to_string().ends_with(&message), "{error}");
        assert_eq!(error.kind(), InvalidBundle);
    }
    files.set("sampling.schedule", json!("E4P2")).open().unwrap();
}

#[test]
fn a_preset_has_a_plain_name() {
    let mut files = Files::complete();
    files.set("sampling.presets", json!({ "very fast": { "schedule": "H1", "guidance": 1 } }));
    let message = error(files.open()).to_string();
    assert!(message.contains("sampling.presets: must be 1 to 64 of"), "{message}");
}

#[test]
fn json_that_is_no_json_names_line_and_column() {
    let good = String::from_utf8(Files::complete().0[MANIFEST].clone()).unwrap();
    for (json, text) in [
        (String::new(), "EOF while parsing a value at line 1 column 0"),
        ("[]".into(), "invalid type: sequence, expected an object at line 1 column 0"),
        ("null".into(), "expected an object"),
        ("{} {}".into(), "missing field `format`"),
        (format!("{good}x"), "trailing characters at line"),
        (good.replace("\"MIT\"", "MIT"), "expected value at line"),
        (good.replace("0.25", "1e999"), "number out of range at line"),
        (good.replace("0.25", "NaN"), "expected value at line"),
        (good.replace("0.25", "0.25, \"shift\": 1"), "latent: duplicate field `shift` at line"),
        (good.replace("one line", "\u{1}"), "control character"),
        ("[".repeat(100_000), "expected an object"),
        (format!("{{\"a\":{}", "[".repeat(100_000)), "at line 1 column"),
    ] {
        let mut files = Files::complete();
        files.0.insert(MANIFEST.into(), json.into_bytes());
        let error = error(files.open());
        assert!(error.to_string().contains(text), "{text}: {error}");
        assert_eq!(error.kind(), InvalidBundle);
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    let mut files = Files::complete();
    files.0.insert(MANIFEST.into(), b"{\"format\": \"\xff\"}".to_vec());
    assert!(error(files.open()).to_string().contains("invalid unicode"));
}

#[test]
fn a_message_does_not_repeat_a_huge_input() {
    let huge = "h".repeat(100_000);
    for (field, value) in [
        ("name", json!(huge)),
        ("latent.channels", json!(huge)),
        ("time.direction", json!(huge)),
        ("format_version", json!(huge)),
    ] {
        let message = error(Files::complete().set(field, value).open()).to_string();
        assert!(message.len() < 500 && message.contains('…'), "{field}: {} bytes", message.len());
    }
}

#[test]
fn a_manifest_cut_anywhere_is_an_error() {
    let files = Files::complete();
    let good = files.0[MANIFEST].trim_ascii_end().to_vec();
    for length in 0..good.len() {
        let mut files = files.clone();
        files.0.insert(MANIFEST.into(), good[..length].to_vec());
        assert_eq!(error(files.open()).kind(), InvalidBundle, "cut to {length} bytes");
    }
}
