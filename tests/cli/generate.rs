//! `flowturbo generate` on the bundled model, or on the one that `$FLOWTURBO_BUNDLE` names.

use std::path::{Path, PathBuf};

use tempfile::{TempDir, tempdir};

use crate::program::{Image, argument, fail, flowturbo, names, run};

/// Of the bundled model.
const EDGE: u32 = 128;

/// Between two images of a sheet.
const GAP: u32 = 4;

struct Made {
    folder: TempDir,
}

impl Made {
    /// Runs `generate` with `more` arguments and the output `name`; gives what it printed.
    fn new(name: &str, more: &[&str]) -> (Self, String) {
        let made = Self { folder: tempdir().unwrap() };
        let text = made.add(name, more);
        (made, text)
    }

    fn add(&self, name: &str, more: &[&str]) -> String {
        let output = argument(self.path(name));
        let mut arguments = vec!["generate", "-o", &output];
        arguments.extend(more);
        run(&arguments)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn image(&self, name: &str) -> Image {
        Image::read(self.path(name))
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }
}

/// The largest difference of two images, in levels of 256.
fn difference(a: &[u8], b: &[u8]) -> u8 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)
}

#[test]
fn the_same_seed_gives_the_same_file_and_another_seed_another_image() {
    let (made, text) = Made::new("a.png", &["--class", "1", "--seed", "7"]);
    for part in ["a.png: 1 image of 128x128", "seed 7", "load ", "sample ", "decode ", "write "] {
        assert!(text.contains(part), "'{part}' is not in:\n{text}");
    }
    assert_eq!(made.add("b.png", &["--class", "1", "--seed", "7", "--quiet"]), "");
    made.add("c.png", &["--class", "1", "--seed", "8"]);
    assert!(made.bytes("a.png") == made.bytes("b.png"));
    let (a, c) = (made.image("a.png"), made.image("c.png"));
    assert_eq!((a.width, a.height), (EDGE, EDGE));
    assert!(difference(&a.rgb, &c.rgb) > 8);
    assert_eq!(names(made.folder.path()), ["a.png", "b.png", "c.png"]);
}

#[test]
fn the_file_says_how_to_make_it_again() {
    let (made, _) = Made::new("a.png", &["--class", "1", "--seed", "7", "--steps", "4", "--guidance", "1.5"]);
    let image = made.image("a.png");
    assert_eq!(image.note("Software"), concat!("flowturbo ", env!("CARGO_PKG_VERSION")));
    assert_eq!(image.note("flowturbo:seed"), "7");
    assert_eq!(image.note("flowturbo:index"), "0");
    assert_eq!(image.note("flowturbo:guidance"), "1.5");
    assert_eq!(image.note("flowturbo:model-hash").len(), 64);
    assert!(!image.note("flowturbo:model").is_empty());
    let command: Vec<&str> = image.note("flowturbo:command").split(' ').collect();
    assert_eq!(command[..2], ["flowturbo", "generate"]);
    made.add("b.png", &command[2..]);
    assert!(made.bytes("a.png") == made.bytes("b.png"));
    made.add(
        "c.png",
        &[
            "--class",
            image.note("flowturbo:class"),
            "--seed",
            "7",
            "--guidance",
            "1.5",
            "--schedule",
            image.note("flowturbo:schedule"),
        ],
    );
    assert!(made.bytes("a.png") == made.bytes("c.png"));
    made.add("d.png", &["--class", "1", "--steps", "1", "--deterministic"]);
    assert!(made.image("d.png").note("flowturbo:command").ends_with(" --deterministic"));
    made.add("e.png", &["--class", "1", "--steps", "1", "--precision", "int8"]);
    assert!(made.image("e.png").note("flowturbo:command").ends_with(" --precision int8"));
}

#[test]
fn a_sheet_of_four_holds_the_four_separate_images() {
    let (made, _) = Made::new("sheet.png", &["--class", "1", "--seed", "7", "-n", "4"]);
    made.add("one.png", &["--class", "1", "--seed", "7"]);
    made.add("four.png", &["--class", "1", "--seed", "7", "-n", "4", "--separate"]);
    assert_eq!(
        names(made.folder.path()),
        ["four-0.png", "four-1.png", "four-2.png", "four-3.png", "one.png", "sheet.png"]
    );
    let sheet = made.image("sheet.png");
    assert_eq!((sheet.width, sheet.height), (2 * EDGE + GAP, 2 * EDGE + GAP));
    assert_eq!(sheet.note("flowturbo:index"), "0-3");
    for i in 0..4 {
        let image = made.image(&format!("four-{i}.png"));
        let corner = (i % 2 * (EDGE + GAP), i / 2 * (EDGE + GAP));
        assert!(sheet.part(corner, (EDGE, EDGE)) == image.rgb, "image {i}");
        assert_eq!(image.note("flowturbo:index"), i.to_string());
    }
    // Another batch size is another plan: rounding may differ, the noise may not.
    assert!(difference(&made.image("one.png").rgb, &made.image("four-0.png").rgb) <= 1);
}

