//! Activations that are rounded to whole numbers.

use super::*;

fn written_graph(text: &str) -> Result<Graph> {
    import(&files(&written(text)))
}

fn refused(text: &str, kind: ErrorKind, words: &str) {
    let error = written_graph(text).err().unwrap_or_else(|| panic!("loads: {text}"));
    let line = error.to_string();
    assert_eq!(error.kind(), kind, "{line}");
    assert!(line.starts_with("predictor.onnx: ") && line.contains(words) && !line.contains('\n'), "{line}");
}

/// Whether rounding is an operation of ours in it.
fn rounds(graph: &Graph) -> bool {
    graph.model.nodes().iter().any(|node| node.op.name() == "Rounded")
}

/// Rounds by such a scale and zero point, and makes floats again.
fn pair(scale: &str, zero: &str) -> String {
    format!(
        "opset 21\n s = {scale}\n z = {zero}\n
        q = QuantizeLinear(x, s, z)\n velocity = DequantizeLinear(q, s, z)"
    )
}

#[test]
fn only_a_scale_above_zero_that_is_a_normal_number_is_rounded_by_here() {
    assert!(rounds(&written_graph(&pair("0.5", "u8 128")).unwrap()));
    for scale in ["0.0", "-0.5", "inf", "1e-40"] {
        assert!(written_graph(&pair(scale, "u8 128")).is_ok_and(|graph| !rounds(&graph)), "{scale}");
    }
    refused(&pair("NaN", "u8 128"), ErrorKind::NonFinite, "holds NaN");
}

#[test]
fn a_zero_point_lies_within_its_type() {
    for (kind, least, most) in [("i8", -128, 127), ("u8", 0, 255), ("i16", -32768, 32767), ("u16", 0, 65535)]
    {
        for number in [least, most] {
            assert!(rounds(&written_graph(&pair("0.5", &format!("{kind} {number}"))).unwrap()));
        }
        for number in [least - 1, most + 1, 100_000, i32::MIN, i32::MAX] {
            let words = format!("weight 'z': holds {number}, which its type");
            refused(&pair("0.5", &format!("{kind} {number}")), ErrorKind::InvalidBundle, &words);
        }
        let mut two = written(&pair("0.5", &format!("{kind} 1")));
        two.graph.as_mut().unwrap().initializer[1].int32_data.push(0);
        let error = import(&files(&two)).err().unwrap();
        assert!(error.to_string().contains("weight 'z': has 2 "), "{error}");
    }
}

/// Rows of 16 numbers as `q`, by the scale `s` and the zero point `z`; what follows makes `velocity` of them.
fn rows(zero: &str, rest: &str) -> String {
    let rounded = "q = QuantizeLinear(rows, s, z)";
    format!(
        "opset 21\n shape = [-1, 16]\n whole = [-1, 4, 8, 16]\n s = 0.5\n z = {zero}\n i = u8 3\n
        rows = Reshape(x, shape)\n {rounded}\n {rest}\n velocity = Reshape(answer, whole)"
    )
}

#[test]
fn numbers_of_types_that_the_standard_does_not_have_there_are_named() {
    let integers = "m = MatMulInteger(q, w, z)\n answer = Cast(m) to=1";
    let linear = |weight: &str, y: &str| {
        format!(
            "w = {weight}\n k = i8 0\n y = {y}\n
            m = QLinearMatMul(q, s, z, w, s, k, s, y)\n answer = DequantizeLinear(m, s, y)"
        )
    };
    let (matrix, bytes) = ("w = i8 count [16, 16]\n", "must be Int8 or Uint8");
    for (zero, rest, words) in [
        ("i16 5", format!("{matrix} {integers}"), format!("input 0 holds numbers of type Int16, {bytes}")),
        (
            "u8 5",
            format!("w = i16 count [16, 16]\n {integers}"),
            format!("input 1 holds numbers of type Int16, {bytes}"),
        ),
        (
            "i8 5",
            format!("{matrix} m = MatMulInteger(q, w, i)\n answer = Cast(m) to=1"),
            "(MatMulInteger): input 2 holds numbers of type Uint8, must be Int8 as those of input 0".into(),
        ),
        (
            "u8 5",
            format!("{matrix} m = MatMulInteger(q, w, z, i)\n answer = Cast(m) to=1"),
            "input 3 holds numbers of type Uint8, must be Int8 as those of input 1".into(),
        ),
        (
            "i8 5",
            "answer = DequantizeLinear(q, s, i)".into(),
            "(DequantizeLinear): input 2 holds numbers of type Uint8, must be Int8".into(),
        ),
        ("u8 5", linear("u8 count [1]", "u8 3"), "input 5 holds numbers of type Int8, must be Uint8".into()),
        (
            "u8 5",
            linear("i8 count [16, 16]", "i16 3"),
            format!("input 7 holds numbers of type Int16, {bytes}"),
        ),
    ] {
        refused(&rows(zero, &rest), ErrorKind::InvalidBundle, &words);
    }
    assert!(rounds(&written_graph(&rows("i8 5", &format!("{matrix} {integers}"))).unwrap()));
    refused(
        "opset 21\n s = 0.5\n z = u8 3\n q = QuantizeLinear(x, s, z) output_dtype=3\n
        velocity = DequantizeLinear(q, s, z)",
        ErrorKind::InvalidBundle,
        "input 2 holds numbers of type Uint8, must be what 'output_dtype' says",
    );
}

