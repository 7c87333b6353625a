//! The library without a compiler: it opens plans alone, and makes of them what the whole library makes of the bundle.

use std::fs::File;
use std::process::Command;

use flowturbo::{Bundle, PlanOptions};

use crate::compiler::{Link, Program, passes};
use crate::libraries::Library;
use crate::programs::{MAPS, Model, bundled, miniature};
use crate::{made, root};

/// An image by the whole library, then by the runtime.
fn agrees(model: &Model, name: &str, link: Link) {
    let bundle = model.folder.to_str().unwrap();
    let path = |end: &str| made().join(format!("{name}.{end}")).into_os_string().into_string().unwrap();
    let (plan, image) = (path("ftplan"), path("image"));
    let opened = Bundle::open(bundle).unwrap();
    flowturbo::compile(opened, &PlanOptions::default(), File::create(&plan).unwrap()).unwrap();
    let program = Program::c("tests/c/plan.c").linked(link);
    program.run(&[bundle, &image]);
    // It opens a plan too.
    program.run(&[&plan, &image, "same"]);
    program.with(Library::Runtime).run(&[&plan, &image, "same", bundle, model.zip.to_str().unwrap()]);
}

#[test]
fn a_plan_without_a_compiler_is_the_bundle_with_one() {
    agrees(bundled(), "bundled", Link::Shared);
    agrees(miniature(), "miniature", Link::Static);
}

#[test]
fn maps_come_of_a_plan_too() {
    let plan = made().join("maps.ftplan");
    let opened = Bundle::open(root().join(MAPS)).unwrap();
    flowturbo::compile(
        opened,
        &PlanOptions::default().with_batches(vec![1, 2]),
        File::create(&plan).unwrap(),
    )
    .unwrap();
    let program = Program::c("tests/c/maps.c").with(Library::Runtime);
    program.run(&[plan.to_str().unwrap(), "models/textures.ftplan"]);
}

/// Crates of the compiler that leave their names in symbols.
const OF_THE_COMPILER: [&str; 4] = ["flowturbo_compile", "tract_core", "tract_onnx", "prost"];

#[test]
fn the_runtime_has_nothing_of_the_compiler() {
    let holds = |library: Library| {
        let output = passes(Command::new("nm").arg(&library.built().open_archive));
        let symbols = String::from_utf8_lossy(&output.stdout).into_owned();
        OF_THE_COMPILER.map(|name| symbols.contains(name))
    };
    assert_eq!(holds(Library::Shipped), [true; 4]);
    assert_eq!(holds(Library::Runtime), [false; 4]);

    let mut tree = Command::new(env!("CARGO"));
    tree.args([
        "tree",
        "--offline",
        "--package",
        "flowturbo-capi",
        "--no-default-features",
        "--features",
        "text",
        "--edges",
        "normal",
    ]);
    let output = passes(tree.args(["--prefix", "none"]).current_dir(root())).stdout;
    let output = String::from_utf8(output).unwrap();
    assert!(output.contains("flowturbo-runtime"));
    let others = ["flowturbo-compile", "tract", "prost", "flowturbo-cuda", "libloading"];
    let found = output.lines().filter(|line| others.iter().any(|name| line.starts_with(name)));
    assert_eq!(found.collect::<Vec<_>>(), [""; 0]);
}

/// That it is there with the feature, `tests/cuda` shows.
#[test]
fn a_library_without_cuda_has_nothing_of_it() {
    let mut wanted: Vec<(String, Vec<u8>)> =
        ["cuInit", "libcuda.so", "nvcuda.dll"].map(|word| (word.to_owned(), word.into())).into();
    for entry in std::fs::read_dir(root().join("crates/cuda/kernels/binaries")).unwrap() {
        let path = entry.unwrap().path();
        let binary = std::fs::read(&path).unwrap();
        wanted.push((path.display().to_string(), binary[binary.len() / 2..][..16].to_vec()));
    }
    assert!(wanted.len() > 3, "there are no binaries to look for");
    for library in [Library::Shipped, Library::Runtime] {
        let bytes = std::fs::read(&library.built().shared).unwrap();
        for (name, wanted) in &wanted {
            let mut found = bytes.windows(wanted.len()).filter(|window| window == wanted);
            assert!(found.next().is_none(), "{library:?} has {name}");
        }
    }
}
