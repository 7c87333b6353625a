//! Broken models and senseless requests: each a one-line error that names file and field. After a bad
//! request the same session works.

use std::ops::ControlFlow;

use flowturbo_compile::tract_onnx;
use flowturbo_compile::tract_onnx::pb::NodeProto;

use crate::common::data;
use crate::copy::Copy;
use flowturbo::{
    Bundle, CancelToken, ErrorKind, Generation, Limits, Model, ModelOptions, Request, Result, Session,
};
use ndarray::Array4;

/// Loading fails with this kind, on one line that holds all these words.
fn refuses(copy: &Copy, kind: ErrorKind, words: &[&str]) {
    let error = copy.load().expect_err("this bundle is broken");
    let line = error.to_string();
    println!("{line}");
    assert_eq!(error.kind(), kind, "{line}");
    assert!(!line.contains('\n'), "{line}");
    for word in words {
        assert!(line.contains(word), "'{word}' is missing from: {line}");
    }
}

fn healthy() -> Model {
    Copy::new().load().unwrap()
}

fn sample(session: &mut Session, request: &Request) -> Result<Array4<f32>> {
    session.latents(request)
}

#[test]
fn a_truncated_graph_is_named() {
    for keep in [0, 1, 100, 10_000, 1_000_000] {
        let copy = Copy::new();
        copy.edit_predictor(|mut bytes| {
            bytes.truncate(keep);
            bytes
        });
        refuses(&copy, ErrorKind::InvalidBundle, &["predictor.onnx"]);
    }
}

#[test]
fn bytes_that_are_no_graph_are_refused_and_do_not_panic() {
    for seed in 0..20u64 {
        let copy = Copy::new();
        copy.edit_predictor(|_| {
            flowturbo::noise(seed, [1, 1, 8, 8]).unwrap().iter().flat_map(|f| f.to_le_bytes()).collect()
        });
        refuses(&copy, ErrorKind::InvalidBundle, &["predictor.onnx"]);
    }
}

#[test]
fn a_wrong_hash_names_the_file() {
    let copy = Copy::new();
    let path = copy.path().join("refiner.onnx");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
    refuses(&copy, ErrorKind::InvalidBundle, &["refiner.onnx", "SHA-256"]);
}

#[test]
fn a_shape_that_contradicts_the_manifest_names_the_tensor_and_both_shapes() {
    let copy = Copy::new();
    copy.edit_manifest(|m| m["latent"]["height"] = 32.into());
    refuses(
        &copy,
        ErrorKind::InvalidBundle,
        &["predictor.onnx", "'x'", "[N, 4, 16, 16]", "[2, 4, 32, 16]", "bundle.json"],
    );
}

#[test]
fn an_output_that_contradicts_the_manifest_is_named() {
    let copy = Copy::new();
    copy.edit_graph(|proto| {
        let graph = proto.graph.as_mut().unwrap();
        let output = graph.output[0].name.clone();
        graph
            .node
            .iter_mut()
            .flat_map(|n| &mut n.output)
            .filter(|n| **n == output)
            .for_each(|n| *n = "inner".into());
        let flatten = NodeProto {
            op_type: "Flatten".into(),
            input: vec!["inner".into()],
            output: vec![output],
            ..NodeProto::default()
        };
        graph.node.push(flatten);
        graph.output[0].r#type = None;
    });
    refuses(
        &copy,
        ErrorKind::InvalidBundle,
        &["predictor.onnx", "output 'velocity'", "1024", "[2, 4, 16, 16]"],
    );
}

#[test]
fn a_name_with_a_line_break_stays_on_one_line() {
    let copy = Copy::new();
    copy.edit_graph(|proto| {
        let graph = proto.graph.as_mut().unwrap();
        let names = graph.node.iter_mut().flat_map(|node| &mut node.input);
        names
            .chain(graph.input.iter_mut().map(|input| &mut input.name))
            .filter(|name| *name == "x")
            .for_each(|name| *name = "a\nb".into());
    });
    refuses(&copy, ErrorKind::InvalidBundle, &["predictor.onnx", "no input 'x'", "a\\nb"]);
}

