//! Text encoders: tables of tokens, masks, int8 weights.

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{
    TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, tensor_shape_proto, type_proto,
};

use super::*;

/// A text encoder as [`written`] has predictors: `tokens`, `mask` and `types` `[N, 32]` to a `context` `[N, width]`,
/// and these int8 tensors.
fn encoder(text: &str, width: u32, int8: &[(&str, [usize; 2])]) -> Bundle {
    use tensor_shape_proto::{Dimension, dimension::Value};
    let mut model = written(text);
    let graph = model.graph.as_mut().unwrap();
    let dim = |value| Dimension { value: Some(value), ..Default::default() };
    let shape = || TensorShapeProto { dim: vec![dim(Value::DimParam("N".into())), dim(Value::DimValue(32))] };
    let input = |name: &str| {
        let tensor = type_proto::Tensor { elem_type: DataType::Int64 as i32, shape: Some(shape()) };
        let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
        ValueInfoProto { name: name.into(), r#type: Some(kind), ..Default::default() }
    };
    graph.input = ["tokens", "mask", "types"].map(input).into();
    graph.output[0].name = "context".into();
    for (name, [rows, width]) in int8 {
        let raw_data = (0..rows * width).map(|i| (i * 37 % 251) as u8).collect();
        graph.initializer.push(TensorProto {
            name: (*name).into(),
            data_type: DataType::Int8 as i32,
            dims: vec![*rows as i64, *width as i64],
            raw_data,
            ..TensorProto::default()
        });
    }
    let mut files = Files::with_text();
    files.replace("networks.text", model.encode_to_vec());
    files.set("text.width", json!(width)).remove("text.tokens").open().unwrap()
}

#[test]
fn the_tiny_encoder_agrees_with_plain_tract_and_is_recognised_whole() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let bundle = Bundle::open(root.join("tests/data/prompts/bundle")).unwrap();
    let program = lowered(&bundle, Role::Text);
    assert_eq!(program.fallbacks(), []);
    let steps = "attention 2, gather 3, integers 1, matmul 12, norm 5, pointwise 14, reduce 3";
    assert_eq!(kinds(&program.executable.describe()), steps, "{}", program.describe());
    agrees(&bundle, Role::Text, "tiny");
}

/// Tables and matrices of whole numbers are those of the file, a byte each, until they are multiplied.
#[test]
fn large_int8_weights_are_looked_up_and_packed_from_the_file() {
    let bundle = encoder(
        "floats = Cast(table) to=1
         rows = Gather(floats, tokens)
         counts = Cast(mask) to=1
         axis = [2]
         weights = Unsqueeze(counts, axis)
         kept = Mul(rows, weights)
         matrix = Cast(w) to=1
         product = MatMul(kept, matrix)
         factor = 0.001
         scaled = Mul(product, factor)
         one = [1]
         context = ReduceSum(scaled, one) keepdims=0",
        4200,
        &[("table", [5000, 16]), ("w", [16, 4200])],
    );
    let program = lowered(&bundle, Role::Text);
    assert_eq!(program.fallbacks(), []);
    let plan = program.executable.describe();
    assert_eq!(kinds(&plan), "gather 1, integers 1, matmul 1, pointwise 1, reduce 1", "{plan}");
    assert!(plan.contains("0.0 MiB of it constant"), "{plan}");
    let packed = 4 * 16 * 4200;
    assert!(
        (packed + 80_000..packed + 90_000).contains(&program.memory().weights),
        "{}",
        program.memory().weights
    );
    assert_eq!((program.rows(0), program.rows(1)), (Some(5000), None));
    agrees(&bundle, Role::Text, "int8");
}

#[test]
fn int8_weights_that_are_not_made_floats_first_are_part_of_the_graph() {
    let bundle = encoder(
        "codes = Gather(table, tokens)
         rows = Cast(codes) to=1
         one = [1]
         context = ReduceSum(rows, one) keepdims=0",
        16,
        &[("table", [5000, 16])],
    );
    let graph = Graph::import(&bundle, Role::Text, bundle.manifest().extent(1)).unwrap();
    assert_eq!(graph.weights.len(), 0);
    let ours = answers(&bundle, Role::Text, 1, &fused(1));
    assert!(apart(&ours, &answers(&bundle, Role::Text, 1, &Reference::new(1))).0 < 1e-3);
}

#[test]
fn a_token_outside_of_its_table_is_an_error() {
    let graph = "floats = Cast(table) to=1\n rows = Gather(floats, tokens)\n one = [1]
                 context = ReduceSum(rows, one) keepdims=0";
    let bundle = encoder(graph, 16, &[("table", [5000, 16])]);
    let mut instance =
        Program::instantiate(Arc::new(lowered(&bundle, Role::Text)), &CancelToken::new()).unwrap();
    let mut context = vec![0.0; 2 * 16];
    for (token, right) in [(4999, true), (5000, false), (-5000, true), (-5001, false), (i64::MIN, false)] {
        let inputs = [Input::I64(&[token; 64]), Input::I64(&[1; 64]), Input::I64(&[0; 64])];
        let outcome = instance.run(&inputs, &mut context, &CancelToken::new());
        assert_eq!(outcome.is_ok(), right, "{token}: {outcome:?}");
    }
    let error = instance.run(&[Input::I64(&[0; 63]); 3], &mut context, &CancelToken::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Runtime);
}
