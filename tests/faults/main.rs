//! Faults, one after another at every place: readers that fail or lie, memory that is refused, steps that panic, and
//! cancels. Each is an error of the right kind, leaks nothing, and the next call works.
//!
//! A program of its own without the test harness: its allocator counts for the whole process. An argument that is part
//! of a test's name picks those.

mod allocator;
// The crate itself is made for C alone.
#[allow(dead_code, unused_imports, reason = "what is not called here")]
#[path = "../../crates/capi/src/lib.rs"]
mod capi;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod polls;
#[cfg(target_os = "linux")]
mod program;
mod readers;
#[cfg(target_os = "linux")]
mod split;
mod stops;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use flowturbo::{Bundle, Model, ModelOptions, Parallel, Request};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut tests: Vec<(&str, fn())> = vec![
        ("readers that fail are an error and those that read little are right", readers::that_fail),
        ("a source that fails or lies is an error at each of its calls", readers::sources),
        ("weights that are read again may fail to come", readers::that_fail_later),
        ("a cancel at each step ends the generation and leaves all in order", stops::cancels),
        ("a panic in each step leaves all else in order", stops::panics),
        ("a source that panics is told of, and loading again works", readers::that_panic),
    ];
    // These fork behind the back of the library.
    #[cfg(target_os = "linux")]
    tests.extend([
        ("a cancel at each poll of a token ends what asked", polls::cancels),
        ("a panic at each poll of a token leaves all in order", polls::panics),
        ("observers that stop or panic leave all in order", polls::of_observers),
        ("memory that is refused while generating is an error", memory::while_generating),
        ("memory that is refused to a C program is a status", memory::of_a_c_program),
        ("memory that is refused while planning is an error or tract's", memory::while_planning),
        ("loading with too little memory is an error", memory::with_too_little),
        ("memory that is refused while loading is an error or tract's", memory::while_loading),
    ] as [(&str, fn()); 8]);
    let wanted: Vec<String> = arguments.into_iter().filter(|argument| !argument.starts_with('-')).collect();
    let picked = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()));
    for (name, test) in tests.into_iter().filter(|(name, _)| picked(name)) {
        let began = std::time::Instant::now();
        test();
        println!("{name}: {:.1?}", began.elapsed());
    }
}

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn tiny() -> PathBuf {
    root().join("tests/data/tiny-sit/bundle")
}

fn open(path: &Path) -> Bundle {
    Bundle::open(path).unwrap()
}

fn load(path: &Path, parallel: &Arc<impl Parallel + 'static>) -> flowturbo::Result<Model> {
    Model::load(open(path), &ModelOptions::default().with_parallel(Arc::clone(parallel) as _))
}

/// Two images by every kind of step.
fn request() -> Request {
    Request::new(vec![5, 2]).with_seed(3).with_schedule("H1P1R1".parse().unwrap())
}

/// Latents, as their bits.
fn draw(model: &Model) -> flowturbo::Result<Vec<u32>> {
    model.session().latents(&request()).map(|latents| latents.iter().map(|value| value.to_bits()).collect())
}

/// Without a word of the panics that are asked for.
fn in_silence(work: impl FnOnce()) {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref::<&str>() != Some(&"asked to") {
            told(info);
        }
    }));
    work();
    drop(std::panic::take_hook());
}
