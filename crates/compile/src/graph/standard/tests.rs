//! Graphs held to the standard: what is refused, and what must not be.

mod breaches;
mod functions;
mod padding;

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension::Value};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, SparseTensorProto,
    StringStringEntryProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};

use crate::ErrorKind::{self, InvalidBundle, LimitExceeded, Unsupported};
use crate::backend::Input;
use crate::graph::Graph;
use crate::graph::testing::{files, node, written};
use crate::reference::Reference;
use crate::{CancelToken, Error, Limits, Result, Role};

/// Elements of two latents `[2, 4, 8, 16]`.
const ELEMENTS: usize = 2 * 4 * 8 * 16;

fn import(model: &ModelProto) -> Result<Graph> {
    let bundle = files(model).open().unwrap();
    Graph::import(&bundle, Role::Predictor, bundle.manifest().extent(2))
}

/// What element `i` of the input is.
fn element(i: usize) -> f32 {
    i as f32 / 7.0
}

fn answer(model: &ModelProto) -> Vec<f32> {
    let x: Vec<f32> = (0..ELEMENTS).map(element).collect();
    let compiled = Reference::new(1).compile(import(model).unwrap()).unwrap();
    let mut output = vec![0.0; x.len()];
    let inputs = [Input::F32(&x), Input::F32(&[0.0; 2]), Input::I64(&[0; 2])];
    compiled
        .instantiate(&CancelToken::new())
        .unwrap()
        .run(&inputs, &mut output, &CancelToken::new())
        .unwrap();
    output
}

fn refusal(model: &ModelProto) -> Error {
    import(model).err().unwrap_or_else(|| panic!("loads: {model:?}"))
}

fn check(model: &ModelProto, kind: ErrorKind, place: &str, cause: &str) {
    let error = refusal(model);
    let line = error.to_string();
    println!("{line}");
    assert_eq!(error.kind(), kind, "{line}");
    assert!(line.starts_with("predictor.onnx: "), "{line}");
    assert!(line.contains(place) && line.contains(cause), "{line}, not {place} and {cause}");
    assert!(line.len() < 600, "{line}");
}

#[test]
fn opsets_and_domains_that_are_not_known_are_refused() {
    let opset = |&(domain, version): &(&str, i64)| OperatorSetIdProto { domain: domain.into(), version };
    let opsets = |list: &[(&str, i64)]| ModelProto {
        opset_import: list.iter().map(opset).collect(),
        ..written("velocity = Relu(x)")
    };
    check(&opsets(&[]), InvalidBundle, "", "which opset");
    check(&opsets(&[("ai.onnx.ml", 3)]), InvalidBundle, "", "which opset");
    for version in [0, 6, 99, -1, i64::MAX] {
        check(&opsets(&[("", version)]), Unsupported, "", &format!("opset {version} "));
    }
    assert!(import(&opsets(&[("ai.onnx", 17), ("ai.onnx.ml", 3), ("", 17)])).is_ok());
    check(&opsets(&[("ai.onnx", 17), ("", 11)]), InvalidBundle, "", "twice which opset of 'ai.onnx'");
    let mut model = written("velocity = Normalizer(x)");
    model.graph.as_mut().unwrap().node[0].domain = "ai.onnx.ml".into();
    check(&model, Unsupported, "(Normalizer)", "the domain 'ai.onnx.ml'");
    let mut model = written("velocity = QuickGelu(x)");
    check(&model, Unsupported, "(QuickGelu)", "no such operator");
    model.graph.as_mut().unwrap().node[0].domain = "com.microsoft".into();
    check(&model, InvalidBundle, "(QuickGelu)", "imports no opset of 'com.microsoft'");
    model.opset_import.push(opset(&("com.microsoft", 1)));
    assert!(import(&model).is_ok());
}

