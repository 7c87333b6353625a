//! `--maps` of `generate` and `decode`: a file each, what is in them, and what is refused.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

use ndarray::ArrayD;
use ndarray_npy::{NpzReader, ReadableElement, write_npy};
use png::{BitDepth, ColorType};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::common::data;
use crate::program::{Image, argument, fail, flowturbo, names, run, tiny};

const EDGE: u32 = 16;
/// Of a sheet.
const GAP: u32 = 4;

fn folder() -> std::path::PathBuf {
    data("../tiny-maps")
}

fn bundle() -> String {
    argument(folder().join("bundle"))
}

/// An array of `maps.npz`.
fn array<T: ReadableElement + Copy>(name: &str) -> Vec<T> {
    let mut archive = NpzReader::new(File::open(folder().join("maps.npz")).unwrap()).unwrap();
    let array: ArrayD<T> = archive.by_name(name).unwrap();
    array.iter().copied().collect()
}

/// A PNG file: what its pixels are, its size, its bytes as stored.
fn read(path: impl AsRef<Path>) -> ((ColorType, BitDepth), (u32, u32), Vec<u8>) {
    let mut reader = png::Decoder::new(BufReader::new(File::open(path).unwrap())).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut bytes).unwrap();
    let info = reader.info();
    ((info.color_type, info.bit_depth), (info.width, info.height), bytes)
}

const RGB: (ColorType, BitDepth) = (ColorType::Rgb, BitDepth::Eight);

#[test]
fn decoded_maps_are_the_pixels_that_numpy_makes_of_pytorchs_answer() {
    let folder = tempdir().unwrap();
    let at = |name: &str| argument(folder.path().join(name));
    let latents: ArrayD<f32> = {
        let mut archive = NpzReader::new(File::open(self::folder().join("maps.npz")).unwrap()).unwrap();
        archive.by_name("latents").unwrap()
    };
    write_npy(at("latents.npy"), &latents).unwrap();
    let decode = |more: &[&str]| {
        let (latents, output) = (at("latents.npy"), at("a.png"));
        run(&[&["decode", &latents, "-m", &bundle(), "-o", &output], more].concat())
    };
    let text = decode(&["--maps", "color,normal,height,roughness,orm,mask"]);
    assert!(text.ends_with("a_mask.png: 1 image\n") && text.contains("a_color.png to "), "{text}");
    // The networks' answers differ in the last bits, and so may a level that is half-way.
    let near = |a: &[u8], b: &[u8]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.abs_diff(*b) <= 1);
    for (map, kind, stored) in [
        ("color", RGB, "color"),
        ("normal", RGB, "normal_up"),
        ("roughness", (ColorType::Grayscale, BitDepth::Eight), "roughness8"),
        ("orm", RGB, "orm"),
        ("mask", (ColorType::Rgba, BitDepth::Eight), "mask"),
    ] {
        let (found, size, bytes) = read(at(&format!("a_{map}.png")));
        assert_eq!((found, size), (kind, (EDGE, EDGE)), "{map}");
        assert!(near(&bytes, &array(stored)), "{map}");
    }
    let (kind, _, bytes) = read(at("a_height.png"));
    assert_eq!(kind, (ColorType::Grayscale, BitDepth::Sixteen));
    let levels = bytes.chunks_exact(2).map(|two| u16::from_be_bytes([two[0], two[1]]));
    assert!(levels.zip(array::<u16>("height16")).all(|(a, b)| a.abs_diff(b) <= 2));
    decode(&["--maps", "normal", "--normal-y", "down"]);
    assert!(near(&read(at("a_normal.png")).2, &array("normal_down")));
    assert!(!near(&read(at("a_normal.png")).2, &array("normal_up")));
    // Without --maps, colour by the name that was given.
    decode(&[]);
    assert!(read(at("a.png")) == read(at("a_color.png")));
}

