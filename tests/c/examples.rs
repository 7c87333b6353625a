//! The examples do what their first lines promise.

use std::fs::File;

use crate::compiler::Program;
use crate::made;

/// Size of a PNG file, and how many different colours are in it.
fn look(name: &str) -> ([u32; 2], usize) {
    let file = std::io::BufReader::new(File::open(made().join(name)).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    let colours: std::collections::BTreeSet<&[u8]> = pixels.chunks_exact(3).collect();
    ([info.width, info.height], colours.len())
}

fn makes_a_picture(source: &str, picture: &str) -> String {
    let path = made().join(picture);
    let said = Program::c(source).run(&["models/textures", path.to_str().unwrap()]);
    let (size, colours) = look(picture);
    assert_eq!(size, [128, 128]);
    assert!(colours > 1000, "{colours} colours");
    said
}

#[test]
fn hello_makes_a_picture() {
    makes_a_picture("examples/c/hello.c", "hello.png");
}

#[test]
fn async_cancel_makes_one_picture_and_stops_another() {
    let said = makes_a_picture("examples/c/async_cancel.c", "async_cancel.png");
    assert!(said.contains("FT_OK: done") && said.contains("FT_ERROR_CANCELLED: step"), "{said}");
}

#[test]
fn step_in_loop_makes_textures_between_frames() {
    let said = makes_a_picture("examples/c/step_in_loop.c", "step_in_loop.png");
    println!("{said}");
    assert!(said.contains("6 textures in"), "{said}");
}

#[test]
fn batch_makes_a_picture_of_each_class() {
    let folder = made().join("batch");
    std::fs::create_dir_all(&folder).unwrap();
    Program::cpp("examples/cpp/batch.cpp").run(&["models/textures", folder.to_str().unwrap()]);
    for class in ["brick", "grass", "wood"] {
        assert!(look(&format!("batch/{class}.png")).1 > 1000);
    }
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 11);
}
