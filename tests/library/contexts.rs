//! Models that take contexts: golden numbers, and contexts wherever a request may have them.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use flowturbo::{
    BackendKind, Bundle, ErrorKind, Limits, Model, ModelOptions, Output, PlanOptions, Request, Role, Seamless,
};
use ndarray::{Array, Array2, Array3, Array4, ArrayD, Axis, Dimension, Slice};
use ndarray_npy::NpzReader;
use serde_json::{Value, json};

use crate::common::largest_error;
use crate::copy::Copy;

const TOLERANCE: f32 = 2e-4;
/// Floats of a context, and its tokens where it has some.
const WIDTH: usize = 12;
const TOKENS: usize = 7;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/contexts").join(name)
}

fn load(bundle: Bundle) -> Model {
    Model::load(bundle, &ModelOptions::default().with_threads(2)).unwrap()
}

fn model(name: &str) -> Model {
    load(Bundle::open(data(name)).unwrap())
}

/// A case of `golden.json`: which bundle, the request, and the states after each step.
struct Case {
    bundle: String,
    request: Request,
    states: ArrayD<f32>,
}

fn cases() -> Vec<Case> {
    let cases: Vec<Value> = serde_json::from_reader(File::open(data("golden.json")).unwrap()).unwrap();
    let mut archive = NpzReader::new(File::open(data("golden.npz")).unwrap()).unwrap();
    let names = archive.names().unwrap();
    let mut array = |i: usize, name: &str| -> Option<ArrayD<f32>> {
        let name = format!("case{i}_{name}");
        names.contains(&name).then(|| archive.by_name(&name).unwrap())
    };
    let case = |(i, case): (usize, &Value)| {
        let classes = case["classes"].as_array().unwrap().iter().map(|class| class.as_i64().unwrap());
        let request = Request::new(classes.collect())
            .with_noise(array(i, "noise").unwrap().into_dimensionality().unwrap())
            .with_schedule(case["schedule"].as_str().unwrap().parse().unwrap())
            .with_guidance(case["guidance"].as_f64().unwrap() as f32);
        let mut request = request;
        (request.context, request.negative_context) = (array(i, "context"), array(i, "negative"));
        let bundle = case["bundle"].as_str().unwrap().to_owned();
        Case { bundle, request, states: array(i, "traj").unwrap() }
    };
    cases.iter().enumerate().map(case).collect()
}

/// The largest error over the states after every step.
fn trajectory_error(model: &Model, request: &Request, states: &ArrayD<f32>) -> f32 {
    let mut worst = 0.0f32;
    let latents = model.session().latents_with(request, &mut |progress| {
        let state = states.index_axis(Axis(0), progress.step - 1);
        worst = worst.max(largest_error(progress.latent.iter(), state.iter()));
        ControlFlow::Continue(())
    });
    let last = states.index_axis(Axis(0), states.len_of(Axis(0)) - 1);
    worst.max(largest_error(latents.unwrap().iter(), last.iter()))
}

/// Holds every case of a bundle to its golden states.
fn check_all(model: &Model, bundle: &str, source: &str) {
    let cases = cases();
    let of_it: Vec<_> = cases.iter().filter(|case| case.bundle == bundle).collect();
    assert_eq!(of_it.len(), 4);
    for (i, Case { request, states, .. }) in of_it.into_iter().enumerate() {
        let error = trajectory_error(model, request, states);
        println!("{source} {bundle} {i}: {error:.1e}");
        assert!(error < TOLERANCE, "{source} {bundle} {i}: {error}");
    }
}

/// A context of noise for each image.
fn contexts(images: usize, seed: u64) -> Array2<f32> {
    let noise = flowturbo::noise(seed, [1, 1, images, WIDTH]).unwrap();
    noise.into_shape_with_order((images, WIDTH)).unwrap()
}

fn tokens(images: usize, seed: u64) -> Array3<f32> {
    let noise = flowturbo::noise(seed, [1, images, TOKENS, WIDTH]).unwrap();
    noise.into_shape_with_order((images, TOKENS, WIDTH)).unwrap()
}

/// One of several images' contexts, by itself.
fn only<D: Dimension>(contexts: &Array<f32, D>, image: usize) -> ArrayD<f32> {
    contexts.slice_axis(Axis(0), Slice::from(image..image + 1)).to_owned().into_dyn()
}