#[test]
fn a_bias_of_floats_is_no_bias_of_whole_numbers() {
    let of = |bias: &str| {
        format!(
            "s = 0.5\n z = u8 3\n w = i8 count [4, 4, 1, 1]\n k = i8 0\n b = {bias}\n q = QuantizeLinear(x, s, z)\n
            m = QLinearConv(q, s, z, w, s, k, s, z, b)\n velocity = DequantizeLinear(m, s, z)"
        )
    };
    assert!(rounds(&written_graph(&of("i32 count [4]")).unwrap()));
    let words = "(QLinearConv): input 8 holds numbers of type Float, must be Int32";
    refused(&of("[1.0, 2.0, 3.0, 4.0]"), ErrorKind::InvalidBundle, words);
}

#[test]
fn columns_are_those_of_a_matrix() {
    let scales = format!("c = [{}]\n", ["0.5"; 16].join(", "));
    let linear = "k = i8 0\n m = QLinearMatMul(q, s, z, w, c, k, s, z)\n answer = DequantizeLinear(m, s, z)";
    let integers = "k = i8 count [16]\n m = MatMulInteger(q, w, z, k)\n answer = Cast(m) to=1";
    for (rest, words) in [(format!("{scales} {linear}"), "scales"), (integers.to_owned(), "zero points")] {
        assert!(rounds(&written_graph(&rows("u8 3", &format!("w = i8 count [16, 16]\n {rest}"))).unwrap()));
        let words = format!("has {words} for each column of [1, 16, 16], must have one, or a matrix");
        let cube = rows("u8 3", &format!("w = i8 count [1, 16, 16]\n {rest}"));
        refused(&cube, ErrorKind::InvalidBundle, &words);
    }
}

#[test]
fn zeros_alone_have_the_scale_that_onnx_runtime_gives_them() {
    let graph = "n = Sub(x, x)\n q, s, z = DynamicQuantizeLinear(n)\n velocity = Add(x, s)";
    let expected: Vec<f32> = (0..2 * LATENT).map(|i| i as f32 / 7.0 + 1.0).collect();
    assert_eq!(answer(written_graph(graph).unwrap()), expected);
    // The least float above 0 is no zero.
    let graph = "c = 1e-45\n n = Sub(x, x)\n o = Add(n, c)\n q, s, z = DynamicQuantizeLinear(o)\n
        velocity = Add(x, s)";
    let expected: Vec<f32> = (0..2 * LATENT).map(|i| i as f32 / 7.0).collect();
    assert_eq!(answer(written_graph(graph).unwrap())[1..], expected[1..]);
}

#[test]
fn half_precision_rounded_by_a_scale_of_floats_is_refused_by_name() {
    refused(
        "opset 23\n s = 0.5\n h = Cast(x) to=10\n q = QuantizeLinear(h, s)\n velocity = DequantizeLinear(q, s)",
        ErrorKind::Unsupported,
        "rounds float16 by a scale of float32; export both as float32",
    );
}

#[test]
fn factors_that_are_the_same_are_there_once_and_all_are_held_to_the_limit_of_weights() {
    const PRODUCTS: usize = 40;
    let of = |step: fn(usize) -> usize| {
        let scales = format!("c = [{}]\n k = i8 0\n w = i8 count [1, 512]", ["0.5"; 512].join(", "));
        let product = |i: usize| {
            let (before, step) =
                (if i == 0 { "q".into() } else { format!("t{}", i - 1) }, 0.5 + step(i) as f32);
            format!(
                "y{i} = {step:?}\n m{i} = QLinearMatMul({before}, s, z, w, c, k, y{i}, z)\n
                d{i} = DequantizeLinear(m{i}, y{i}, z)\n r{i} = ReduceMax(d{i}, along) keepdims=1\n
                t{i} = QuantizeLinear(r{i}, s, z)"
            )
        };
        let products: Vec<String> = (0..PRODUCTS).map(product).collect();
        let text = format!(
            "opset 21\n shape = [-1, 1]\n whole = [-1, 4, 8, 16]\n along = [1]\n s = 0.5\n z = u8 3\n {scales}\n
            rows = Reshape(x, shape)\n q = QuantizeLinear(rows, s, z)\n {}\n velocity = Reshape(r{}, whole)",
            products.join("\n"),
            PRODUCTS - 1
        );
        let bundle = files(&written(&text)).open().unwrap();
        let limits = Limits::default().with_max_weight_bytes(72 << 10);
        let allowance = Allowance::new(&limits, &CancelToken::new());
        Graph::import_within(&bundle, Role::Predictor, bundle.manifest().extent(2), &allowance)
    };
    of(|_| 0).map(|graph| assert!(rounds(&graph))).unwrap();
    let error = of(|i| i).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    let line = error.to_string();
    assert!(
        line.contains("(QLinearMatMul): takes 73732 bytes of weights, above the limit of 73728"),
        "{line}"
    );
}
