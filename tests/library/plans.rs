//! Plan files: the same numbers as the bundle, and what they refuse.

use std::io::Cursor;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use flowturbo::{
    Bundle, CancelToken, ErrorKind, Limits, Model, ModelOptions, Output, PlanOptions, Request, Role,
    Seamless, Target, compile,
};
use ndarray::Array4;

use crate::common::{data, largest_error};
use crate::textures;

/// The plan of a bundle, as bytes.
pub fn planned(bundle: Bundle, options: &PlanOptions) -> Vec<u8> {
    let mut bytes = Vec::new();
    compile(bundle, options, &mut bytes).unwrap();
    bytes
}

/// The tiny SiT's, for images by one and two, small enough to be damaged byte by byte.
pub fn tiny() -> &'static [u8] {
    static TINY: OnceLock<Vec<u8>> = OnceLock::new();
    TINY.get_or_init(|| {
        planned(Bundle::open(data("bundle")).unwrap(), &PlanOptions::default().with_batches(vec![1, 2]))
    })
}

fn load(bytes: &[u8]) -> flowturbo::Result<Model> {
    load_with(bytes, &ModelOptions::default().with_threads(2))
}

fn load_with(bytes: &[u8], options: &ModelOptions) -> flowturbo::Result<Model> {
    Model::load(Bundle::from_bytes(bytes.to_vec(), &Limits::default())?, options)
}

fn latents(model: &Model, request: &Request) -> Array4<f32> {
    model.session().latents(request).unwrap()
}

/// Requests that a plan of one and two images serves.
fn requests() -> Vec<Request> {
    let one = Request::new(vec![3]).with_seed(5);
    vec![
        one.clone(),
        one.clone().with_guidance(1.0),
        one.clone().with_guidance(3.0).with_schedule("E1H1P2R2".parse().unwrap()),
        one.clone().with_morph(1, 0.3).with_guidance(2.0),
        one.with_seamless(Seamless::Both),
        Request::new(vec![0, 6]).with_seeds(vec![1, 2]),
    ]
}

#[test]
fn a_plan_gives_the_bundles_numbers_to_the_bit_wherever_it_is_kept() {
    let bundle = || Bundle::open(data("bundle")).unwrap();
    let options = ModelOptions::default().with_threads(2);
    let theirs = Model::load(bundle(), &options).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for target in [Target::Generic, Target::of_this_processor()] {
        let chosen = PlanOptions::default().with_batches(vec![1, 2]).with_target(target);
        let bytes = planned(bundle(), &chosen);
        assert_eq!(bytes, planned(bundle(), &chosen), "the same plan is the same bytes");
        let path = folder.path().join("x.ftplan");
        std::fs::write(&path, &bytes).unwrap();
        let limits = Limits::default();
        let opened = [
            Bundle::open(&path).unwrap(),
            Bundle::from_bytes(bytes.clone(), &limits).unwrap(),
            Bundle::from_reader(Cursor::new(bytes), &limits).unwrap(),
        ];
        for plan in opened {
            assert_eq!((plan.hash(), plan.target()), (theirs.bundle().hash(), Some(target)));
            plan.verify().unwrap();
            let ours = Model::load(plan, &options).unwrap();
            for request in requests() {
                assert_eq!(latents(&ours, &request), latents(&theirs, &request), "{target}: {request:?}");
            }
            for role in [Role::Predictor, Role::Refiner] {
                assert_eq!(ours.cost(role, 2).unwrap(), theirs.cost(role, 2).unwrap());
                assert_eq!(ours.plan(role, 2).unwrap(), theirs.plan(role, 2).unwrap());
            }
            // Weights can be given up, and are read from the plan again.
            ours.release_conditioning();
            let new = Request::new(vec![5]).with_schedule("H1P4R1".parse().unwrap());
            assert_eq!(latents(&ours, &new), latents(&theirs, &new));
        }
    }
}

