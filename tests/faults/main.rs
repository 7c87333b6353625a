//! Faults, one after another at every place: readers that fail or lie, memory that is refused, steps that panic, and
//! cancels. Each is an error of the right kind, leaks nothing, and the next call works.
//!
//! A program of its own without the test harness: its allocator counts for the whole process. An argument that is part
//! of a test's name picks those.

mod allocator;
mod memory;
mod readers;
mod stops;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use flowturbo::{Bundle, Model, ModelOptions, Parallel, Request};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, bundle, n] = &arguments[..]
        && command == "--refuse"
    {
        std::process::exit(memory::child(bundle, n));
    }
    let tests: [(&str, fn()); 9] = [
        ("readers that fail are an error and those that read little are right", readers::that_fail),
        ("a source that fails or lies is an error at each of its calls", readers::sources),
        ("weights that are read again may fail to come", readers::that_fail_later),
        ("a cancel at each step ends the generation and leaves all in order", stops::cancels),
        ("a cancel while conditions are computed leaves all in order", stops::cancels_of_conditions),
        ("a panic in each step leaves all else in order", stops::panics),
        ("a source that panics is told of, and loading again works", readers::that_panic),
        ("memory that is refused while generating is an error", memory::refused_while_generating),
        ("memory that is refused while loading is an error or tract's", memory::refused_while_loading),
    ];
    let wanted: Vec<String> = arguments.into_iter().filter(|argument| !argument.starts_with('-')).collect();
    let picked = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()));
    for (name, test) in tests.into_iter().filter(|(name, _)| picked(name)) {
        let began = std::time::Instant::now();
        test();
        println!("{name}: {:.1?}", began.elapsed());
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
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
