//! Weights of whole numbers, and files that get them.

use half::f16;
use tract_onnx::pb::AttributeProto;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;

use super::*;

fn imported(bundle: &Bundle) -> Graph {
    Graph::import(bundle, Role::Predictor, bundle.manifest().extent(2)).unwrap()
}

/// The bundle with its predictor's matrix as bytes, and how many weights became such.
fn with_bytes(files: &Files, axis: usize) -> Result<(Bundle, usize)> {
    let bundle = files.open().unwrap();
    let (graph, external) =
        (bundle.graph(Role::Predictor).unwrap(), bundle.external_data(Role::Predictor).unwrap());
    let chosen = [("w".to_owned(), axis)].into();
    let (other, made) = rewritten::with_bytes(&graph, &external, &chosen, &allowance())?;
    Ok((bundle.with_networks([(graph.name().to_owned(), other)].into()).unwrap(), made))
}

/// A matrix of which each column, or each row, is small whole numbers times a power of two of its own, 127 among them.
fn uneven(encoding: Encoding, axis: usize) -> TensorProto {
    let number = |i: usize, j: usize| match i + j + 1 {
        LATENT => 127.0,
        sum if sum % LATENT < 4 => (i % 5) as f32 - 2.0,
        _ => 0.0,
    };
    let floats = (0..LATENT * LATENT).map(|at| {
        let place = [at / LATENT, at % LATENT];
        number(place[0], place[1]) * [1.0, 0.5, 2.0, 0.125, 8.0][place[axis] % 5]
    });
    let raw_data = match encoding {
        Encoding::F16 => floats.flat_map(|x| f16::from_f32(x).to_le_bytes()).collect(),
        _ => floats.flat_map(f32::to_le_bytes).collect(),
    };
    TensorProto { raw_data, ..matrix(encoding) }
}

#[test]
fn a_file_is_written_anew_with_a_weight_as_bytes_wherever_it_lies() {
    for encoding in [Encoding::F32, Encoding::F16] {
        for axis in [0, 1] {
            let weight = uneven(encoding, axis);
            for files in [files(&reverser(weight.clone())), external(weight)] {
                let (bundle, made) = with_bytes(&files, axis).unwrap();
                assert_eq!(made, 1);
                bundle.verify().unwrap();
                let graph = imported(&bundle);
                let weight = graph.weights.iter().next().unwrap();
                assert_eq!((weight.name.as_str(), weight.length()), ("w", (LATENT * LATENT) as u64));
                assert!(largest_constant(&graph) < 3000);
                let as_it_was = answer(import(&files).unwrap());
                assert!(answer(graph) == as_it_was, "127 steps of its axis are what it was");
                let across = with_bytes(&files, 1 - axis).unwrap().0;
                assert!(answer(imported(&across)) != as_it_was, "the other axis has other scales");
            }
        }
    }
}

#[test]
fn a_file_written_anew_has_names_that_nothing_else_has() {
    let mut proto = reverser(matrix(Encoding::F32));
    let graph = proto.graph.as_mut().unwrap();
    graph.node.insert(1, node("Neg", &["rows"], "w.int8"));
    graph.node.insert(2, node("Neg", &["w.int8"], "w.scale"));
    graph.node.insert(3, node("Identity", &["w.scale"], "w.scale_"));
    graph.node.iter_mut().for_each(|node| {
        if node.op_type == "MatMul" {
            node.input[0] = "w.scale_".into();
        }
    });
    let (bundle, made) = with_bytes(&files(&proto), 1).unwrap();
    assert_eq!(made, 1);
    assert_eq!(answer(imported(&bundle)), reversed());
}

#[test]
fn the_standards_domain_may_be_written_out() {
    let mut proto = reverser(matrix(Encoding::F32));
    proto.opset_import[0].domain = "ai.onnx".into();
    assert_eq!(with_bytes(&files(&proto), 1).unwrap().1, 1);
}

#[test]
fn what_is_not_multiplied_by_alone_is_left_as_it_is() {
    let between = vec![cast("w", "matrix"), cast("w", "other"), node("Add", &["rows", "other"], "unused")];
    let proto = model(matrix(Encoding::F16), between);
    assert_eq!(with_bytes(&files(&proto), 1).unwrap().1, 0);
    let mut old = reverser(matrix(Encoding::F32));
    old.opset_import[0].version = 12;
    let error = with_bytes(&files(&old), 1).err().unwrap().to_string();
    assert!(error.starts_with("the file uses opset 12 of ONNX"), "{error}");
}

