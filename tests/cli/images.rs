//! Images that the user gives to `flowturbo generate` and `encode`. What each kind of file means is tested beside its
//! reader.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use ndarray::Array4;
use ndarray_npy::read_npy;
use png::ColorType;
use tempfile::tempdir;

use crate::common::data;
use crate::program::{Image, argument, fail, flowturbo, names, run, tiny};

const EDGE: usize = 128;

/// A PNG file of `EDGE` x `EDGE` pixels, with an Exif block that says which way up it is.
fn write_png(
    path: &Path,
    kind: ColorType,
    orientation: u8,
    pixel: impl Fn(usize, usize) -> Vec<u8>,
) -> String {
    let mut encoder = png::Encoder::new(fs::File::create(path).unwrap(), EDGE as u32, EDGE as u32);
    encoder.set_color(kind);
    let mut writer = encoder.write_header().unwrap();
    let entry = [0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0];
    let exif = [&b"MM\0*\0\0\0\x08\0\x01"[..], &entry, &[0; 4]].concat();
    writer.write_chunk(png::chunk::eXIf, &exif).unwrap();
    let pixels: Vec<u8> = (0..EDGE * EDGE).flat_map(|i| pixel(i % EDGE, i / EDGE)).collect();
    writer.write_image_data(&pixels).unwrap();
    writer.finish().unwrap();
    argument(path)
}

fn arguments<'a>(output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["generate", "--class", "sand", "--schedule", "E1", "-o", output][..], more].concat()
}

/// Runs to success; what was said on stderr.
fn said(output: &str, more: &[&str]) -> String {
    let Output { status, stderr, .. } = flowturbo(&arguments(output, more)).output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(status.success(), "{more:?}: {stderr}");
    stderr
}

#[test]
fn an_init_is_turned_upright_and_may_come_through_a_pipe() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let pixel = |x: usize, y: usize| vec![x as u8 * 2, y as u8, 7];
    let upright = write_png(&at("upright.png"), ColorType::Rgb, 1, pixel);
    // Stored row 0 is the right side, stored column 0 the top.
    let turned = write_png(&at("turned.png"), ColorType::Rgb, 6, |x, y| pixel(EDGE - 1 - y, x));
    let output = argument(at("out.png"));
    let made = |init: &str| {
        run(&arguments(&output, &["--init", init, "--strength", "0.05"]));
        Image::read(&output).rgb
    };
    let wanted = made(&upright);
    assert!(made(&turned) == wanted);

    let mut command = flowturbo(&arguments("-", &["--init", "-", "--strength", "0.05"]));
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&fs::read(&turned).unwrap()).unwrap();
    fs::write(&output, child.wait_with_output().unwrap().stdout).unwrap();
    assert!(Image::read(&output).rgb == wanted);
}

#[test]
fn a_masks_transparency_is_not_painted_and_an_empty_mask_earns_a_line() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let pixel = |x: usize, y: usize| vec![x as u8 * 2, y as u8, 7];
    let init = write_png(&at("init.png"), ColorType::Rgb, 1, pixel);
    let kept = |rgb: &[u8], columns: std::ops::Range<usize>| {
        let places = (0..EDGE).flat_map(|y| columns.clone().map(move |x| (x, y)));
        places.filter(|&(x, y)| rgb[(y * EDGE + x) * 3..][..3] == pixel(x, y)).count()
    };
    let output = argument(at("out.png"));
    let half = write_png(&at("half.png"), ColorType::GrayscaleAlpha, 1, |x, _| {
        vec![255, if x < 64 { 0 } else { 255 }]
    });
    assert_eq!(said(&output, &["--init", &init, "--mask", &half]), "");
    let rgb = Image::read(&output).rgb;
    assert_eq!(kept(&rgb, 0..64), EDGE * 64);
    assert!(kept(&rgb, 64..EDGE) < EDGE * 8);

    for (name, kind, of_mask, words) in [
        (
            "black.png",
            ColorType::Grayscale,
            &[0][..],
            "black.png: the mask is black or transparent everywhere",
        ),
        (
            "clear.png",
            ColorType::GrayscaleAlpha,
            &[255, 0],
            "clear.png: the mask is black or transparent everywhere",
        ),
        ("classes.png", ColorType::Grayscale, &[1], "classes.png: the mask is nowhere brighter than 1;"),
    ] {
        let mask = write_png(&at(name), kind, 1, |_, _| of_mask.to_vec());
        let line = said(&output, &["--init", &init, "--mask", &mask]);
        assert!(line.starts_with("warning: ") && line.contains(words) && line.lines().count() == 1, "{line}");
        assert_eq!(said(&output, &["--init", &init, "--mask", &mask, "-q"]), "");
    }
    let line = said(&output, &["--init", &init, "--size", "128x192"]);
    assert!(line.contains("init.png: 128 x 128 pixels are stretched to 128 x 192 pixels;"), "{line}");
    let clear =
        write_png(&at("init-clear.png"), ColorType::Rgba, 1, |x, y| [pixel(x, y), vec![x as u8]].concat());
    let line = said(&output, &["--init", &clear]);
    assert!(line.contains("init-clear.png: is transparent in places; white is put there"), "{line}");
}