#[test]
fn images_of_a_plan_are_the_bundles_and_so_are_edits() {
    let bundle = || Bundle::open(textures()).unwrap();
    let options = ModelOptions::default().with_threads(2);
    let sizes = vec![[128, 128], [128, 192]];
    let chosen = PlanOptions::default().with_target(Target::of_this_processor()).with_sizes(sizes);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.ftplan");
    compile(bundle(), &chosen, std::fs::File::create(&path).unwrap()).unwrap();
    let (ours, theirs) =
        (Model::load(Bundle::open(&path).unwrap(), &options), Model::load(bundle(), &options));
    let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
    let image = Array4::from_shape_fn((1, 3, 128, 128), |(_, c, y, x)| ((c + y + x) % 7) as f32 / 7.0);
    let plain = Request::new(vec![4]).with_seed(3).with_schedule("H1P1R1".parse().unwrap());
    for request in [
        plain.clone(),
        plain.clone().with_init(image, 0.6),
        plain.with_size(128, 192).with_seamless(Seamless::Both).with_guidance(1.0),
    ] {
        let [a, b] = [&ours, &theirs].map(|model| model.session().generate(&request).unwrap());
        assert_eq!((&a.latents, &a.images[0].rgb), (&b.latents, &b.images[0].rgb), "{request:?}");
        assert!(ours.prepare(&request, Output::Images).unwrap().model > 0);
    }
}

#[test]
fn the_shipped_plan_is_what_the_shipped_bundle_compiles_to() {
    let shipped = std::fs::read(textures().with_extension("ftplan")).unwrap();
    let options = PlanOptions::default().with_batches(vec![1, 2, 3, 4]);
    let compiled = planned(Bundle::open(textures()).unwrap(), &options);
    let again = "flowturbo compile models/textures --batch 1,2,3,4 -o models/textures.ftplan";
    assert!(shipped == compiled, "make it again: {again}");
}

#[test]
fn baked_classes_are_served_and_no_others() {
    let bundle = || Bundle::open(data("bundle")).unwrap();
    let theirs = Model::load(bundle(), &ModelOptions::default().with_threads(1)).unwrap();
    let schedules = vec!["H1P2R2".parse().unwrap()];
    let baked = PlanOptions::default().with_classes(vec![3, 0]).with_schedules(schedules);
    let bytes = planned(bundle(), &baked);
    let whole = planned(bundle(), &PlanOptions::default());
    println!("{} bytes, whole {}", bytes.len(), whole.len());
    let ours = load_with(&bytes, &ModelOptions::default().with_threads(1)).unwrap();
    let request = |class| Request::new(vec![class]).with_schedule("H1P2R2".parse().unwrap()).with_seed(1);
    for request in [request(3), request(0).with_guidance(1.0), request(0).with_morph(3, 0.5)] {
        assert_eq!(latents(&ours, &request), latents(&theirs, &request));
    }
    let refused = |request: Request| {
        let error = ours.session().latents(&request).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        error.to_string()
    };
    let null = theirs.manifest().classes.null.unwrap();
    let line = refused(request(1));
    assert!(
        line.contains(&format!("class 1 was not planned; the plan has the classes 0, 3, {null}")),
        "{line}"
    );
    let line = refused(request(3).with_schedule("H3P3".parse().unwrap()));
    assert!(line.contains("was not planned; the plan has the times of the schedules"), "{line}");
    // And the next one works.
    latents(&ours, &request(3));
}

/// A plan for one image makes any number of them, a few in one call of a network, and images that windows see.
#[test]
fn a_plan_serves_more_images_and_larger_ones_than_it_was_compiled_for() {
    let five = |guidance| Request::new(vec![0, 1, 2, 1, 0]).with_guidance(guidance).with_seed(3);
    let large = |size| Request::new(vec![1, 0]).with_size(size, 256).with_seamless(Seamless::X).with_seed(4);
    let tiny = (load(tiny()).unwrap(), Model::open(data("bundle")).unwrap());
    let shipped =
        (Model::open(textures().with_extension("ftplan")).unwrap(), Model::open(textures()).unwrap());
    for ((ours, theirs), requests) in [
        (tiny, vec![five(1.0), five(2.5), five(2.5).with_morph(2, 0.25)]),
        (shipped, vec![five(2.5), large(128), large(384)]),
    ] {
        for request in requests {
            let error = largest_error(latents(&ours, &request).iter(), latents(&theirs, &request).iter());
            assert!(error <= 1e-5, "{error}");
            ours.prepare(&request, Output::Latents).unwrap();
        }
    }
}

