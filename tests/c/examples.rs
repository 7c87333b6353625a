//! The examples do what their first lines promise.

use std::fs::File;

use std::process::Command;

use crate::compiler::{Program, compiler, passes};
use crate::libraries::Library;
use crate::{made, root};

/// Size of a PNG file, and how many different colours are in it.
fn look(name: &str) -> ([u32; 2], usize) {
    let file = std::io::BufReader::new(File::open(made().join(name)).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    let colours: std::collections::BTreeSet<&[u8]> = pixels.chunks_exact(3).collect();
    ([info.width, info.height], colours.len())
}

fn makes_an_image(source: &str, image: &str) -> String {
    let path = made().join(image);
    let said = Program::c(source).run(&["models/textures", path.to_str().unwrap()]);
    let (size, colours) = look(image);
    assert_eq!(size, [128, 128]);
    assert!(colours > 1000, "{colours} colours");
    said
}

#[test]
fn hello_makes_an_image() {
    makes_an_image("examples/c/hello.c", "hello.png");
}

#[test]
fn edit_makes_snow_on_grass() {
    makes_an_image("examples/c/edit.c", "edit.png");
}

#[test]
fn async_cancel_makes_one_image_and_stops_another() {
    let said = makes_an_image("examples/c/async_cancel.c", "async_cancel.png");
    assert!(said.contains("FT_OK: done") && said.contains("FT_ERROR_CANCELLED: step"), "{said}");
}

#[test]
fn step_in_loop_makes_textures_between_frames() {
    let said = makes_an_image("examples/c/step_in_loop.c", "step_in_loop.png");
    println!("{said}");
    assert!(said.contains("6 textures in"), "{said}");
}

#[test]
fn batch_makes_an_image_of_each_class() {
    let folder = made().join("batch");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder).unwrap();
    Program::cpp("examples/cpp/batch.cpp").run(&["models/textures", folder.to_str().unwrap()]);
    for class in ["brick", "grass", "wood"] {
        assert!(look(&format!("batch/{class}.png")).1 > 1000);
    }
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 11);
}

/// On a virtual display, with OpenGL in software: every frame is drawn, and textures are painted meanwhile.
#[test]
#[ignore = "needs SDL2, OpenGL and Xvfb: .ci/c"]
fn the_engine_paints_while_it_renders() {
    let (built, engine) = (Library::Shipped.built(), made().join("engine"));
    let flags = passes(Command::new("pkg-config").args(["--cflags", "--libs", "sdl2", "gl"])).stdout;
    let flags = String::from_utf8(flags).unwrap();
    let folder = root().join("examples/engine");
    let mut compiler = compiler("c11");
    for source in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
        if source.extension().is_some_and(|extension| extension == "c") {
            compiler.arg(source);
        }
    }
    compiler.args(["-O1", "-g", "-o"]).arg(&engine).arg("-L").arg(&built.folder).arg("-lflowturbo");
    compiler.arg(format!("-Wl,-rpath,{}", built.folder.display())).args(flags.split_whitespace()).arg("-lm");
    passes(&mut compiler);

    let shot = made().join("engine.png");
    let mut run = Command::new(folder.join("run-headless.sh"));
    run.arg(engine).args(["models/textures", "--frames", "480", "--fps", "30", "--screenshot"]).arg(&shot);
    let said = passes(run.current_dir(root()));
    println!("{}", String::from_utf8_lossy(&said.stdout));
    let (size, colours) = look("engine.png");
    assert!(size == [960, 540] && colours > 20_000, "{size:?}, {colours} colours");
}
