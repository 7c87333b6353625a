//! Images to begin with, masks, variations and morphs on the bundled model.

use flowturbo::{ErrorKind, Generation, Image, Model, Output, PixelsRef, Request};
use ndarray::{Array3, Array4, Axis, concatenate, s};

use crate::common::largest_error;
use crate::textures;

const EDGE: usize = 128;
/// Grass, sand.
const CLASSES: [i64; 2] = [4, 8];

fn model() -> Model {
    Model::open(textures()).unwrap()
}

fn request() -> Request {
    Request::new(CLASSES.to_vec()).with_seed(11).with_schedule("H1P2R2".parse().unwrap())
}

/// Bytes of every value, in bands, with a grain.
fn image() -> Vec<u8> {
    (0..EDGE * EDGE * 3).map(|i| ((i / 3 / EDGE) * 2 % 256) as u8 ^ (i * 7 % 8) as u8).collect()
}

fn init() -> Array4<f32> {
    PixelsRef::rgb8(&image()).to_array([1, EDGE, EDGE]).unwrap()
}

fn pixel(image: &Image, x: usize, y: usize) -> &[u8] {
    &image.rgb[(y * EDGE + x) * 3..][..3]
}

/// Root mean square of the difference.
fn distance(a: &Array4<f32>, b: &Array4<f32>) -> f32 {
    (a - b).mapv(|d| d * d).mean().unwrap().sqrt()
}

#[test]
fn what_a_mask_keeps_stays_to_the_bit_whatever_the_schedule() {
    let mut session = model().session();
    // The left half stays, the right is new; between them eight pixels of slope.
    let mask = Array3::from_shape_fn([1, EDGE, EDGE], |(_, _, x)| ((x as f32 - 60.0) / 8.0).clamp(0.0, 1.0));
    let bytes = image();
    for (schedule, strength) in [("H1P2R2", 1.0), ("E3", 0.6), ("P2R1", 1.0), ("H1R1P1", 0.3)] {
        let request = request().with_schedule(schedule.parse().unwrap());
        let request = request.with_init(init(), strength).with_mask(mask.clone());
        let Generation { images, latents, .. } = session.generate(&request).unwrap();
        let encoded = session.encode(init().view()).unwrap();
        for (i, image) in images.iter().enumerate() {
            let mut changed = 0;
            for y in 0..EDGE {
                for x in 0..EDGE {
                    let same = pixel(image, x, y) == &bytes[(y * EDGE + x) * 3..][..3];
                    assert!(same || x > 60, "{schedule}: pixel {x}, {y} of image {i} changed");
                    changed += usize::from(!same && x >= 68);
                }
            }
            assert!(changed > EDGE * 50, "{schedule}: only {changed} pixels of image {i} are new");
            // Cells 0 to 6 hold no pixel of the slope.
            let kept = |latents: &Array4<f32>, i: usize| latents.slice(s![i, .., .., ..7]).to_owned();
            assert_eq!(kept(&latents, i), kept(&encoded, 0), "{schedule}");
        }
        assert_ne!(images[0].rgb, images[1].rgb, "two classes");
    }
}

#[test]
fn a_larger_image_is_edited_where_its_mask_says() {
    let (height, width) = (192, 256);
    let init =
        Array4::from_shape_fn([1, 3, height, width], |(_, c, y, x)| ((x + y * c) % 50) as f32 / 25.0 - 1.0);
    let mask = Array3::from_shape_fn([1, height, width], |(_, _, x)| f32::from(u8::from(x >= 100)));
    let request = request().with_size(height, width).with_init(init.clone(), 1.0).with_mask(mask.clone());
    let mut session = model().session();
    let image = session.generate(&request).unwrap().images.swap_remove(1);
    let bytes = image.rgb.as_slice();
    let made = PixelsRef::rgb8(bytes).to_array([1, height, width]).unwrap();
    let changed = (&made - &init).mapv(|d| f32::from(u8::from(d.abs() > 1.0 / 127.0))).sum_axis(Axis(1));
    assert_eq!((&changed * &(1.0 - &mask)).sum(), 0.0);
    assert!((&changed * &mask).sum() > (height * 140) as f32);
}

