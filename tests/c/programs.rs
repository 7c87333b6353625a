//! The programs of this folder: as they are, under valgrind, under the sanitizers.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;
use zip::write::SimpleFileOptions;

use crate::bundle::{self, edit_manifest, sha256};
use crate::compiler::{Link, Program, compiler, passes};
use crate::libraries::Library;
use crate::{made, root};

/// Makes normals, heights and roughness.
pub const MAPS: &str = "tests/data/tiny-maps/bundle";

/// A bundle as a folder, and the same as an uncompressed zip file.
pub struct Model {
    pub folder: PathBuf,
    pub zip: PathBuf,
}

/// The one that is in the box.
pub fn bundled() -> &'static Model {
    static BUNDLED: OnceLock<Model> = OnceLock::new();
    BUNDLED.get_or_init(|| zipped(root().join("models/textures"), "bundled"))
}

/// Small enough for tools that make every instruction cost fifty: random weights, images of 128 x 64 pixels.
pub fn miniature() -> &'static Model {
    static MINIATURE: OnceLock<Model> = OnceLock::new();
    MINIATURE.get_or_init(|| {
        let folder = made().join("miniature");
        fs::create_dir_all(&folder).unwrap();
        let network = |role: &str, graph: &str, inputs: &str, output: &str| {
            let bytes = fs::read(root().join(format!("tests/data/graphs/{graph}.onnx"))).unwrap();
            let hash = sha256(&bytes);
            fs::write(folder.join(format!("{role}.onnx")), bytes).unwrap();
            let inputs: Vec<String> = inputs.split(' ').map(|name| format!(r#""{name}": "{name}""#)).collect();
            format!(
                r#""{role}": {{"file": "{role}.onnx", "sha256": "{hash}", "inputs": {{{}}}, "output": "{output}"}}"#,
                inputs.join(", ")
            )
        };
        let networks = [
            network("predictor", "torchscript-17", "x t y", "velocity"),
            network("refiner", "refiner-torchscript-17", "x v t y", "offset"),
            network("decoder", "decoder-torchscript-13", "latent", "image"),
        ];
        let manifest = format!(
            r#"{{"format": "flowturbo-bundle", "format_version": "1.0", "name": "miniature",
            "latent": {{"channels": 4, "height": 8, "width": 16}}, "image": {{"height": 64, "width": 128, "preview": [
            [0.5, 0, 0, 0, 0], [0, 0.5, 0, 0, 0], [0, 0, 0.5, 0, 0]]}},
            "classes": {{"count": 2, "null": 2, "labels": ["left", "right"]}},
            "sampling": {{"schedule": "H1P1R1", "guidance": 2.0,
            "presets": {{"fast": {{"schedule": "E1", "guidance": 1.5}}}}}}, "networks": {{{}}}}}"#,
            networks.join(", ")
        );
        fs::write(folder.join("bundle.json"), manifest).unwrap();
        zipped(folder, "miniature")
    })
}

/// A bundle with a changed manifest, in a folder of its own.
fn altered(model: &Model, name: &str, change: impl FnOnce(&mut Value)) -> PathBuf {
    let folder = made().join(name);
    bundle::copy(&model.folder, &folder);
    edit_manifest(&folder, change);
    folder
}

/// Promises more classes than the networks know: it loads, and fails when it runs.
fn overstated() -> &'static Path {
    static OVERSTATED: OnceLock<PathBuf> = OnceLock::new();
    OVERSTATED.get_or_init(|| {
        altered(miniature(), "overstated", |manifest| {
            manifest["classes"] = serde_json::json!({ "count": 9, "null": 9 });
        })
    })
}

/// Has no class for none, and so no guidance.
fn unguided() -> &'static str {
    static UNGUIDED: OnceLock<PathBuf> = OnceLock::new();
    let folder = UNGUIDED.get_or_init(|| {
        altered(miniature(), "unguided", |manifest| {
            manifest["classes"].as_object_mut().unwrap().remove("null").unwrap();
            let sampling = manifest["sampling"].as_object_mut().unwrap();
            sampling.remove("presets").unwrap();
            sampling["guidance"] = 1.into();
        })
    });
    folder.to_str().unwrap()
}

/// Takes contexts of 12 floats.
fn pooled() -> &'static Path {
    static POOLED: OnceLock<PathBuf> = OnceLock::new();
    POOLED.get_or_init(|| root().join("tests/data/contexts/pooled"))
}

