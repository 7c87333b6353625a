//! Weights that stay in their files, and graphs that get them back.

mod rounded;
mod whole;

use std::path::Path;

use tract_onnx::pb::{ModelProto, NodeProto, TensorProto, ValueInfoProto};
use tract_onnx::prelude::Tensor;
use tract_onnx::tract_core::ops::konst::Const;

use super::testing::{LATENT, cast, files, matrix, model, node, outside, reversal, written};
use super::*;
use crate::backend::Input;
use crate::files::Files;
use crate::reference::Reference;
use crate::weights::{Encoding, LARGE, Weights};
use crate::{Bundle, CancelToken, ErrorKind, Limits, Result, Role};

const ALL: [Encoding; 3] = [Encoding::F32, Encoding::F16, Encoding::I8];

fn import(files: &Files) -> Result<Graph> {
    let bundle = files.open().unwrap();
    Graph::import(&bundle, Role::Predictor, bundle.manifest().extent(2))
}

fn allowance() -> Allowance {
    Allowance::new(&Limits::default(), &CancelToken::new())
}

/// The tests' predictor, made as exporters make it: half precision is widened by a cast.
fn reverser(weight: TensorProto) -> ModelProto {
    model(weight, vec![cast("w", "matrix")])
}

/// The same with the weight in a file of its own, behind three other bytes.
fn external(weight: TensorProto) -> Files {
    let data = [vec![1, 2, 3], weight.raw_data.clone()].concat();
    let mut files = files(&reverser(outside(weight, 3)));
    files.replace("networks.predictor.external_data.0", data);
    files
}

fn answer(graph: Graph) -> Vec<f32> {
    let x: Vec<f32> = (0..2 * LATENT).map(|i| i as f32 / 7.0).collect();
    let mut network = Reference::new(1).compile(graph).unwrap().instantiate(&CancelToken::new()).unwrap();
    let mut output = vec![0.0; x.len()];
    let inputs = [Input::F32(&x), Input::F32(&[0.0; 2]), Input::I64(&[0; 2])];
    network.run(&inputs, &mut output, &CancelToken::new()).unwrap();
    output
}

fn reversed() -> Vec<f32> {
    (0..2).flat_map(|image| (0..LATENT).rev().map(move |i| (image * LATENT + i) as f32 / 7.0)).collect()
}

/// The largest constant of a graph, in bytes.
fn largest_constant(graph: &Graph) -> usize {
    let bytes = |tensor: &Tensor| tensor.len() * tensor.datum_type().size_of();
    let constants = graph.model.nodes().iter().filter_map(|node| node.op_as::<Const>());
    constants.map(|constant| bytes(constant.val())).max().unwrap_or(0)
}

#[test]
fn weights_are_read_when_asked_for_wherever_they_are_and_after_the_bundle_is_gone() {
    for encoding in ALL {
        for files in [files(&reverser(matrix(encoding))), external(matrix(encoding))] {
            let graph = import(&files).unwrap();
            assert_eq!(graph.contract.inputs.len(), 3);
            assert_eq!(graph.model.inputs.len(), 4);
            assert!(largest_constant(&graph) < 1000);
            let weight = graph.weights.iter().next().unwrap();
            assert_eq!(weight.name, "w");
            assert_eq!(graph.weights.encoding(0), Some(encoding));
            assert_eq!(weight.shape, [LATENT; 2]);
            let mut bytes = vec![7; 3];
            graph.weights.read(0, &mut bytes).unwrap();
            assert!(bytes == reversal(encoding));
            assert_eq!(graph.counts.iter().find(|(kind, _)| kind != "INT64").unwrap().1, 512 * 512);
            assert_eq!(answer(graph), reversed());
        }
    }
}

#[test]
fn weights_can_be_shared_between_threads() {
    fn shareable<T: Send + Sync + 'static>() {}
    shareable::<Weights>();
}

#[test]
fn small_weights_are_part_of_the_graph_wherever_they_are() {
    for (elements, staying) in [(128, 0), (129, 1)] {
        let raw_data = vec![0; 4 * 128 * elements];
        let weight = TensorProto { dims: vec![128, elements as i64], raw_data, ..matrix(Encoding::F32) };
        let data = external(weight.clone()).open().unwrap().external_data(Role::Predictor).unwrap();
        let mut graph = reverser(outside(weight.clone(), 3)).graph.unwrap();
        let weights = initializers::take_out(&mut graph, Vec::new(), &data, &allowance()).unwrap();
        assert_eq!(weights.len(), staying);
        assert_eq!(graph.initializer.len(), 3 - staying);
        if staying == 0 {
            assert!(graph.initializer[2].raw_data == weight.raw_data);
        }
    }
}

