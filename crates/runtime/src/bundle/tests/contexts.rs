//! What `bundle.json` says of contexts and of their text encoder, good and bad.

use serde_json::{Value, json};

use super::super::manifest::NoPrompt;
use super::super::testing::Files;
use super::super::*;
use super::error;
use crate::ErrorKind::{self, InvalidBundle, LimitExceeded};

#[test]
fn contexts_are_read_with_the_documented_defaults() {
    let bundle = Files::with_text().open().unwrap();
    let m = bundle.manifest();
    let text = m.text.as_ref().unwrap();
    assert_eq!((text.width, text.tokens, text.max_tokens), (6, Some(5), 32));
    assert_eq!(text.no_prompt, NoPrompt::Empty);
    assert_eq!(m.context_shape(), Some(vec![5, 6]));
    assert_eq!(m.networks.predictor.inputs.context.as_deref(), Some("context"));
    assert_eq!(m.networks.refiner.as_ref().unwrap().inputs.context.as_deref(), Some("context"));
    let inputs = &m.networks.text.as_ref().unwrap().inputs;
    assert_eq!((inputs.mask.as_deref(), inputs.types.as_deref()), (Some("mask"), Some("types")));
    assert!(m.has(Role::Text) && m.file(Role::Text) == "text.onnx");

    let mut files = Files::with_text();
    files.remove("networks.text").set("text", json!({ "width": 6 }));
    let bundle = files.open().unwrap();
    let m = bundle.manifest();
    let text = m.text.as_ref().unwrap();
    assert_eq!((text.tokens, text.max_tokens, text.no_prompt), (None, 128, NoPrompt::Zeros));
    assert!(text.tokenizer.is_none() && !m.has(Role::Text));
    assert_eq!(m.context_shape(), Some(vec![6]));
}

#[test]
fn each_broken_rule_of_contexts_names_its_field() {
    let cases: &[(&str, Value, ErrorKind, &str)] = &[
        ("text", json!(null), InvalidBundle, "invalid type: null, expected an object"),
        ("text", json!({}), InvalidBundle, "missing field `width`"),
        ("text.width", json!(0), InvalidBundle, "must be at least 1, is 0"),
        ("text.width", json!(8193), LimitExceeded, "is 8193, above the limit of 8192 (max_edge)"),
        ("text.tokens", json!(0), InvalidBundle, "must be at least 1, is 0"),
        ("text.tokens", json!(null), InvalidBundle, "invalid type: null"),
        ("text.tokens", json!(9000), LimitExceeded, "is 9000, above the limit of 8192 (max_edge)"),
        ("text.max_tokens", json!(0), InvalidBundle, "must be at least 1, is 0"),
        ("text.max_tokens", json!(1 << 20), LimitExceeded, "above the limit of 8192 (max_edge)"),
        ("text.no_prompt", json!("none"), InvalidBundle, "must be \"zeros\" or \"empty\", is \"none\""),
        ("text.tokenizer", json!("tokenizer.json"), InvalidBundle, "expected an object"),
        ("text.tokenizer.file", json!("../a"), InvalidBundle, "must be a flat name"),
        ("text.tokenizer.sha256", json!("ab"), InvalidBundle, "must be 64 lower-case hex digits"),
        ("networks.predictor.inputs.context", json!(""), InvalidBundle, "must not be empty"),
        ("networks.refiner.inputs.context", json!("v"), InvalidBundle, "repeats the tensor \"v\""),
        ("networks.text.inputs.mask", json!("tokens"), InvalidBundle, "repeats the tensor \"tokens\""),
        ("networks.text.output", json!(""), InvalidBundle, "must not be empty"),
    ];
    for (field, value, kind, text) in cases {
        let error = error(Files::with_text().set(field, value.clone()).open());
        let message = error.to_string();
        assert!(message.starts_with(&format!("test files: bundle.json: {field}: ")), "{field}: {message}");
        assert!(message.contains(text) && !message.contains('\n'), "{field}: {message}");
        assert_eq!(error.kind(), *kind, "{message}");
    }
    // What is taken away, and what that makes of the rest.
    let cases: &[(&[&str], &str)] = &[
        (&["text"], "networks.predictor.inputs.context: is there, but nothing says what a context is (text)"),
        (
            &["text", "networks.predictor.inputs.context"],
            "networks.refiner.inputs.context: is there, but nothing says what a context is (text)",
        ),
        (
            &["text", "networks.predictor.inputs.context", "networks.refiner.inputs.context"],
            "networks.text: is there, but nothing says what a context is (text)",
        ),
        (
            &["networks.predictor.inputs.context"],
            "text: is there, but the predictor takes no context (networks.predictor.inputs has no context)",
        ),
        (
            &["networks.text"],
            "text.tokenizer: is there, but there is no network for its tokens (networks.text)",
        ),
        (&["text.tokenizer"], "networks.text: is there, but nothing makes tokens for it (text.tokenizer)"),
        (
            &["text.tokenizer", "networks.text"],
            "text.no_prompt: is \"empty\", but there is no network that encodes the empty prompt (networks.text)",
        ),
        (&["networks.refiner.inputs.context"], ""),
        (&["networks.text.inputs.mask", "networks.text.inputs.types"], ""),
    ];
    for (fields, expected) in cases {
        let mut files = Files::with_text();
        fields.iter().for_each(|field| _ = files.remove(field));
        let message = files.open().err().map_or_else(String::new, |error| error.to_string());
        assert!(message.ends_with(expected) && message.is_empty() == expected.is_empty(), "{message}");
    }
}

