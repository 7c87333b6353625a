//! Nodes that break the standard, each in one place.

use super::{check, import};
use crate::ErrorKind::{InvalidBundle, LimitExceeded, Unsupported};
use crate::graph::Graph;
use crate::graph::testing::{files, written};
use crate::{Limits, Role};

#[test]
fn attributes_are_held_to_the_standard_of_the_files_opset() {
    for (graph, operator, cause) in [
        ("velocity = Relu(x) slope=1", "Relu", "'slope'"),
        (
            "s = [1.0, 1.0, 2.0, 2.0]\n velocity = Resize(x, , s) antialias=1",
            "Resize",
            "'antialias' at opset 17",
        ),
        ("velocity = Softmax(x) axis=1.5", "Softmax", "'axis' must be of type int"),
        ("velocity = LogSoftmax(x) axis=[1]", "LogSoftmax", "'axis' must be of type int"),
        ("m = ReduceMean(x) axes=[1] keepdims=7\n velocity = Sub(x, m)", "ReduceMean", "'keepdims' is 7"),
        ("opset 20\n velocity = Gelu(x) approximate=erf", "Gelu", "'erf', must be one of none, tanh"),
        ("p = [0, 0, 1, 1, 0, 0, 1, 1]\n velocity = Pad(x, p) mode=wrap", "Pad", "'wrap'"),
        ("velocity = Softmax(x) axis=4294967296", "Softmax", "'axis' holds 4294967296"),
        ("velocity = Cast(x)", "Cast", "lacks the attribute 'to'"),
        ("velocity = Elu(x) alpha=NaN", "Elu", "'alpha'"),
        ("w = noise [4, 4, 3, 3]\n velocity = Conv(x, w) strides=[0,1]", "Conv", "'strides' holds 0"),
        ("w = noise [4, 4, 3, 3]\n velocity = Conv(x, w) pads=[-1,0,0,0]", "Conv", "'pads' holds -1"),
        ("w = noise [4, 4, 3, 3]\n velocity = Conv(x, w) pads=[1,1]", "Conv", "'pads' is [1, 1]"),
        ("w = noise [4, 4, 3, 3]\n velocity = Conv(x, w) group=0", "Conv", "'group' holds 0"),
        ("w = noise [4, 4, 3, 3]\n velocity = Conv(x, w) auto_pad=SAME", "Conv", "'SAME'"),
        ("velocity = DepthToSpace(x) blocksize=0", "DepthToSpace", "'blocksize' holds 0"),
        ("velocity = Celu(x) alpha=0.0", "Celu", "'alpha' is 0"),
        ("velocity = Einsum(x) equation=nchw->nchwk", "Einsum", "'k' comes from nowhere"),
        ("velocity = Einsum(x) equation=...ABCDE->...A", "Einsum", "does not name the axes"),
        ("velocity = Einsum(x) equation=...hw->hw", "Einsum", "lacks the '...'"),
        ("velocity = Einsum(x) equation=...hw->...hw...", "Einsum", "'.' comes from nowhere"),
        ("velocity = Mish(x)", "Mish", "came with opset 18"),
        (
            "velocity = MaxPool(x) kernel_shape=[3,3] pads=[1,1,1,3]",
            "MaxPool",
            "'pads' holds 3, must be less",
        ),
        ("velocity = AveragePool(x) kernel_shape=[2,2] pads=[2,0,0,0]", "AveragePool", "'pads' holds 2"),
        ("velocity = MeanVarianceNormalization(x) axes=[2,-2]", "MeanVarianceNormalization", "axis 2 twice"),
        ("velocity = MeanVarianceNormalization(x) axes=[4]", "MeanVarianceNormalization", "'axes' is 4"),
        (
            "opset 21\n s = noise [4]\n velocity = GroupNormalization(x, s, s) num_groups=3",
            "GroupNormalization",
            "'num_groups' is 3",
        ),
    ] {
        check(&written(graph), InvalidBundle, &format!("({operator}): "), cause);
    }
}

#[test]
fn inputs_and_outputs_are_as_many_as_the_standard_has() {
    for (graph, operator, cause) in [
        ("velocity = Relu(x, x)", "Relu", "2 inputs, must have 1"),
        ("velocity = Add(x)", "Add", "1 inputs, must have 2"),
        ("velocity, v = Relu(x)", "Relu", "2 outputs"),
        (
            "q, , z = DynamicQuantizeLinear(x)\n velocity = DequantizeLinear(q, z)",
            "DynamicQuantizeLinear",
            "leaves out output 1, which it must have",
        ),
        ("velocity = Relu(z)", "Relu", "'z', which nothing makes"),
        ("a = Relu(x)\n velocity = Neg(a)\n a = Abs(x)", "Abs", "'a', which is made elsewhere"),
        ("w = 0.5\n w = Relu(x)\n velocity = Neg(w)", "Relu", "'w', which is an input or a weight"),
    ] {
        check(&written(graph), InvalidBundle, &format!("({operator}): "), cause);
    }
}

