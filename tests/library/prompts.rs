//! Models with a text encoder: prompts to contexts, and requests with prompts.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flowturbo::{
    BackendKind, Bundle, CancelToken, ErrorKind, Limits, Model, ModelOptions, Output, PlanOptions, Request,
    Role,
};
use ndarray::{Array2, ArrayD, Axis};
use ndarray_npy::NpzReader;
use serde_json::{Value, json};

use crate::bundle::sha256;
use crate::common::largest_error;
use crate::copy::Copy;

const TOLERANCE: f32 = 2e-4;
const WIDTH: usize = 12;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/prompts").join(name)
}

fn load(bundle: Bundle) -> Model {
    Model::load(bundle, &ModelOptions::default().with_threads(2)).unwrap()
}

fn model() -> Model {
    load(Bundle::open(data("bundle")).unwrap())
}

fn read(name: &str) -> Vec<Value> {
    serde_json::from_reader(File::open(data(name)).unwrap()).unwrap()
}

fn golden(name: &str) -> ArrayD<f32> {
    NpzReader::new(File::open(data("golden.npz")).unwrap()).unwrap().by_name(name).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn phrases() -> Vec<String> {
    read("phrases.json").iter().map(|phrase| text(&phrase["text"])).collect()
}

/// The requests of `golden.json`.
fn cases() -> Vec<Request> {
    let case = |(i, case): (usize, &Value)| {
        let list = |name: &str| case[name].as_array().unwrap();
        let mut request = Request::of_prompts(list("prompts").iter().map(text));
        request.classes = list("classes").iter().map(|class| class.as_i64().unwrap()).collect();
        request.negative_prompt = case["negative"].as_str().map(str::to_owned);
        request
            .with_noise(golden(&format!("case{i}_noise")).into_dimensionality().unwrap())
            .with_schedule(case["schedule"].as_str().unwrap().parse().unwrap())
            .with_guidance(case["guidance"].as_f64().unwrap() as f32)
    };
    read("golden.json").iter().enumerate().map(case).collect()
}

fn check_all(model: &Model, source: &str) {
    let contexts = model.session().encode_prompts(&phrases()).unwrap();
    let error = largest_error(&contexts, &golden("contexts"));
    println!("{source}: contexts {error:.1e}");
    assert!(error < 1e-5, "{source}: {error}");
    for (i, request) in cases().iter().enumerate() {
        let (states, mut worst) = (golden(&format!("case{i}_traj")), 0.0f32);
        let mut session = model.session();
        let sampled = session.latents_with(request, &mut |progress| {
            let state = states.index_axis(Axis(0), progress.step - 1);
            worst = worst.max(largest_error(progress.latent.iter(), state.iter()));
            ControlFlow::Continue(())
        });
        sampled.unwrap();
        println!("{source} {i}: {worst:.1e}");
        assert!(worst < TOLERANCE, "{source} {i}: {worst}");
    }
}

#[test]
fn contexts_and_states_agree_with_the_tokenizers_package_and_onnx_runtime() {
    let model = model();
    assert_eq!(model.fallbacks(Role::Text, 1).unwrap(), []);
    check_all(&model, "folder");
    let options = ModelOptions::default().with_backend(BackendKind::Reference);
    check_all(&Model::load(Bundle::open(data("bundle")).unwrap(), &options).unwrap(), "reference");
    let options = ModelOptions::default().with_deterministic(true);
    check_all(&Model::load(Bundle::open(data("bundle")).unwrap(), &options).unwrap(), "deterministic");
}

#[test]
fn a_prompt_is_its_context_and_another_one_is_another_image() {
    let (model, plain) = (model(), Request::new(vec![0, 2]).with_seed(3));
    let mut session = model.session();
    let contexts = session.encode_prompts(&["moss", "wet sand", "rust"]).unwrap();
    assert_eq!(contexts.shape(), [3, WIDTH]);
    let one = |i: usize| contexts.slice_axis(Axis(0), (i..i + 1).into()).to_owned();
    let mut latents = |request: &Request| session.latents(request).unwrap();
    let of_prompts = latents(&plain.clone().with_prompt("moss").with_negative_prompt("rust"));
    let of_contexts = latents(&plain.clone().with_context(one(0)).with_negative_context(one(2)));
    assert_eq!(of_prompts, of_contexts);
    for other in [plain.clone(), plain.clone().with_prompt("moss"), plain.clone().with_prompt("wet sand")] {
        assert!(largest_error(&latents(&other), &of_prompts) > 1e-2);
    }
    // One for each image, and no class: that which stands for none.
    let each = Request::of_prompts(["moss", "wet sand"]).with_seed(3);
    let both = contexts.slice_axis(Axis(0), (0..2).into()).to_owned();
    assert_eq!(latents(&each), latents(&Request::new(vec![3, 3]).with_seed(3).with_context(both)));
}

#[test]
fn what_a_prompt_has_beyond_the_most_tokens_is_left_out() {
    let (model, words) = (model(), "stone wall ".repeat(7));
    let contexts = |prompts: &[String]| model.session().encode_prompts(prompts).unwrap();
    let [whole, longer] =
        [words.clone(), format!("{words}and a great deal more")].map(|words| contexts(&[words]));
    assert_eq!(whole, longer);
    assert!(largest_error(&whole, &contexts(&["stone wall ".repeat(6)])) > 1e-3);
}

#[test]
fn no_prompt_may_be_the_empty_one() {
    let copy = Copy::of(&data("bundle"));
    copy.edit_manifest(|manifest| manifest["text"]["no_prompt"] = json!("empty"));
    let (empty, zeros) = (copy.load().unwrap(), model());
    let plain = Request::new(vec![1]).with_seed(5);
    let latents = |model: &Model, request: &Request| model.session().latents(request).unwrap();
    let both = plain.clone().with_prompt("").with_negative_prompt("");
    assert_eq!(latents(&empty, &plain), latents(&zeros, &both));
    assert_eq!(
        latents(&zeros, &plain),
        latents(&zeros, &plain.clone().with_context(Array2::zeros((1, WIDTH))))
    );
    assert!(largest_error(&latents(&empty, &plain), &latents(&zeros, &plain)) > 1e-2);
}

#[test]
fn a_generation_in_small_steps_encodes_its_prompts_in_them() {
    let request = Request::of_prompts(["moss", "wet sand"]).with_negative_prompt("rust");
    let wanted = model().session().latents(&request).unwrap();
    let model = model();
    let mut session = model.session();
    session.begin(&request, Output::Latents).unwrap();
    let observer = &mut |_: &flowturbo::Progress| ControlFlow::Continue(());
    let mut before = 0;
    while !session.step(Some(Duration::ZERO), observer).unwrap() {
        before += usize::from(session.steps().unwrap().0 == 0);
    }
    // Three prompts, each of many operations.
    assert!(before > 60, "{before} calls before the first step was done");
    assert_eq!(session.last_latents().unwrap(), wanted);
    // Now that they are known, there is nothing of that left.
    session.begin(&request, Output::Latents).unwrap();
    let mut again = 0;
    while !session.step(Some(Duration::ZERO), observer).unwrap() {
        again += usize::from(session.steps().unwrap().0 == 0);
    }
    assert!(again + 60 < before, "{again} of {before}");
}

#[test]
fn encoding_is_cancelled_too_and_the_session_goes_on() {
    let (model, cancel) = (model(), CancelToken::new());
    let request = Request::of_prompts(["moss", "wet sand"]).with_cancel(cancel.clone());
    let observer = &mut |_: &flowturbo::Progress| ControlFlow::Continue(());
    let mut session = model.session();
    session.begin(&request, Output::Latents).unwrap();
    assert!(!session.step(Some(Duration::ZERO), observer).unwrap());
    cancel.cancel();
    let error = session.step(Some(Duration::ZERO), observer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    let request = Request::of_prompts(["moss", "wet sand"]);
    assert_eq!(session.latents(&request).unwrap(), self::model().session().latents(&request).unwrap());
}

#[test]
fn a_plan_has_tokenizer_and_text_encoder() {
    let compiled = |options: &PlanOptions| {
        let mut bytes = Vec::new();
        flowturbo::compile(Bundle::open(data("bundle")).unwrap(), options, &mut bytes).unwrap();
        bytes
    };
    let targets = [flowturbo::Target::Generic, flowturbo::Target::of_this_processor()];
    for target in targets {
        let options = PlanOptions::default().with_batches(vec![1, 2]).with_target(target);
        let plan = load(Bundle::from_bytes(compiled(&options), &Limits::default()).unwrap());
        check_all(&plan, &format!("plan for {target}"));
    }
    // Its tokenizer is held to its hash.
    let mut bytes = compiled(&PlanOptions::default());
    let place = bytes.windows(9).position(|window| window == b"\"##work\":").unwrap();
    bytes[place + 3] ^= 1;
    let error = Model::load(Bundle::from_bytes(bytes, &Limits::default()).unwrap(), &ModelOptions::default());
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidBundle);
    assert!(error.to_string().contains("tokenizer: is damaged"), "{error}");
}

#[test]
fn prompts_that_make_no_sense_are_refused_in_one_line() {
    let (model, tiny) = (model(), load(Bundle::open(crate::common::data("bundle")).unwrap()));
    let contexts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/contexts/pooled");
    let untexted = load(Bundle::open(contexts).unwrap());
    let two = || Request::new(vec![0, 0]);
    let zeros = || Array2::<f32>::zeros((1, WIDTH));
    for (model, request, message) in [
        (
            &tiny,
            Request::of_prompts(["moss"]),
            "prompt: this bundle has no text encoder (networks.text in bundle.json); give a class",
        ),
        (
            &tiny,
            two().with_prompt("moss"),
            "prompt: this bundle has no text encoder (networks.text in bundle.json); leave it out",
        ),
        (
            &untexted,
            two().with_negative_prompt("moss"),
            "negative prompt: this bundle has no text encoder (networks.text in bundle.json); give a context",
        ),
        (
            &model,
            two().with_prompt("moss").with_context(zeros()),
            "prompt: beside a context, which says the same; give one",
        ),
        (
            &model,
            two().with_negative_prompt("moss").with_negative_context(zeros()),
            "negative prompt: beside a context, which says the same; give one",
        ),
        (
            &model,
            two().with_prompts(["a", "b", "c"]),
            "prompts: 3 for 2 images; give one for all, or one for each",
        ),
        (&model, Request::of_prompts([""; 0]), "classes: empty; give one class for each image"),
    ] {
        let error = model.session().latents(&request).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::InvalidArgument, message));
    }
    let limits = Limits::default().with_max_prompt_bytes(8);
    let limited = load(Bundle::open_with(data("bundle"), &limits).unwrap());
    limited.session().latents(&two().with_prompt("12345678")).unwrap();
    for (request, name) in [
        (two().with_prompt("123456789"), "prompt"),
        (two().with_negative_prompt("木木木"), "negative prompt"),
    ] {
        let error = limited.session().latents(&request).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
        assert_eq!(error.to_string(), format!("{name}: 9 bytes, above the limit of 8 (max_prompt_bytes)"));
    }
    // Without a class that stands for none, there is one for each image.
    let copy = Copy::of(&data("bundle"));
    copy.edit_manifest(|manifest| {
        manifest["classes"] = json!({ "count": 4 });
        manifest["sampling"]["guidance"] = json!(1);
        manifest.as_object_mut().unwrap().remove("guidance");
    });
    let model = copy.load().unwrap();
    let error = model.session().latents(&Request::of_prompts(["moss"])).unwrap_err().to_string();
    assert!(
        error.starts_with("classes: empty; give one class for each image, since this model knows"),
        "{error}"
    );
    model.session().latents(&Request::new(vec![0]).with_prompt("moss")).unwrap();
}