#[test]
fn every_state_agrees_with_the_sampler_over_onnx_runtime() {
    for bundle in ["pooled", "tokens"] {
        let model = model(bundle);
        for role in [Role::Predictor, Role::Refiner] {
            assert_eq!(model.fallbacks(role, 2).unwrap(), [], "{bundle} {role}");
        }
        check_all(&model, bundle, "folder");
        model.release_conditioning();
        check_all(&model, bundle, "known conditions, weights released");
        let options = ModelOptions::default().with_release_conditioning(true);
        check_all(&Model::load(Bundle::open(data(bundle)).unwrap(), &options).unwrap(), bundle, "released");
        let options = ModelOptions::default().with_backend(BackendKind::Reference);
        check_all(&Model::load(Bundle::open(data(bundle)).unwrap(), &options).unwrap(), bundle, "reference");
    }
}

#[test]
fn another_context_is_another_image() {
    for Case { bundle, request, states } in cases() {
        let Some(context) = &request.context else { continue };
        let model = model(&bundle);
        let error = trajectory_error(&model, &request.clone().with_context(context + 1.0), &states);
        assert!(error > 20.0 * TOLERANCE, "{bundle}: {error}");
        if context.len_of(Axis(0)) > 1 {
            let mut turned = context.clone();
            turned.invert_axis(Axis(0));
            let error = trajectory_error(&model, &request.clone().with_context(turned), &states);
            assert!(error > 20.0 * TOLERANCE, "{bundle}, another image's: {error}");
        }
        if request.guidance != Some(1.0) {
            let away = request.clone().with_negative_context(context + 1.0);
            let error = trajectory_error(&model, &away, &states);
            assert!(error > 20.0 * TOLERANCE, "{bundle}, away from another one: {error}");
        }
    }
}

#[test]
fn one_context_for_all_is_one_for_each_and_none_is_zeros() {
    for bundle in ["pooled", "tokens"] {
        let model = model(bundle);
        let one = match bundle {
            "pooled" => contexts(1, 1).into_dyn(),
            _ => tokens(1, 1).into_dyn(),
        };
        let each = ndarray::concatenate(Axis(0), &[one.view(), one.view()]).unwrap();
        let zeros = ArrayD::zeros(one.raw_dim());
        let plain = Request::new(vec![0, 0]);
        let latents = |request: &Request| model.session().latents(request).unwrap();
        let wanted = latents(&plain.clone().with_context(one.clone()));
        for same in [
            plain.clone().with_context(each),
            plain.clone().with_context(one.clone()).with_negative_context(zeros.clone()),
        ] {
            assert_eq!(latents(&same), wanted, "{bundle}");
        }
        assert_eq!(latents(&plain), latents(&plain.clone().with_context(zeros)), "{bundle}");
        assert_ne!(latents(&plain), wanted);
        // At guidance 1 nothing is gone away from.
        let unguided = plain.with_guidance(1.0).with_context(one.clone());
        assert_eq!(latents(&unguided.clone().with_negative_context(one)), latents(&unguided));
    }
}