#[test]
fn axes_orders_places_and_counts_lie_within_the_tensor() {
    for (graph, operator, cause) in [
        ("velocity = Softmax(x) axis=4", "Softmax", "'axis' is 4, but the tensor has 4 axes"),
        ("velocity = Softmax(x) axis=-5", "Softmax", "'axis' is -5"),
        ("m = ReduceMax(x) axes=[1,-3]\n velocity = Sub(x, m)", "ReduceMax", "axis 1 twice"),
        ("velocity = Transpose(x) perm=[0,1,1,3]", "Transpose", "'perm'"),
        ("velocity = Transpose(x) perm=[0,1]", "Transpose", "'perm'"),
        ("velocity = Transpose(x) perm=[0,1,2,-1]", "Transpose", "'perm'"),
        ("velocity = Concat(x, x) axis=9", "Concat", "'axis' is 9"),
        ("i = [16]\n velocity = Gather(x, i) axis=3", "Gather", "holds 16, but the axis has 16"),
        ("i = [-17]\n velocity = Gather(x, i) axis=3", "Gather", "holds -17"),
        ("a = [0, -6]\n velocity = Unsqueeze(x, a)", "Unsqueeze", "axis 0 twice"),
        ("a = [1]\n velocity = Squeeze(x, a)", "Squeeze", "axis 1, which has 4"),
        ("k = [17]\n velocity, i = TopK(x, k)", "TopK", "'k' is 17"),
        ("s = [3, -1]\n velocity = Reshape(x, s)", "Reshape", "'shape' is [3, -1]"),
        ("s = [-1, -1]\n velocity = Reshape(x, s)", "Reshape", "'shape' is [-1, -1]"),
        ("s = [5, 12]\n velocity, b = Split(x, s) axis=3", "Split", "'split' is [5, 12]"),
        ("velocity, b, c = Split(x) axis=3", "Split", "not 3 equal parts"),
        (
            "s = [5, 12]\n a = SplitToSequence(x, s) axis=3\n p = [0]\n velocity = SequenceAt(a, p)",
            "Split",
            "'split' is [5, 12]",
        ),
        ("s = [5]\n velocity = Expand(x, s)", "Expand", "do not go together"),
        ("s = [1, 2, 1]\n velocity = Tile(x, s)", "Tile", "'repeats'"),
        (
            "s = [0]\n e = [4]\n a = [2]\n p = [0]\n velocity = Slice(x, s, e, a, p)",
            "Slice",
            "'steps' holds 0",
        ),
        ("s = [0]\n e = [4, 4]\n velocity = Slice(x, s, e)", "Slice", "not of one length"),
        ("s = [0, 0]\n e = [4, 4]\n a = [1, -3]\n velocity = Slice(x, s, e, a)", "Slice", "axis 1 twice"),
        ("p = [0, 0, -5, 0, 0, 0, -4, 0]\n velocity = Pad(x, p)", "Pad", "crops -5 and -4 of 8"),
        ("p = [0, 0, 1, 1]\n velocity = Pad(x, p)", "Pad", "two numbers for each of 4 axes"),
        ("s = [1.0, 1.0, -2.0, 1.0]\n velocity = Resize(x, , s)", "Resize", "'scales' holds -2"),
        ("velocity = Resize(x)", "Resize", "neither 'scales' nor 'sizes'"),
        (
            "k = [9223372036854775807]\n a = [0]\n b = Squeeze(k, a)\n velocity = Trilu(x, b)",
            "Trilu",
            "'k' is 9223372036854775807",
        ),
    ] {
        check(&written(graph), InvalidBundle, &format!("({operator}): "), cause);
    }
}

#[test]
fn what_counts_or_points_is_made_of_integers() {
    for (graph, operator, place) in [
        ("i = [1.0, 2.5]\n a = Gather(x, i) axis=3\n b = ReduceSum(a)\n velocity = Add(x, b)", "Gather", 1),
        ("a = Gather(x, t) axis=3\n b = ReduceSum(a)\n velocity = Add(x, b)", "Gather", 1),
        ("a = Abs(x)\n velocity = GatherElements(x, a) axis=3", "GatherElements", 1),
        ("i = [0.0]\n a = Unsqueeze(x, i)\n velocity = Squeeze(a)", "Unsqueeze", 1),
        ("i = [2.0]\n a = ReduceSum(x, i)\n velocity = Add(x, a)", "ReduceSum", 1),
        ("s = [1.0, 1.0, 1.0, 1.0]\n velocity = Tile(x, s)", "Tile", 1),
        ("s = [0.0]\n e = [16]\n a = [3]\n velocity = Slice(x, s, e, a)", "Slice", 1),
        ("a = 1.0\n velocity = CumSum(x, a)", "CumSum", 1),
        ("s = [0.0, 4.0, 8.0, 16.0]\n velocity = Reshape(x, s)", "Reshape", 1),
    ] {
        let cause = format!("input {place} holds numbers of type F32, must be integers");
        check(&written(graph), InvalidBundle, &format!("({operator}): "), &cause);
    }
}