#[test]
fn a_mask_of_ones_and_the_whole_strength_change_nothing() {
    let mut session = model().session();
    let plain = session.generate(&request()).unwrap();
    let mask = Array3::ones([2, EDGE, EDGE]);
    let from_image = session.generate(&request().with_init(init(), 1.0)).unwrap();
    let masked = session.generate(&request().with_init(init(), 1.0).with_mask(mask.clone())).unwrap();
    assert_eq!((&plain.latents, &plain.images), (&from_image.latents, &from_image.images));
    assert_eq!((&plain.latents, &plain.images), (&masked.latents, &masked.images));
    let weaker = session.generate(&request().with_init(init(), 0.5)).unwrap();
    let masked = session.generate(&request().with_init(init(), 0.5).with_mask(mask)).unwrap();
    assert_eq!(weaker.latents, masked.latents);
    assert_ne!(weaker.latents, plain.latents);
    // And nothing of an edit is left for the next request.
    assert_eq!(session.generate(&request()).unwrap().latents, plain.latents);
}

#[test]
fn the_weaker_an_edit_the_more_is_left_of_the_image() {
    let mut session = model().session();
    let made = session.latents(&request().with_seed(3)).unwrap();
    let image = session.decode(made.view()).unwrap().mapv(|v| v.clamp(-1.0, 1.0));
    let encoded = session.encode(image.view()).unwrap();
    let mut from_start = 0.0;
    for strength in [0.05, 0.3, 0.6, 1.0] {
        let edited = session.latents(&request().with_init(image.clone(), strength)).unwrap();
        let distance = distance(&edited, &encoded);
        println!("strength {strength}: {distance:.3} from the image");
        assert!(distance > from_start + 0.02, "{strength}: {distance}, was {from_start}");
        from_start = distance;
    }
}

#[test]
fn a_variation_leads_from_one_seed_to_another() {
    let mut session = model().session();
    let latents = |session: &mut flowturbo::Session, request: Request| session.latents(&request).unwrap();
    let (from, to) = (latents(&mut session, request()), latents(&mut session, request().with_seed(12)));
    let vary = |amount| request().with_variation(12, amount);
    assert!(largest_error(&latents(&mut session, vary(0.0)), &from) < 1e-4);
    assert!(largest_error(&latents(&mut session, vary(1.0)), &to) < 1e-4);
    let [near, half] = [0.1, 0.5].map(|amount| latents(&mut session, vary(amount)));
    let whole = distance(&from, &to);
    println!("0.1: {:.3}, 0.5: {:.3} of {whole:.3}", distance(&from, &near), distance(&from, &half));
    assert!(distance(&from, &near) < 0.4 * whole && distance(&from, &near) > 0.01);
    assert!(distance(&from, &near) < distance(&from, &half));
    // The mix is as strong as its ends, not weaker.
    let strength = |latents: &Array4<f32>| latents.mapv(|v| v * v).mean().unwrap();
    assert!(strength(&half) > 0.8 * strength(&from).min(strength(&to)));
}

#[test]
fn a_morph_leads_from_one_class_to_another() {
    let mut session = model().session();
    for schedule in ["H1P2R2", "E4"] {
        for guidance in [2.5, 1.0] {
            let request = |class| {
                let request = Request::new(vec![class]).with_seed(4).with_guidance(guidance);
                request.with_schedule(schedule.parse().unwrap())
            };
            let [grass, sand] = CLASSES.map(|class| session.latents(&request(class)).unwrap());
            let mut morph =
                |amount| session.latents(&request(CLASSES[0]).with_morph(CLASSES[1], amount)).unwrap();
            let [start, half, end] = [0.0, 0.5, 1.0].map(&mut morph);
            let whole = distance(&grass, &sand);
            assert!(largest_error(&start, &grass) < 1e-3, "{schedule}, {guidance}");
            assert!(largest_error(&end, &sand) < 1e-3, "{schedule}, {guidance}");
            let (a, b) = (distance(&half, &grass), distance(&half, &sand));
            println!("{schedule}, guidance {guidance}: {a:.3} and {b:.3} of {whole:.3}");
            assert!(a > 0.1 * whole && b > 0.1 * whole && a < whole && b < whole);
        }
    }
}

