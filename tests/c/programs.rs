//! The programs of this folder: as they are, under valgrind, under the sanitizers.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use zip::write::SimpleFileOptions;

use crate::compiler::{Link, Program, passes};
use crate::libraries::Library;
use crate::{made, root};

/// The bundled model as one uncompressed zip file.
fn zipped() -> &'static str {
    static ZIP: OnceLock<PathBuf> = OnceLock::new();
    let zip = ZIP.get_or_init(|| {
        let path = made().join("textures.zip");
        let mut writer = zip::ZipWriter::new(File::create(&path).unwrap());
        let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        for entry in std::fs::read_dir(root().join("models/textures")).unwrap() {
            let entry = entry.unwrap().path();
            if entry.extension().is_some_and(|extension| extension == "json" || extension == "onnx") {
                writer.start_file(entry.file_name().unwrap().to_str().unwrap(), options).unwrap();
                writer.write_all(&std::fs::read(entry).unwrap()).unwrap();
            }
        }
        writer.finish().unwrap();
        path
    });
    zip.to_str().unwrap()
}

/// The arguments under which each program says the most; fewer rounds where each costs fifty times as much.
fn arguments(source: &str, slow: bool) -> Vec<&'static str> {
    match source {
        "cancel" if slow => vec!["models/textures", "E40", "2", "60000"],
        // 256 images in a network: its largest operation is larger than one of SiT-XL/2 for a picture.
        "cancel" => vec!["models/textures", "E40", "128", "50"],
        "flat" if slow => vec!["6"],
        "flat" => vec!["100"],
        "open" | "wrapper" => vec![zipped()],
        _ => vec![],
    }
}

fn c(source: &'static str) {
    println!("{}", Program::c(&format!("tests/c/{source}.c")).run(&arguments(source, false)));
}

#[test]
fn what_makes_no_sense_is_refused() {
    c("refuse");
}

#[test]
fn pictures_come_in_every_format() {
    c("generate");
}

#[test]
fn a_generation_in_pieces_is_the_same() {
    c("step");
}

#[test]
fn bundles_come_from_anywhere_and_what_is_lent_is_given_back() {
    c("open");
}

#[test]
fn threads_do_no_harm() {
    c("threads");
}

#[test]
fn a_generation_ends_soon_after_it_is_cancelled() {
    c("cancel");
}

#[test]
fn a_hundred_generations_take_no_more_memory_than_three() {
    c("flat");
}

#[test]
fn an_old_program_works_with_a_new_library_and_a_panic_stays_inside() {
    Program::c("tests/c/versions.c").with(Library::Testing).run(&["newer"]);
}

#[test]
fn a_new_program_is_told_that_the_library_is_old() {
    Program::c("tests/c/versions.c").run(&["same"]);
}

#[test]
fn a_program_may_be_linked_statically() {
    Program::c("tests/c/generate.c").linked(Link::Static).run(&[]);
}

#[test]
fn the_cpp_wrapper_works_with_exceptions_and_without() {
    Program::cpp("tests/c/wrapper.cpp").run(&[zipped()]);
    let without = ["-DFLOWTURBO_NO_EXCEPTIONS", "-fno-exceptions"];
    Program::cpp("tests/c/wrapper.cpp").flags(&without).run(&[zipped()]);
}

const PROGRAMS: [&str; 7] = ["refuse", "generate", "step", "open", "threads", "cancel", "flat"];

#[test]
#[ignore = "needs valgrind: .ci/c"]
fn valgrind_finds_nothing() {
    let checked = |program: PathBuf, arguments: &[&str]| {
        let mut valgrind = Command::new("valgrind");
        valgrind.args([
            "--quiet",
            "--error-exitcode=9",
            "--leak-check=full",
            "--errors-for-leak-kinds=definite",
        ]);
        valgrind.arg(format!("--suppressions={}", root().join("tests/c/valgrind.supp").display()));
        println!("{program:?}");
        passes(valgrind.arg(program).args(arguments).current_dir(root()));
    };
    for source in PROGRAMS {
        let program = Program::c(&format!("tests/c/{source}.c")).build();
        checked(program, &arguments(source, true));
    }
    checked(Program::c("tests/c/versions.c").with(Library::Testing).build(), &["newer"]);
    checked(Program::cpp("tests/c/wrapper.cpp").build(), &[zipped()]);
}