#[test]
fn sizes_that_contradict_each_other_are_told() {
    for (graph, operator, cause) in [
        ("w = noise [4, 3, 3, 3]\n velocity = Conv(x, w)", "Conv", "does not fit"),
        ("w = noise [4, 4, 9, 9]\n velocity = Conv(x, w)", "Conv", "larger than the 8"),
        ("w = noise [4, 4, 3, 3]\n b = noise [3]\n velocity = Conv(x, w, b)", "Conv", "the bias"),
        ("w = noise [4, 4, 3, 3]\n velocity = Conv(x, w) kernel_shape=[1,1]", "Conv", "'kernel_shape'"),
        ("w = noise [4, 3, 3, 3]\n velocity = ConvTranspose(x, w) group=3", "ConvTranspose", "does not fit"),
        ("w = noise [15, 3]\n velocity = MatMul(x, w)", "MatMul", "do not go together"),
        (
            "w = noise [4, 16, 3]\n velocity = Einsum(x, w) equation=...hw,...wk->...hk",
            "Einsum",
            "number of axes",
        ),
        (
            "w = noise [1, 3, 16, 3]\n velocity = Einsum(x, w) equation=...hw,...wk->...hk",
            "Einsum",
            "'...' is 4 and 3",
        ),
        ("w = noise [3, 3]\n velocity = Einsum(x, w) equation=...hw,wk->...hk", "Einsum", "'w' is 16 and 3"),
        ("w = noise [3]\n velocity = PRelu(x, w)", "PRelu", "do not go together"),
        ("s = noise [3]\n velocity = InstanceNormalization(x, s, s)", "InstanceNormalization", "must be [4]"),
        ("i = [0, 0]\n u = noise [3, 4, 8, 16]\n velocity = ScatterND(x, i, u)", "ScatterND", "do not fit"),
        ("g = noise [2, 8, 16, 3]\n velocity = GridSample(x, g)", "GridSample", "does not fit"),
        ("m = noise [16]\n velocity = Clip(x, m)", "Clip", "must be a single number"),
        ("p = [0,0,0,0,0,0,0,0]\n velocity = Pad(x, p, x) mode=edge", "Pad", "must be a single number"),
        ("opset 10\n velocity = Clip(x) min=inf", "Clip", "attribute 'min' holds inf"),
        (
            "opset 21\n s = noise [2]\n velocity = GroupNormalization(x, s, s) num_groups=2",
            "GroupNormalization",
            "must be [4]",
        ),
    ] {
        check(&written(graph), InvalidBundle, &format!("({operator}): "), cause);
    }
}

#[test]
fn what_takes_all_memory_is_refused_before_it_is_made() {
    for (graph, operator) in [
        ("s = [1099511627776, 1, 1, 1]\n velocity = Tile(x, s)", "Tile"),
        ("s = [1099511627776, 1, 1, 1, 1]\n velocity = Expand(x, s)", "Expand"),
        (
            "s = [1099511627776]\n z = ConstantOfShape(s)\n m = ReduceMax(z)\n velocity = Add(x, m)",
            "ConstantOfShape",
        ),
        ("s = [1.0, 1.0, 1000000.0, 1000000.0]\n velocity = Resize(x, , s)", "Resize"),
        ("p = [0, 0, 2000000000, 0, 0, 0, 0, 2000000000]\n velocity = Pad(x, p)", "Pad"),
        ("p = [0, 0, 0, 0, 0, 0, 2000000000, 0]\n velocity = Pad(x, p) mode=edge", "Pad"),
    ] {
        check(&written(graph), LimitExceeded, &format!("({operator}): "), "too large");
    }
}