#[test]
fn each_image_has_its_own_morph() {
    let mut session = model().session();
    let mut request = request().with_morph(9, 0.5);
    request.morphs[1].amount = 0.25;
    let both = session.latents(&request).unwrap();
    let [mut first, mut second] = [0, 1].map(|_| request.clone());
    (first.morphs[1].amount, second.morphs[0].amount) = (0.9, 0.9);
    let part = |latents: &Array4<f32>, i| latents.index_axis(Axis(0), i).to_owned();
    let (first, second) = (session.latents(&first).unwrap(), session.latents(&second).unwrap());
    assert_eq!((part(&both, 0), part(&both, 1)), (part(&first, 0), part(&second, 1)));
    assert_ne!(part(&first, 1), part(&both, 1));
}

#[test]
fn what_makes_no_sense_is_refused_with_its_name_and_the_session_goes_on() {
    let mut session = model().session();
    let mask = || Array3::zeros([1, EDGE, EDGE]);
    let mut wrong_mask = mask();
    wrong_mask[[0, 1, 1]] = 1.5;
    let mut not_a_number = init();
    not_a_number[[0, 1, 2, 3]] = f32::NAN;
    let mut short = request().with_morph(4, 0.5);
    short.morphs.pop();
    let refused = |kind, parts: &str, request: Request, session: &mut flowturbo::Session| {
        let error = session.generate(&request).unwrap_err();
        assert!(error.kind() == kind && error.to_string().contains(parts), "{error}");
    };
    let invalid = ErrorKind::InvalidArgument;
    for (parts, request) in [
        ("strength 0: must be above 0", request().with_init(init(), 0.0)),
        ("strength 1.5", request().with_init(init(), 1.5)),
        ("strength NaN", request().with_init(init(), f32::NAN)),
        ("mask: without init", request().with_mask(mask())),
        (
            "mask: shape [1, 64, 128]",
            request().with_init(init(), 1.0).with_mask(Array3::zeros([1, 64, EDGE])),
        ),
        ("mask: holds 1.5, must be 0 to 1", request().with_init(init(), 1.0).with_mask(wrong_mask)),
        ("init: shape [3, 3, 128, 128], must be [2, 3, 128, 128]", {
            request().with_init(Array4::zeros([3, 3, EDGE, EDGE]), 1.0)
        }),
        ("variation: an amount of -0.1", request().with_variation(1, -0.1)),
        ("morph: an amount of 2", request().with_morph(4, 2.0)),
        ("class 99 is out of range", request().with_morph(99, 0.5)),
        ("morphs: 1 for 2 images", short),
    ] {
        refused(invalid, parts, request, &mut session);
    }
    refused(ErrorKind::NonFinite, "init: holds", request().with_init(not_a_number, 1.0), &mut session);
    assert!(session.generate(&request().with_init(init(), 0.5).with_mask(mask())).is_ok());
}

#[test]
fn the_memory_that_is_told_counts_each_image_to_begin_with_and_its_mask() {
    let model = model();
    let told = |request: &Request| model.prepare(request, Output::Latents).unwrap().session;
    let one = request().with_init(init(), 0.5);
    let two = request().with_init(concatenate![Axis(0), init(), init()], 0.5);
    let masked = one.clone().with_mask(Array3::ones([1, EDGE, EDGE]));
    let pixels = EDGE * EDGE * size_of::<f32>();
    assert_eq!(told(&two) - told(&one), 3 * pixels);
    // A mask for all is kept for each.
    assert!(told(&masked) - told(&one) >= 2 * pixels);
}