#[test]
fn a_generations_maps_are_files_by_their_names_with_the_command_that_makes_them_again() {
    let folder = tempdir().unwrap();
    let at = |name: &str| argument(folder.path().join(name));
    let (bundle, output) = (bundle(), at("brick.png"));
    let generate = ["generate", "-m", &bundle, "--class", "brick", "--seed", "7"];
    let made = |more: &[&str]| run(&[&generate[..], more].concat());
    let text = made(&["--maps", "all", "-o", &output]);
    assert!(
        text.contains("brick_color.png to ") && text.contains("brick_roughness.png: 1 image of 16x16"),
        "{text}"
    );
    let files = ["brick_color.png", "brick_height.png", "brick_normal.png", "brick_roughness.png"];
    assert_eq!(names(folder.path()), files);
    // A name without an extension is the same.
    let before = files.map(|name| fs::read(at(name)).unwrap());
    assert_eq!(made(&["--maps", "all", "-q", "-o", &at("brick")]), "");
    assert_eq!(names(folder.path()), files);
    assert!(before == files.map(|name| fs::read(at(name)).unwrap()));
    made(&["-q", "-o", &output]);
    let (plain, color) = (Image::read(&output), Image::read(at("brick_color.png")));
    assert!(plain.rgb == color.rgb);

    made(&["--maps", "normal, color", "--normal-y", "down", "-q", "-o", &output]);
    let normal = Image::read(at("brick_normal.png"));
    assert_eq!((normal.note("flowturbo:map"), normal.note("flowturbo:seed")), ("normal", "7"));
    let command = normal.note("flowturbo:command").to_owned();
    assert!(command.ends_with(" --maps normal,color --normal-y down"), "{command}");
    let down = fs::read(at("brick_normal.png")).unwrap();
    assert!(down != before[2]);
    fs::remove_file(at("brick_normal.png")).unwrap();
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    run(&[&words[..], &["-m", &bundle, "-q", "-o", &output]].concat());
    assert!(fs::read(at("brick_normal.png")).unwrap() == down);
}

#[test]
fn several_images_are_a_sheet_a_map_or_numbered_files_a_map() {
    let folder = tempdir().unwrap();
    let at = |name: &str| argument(folder.path().join(name));
    let (bundle, output) = (bundle(), at("a.png"));
    let made = |more: &[&str]| {
        let command = ["generate", "-m", &bundle, "-c", "brick", "-n", "3", "--maps", "height,mask", "-q"];
        run(&[&command[..], &["-o", &output], more].concat())
    };
    made(&[]);
    assert_eq!(names(folder.path()), ["a_height.png", "a_mask.png"]);
    made(&["--separate"]);
    let mut all = names(folder.path());
    all.retain(|name| name.contains('-'));
    let numbered = [
        "a_height-0.png",
        "a_height-1.png",
        "a_height-2.png",
        "a_mask-0.png",
        "a_mask-1.png",
        "a_mask-2.png",
    ];
    assert_eq!(all, numbered);
    for (map, each) in [("height", 2), ("mask", 4)] {
        let (kind, (width, height), sheet) = read(at(&format!("a_{map}.png")));
        assert_eq!((width, height), (2 * EDGE + GAP, 2 * EDGE + GAP));
        for i in 0..3 {
            let (own, _, image) = read(at(&format!("a_{map}-{i}.png")));
            assert_eq!(own, kind);
            let (x, y) = (i % 2 * (EDGE + GAP), i / 2 * (EDGE + GAP));
            let row = |y: u32| &sheet[((y * width + x) * each) as usize..][..(EDGE * each) as usize];
            let part: Vec<u8> = (y..y + EDGE).flat_map(row).copied().collect();
            assert!(part == image, "{map} {i}");
        }
        // White and opaque, in any depth.
        assert!(sheet[(EDGE * each) as usize..][..each as usize].iter().all(|byte| *byte == 255));
    }
    made(&["--separate", "--only", "1"]);
}

