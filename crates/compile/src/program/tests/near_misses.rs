//! What looks like an operation with a kernel of its own: the real thing is recognised, near misses are left as they
//! are, and all of them are right.

use super::*;
use crate::graph::testing::{files, written};

struct Case {
    name: &'static str,
    graph: &'static str,
    /// All steps but copies.
    steps: &'static str,
}

fn check(cases: &[Case]) {
    for Case { name, graph, steps } in cases {
        let bundle = files(&written(graph)).open().unwrap();
        let program = lowered(&bundle, Role::Predictor);
        println!("{name}: {}", kinds(&program.executable.describe()));
        assert_eq!(kinds(&program.executable.describe()), *steps, "{name}:\n{}", program.describe());
        agrees(&bundle, Role::Predictor, name);
    }
}

#[test]
fn only_the_equation_of_a_layer_normalisation_is_one() {
    check(&[
        Case {
            name: "a layer normalisation",
            graph: "mean = ReduceMean(x) axes=[-1]
                    d = Sub(x, mean)
                    square = Mul(d, d)
                    variance = ReduceMean(square) axes=[-1]
                    eps = 0.01
                    sum = Add(variance, eps)
                    root = Sqrt(sum)
                    velocity = Div(d, root)",
            steps: "norm 1",
        },
        Case {
            name: "a layer normalisation by powers",
            graph: "mean = ReduceMean(x) axes=[-1]
                    d = Sub(x, mean)
                    two = 2.0
                    square = Pow(d, two)
                    variance = ReduceMean(square) axes=[-1]
                    eps = 0.01
                    sum = Add(variance, eps)
                    exponent = -0.5
                    factor = Pow(sum, exponent)
                    velocity = Mul(factor, d)",
            steps: "norm 1",
        },
        Case {
            name: "the variance as a difference",
            graph: "mean = ReduceMean(x) axes=[-1]
                    d = Sub(x, mean)
                    squares = Mul(x, x)
                    all = ReduceMean(squares) axes=[-1]
                    own = Mul(mean, mean)
                    variance = Sub(all, own)
                    eps = 0.01
                    sum = Add(variance, eps)
                    root = Sqrt(sum)
                    velocity = Div(d, root)",
            steps: "pointwise 7, reduce 2",
        },
        Case {
            name: "epsilon outside of the root",
            graph: "mean = ReduceMean(x) axes=[-1]
                    d = Sub(x, mean)
                    square = Mul(d, d)
                    variance = ReduceMean(square) axes=[-1]
                    eps = 0.01
                    root = Sqrt(variance)
                    sum = Add(root, eps)
                    velocity = Div(d, sum)",
            steps: "pointwise 5, reduce 2",
        },
        Case {
            name: "the mean square in place of the variance",
            graph: "mean = ReduceMean(x) axes=[-1]
                    d = Sub(x, mean)
                    square = Mul(x, x)
                    variance = ReduceMean(square) axes=[-1]
                    eps = 0.01
                    sum = Add(variance, eps)
                    root = Sqrt(sum)
                    velocity = Div(d, root)",
            steps: "pointwise 5, reduce 2",
        },
        Case {
            name: "without the mean taken off above",
            graph: "mean = ReduceMean(x) axes=[-1]
                    d = Sub(x, mean)
                    square = Mul(d, d)
                    variance = ReduceMean(square) axes=[-1]
                    eps = 0.01
                    sum = Add(variance, eps)
                    root = Sqrt(sum)
                    velocity = Div(x, root)",
            steps: "pointwise 5, reduce 2",
        },
        Case {
            name: "over the channels of an image",
            graph: "mean = ReduceMean(x) axes=[1]
                    d = Sub(x, mean)
                    square = Mul(d, d)
                    variance = ReduceMean(square) axes=[1]
                    eps = 0.01
                    sum = Add(variance, eps)
                    root = Sqrt(sum)
                    velocity = Div(d, root)",
            steps: "pointwise 5, reduce 2",
        },
        Case {
            name: "mean and variance over different axes: what is left is a division by the root mean square",
            graph: "mean = ReduceMean(x) axes=[2]
                    d = Sub(x, mean)
                    square = Mul(d, d)
                    variance = ReduceMean(square) axes=[-1]
                    eps = 0.01
                    sum = Add(variance, eps)
                    root = Sqrt(sum)
                    velocity = Div(d, root)",
            steps: "norm 1, pointwise 1, reduce 1",
        },
        Case {
            name: "a group normalisation with scales for groups in place of channels",
            graph: "apart = [0, 2, -1]
                    groups = Reshape(x, apart)
                    scale = noise [2]
                    shift = noise [2]
                    normal = InstanceNormalization(groups, scale, shift)
                    together = [0, 4, 8, 16]
                    velocity = Reshape(normal, together)",
            steps: "norm 1, pointwise 2",
        },
    ]);
}

