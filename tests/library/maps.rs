//! Maps beside the colour: numbers against PyTorch and NumPy, and every way to ask for images.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::PathBuf;

use flowturbo::{
    Bundle, ErrorKind, Map, Model, ModelOptions, NormalY, Output, PixelFormat, Pixels, PixelsRef,
    PlanOptions, PreviewKind, Progress, Request, Seamless, Session, Target, compile, draw_map,
};
use ndarray::{Array3, Array4, ArrayD, Axis, Ix4, s};
use ndarray_npy::NpzReader;

use crate::bundle::{copy, edit_manifest};
use crate::common::largest_error;
use crate::textures;

const EDGE: usize = 16;
/// What the bundle's decoder makes, and what is packed of it; a format for each.
const MAPS: [(Map, PixelFormat); 6] = [
    (Map::Color, PixelFormat::Rgb8),
    (Map::Height, PixelFormat::Grey16),
    (Map::Normal, PixelFormat::Bgra8),
    (Map::Roughness, PixelFormat::GreyF32),
    (Map::Orm, PixelFormat::Rgb8),
    (Map::HdrpMask, PixelFormat::Rgba8),
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/tiny-maps")
}

fn model() -> Model {
    Model::load(Bundle::open(folder().join("bundle")).unwrap(), &options()).unwrap()
}

fn options() -> ModelOptions {
    ModelOptions::default().with_threads(1)
}

fn request() -> Request {
    Request::new(vec![0, 1]).with_seed(5)
}