#[test]
fn one_map_goes_to_standard_output() {
    let folder = tempdir().unwrap();
    let at = |name: &str| argument(folder.path().join(name));
    let bundle = bundle();
    let command = ["generate", "-m", &bundle, "-c", "1", "--maps", "height", "-q", "-o"];
    let piped = flowturbo(&[&command[..], &["-"]].concat()).output().unwrap();
    assert!(piped.status.success());
    run(&[&command[..], &[&at("a.png")]].concat());
    assert_eq!(names(folder.path()), ["a_height.png"]);
    assert!(piped.stdout == fs::read(at("a_height.png")).unwrap());
}

#[test]
fn inspect_lists_the_maps_and_those_that_are_packed() {
    let bundle = bundle();
    let report: Value = serde_json::from_str(&run(&["inspect", &bundle, "--json"])).unwrap();
    assert_eq!(report["image"]["maps"], json!(["color", "height", "normal", "roughness"]));
    assert_eq!(report["image"]["packed_maps"], json!(["orm", "mask"]));
    assert_eq!(report.pointer("/networks/decoder/output/shape"), Some(&json!([1, 7, 16, 16])));
    assert_eq!(report.pointer("/networks/encoder/inputs/0/shape"), Some(&json!([1, 3, 16, 16])));
    let text = run(&["inspect", &bundle]);
    let line = "maps         color, height, normal, roughness; packed: orm, mask\n";
    assert!(text.contains(line) && text.contains("flowturbo-bundle 1.1"), "{text}");
    let textures = argument(data("../../../models/textures"));
    assert!(run(&["inspect", &textures]).contains("\nmaps         color\n"));
    assert!(!run(&["inspect", &tiny()]).contains("\nmaps "));
}

#[test]
fn what_makes_no_sense_is_one_line_and_nothing_is_written() {
    let folder = tempdir().unwrap();
    let at = |name: &str| argument(folder.path().join(name));
    let (bundle, output) = (bundle(), at("a.png"));
    let textures = argument(data("../../../models/textures"));
    for (model, output, more, words) in [
        (
            &bundle,
            &output,
            &["--maps", "metallic"][..],
            "has no metallic map; it has color, height, normal, roughness",
        ),
        (
            &bundle,
            &output,
            &["--maps", "color,albedo"],
            "no map is called 'albedo'; there are color, normal,",
        ),
        (&bundle, &output, &["--maps", "color,color"], "--maps: color is there twice"),
        (&bundle, &output, &["--maps", ""], "no map is called ''"),
        (&bundle, &output, &["--maps", "all,orm"], "--maps: all is all of them; give it alone, or names"),
        (
            &bundle,
            &"-".to_owned(),
            &["--maps", "all"],
            "--maps writes several files; standard output takes one",
        ),
        (&bundle, &"-".to_owned(), &["--maps", "color", "--separate"], "--separate writes several files"),
        (&bundle, &at("a.jpg"), &["--maps", "all"], "only PNG can be written"),
        (&bundle, &at("no/a.png"), &["--maps", "all"], "cannot be written"),
        (&textures, &output, &["--maps", "mask"], "has no mask map, which packs its roughness; it has color"),
    ] {
        let command = [&["generate", "-m", model, "-c", "1", "-o", output][..], more].concat();
        fail(flowturbo(&command), if words == "cannot be written" { 1 } else { 2 }, &[words]);
    }
    // Told by the arguments themselves.
    for more in [&["--normal-y", "down"][..], &["--maps", "all", "--normal-y", "left"]] {
        let command = [&["generate", "-m", &bundle, "-c", "1", "-o", &output][..], more].concat();
        assert_eq!(flowturbo(&command).output().unwrap().status.code(), Some(2), "{more:?}");
    }
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn a_folder_is_no_name_for_several_files() {
    let folder = tempdir().unwrap();
    let at = |name: &str| argument(folder.path().join(name));
    fs::create_dir(at("there")).unwrap();
    for path in [at("there"), at("there/"), at("new/")] {
        for more in [["--maps", "all"], ["--separate", "-q"]] {
            let plain = ["generate", "-m", &bundle(), "-c", "0", "-o", &path];
            fail(
                flowturbo(&[&plain[..], &more].concat()),
                2,
                &["is a folder; give the name of a file in it"],
            );
        }
    }
    assert_eq!(names(folder.path()), ["there"]);
}
