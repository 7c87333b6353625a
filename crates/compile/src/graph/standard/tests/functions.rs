//! Functions that a file brings along.

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{AttributeProto, FunctionProto, ModelProto, OperatorSetIdProto, TensorProto};

use super::{answer, check, import};
use crate::ErrorKind::{InvalidBundle, LimitExceeded, Unsupported};
use crate::graph::Graph;
use crate::graph::testing::{files, written};
use crate::{Limits, Role};

/// A function of `a` that makes `velocity`.
fn function(name: &str, body: &str, attributes: &[&str]) -> FunctionProto {
    let mut node = written(body).graph.unwrap().node;
    for called in node.iter_mut().filter(|node| ["Twice", "Once"].contains(&node.op_type.as_str())) {
        called.domain = "own".into();
    }
    FunctionProto {
        name: Some(name.into()),
        domain: Some("own".into()),
        input: vec!["a".into()],
        output: vec!["velocity".into()],
        attribute: attributes.iter().map(|&name| name.into()).collect(),
        node,
        opset_import: vec![OperatorSetIdProto { version: 17, ..Default::default() }],
        ..FunctionProto::default()
    }
}

/// `velocity = Twice(x)`, which is a function of the file.
fn calling(functions: Vec<FunctionProto>) -> ModelProto {
    let mut model = written("velocity = Twice(x)");
    model.graph.as_mut().unwrap().node[0].domain = "own".into();
    model.opset_import.push(OperatorSetIdProto { domain: "own".into(), version: 1 });
    model.functions = functions;
    model
}

fn twice(body: &str) -> FunctionProto {
    function("Twice", body, &[])
}

#[test]
fn they_are_written_out() {
    assert_eq!(answer(&calling(vec![twice("velocity = Add(a, a)")]))[7], 2.0);
    // Their names are their own.
    assert_eq!(answer(&calling(vec![twice("b = Neg(a)\n x = Add(b, a)\n velocity = Sub(x, a)")]))[7], -1.0);
    let calls = vec![twice("b = Once(a)\n velocity = Add(b, a)"), function("Once", "velocity = Neg(a)", &[])];
    assert_eq!(answer(&calling(calls))[7], 0.0);
    check(&calling(vec![twice("velocity = Softmax(a) axis=9")]), InvalidBundle, "(Softmax)", "'axis' is 9");
}

#[test]
fn calls_without_end_are_refused() {
    check(&calling(vec![twice("velocity = Twice(a)")]), InvalidBundle, "", "functions call functions");
    // Twenty levels of two calls each are a million nodes.
    let mut functions = vec![twice("b = Deep0(a)\n velocity = Deep0(b)")];
    for level in 0..20 {
        let next = format!("Deep{}", level + 1);
        functions.push(function(
            &format!("Deep{level}"),
            &format!("b = {next}(a)\n velocity = {next}(b)"),
            &[],
        ));
    }
    functions.push(function("Deep20", "velocity = Neg(a)", &[]));
    let own = |functions: &mut Vec<FunctionProto>| {
        let nodes = functions.iter_mut().flat_map(|f| &mut f.node).filter(|node| node.op_type != "Neg");
        nodes.for_each(|node| node.domain = "own".into());
    };
    own(&mut functions);
    check(&calling(functions.clone()), LimitExceeded, "", "(max_nodes)");
    // Nor may they come to nothing.
    functions[21].node.clear();
    check(&calling(functions), LimitExceeded, "", "(max_nodes)");
}

#[test]
fn what_they_are_written_out_to_is_bounded_like_weights() {
    // A constant of 1 MB, in each of 4096 calls.
    let calls: Vec<String> = (0..4096).map(|i| format!("b{i} = Once(a)")).collect();
    let mut constant = function("Once", "velocity = Constant()", &[]);
    let value = TensorProto { name: "n".repeat(1 << 20), ..TensorProto::default() };
    let kind = AttributeType::Tensor as i32;
    let value = AttributeProto { name: "value".into(), r#type: kind, t: Some(value), ..Default::default() };
    constant.node[0].attribute.push(value);
    let twice = twice(&format!("{}\nvelocity = Add(b0, b1)", calls.join("\n")));
    let limits = Limits::default().with_max_weight_bytes(1 << 24);
    let bundle = files(&calling(vec![twice.clone(), constant])).open_with(&limits).unwrap();
    let error = Graph::import(&bundle, Role::Predictor, bundle.manifest().extent(2)).err().unwrap();
    assert_eq!(error.kind(), LimitExceeded);
    assert!(error.to_string().contains("(Once): takes 1677"), "{error}");
    // A name as long is not repeated in those of what it calls.
    let mut model = calling(vec![twice, function("Once", "velocity = Neg(a)", &[])]);
    model.graph.as_mut().unwrap().node[0].name = "n".repeat(1 << 20);
    let bundle = files(&model).open_with(&limits).unwrap();
    assert!(Graph::import(&bundle, Role::Predictor, bundle.manifest().extent(2)).is_ok());
}

#[test]
fn calls_that_do_not_tell_which_function_or_what_of_it_they_mean_are_refused() {
    let both = vec![twice("velocity = Add(a, a)"), twice("velocity = Neg(a)")];
    check(&calling(both), Unsupported, "", "two functions 'Twice' of the domain 'own'");
    let mut model = calling(vec![twice("velocity = Add(a, a)")]);
    let node = &mut model.graph.as_mut().unwrap().node[0];
    node.input.push("x".into());
    check(&model, InvalidBundle, "(Twice)", "has 2 inputs, the function has 1");
}

#[test]
fn attributes_are_those_of_the_call() {
    let mut model = calling(vec![function("Twice", "velocity = LeakyRelu(a) alpha=0.5", &["slope"])]);
    let alpha = &mut model.functions[0].node[0].attribute[0];
    (alpha.ref_attr_name, alpha.f) = ("slope".into(), 0.0);
    assert!(import(&model).is_ok());
    let kind = AttributeType::Float as i32;
    let given = AttributeProto { name: "slope".into(), r#type: kind, f: 2.0, ..AttributeProto::default() };
    model.graph.as_mut().unwrap().node[0].attribute.push(given);
    assert!(import(&model).is_ok());
    // A default is not read, so it may not be needed.
    model.graph.as_mut().unwrap().node[0].attribute.clear();
    model.functions[0].attribute.clear();
    check(&model, Unsupported, "(Twice)", "'slope'");
}

#[test]
fn one_for_another_opset_is_refused() {
    let mut model = calling(vec![twice("velocity = Add(a, a)")]);
    model.functions[0].opset_import[0].version = 18;
    check(&model, Unsupported, "(Twice)", "another opset");
}