fn go_on(_: &Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// A map as `draw` makes it, in memory for so many pixels.
fn drawn(
    format: PixelFormat,
    pixels: usize,
    draw: impl FnOnce(&mut Pixels) -> flowturbo::Result<()>,
) -> Vec<u8> {
    let mut data = vec![7; pixels * format.bytes()];
    draw(&mut Pixels::new(format, &mut data)).unwrap();
    data
}

/// Every map of the last generation, and the same of the latents that it ended with.
fn of_session_and_of_latents(session: &mut Session) -> [Vec<Vec<u8>>; 2] {
    let latents = session.last_latents().unwrap().to_owned();
    let decoded = session.decode_maps(latents.view()).unwrap();
    let area = decoded.len() / 7;
    let manifest = session.model().manifest().clone();
    let of = |draw: &dyn Fn(Map, &mut Pixels) -> flowturbo::Result<()>| {
        MAPS.map(|(map, format)| drawn(format, area, |pixels| draw(map, pixels))).to_vec()
    };
    let session = &*session;
    [
        of(&|map, pixels| session.map_into(map, pixels)),
        of(&|map, pixels| draw_map(decoded.view(), &manifest, map, pixels)),
    ]
}

fn array(name: &str) -> ArrayD<f32> {
    NpzReader::new(File::open(folder().join("maps.npz")).unwrap()).unwrap().by_name(name).unwrap()
}

fn levels<T: ndarray_npy::ReadableElement + Copy>(name: &str) -> Vec<T> {
    let mut archive = NpzReader::new(File::open(folder().join("maps.npz")).unwrap()).unwrap();
    let array: ArrayD<T> = archive.by_name(name).unwrap();
    array.iter().copied().collect()
}

#[test]
fn the_decoders_answer_is_pytorchs() {
    let latents = array("latents").into_dimensionality::<Ix4>().unwrap();
    let (mut session, answer) = (model().session(), array("answer"));
    let maps = session.decode_maps(latents.view()).unwrap();
    assert_eq!(maps.shape(), [1, 7, EDGE, EDGE]);
    assert!(largest_error(&maps, &answer) < 1e-5);
    // What knows no maps goes on giving the colour.
    assert_eq!(session.decode(latents.view()).unwrap(), maps.slice(s![.., ..3, .., ..]));
}

#[test]
fn maps_become_the_pixels_that_numpy_makes_of_the_same_answer() {
    let answer = array("answer").into_dimensionality::<Ix4>().unwrap();
    let manifest = model().manifest().clone();
    let draw = |map, format, y| {
        drawn(format, EDGE * EDGE, |pixels| {
            let data = std::mem::replace(pixels, Pixels::new(format, &mut []));
            draw_map(answer.view(), &manifest, map, &mut data.with_normal_y(y))
        })
    };
    for (name, map, format) in [
        ("color", Map::Color, PixelFormat::Rgb8),
        ("normal_up", Map::Normal, PixelFormat::Rgb8),
        ("height8", Map::Height, PixelFormat::Grey8),
        ("roughness8", Map::Roughness, PixelFormat::Grey8),
        ("orm", Map::Orm, PixelFormat::Rgb8),
        ("mask", Map::HdrpMask, PixelFormat::Rgba8),
    ] {
        assert_eq!(draw(map, format, NormalY::Up), levels::<u8>(name), "{name}");
    }
    let (up, down) = (levels::<u8>("normal_up"), levels::<u8>("normal_down"));
    assert_eq!(draw(Map::Normal, PixelFormat::Rgb8, NormalY::Down), down);
    assert_ne!(up, down);
    for (name, map) in [("height16", Map::Height), ("roughness16", Map::Roughness)] {
        let made = draw(map, PixelFormat::Grey16, NormalY::Up);
        let made = made.chunks_exact(2).map(|two| u16::from_ne_bytes([two[0], two[1]]));
        // Of half floats of 24 bits, one in some hundred is on the other side of a half.
        assert!(made.zip(levels::<u16>(name)).all(|(a, b)| a.abs_diff(b) <= 1), "{name}");
    }
    let made = draw(Map::Height, PixelFormat::GreyF32, NormalY::Up);
    let made = made.chunks_exact(4).map(|four| f32::from_ne_bytes(four.try_into().unwrap()));
    assert!(largest_error(&made.collect::<Vec<_>>(), &array("height_f32")) < 1e-6);
}

#[test]
fn every_kind_of_request_has_the_maps_of_its_latents() {
    let mut session = model().session();
    let init = Array4::from_shape_fn([1, 3, EDGE, EDGE], |(_, c, y, x)| ((c + x * y) % 9) as f32 / 4.0 - 1.0);
    for (name, request) in [
        ("plain", request()),
        ("by classes of one", Request::new(vec![1]).with_guidance(1.0)),
        ("seamless", request().with_seamless(Seamless::Both)),
        ("larger", request().with_size(32, 24)),
        ("larger and seamless", request().with_size(24, 48).with_seamless(Seamless::X)),
        ("morph", request().with_morph(1, 0.4)),
        ("variation", request().with_variation(9, 0.3)),
        ("init", request().with_init(init, 0.5)),
    ] {
        let generation = session.generate(&request).unwrap();
        let [ours, theirs] = of_session_and_of_latents(&mut session);
        assert_eq!(ours, theirs, "{name}");
        let colours: Vec<u8> = generation.images.iter().flat_map(|image| image.rgb.clone()).collect();
        assert_eq!(ours[0], colours, "{name}");
        let flat = ours.iter().zip(MAPS).find(|(map, _)| map.iter().all(|byte| *byte == map[0]));
        assert!(flat.is_none(), "{name}: {:?} is one value", flat.map(|(_, map)| map));
    }
}

#[test]
fn a_mask_restores_the_colour_to_the_bit_and_leaves_other_maps_to_the_decoder() {
    let mut session = model().session();
    let bytes: Vec<u8> = (0..EDGE * EDGE * 3).map(|i| (i * 37 % 256) as u8).collect();
    let init = PixelsRef::rgb8(&bytes).to_array([1, EDGE, EDGE]).unwrap();
    let mask = Array3::from_shape_fn([1, EDGE, EDGE], |(_, _, x)| f32::from(u8::from(x >= 8)));
    session.generate(&request().with_init(init, 1.0).with_mask(mask)).unwrap();
    let [ours, decoded] = of_session_and_of_latents(&mut session);
    // Colour alone differs from what the decoder made.
    assert_ne!(ours[0], decoded[0]);
    assert_eq!(ours[1..], decoded[1..]);
    for (i, pixel) in ours[0].chunks_exact(3).enumerate() {
        let (x, place) = (i % EDGE, i % (EDGE * EDGE) * 3);
        let wanted = if x < 8 { &bytes[place..][..3] } else { &decoded[0][i * 3..][..3] };
        assert_eq!(pixel, wanted, "pixel {i}");
    }
}

#[test]
fn functions_that_know_no_maps_give_the_colour() {
    let mut session = model().session();
    let (request, area) = (request(), 2 * EDGE * EDGE);
    let observer = &mut go_on;
    let whole = drawn(PixelFormat::Rgb8, area, |pixels| session.generate_into(&request, pixels, observer));
    let images = session.generate(&request).unwrap().images;
    assert_eq!(images.iter().flat_map(|image| image.rgb.clone()).collect::<Vec<_>>(), whole);
    session.begin(&request, Output::Images).unwrap();
    let done = drawn(PixelFormat::Rgb8, area, |pixels| session.finish_into(pixels, observer));
    assert_eq!(done, whole);
    let preview = drawn(PixelFormat::Rgb8, area, |pixels| session.preview_into(PreviewKind::Decoded, pixels));
    assert_eq!(preview, whole);
    let latents = session.last_latents().unwrap().to_owned();
    assert_eq!(drawn(PixelFormat::Rgb8, area, |pixels| session.decode_into(latents.view(), pixels)), whole);
    let small = drawn(PixelFormat::Rgb8, 32, |pixels| session.preview_into(PreviewKind::Linear, pixels));
    // The preview's red is half of the latent's first channel.
    let red = |value: f32| ((value * 0.5).clamp(-1.0, 1.0) + 1.0) * 127.5;
    let first = latents.slice(s![.., 0, .., ..]);
    for (pixel, &value) in small.chunks_exact(3).zip(first.iter()) {
        assert!((f32::from(pixel[0]) - red(value)).abs() < 0.51, "{pixel:?}: {value}");
    }
    let encoded = session.encode(Array4::zeros([1, 3, EDGE, EDGE]).view()).unwrap();
    assert_eq!(encoded.shape(), [1, 4, 4, 4]);
}

#[test]
fn maps_come_when_the_last_image_is_done_in_any_layout_and_as_often_as_one_likes() {
    let mut session = model().session();
    let observer = &mut go_on;
    let mut wide = vec![7; 2 * EDGE * (EDGE * 2 + 3)];
    let error = |session: &Session, map| {
        session.map_into(map, &mut Pixels::new(PixelFormat::Grey16, &mut [])).unwrap_err().to_string()
    };
    assert_eq!(error(&session, Map::Height), "no generation was begun, or the last one failed");
    session.begin(&request(), Output::Images).unwrap();
    let left = "the generation has images left to make; its maps come with the last";
    while !session.step(None, observer).unwrap() {
        assert_eq!(error(&session, Map::Height), left);
    }
    let dense = drawn(PixelFormat::Grey16, 2 * EDGE * EDGE, |pixels| session.map_into(Map::Height, pixels));
    let pixels = Pixels::new(PixelFormat::Grey16, &mut wide);
    session.map_into(Map::Height, &mut pixels.with_row_stride(EDGE * 2 + 3)).unwrap();
    for (row, wide) in dense.chunks_exact(EDGE * 2).zip(wide.chunks_exact(EDGE * 2 + 3)) {
        assert_eq!((row, &[7; 3][..]), wide.split_at(EDGE * 2));
    }
    session.latents(&request()).unwrap();
    let none = "the generation was begun for latents alone; it has no images";
    assert_eq!(error(&session, Map::Height), none);
}

#[test]
fn a_plan_has_the_maps_of_its_bundle_to_the_bit() {
    let mut bytes = Vec::new();
    let chosen = PlanOptions::default().with_batches(vec![1, 2]).with_target(Target::of_this_processor());
    let chosen = chosen.with_sizes(vec![[EDGE, EDGE], [32, 24]]);
    compile(Bundle::open(folder().join("bundle")).unwrap(), &chosen, &mut bytes).unwrap();
    let plan = Bundle::from_bytes(bytes, &flowturbo::Limits::default()).unwrap();
    assert_eq!(plan.manifest().maps(), [Map::Color, Map::Height, Map::Normal, Map::Roughness]);
    let (ours, theirs) = (Model::load(plan, &options()).unwrap(), model());
    for request in [request(), request().with_size(32, 24).with_guidance(1.0)] {
        let [ours, theirs] = [&ours, &theirs].map(|model| {
            let mut session = model.session();
            session.generate(&request).unwrap();
            of_session_and_of_latents(&mut session)
        });
        assert_eq!(ours, theirs);
    }
}

#[test]
fn the_memory_that_is_told_counts_every_map() {
    let folder = tempfile::tempdir().unwrap();
    copy(&self::folder().join("bundle"), folder.path());
    let model = model();
    let session = |model: &Model, output| model.prepare(&request(), output).unwrap().session;
    let with_maps = session(&model, Output::Images) - session(&model, Output::Latents);
    // Of two images, beside what the decoder itself takes.
    assert!(with_maps >= 2 * 7 * EDGE * EDGE * size_of::<f32>(), "{with_maps}");
}

#[test]
fn a_map_that_a_model_has_not_is_refused_with_those_that_it_has() {
    let mut session = model().session();
    session.generate(&request()).unwrap();
    let refuse = |session: &Session, map, format, bytes: usize| {
        let error = session.map_into(map, &mut Pixels::new(format, &mut vec![0; bytes])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        error.to_string()
    };
    let area = 2 * EDGE * EDGE;
    assert_eq!(
        refuse(&session, Map::Metallic, PixelFormat::Grey8, area),
        "bundle 'tiny-maps' has no metallic map; it has color, height, normal, roughness, orm, mask"
    );
    assert_eq!(
        refuse(&session, Map::Normal, PixelFormat::Grey8, area),
        "pixels: GREY8 holds no normal map; RGB8, RGBA8, BGRA8, RGB_F16, RGB_F32 can"
    );
    assert_eq!(
        refuse(&session, Map::Height, PixelFormat::Grey16, area),
        "pixels: 512 bytes; 2 of 16 x 16 GREY16 take 1024"
    );
    let answer = Array4::zeros([1, 3, EDGE, EDGE]);
    let mut memory = vec![0; area];
    let mut pixels = Pixels::new(PixelFormat::Grey8, &mut memory);
    let error =
        draw_map(answer.view(), model().manifest(), Map::Height, &mut pixels).unwrap_err().to_string();
    assert_eq!(error, "the maps are 7 channels, were given as [1, 3, 16, 16]");

    let mut plain = Model::open(textures()).unwrap().session();
    plain.generate(&Request::new(vec![3]).with_schedule("E1".parse().unwrap())).unwrap();
    assert_eq!(
        refuse(&plain, Map::Orm, PixelFormat::Rgb8, 0),
        "bundle 'textures' has no orm map, which packs its roughness; it has color"
    );
    let colours = drawn(PixelFormat::Rgb8, 128 * 128, |pixels| plain.map_into(Map::Color, pixels));
    assert!(colours.iter().any(|byte| *byte != colours[0]));
}

#[test]
fn a_decoder_of_other_channels_than_the_manifest_lists_is_refused_when_it_is_loaded() {
    for (maps, made) in [(vec!["color", "height"], "4"), (vec!["color"], "3")] {
        let folder = tempfile::tempdir().unwrap();
        copy(&self::folder().join("bundle"), folder.path());
        edit_manifest(folder.path(), |manifest| manifest["image"]["maps"] = maps.into());
        let error = Model::open(folder.path()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("decoder.onnx") && text.contains(made) && text.contains('7'), "{text}");
        assert!(error.kind() == ErrorKind::InvalidBundle && !text.contains('\n'), "{text}");
    }
}

#[test]
fn images_of_a_batch_have_their_own_maps() {
    let mut session = model().session();
    session.generate(&request()).unwrap();
    let both = drawn(PixelFormat::Grey16, 2 * EDGE * EDGE, |pixels| session.map_into(Map::Height, pixels));
    let (first, second) = both.split_at(both.len() / 2);
    assert_ne!(first, second);
    let latents = session.last_latents().unwrap().to_owned();
    let decoded = session.decode_maps(latents.select(Axis(0), &[1]).view()).unwrap();
    let manifest = session.model().manifest().clone();
    let alone = drawn(PixelFormat::Grey16, EDGE * EDGE, |pixels| {
        draw_map(decoded.view(), &manifest, Map::Height, pixels)
    });
    assert_eq!(alone, second);
}