/// A predictor that rounds what it multiplies by the matrix of bytes, as `quantize_dynamic` writes it.
fn rounding(others: Vec<NodeProto>) -> ModelProto {
    let mut rounded = node("DynamicQuantizeLinear", &["rows"], "numbers");
    rounded.output.extend(["scale".to_owned(), "zero".to_owned()]);
    let product = node("MatMulInteger", &["numbers", "w", "zero"], "sums");
    let mut between =
        vec![rounded, product, cast("sums", "floats"), node("Mul", &["floats", "scale"], "reversed")];
    between.extend(others);
    let mut proto = model(matrix(Encoding::I8), between);
    proto.graph.as_mut().unwrap().node.retain(|node| node.op_type != "MatMul");
    proto
}

#[test]
fn products_of_whole_numbers_are_read_as_products_of_floats_by_bytes_that_stay() {
    let rounds = |graph: &Graph| graph.model.nodes().iter().any(|node| node.op.name().contains("Quantize"));
    let mut proto = rounding(Vec::new());
    // As older files do.
    let listed = ValueInfoProto { name: "w".into(), ..ValueInfoProto::default() };
    proto.graph.as_mut().unwrap().input.push(listed);
    let graph = import(&files(&proto)).unwrap();
    assert!(!rounds(&graph));
    assert_eq!(graph.weights.iter().next().unwrap().length(), (LATENT * LATENT) as u64);
    assert!(largest_constant(&graph) < 1000);
    // Half a step of 255 off.
    let off = answer(graph).iter().zip(reversed()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!((0.1..0.2871).contains(&off), "{off}");
    // Who looks at the zero wants it as a whole number.
    let mut looked_at = rounding(vec![cast("zero", "seen"), node("Add", &["reversed", "seen"], "moved")]);
    let nodes = &mut looked_at.graph.as_mut().unwrap().node;
    nodes.last_mut().unwrap().input[0] = "moved".into();
    assert!(rounds(&import(&files(&looked_at)).unwrap()));
}

/// Zero points of bytes.
fn zeros(dims: Vec<i64>, bytes: usize) -> TensorProto {
    TensorProto { name: "z".into(), dims, raw_data: vec![0; bytes], ..matrix(Encoding::I8) }
}

#[test]
fn zero_points_of_more_columns_than_there_are_bytes_make_nothing() {
    const CLAIMED: i64 = 1 << 33;
    let with_zero = |zero: TensorProto, columns: Option<i64>| {
        let mut proto = rounding(Vec::new());
        let graph = proto.graph.as_mut().unwrap();
        let product = graph.node.iter_mut().find(|node| node.op_type == "MatMulInteger").unwrap();
        product.input.push("z".into());
        let weight = graph.initializer.last_mut().unwrap();
        weight.dims[1] = columns.unwrap_or(weight.dims[1]);
        let data = [vec![1, 2, 3], zero.raw_data.clone()].concat();
        graph.initializer.push(outside(zero, 3));
        let mut files = files(&proto);
        files.replace("networks.predictor.external_data.0", data);
        import(&files)
    };
    for columns in [None, Some(CLAIMED)] {
        let error = with_zero(zeros(vec![CLAIMED], 4), columns).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidBundle);
        let line = error.to_string();
        assert!(line.starts_with("predictor.onnx: weight '") && !line.contains('\n'), "{line}");
        assert!(line.contains("which is not what the shape ["), "{line}");
    }
    for sizes in [vec![], vec![1], vec![LATENT as i64]] {
        let count = sizes.iter().product::<i64>() as usize;
        assert_eq!(answer(with_zero(zeros(sizes, count), None).unwrap()).len(), 2 * LATENT);
    }
    // The standard has no such zero point; nobody is told of nodes that the file does not have.
    if let Err(error) = with_zero(zeros(vec![1, LATENT as i64], LATENT), None) {
        assert!(!error.to_string().contains("DequantizeLinear"), "{error}");
    }
}

#[test]
fn what_products_of_whole_numbers_become_is_held_to_the_limit_of_nodes() {
    let bundle = files(&rounding(Vec::new())).open().unwrap();
    let of = |most: u32| {
        let allowance = Allowance::new(&Limits::default().with_max_nodes(most), &CancelToken::new());
        Graph::import_within(&bundle, Role::Predictor, bundle.manifest().extent(2), &allowance)
    };
    let error = of(10).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    assert!(error.to_string().contains("nodes, above the limit of 10 (max_nodes)"), "{error}");
    assert!(of(100).is_ok());
}

fn integer(name: &str, i: usize) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Int as i32,
        i: i as i64,
        ..AttributeProto::default()
    }
}

