//! Whole files, and files whose lengths lie.

use prost::Message;
use tract_onnx::pb::ModelProto;

use super::super::Graph;
use super::super::testing::{bundle_of, cast, matrix, model};
use super::*;
use crate::weights::Encoding;
use crate::{Bundle, ErrorKind, Role};

fn healthy() -> ModelProto {
    model(matrix(Encoding::F16), vec![cast("w", "matrix")])
}

/// The skeleton of a file, with every cut put back.
fn refilled(bundle: &Bundle, role: Role) -> (usize, ModelProto) {
    let skeleton = Skeleton::read(&bundle.graph(role).unwrap()).unwrap();
    let mut proto = ModelProto::decode(&*skeleton.bytes).unwrap();
    for (i, part) in &skeleton.cuts {
        let tensor = &mut proto.graph.as_mut().unwrap().initializer[*i];
        assert!(tensor.raw_data.is_empty());
        part.read(&mut tensor.raw_data).unwrap();
    }
    (skeleton.bytes.len(), proto)
}

/// A message whose length is off by `lie`.
fn message(tag: u32, body: &[u8], lie: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_key(tag, WireType::LengthDelimited, &mut bytes);
    encode_varint((body.len() as u64).wrapping_add(lie), &mut bytes);
    bytes.extend_from_slice(body);
    bytes
}

/// The healthy file with the lengths of graph, last initializer and its data off by as much.
fn lying(lies: [u64; 3]) -> Vec<u8> {
    let mut model = healthy();
    let mut graph = model.graph.take().unwrap();
    let mut tensor = graph.initializer.pop().unwrap();
    let data = std::mem::take(&mut tensor.raw_data);
    let tensor = [tensor.encode_to_vec(), message(RAW_DATA, &data, lies[2])].concat();
    let graph = [graph.encode_to_vec(), message(INITIALIZER, &tensor, lies[1])].concat();
    [model.encode_to_vec(), message(GRAPH, &graph, lies[0])].concat()
}

fn refused(bytes: Vec<u8>) -> String {
    let bundle = bundle_of(bytes);
    let error =
        Graph::import(&bundle, Role::Predictor, bundle.manifest().extent(1)).err().expect("it is broken");
    assert_eq!(error.kind(), ErrorKind::InvalidBundle, "{error}");
    assert!(error.to_string().starts_with("predictor.onnx: "), "{error}");
    error.to_string()
}

#[test]
fn nothing_is_lost_and_what_is_left_is_small() {
    let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    // A refiner as small as the bundled one has many weights that stay in the graph.
    for (path, share) in [("models/textures", 3), ("tests/data/tiny-sit/bundle", 1)] {
        let bundle = Bundle::open(root.join(path)).unwrap();
        for &role in Role::ALL.iter().filter(|&&role| bundle.manifest().has(role)) {
            let bytes = std::fs::read(root.join(path).join(bundle.manifest().file(role))).unwrap();
            let (left, proto) = refilled(&bundle, role);
            println!("{path} {role}: {left} of {} bytes", bytes.len());
            assert!(left < bytes.len() / share);
            assert!(proto == ModelProto::decode(&*bytes).unwrap(), "{path} {role}");
        }
    }
    let (left, proto) = refilled(&bundle_of(healthy().encode_to_vec()), Role::Predictor);
    assert!(left < 1000, "{left}");
    assert!(proto == healthy());
    assert!(refilled(&bundle_of(lying([0; 3])), Role::Predictor).1 == healthy());
}

#[test]
fn a_graph_in_two_pieces_and_data_given_twice_read_as_when_decoded() {
    let mut second = healthy();
    let graph = second.graph.as_mut().unwrap();
    let (small, large) = (vec![1; 3], vec![2; 100_000]);
    let twice = |first: &[u8], then: &[u8]| {
        let tensor = [message(RAW_DATA, first, 0), message(RAW_DATA, then, 0)].concat();
        message(GRAPH, &message(INITIALIZER, &tensor, 0), 0)
    };
    graph.initializer[0].raw_data = vec![3; 70_000];
    let pieces = [
        healthy().encode_to_vec(),
        twice(&small, &large),
        second.encode_to_vec(),
        twice(&large, &small),
        twice(&large, &large),
    ];
    let bytes = pieces.concat();
    let expected = ModelProto::decode(&*bytes).unwrap();
    let bundle = bundle_of(bytes);
    let skeleton = Skeleton::read(&bundle.graph(Role::Predictor).unwrap()).unwrap();
    let cut: Vec<usize> = skeleton.cuts.iter().map(|(i, _)| *i).collect();
    assert_eq!(cut, [2, 3, 4, 6, 8]);
    let mut found = ModelProto::decode(&*skeleton.bytes).unwrap();
    for (i, part) in &skeleton.cuts {
        part.read(&mut found.graph.as_mut().unwrap().initializer[*i].raw_data).unwrap();
    }
    assert!(found == expected);
}

#[test]
fn a_lying_length_is_refused_at_every_level() {
    for level in 0..3 {
        for lie in [1, 2, 1 << 20, 1 << 31, 1 << 40, (1 << 63) - 1] {
            let mut lies = [0; 3];
            lies[level] = lie;
            let error = refused(lying(lies));
            assert!(error.contains("not a whole ONNX file") && error.contains("claims"), "{error}");
        }
        for missing in [1, 2, 5, 400, 500_000] {
            let mut lies = [0; 3];
            lies[level] = u64::MAX - (missing - 1);
            refused(lying(lies));
        }
    }
}

#[test]
fn a_file_cut_short_anywhere_is_refused() {
    // The graph is the last field: no shorter file is a whole one.
    let bytes = lying([0; 3]);
    let few = (0..700).chain((700..bytes.len()).step_by(50_000));
    for keep in few.chain(bytes.len() - 20..bytes.len()) {
        let mut bytes = bytes.clone();
        bytes.truncate(keep);
        refused(bytes);
    }
}

#[test]
fn what_is_no_field_of_onnx_is_refused() {
    let whole = healthy().encode_to_vec();
    for (tail, words) in [
        (vec![0xff; 11], "invalid varint"),
        (vec![0x00], "invalid tag"),
        (vec![0x0b], "is a group"),
        (vec![0x0c], "is a group"),
        (vec![0x0f], "invalid wire type"),
        (vec![0x0d, 1, 2, 3], "claims 4 bytes, 3 are left"),
        (vec![0x09, 1], "claims 8 bytes, 1 are left"),
        (vec![0x08, 0x80], "invalid varint"),
        (vec![0x3a], "invalid varint"),
    ] {
        let error = refused([whole.clone(), tail].concat());
        assert!(error.contains(words), "{error}");
    }
}