fn holding(name: &str, graph: GraphProto) -> AttributeProto {
    let kind = AttributeType::Graph as i32;
    AttributeProto { name: name.into(), r#type: kind, g: Some(graph), ..AttributeProto::default() }
}

/// `velocity = If(true)`, of branches that make `inner` and negate `x`.
fn branches(inner: NodeProto) -> ModelProto {
    let mut model = written("c = 1.0\n velocity = If(c)");
    let graph = model.graph.as_mut().unwrap();
    let kind = DataType::Bool as i32;
    graph.initializer[0] =
        TensorProto { name: "c".into(), data_type: kind, int32_data: vec![1], ..Default::default() };
    let branch = |node: NodeProto| GraphProto {
        output: vec![ValueInfoProto { name: node.output[0].clone(), ..Default::default() }],
        node: vec![node],
        ..GraphProto::default()
    };
    let (inner, other) = (branch(inner), branch(node("Neg", &["x"], "other")));
    graph.node[0].attribute = vec![holding("then_branch", inner), holding("else_branch", other)];
    model
}

#[test]
fn graphs_inside_of_nodes_are_held_to_the_standard_too() {
    assert_eq!(answer(&branches(node("Abs", &["x"], "inner")))[3], element(3));
    let kind = AttributeType::Int as i32;
    let axis = AttributeProto { name: "axis".into(), r#type: kind, i: 7, ..AttributeProto::default() };
    let softmax = NodeProto { attribute: vec![axis], ..node("Softmax", &["x"], "inner") };
    check(&branches(softmax), InvalidBundle, "node 'makes inner' (Softmax)", "'axis' is 7");
    check(&branches(node("Relu", &["gone"], "inner")), InvalidBundle, "node 'makes inner' (Relu)", "'gone'");
    check(&branches(node("Relu", &["x", "x"], "inner")), InvalidBundle, "'makes inner' (Relu)", "2 inputs");
    check(&branches(node("Relu", &["t"], "x")), InvalidBundle, "node 'makes x' (Relu)", "made elsewhere");
    let mut deep = branches(node("Relu", &["x"], "inner"));
    for level in 0..20 {
        let inner = deep.graph.unwrap().node.remove(0);
        deep = branches(NodeProto { output: vec![format!("level {level}")], ..inner });
    }
    check(&deep, LimitExceeded, "", "deep inside");
}

#[test]
fn a_graph_may_branch_more_than_once() {
    let mut model = branches(node("Abs", &["x"], "inner"));
    let nodes = &mut model.graph.as_mut().unwrap().node;
    let mut again = nodes[0].clone();
    for graph in again.attribute.iter_mut().filter_map(|attribute| attribute.g.as_mut()) {
        let name = format!("{} again", graph.output[0].name);
        graph.node[0].input[0] = "once".into();
        (graph.node[0].output[0], graph.output[0].name) = (name.clone(), name);
    }
    nodes[0].output[0] = "once".into();
    nodes.insert(1, node("Neg", &["once"], "minus"));
    nodes.push(again);
    nodes[1].name = "If".into();
    nodes.last_mut().unwrap().output[0] = "twice".into();
    nodes.push(node("Add", &["twice", "minus"], "velocity"));
    assert!(answer(&model).iter().all(|&y| y == 0.0));
    model.graph.as_mut().unwrap().node[3].input[1] = "twice".into();
    assert_eq!(answer(&model)[7], 2.0);
}

#[test]
fn a_graph_has_as_many_nodes_as_the_limits_let_it() {
    let lines: Vec<String> = (0..9).map(|i| format!("v{} = Relu(v{i})", i + 1)).collect();
    let text = format!("v0 = Relu(x)\n{}\nvelocity = Neg(v9)", lines.join("\n"));
    let read = |most: u32| {
        let bundle = files(&written(&text)).open_with(&Limits::default().with_max_nodes(most)).unwrap();
        Graph::import(&bundle, Role::Predictor, bundle.manifest().extent(2))
    };
    assert!(read(11).is_ok());
    let error = read(10).err().unwrap();
    assert_eq!(error.kind(), LimitExceeded);
    assert!(error.to_string().contains("above the limit of 10 (max_nodes)"), "{error}");
}

#[test]
fn nodes_that_no_output_needs_may_be_of_any_kind() {
    let model = written("a = FancyMax(x)\n b = Softmax(a) axis=9\n c = Bernoulli(b)\n velocity = Neg(x)");
    assert_eq!(answer(&model)[7], -1.0);
}

#[test]
fn nodes_may_come_in_any_order_but_not_in_a_circle() {
    let text = "velocity = Neg(b)\n b = Add(a, x)\n a = Abs(x)";
    assert_eq!(answer(&written(text))[7], -2.0);
    for text in ["velocity = Neg(a)\n a = Add(x, b)\n b = Abs(a)", "a = Add(x, a)\n velocity = Neg(a)"] {
        check(&written(text), InvalidBundle, "node 'makes ", "made of its own result");
    }
}

#[test]
fn bounds_that_lie_beyond_everything_do_not_stop_a_sound_graph() {
    let clipped = answer(&written("opset 10\n velocity = Clip(x) min=3.0 max=inf"));
    assert_eq!((clipped[0], clipped[700]), (3.0, element(700)));
    let shape = "a = Shape(x) start=-9223372036854775808 end=9223372036854775807\n velocity = Reshape(x, a)";
    assert_eq!(answer(&written(shape))[7], 1.0);
}

#[test]
fn a_logarithm_of_a_sum_of_nothing_is_minus_infinity() {
    // Only the first row of each plane has a number.
    let text = "r = [0.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0]
        s = [8, 1]\n c = Reshape(r, s)\n most = 3.0e38\n m = Mul(c, most)\n w = Add(x, m)\n z = Add(w, m)
        l = ReduceLogSumExp(z) axes=[3]\n e = Exp(l)\n velocity = Add(x, e)";
    let answers = answer(&written(text));
    assert!(answers[16..128].iter().enumerate().all(|(i, &y)| y == element(16 + i)), "{:?}", &answers[..32]);
    assert!(answers[..16].iter().all(|y| y.is_finite() && *y > 1.0));
}

#[test]
fn a_name_may_have_any_number_of_dots() {
    let mut model = written("half = 0.3\n a = Mul(x, half)\n velocity = Neg(a)");
    let dots = "n.".repeat(150_000);
    let graph = model.graph.as_mut().unwrap();
    (graph.initializer[0].name, graph.node[0].input[1]) = (dots.clone(), dots.clone());
    graph.node[1].name = dots;
    assert_eq!(answer(&model)[7], -0.3);
}

/// A note that `name` is of these dimensions.
fn note(name: &str, kind: DataType, dims: &[&str]) -> ValueInfoProto {
    let value = |text: &&str| text.parse().map_or(Value::DimParam((*text).into()), Value::DimValue);
    let dim = dims.iter().map(|text| Dimension { value: Some(value(text)), ..Default::default() }).collect();
    let tensor = type_proto::Tensor { elem_type: kind as i32, shape: Some(TensorShapeProto { dim }) };
    let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.into(), r#type: Some(kind), doc_string: "a note".into() }
}

#[test]
fn notes_do_not_stop_a_sound_graph() {
    let text = "half = 0.5\n a = Mul(x, half)\n s = Shape(a)\n b = Reshape(a, s)\n velocity = Add(b, x)";
    let plain = answer(&written(text));
    for dims in
        [["N", "4", "8", "16"], ["batch", "4", "H", "W"], ["s0", "s1", "s2", "s3"], ["7", "7", "7", "7"]]
    {
        let mut model = written(text);
        model.metadata_props.push(StringStringEntryProto { key: "k".into(), value: "v".into() });
        (model.doc_string, model.producer_name) = ("what it is".into(), "who made it".into());
        let graph = model.graph.as_mut().unwrap();
        graph.value_info = ["a", "b", "nobody"].map(|name| note(name, DataType::Float, &dims)).to_vec();
        graph.value_info.push(note("s", DataType::Int32, &["5"]));
        graph.output[0] = note("velocity", DataType::Float, &dims);
        graph.doc_string = "a graph".into();
        graph.node.iter_mut().for_each(|node| node.doc_string = "a node".into());
        assert_eq!(answer(&model), plain, "{dims:?}");
    }
    // What is declared of inputs is held to the manifest, but symbols say nothing.
    let mut model = written(text);
    model.graph.as_mut().unwrap().input[0] = note("x", DataType::Float, &["N", "C", "H", "W"]);
    assert_eq!(answer(&model), plain);
}

#[test]
fn names_that_meet_do_not_stop_a_sound_graph() {
    let text = "half = 0.3\n a = Mul(x, half)\n b = Celu(a) alpha=0.3\n c = Softplus(b)\n velocity = Selu(c)";
    let plain = answer(&written(text));
    // Weights and nodes, nodes and nodes, nodes and the parts that tract makes of them.
    for names in [
        ["half", "half", "half", "half"],
        ["same", "same", "same", "same"],
        ["n", "n.1", "n.2", "n.low"],
        ["n.1.1", "n.1", "n", "n.low"],
        ["velocity", "x", "t", "s"],
        ["", "", "", ""],
        ["half#0", "half", "half#1", "half#"],
    ] {
        let mut model = written(text);
        let nodes = &mut model.graph.as_mut().unwrap().node;
        nodes.iter_mut().zip(names).for_each(|(node, name)| node.name = name.into());
        assert_eq!(answer(&model), plain, "{names:?}");
    }
}

#[test]
fn a_message_is_short_however_long_the_names_are() {
    let long = "n".repeat(260_000);
    let mut model = written("a = Relu(x)\n velocity = Softmax(a) axis=9");
    let graph = model.graph.as_mut().unwrap();
    graph.node[1].name = long.clone();
    (graph.node[0].output[0], graph.node[1].input[0]) = (long.clone(), long.clone());
    let line = refusal(&model).to_string();
    assert!(line.len() < 1000 && line.contains("nn' (Softmax): 'axis' is 9"), "{line}");
    model.graph.as_mut().unwrap().node[1].attribute[0].name = long;
    let line = refusal(&model).to_string();
    assert!(line.len() < 2000 && line.contains("has no attribute"), "{}", line.len());
}

#[test]
fn weights_whose_data_is_not_their_shapes_are_named() {
    let mut model = written("w = noise [16]\n velocity = Add(x, w)");
    for (dims, cause) in [
        (vec![17], "has 16 elements"),
        (vec![-16], "no tensor can have"),
        (vec![i64::MAX, i64::MAX], "no tensor can have"),
        (vec![4, 1 << 40], "has 16 elements"),
    ] {
        model.graph.as_mut().unwrap().initializer[0].dims = dims;
        check(&model, InvalidBundle, "weight 'w'", cause);
    }
    let mut model = written("velocity = Neg(x)");
    model.graph.as_mut().unwrap().sparse_initializer.push(SparseTensorProto::default());
    check(&model, Unsupported, "", "sparse");
}