/// Has a text encoder.
fn prompted() -> &'static Path {
    static PROMPTED: OnceLock<PathBuf> = OnceLock::new();
    PROMPTED.get_or_init(|| root().join("tests/data/prompts/bundle"))
}

/// Has no decoder, but the colours of previews: those that generate.c expects.
fn coloured() -> &'static Path {
    static COLOURED: OnceLock<PathBuf> = OnceLock::new();
    COLOURED.get_or_init(|| {
        altered(bundled(), "coloured", |manifest| {
            manifest["networks"].as_object_mut().unwrap().remove("decoder").unwrap();
            let constant = manifest["latent"]["channels"].as_u64().unwrap() as usize;
            let mut preview = vec![vec![0.0; constant + 1]; 3];
            (preview[0][0], preview[1][1], preview[2][constant]) = (1.0, 1.0, 0.5);
            manifest["image"]["preview"] = preview.into();
        })
    })
}

fn zipped(folder: PathBuf, name: &str) -> Model {
    let zip = made().join(format!("{name}.zip"));
    let mut writer = zip::ZipWriter::new(File::create(&zip).unwrap());
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for entry in fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap().path();
        if entry.extension().is_some_and(|extension| extension == "json" || extension == "onnx") {
            writer.start_file(entry.file_name().unwrap().to_str().unwrap(), options).unwrap();
            writer.write_all(&fs::read(entry).unwrap()).unwrap();
        }
    }
    writer.finish().unwrap();
    Model { folder, zip }
}

/// What a program is told: the bundle, and what it wants besides.
fn arguments<'a>(source: &str, model: &'a Model) -> Vec<&'a str> {
    let small = std::ptr::eq(model, miniature());
    let more = match source {
        "generate" if !small => vec![coloured().to_str().unwrap()],
        "refuse" => vec!["tests/data/tiny-sit/bundle", overstated().to_str().unwrap()],
        "files" | "open" | "wrapper" => vec![model.zip.to_str().unwrap()],
        // So many images that the largest operation is that of SiT-XL/2 for one.
        "cancel" if !small => vec!["E40", "80", "50"],
        "cancel" => vec!["E1000", "64", "60000"],
        "flat" if !small => vec!["100"],
        "flat" => vec!["6"],
        "versions" if small => vec!["newer"],
        "versions" => vec!["same"],
        "maps" => return vec![MAPS, bundled().folder.to_str().unwrap()],
        "context" => return vec![pooled().to_str().unwrap(), miniature().folder.to_str().unwrap()],
        "prompt" => return vec![prompted().to_str().unwrap(), miniature().folder.to_str().unwrap()],
        "unguided" => return vec![unguided(), miniature().folder.to_str().unwrap()],
        _ => vec![],
    };
    std::iter::once(model.folder.to_str().unwrap()).chain(more).collect()
}

fn c(source: &'static str) {
    println!("{}", Program::c(&format!("tests/c/{source}.c")).run(&arguments(source, bundled())));
}

#[test]
fn what_makes_no_sense_is_refused() {
    c("refuse");
}

#[test]
fn images_come_in_every_format() {
    c("generate");
}

#[test]
fn a_generation_in_pieces_is_the_same() {
    c("step");
}

#[test]
fn images_begin_with_images_and_tile() {
    c("edit");
    // Without an encoder, without a decoder that wraps around, with a preset.
    Program::c("tests/c/edit.c").run(&arguments("edit", miniature()));
}

#[test]
fn maps_come_beside_the_colour_in_every_format() {
    c("maps");
}

#[test]
fn a_model_without_a_null_class_says_so_and_refuses_guidance() {
    c("unguided");
}

#[test]
fn contexts_are_taken_by_models_that_know_them() {
    c("context");
}

#[test]
fn prompts_are_taken_by_models_with_a_text_encoder() {
    c("prompt");
}

#[test]
fn bundles_come_from_anywhere_and_what_is_lent_is_given_back() {
    c("open");
}

