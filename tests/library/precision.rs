//! Products of small numbers: exact where they say so, near where they do not, and never without being asked for.

use flowturbo::{
    BackendKind, Bundle, ErrorKind, Limits, Model, ModelOptions, Output, PlanOptions, Precision, Request,
    Result, Role, Target,
};

use crate::common::data;
use crate::plans::planned;
use crate::textures;

fn options(precision: Precision) -> ModelOptions {
    ModelOptions::default().with_threads(2).with_precision(precision)
}

fn model(precision: Precision) -> Result<Model> {
    Model::load(Bundle::open(textures()).unwrap(), &options(precision))
}

/// Two guided images of the bundled model: pixels and latents.
fn made(model: &Model) -> (Vec<u8>, Vec<f32>) {
    let request = Request::new(vec![4, 9]).with_seed(7).with_schedule("H1P2R3".parse().unwrap());
    let made = model.session().generate(&request).unwrap();
    let pixels = made.images.into_iter().flat_map(|image| image.rgb).collect();
    (pixels, made.latents.into_raw_vec_and_offset().0)
}

/// Root of the mean square of the differences, over that of the numbers.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    let square = |x: f64| x * x;
    let apart: f64 = a.iter().zip(b).map(|(a, b)| square(f64::from(a - b))).sum();
    (apart / b.iter().map(|b| square(f64::from(*b))).sum::<f64>()).sqrt()
}

/// What this processor cannot do is refused as such.
fn can(precision: Precision) -> bool {
    match model(precision) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            assert_eq!(precision, Precision::Bf16, "{error}");
            false
        }
    }
}

#[test]
fn half_weights_give_the_bits_of_floats_with_less_memory() {
    let (exact, halves) = (model(Precision::F32).unwrap(), model(Precision::F16Weights).unwrap());
    assert!(made(&exact) == made(&halves));
    let request = Request::new(vec![4]).with_schedule("E1".parse().unwrap());
    let weights = |model: &Model| model.prepare(&request, Output::Latents).unwrap().model;
    // Predictor and refiner, most of whose weights are stored as float16.
    assert!(10 * weights(&halves) < 6 * weights(&exact), "{} {}", weights(&halves), weights(&exact));
}

#[test]
fn small_numbers_are_near_floats_and_are_others() {
    let (pixels, latents) = made(&model(Precision::F32).unwrap());
    for (precision, near, steps) in [(Precision::Bf16, 0.02, 8), (Precision::Int8, 0.06, 24)] {
        if !can(precision) {
            continue;
        }
        let (theirs, other) = made(&model(precision).unwrap());
        let apart = distance(&other, &latents);
        assert!((1e-4..near).contains(&apart), "{precision}: {apart}");
        let most = theirs.iter().zip(&pixels).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(most > 0 && most <= steps, "{precision}: {most}");
    }
}

#[test]
fn every_step_says_what_multiplied() {
    let described = |precision| model(precision).unwrap().plan(Role::Predictor, 2).unwrap();
    let exact = described(Precision::F32);
    assert!(exact.contains("(f32, ") && !exact.contains("(f16, ") && !exact.contains("(int8, "), "{exact}");
    assert!(described(Precision::F16Weights).contains("(f16, "));
    let bytes = described(Precision::Int8);
    let first = bytes.lines().find(|line| line.contains("matmul")).unwrap();
    assert!(bytes.contains("(int8, ") && !first.contains("(int8, "), "{bytes}");
}

#[test]
fn deterministic_bytes_are_the_same_with_any_number_of_threads() {
    let request = Request::new(vec![1]).with_seed(3).with_schedule("H1P1R2".parse().unwrap());
    let latents = |threads| {
        let options = options(Precision::Int8).with_deterministic(true).with_threads(threads);
        let model = Model::load(Bundle::open(textures()).unwrap(), &options).unwrap();
        model.session().latents(&request).unwrap()
    };
    assert!(latents(1) == latents(3));
    let refused = options(Precision::Bf16).with_deterministic(true);
    let error = Model::load(Bundle::open(textures()).unwrap(), &refused).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(
        error.to_string().starts_with("precision: bf16 is rounded by each processor in its own way"),
        "{error}"
    );
}