#[test]
fn nan_in_a_weight_is_found_when_it_is_read() {
    for (encoding, nan) in
        [(Encoding::F32, f32::NAN.to_le_bytes().to_vec()), (Encoding::F16, vec![0x01, 0x7c])]
    {
        let mut weight = matrix(encoding);
        let end = weight.raw_data.len();
        weight.raw_data[end - nan.len()..].copy_from_slice(&nan);
        for files in [files(&reverser(weight.clone())), external(weight)] {
            let graph = import(&files).unwrap();
            let error = graph.weights.read(0, &mut Vec::new()).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::NonFinite);
            assert!(error.to_string().contains("weight 'w' holds NaN"), "{error}");
            let error = graph.materialise().err().unwrap();
            assert_eq!(error.kind(), ErrorKind::NonFinite);
            assert!(error.to_string().starts_with("predictor.onnx: weight 'w' holds NaN"), "{error}");
        }
    }
}

#[test]
fn infinities_pass() {
    for (encoding, infinity) in
        [(Encoding::F32, f32::INFINITY.to_le_bytes().to_vec()), (Encoding::F16, vec![0x00, 0x7c])]
    {
        let mut weight = matrix(encoding);
        weight.raw_data[..infinity.len()].copy_from_slice(&infinity);
        let graph = import(&files(&reverser(weight))).unwrap();
        graph.weights.read(0, &mut Vec::new()).unwrap();
    }
}

#[test]
fn a_weight_whose_size_is_not_its_shapes_is_named() {
    for dims in [vec![512, 511], vec![512], vec![-512, -512], vec![], vec![i64::MAX, i64::MAX], vec![0]] {
        let weight = TensorProto { dims, ..matrix(Encoding::F16) };
        let error = import(&files(&reverser(weight))).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidBundle);
        assert!(error.to_string().starts_with("predictor.onnx: weight 'w': has 524288 bytes"), "{error}");
    }
}

#[test]
fn a_file_cut_short_after_the_import_is_an_error_of_reading() {
    let folder = files(&reverser(matrix(Encoding::F32))).folder();
    let bundle = Bundle::open(folder.path()).unwrap();
    let graph = Graph::import(&bundle, Role::Predictor, bundle.manifest().extent(2)).unwrap();
    let file = std::fs::File::options().write(true).open(folder.path().join("predictor.onnx")).unwrap();
    file.set_len(1000).unwrap();
    let mut buffer = vec![1];
    let error = graph.weights.read(0, &mut buffer).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().starts_with("weight 'w': predictor.onnx: cannot be read"), "{error}");
    assert!(buffer.is_empty());
    assert_eq!(graph.weights.read(1, &mut buffer).err().unwrap().kind(), ErrorKind::InvalidBundle);
}

#[test]
fn weights_whose_value_tract_may_need_are_part_of_the_graph() {
    let cast = || cast("w", "wide");
    let uses: [(&str, usize, Vec<NodeProto>); 8] = [
        ("a product", 1, vec![node("Identity", &["w"], "matrix")]),
        ("a product behind a cast", 1, vec![cast(), node("Identity", &["wide"], "matrix")]),
        ("a product behind a transposition", 1, vec![node("Transpose", &["w"], "matrix")]),
        ("an unknown operator", 0, vec![node("Neg", &["w"], "matrix")]),
        ("one of its uses", 0, vec![node("Identity", &["w"], "matrix"), node("Neg", &["w"], "unused")]),
        (
            "constants only",
            0,
            vec![cast(), node("Add", &["wide", "wide"], "sum"), node("Sub", &["sum", "w"], "matrix")],
        ),
        ("a cycle", 1, vec![node("Identity", &["w"], "matrix"), node("Cast", &["w", "loop"], "loop")]),
        ("nothing made of nothing", 1, vec![node("Identity", &["w"], "matrix"), node("Mul", &[], "none")]),
    ];
    for (name, staying, between) in uses {
        let mut proto = model(matrix(Encoding::F32), between);
        let data = external(matrix(Encoding::F32)).open().unwrap().external_data(Role::Predictor).unwrap();
        let graph = proto.graph.as_mut().unwrap();
        graph.initializer[2] = outside(matrix(Encoding::F32), 3);
        let weights = initializers::take_out(graph, Vec::new(), &data, &allowance()).unwrap();
        assert_eq!(weights.len(), staying, "{name}");
        assert_eq!((graph.initializer.len(), graph.input.len()), (3 - staying, 3 + staying), "{name}");
        if staying == 0 {
            assert!(graph.initializer[2].raw_data == reversal(Encoding::F32), "{name}");
        }
    }
}

