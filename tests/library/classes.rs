//! Models that know no null class, and models that take no class.

use flowturbo::{ErrorKind, Model, Request};
use flowturbo_compile::tract_onnx;
use flowturbo_compile::tract_onnx::pb::NodeProto;
use serde_json::json;

use crate::common::{data, largest_error};
use crate::copy::Copy;

fn request(classes: &[i64], guidance: f32) -> Request {
    let request = Request::new(classes.to_vec()).with_seed(5).with_guidance(guidance);
    request.with_schedule("H1P1R1".parse().unwrap())
}

fn refused(model: &Model, request: &Request, words: &str) {
    let error = model.session().latents(request).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains(words), "{error}");
}

#[test]
fn a_model_without_a_null_class_is_sampled_and_never_guided() {
    let (whole, copy) = (Model::open(data("bundle")).unwrap(), Copy::new());
    copy.edit_manifest(|m| {
        m["classes"].as_object_mut().unwrap().remove("null");
        m["sampling"]["guidance"] = json!(1);
    });
    let model = copy.load().unwrap();
    for change in [|r: Request| r, |r: Request| r.with_morph(2, 0.5)] {
        let [found, wanted] =
            [&model, &whole].map(|model| model.session().latents(&change(request(&[3, 7], 1.0))).unwrap());
        assert_eq!(found, wanted);
    }
    // The bundle's own guidance.
    model.session().latents(&Request::new(vec![3])).unwrap();
    for guidance in [0.0, 0.5, 4.0] {
        refused(&model, &request(&[3], guidance), "must be 1, since this model knows no \"no class\"");
    }
    refused(&model, &request(&[10], 1.0), "class 10 is out of range; this bundle has classes 0 to 9");
    refused(&model, &request(&[3], 1.0).with_morph(-1, 0.5), "class -1 is out of range");
    refused(&whole, &request(&[11], 1.0), "this bundle has classes 0 to 9, and 10 for no class");
}

/// The tiny bundle, its networks told of class 0 by themselves: zeros of the time's shape.
#[test]
fn networks_that_take_no_class_are_a_model_of_one() {
    let (whole, copy) = (Model::open(data("bundle")).unwrap(), Copy::new());
    let node = |operator: &str, input: &str, output: &str| NodeProto {
        op_type: operator.into(),
        name: output.into(),
        input: vec![input.into()],
        output: vec![output.into()],
        ..NodeProto::default()
    };
    for role in ["predictor", "refiner"] {
        copy.edit_network(role, |proto| {
            let graph = proto.graph.as_mut().unwrap();
            graph.input.retain(|input| input.name != "y");
            let mut zeros = node("ConstantOfShape", "images", "y");
            zeros.attribute.push(tract_onnx::pb::AttributeProto {
                name: "value".into(),
                r#type: tract_onnx::pb::attribute_proto::AttributeType::Tensor.into(),
                t: Some(tract_onnx::pb::TensorProto {
                    data_type: tract_onnx::pb::tensor_proto::DataType::Int64.into(),
                    dims: vec![1],
                    raw_data: vec![0; 8],
                    ..Default::default()
                }),
                ..Default::default()
            });
            graph.node.splice(..0, [node("Shape", "t", "images"), zeros]);
        });
    }
    copy.edit_manifest(|m| {
        m["classes"] = json!({ "count": 1, "labels": ["stone"] });
        m["sampling"]["guidance"] = json!(1);
        for role in ["predictor", "refiner"] {
            m["networks"][role]["inputs"].as_object_mut().unwrap().remove("y");
        }
    });
    let model = copy.load().unwrap();
    let [found, wanted] =
        [&model, &whole].map(|model| model.session().latents(&request(&[0, 0], 1.0)).unwrap());
    let error = largest_error(&found, &wanted);
    assert!(error < 1e-5, "{error}");
    assert_eq!((model.class("Stone").unwrap(), model.class("0").unwrap()), (0, 0));
    refused(&model, &request(&[1], 1.0), "class 1 is out of range; this bundle has class 0");
    refused(&model, &request(&[0], 3.0), "guidance 3: must be 1");
}
