//! What depends on time and class alone: with its weights in memory, and without.

use std::path::Path;

use flowturbo::{Bundle, ErrorKind, Model, ModelOptions, Request, Role};
use ndarray::Array4;

use crate::copy::Copy;
use crate::textures;

fn load(path: &Path, release: bool) -> Model {
    let options = ModelOptions::default().with_release_conditioning(release);
    Model::load(Bundle::open(path).unwrap(), &options).unwrap()
}

fn request(class: i64) -> Request {
    Request::new(vec![class]).with_schedule("H1P1R1".parse().unwrap())
}

fn sample(model: &Model, class: i64) -> Array4<f32> {
    model.session().latents(&request(class)).unwrap()
}

/// Mebibytes of packed weights that conditioning holds.
fn held(model: &Model) -> f64 {
    let plan = model.plan(Role::Predictor, 2).unwrap();
    let line =
        plan.lines().find(|line| line.contains("once for each time, class and pooled context")).unwrap();
    let (before, _) = line.split_once(" MiB of packed weights").unwrap();
    before.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn without_its_weights_conditioning_gives_the_same_numbers() {
    let (whole, never, later) = (load(&textures(), false), load(&textures(), true), load(&textures(), false));
    assert_eq!(sample(&whole, 1), sample(&later, 1));
    assert!(held(&later) > 1.0);
    later.release_conditioning();
    for class in [1, 4, 1] {
        let expected = sample(&whole, class);
        assert_eq!(expected, sample(&never, class));
        assert_eq!(expected, sample(&later, class));
    }
    assert!(held(&whole) > 1.0 && held(&never) < 0.1 * held(&whole) && held(&later) == held(&never));
}

#[test]
fn weights_are_read_again_from_a_file_that_is_gone_and_not_from_one_that_was_written_to() {
    let copy = Copy::of(&textures());
    let model = load(copy.path(), true);
    let mut session = model.session();
    let expected = session.latents(&request(2)).unwrap();
    let (here, away) = (copy.path().join("predictor.onnx"), copy.path().join("away"));
    std::fs::rename(&here, &away).unwrap();
    assert!(session.latents(&request(5)).is_ok());
    let file = std::fs::OpenOptions::new().write(true).open(&away).unwrap();
    file.set_len(1000).unwrap();
    let error = session.latents(&request(6)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    assert!(error.to_string().contains("predictor.onnx"), "{error}");
    // What was computed before needs no file.
    assert_eq!(session.latents(&request(2)).unwrap(), expected);
}