/// Scales of 1 for the matrix of bytes.
fn scales(dims: Vec<i64>, bytes: usize) -> TensorProto {
    let raw_data = 1f32.to_le_bytes().into_iter().cycle().take(bytes).collect();
    TensorProto {
        name: "s".into(),
        data_type: DataType::Float as i32,
        dims,
        raw_data,
        ..TensorProto::default()
    }
}

/// The reverser, its matrix as bytes with such scales and zeros, by `block` rows if that is not 0, each outside of the
/// graph or inside. `between` makes the matrix of what is `made` of the bytes, unless it is that.
fn scaled(
    tensors: [Option<TensorProto>; 2],
    block: usize,
    outer: [bool; 2],
    between: Vec<NodeProto>,
) -> Files {
    let mut made = node("DequantizeLinear", &["w"], if between.is_empty() { "matrix" } else { "made" });
    made.attribute = vec![integer("axis", usize::from(block == 0))];
    made.attribute.extend((block > 0).then(|| integer("block_size", block)));
    let mut data = vec![1, 2, 3];
    let mut kept = Vec::new();
    for (tensor, outer) in tensors.into_iter().zip(outer) {
        let Some(tensor) = tensor else { continue };
        made.input.push(tensor.name.clone());
        kept.push(if outer {
            let at = data.len();
            data.extend(&tensor.raw_data);
            outside(tensor, at)
        } else {
            tensor
        });
    }
    let mut proto = model(matrix(Encoding::I8), [vec![made], between].concat());
    proto.opset_import[0].version = 21;
    let initializers = &mut proto.graph.as_mut().unwrap().initializer;
    initializers.splice(0..0, kept);
    let mut files = files(&proto);
    files.replace("networks.predictor.external_data.0", data);
    files
}

#[test]
fn scales_and_zeros_are_read_wherever_they_lie() {
    const N: usize = LATENT;
    for outer in [[false, false], [true, false], [true, true]] {
        for (block, dims) in [(0, vec![N as i64]), (4, vec![N as i64 / 4, N as i64])] {
            let count = dims.iter().product::<i64>() as usize;
            let tensors = [scales(dims.clone(), 4 * count), zeros(dims, count)].map(Some);
            let graph = import(&scaled(tensors, block, outer, Vec::new())).unwrap();
            assert_eq!(graph.weights.iter().next().unwrap().length(), (N * N) as u64);
            assert_eq!(answer(graph), reversed());
        }
    }
}

#[test]
fn scales_and_zeros_that_are_not_as_many_as_their_shape_says_are_named() {
    const N: i64 = LATENT as i64;
    let n = LATENT;
    let refused = |files: &Files, words: &str| {
        let error = import(files).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidBundle, "{error}");
        let line = error.to_string();
        assert!(line.starts_with("predictor.onnx: ") && !line.contains('\n'), "{line}");
        assert!(line.contains(words), "{line}");
    };
    for outer in [true, false] {
        // None too few, none too many, no part of one.
        for bytes in [4 * n - 4, 4 * n - 1, 4 * n + 1, 4 * n + 3, 4 * n + 4, 100 * n] {
            let files = scaled([Some(scales(vec![N], bytes)), None], 0, [outer; 2], Vec::new());
            refused(
                &files,
                &format!("weight 's': has {bytes} bytes, which is not what the shape [512] takes"),
            );
        }
        for bytes in [n - 1, n + 1] {
            let tensors = [scales(vec![N], 4 * n), zeros(vec![N], bytes)].map(Some);
            let files = scaled(tensors, 0, [outer; 2], Vec::new());
            refused(
                &files,
                &format!("weight 'z': has {bytes} bytes, which is not what the shape [512] takes"),
            );
        }
        // Large enough to be cut out of the graph.
        let blocks = scales(vec![N / 4, N], n * n - 1);
        refused(&scaled([Some(blocks), None], 4, [outer; 2], Vec::new()), "weight 's': has 262143 bytes");
    }
    // A product that is 1 and 4 if counted carelessly.
    for dims in [vec![(1 << 32) + 1, (1 << 32) - 1, 1 << 32], vec![1 << 32, 1 << 32, 4], vec![i64::MAX, 3]] {
        refused(&scaled([Some(scales(dims, 4)), None], 0, [true; 2], Vec::new()), "");
    }
}

