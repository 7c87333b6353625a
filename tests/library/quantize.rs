//! Bundles whose large linear layers were made bytes.

use flowturbo::{
    BackendKind, Bundle, CancelToken, ErrorKind, Limits, Model, ModelOptions, PlanOptions, Precision,
    Request, Role, Target, quantize,
};

use crate::plans::planned;
use crate::textures;

fn original() -> Bundle {
    Bundle::open(textures()).unwrap()
}

/// The bundled model's, as whoever gets its zip file opens it.
fn quantized() -> Bundle {
    let mut zip = Vec::new();
    quantize(&original(), &CancelToken::new()).unwrap().write_zip(&mut zip).unwrap();
    Bundle::from_bytes(zip, &Limits::default()).unwrap()
}

fn model(bundle: Bundle, precision: Precision) -> Model {
    Model::load(bundle, &ModelOptions::default().with_threads(2).with_precision(precision)).unwrap()
}

/// Two guided images: pixels and latents.
fn made(model: &Model) -> (Vec<u8>, Vec<f32>) {
    let request = Request::new(vec![4, 9]).with_seed(7).with_schedule("H1P2R3".parse().unwrap());
    let made = model.session().generate(&request).unwrap();
    let pixels = made.images.into_iter().flat_map(|image| image.rgb).collect();
    (pixels, made.latents.into_raw_vec_and_offset().0)
}

fn largest(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn int8_makes_the_images_of_the_original_to_the_bit() {
    let expected = made(&model(original(), Precision::Int8));
    assert!(made(&model(quantized(), Precision::Int8)) == expected);
    // Of plans too: for all processors, and packed for one.
    let generic = planned(quantized(), &PlanOptions::default().with_batches(vec![4]));
    let open = |plan: Vec<u8>| Bundle::from_bytes(plan, &Limits::default()).unwrap();
    assert!(made(&model(open(generic), Precision::Int8)) == expected);
    let packed = |bundle| {
        let target = Target::of_this_processor();
        let options = PlanOptions::default().with_batches(vec![4]).with_target(target);
        made(&model(open(planned(bundle, &options.with_precision(Precision::Int8))), Precision::Int8))
    };
    assert!(packed(quantized()) == packed(original()));
}

#[test]
fn floats_are_those_of_the_graph_and_our_own_kernels_compute_them() {
    let fused = model(quantized(), Precision::F32);
    for role in [Role::Predictor, Role::Refiner, Role::Decoder] {
        assert_eq!(fused.fallbacks(role, 2).unwrap(), []);
    }
    let (pixels, latents) = made(&fused);
    let options = ModelOptions::default().with_threads(2).with_backend(BackendKind::Reference);
    let (_, theirs) = made(&Model::load(quantized(), &options).unwrap());
    assert!(largest(&latents, &theirs) < 2e-4, "{}", largest(&latents, &theirs));
    let plan = planned(quantized(), &PlanOptions::default().with_batches(vec![4]));
    let plan = Bundle::from_bytes(plan, &Limits::default()).unwrap();
    assert!(made(&model(plan, Precision::F32)) == (pixels, latents.clone()));
    // And near the original's, but others: weights were rounded.
    let apart = largest(&latents, &made(&model(original(), Precision::F32)).1);
    assert!((1e-4..0.3).contains(&apart), "{apart}");
}

#[test]
fn large_layers_are_bytes_and_the_rest_is_what_it_was() {
    let (original, quantized) = (original(), quantized());
    quantized.verify().unwrap();
    assert_ne!(quantized.hash(), original.hash());
    assert_eq!(quantized.presets(), original.presets());
    let sizes = |role| [&original, &quantized].map(|bundle| bundle.size(role).unwrap());
    // Half of the predictor's weights are of linear layers, as float16.
    let [before, after] = sizes(Role::Predictor);
    assert!(after < before * 7 / 10, "{after} {before}");
    let [before, after] = sizes(Role::Refiner);
    assert!(after < before * 8 / 10, "{after} {before}");
    let [before, after] = sizes(Role::Decoder);
    assert_eq!(before, after);
}

#[test]
fn what_cannot_be_quantized_says_why() {
    let refused = |bundle: &Bundle, words: &str| {
        let error = quantize(bundle, &CancelToken::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(words), "{error}");
    };
    refused(&quantized(), "its weights are bytes already");
    let plan = planned(original(), &PlanOptions::default());
    refused(&Bundle::from_bytes(plan, &Limits::default()).unwrap(), "is a plan, which has no ONNX files");
    refused(&Bundle::open(crate::common::data("bundle")).unwrap(), "no weights that int8 multiplies by");
    let cancelled = CancelToken::new();
    cancelled.cancel();
    assert_eq!(quantize(&original(), &cancelled).unwrap_err().kind(), ErrorKind::Cancelled);
}