#[test]
fn only_the_values_of_gelu_and_silu_are_theirs() {
    check(&[
        Case {
            name: "GELU",
            graph: "root = 0.70710678
                    z = Mul(x, root)
                    e = Erf(z)
                    one = 1.0
                    sum = Add(e, one)
                    product = Mul(x, sum)
                    half = 0.5
                    velocity = Mul(product, half)",
            steps: "pointwise 1",
        },
        Case {
            name: "GELU with another constant",
            graph: "root = 0.7071
                    z = Mul(x, root)
                    e = Erf(z)
                    one = 1.0
                    sum = Add(e, one)
                    product = Mul(x, sum)
                    half = 0.5
                    velocity = Mul(product, half)",
            steps: "pointwise 5",
        },
        Case {
            name: "GELU by tanh",
            graph: "three = 3.0
                    cube = Pow(x, three)
                    a = 0.044715
                    small = Mul(cube, a)
                    inner = Add(x, small)
                    b = 0.7978845608
                    z = Mul(inner, b)
                    h = Tanh(z)
                    one = 1.0
                    sum = Add(h, one)
                    half = 0.5
                    halved = Mul(x, half)
                    velocity = Mul(halved, sum)",
            steps: "pointwise 1",
        },
        Case {
            name: "GELU by tanh with another constant",
            graph: "three = 3.0
                    cube = Pow(x, three)
                    a = 0.0447
                    small = Mul(cube, a)
                    inner = Add(x, small)
                    b = 0.7978845608
                    z = Mul(inner, b)
                    h = Tanh(z)
                    one = 1.0
                    sum = Add(h, one)
                    half = 0.5
                    halved = Mul(x, half)
                    velocity = Mul(halved, sum)",
            steps: "pointwise 8",
        },
        Case {
            name: "SiLU",
            graph: "s = Sigmoid(x)
                    velocity = Mul(x, s)",
            steps: "pointwise 1",
        },
        Case {
            name: "SiLU as a quotient",
            graph: "minus = Neg(x)
                    e = Exp(minus)
                    one = 1.0
                    sum = Add(e, one)
                    velocity = Div(x, sum)",
            steps: "pointwise 1",
        },
        Case {
            name: "a sigmoid of 1.702 x",
            graph: "a = 1.702
                    z = Mul(x, a)
                    s = Sigmoid(z)
                    velocity = Mul(x, s)",
            steps: "pointwise 3",
        },
    ]);
}