/// A copy of the bundle whose tokenizer is changed, and the manifest's hash with it.
fn changed(edit: impl FnOnce(&mut Value)) -> Copy {
    let copy = Copy::of(&data("bundle"));
    let path = copy.path().join("tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    edit(&mut tokenizer);
    let bytes = tokenizer.to_string();
    std::fs::write(path, &bytes).unwrap();
    copy.edit_manifest(|manifest| manifest["text"]["tokenizer"]["sha256"] = sha256(bytes.as_bytes()).into());
    copy
}

#[test]
fn a_tokenizer_that_contradicts_its_encoder_is_refused_while_loading() {
    let error = |copy: &Copy| copy.load().unwrap_err();
    let larger = error(&changed(|tokenizer| tokenizer["model"]["vocab"]["quarry"] = json!(204)));
    assert_eq!(larger.kind(), ErrorKind::InvalidBundle);
    let message = "tokenizer.json: makes tokens up to 204, but the text encoder has a table of 204";
    assert_eq!(larger.to_string(), message);

    let typed = changed(|tokenizer| {
        tokenizer["post_processor"]["single"][1]["Sequence"]["type_id"] = json!(7);
    });
    let message = "tokenizer.json: makes types up to 7, but the text encoder has a table of 2";
    assert_eq!(error(&typed).to_string(), message);

    let copy = Copy::of(&data("bundle"));
    copy.edit_manifest(|manifest| manifest["text"]["max_tokens"] = json!(25));
    let longer = error(&copy);
    assert_eq!(longer.kind(), ErrorKind::InvalidBundle);
    assert!(longer.to_string().starts_with("text.max_tokens 25: text.onnx: "), "{longer}");
    assert_eq!(longer.to_string().lines().count(), 1);

    let few = Copy::of(&data("bundle"));
    few.edit_manifest(|manifest| manifest["text"]["max_tokens"] = json!(2));
    let message = "tokenizer.json: adds 2 tokens of its own, and text.max_tokens allows 2 in all";
    assert_eq!(error(&few).to_string(), message);

    let other = error(&changed(|tokenizer| tokenizer["model"]["type"] = json!("Unigram")));
    assert_eq!(other.kind(), ErrorKind::Unsupported);
    let message = "tokenizer.json: model: of the kind Unigram, this version reads WordPiece or BPE";
    assert_eq!(other.to_string(), message);

    let copy = Copy::of(&data("bundle"));
    std::fs::write(copy.path().join("tokenizer.json"), "{}").unwrap();
    let damaged = error(&copy);
    assert_eq!(damaged.kind(), ErrorKind::InvalidBundle);
    assert!(damaged.to_string().contains("tokenizer.json: SHA-256 is "), "{damaged}");

    let limits = Limits::default().with_max_tokenizer_bytes(100);
    let bundle = Bundle::open_with(data("bundle"), &limits).unwrap();
    let large = Model::load(bundle, &ModelOptions::default()).unwrap_err();
    assert_eq!(large.kind(), ErrorKind::LimitExceeded);
    assert!(large.to_string().contains("above the limit of 100 (max_tokenizer_bytes)"), "{large}");
}
