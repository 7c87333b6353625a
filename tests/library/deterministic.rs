//! A deterministic model's requests give the bytes that are written down, on every processor.

use std::path::PathBuf;

use flowturbo::{BackendKind, Bundle, ErrorKind, Model, ModelOptions, Precision, Request, Seamless, noise};

use crate::bundle::sha256;
use crate::common::data;
use crate::textures;

/// A line for each of [`requests`]: what it is, and the SHA-256 of its images (RGB) or latents (little-endian).
/// A kernel that adds up in another order moves them: the test prints the new ones then, the changelog says so.
const KNOWN: &str = include_str!("../data/deterministic.txt");

fn model(folder: PathBuf, threads: usize) -> Model {
    model_in(Precision::F32, folder, threads)
}

fn model_in(precision: Precision, folder: PathBuf, threads: usize) -> Model {
    let options =
        ModelOptions::default().with_threads(threads).with_deterministic(true).with_precision(precision);
    Model::load(Bundle::open(folder).unwrap(), &options).unwrap()
}

/// Requests of the small golden bundle.
fn small() -> Vec<(&'static str, Request)> {
    let request = |classes: &[i64], schedule: &str, seed| {
        Request::new(classes.to_vec()).with_schedule(schedule.parse().unwrap()).with_seed(seed)
    };
    vec![
        ("one Euler step", request(&[0], "E1", 1)),
        ("all kinds of steps", request(&[1], "H2P3R2E1", 2)),
        ("three images", request(&[0, 1, 2], "H1P1R1", 3)),
        ("no guidance", request(&[2], "H1P2R3", 4).with_guidance(1.0)),
        ("strong guidance", request(&[2], "H1P2R3", 4).with_guidance(7.5)),
        ("morphed", request(&[0, 2], "H1P1R1", 5).with_morph(1, 0.3)),
        ("varied", request(&[0], "H2R1", 6).with_variation(7, 0.4)),
        ("tiled", request(&[1], "H1P1R1", 7).with_seamless(Seamless::Both)),
        ("tiled across", request(&[1], "E2", 8).with_seamless(Seamless::X)),
        ("given noise", request(&[1], "H1R1", 0).with_noise(noise(10, [1, 4, 16, 16]).unwrap())),
        ("many steps", request(&[1], "E12", 11)),
        ("five images", request(&[0, 1, 2, 1, 0], "E1", 12)),
        ("many refiner steps", request(&[2], "H1R8", 13)),
        ("guidance below one", request(&[0], "H1P1R1", 14).with_guidance(0.5)),
    ]
}

/// Requests of the bundled model.
fn images() -> Vec<(&'static str, Request)> {
    let request = |class, schedule: &str, seed| {
        Request::new(vec![class]).with_schedule(schedule.parse().unwrap()).with_seed(seed)
    };
    let init = noise(20, [1, 3, 128, 128]).unwrap().mapv(|v| v.clamp(-1.0, 1.0));
    let mask =
        noise(21, [1, 1, 128, 128]).unwrap().mapv(|v| f32::from(v > 0.0)).remove_axis(ndarray::Axis(1));
    vec![
        ("image", request(4, "H1P1R2", 1)),
        ("seamless image", request(5, "E1", 2).with_seamless(Seamless::Both)),
        ("unguided image", request(0, "H1R1", 3).with_guidance(1.0)),
        ("image from an image", request(3, "E1", 4).with_init(init.clone(), 0.5)),
        ("part of an image", request(3, "E1", 5).with_init(init, 1.0).with_mask(mask)),
        ("wide image", request(8, "E1", 6).with_size(128, 192)),
    ]
}

fn line(name: &str, bytes: &[u8]) -> String {
    format!("{name}: {}\n", sha256(bytes))
}

fn latents(model: &Model, requests: &[(&str, Request)]) -> String {
    let mut session = model.session();
    let each = requests.iter().map(|(name, request)| {
        let latents = session.latents(request).unwrap();
        line(name, &latents.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())
    });
    each.collect()
}

fn drawn(model: &Model, requests: &[(&str, Request)]) -> String {
    let mut session = model.session();
    let each = requests.iter().map(|(name, request)| {
        let image = &session.generate(request).unwrap().images[0];
        line(name, &image.rgb)
    });
    each.collect()
}

/// Requests of the bundled model that multiplies bytes.
fn bytes() -> Vec<(&'static str, Request)> {
    let request = |class, schedule: &str, seed| {
        Request::new(vec![class]).with_schedule(schedule.parse().unwrap()).with_seed(seed)
    };
    vec![
        ("image of bytes", request(4, "H1P1R2", 1)),
        ("unguided image of bytes", request(2, "E2", 2).with_guidance(1.0)),
    ]
}

/// Twenty-two requests with these numbers of threads.
fn all(threads: [usize; 2]) -> String {
    let [few, many] = threads;
    let latents = latents(&model(data("bundle"), few), &small());
    let images = drawn(&model(textures(), many), &images());
    latents + &images + &drawn(&model_in(Precision::Int8, textures(), many), &bytes())
}

#[test]
fn all_requests_give_the_bytes_that_are_written_down() {
    let found = all([1, 2]);
    print!("{found}");
    assert!(
        found == KNOWN,
        "other bytes than in tests/data/deterministic.txt; these are the new ones:\n{found}"
    );
}

#[test]
fn another_number_of_threads_gives_the_same_bytes() {
    let found = latents(&model(data("bundle"), 3), &small());
    assert!(KNOWN.starts_with(&found), "{found}");
}

#[test]
fn plain_tract_is_refused() {
    let options = ModelOptions::default().with_deterministic(true).with_backend(BackendKind::Reference);
    let error = Model::load(Bundle::open(data("bundle")).unwrap(), &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().starts_with("deterministic: "), "{error}");
}