#[test]
fn a_program_may_change_its_folder_and_files_are_saved_whole() {
    c("files");
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
#[cfg(target_os = "linux")]
fn planning_takes_little_memory_and_what_is_refused_is_a_status() {
    c("planning");
}

#[test]
fn an_old_program_works_with_a_new_library_and_a_panic_stays_inside() {
    Program::c("tests/c/versions.c").with(Library::Testing).run(&arguments("versions", miniature()));
}

#[test]
fn a_new_program_is_told_that_the_library_is_old() {
    c("versions");
}

#[test]
fn a_program_may_be_linked_statically() {
    Program::c("tests/c/generate.c").linked(Link::Static).run(&arguments("generate", bundled()));
}

#[test]
fn the_cpp_wrapper_works_with_exceptions_and_without() {
    let arguments = arguments("wrapper", bundled());
    Program::cpp("tests/c/wrapper.cpp").run(&arguments);
    let without = ["-DFLOWTURBO_NO_EXCEPTIONS", "-fno-exceptions"];
    Program::cpp("tests/c/wrapper.cpp").flags(&without).run(&arguments);
}

#[test]
fn files_with_exceptions_and_without_make_one_program() {
    let object = |name: &str, flags: &[&str]| {
        let object = made().join(name);
        let mut compiler = compiler("c++17");
        compiler.args(flags).args(["-O0", "-c", "-o"]).arg(&object);
        passes(compiler.arg(root().join("tests/c/modes.cpp")));
        object
    };
    let with = object("modes-with.o", &[]);
    let without = object("modes-without.o", &["-DFLOWTURBO_NO_EXCEPTIONS", "-fno-exceptions"]);
    let built = Library::Shipped.built();
    for (i, objects) in [[&with, &without], [&without, &with]].into_iter().enumerate() {
        let program = made().join(format!("modes-{i}"));
        let mut linker = compiler("c++17");
        linker.args(objects).arg("-L").arg(&built.folder).arg("-lflowturbo").arg("-o").arg(&program);
        passes(linker.arg(format!("-Wl,-rpath,{}", built.folder.display())));
        passes(Command::new(program).arg(&miniature().folder));
    }
}

#[test]
fn the_cpp_wrapper_says_what_it_wants_of_a_compiler() {
    let source = made().join("wants.cpp");
    fs::write(&source, "#include \"flowturbo.hpp\"\nint main() {}\n").unwrap();
    for (standard, flags, wants) in
        [("c++14", &[][..], "wants C++17"), ("c++17", &["-fno-exceptions"], "wants FLOWTURBO_NO_EXCEPTIONS")]
    {
        let output = compiler(standard).args(flags).arg("-fsyntax-only").arg(&source).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(wants), "{said}");
        assert_eq!(said.matches("error:").count(), 1, "{said}");
    }
}

/// The chosen programs of this folder, made by `build` of a source in a standard, each with what it is told.
pub fn every_program(
    chosen: impl Fn(&str) -> bool,
    build: impl Fn(&str, &str) -> PathBuf,
) -> Vec<(PathBuf, Vec<&'static str>)> {
    let sources = [
        "refuse", "generate", "unguided", "context", "prompt", "edit", "step", "open", "files", "threads",
        "cancel", "flat", "versions", "wrapper", "maps",
    ];
    let program = |source: &str| {
        let program = match source {
            "wrapper" => build("tests/c/wrapper.cpp", "c++17"),
            _ => build(&format!("tests/c/{source}.c"), "c11"),
        };
        (program, arguments(source, miniature()))
    };
    sources.into_iter().filter(|source| chosen(source)).map(program).collect()
}

/// Runs the chosen programs under valgrind.
fn valgrind_finds_nothing_in(chosen: impl Fn(&str) -> bool) {
    let build = |source: &str, standard: &str| {
        Program { standard, ..Program::c(source) }.with(Library::Testing).build()
    };
    for (program, arguments) in every_program(chosen, build) {
        println!("{}", program.display());
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--quiet", "--error-exitcode=9", "--leak-check=full", "--show-leak-kinds=definite"]);
        // Threads take turns in order; without it one that waits may never get the lock that lets them run.
        valgrind.arg("--fair-sched=yes");
        // Rust's own handle of the main thread, which only an inner pointer leads to, is no leak.
        valgrind.arg("--errors-for-leak-kinds=definite");
        valgrind.arg(format!("--suppressions={}", root().join("tests/c/valgrind.supp").display()));
        passes(valgrind.arg(program).args(arguments).current_dir(root()));
    }
}

/// What AddressSanitizer does not see: memory that was never written, and errors inside of Rust's own library.
/// Images, and a panic.
const SLOWLY: [&str; 2] = ["generate", "versions"];

#[test]
#[ignore = "needs valgrind: .ci/c"]
fn valgrind_finds_nothing() {
    valgrind_finds_nothing_in(|source| SLOWLY.contains(&source));
}

#[test]
#[ignore = "needs valgrind, and long: .ci/full"]
fn valgrind_finds_nothing_in_the_others() {
    valgrind_finds_nothing_in(|source| !SLOWLY.contains(&source));
}