#[test]
fn sizes_whose_product_is_absurd_are_refused_although_each_alone_is_not() {
    let copy = Copy::new();
    copy.edit_manifest(|m| {
        m["latent"] = serde_json::json!({ "channels": 256, "height": 8192, "width": 8192 })
    });
    refuses(&copy, ErrorKind::LimitExceeded, &["predictor", "max_tensor_bytes", "[2, 256, 8192, 8192]"]);

    let limits = Limits::default().with_max_tensor_bytes(3 * 4096);
    let bundle = Bundle::open_with(data("bundle"), &limits).unwrap();
    let model = Model::load(bundle, &ModelOptions::default()).unwrap();
    let error = sample(&mut model.session(), &Request::new(vec![0; 4])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
}

#[test]
fn a_default_schedule_beyond_the_limits_is_refused_on_opening() {
    let copy = Copy::new();
    copy.edit_manifest(|m| m["sampling"]["schedule"] = "E5000".into());
    refuses(&copy, ErrorKind::LimitExceeded, &["bundle.json", "sampling.schedule", "5000", "max_steps"]);
}

#[test]
fn a_name_that_the_graph_lacks_lists_those_it_has() {
    let copy = Copy::new();
    copy.edit_manifest(|m| m["networks"]["predictor"]["inputs"]["t"] = "time".into());
    refuses(&copy, ErrorKind::InvalidBundle, &["predictor.onnx", "no input 'time'", "x, t, y"]);
    let copy = Copy::new();
    copy.edit_manifest(|m| m["networks"]["predictor"]["output"] = "v".into());
    refuses(&copy, ErrorKind::InvalidBundle, &["predictor.onnx", "no output 'v'"]);
}

#[test]
fn nan_weights_name_file_and_weight() {
    let copy = Copy::new();
    let mut name = String::new();
    copy.edit_graph(|proto| {
        let tensors = &mut proto.graph.as_mut().unwrap().initializer;
        let largest = tensors.iter_mut().max_by_key(|tensor| tensor.raw_data.len()).unwrap();
        largest.raw_data[400..404].copy_from_slice(&f32::NAN.to_le_bytes());
        name = largest.name.clone();
    });
    refuses(&copy, ErrorKind::NonFinite, &["predictor.onnx", &name, "NaN"]);
}

#[test]
fn an_operator_that_tract_lacks_is_named_with_its_node() {
    let copy = Copy::new();
    let mut name = String::new();
    copy.edit_graph(|proto| {
        let node =
            proto.graph.as_mut().unwrap().node.iter_mut().find(|node| node.op_type == "Softmax").unwrap();
        node.op_type = "FancyMax".into();
        name = node.name.clone();
    });
    refuses(&copy, ErrorKind::Unsupported, &["predictor.onnx", "FancyMax", &name]);
}

#[test]
fn weights_outside_the_bundle_are_not_read() {
    let copy = Copy::new();
    copy.edit_graph(|proto| {
        let tensor = &mut proto.graph.as_mut().unwrap().initializer[0];
        tensor.raw_data.clear();
        tensor.data_location = Some(1);
        let entry = |key: &str, value: &str| tract_onnx::pb::StringStringEntryProto {
            key: key.into(),
            value: value.into(),
        };
        tensor.external_data = vec![entry("location", "../../etc/passwd")];
    });
    refuses(&copy, ErrorKind::InvalidBundle, &["predictor.onnx", "../../etc/passwd", "external_data"]);
}

#[test]
fn absurd_sizes_are_refused_before_anything_is_allocated() {
    for (field, value) in [("channels", 4_000_000_000u64), ("height", 1 << 30), ("width", 1 << 30)] {
        let copy = Copy::new();
        copy.edit_manifest(|m| m["latent"][field] = value.into());
        refuses(&copy, ErrorKind::LimitExceeded, &["bundle.json", "latent", field]);
    }
    let copy = Copy::new();
    copy.edit_manifest(|m| m["classes"]["count"] = 4_000_000_000u64.into());
    refuses(&copy, ErrorKind::LimitExceeded, &["bundle.json", "classes.count"]);
}

#[test]
fn a_refiner_step_needs_a_refiner() {
    let copy = Copy::new();
    copy.edit_manifest(|m| {
        m["networks"].as_object_mut().unwrap().remove("refiner");
    });
    refuses(&copy, ErrorKind::InvalidBundle, &["bundle.json", "sampling.schedule", "refiner"]);

    copy.edit_manifest(|m| m["sampling"]["schedule"] = "H1P5".into());
    let model = copy.load().unwrap();
    let mut session = model.session();
    let with_refiner = Request::new(vec![0]).with_schedule("H1R1".parse().unwrap());
    let error = sample(&mut session, &with_refiner).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("no refiner (networks.refiner in bundle.json)"), "{error}");
    sample(&mut session, &Request::new(vec![0])).unwrap();
}