#[test]
fn images_are_encoded_to_what_decode_makes_them_of_again() {
    let folder = tempdir().unwrap();
    let at = |name: &str| argument(folder.path().join(name));
    let (made, again, latents) = (at("made.png"), at("again.png"), at("latents.npy"));
    run(&["generate", "--class", "grass", "--seed", "1", "-q", "-o", &made]);
    let text = run(&["encode", &made, &made, "-o", &latents]);
    assert!(text.ends_with("latents.npy: 2 latents\n"), "{text}");
    let both: Array4<f32> = read_npy(&latents).unwrap();
    assert_eq!(both.shape(), [2, 8, 16, 16]);
    run(&["decode", &latents, "--separate", "-q", "-o", &again]);
    let [made, again] = [made, at("again-1.png")].map(|path| Image::read(path).rgb);
    let off: f64 = made.iter().zip(&again).map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
    assert!(off / (made.len() as f64) < 8.0, "{}", off / made.len() as f64);

    // Upright, by its file or through pipes, where messages stay out of the latents.
    let pixel = |x: usize, y: usize| vec![x as u8 * 2, y as u8, 7];
    let upright = write_png(&folder.path().join("upright.png"), ColorType::Rgb, 1, pixel);
    let turned =
        write_png(&folder.path().join("turned.png"), ColorType::Rgb, 6, |x, y| pixel(EDGE - 1 - y, x));
    run(&["encode", &upright, "-q", "-o", &latents]);
    let mut child = flowturbo(&["encode", "-", "-o", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&fs::read(&turned).unwrap()).unwrap();
    let piped = child.wait_with_output().unwrap();
    assert!(piped.stdout == fs::read(&latents).unwrap());
    assert_eq!(String::from_utf8(piped.stderr).unwrap(), "standard output: 1 latent\n");

    run(&["encode", &upright, "--size", "256x128", "-q", "-o", &latents]);
    assert_eq!(read_npy::<_, Array4<f32>>(&latents).unwrap().shape(), [1, 8, 16, 32]);
    let clear = |x: usize, _: usize| vec![1, 2, 3, x as u8];
    let clear = write_png(&folder.path().join("clear.png"), ColorType::Rgba, 1, clear);
    let output = flowturbo(&["encode", &clear, "-o", &latents]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("clear.png: is transparent in places"), "{said}");
}

#[test]
fn what_cannot_be_encoded_is_refused_and_nothing_is_written() {
    let folder = tempdir().unwrap();
    let at = |name: &str| argument(folder.path().join(name));
    let image = write_png(&folder.path().join("a.png"), ColorType::Rgb, 1, |_, _| vec![9, 9, 9]);
    let (bundle, latents) = (tiny(), at("latents.npy"));
    for (arguments, words) in [
        (&[&image, "--bundle", &bundle][..], "has no encoder"),
        (&["-", "-"], "standard input is only one of the images"),
        (&[&image, "--size", "1000001x128"], "above the limit of"),
        (&[&image, "--size", "130x128"], "in steps of 8 x 8 pixels"),
        (&[&argument(data("bundle/predictor.onnx"))], "is not an image; PNG and JPEG are read"),
    ] {
        fail(flowturbo(&[&["encode", "-o", &latents], arguments].concat()), 2, &[words]);
    }
    assert_eq!(names(folder.path()), ["a.png"]);
}