#[test]
fn weights_that_are_given_up_and_read_again_are_the_same() {
    for precision in [Precision::F16Weights, Precision::Int8] {
        let released = options(precision).with_release_conditioning(true);
        let released = Model::load(Bundle::open(textures()).unwrap(), &released).unwrap();
        assert!(made(&released) == made(&model(precision).unwrap()), "{precision}");
    }
}

#[test]
fn plain_tract_computes_in_floats_alone() {
    let options = options(Precision::Int8).with_backend(BackendKind::Reference);
    let error = Model::load(Bundle::open(data("bundle")).unwrap(), &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(
        error.to_string(),
        "precision: int8 asked for, plain tract computes in f32; take the fused backend"
    );
}

/// A plan of the bundled model, opened.
fn open(plan: &[u8], precision: Precision) -> Result<Model> {
    Model::load(Bundle::from_bytes(plan.to_vec(), &Limits::default()).unwrap(), &options(precision))
}

fn plan(target: Target, precision: Precision) -> Vec<u8> {
    let options = PlanOptions::default().with_batches(vec![2]).with_target(target).with_precision(precision);
    planned(Bundle::open(textures()).unwrap(), &options)
}

#[test]
fn a_generic_plan_takes_any_precision() {
    let plan = plan(Target::Generic, Precision::F32);
    for precision in [Precision::F32, Precision::F16Weights, Precision::Int8] {
        assert!(made(&open(&plan, precision).unwrap()) == made(&model(precision).unwrap()), "{precision}");
    }
}

#[test]
fn a_packed_plan_has_its_own_precision() {
    let target = Target::of_this_processor();
    if target == Target::Generic {
        return;
    }
    let sizes: Vec<usize> = [Precision::F32, Precision::F16Weights, Precision::Int8]
        .into_iter()
        .map(|precision| {
            let plan = plan(target, precision);
            // Asked for or not.
            let (asked, own) = (open(&plan, precision).unwrap(), open(&plan, Precision::F32).unwrap());
            let ((pixels, latents), bundle) = (made(&asked), made(&model(precision).unwrap()));
            assert!(latents == bundle.1, "{precision}");
            assert!((pixels.clone(), latents) == made(&own), "{precision}");
            assert_eq!((asked.precision(), own.precision()), (precision, precision));
            // Convolutions are packed as what every processor of a target has.
            assert!(precision == Precision::Int8 || pixels == bundle.0, "{precision}");
            plan.len()
        })
        .collect();
    assert!(sizes[1] * 10 < sizes[0] * 6 && sizes[2] < sizes[1], "{sizes:?}");
    let bytes = plan(target, Precision::Int8);
    for (asked, advice) in [
        (Precision::F16Weights, "compile it with --precision f16-weights, or with --target generic"),
        (Precision::Bf16, "compile it with --target generic"),
    ] {
        let error = open(&bytes, asked).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let wanted = format!(
            "precision: {asked} asked for, but the plan's weights are packed as int8 for {target}; {advice}"
        );
        assert!(error.to_string().ends_with(&wanted), "{error}");
    }
}

#[test]
fn what_is_not_packed_is_refused_before_it_is_written() {
    for (target, precision, wanted) in [
        (Target::Generic, Precision::Int8, "precision: a plan for generic packs nothing"),
        (Target::X86_64V3, Precision::Bf16, "precision: bf16 is not packed for x86-64-v3"),
    ] {
        let options = PlanOptions::default().with_target(target).with_precision(precision);
        let error =
            flowturbo::compile(Bundle::open(data("bundle")).unwrap(), &options, Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().starts_with(wanted), "{error}");
    }
}

#[test]
fn a_precision_that_this_build_does_not_know_is_refused() {
    let mut plan = plan(Target::Generic, Precision::F32);
    for (at, byte, field) in
        [(13, 9, "precision"), (13, 3, "precision"), (13, 4, "precision"), (14, 1, "target")]
    {
        let before = std::mem::replace(&mut plan[at], byte);
        let error = Bundle::from_bytes(plan.clone(), &Limits::default()).unwrap_err();
        plan[at] = before;
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let wanted = format!("{field}: not known to this build; compile the bundle again");
        assert!(error.to_string().ends_with(&wanted), "{error}");
    }
}

#[test]
fn auto_is_what_was_stored_as_far_as_this_processor_has_it() {
    let bundle = || Bundle::open(textures()).unwrap();
    let auto = |bundle: Bundle, more: fn(ModelOptions) -> ModelOptions| {
        Model::load(bundle, &more(options(Precision::Auto))).unwrap()
    };
    let of =
        |measured: Precision| bundle().with_measured(measured, "a device, 2 threads", 1.5, 0.02).unwrap();
    assert_eq!(bundle().measured(), None);
    assert_eq!(auto(bundle(), |options| options).precision(), Precision::F32);
    assert_eq!(of(Precision::Int8).measured(), Some(Precision::Int8));
    assert_eq!(of(Precision::Int8).manifest().format_version, "1.1");
    let bytes = auto(of(Precision::Int8), |options| options);
    assert_eq!(bytes.precision(), Precision::Int8);
    assert!(made(&bytes) == made(&model(Precision::Int8).unwrap()));
    // Bundles travel to where there is less, and deterministic models are the same everywhere.
    let here = if can(Precision::Bf16) { Precision::Bf16 } else { Precision::F32 };
    assert_eq!(auto(of(Precision::Bf16), |options| options).precision(), here);
    let same = |options: ModelOptions| options.with_deterministic(true);
    assert_eq!(auto(of(Precision::Bf16), same).precision(), Precision::F32);
    assert_eq!(auto(of(Precision::Int8), same).precision(), Precision::Int8);
    let oracle = |options: ModelOptions| options.with_backend(BackendKind::Reference);
    assert_eq!(auto(of(Precision::Int8), oracle).precision(), Precision::F32);
}

#[test]
fn plans_are_packed_in_what_was_stored_and_keep_it() {
    let target = Target::of_this_processor();
    let made = |bundle: Bundle, target: Target| {
        let options = PlanOptions::default().with_target(target).with_precision(Precision::Auto);
        open(&planned(bundle, &options), Precision::Auto).unwrap().precision()
    };
    let bundle = || Bundle::open(data("bundle")).unwrap();
    let of = |measured: Precision| bundle().with_measured(measured, "a device", 1.5, 0.02).unwrap();
    assert_eq!(made(bundle(), target), Precision::F32);
    assert_eq!(made(of(Precision::Int8), target), Precision::Int8);
    // Nothing is packed there, but the plan still knows.
    assert_eq!(made(of(Precision::Int8), Target::Generic), Precision::Int8);
    if target != Target::Generic {
        assert_eq!(made(of(Precision::Bf16), target), Precision::F32, "which nothing is packed in");
        let packed = plan(target, Precision::F16Weights);
        assert_eq!(open(&packed, Precision::Auto).unwrap().precision(), Precision::F16Weights);
    }
}

#[test]
fn what_cannot_be_stored_as_measured_is_refused() {
    let bundle = Bundle::open(data("bundle")).unwrap();
    for (measured, device, speedup, error, wanted) in [
        (Precision::Auto, "a", 1.0, 0.0, "numbers: must be f32, f16-weights, bf16 or int8, is \"auto\""),
        (Precision::Int8, "a\nb", 1.0, 0.0, "device: "),
        (Precision::Int8, "a", 0.0, 0.0, "speedup: must be above 0, is 0"),
        (Precision::Int8, "a", 1.0, -0.5, "error: must be at least 0, is -0.5"),
        (Precision::Int8, "a", 1.0, f32::NAN, "error: "),
    ] {
        let line = bundle.with_measured(measured, device, speedup, error).unwrap_err().to_string();
        assert!(line.contains(&format!("bundle.json: sampling.precision.{wanted}")), "{line}");
    }
}