/// Each image of a batch is the one that a request for it alone makes, wherever networks see images in parts, and
/// whatever else a request asks for.
#[test]
fn every_image_keeps_its_own_context() {
    let model = model("pooled");
    let (given, away) = (contexts(2, 3), contexts(2, 4));
    let image = |seed| {
        Array4::from_shape_fn((1, 3, 16, 16), |(_, c, y, x)| {
            (((seed + c * 5 + y * 3 + x) % 13) as f32 / 6.0 - 1.0).clamp(-1.0, 1.0)
        })
    };
    let mask = Array3::from_shape_fn((1, 16, 16), |(_, _, x)| if x < 8 { 0.0 } else { 1.0 });
    let plain = Request::new(vec![0, 2]).with_seed(5);
    let requests = [
        plain.clone(),
        plain.clone().with_guidance(1.0),
        plain.clone().with_seamless(Seamless::Both),
        plain.clone().with_size(24, 32),
        plain.clone().with_size(32, 16).with_seamless(Seamless::Y),
        plain.clone().with_morph(1, 0.4),
        plain.clone().with_init(image(0), 0.6),
        plain.clone().with_init(image(1), 1.0).with_mask(mask),
        plain.clone().with_schedule("E1P1R2".parse().unwrap()),
        plain.with_variation(9, 0.3),
    ];
    for (i, request) in requests.into_iter().enumerate() {
        let both = request.clone().with_context(given.clone()).with_negative_context(away.clone());
        let latents = model.session().latents(&both).unwrap();
        let mut alone = Vec::new();
        for image in 0..2 {
            let mut one = request.clone().with_streams(vec![image as u64]);
            one.classes = vec![request.classes[image]];
            one.morphs.truncate(1);
            one.context = Some(only(&given, image));
            one.negative_context = Some(only(&away, image));
            alone.push(model.session().latents(&one).unwrap());
        }
        let alone = ndarray::concatenate(Axis(0), &[alone[0].view(), alone[1].view()]).unwrap();
        let error = largest_error(&latents, &alone);
        assert!(error < 1e-4, "request {i}: {error}");
        // The test can tell contexts apart.
        let mut turned = given.clone();
        turned.invert_axis(Axis(0));
        let error = largest_error(&model.session().latents(&both.with_context(turned)).unwrap(), &alone);
        assert!(error > 1e-2, "request {i}: {error}");
    }
}

#[test]
fn a_generation_in_small_steps_is_the_one_at_once() {
    for (bundle, context) in [("pooled", contexts(2, 7).into_dyn()), ("tokens", tokens(2, 7).into_dyn())] {
        let model = model(bundle);
        let request = Request::new(vec![0, 0]).with_context(context);
        let wanted = self::model(bundle).session().latents(&request).unwrap();
        let mut session = model.session();
        session.prepare(&request, Output::Latents).unwrap();
        session.begin(&request, Output::Latents).unwrap();
        let observer = &mut |_: &flowturbo::Progress| ControlFlow::Continue(());
        while !session.step(Some(std::time::Duration::ZERO), observer).unwrap() {}
        assert_eq!(session.last_latents().unwrap(), wanted, "{bundle}");
    }
}

#[test]
fn memory_is_told_with_the_contexts() {
    for (bundle, context) in [("pooled", contexts(2, 7).into_dyn()), ("tokens", tokens(2, 7).into_dyn())] {
        let model = model(bundle);
        let (one, two) = (context.len() / 2, context.len());
        let plain = Request::new(vec![0, 0]);
        let session = |request: &Request| model.prepare(request, Output::Latents).unwrap().session;
        let more = session(&plain.clone().with_context(context)) - session(&plain);
        assert_eq!(more, 4 * (two - one), "{bundle}");
    }
}

fn planned(bundle: &str, options: &PlanOptions) -> Bundle {
    let mut bytes = Vec::new();
    flowturbo::compile(Bundle::open(data(bundle)).unwrap(), options, &mut bytes).unwrap();
    Bundle::from_bytes(bytes, &Limits::default()).unwrap()
}

#[test]
fn a_plan_takes_contexts_as_its_bundle_does() {
    for bundle in ["pooled", "tokens"] {
        let plan = load(planned(bundle, &PlanOptions::default().with_batches(vec![1, 2])));
        check_all(&plan, bundle, "plan");
        let whole = model(bundle);
        for Case { request, .. } in cases().into_iter().filter(|case| case.bundle == bundle) {
            if request.classes.len() > 2 {
                continue;
            }
            let [ours, theirs] = [&plan, &whole].map(|model| model.session().latents(&request).unwrap());
            assert_eq!(ours, theirs);
        }
    }
}

