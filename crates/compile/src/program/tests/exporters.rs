//! Graphs of both PyTorch exporters and several opsets: each is recognised whole, whatever its wording.

use super::*;
use crate::files::Files;

/// What becomes of a predictor: two blocks of attention and a two-layer network; five normalisations with
/// their modulations; products that take biases, GELU, gates and residuals along. What is left is the
/// addition of the positions.
const FUSED: &str = "attention 2, matmul 10, norm 5, pointwise 1";
const SEPARATE: &str = "attention 2, matmul 14, norm 5, pointwise 1";
/// Queries and keys are normalised, too.
const FUSED_NORMED: &str = "attention 2, matmul 10, norm 9, pointwise 1";
const SEPARATE_NORMED: &str = "attention 2, matmul 14, norm 9, pointwise 1";
/// Eleven convolutions, their images staged with normalisation, SiLU and upsampling.
const DECODER: &str = "group-norm 7, matmul 11, stage 11";
/// The same with attention between pixels.
const ATTENTIVE: &str = "attention 1, group-norm 8, matmul 15, pointwise 1, stage 12";

/// Files of `tests/data/graphs` and the steps of each, but for copies.
const GRAPHS: [(&str, &str); 16] = [
    ("torchscript-13", FUSED),
    ("torchscript-14", SEPARATE),
    ("torchscript-17", FUSED),
    ("torchscript-18", SEPARATE_NORMED),
    ("torchscript-20", FUSED_NORMED),
    ("dynamo-18", FUSED),
    ("dynamo-18-2", SEPARATE),
    ("dynamo-20", SEPARATE_NORMED),
    ("dynamo-21", FUSED_NORMED),
    ("dynamo-23", FUSED_NORMED),
    ("dynamo-23-2", SEPARATE),
    ("refiner-torchscript-17", FUSED),
    ("decoder-torchscript-13", DECODER),
    ("decoder-torchscript-17", ATTENTIVE),
    ("decoder-dynamo-18", ATTENTIVE),
    ("decoder-dynamo-21", DECODER),
];

/// What depends on time and class alone: sines and cosines, the embeddings, one product for the modulations of
/// each block and of the last layer, `1 + scale` for each normalisation.
const CONDITIONS: &str = "gather 1, matmul 5, pointwise 8";

fn folder() -> std::path::PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("tests/data/graphs")
}

/// A bundle whose predictor, refiner or decoder is this file.
fn bundle_of(name: &str) -> (Bundle, Role) {
    let bytes = std::fs::read(folder().join(format!("{name}.onnx"))).unwrap();
    let role = match name.split_once('-') {
        Some(("decoder", _)) => Role::Decoder,
        Some(("refiner", _)) => Role::Refiner,
        _ => Role::Predictor,
    };
    (Files::complete().replace(&format!("networks.{role}"), bytes).open().unwrap(), role)
}

#[test]
fn every_exporters_graph_is_recognised_whole() {
    for (name, steps) in GRAPHS {
        let (bundle, role) = bundle_of(name);
        let program = lowered(&bundle, role);
        assert_eq!(kinds(&program.executable.describe()), steps, "{name}:\n{}", program.describe());
        let conditions = program.conditions.as_ref().map(|conditions| kinds(&conditions.describe()));
        assert_eq!(conditions.as_deref(), (role != Role::Decoder).then_some(CONDITIONS), "{name}");
        assert_eq!(program.fallbacks(), []);
        agrees(&bundle, role, name);
    }
}

#[test]
fn every_graph_of_the_folder_is_tested() {
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let graphs = files.filter(|path| path.extension().is_some_and(|end| end == "onnx"));
    let mut found: Vec<String> =
        graphs.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    found.sort();
    let mut listed = GRAPHS.map(|(name, _)| name.to_owned());
    listed.sort();
    assert_eq!(found, listed);
}