#[test]
fn only_softmax_over_keys_between_two_products_is_attention() {
    check(&[
        Case {
            name: "attention",
            graph: "keys = Transpose(x) perm=[0,1,3,2]
                    scores = MatMul(x, keys)
                    scale = 0.25
                    scaled = Mul(scores, scale)
                    weights = Softmax(scaled) axis=-1
                    velocity = MatMul(weights, x)",
            steps: "attention 1",
        },
        Case {
            name: "attention by einsum, tokens before heads",
            graph: "s = Einsum(x, x) equation=nqhd,nkhd->nhqk
                    w = Softmax(s) axis=-1
                    velocity = Einsum(w, x) equation=nhqk,nkhd->nqhd",
            steps: "attention 1",
        },
        Case {
            name: "attention with one axis for images and heads",
            graph: "joined = [-1, 8, 16]
                    r = Reshape(x, joined)
                    keys = Transpose(r) perm=[0,2,1]
                    scores = MatMul(r, keys)
                    scale = 4.0
                    scaled = Div(scores, scale)
                    weights = Softmax(scaled) axis=-1
                    attended = MatMul(weights, r)
                    apart = [-1, 4, 8, 16]
                    velocity = Reshape(attended, apart)",
            steps: "attention 1",
        },
        Case {
            name: "all heads look at the same keys and values",
            graph: "first = [0]
                    second = [1]
                    axis = [1]
                    one = Slice(x, first, second, axis)
                    keys = Transpose(one) perm=[0,1,3,2]
                    scores = MatMul(x, keys)
                    weights = Softmax(scores) axis=-1
                    velocity = MatMul(weights, one)",
            steps: "attention 1",
        },
        Case {
            name: "values are narrower than keys",
            graph: "zero = [0]
                    eight = [8]
                    axis = [3]
                    narrow = Slice(x, zero, eight, axis)
                    keys = Transpose(x) perm=[0,1,3,2]
                    scores = MatMul(x, keys)
                    weights = Softmax(scores) axis=-1
                    half = MatMul(weights, narrow)
                    velocity = Concat(half, half) axis=3",
            steps: "batch-matmul 2, reduce 1",
        },
        Case {
            name: "softmax over the queries",
            graph: "keys = Transpose(x) perm=[0,1,3,2]
                    scores = MatMul(x, keys)
                    scale = 0.25
                    scaled = Mul(scores, scale)
                    weights = Softmax(scaled) axis=-2
                    velocity = MatMul(weights, x)",
            steps: "batch-matmul 2, pointwise 1, reduce 1",
        },
        Case {
            name: "a mask",
            graph: "keys = Transpose(x) perm=[0,1,3,2]
                    scores = MatMul(x, keys)
                    mask = noise [8,8]
                    masked = Add(scores, mask)
                    weights = Softmax(masked) axis=-1
                    velocity = MatMul(weights, x)",
            steps: "batch-matmul 2, pointwise 1, reduce 1",
        },
        Case {
            name: "a mask of each key",
            graph: "keys = Transpose(x) perm=[0,1,3,2]
                    scores = MatMul(x, keys)
                    scale = 0.25
                    scaled = Mul(scores, scale)
                    mask = noise [1,1,1,8]
                    masked = Add(scaled, mask)
                    weights = Softmax(masked) axis=-1
                    velocity = MatMul(weights, x)",
            steps: "attention 1",
        },
        Case {
            name: "a mask of each image's keys, far below all scores",
            graph: "most = ReduceMax(x) axes=[1,3]
                    one = 1.0
                    less = Sub(most, one)
                    far = 1000000000.0
                    low = Mul(less, far)
                    zero = 0.0
                    mask = Min(low, zero)
                    turned = Transpose(mask) perm=[0,1,3,2]
                    keys = Transpose(x) perm=[0,1,3,2]
                    scores = MatMul(x, keys)
                    masked = Add(turned, scores)
                    weights = Softmax(masked) axis=-1
                    velocity = MatMul(weights, x)",
            steps: "attention 1, pointwise 4, reduce 1",
        },
        Case {
            name: "a mask of each head's keys",
            graph: "keys = Transpose(x) perm=[0,1,3,2]
                    scores = MatMul(x, keys)
                    mask = noise [1,4,1,8]
                    masked = Add(scores, mask)
                    weights = Softmax(masked) axis=-1
                    velocity = MatMul(weights, x)",
            steps: "batch-matmul 2, pointwise 1, reduce 1",
        },
        Case {
            name: "a mask of each query",
            graph: "keys = Transpose(x) perm=[0,1,3,2]
                    scores = MatMul(x, keys)
                    mask = noise [1,1,8,1]
                    masked = Add(scores, mask)
                    weights = Softmax(masked) axis=-1
                    velocity = MatMul(weights, x)",
            steps: "batch-matmul 2, pointwise 1, reduce 1",
        },
        Case {
            name: "a mask between scores and scale",
            graph: "keys = Transpose(x) perm=[0,1,3,2]
                    scores = MatMul(x, keys)
                    mask = noise [1,1,1,8]
                    masked = Add(scores, mask)
                    scale = 0.25
                    scaled = Mul(masked, scale)
                    weights = Softmax(scaled) axis=-1
                    velocity = MatMul(weights, x)",
            steps: "batch-matmul 2, pointwise 2, reduce 1",
        },
        Case {
            name: "a negative scale",
            graph: "keys = Transpose(x) perm=[0,1,3,2]
                    scores = MatMul(x, keys)
                    scale = -0.25
                    scaled = Mul(scores, scale)
                    weights = Softmax(scaled) axis=-1
                    velocity = MatMul(weights, x)",
            steps: "batch-matmul 2, pointwise 1, reduce 1",
        },
        Case {
            name: "a sum over queries in place of keys",
            graph: "keys = Transpose(x) perm=[0,1,3,2]
                    scores = MatMul(x, keys)
                    scale = 0.25
                    scaled = Mul(scores, scale)
                    weights = Softmax(scaled) axis=-1
                    turned = Transpose(weights) perm=[0,1,3,2]
                    velocity = MatMul(turned, x)",
            steps: "batch-matmul 2, pointwise 1, reduce 1",
        },
        Case {
            name: "scores that something else reads, too",
            graph: "keys = Transpose(x) perm=[0,1,3,2]
                    scores = MatMul(x, keys)
                    weights = Softmax(scores) axis=-1
                    attended = MatMul(weights, x)
                    most = ReduceMax(scores) axes=[-1]
                    velocity = Add(attended, most)",
            steps: "attention 1, batch-matmul 1, pointwise 1, reduce 1",
        },
    ]);
}