#[test]
fn one_image_of_several_can_be_made_alone() {
    for more in [
        &["--class", "1", "-n", "4"][..],
        &["--class", "0,1", "-n", "2", "--vary", "0.3"],
        &["--class", "1", "--morph", "3", "-n", "4"],
    ] {
        let arguments = [more, &["--seed", "7", "--steps", "3", "--separate"]].concat();
        let (made, _) = Made::new("all.png", &arguments);
        made.add("alone.png", &[&arguments[..], &["--only", "2"]].concat());
        assert_eq!(names(made.folder.path()).iter().filter(|name| name.starts_with("alone")).count(), 1);
        let (all, alone) = (made.image("all-2.png"), made.image("alone-2.png"));
        assert!(difference(&all.rgb, &alone.rgb) <= 1, "{more:?}");
        assert!(difference(&made.image("all-1.png").rgb, &alone.rgb) > 8, "{more:?}");
        for note in ["flowturbo:index", "flowturbo:class", "flowturbo:seed"] {
            assert_eq!(all.note(note), alone.note(note), "{more:?}");
        }
        let command: Vec<&str> = alone.note("flowturbo:command").split(' ').collect();
        made.add("again.png", &command[2..]);
        assert!(made.image("again.png").rgb == alone.rgb, "{command:?}");
    }
    let (made, _) = Made::new("two.png", &["--class", "0,2", "-n", "2", "--steps", "1", "--only", "3,0"]);
    let sheet = made.image("two.png");
    assert_eq!((sheet.width, sheet.height, sheet.note("flowturbo:index")), (2 * EDGE + GAP, EDGE, "0,3"));
    let output = argument(made.path("none.png"));
    let wrong = ["generate", "--class", "1", "-n", "4", "--only", "4", "-o", &output];
    fail(flowturbo(&wrong), 2, &["--only 4: the images are 0 to 3; -n says how many"]);
}

#[test]
fn images_that_lead_from_a_class_to_another_are_one_row() {
    let (made, _) = Made::new("row.png", &["--class", "1", "--morph", "3", "-n", "5", "--steps", "1"]);
    let row = made.image("row.png");
    assert_eq!((row.width, row.height), (5 * (EDGE + GAP) - GAP, EDGE));
    made.add("still.png", &["--class", "1", "--morph", "3:0.5", "-n", "5", "--steps", "1"]);
    assert_eq!(made.image("still.png").height, 2 * EDGE + GAP);
}

#[test]
fn latents_are_decoded_to_the_images_that_generate_makes() {
    let (made, _) = Made::new("a.png", &["--class", "1,2", "--seed", "7", "--steps", "2", "--separate"]);
    let (latents, sheet) = (argument(made.path("a.npy")), argument(made.path("sheet.png")));
    run(&[
        "latents",
        "--class",
        "1,2",
        "--seed",
        "7",
        "--schedule",
        made.image("a-0.png").note("flowturbo:schedule"),
        "-q",
        "-o",
        &latents,
    ]);
    let text = run(&["decode", &latents, "-o", &argument(made.path("b.png")), "--separate"]);
    assert!(text.contains("b-0.png to ") && text.ends_with("b-1.png: 2 images\n"), "{text}");
    assert_eq!(run(&["decode", &latents, "-o", &sheet, "-q"]), "");
    let whole = made.image("sheet.png");
    for i in 0..2 {
        let [made, decoded] = ["a", "b"].map(|name| made.image(&format!("{name}-{i}.png")).rgb);
        assert!(made == decoded && whole.part((i * (EDGE + GAP), 0), (EDGE, EDGE)) == decoded, "image {i}");
    }
    fail(
        flowturbo(&["decode", &latents, "-o", &sheet, "--bundle", &crate::program::tiny()]),
        2,
        &["has no decoder"],
    );
    fail(
        flowturbo(&["decode", &sheet, "-o", &argument(made.path("c.png"))]),
        2,
        &["sheet.png: is not a readable NumPy"],
    );
}

#[test]
fn each_class_has_a_row_unless_columns_say_otherwise() {
    let (made, _) = Made::new("rows.png", &["--class", "0,2", "-n", "3", "--steps", "1"]);
    made.add("columns.png", &["--class", "0,2", "-n", "3", "--steps", "1", "--columns", "2"]);
    let (rows, columns) = (made.image("rows.png"), made.image("columns.png"));
    let edge = |cells: u32| cells * (EDGE + GAP) - GAP;
    assert_eq!((rows.width, rows.height), (edge(3), edge(2)));
    assert_eq!((columns.width, columns.height), (edge(2), edge(4)));
    assert_eq!(rows.note("flowturbo:class").split(',').count(), 2);
    let cell = |image: &Image, x: u32, y: u32| image.part((x * (EDGE + GAP), y * (EDGE + GAP)), (EDGE, EDGE));
    assert!(cell(&rows, 2, 0) == cell(&columns, 0, 1));
    assert!(cell(&rows, 0, 1) == cell(&columns, 0, 2));
    assert!(cell(&columns, 1, 1).iter().all(|&level| level == 255), "an empty place is white");
}

#[test]
fn threads_change_no_pixel_by_more_than_a_level() {
    let (made, _) = Made::new("one.png", &["--class", "3", "--seed", "7", "--threads", "1"]);
    made.add("two.png", &["--class", "3", "--seed", "7", "--threads", "2"]);
    assert!(difference(&made.image("one.png").rgb, &made.image("two.png").rgb) <= 1);
}

#[test]
fn an_unknown_class_names_the_nearest_and_the_known() {
    let classes = run(&["classes"]);
    let label = classes.lines().next().and_then(|line| line.split('\t').nth(1)).unwrap();
    let typo = format!("{label}x");
    let words = [format!("no class '{typo}'"), format!("nearest is '{label}'"), "known are".to_owned()];
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    fail(flowturbo(&["generate", "--class", &typo, "-o", "none.png"]), 2, &words);
    assert!(!Path::new("none.png").exists());
}
