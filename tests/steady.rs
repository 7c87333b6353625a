//! What a session does again and again: no memory is asked for, none is touched for the first time.
//!
//! A program of its own without the test harness: nothing else may allocate meanwhile, not even the harness's
//! note that a test takes long.

use std::alloc::System;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use flowturbo::{
    Bundle, Map, Model, ModelOptions, PixelFormat, Pixels, PlanOptions, Precision, Request, Seamless,
    Session, Target, compile,
};
use ndarray::ArrayD;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A number that the system counts for this process, where it tells: its place after the command's name, which is
/// in brackets.
fn counted(place: usize) -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(place)?.parse().ok()
}

/// Pages that this process has been given so far.
fn page_faults() -> Option<u64> {
    counted(7)
}

/// Hundredths of a second that it has computed.
fn computed() -> Option<u64> {
    Some(counted(11)? + counted(12)?)
}

/// Threads that are called as the model's own are.
fn threads_of_models() -> Option<usize> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?;
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    Some(names.filter(|name| name.starts_with("flowturbo-")).count())
}

fn draw(session: &mut Session, request: &Request, rgb: &mut [u8], latents: &mut [f32]) {
    let observer = &mut |_: &flowturbo::Progress| ControlFlow::Continue(());
    session.generate_into(request, &mut Pixels::rgb8(rgb), observer).unwrap();
    session.latents_into(request, latents, observer).unwrap();
}

/// Maps are drawn of what the decoder made, into the caller's memory.
fn maps_take_nothing(root: &Path) {
    let mut session = Model::open(root.join("tests/data/tiny-maps/bundle")).unwrap().session();
    let observer = &mut |_: &flowturbo::Progress| ControlFlow::Continue(());
    let mut request = Request::new(vec![0, 1]);
    let (mut rgb, mut rgba, mut grey) = ([0; 2 * 256 * 3], [0; 2 * 256 * 4], [0; 2 * 256 * 2]);
    let mut draw = |seed: u64| {
        request.seed = seed;
        session.generate_into(&request, &mut Pixels::rgb8(&mut rgb), observer).unwrap();
        for map in [Map::Color, Map::Normal, Map::Orm] {
            session.map_into(map, &mut Pixels::rgb8(&mut rgb)).unwrap();
        }
        session.map_into(Map::HdrpMask, &mut Pixels::new(PixelFormat::Rgba8, &mut rgba)).unwrap();
        for map in [Map::Height, Map::Roughness] {
            session.map_into(map, &mut Pixels::new(PixelFormat::Grey16, &mut grey)).unwrap();
        }
    };
    (0..2).for_each(&mut draw);
    let region = Region::new(ALLOCATOR);
    (2..20).for_each(&mut draw);
    let change = region.change();
    println!("maps: {} allocations", change.allocations);
    assert_eq!((change.allocations, change.reallocations), (0, 0), "maps");
}