#[test]
fn transpositions_however_written_only_say_where_to_look() {
    check(&[
        Case {
            name: "unpatchify",
            graph: "tokens = [0, 4, 4, 2, 8, 2]
                    apart = Reshape(x, tokens)
                    turned = Einsum(apart) equation=abcdef->acebdf
                    image = [0, 4, 8, 16]
                    velocity = Reshape(turned, image)",
            steps: "",
        },
        Case {
            name: "an einsum that sums",
            graph: "sums = Einsum(x) equation=abcd->abd
                    row = [0, 4, 1, 16]
                    rows = Reshape(sums, row)
                    velocity = Sub(x, rows)",
            steps: "fallback 1, pointwise 1",
        },
    ]);
}

#[test]
fn the_attention_operator_is_softmax_between_two_products() {
    let setting = "tokens = [0, 4, 128]
                   r = Reshape(x, tokens)
                   scaled = Mul(r, r)
                   mask = noise [4, 4]
                   image = [0, 4, 8, 16]";
    let by_heads = "apart = [0, 4, 8, 16]
                    a = Reshape(r, apart)
                    q = Transpose(a) perm=[0,2,1,3]
                    b = Reshape(scaled, apart)
                    k = Transpose(b) perm=[0,2,3,1]
                    scores = MatMul(q, k)
                    scale = 0.3
                    z = Mul(scores, scale)";
    let joined = "turned = Transpose(o) perm=[0,2,1,3]
                  velocity = Reshape(turned, image)";
    for (operator, equation, steps) in [
        (
            "Attention(r, scaled, r) q_num_heads=8 kv_num_heads=8 scale=0.3",
            "s = Softmax(z) axis=-1",
            "attention 1, pointwise 1",
        ),
        (
            "Attention(r, scaled, r, mask) q_num_heads=8 kv_num_heads=8 scale=0.3",
            "m = Add(z, mask)
             s = Softmax(m) axis=-1",
            "batch-matmul 2, pointwise 3, reduce 1",
        ),
    ] {
        let operator = format!("opset 23\n {setting}\n o = {operator}\n velocity = Reshape(o, image)");
        let values = "c = Transpose(a) perm=[0,2,1,3]\n o = MatMul(s, c)";
        let equation = format!("{setting}\n{by_heads}\n{equation}\n{values}\n{joined}");
        let bundles = [operator, equation].map(|graph| files(&written(&graph)).open().unwrap());
        let [operator, equation] = bundles.each_ref().map(|bundle| {
            let program = lowered(bundle, Role::Predictor);
            assert_eq!(kinds(&program.executable.describe()), steps, "{}", program.describe());
            agrees(bundle, Role::Predictor, steps);
            answers(bundle, Role::Predictor, 2, &Reference::new(1))
        });
        let (error, most) = apart(&operator, &equation);
        assert!(error <= 1e-5 * most, "{error} of {most}");
    }
}