#[test]
fn a_plan_of_some_classes_knows_the_context_of_no_prompt() {
    let plan = load(planned("pooled", &PlanOptions::default().with_classes(vec![1])));
    let whole = model("pooled");
    let request = Request::new(vec![1]);
    let latents = |model: &Model, request: &Request| model.session().latents(request);
    assert_eq!(latents(&plan, &request).unwrap(), latents(&whole, &request).unwrap());
    let zeros = request.clone().with_context(Array2::zeros((1, WIDTH)));
    assert_eq!(latents(&plan, &zeros).unwrap(), latents(&whole, &request).unwrap());
    let others = [
        request.clone().with_context(contexts(1, 1)),
        request.clone().with_negative_context(contexts(1, 1)),
        // Another context is one of other bits.
        request.clone().with_context(Array2::from_elem((1, WIDTH), -0.0)),
    ];
    for other in others {
        let error = latents(&plan, &other).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let expected = "predictor.onnx: the context was not planned; the plan has that of no prompt \
                        (compile it without --classes for others)";
        assert_eq!(error.to_string(), expected);
    }
    let error = latents(&plan, &Request::new(vec![2])).unwrap_err().to_string();
    assert!(error.contains("class 2 was not planned; the plan has the classes 1, 3"), "{error}");

    // Tokens are an input of every call, so a plan of times alone takes any.
    let plan = load(planned("tokens", &PlanOptions::default().with_classes(vec![0])));
    let request = Request::new(vec![0]).with_context(tokens(1, 2));
    assert_eq!(latents(&plan, &request).unwrap(), latents(&model("tokens"), &request).unwrap());
}

#[test]
fn contexts_of_another_shape_or_without_a_number_are_refused_in_one_line() {
    let (pooled, tokened) = (model("pooled"), model("tokens"));
    let tiny = load(Bundle::open(crate::common::data("bundle")).unwrap());
    let request = || Request::new(vec![0, 0]);
    let mut nan = contexts(2, 1);
    nan[[1, 11]] = f32::NAN;
    for (model, request, kind, message) in [
        (
            &pooled,
            request().with_context(contexts(3, 1)),
            ErrorKind::InvalidArgument,
            "context: shape [3, 12], must be [2, 12], or [1, 12] for all",
        ),
        (
            &pooled,
            request().with_context(Array2::zeros((2, 11))),
            ErrorKind::InvalidArgument,
            "context: shape [2, 11], must be [2, 12], or [1, 12] for all",
        ),
        (
            &pooled,
            request().with_context(ndarray::arr0(1.0)),
            ErrorKind::InvalidArgument,
            "context: shape [], must be [2, 12], or [1, 12] for all",
        ),
        (
            &pooled,
            request().with_context(tokens(2, 1)),
            ErrorKind::InvalidArgument,
            "context: shape [2, 7, 12], must be [2, 12], or [1, 12] for all",
        ),
        (
            &pooled,
            request().with_negative_context(Array2::zeros((0, 12))),
            ErrorKind::InvalidArgument,
            "negative context: shape [0, 12], must be [2, 12], or [1, 12] for all",
        ),
        (
            &tokened,
            request().with_context(contexts(2, 1)),
            ErrorKind::InvalidArgument,
            "context: shape [2, 12], must be [2, 7, 12], or [1, 7, 12] for all",
        ),
        (
            &pooled,
            request().with_context(nan.clone()),
            ErrorKind::NonFinite,
            "context: holds a number that is not finite",
        ),
        (
            &pooled,
            request().with_negative_context(nan),
            ErrorKind::NonFinite,
            "negative context: holds a number that is not finite",
        ),
        (
            &tiny,
            request().with_context(contexts(2, 1)),
            ErrorKind::InvalidArgument,
            "context: this model takes no contexts (text in bundle.json)",
        ),
        (
            &tiny,
            request().with_negative_context(contexts(2, 1)),
            ErrorKind::InvalidArgument,
            "negative context: this model takes no contexts (text in bundle.json)",
        ),
    ] {
        let error = model.session().latents(&request).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (kind, message));
    }
}

#[test]
fn a_network_that_takes_another_context_than_the_manifest_says_is_refused() {
    for (text, message) in [
        (json!({ "width": 11 }), "input 'context'"),
        (json!({ "width": 12, "tokens": 7 }), "input 'context'"),
    ] {
        let copy = Copy::of(&data("pooled"));
        copy.edit_manifest(|manifest| manifest["text"] = text);
        let error = copy.load().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidBundle);
        assert!(error.to_string().contains(message), "{error}");
    }
    // A graph's input that the manifest does not list.
    let copy = Copy::of(&data("pooled"));
    copy.edit_manifest(|m| _ = m["networks"]["refiner"]["inputs"].as_object_mut().unwrap().remove("context"));
    let error = copy.load().unwrap_err().to_string();
    assert!(error.contains("refiner.onnx") && error.contains("context"), "{error}");
}