/// One image by a plan that knows calls of three alone: the other places see it again.
#[test]
fn a_plan_for_several_images_serves_fewer() {
    let options = PlanOptions::default().with_batches(vec![3]);
    let ours = load(&planned(Bundle::open(data("bundle")).unwrap(), &options)).unwrap();
    let theirs = Model::open(data("bundle")).unwrap();
    for classes in [vec![2], vec![0, 1, 2, 1]] {
        let request = Request::new(classes).with_guidance(2.5).with_seed(3);
        let error = largest_error(latents(&ours, &request).iter(), latents(&theirs, &request).iter());
        assert!(error <= 1e-5, "{error}");
    }
}

#[test]
fn what_was_not_planned_is_refused_by_what_was() {
    let model = Model::open(textures().with_extension("ftplan")).unwrap();
    let error = model.session().generate(&Request::new(vec![0]).with_size(128, 192)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let line = error.to_string();
    let planned = "decoder: 1 of 16 x 24 cells in one call were not planned; planned are 1 of 16 x 16 cells";
    assert!(line.contains(planned), "{line}");

    let reference = ModelOptions::default().with_backend(flowturbo::BackendKind::Reference);
    let line = load_with(tiny(), &reference).unwrap_err().to_string();
    assert!(line.contains("is a plan, which has no ONNX files"), "{line}");
    let plan = Bundle::from_bytes(tiny(), &Limits::default()).unwrap();
    assert_eq!(plan.write_zip(std::io::sink()).unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(
        compile(plan, &PlanOptions::default(), std::io::sink()).unwrap_err().kind(),
        ErrorKind::Unsupported
    );
}

#[test]
fn plans_for_other_processors_are_refused_by_name() {
    let bundle = Bundle::open(data("bundle")).unwrap();
    let other = if cfg!(target_arch = "x86_64") { Target::Aarch64 } else { Target::X86_64V3 };
    let bytes = planned(bundle, &PlanOptions::default().with_target(other));
    let error = load(&bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(
        error.to_string().contains(&format!("target: compiled for {other}; here one for generic")),
        "{error}"
    );
    // What it is can be told all the same.
    let plan = Bundle::from_bytes(bytes, &Limits::default()).unwrap();
    assert_eq!(plan.target(), Some(other));
}

#[test]
fn limits_hold_for_plans_too() {
    let limits = Limits::default();
    for (limits, name) in [
        (limits.clone().with_max_arena_bytes(1000), "max_arena_bytes"),
        (limits.clone().with_max_weight_bytes(1000), "max_weight_bytes"),
        (limits.with_max_manifest_bytes(10), "max_manifest_bytes"),
    ] {
        let opened = Bundle::from_bytes(tiny(), &limits);
        let error = opened.and_then(|plan| Model::load(plan, &ModelOptions::default())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_plan_that_was_written_to_since_it_was_opened_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.ftplan");
    let native = PlanOptions::default().with_target(Target::of_this_processor());
    std::fs::write(&path, planned(Bundle::open(data("bundle")).unwrap(), &native)).unwrap();
    let model = Model::load(Bundle::open(&path).unwrap(), &ModelOptions::default().with_threads(1)).unwrap();
    latents(&model, &Request::new(vec![1]));
    std::thread::sleep(std::time::Duration::from_millis(20));
    // The same bytes again, at the same place.
    let bytes = std::fs::read(&path).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::io::Write::write_all(&mut &file, &bytes).unwrap();
    let error = model.session().latents(&Request::new(vec![1])).unwrap_err();
    assert!(error.to_string().contains("was written to since it was opened"), "{error}");
}

/// Weights are held against their hashes a piece at a time.
#[test]
fn a_cancel_ends_the_hashing_of_weights() {
    let load = |most: usize| {
        let asked = Arc::new(AtomicUsize::new(0));
        let polls = Arc::clone(&asked);
        let token = CancelToken::from_fn(move || polls.fetch_add(1, Ordering::Relaxed) >= most);
        let bundle = Bundle::open(textures().with_extension("ftplan")).unwrap();
        let outcome = Model::load(bundle, &ModelOptions::default().with_threads(1).with_cancel(token));
        (outcome.map(drop), asked.load(Ordering::Relaxed))
    };
    let (whole, polls) = load(usize::MAX);
    whole.unwrap();
    let pieces = std::fs::metadata(textures().with_extension("ftplan")).unwrap().len() >> 20;
    assert!(polls as u64 > pieces, "{polls} polls for {pieces} MiB");
    for most in [1, 5, 15] {
        let (outcome, polls) = load(most);
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Cancelled);
        assert_eq!(polls, most + 1);
    }
}