#[test]
fn fields_of_1_1_are_in_no_bundle_of_1_0() {
    for (left_out, field) in [
        (&[][..], "text"),
        (&["text"], "networks.text"),
        (&["text", "networks.text"], "networks.predictor.inputs.context"),
        (&["text", "networks.text", "networks.predictor.inputs.context"], "networks.refiner.inputs.context"),
    ] {
        let mut files = Files::with_text();
        left_out.iter().for_each(|field| _ = files.remove(field));
        let message = error(files.set("format_version", json!("1.0")).open()).to_string();
        let expected = format!("{field}: is a field of format 1.1, but format_version is 1.0");
        assert!(message.ends_with(&expected), "{message}");
    }
}

#[test]
fn a_predictor_of_contexts_alone_is_guided_without_a_null_class() {
    let mut files = Files::with_text();
    files.remove("networks.predictor.inputs.y").set("classes", json!({ "count": 1 }));
    let bundle = files.open().unwrap();
    assert!(bundle.manifest().can_be_guided() && bundle.manifest().sampling.guidance == 4.0);
    // Where there are classes too, "no class" is one of them.
    let mut files = Files::with_text();
    files.remove("classes.null");
    let message = error(files.open()).to_string();
    assert!(message.contains("sampling.guidance: must be 1, since classes has no null"), "{message}");
    files.set("sampling.guidance", json!(1)).set("sampling.presets", json!({}));
    assert!(!files.open().unwrap().manifest().can_be_guided());
}

#[test]
fn a_tokenizer_is_one_of_the_files() {
    let files = Files::with_text();
    let bundle = files.open().unwrap();
    bundle.verify().unwrap();
    let mut zip = Vec::new();
    bundle.write_zip(&mut zip).unwrap();
    Bundle::from_bytes(zip, &Limits::default()).unwrap().verify().unwrap();
    let mut gone = files.clone();
    gone.0.remove("tokenizer.json");
    let message = error(gone.open()).to_string();
    let expected = "tokenizer.json: no such file, but bundle.json (text.tokenizer.file) lists it";
    assert!(message.ends_with(expected), "{message}");
    let mut damaged = files;
    damaged.0.insert("tokenizer.json".into(), b"another one".to_vec());
    let message = error(damaged.open().unwrap().verify()).to_string();
    assert!(message.contains("tokenizer.json: SHA-256 is"), "{message}");
}