#[test]
fn senseless_requests_say_what_is_wrong_and_the_session_goes_on() {
    let model = healthy();
    let mut session = model.session();
    let one = || Request::new(vec![0]);
    let mut noise = flowturbo::noise(0, [1, 4, 16, 16]).unwrap();
    let small = noise.slice(ndarray::s![.., .., ..8, ..]).to_owned();
    noise[[0, 1, 2, 3]] = f32::NAN;
    let long = "E1001".parse().unwrap();
    for (request, kind, words) in [
        (Request::new(vec![]), ErrorKind::InvalidArgument, "classes: empty"),
        (
            Request::new(vec![11]),
            ErrorKind::InvalidArgument,
            "class 11 is out of range; this bundle has classes 0 to 9, and 10",
        ),
        (Request::new(vec![0, -1]), ErrorKind::InvalidArgument, "class -1 is out of range"),
        (
            Request::new(vec![0; 257]),
            ErrorKind::LimitExceeded,
            "batch of 257 images, above the limit of 256 (max_batch)",
        ),
        (one().with_guidance(f32::NAN), ErrorKind::InvalidArgument, "guidance NaN: must be a finite number"),
        (one().with_guidance(-1.0), ErrorKind::InvalidArgument, "guidance -1"),
        (
            one().with_noise(small),
            ErrorKind::InvalidArgument,
            "noise: shape [1, 4, 8, 16], must be [1, 4, 16, 16]",
        ),
        (one().with_noise(noise), ErrorKind::NonFinite, "noise: holds a number that is not finite"),
        (
            one().with_schedule(long),
            ErrorKind::LimitExceeded,
            "schedule has 1001 steps, above the limit of 1000 (max_steps)",
        ),
    ] {
        let error = sample(&mut session, &request).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(session.prepare(&request, flowturbo::Output::Latents).is_err());
    }
    assert!(sample(&mut session, &one()).is_ok());
}

#[test]
fn a_state_that_overflows_names_its_step() {
    let mut session = healthy().session();
    let request = Request::new(vec![0]).with_guidance(f32::MAX).with_schedule("H3".parse().unwrap());
    let error = sample(&mut session, &request).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NonFinite, "{error}");
    assert!(error.to_string().starts_with("step 1 of 3 (H)"), "{error}");
    assert!(sample(&mut session, &Request::new(vec![0])).is_ok());
}

#[test]
fn a_cancelled_generation_stops_and_the_session_goes_on_with_the_same_numbers() {
    let mut session = healthy().session();
    let expected = sample(&mut session, &Request::new(vec![3])).unwrap();
    let token = CancelToken::new();
    let request = Request::new(vec![3]).with_cancel(token.clone());
    let mut seen = 0;
    let stopped = session.latents_with(&request, &mut |_| {
        seen += 1;
        token.cancel();
        ControlFlow::Continue(())
    });
    assert_eq!(stopped.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(seen, 1);
    let refused = session.latents_with(&Request::new(vec![3]), &mut |_| ControlFlow::Break(()));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Cancelled);
    token.reset();
    assert_eq!(sample(&mut session, &request).unwrap(), expected);
}

#[test]
fn a_null_class_that_the_label_table_lacks_is_an_error_of_that_network() {
    let copy = Copy::new();
    copy.edit_manifest(|m| m["classes"]["null"] = 500.into());
    let model = copy.load().unwrap();
    let mut session = model.session();
    let error = sample(&mut session, &Request::new(vec![0])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Runtime, "{error}");
    assert!(error.to_string().starts_with("predictor.onnx: "), "{error}");
    assert!(sample(&mut session, &Request::new(vec![0]).with_guidance(1.0)).is_ok());
}

#[test]
fn a_bundle_without_a_decoder_still_gives_latents() {
    let mut session = healthy().session();
    let asked: Result<Generation> = session.generate(&Request::new(vec![0]));
    assert!(asked.unwrap_err().to_string().contains("'tiny-sit' has no decoder"));
    let latents = sample(&mut session, &Request::new(vec![0])).unwrap();
    assert!(session.decode(latents.view()).unwrap_err().to_string().contains("no decoder"));
}

#[test]
fn a_misspelt_class_gets_the_nearest_and_the_known_ones() {
    let copy = Copy::new();
    let labels = ["ant", "bee", "cow", "dog", "eel", "fox", "gnu", "hen", "ibex", "jay"];
    copy.edit_manifest(|m| m["classes"]["labels"] = serde_json::json!(labels));
    let model = copy.load().unwrap();
    assert_eq!(
        (model.class("Fox").unwrap(), model.class("7").unwrap(), model.class("10").unwrap()),
        (5, 7, 10)
    );
    for (name, words) in [
        ("ibx", "nearest is 'ibex', known are ant, bee, cow"),
        ("11", "this bundle has classes 0 to 9, and 10 for no class"),
        ("-1", "this bundle has classes 0 to 9"),
        ("", "no class ''; known are ant, bee, cow"),
    ] {
        let error = model.class(name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains(words), "{error}");
    }
    let none = healthy().class("fox").unwrap_err().to_string();
    assert!(none.contains("classes 0 to 9, and 10 for no class; there are no labels"), "{none}");
}
