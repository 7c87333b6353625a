//! Images that continue on their other side, and that are larger than the networks' own.

use flowturbo::{BackendKind, Bundle, ErrorKind, Model, ModelOptions, Request, Seamless};
use ndarray::{Array4, Axis, s};

use crate::common::{data, largest_error};
use crate::copy::Copy;
use crate::textures;

fn request() -> Request {
    Request::new(vec![0, 5]).with_seed(2).with_schedule("H1P1R1".parse().unwrap())
}

/// The mean step across the border, against that between neighbours inside.
fn seam(images: &Array4<f32>, axis: usize) -> f32 {
    let last = images.len_of(Axis(axis)) - 1;
    let step = |a: usize, b: usize| {
        let difference = &images.index_axis(Axis(axis), a) - &images.index_axis(Axis(axis), b);
        difference.mapv(f32::abs).mean().unwrap()
    };
    let inside = (0..last).map(|i| step(i, i + 1)).sum::<f32>() / last as f32;
    step(last, 0) / inside
}

#[test]
fn a_tile_has_no_seam() {
    let model = Model::open(textures()).unwrap();
    let mut session = model.session();
    let request = Request::new((0..11).collect()).with_seed(1).with_seamless(Seamless::Both);
    let latents = session.latents(&request).unwrap();
    let images = session.decode(latents.view()).unwrap();
    let seams = [2, 3].map(|axis| seam(&images, axis));
    println!("seams {seams:?}");
    assert!(seams.iter().all(|seam| *seam < 1.2), "{seams:?}");
}

#[test]
fn a_large_tile_has_no_seam_either() {
    let mut session = Model::open(textures()).unwrap().session();
    let request = request().with_size(256, 192).with_seamless(Seamless::Both);
    let generation = session.generate(&request).unwrap();
    assert!(generation.images.iter().all(|image| (image.width, image.height) == (192, 256)));
    let images = session.decode(generation.latents.view()).unwrap();
    assert_eq!(images.shape(), [2, 3, 256, 192]);
    let seams = [2, 3].map(|axis| seam(&images, axis));
    println!("seams {seams:?}");
    assert!(seams.iter().all(|seam| *seam < 1.3), "{seams:?}");
}

/// How much of the latents' variance lies in where a cell is: the mean over images, by place.
fn of_places(latents: &Array4<f32>, axis: usize) -> f32 {
    let mean = latents.mean_axis(Axis(0)).unwrap();
    let profile = mean.mean_axis(Axis(3 - axis)).unwrap();
    let centre = profile.mean_axis(Axis(1)).unwrap().insert_axis(Axis(1));
    (&profile - &centre).mapv(|v| v * v).mean().unwrap()
}

/// Networks of random weights care much about where they look: each axis that wraps loses that, the other keeps it.
#[test]
fn no_place_of_a_tile_is_like_no_other() {
    let bundle = Bundle::open(data("bundle")).unwrap();
    let mut session = Model::load(bundle, &ModelOptions::default()).unwrap().session();
    let mut places = |seamless| {
        let request =
            Request::new(vec![0; 128]).with_seamless(seamless).with_schedule("E24".parse().unwrap());
        let latents = session.latents(&request).unwrap();
        [of_places(&latents, 1), of_places(&latents, 2)]
    };
    let [none, x, y, both] = [Seamless::None, Seamless::X, Seamless::Y, Seamless::Both].map(&mut places);
    println!("down and across: none {none:?}, x {x:?}, y {y:?}, both {both:?}");
    for axis in [0, 1] {
        let (along, across) = if axis == 0 { (y, x) } else { (x, y) };
        assert!(along[axis] < 0.25 * none[axis] && both[axis] < 0.25 * none[axis]);
        assert!(across[axis] > 0.5 * none[axis]);
    }
}

#[test]
fn asking_for_a_tile_moves_the_windows_and_only_along_its_axes() {
    let mut session = Model::open(textures()).unwrap().session();
    let mut latents = |seamless| session.latents(&request().with_seamless(seamless)).unwrap();
    let all = [Seamless::None, Seamless::X, Seamless::Y, Seamless::Both].map(&mut latents);
    for (i, a) in all.iter().enumerate() {
        assert!(all[..i].iter().all(|b| largest_error(a, b) > 1e-3));
    }
}

/// Whatever way windows are grouped into calls, an image's latent is the same.
#[test]
fn an_images_windows_do_not_depend_on_its_batch_or_the_backend() {
    let bundle = || Bundle::open(textures()).unwrap();
    let fused = Model::load(bundle(), &ModelOptions::default()).unwrap();
    let options = ModelOptions::default().with_backend(BackendKind::Reference);
    let reference = Model::load(bundle(), &options).unwrap();
    let large = |classes: &[i64]| {
        Request::new(classes.to_vec())
            .with_size(256, 192)
            .with_seamless(Seamless::X)
            .with_schedule("H1R1".parse().unwrap())
    };
    let two = fused.session().latents(&large(&[2, 6])).unwrap();
    assert_eq!(two.shape(), [2, 8, 32, 24]);
    let one = fused.session().latents(&large(&[2])).unwrap();
    assert!(largest_error(&one, two.slice(s![..1, .., .., ..])) < 1e-4);
    let slow = reference.session().latents(&large(&[2])).unwrap();
    let error = largest_error(&one, &slow);
    println!("against plain tract: {error:.1e}");
    assert!(error < 1e-3);
}

#[test]
fn sizes_and_tiles_that_cannot_be_had_are_refused() {
    let mut session = Model::open(textures()).unwrap().session();
    for (size, kind, part) in [
        (
            [256, 130],
            ErrorKind::InvalidArgument,
            "size: 130 x 256 (width x height), must be at least 128 x 128, in steps of 8 x 8",
        ),
        ([64, 128], ErrorKind::InvalidArgument, "must be at least 128 x 128"),
        ([0, 0], ErrorKind::InvalidArgument, "must be at least"),
        ([1 << 40, 128], ErrorKind::LimitExceeded, "above the limit of 8192 pixels (max_edge)"),
        ([8192, 8192], ErrorKind::LimitExceeded, "max_tensor_bytes"),
    ] {
        let error = session.latents(&request().with_size(size[0], size[1])).unwrap_err();
        assert!(error.kind() == kind && error.to_string().contains(part), "{error}");
    }
    let copy = Copy::of(&textures());
    copy.edit_manifest(|m| drop(m["image"].as_object_mut().unwrap().remove("wraps")));
    let mut session = copy.load().unwrap().session();
    let error = session.generate(&request().with_seamless(Seamless::X)).unwrap_err().to_string();
    assert!(error.contains("does not wrap around (image.wraps in bundle.json)"), "{error}");
    assert!(session.latents(&request().with_seamless(Seamless::X)).is_ok());
}
