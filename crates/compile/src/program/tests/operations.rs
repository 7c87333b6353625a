//! Operations one by one, with shapes and axes that could go wrong: by a kernel, by fallback, or the whole network
//! left to tract.

use super::*;
use crate::graph::testing::{files, written};

/// Said of a network that is left to tract.
const WHOLE: &str = "left to tract";

/// Graphs, and the steps that each becomes but for copies.
#[rustfmt::skip]
const OPERATIONS: [(&str, &str); 71] = [
    ("velocity = Neg(x)", "pointwise 1"),
    ("a = Abs(x)
      velocity = Sqrt(a)", "pointwise 2"),
    ("a = Abs(x)
      velocity = Log(a)", "pointwise 2"),
    ("velocity = Exp(x)", "pointwise 1"),
    ("velocity = Reciprocal(x)", "pointwise 1"),
    ("velocity = Tanh(x)", "pointwise 1"),
    ("velocity = Relu(x)", "pointwise 1"),
    ("velocity = LeakyRelu(x) alpha=0.1", "fallback 1"),
    ("velocity = Elu(x)", "fallback 1, pointwise 2"),
    ("velocity = Softplus(x)", "pointwise 5"),
    ("low = -0.5
      high = 0.25
      velocity = Clip(x, low, high)", "pointwise 2"),
    ("c = noise [8,1]
      d = noise [4,1,16]
      e = Max(c, d)
      velocity = Min(x, e)", "pointwise 1"),
    ("a = ReduceSum(x)
      velocity = Div(x, a)", "pointwise 1, reduce 1"),
    ("axes = [1,3]
      a = ReduceSum(x, axes)
      velocity = Sub(x, a)", "pointwise 1, reduce 1"),
    ("a = ReduceMax(x) axes=[2]
      velocity = Sub(a, x)", "pointwise 1, reduce 1"),
    ("a = ReduceMin(x) axes=[-1]
      velocity = Sub(x, a)", "fallback 1, pointwise 1"),
    ("a = ReduceL2(x) axes=[1]
      velocity = Div(x, a)", "pointwise 3, reduce 1"),
    ("a = ReduceMean(x) axes=[3,2] keepdims=0
      two = [2,3]
      b = Unsqueeze(a, two)
      velocity = Sub(x, b)", "pointwise 1, reduce 1"),
    ("a = ReduceMax(x) axes=[1]
      b = ReduceMax(x) axes=[2]
      velocity = Add(a, b)", "pointwise 1, reduce 2"),
    ("velocity = Softmax(x) axis=1", "reduce 1"),
    ("velocity = Softmax(x) axis=2", "reduce 1"),
    ("velocity = Softmax(x) axis=-1", "reduce 1"),
    ("velocity = LogSoftmax(x) axis=-1", "pointwise 1, reduce 1"),
    ("w = noise [16,16]
      velocity = MatMul(x, w)", "matmul 1"),
    ("w = noise [8,8]
      velocity = MatMul(w, x)", "matmul 1"),
    ("w = noise [4,16,16]
      velocity = MatMul(x, w)", "batch-matmul 1"),
    ("w = noise [1,4,8,8]
      velocity = MatMul(w, x)", "batch-matmul 1"),
    ("w = noise [4,4]
      velocity = Einsum(x, w) equation=nchw,dc->ndhw", "matmul 1"),
    ("w = noise [4,16]
      velocity = Einsum(x, w) equation=nchw,cw->nchw", "pointwise 1"),
    ("w = noise [5,16]
      velocity = Einsum(x, w) equation=nchw,ew->nchw", "fallback 1"),
    ("k = Transpose(x) perm=[0,1,3,2]
      a = MatMul(x, k)
      velocity = MatMul(a, x)", "batch-matmul 2"),
    ("a = Einsum(x, x) equation=nchw,ndhw->ncd
      velocity = Einsum(x, a) equation=nchw,ncd->ndhw", "batch-matmul 2"),
    ("a = Einsum(x, x) equation=nchw,nchv->wnvc
      velocity = Einsum(a, x) equation=wnvc,nchv->nchw", "batch-matmul 2"),
    ("a = Einsum(x, x) equation=nchw,nchw->nch
      velocity = Einsum(a, x) equation=nch,nchw->nchw", "batch-matmul 1, pointwise 1"),
    ("a = ReduceMax(x) axes=[2]
      b = Transpose(a) perm=[0,1,3,2]
      c = MatMul(x, b)
      velocity = Mul(x, c)", "batch-matmul 1, pointwise 1, reduce 1"),
    // The right side is the same for all channels.
    ("a = ReduceMax(x) axes=[1]
      b = Transpose(a) perm=[0,1,3,2]
      c = MatMul(x, b)
      velocity = MatMul(c, a)", "batch-matmul 2, reduce 1"),
    ("w = noise [4,8,16,32]
      a = Einsum(x, w) equation=nchw,chwk->nk
      s = [0,4,8,1]
      b = Reshape(a, s)
      velocity = Add(x, b)", "matmul 1, pointwise 1"),
    ("f = Flatten(x)
      w = noise [512,512]
      b = noise [512]
      g = Gemm(f, w, b) alpha=0.5 transB=1
      s = [0,4,8,16]
      velocity = Reshape(g, s)", "matmul 1"),
    ("w = noise [4,4,3,3]
      velocity = Conv(x, w) pads=[1,1,1,1]", "matmul 1, stage 1"),
    ("w = noise [4,4,3,3]
      b = noise [4]
      velocity = Conv(x, w, b) pads=[2,2,2,2] dilations=[2,2]", "fallback 1"),
    ("w = noise [4,2,1,3]
      velocity = Conv(x, w) pads=[0,1,0,1] group=2", "fallback 1"),
    ("w = noise [4,4,1,1]
      velocity = Conv(x, w) auto_pad=SAME_UPPER", "fallback 1"),
    ("w = noise [4,4,2,2]
      a = Conv(x, w) strides=[2,2]
      velocity = ConvTranspose(a, w) strides=[2,2]", "fallback 1, matmul 1"),
    ("a = AveragePool(x) kernel_shape=[2,2] strides=[2,2]
      none = noise [0]
      by = [1,1,2,2]
      s = Cast(by) to=1
      velocity = Resize(a, none, s) mode=nearest", "fallback 1, stage 1"),
    ("a = GlobalAveragePool(x)
      velocity = Mul(x, a)", "pointwise 1, reduce 1"),
    // tract would take every other number before the softmax.
    ("a = Softmax(x) axis=3
      w = noise [4,4,1,1]
      b = Conv(a, w) strides=[1,2]
      velocity = Concat(b, b) axis=3", "matmul 1, reduce 1"),
    // Padded by a node and by the convolution.
    ("p = [0,0,1,0,0,0,0,0]
      a = Pad(x, p)
      w = noise [4,4,3,3]
      b = Conv(a, w) pads=[1,1,1,1]
      s = [1]
      e = [9]
      axes = [2]
      velocity = Slice(b, s, e, axes)", "matmul 1, stage 2"),
    // Enlarged by two nodes.
    ("none = noise [0]
      by = [1,1,2,2]
      s = Cast(by) to=1
      a = Resize(x, none, s) mode=nearest
      b = Resize(a, none, s) mode=nearest
      w = noise [4,4,1,1]
      c = Conv(b, w)
      velocity = MaxPool(c) kernel_shape=[4,4] strides=[4,4]", "fallback 1, matmul 1, stage 2"),
    // Enlarged, and used both ways.
    ("none = noise [0]
      by = [1,1,2,2]
      s = Cast(by) to=1
      a = Resize(x, none, s) mode=nearest
      w = noise [4,4,3,3]
      b = Conv(a, w) pads=[1,1,1,1]
      c = Add(a, b)
      velocity = MaxPool(c) kernel_shape=[2,2] strides=[2,2]", "fallback 1, matmul 1, stage 2"),
    // tract would forget that there are five of each sum: in what comes out, and in what is added up.
    ("axes = [2]
      a = ReduceMean(x) axes=[2]
      by = [1,1,5,1]
      b = Tile(a, by)
      w = noise [4,4,1,1]
      c = Conv(b, w)
      d = ReduceSum(c, axes)
      velocity = Add(x, d)", "fallback 1, matmul 1, pointwise 1, reduce 2"),
    ("a = ReduceMean(x) axes=[3]
      by = [1,1,1,5]
      b = Tile(a, by)
      back = Transpose(b) perm=[0,1,3,2]
      c = MatMul(b, back)
      d = ReduceMean(c) axes=[3]
      velocity = Mul(x, d)", "batch-matmul 1, fallback 1, pointwise 1, reduce 2"),
    // tract would take away an axis of one element that the convolution pads.
    ("column = [-1,1,1,1]
      flat = [-1,1,1]
      scale = noise [1]
      bias = noise [1]
      w = noise [3,1,1,1]
      a = Reshape(t, flat)
      b = InstanceNormalization(a, scale, bias)
      c = Reshape(b, column)
      d = Conv(c, w) pads=[1,1,1,1]
      e = ReduceSum(d)
      velocity = Add(x, e)", "matmul 1, pointwise 8, reduce 3, stage 1"),
    // A single pixel, however the reduction left its strides.
    ("a = GlobalAveragePool(x)
      b = ReduceMax(a) axes=[2,3]
      none = noise [0]
      by = [1,1,8,8]
      s = Cast(by) to=1
      c = Resize(b, none, s) mode=nearest
      d = ReduceMax(c) axes=[2]
      e = ReduceMax(d) axes=[3]
      velocity = Mul(x, e)", "pointwise 1, reduce 4, stage 1"),
    ("a = DepthToSpace(x) blocksize=2
      velocity = SpaceToDepth(a) blocksize=2", ""),
    ("p = [0,0,1,2,0,0,3,4]
      a = Pad(x, p) mode=reflect
      s = [2,1]
      e = [10,17]
      axes = [2,3]
      velocity = Slice(a, s, e, axes)", ""),
    ("p = [0,0,1,0,0,0,0,2]
      a = Pad(x, p)
      s = [-9,2]
      e = [-1,99]
      axes = [-2,-1]
      velocity = Slice(a, s, e, axes)", "stage 1"),
    ("s = [1]
      e = [-99]
      axes = [2]
      steps = [-1]
      a = Slice(x, s, e, axes, steps)
      b = Concat(a, x, a) axis=2
      s2 = [2]
      e2 = [10]
      velocity = Slice(b, s2, e2, axes)", "fallback 1"),
    ("a, b = Split(x) axis=3
      velocity = Concat(b, a) axis=3", ""),
    ("i = [3,0,0,-1]
      velocity = Gather(x, i) axis=1", "fallback 1"),
    ("s = [1,1,1,3]
      a = Tile(x, s)
      b = [5]
      e = [21]
      axes = [3]
      velocity = Slice(a, b, e, axes)", "fallback 1"),
    ("c = noise [4]
      d = noise [4]
      m = noise [4]
      v = noise [4]
      w = Abs(v)
      velocity = BatchNormalization(x, c, d, m, w)", "pointwise 2"),
    ("c = noise [4]
      d = noise [4]
      velocity = InstanceNormalization(x, c, d)", "norm 1, pointwise 2"),
    ("c = noise [8,16]
      d = noise [8,16]
      velocity = LayerNormalization(x, c, d) axis=2", "norm 1"),
    ("a = Cast(x) to=10
      velocity = Cast(a) to=1", "fallback 1"),
    ("zero = 0.0
      more = Greater(x, zero)
      less = Not(more)
      either = Or(more, less)
      half = 0.5
      small = Mul(x, half)
      a = Where(either, x, small)
      b = Where(less, x, small)
      velocity = Add(a, b)", "fallback 2, pointwise 2"),
    ("total = ReduceSum(y)
      f = Cast(total) to=1
      four = [1,1,1,1]
      shift = Reshape(f, four)
      velocity = Add(x, shift)", WHOLE),
    ("s = Shape(x)
      f = Cast(s) to=1
      i = [1]
      c = Gather(f, i) axis=0
      velocity = Mul(x, c)", "pointwise 1"),
    ("s = Sigmoid(x)
      silu = Mul(x, s)
      low = -10.0
      high = 10.0
      velocity = Clip(silu, low, high)", "pointwise 3"),
    ("m = ReduceMean(x) keepdims=0
      zero = 0.0
      more = Greater(m, zero)
      f = Cast(more) to=1
      velocity = Add(x, f)", "fallback 1, pointwise 1, reduce 1"),
    ("seven = [-1,2,2,2,4,4,4]
      a = Reshape(x, seven)
      b = Transpose(a) perm=[0,6,2,4,1,3,5]
      back = [-1,4,8,16]
      velocity = Reshape(b, back)", ""),
    // What depends on time alone, used as it is and by way of one operation.
    ("column = [-1,1]
      t1 = Reshape(t, column)
      w = noise [1,16]
      c = MatMul(t1, w)
      s = Sigmoid(c)
      silu = Mul(c, s)
      v = noise [16,16]
      m = MatMul(silu, v)
      row = [-1,1,1,16]
      shift = Reshape(c, row)
      scale = Reshape(m, row)
      a = Add(x, shift)
      velocity = Mul(a, scale)", "pointwise 2"),
];

#[test]
fn operations_one_by_one_agree_with_plain_tract() {
    let mut other = Vec::new();
    for (graph, steps) in OPERATIONS {
        let bundle = files(&written(graph)).open().unwrap();
        let import = |batch| Graph::import(&bundle, Role::Predictor, bundle.manifest().extent(batch));
        let found = match fused(1).fused(&import(2).unwrap(), Role::Predictor, &import) {
            Ok(program) => kinds(&program.executable.describe()),
            Err(error) if error.kind() == ErrorKind::Unsupported => WHOLE.to_owned(),
            Err(error) => panic!("{graph}: {error}"),
        };
        if found != steps {
            other.push(format!("{graph}: {found}, not {steps}"));
        }
        agrees(&bundle, Role::Predictor, graph);
    }
    assert!(other.is_empty(), "{}", other.join("\n"));
}

#[test]
fn convolutions_in_each_form_agree_with_plain_tract() {
    let graph = "w = noise [16,4,3,3]
                 a = Conv(x, w) pads=[1,1,1,1]
                 v = noise [16,16,3,3]
                 b = Conv(a, v) pads=[1,1,1,1]
                 s = Sigmoid(b)
                 c = Mul(b, s)
                 u = noise [4,16,3,3]
                 velocity = Conv(c, u) pads=[1,1,1,1]";
    let bundle = files(&written(graph)).open().unwrap();
    let plan = lowered(&bundle, Role::Predictor).executable.describe();
    let forms: Vec<&str> =
        plan.lines().filter_map(|line| line.split_once(" (")).map(|(_, form)| form).collect();
    assert!(forms[0].starts_with("f32, ") && forms[1..] == ["winograd)", "narrow)"], "{plan}");
    agrees(&bundle, Role::Predictor, graph);
}