#[test]
fn what_whole_numbers_take_in_memory_is_held_to_the_limit_of_weights() {
    let of = |files: &Files, most: usize| {
        let bundle = files.open().unwrap();
        let limits = Limits::default().with_max_weight_bytes(most as u64);
        let allowance = Allowance::new(&limits, &CancelToken::new());
        Graph::import_within(&bundle, Role::Predictor, bundle.manifest().extent(2), &allowance)
    };
    let (n, few) = (LATENT, 1000);
    let tensors = || [Some(scales(vec![n as i64], 4 * n)), None];
    let refused = |error: Option<crate::Error>| {
        let error = error.unwrap();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
        let line = error.to_string();
        assert!(line.starts_with("predictor.onnx: takes "), "{line}");
        assert!(line.contains(" bytes of weights, above the limit of"), "{line}");
    };
    // Its numbers, and its scales as they are in the graph and as they are kept.
    let (staying, bytes) = (scaled(tensors(), 0, [false; 2], Vec::new()), n * n + 8 * n);
    assert!(of(&staying, bytes + few).is_ok());
    refused(of(&staying, bytes).err());
    // Beside them four bytes for each number that has to be a float.
    let turned = vec![node("Neg", &["made"], "turned"), node("Neg", &["turned"], "matrix")];
    let floats = scaled(tensors(), 0, [false; 2], turned);
    refused(of(&floats, bytes + 4 * n * n).err());
    // What tract makes of them counts there, too.
    assert!(of(&floats, bytes + 16 * n * n).is_ok());
}

/// Holds what a node makes of numbers of four bits, `[3, 5]`, with scales and zeros of `sizes`: which of them a row and
/// a column have says `of`.
fn halves(signed: bool, axis: i64, block: i64, sizes: &[i64], of: impl Fn(usize, usize) -> usize) {
    let count = sizes.iter().product::<i64>() as usize;
    let kind = if signed { 22 } else { 21 };
    let numbers: Vec<i32> = (0..15).map(|i| (i * 7 + 3) % 16 - if signed { 8 } else { 0 }).collect();
    let zeros: Vec<i32> = (0..count as i32).map(|i| i % 5).collect();
    let packed = |numbers: &[i32]| -> Vec<u8> {
        let half = |number: &i32| (number & 15) as u8;
        numbers.chunks(2).map(|pair| half(&pair[0]) | pair.get(1).map_or(0, half) << 4).collect()
    };
    let whole = |name: &str, dims: &[i64], numbers: &[i32]| TensorProto {
        name: name.into(),
        data_type: kind,
        dims: dims.to_vec(),
        raw_data: packed(numbers),
        ..TensorProto::default()
    };
    let factors: Vec<f32> = (0..count).map(|i| 0.25 + i as f32).collect();
    let scale = TensorProto {
        name: "s".into(),
        data_type: DataType::Float as i32,
        dims: sizes.to_vec(),
        float_data: factors.clone(),
        ..TensorProto::default()
    };
    let mut made = node("DequantizeLinear", &["w", "s", "z"], "d");
    made.attribute = [("axis", axis), ("block_size", block)]
        .map(|(name, i)| AttributeProto { i, ..integer(name, 0) })
        .into();
    let mut graph = reverser(matrix(Encoding::F32)).graph.unwrap();
    graph.node = vec![made, node("Neg", &["d"], "velocity")];
    graph.initializer = vec![whole("w", &[3, 5], &numbers), scale, whole("z", sizes, &zeros)];
    let data = external(matrix(Encoding::F32)).open().unwrap().external_data(Role::Predictor).unwrap();
    let weights = initializers::take_out(&mut graph, Vec::new(), &data, &allowance()).unwrap();
    assert_eq!((weights.len(), graph.initializer.len()), (0, 1));
    let (floats, _) = graph.initializer[0].raw_data.as_chunks::<4>();
    let floats: Vec<f32> = floats.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    let expected = (0..15).map(|i| {
        let block = of(i / 5, i % 5);
        (numbers[i] - zeros[block]) as f32 * factors[block]
    });
    assert_eq!(floats, expected.collect::<Vec<f32>>(), "{axis} {block} {signed}");
}

#[test]
fn an_odd_count_of_halves_of_bytes_is_read_by_blocks_along_any_axis() {
    for signed in [true, false] {
        for axis in [1, -1] {
            halves(signed, axis, 2, &[3, 3], |row, column| row * 3 + column / 2);
            halves(signed, axis, 0, &[5], |_, column| column);
        }
        for axis in [0, -2] {
            halves(signed, axis, 2, &[2, 5], |row, column| row / 2 * 5 + column);
            halves(signed, axis, 0, &[3], |row, _| row);
        }
        halves(signed, 1, 0, &[], |_, _| 0);
    }
}