#[test]
fn weights_that_are_not_told_apart_or_leave_the_graph_are_part_of_it() {
    let mut proto = reverser(matrix(Encoding::F32));
    proto.graph.as_mut().unwrap().initializer.push(matrix(Encoding::F32));
    let twice = import(&files(&proto)).unwrap();
    let mut proto = reverser(matrix(Encoding::F32));
    let graph = proto.graph.as_mut().unwrap();
    let mut output = graph.output[0].clone();
    output.name = "matrix".into();
    output.r#type = None;
    graph.output.push(output);
    let output = import(&files(&proto)).unwrap();
    for graph in [twice, output] {
        assert_eq!(graph.weights.len(), 0);
        assert_eq!(answer(graph), reversed());
    }
}

#[test]
fn a_weight_that_is_listed_as_an_input_too_is_none() {
    let mut proto = reverser(matrix(Encoding::F32));
    let inputs = &mut proto.graph.as_mut().unwrap().input;
    let listed = tract_onnx::pb::ValueInfoProto { name: "w".into(), ..inputs[0].clone() };
    inputs.insert(0, listed);
    let graph = import(&files(&proto)).unwrap();
    assert_eq!(graph.weights.len(), 1);
    assert_eq!(answer(graph), reversed());
}

#[test]
fn a_weight_with_an_inputs_name_does_not_stand_for_it() {
    let mut proto = reverser(matrix(Encoding::F32));
    let graph = proto.graph.as_mut().unwrap();
    graph.initializer[2].name = "t".into();
    graph.node[1].input[0] = "t".into();
    let error = import(&files(&proto)).err().unwrap();
    assert!(error.to_string().contains("has no input 't'; its inputs are x, y"), "{error}");
}

#[test]
fn a_weight_that_nothing_uses_is_not_read() {
    let mut proto = model(matrix(Encoding::F32), vec![cast("w", "matrix")]);
    let mut unused = matrix(Encoding::F32);
    unused.name = "unused".into();
    unused.raw_data.fill(0xff);
    proto.graph.as_mut().unwrap().initializer.push(unused);
    let graph = import(&files(&proto)).unwrap();
    assert_eq!(graph.weights.len(), 2);
    assert_eq!(answer(graph), reversed());
}

#[test]
fn no_large_weight_of_the_bundled_model_is_read_while_importing() {
    let bundle =
        Bundle::open(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("models/textures"))
            .unwrap();
    for role in Role::ALL.iter().copied().filter(|&role| bundle.manifest().has(role)) {
        let graph = Graph::import(&bundle, role, bundle.manifest().extent(1)).unwrap();
        assert!(largest_constant(&graph) as u64 <= 2 * LARGE, "{role}");
        assert!((0..graph.weights.len()).all(|i| graph.weights.encoding(i) == Some(Encoding::F16)));
        let bytes: usize = graph.weights.iter().map(|w| 2 * w.shape.iter().product::<usize>()).sum();
        println!("{role}: {} weights, {bytes} bytes", graph.weights.len());
        assert!(bytes as u64 > bundle.size(role).unwrap() * 6 / 10, "{role}");
        let (inputs, weights) = (graph.contract.inputs.len(), graph.weights.len());
        assert_eq!(graph.model.inputs.len(), inputs + weights);
        for (weight, outlet) in graph.weights.iter().zip(&graph.model.inputs[inputs..]) {
            assert_eq!(graph.model.node(outlet.node).name, weight.name);
            assert_eq!(graph.model.outlet_fact(*outlet).unwrap().shape.as_concrete(), Some(&*weight.shape));
        }
        assert_eq!(graph.materialise().unwrap().inputs.len(), inputs);
    }
}