fn main() {
    println!("from the second image to the hundredth nothing is allocated and no page is new");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    maps_take_nothing(root);
    let plan = tempfile::NamedTempFile::new().unwrap();
    let native = PlanOptions::default().with_target(Target::of_this_processor());
    compile(Bundle::open(root.join("models/textures")).unwrap(), &native, &plan).unwrap();
    let textures = || root.join("models/textures");
    for (threads, path, precision) in [
        (1, textures(), Precision::F32),
        (2, textures(), Precision::F32),
        (2, plan.path().into(), Precision::F32),
        (2, textures(), Precision::Int8),
    ] {
        let bundle = Bundle::open(path).unwrap();
        let options = ModelOptions::default().with_threads(threads).with_precision(precision);
        let model = Model::load(bundle, &options).unwrap();
        let mut session = model.session();
        // Every kind of step, two classes, guided and not, seamless, blended.
        let mut requests =
            [(0, "H1P1R1E1", 4.0), (3, "H1P5R3", 4.0), (3, "P2", 1.0)].map(|(class, schedule, guidance)| {
                Request::new(vec![class]).with_schedule(schedule.parse().unwrap()).with_guidance(guidance)
            });
        requests[1] = requests[1].clone().with_seamless(Seamless::Both);
        requests[2] = requests[2].clone().with_morph(4, 0.5);
        let first = session.generate(&requests[0]).unwrap();
        let (mut rgb, mut latents) = (first.images[0].rgb.clone(), vec![0.0; first.latents.len()]);
        requests.iter().for_each(|request| draw(&mut session, request, &mut rgb, &mut latents));
        // Larger than the networks' own, beside the image that it follows.
        let observer = &mut |_: &flowturbo::Progress| ControlFlow::Continue(());
        let mut large = requests[0].clone().with_size(192, 256);
        let mut large_latents = session.latents(&large).unwrap().into_raw_vec_and_offset().0;
        session.latents_into(&large, &mut large_latents, observer).unwrap();
        // Measuring itself has a first time too.
        page_faults();
        let (pages, region) = (page_faults(), Region::new(ALLOCATOR));
        for seed in 1..=33 {
            for request in &mut requests {
                request.seed = seed;
                draw(&mut session, request, &mut rgb, &mut latents);
            }
            large.seed = seed;
            session.latents_into(&large, &mut large_latents, observer).unwrap();
        }
        let change = region.change();
        let more = page_faults().zip(pages).map_or(0, |(after, before)| after - before);
        println!("{threads} threads: {} allocations, {more} page faults", change.allocations);
        assert_eq!((change.allocations, change.reallocations), (0, 0), "{threads} threads");
        // The system may take a page of the program's own text away and bring it back.
        assert!(more <= 8, "{threads} threads: {more} pages are new");
        // The caller's thread is one of them, the others sleep when there is nothing to do.
        assert!(threads_of_models().is_none_or(|count| count == threads - 1), "{threads} threads");
        std::thread::sleep(Duration::from_millis(20));
        let before = computed();
        std::thread::sleep(Duration::from_millis(300));
        let idle = computed().zip(before).map_or(0, |(after, before)| after - before);
        assert!(idle <= 5, "{threads} threads: computed for {idle}0 ms while idle");
        // The counters do count.
        drop(session.generate(&requests[0]).unwrap());
        assert!(region.change().allocations > 0);
    }
    contexts(root);
    prompts(root);
}

/// The same for prompts that the model knows by now, one for all images or one for each.
fn prompts(root: &Path) {
    let bundle = Bundle::open(root.join("tests/data/prompts/bundle")).unwrap();
    let model = Model::load(bundle, &ModelOptions::default().with_threads(2)).unwrap();
    let mut session = model.session();
    let mut requests = [
        Request::new(vec![0, 1]).with_prompt("moss"),
        Request::of_prompts(["moss", "wet sand"]).with_negative_prompt("rust"),
        Request::of_prompts(["stone", ""]).with_guidance(1.0),
    ];
    allocate_nothing(&mut session, &mut requests, "prompts");
}

/// Requests that were made once are made again with other seeds, and nothing is allocated.
fn allocate_nothing(session: &mut Session, requests: &mut [Request], what: &str) {
    let observer = &mut |_: &flowturbo::Progress| ControlFlow::Continue(());
    let mut latents = session.latents(&requests[0]).unwrap().into_raw_vec_and_offset().0;
    for request in &*requests {
        session.latents_into(request, &mut latents, observer).unwrap();
    }
    let region = Region::new(ALLOCATOR);
    for seed in 1..=33 {
        for request in &mut *requests {
            request.seed = seed;
            session.latents_into(request, &mut latents, observer).unwrap();
        }
    }
    let change = region.change();
    println!("{what}: {} allocations", change.allocations);
    assert_eq!((change.allocations, change.reallocations), (0, 0), "{what}");
}

/// The same for models that take contexts, one for each image, and other ones to go away from.
fn contexts(root: &Path) {
    for (bundle, shape) in [("pooled", &[2, 12][..]), ("tokens", &[2, 7, 12])] {
        let bundle_of_it = Bundle::open(root.join("tests/data/contexts").join(bundle)).unwrap();
        let model = Model::load(bundle_of_it, &ModelOptions::default().with_threads(2)).unwrap();
        let mut session = model.session();
        let context = |one: f32| ArrayD::from_elem(shape, one);
        let plain = Request::new(vec![0, 0]);
        let mut requests = [
            plain.clone(),
            plain.clone().with_context(context(0.5)),
            plain.clone().with_context(context(-0.5)).with_negative_context(context(0.25)),
            plain.with_guidance(1.0).with_context(context(0.5)).with_seamless(Seamless::X),
        ];
        allocate_nothing(&mut session, &mut requests, &format!("contexts, {bundle}"));
    }
}