#[test]
fn what_would_be_made_while_loading_is_refused_before_it_is() {
    // Rows that nobody has: a tensor of them is never made, but what follows would be.
    let rows = |count: u64, then: &str| {
        format!(
            "s = [2, 4, {count}, 16]\n row = ReduceMax(x) axes=[2] keepdims=1\n e = Expand(row, s)\n {then}
             m = ReduceMax(made) keepdims=0\n velocity = Add(x, m)"
        )
    };
    let axes = vec!["1"; 300].join(", ");
    for (graph, operator, cause) in [
        (
            "d = [8589934592]\n v = [0.0, 1.0]\n hot = OneHot(y, d, v)\n velocity = Softmax(hot)".into(),
            "OneHot",
            "'depth' is 8589934592",
        ),
        (
            "s = [8589934592]\n a = [0]\n k = Squeeze(s, a)\n velocity = HannWindow(k)".into(),
            "HannWindow",
            "too large",
        ),
        (
            "s = [100000, 100000]\n g = ReduceMax(t) keepdims=1\n e = Expand(g, s)\n velocity = EyeLike(e)"
                .into(),
            "EyeLike",
            "too large",
        ),
        (
            format!(
                "opset 23\n {}",
                rows(1 << 20, "made = Attention(e, e, e) is_causal=1").replace("axes=[2] ", "")
            ),
            "Attention",
            "which are too many",
        ),
        (
            rows(
                1 << 30,
                "a = [0]\n b = [9223372036854775807]\n c = [2]\n d = [2]\n made = Slice(e, a, b, c, d)",
            ),
            "Slice",
            "'steps' 2 leaves",
        ),
        (rows(1 << 30, "z = [2, 4, 1, 16]\n made = Resize(e, , , z) mode=linear"), "Resize", "too large"),
        (
            format!("s = [{axes}, 2, 4, 8, 16]\n r = Reshape(x, s)\n velocity = Squeeze(r)"),
            "Reshape",
            "304 axes",
        ),
        (
            rows(1 << 30, "made = AveragePool(e) kernel_shape=[1,4096] pads=[0,4095,0,4095]"),
            "AveragePool",
            "too large",
        ),
        (
            rows(8, "made = MaxPool(e) kernel_shape=[65536,65536] pads=[65535,65535,0,0]"),
            "MaxPool",
            "'kernel_shape' is [65536, 65536]",
        ),
    ] {
        check(&written(&graph), LimitExceeded, &format!("({operator}): "), cause);
    }
    // Of what is only padded, nothing is made.
    let padded = rows(1 << 30, "p = [0, 0, 1, 0, 0, 0, 1, 0]\n made = Pad(e, p)");
    assert!(import(&written(&padded)).is_ok());
    // Numbers that are no floats are tried; not so many.
    let many = "s = [1073741824, 2]\n e = Expand(y, s)\n \
                m = ReduceMax(e) keepdims=0\n f = Cast(m) to=1\n velocity = Add(x, f)";
    assert!(import(&written(many)).is_ok());
}

#[test]
fn what_is_computed_of_constants_counts_as_weights() {
    let text = "s = [100000]\n z = ConstantOfShape(s)\n e = Exp(z)\n \
                    m = ReduceMax(e) keepdims=0\n velocity = Add(x, m)";
    let read = |most: u64| {
        let bundle = files(&written(text)).open_with(&Limits::default().with_max_weight_bytes(most)).unwrap();
        Graph::import(&bundle, Role::Predictor, bundle.manifest().extent(2))
    };
    // Two lists of floats, and a few numbers.
    assert!(read(2 * 400_000 + 1000).is_ok());
    let error = read(2 * 400_000 - 1).err().unwrap();
    assert_eq!(error.kind(), LimitExceeded);
    let line = error.to_string();
    assert!(line.contains("node 'makes e' (Exp)") && line.contains("(max_weight_bytes)"), "{line}");
}

#[test]
fn what_the_standard_has_and_we_have_not_is_named() {
    let crop = "s = [2, 4, 8, 16]\n r = [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]\n \
                velocity = Resize(x, r, , s) coordinate_transformation_mode=tf_crop_and_resize";
    for (graph, operator, cause) in [
        ("s = [8]\n e = [9]\n a = [2]\n velocity = Slice(x, s, e, a)", "Slice", "without elements"),
        ("s = [5]\n e = [2]\n a = [2]\n velocity = Slice(x, s, e, a)", "Slice", "without elements"),
        ("p = [0, 0, 8, 0, 0, 0, 0, 0]\n velocity = Pad(x, p) mode=reflect", "Pad", "reflects 8"),
        (crop, "Resize", "tf_crop_and_resize"),
        ("opset 10\n s = [1.0, 1.0, 1.0, 1.0]\n velocity = Upsample(x, s)", "Upsample", "no more"),
        (
            "i = Cast(x) to=7\n f = [-1]\n s = Reshape(i, f)\n velocity = Reshape(x, s)",
            "Reshape",
            "known while",
        ),
        ("velocity = RandomNormalLike(x)", "RandomNormalLike", "a seed must give one image"),
        ("velocity = RandomUniform() shape=[2,4,8,16]", "RandomUniform", "a seed must give one image"),
        ("velocity = Bernoulli(x)", "Bernoulli", "a seed must give one image"),
        (
            "s = [1.0, 1.0, 1.0, 1.0]\n velocity = BatchNormalization(x, s, s, s, s) training_mode=1",
            "BatchNormalization",
            "'training_mode'",
        ),
    ] {
        check(&written(graph), Unsupported, &format!("({operator}): "), cause);
    }
}
