//! The bundled model: its autoencoder, and what it paints.

use std::ops::ControlFlow;

use flowturbo::{Bundle, ErrorKind, Model, ModelOptions, Pixels, Request};
use ndarray::{Array4, Axis, s};

use crate::common::largest_error;
use crate::copy::Copy;
use crate::textures;

/// A smooth image that tiles, values within [-0.8, 0.8].
fn waves() -> Array4<f32> {
    Array4::from_shape_fn([1, 3, 128, 128], |(_, channel, y, x)| {
        let angle = |pixel: usize, times: f32| pixel as f32 * std::f32::consts::TAU * times / 128.0;
        0.4 * (angle(x, 2.0) + channel as f32).sin() + 0.4 * angle(y, 1.0).cos()
    })
}

#[test]
fn it_is_small_enough_to_ship() {
    let files = std::fs::read_dir(textures()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
    let bytes: u64 = files.sum();
    assert!((1_000_000..25_000_000).contains(&bytes), "{bytes} bytes");
}

#[test]
fn what_is_encoded_and_decoded_looks_like_what_it_was() {
    let model = Model::open(textures()).unwrap();
    let mut session = model.session();
    let image = waves();
    let latent = session.encode(image.view()).unwrap();
    assert_eq!(latent.shape(), [1, 8, 16, 16]);
    let rebuilt = session.decode(latent.view()).unwrap();
    let mean = (&rebuilt - &image).mapv(f32::abs).mean().unwrap();
    println!("mean error {mean:.3} of {:.3}", image.mapv(f32::abs).mean().unwrap());
    assert!(mean < 0.12, "{mean}");
}

#[test]
fn the_manifests_scale_and_shift_stand_between_latents_and_autoencoder() {
    let plain = Model::open(textures()).unwrap();
    let copy = Copy::of(&textures());
    copy.edit_manifest(|m| {
        m["latent"]["scale"] = 2.0.into();
        m["latent"]["shift"] = 0.5.into();
    });
    let scaled = copy.load().unwrap();
    let image = waves();
    let latent = plain.session().encode(image.view()).unwrap();
    let expected = latent.mapv(|value| (value - 0.5) * 2.0);
    let found = scaled.session().encode(image.view()).unwrap();
    assert!(largest_error(&found, &expected) < 1e-4);
    let (a, b) = (plain.session().decode(latent.view()), scaled.session().decode(expected.view()));
    assert!(largest_error(&a.unwrap(), &b.unwrap()) < 1e-3);
}

#[test]
fn other_shapes_are_refused() {
    let model = Model::open(textures()).unwrap();
    let mut session = model.session();
    let error = session.decode(Array4::zeros([1, 3, 16, 16]).view()).unwrap_err().to_string();
    let takes = "the decoder takes [N, 8, 16, 16], other heights and widths in steps of 1 and 1; \
                 was given [1, 3, 16, 16]";
    assert!(error.contains(takes), "{error}");
    let error = session.encode(Array4::zeros([1, 4, 128, 128]).view()).unwrap_err().to_string();
    assert!(error.contains("the encoder takes [N, 3, 128, 128]"), "{error}");
}

/// Rolling the latent by a cell rolls the image by eight pixels: nothing marks the border.
#[test]
fn the_decoder_wraps_around() {
    let model = Model::open(textures()).unwrap();
    let mut session = model.session();
    let latent = flowturbo::noise(3, [1, 8, 16, 16]).unwrap();
    let roll = |a: &Array4<f32>, by: usize| {
        let parts = [a.slice(s![.., .., .., by..]), a.slice(s![.., .., .., ..by])];
        ndarray::concatenate(Axis(3), &parts).unwrap()
    };
    let (still, moved) =
        (session.decode(latent.view()).unwrap(), session.decode(roll(&latent, 5).view()).unwrap());
    assert!(largest_error(&roll(&still, 40), &moved) < 1e-3);
}

/// The tiny networks are below the size at which tract shares a product between threads; these are not.
#[test]
fn the_thread_count_does_not_change_a_texture() {
    let latents = |threads| {
        let bundle = Bundle::open(textures()).unwrap();
        let model = Model::load(bundle, &ModelOptions::default().with_threads(threads)).unwrap();
        model.session().latents(&Request::new(vec![4]).with_seed(2)).unwrap()
    };
    let one = latents(1);
    for threads in [2, 3] {
        let error = largest_error(&one, &latents(threads));
        println!("{threads} threads: {error:.1e}");
        assert!(error <= 1e-5, "{threads} threads: {error}");
    }
}

#[test]
fn classes_differ_in_colour_as_they_should() {
    let model = Model::open(textures()).unwrap();
    let mean = |class: &str| {
        let request = Request::new(vec![model.class(class).unwrap(); 2]);
        let images = model.session().generate(&request).unwrap().images;
        let bytes: Vec<f64> =
            images.iter().flat_map(|image| &image.rgb).map(|&byte| f64::from(byte)).collect();
        let channel = |i| bytes.iter().skip(i).step_by(3).sum::<f64>() / (bytes.len() / 3) as f64;
        [channel(0), channel(1), channel(2)]
    };
    let ([grass_r, grass_g, grass_b], [sand_r, _, sand_b], snow) =
        (mean("grass"), mean("sand"), mean("snow"));
    assert!(grass_g > grass_r && grass_g > grass_b + 20.0, "grass is green");
    assert!(sand_r > sand_b + 20.0, "sand is yellow");
    assert!(snow.iter().all(|&channel| channel > 150.0), "snow is bright");
}

#[test]
fn what_goes_to_the_callers_memory_is_what_is_given_back() {
    let model = Model::open(textures()).unwrap();
    let mut session = model.session();
    let request = Request::new(vec![2, 7]).with_seed(5).with_schedule("H1R1".parse().unwrap());
    let generation = session.generate(&request).unwrap();
    let go_on = &mut |_: &flowturbo::Progress| ControlFlow::Continue(());
    let (mut rgb, mut latents) = (vec![9; 2 * 128 * 128 * 3], vec![9.0; 2 * 8 * 16 * 16]);
    session.generate_into(&request, &mut Pixels::rgb8(&mut rgb), go_on).unwrap();
    assert!(generation.images.iter().flat_map(|image| &image.rgb).eq(&rgb));
    session.latents_into(&request, &mut latents, go_on).unwrap();
    assert!(generation.latents.iter().eq(&latents));

    // Another size, or a stop, leaves the memory alone and the session usable.
    latents.fill(9.0);
    rgb.fill(9);
    let stop = &mut |_: &flowturbo::Progress| ControlFlow::Break(());
    for (error, kind) in [
        (
            session.generate_into(&request, &mut Pixels::rgb8(&mut rgb[1..]), go_on),
            ErrorKind::InvalidArgument,
        ),
        (session.generate_into(&request, &mut Pixels::rgb8(&mut rgb), stop), ErrorKind::Cancelled),
        (session.latents_into(&request, &mut latents[1..], go_on), ErrorKind::InvalidArgument),
        (session.latents_into(&request, &mut latents, stop), ErrorKind::Cancelled),
    ] {
        assert_eq!(error.unwrap_err().kind(), kind);
    }
    assert!(latents.iter().all(|latent| *latent == 9.0) && rgb.iter().all(|byte| *byte == 9));
    assert_eq!(session.latents(&request).unwrap(), generation.latents);
}
