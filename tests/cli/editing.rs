//! `flowturbo generate` with images to begin with, variations, morphs, seams and sizes.

use std::fs;
use std::path::Path;

use tempfile::tempdir;

use crate::program::{Image, argument, fail, flowturbo, run};

const EDGE: usize = 128;

/// A PNG of `EDGE` x `EDGE` pixels, three bytes for each `x` and `y`.
fn write_png(path: &Path, colour: impl Fn(usize, usize) -> [u8; 3]) -> String {
    let mut encoder = png::Encoder::new(fs::File::create(path).unwrap(), EDGE as u32, EDGE as u32);
    encoder.set_color(png::ColorType::Rgb);
    let pixels: Vec<u8> = (0..EDGE * EDGE).flat_map(|i| colour(i % EDGE, i / EDGE)).collect();
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    argument(path)
}

fn generate(folder: &Path, name: &str, more: &str) -> Image {
    let output = argument(folder.join(name));
    let mut arguments = vec!["generate", "--quiet", "--schedule", "H1P1R1", "-o", &output];
    arguments.extend(more.split_whitespace());
    assert_eq!(run(&arguments), "");
    Image::read(folder.join(name))
}

#[test]
fn the_black_of_a_mask_stays_to_the_bit() {
    let folder = tempdir().unwrap();
    let path = folder.path();
    let pixel = |x: usize, y: usize| [x as u8 * 2, y as u8, 7];
    let init = write_png(&path.join("init.png"), pixel);
    let mask = write_png(&path.join("mask.png"), |x, _| [if x < 64 { 0 } else { 255 }; 3]);
    let image = generate(path, "out.png", &format!("--class sand --init {init} --mask {mask}"));
    let changed = |columns: std::ops::Range<usize>| {
        let pixels = (0..EDGE).flat_map(|y| columns.clone().map(move |x| (x, y)));
        pixels.filter(|&(x, y)| image.rgb[(y * EDGE + x) * 3..][..3] != pixel(x, y)).count()
    };
    assert_eq!(changed(0..64), 0);
    assert!(changed(64..EDGE) > EDGE * 60);
    // Without the mask everything changes, and the less the weaker.
    let far = |strength: &str| {
        let image = generate(path, "edit.png", &format!("--class sand --init {init} --strength {strength}"));
        let wanted = (0..EDGE * EDGE).flat_map(|i| pixel(i % EDGE, i / EDGE));
        image.rgb.iter().zip(wanted).map(|(a, b)| u64::from(a.abs_diff(b))).sum::<u64>()
    };
    assert!(far("0.1") < far("0.9"));
}

#[test]
fn a_morph_leads_from_class_to_class_and_a_variation_stays_near() {
    let folder = tempdir().unwrap();
    let path = folder.path();
    let strip = generate(path, "morph.png", "--class grass --morph snow -n 3 --columns 3 --seed 4");
    assert_eq!((strip.width, strip.height), (3 * 128 + 2 * 4, 128));
    let mean = |first: usize, channel: usize| {
        let pixels = (0..EDGE).flat_map(|y| (first..first + EDGE).map(move |x| (x, y)));
        let sum: u64 = pixels.map(|(x, y)| u64::from(strip.rgb[(y * (3 * 128 + 8) + x) * 3 + channel])).sum();
        sum / (EDGE * EDGE) as u64
    };
    // Snow is blue where grass is not.
    let blue = [0, 132, 264].map(|first| mean(first, 2));
    assert!(blue[0] < blue[1] && blue[1] < blue[2], "{blue:?}");
    assert_eq!(
        generate(path, "one.png", "--class grass --morph snow:0.5 --seed 4").rgb,
        generate(path, "half.png", "--class grass --morph snow --seed 4").rgb
    );

    let plain = generate(path, "plain.png", "--class wood --seed 4");
    let distance =
        |image: &Image| image.rgb.iter().zip(&plain.rgb).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>();
    let near = generate(path, "near.png", "--class wood --seed 4 --vary 0.1");
    let far = generate(path, "far.png", "--class wood --seed 4 --vary 0.9");
    assert!(distance(&near) > 0 && 2 * distance(&near) < distance(&far));
    assert!(far.note("flowturbo:command").ends_with("--vary 0.9"));
}

#[test]
fn images_are_seamless_and_the_command_says_so() {
    let folder = tempdir().unwrap();
    let tiled = generate(folder.path(), "tiled.png", "--class brick --seamless x --seed 2");
    let plain = generate(folder.path(), "plain.png", "--class brick --seed 2");
    assert_ne!(tiled.rgb, plain.rgb);
    assert!(tiled.note("flowturbo:command").ends_with("--seamless x"));
    // By the option's older name.
    let large = generate(folder.path(), "large.png", "--class brick --tile both --size 256x192 --seed 2");
    assert_eq!((large.width, large.height), (256, 192));
}

#[test]
fn edits_that_cannot_be_are_refused() {
    let folder = tempdir().unwrap();
    let output = argument(folder.path().join("out.png"));
    let init = write_png(&folder.path().join("init.png"), |_, _| [9; 3]);
    let text = argument(folder.path().join("text.png"));
    fs::write(&text, "no image").unwrap();
    for (more, words) in [
        (format!("--init {init} --strength 0"), vec!["strength 0"]),
        (format!("--init {init} --strength -1"), vec!["strength -1"]),
        (format!("--init {text}"), vec!["text.png"]),
        ("--init no-such.png".into(), vec!["no-such.png"]),
        (format!("--init {init} --mask {text}"), vec!["text.png"]),
        ("--morph moon".into(), vec!["no class 'moon'"]),
        ("--morph sand:much".into(), vec!["'much' is no amount"]),
        ("--morph sand:2".into(), vec!["morph: an amount of 2"]),
        ("--vary -1".into(), vec!["variation: an amount of -1"]),
        ("--size 130x128".into(), vec!["size: 130 x 128 (width x height)", "in steps of 8 x 8"]),
        ("--size 99999x128".into(), vec!["above the limit of 8192 pixels (max_edge)"]),
        (format!("--size 99999x99999 --init {init}"), vec!["above the limit of 8192 pixels (max_edge)"]),
        ("--size 4294967295x128 --vary 0.1".into(), vec!["above the limit of 8192 pixels (max_edge)"]),
    ] {
        let mut arguments = vec!["generate", "--class", "sand", "-o", &output];
        arguments.extend(more.split_whitespace());
        fail(flowturbo(&arguments), 2, &words);
    }
    assert!(!Path::new(&output).exists());
}
