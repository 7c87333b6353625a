//! The steps that a random graph is made of. Each gives a tensor, or none where what is there does not go together.

use crate::graph::{Graph, LATENT, MOST};
use crate::proto::Attribute::{Int, Ints, Text};
use crate::windows::{convolution, global_pool, grouped, pool, transposed_convolution};
use crate::writer::Tensor;

type Step = fn(&mut Graph, [u8; 4]) -> Option<Tensor>;

pub(crate) const STEPS: [(&str, Step); 32] = [
    ("unary", unary),
    ("binary", binary),
    ("with a number", with_number),
    ("softmax", softmax),
    ("reduce", reduce),
    ("transpose", transpose),
    ("reshape", reshape),
    ("times weights", times_weights),
    ("product", product),
    ("convolution", convolution),
    ("slice", slice),
    ("concatenation", concatenation),
    ("pad", pad),
    ("layer norm", layer_norm),
    ("enlarge", enlarge),
    ("class", class),
    ("quotient", quotient),
    ("clip", clip),
    ("activation", activation),
    ("instance norm", instance_norm),
    ("group norm", group_norm),
    ("attention", attention),
    ("transposed convolution", transposed_convolution),
    ("pool", pool),
    ("global pool", global_pool),
    ("depth", depth),
    ("gather", gather),
    ("split", split),
    ("unsqueeze", unsqueeze),
    ("tile", tile),
    ("choice", choice),
    ("convolution in groups", grouped),
];

const BINARY: [&str; 5] = ["Add", "Sub", "Mul", "Max", "Min"];

pub(crate) fn one<T: Copy>(of: &[T], number: u8) -> T {
    of[usize::from(number) % of.len()]
}

pub(crate) fn below(number: u8, most: usize) -> usize {
    usize::from(number) % most
}

pub(crate) fn ints(value: usize, count: usize) -> crate::proto::Attribute {
    Ints(vec![value as i64; count])
}

fn unary(graph: &mut Graph, [kind, a, ..]: [u8; 4]) -> Option<Tensor> {
    // Where the first of these jump, rounding would be a difference: of the noise alone.
    const JUMP: usize = 4;
    let kinds = [
        "Floor",
        "Sign",
        "Ceil",
        "Round",
        "Neg",
        "Abs",
        "Tanh",
        "Sigmoid",
        "Relu",
        "Erf",
        "Sin",
        "Cos",
        "Softplus",
        "HardSwish",
        "LeakyRelu",
        "Identity",
        "Elu",
        "Selu",
        "HardSigmoid",
        "Celu",
        "Softsign",
    ];
    let kind = below(kind, kinds.len());
    let a = graph.pick(if kind < JUMP { 0 } else { a });
    Some(graph.writer.node(kinds[kind], &[&a.name], &[], a.dims))
}

fn binary(graph: &mut Graph, [kind, a, b, _]: [u8; 4]) -> Option<Tensor> {
    let (a, b) = (graph.pick(a), graph.pick(b));
    let dims = broadcast(&a.dims, &b.dims)?;
    Some(graph.writer.node(one(&BINARY, kind), &[&a.name, &b.name], &[], dims))
}

fn with_number(graph: &mut Graph, [kind, a, value, _]: [u8; 4]) -> Option<Tensor> {
    let a = graph.pick(a);
    let number = graph.writer.scalar(f32::from(value.cast_signed()) / 16.0);
    Some(graph.writer.node(one(&BINARY, kind), &[&a.name, &number], &[], a.dims))
}

fn softmax(graph: &mut Graph, [a, axis, ..]: [u8; 4]) -> Option<Tensor> {
    let a = graph.pick(a);
    let axis = 1 + below(axis, a.dims.len()) as i64;
    Some(graph.writer.node("Softmax", &[&a.name], &[("axis", Int(axis))], a.dims))
}

fn reduce(graph: &mut Graph, [kind, a, axes, _]: [u8; 4]) -> Option<Tensor> {
    let mut a = graph.pick(a);
    let of: Vec<usize> = (0..a.dims.len()).filter(|i| axes >> i & 1 == 1).collect();
    if of.is_empty() {
        return None;
    }
    let kinds = [
        "ReduceMean",
        "ReduceSum",
        "ReduceMax",
        "ReduceL2",
        "ReduceMin",
        "ReduceL1",
        "ReduceSumSquare",
        "ReduceLogSumExp",
    ];
    let axes = graph.writer.shape(&of.iter().map(|&axis| axis as i64 + 1).collect::<Vec<_>>());
    of.iter().for_each(|&axis| a.dims[axis] = 1);
    Some(graph.writer.node(one(&kinds, kind), &[&a.name, &axes], &[("keepdims", Int(1))], a.dims))
}

fn transpose(graph: &mut Graph, [a, seed, ..]: [u8; 4]) -> Option<Tensor> {
    let a = graph.pick(a);
    let mut perm: Vec<usize> = (0..a.dims.len()).collect();
    perm.rotate_left(below(seed, a.dims.len()));
    if seed & 64 != 0 {
        perm.reverse();
    }
    let dims = perm.iter().map(|&axis| a.dims[axis]).collect();
    let perm = [0].into_iter().chain(perm.iter().map(|&axis| axis as i64 + 1)).collect();
    Some(graph.writer.node("Transpose", &[&a.name], &[("perm", Ints(perm))], dims))
}

fn reshape(graph: &mut Graph, [a, seed, ..]: [u8; 4]) -> Option<Tensor> {
    let a = graph.pick(a);
    let all: usize = a.dims.iter().product();
    let parts = one(&[2, 4, 8, 16], seed);
    let dims = if all % parts == 0 { vec![all / parts, parts] } else { vec![all] };
    let dims = if seed & 128 != 0 { vec![1, dims.iter().product()] } else { dims };
    Some(shaped(graph, &a, dims))
}

fn shaped(graph: &mut Graph, a: &Tensor, dims: Vec<usize>) -> Tensor {
    let shape: Vec<i64> = [-1].into_iter().chain(dims.iter().map(|&n| n as i64)).collect();
    let shape = graph.writer.shape(&shape);
    graph.writer.node("Reshape", &[&a.name, &shape], &[], dims)
}

fn times_weights(graph: &mut Graph, [a, cols, ..]: [u8; 4]) -> Option<Tensor> {
    let mut a = graph.pick(a);
    let (depth, cols) = (*a.dims.last()?, 1 + below(cols, 40));
    if depth * cols > MOST {
        return None;
    }
    let weights = graph.writer.floats(&[depth, cols], 0.3);
    *a.dims.last_mut()? = cols;
    Some(graph.writer.node("MatMul", &[&a.name, &weights], &[], a.dims))
}

fn product(graph: &mut Graph, [a, b, ..]: [u8; 4]) -> Option<Tensor> {
    let (a, b) = (graph.pick(a), graph.pick(b));
    let ([one @ .., rows, k], [other @ .., depth, cols]) = (a.dims.as_slice(), b.dims.as_slice()) else {
        return None;
    };
    let dims = (k == depth && one == other).then(|| [one, &[*rows, *cols]].concat())?;
    Some(graph.writer.node("MatMul", &[&a.name, &b.name], &[], dims))
}

fn slice(graph: &mut Graph, [a, axis, start, len]: [u8; 4]) -> Option<Tensor> {
    let mut a = graph.pick(a);
    let axis = below(axis, a.dims.len());
    let start = below(start, a.dims[axis]);
    let len = 1 + below(len, a.dims[axis] - start);
    a.dims[axis] = len;
    let [from, to, axes] = [start, start + len, axis + 1].map(|n| graph.writer.shape(&[n as i64]));
    Some(graph.writer.node("Slice", &[&a.name, &from, &to, &axes], &[], a.dims))
}

fn concatenation(graph: &mut Graph, [a, b, axis, _]: [u8; 4]) -> Option<Tensor> {
    let (mut a, b) = (graph.pick(a), graph.pick(b));
    let axis = below(axis, a.dims.len());
    let fits = a.dims.len() == b.dims.len() && (0..a.dims.len()).all(|i| i == axis || a.dims[i] == b.dims[i]);
    if !fits {
        return None;
    }
    a.dims[axis] += b.dims[axis];
    Some(graph.writer.node("Concat", &[&a.name, &b.name], &[("axis", Int(axis as i64 + 1))], a.dims))
}

fn pad(graph: &mut Graph, [a, axis, by, mode]: [u8; 4]) -> Option<Tensor> {
    let mut a = graph.pick(a);
    let axis = below(axis, a.dims.len());
    let (before, after) = (below(by, 3), below(by / 3, 3));
    let mode = one(&["constant", "edge", "reflect", "wrap"], mode);
    // Two at each end need three to be mirrored.
    if mode != "constant" && a.dims[axis] < 3 {
        return None;
    }
    let mut pads = vec![0; 2 * (a.dims.len() + 1)];
    (pads[axis + 1], pads[a.dims.len() + 1 + axis + 1]) = (before as i64, after as i64);
    a.dims[axis] += before + after;
    let pads = graph.writer.shape(&pads);
    Some(graph.writer.node("Pad", &[&a.name, &pads], &[("mode", Text(mode))], a.dims))
}

fn layer_norm(graph: &mut Graph, [a, ..]: [u8; 4]) -> Option<Tensor> {
    let a = graph.pick(a);
    let width = *a.dims.last()?;
    let (scale, bias) = (graph.writer.floats(&[width], 1.0), graph.writer.floats(&[width], 1.0));
    let axis = [("axis", Int(-1))];
    Some(graph.writer.node("LayerNormalization", &[&a.name, &scale, &bias], &axis, a.dims))
}

fn enlarge(graph: &mut Graph, [a, ..]: [u8; 4]) -> Option<Tensor> {
    let a = graph.pick(a);
    let &[c, h, w] = a.dims.as_slice() else { return None };
    Some(graph.writer.enlarge(&a.name, 2.0, vec![c, 2 * h, 2 * w]))
}

fn class(graph: &mut Graph, [width, ..]: [u8; 4]) -> Option<Tensor> {
    let width = 1 + below(width, 20);
    let table = graph.writer.floats(&[3, width], 1.0);
    Some(graph.writer.node("Gather", &[&table, "y"], &[("axis", Int(0))], vec![width]))
}

/// A tensor by another, which is kept away from 0; or the root or logarithm of one.
fn quotient(graph: &mut Graph, [kind, a, b, _]: [u8; 4]) -> Option<Tensor> {
    let (a, b) = (graph.pick(a), graph.pick(b));
    let half = graph.writer.scalar(0.5);
    let size = graph.writer.node("Abs", &[&b.name], &[], b.dims.clone());
    let away = graph.writer.node("Add", &[&size.name, &half], &[], b.dims.clone());
    Some(match one(&["Div", "Sqrt", "Log", "Reciprocal", "Pow"], kind) {
        "Div" => graph.writer.node("Div", &[&a.name, &away.name], &[], broadcast(&a.dims, &b.dims)?),
        "Pow" => {
            let power = graph.writer.scalar([0.5, 2.0, -1.0, 3.0, 1.5][below(kind / 5, 5)]);
            graph.writer.node("Pow", &[&away.name, &power], &[], b.dims)
        }
        kind => graph.writer.node(kind, &[&away.name], &[], b.dims),
    })
}

fn clip(graph: &mut Graph, [a, low, high, _]: [u8; 4]) -> Option<Tensor> {
    let a = graph.pick(a);
    let [low, high] = [low, high].map(|value| f32::from(value.cast_signed()) / 16.0);
    let (least, most) = (graph.writer.scalar(low.min(high)), graph.writer.scalar(low.max(high)));
    Some(match below(low as u8, 3) {
        0 => graph.writer.node("Clip", &[&a.name, &least], &[], a.dims),
        1 => graph.writer.node("Clip", &[&a.name, "", &most], &[], a.dims),
        _ => graph.writer.node("Clip", &[&a.name, &least, &most], &[], a.dims),
    })
}

/// Of several nodes, as tools write them: SiLU, GELU by the error function and by tanh, Mish.
fn activation(graph: &mut Graph, [kind, a, ..]: [u8; 4]) -> Option<Tensor> {
    let a = graph.pick(a);
    let mut number = |value: f32| graph.writer.scalar(value);
    let (half, unit, root, cubic, of_pi) =
        (number(0.5), number(1.0), number(std::f32::consts::SQRT_2), number(0.044_715), number(0.797_884_6));
    let mut node = |kind: &str, inputs: &[&str]| graph.writer.node(kind, inputs, &[], a.dims.clone()).name;
    let x = a.name.as_str();
    let gate = match kind % 4 {
        0 => node("Sigmoid", &[x]),
        1 => {
            let scaled = node("Div", &[x, &root]);
            let erf = node("Erf", &[&scaled]);
            let sum = node("Add", &[&erf, &unit]);
            node("Mul", &[&sum, &half])
        }
        2 => {
            let square = node("Mul", &[x, x]);
            let cube = node("Mul", &[&square, x]);
            let small = node("Mul", &[&cube, &cubic]);
            let sum = node("Add", &[x, &small]);
            let scaled = node("Mul", &[&sum, &of_pi]);
            let tanh = node("Tanh", &[&scaled]);
            let sum = node("Add", &[&tanh, &unit]);
            node("Mul", &[&sum, &half])
        }
        _ => {
            let soft = node("Softplus", &[x]);
            node("Tanh", &[&soft])
        }
    };
    Some(graph.writer.node("Mul", &[x, &gate], &[], a.dims))
}

fn instance_norm(graph: &mut Graph, [a, ..]: [u8; 4]) -> Option<Tensor> {
    let a = graph.pick(a);
    let &[channels, _, ..] = a.dims.as_slice() else { return None };
    let (scale, bias) = (graph.writer.floats(&[channels], 1.0), graph.writer.floats(&[channels], 1.0));
    Some(graph.writer.node("InstanceNormalization", &[&a.name, &scale, &bias], &[], a.dims))
}

/// As PyTorch writes it: an instance norm of groups, then scale and bias of channels.
fn group_norm(graph: &mut Graph, [a, groups, ..]: [u8; 4]) -> Option<Tensor> {
    let a = graph.pick(a);
    let &[channels, height, width] = a.dims.as_slice() else { return None };
    let groups = one(&[1, 2, 4], groups);
    if channels % groups != 0 {
        return None;
    }
    let rows = graph.writer.shape(&[0, groups as i64, -1]);
    let flat = graph.writer.node("Reshape", &[&a.name, &rows], &[], vec![]);
    let [ones, zeros] = [1.0, 0.0].map(|value| graph.writer.filled(groups, value));
    let normal = graph.writer.node("InstanceNormalization", &[&flat.name, &ones, &zeros], &[], vec![]);
    let normal = shaped(graph, &normal, vec![channels, height, width]);
    let [scale, bias] = [1.0, 0.5].map(|size| graph.writer.floats(&[channels, 1, 1], size));
    let scaled = graph.writer.node("Mul", &[&normal.name, &scale], &[], a.dims.clone());
    Some(graph.writer.node("Add", &[&scaled.name, &bias], &[], a.dims))
}

/// Of one tensor to another of rows as long, in one head.
fn attention(graph: &mut Graph, [a, b, scale, _]: [u8; 4]) -> Option<Tensor> {
    let (a, b) = (graph.pick(a), graph.pick(b));
    let ([heads @ .., rows, deep], [others @ .., seen, depth]) = (a.dims.as_slice(), b.dims.as_slice())
    else {
        return None;
    };
    if heads != others || deep != depth || heads.iter().product::<usize>() * rows * seen > MOST {
        return None;
    }
    let rank = b.dims.len();
    let mut perm: Vec<i64> = (0..=rank as i64).collect();
    perm.swap(rank - 1, rank);
    let keys = graph.writer.node("Transpose", &[&b.name], &[("perm", Ints(perm))], vec![]);
    let scores = graph.writer.node("MatMul", &[&a.name, &keys.name], &[], vec![]);
    let number = graph.writer.scalar(f32::from(scale % 16 + 1) / 32.0);
    let scores = graph.writer.node("Mul", &[&scores.name, &number], &[], vec![]);
    let shares = graph.writer.node("Softmax", &[&scores.name], &[("axis", Int(-1))], vec![]);
    Some(graph.writer.node("MatMul", &[&shares.name, &b.name], &[], a.dims.clone()))
}

fn depth(graph: &mut Graph, [a, kind, ..]: [u8; 4]) -> Option<Tensor> {
    let a = graph.pick(a);
    let &[c, h, w] = a.dims.as_slice() else { return None };
    let block = ("blocksize", Int(2));
    if kind & 1 == 0 && c % 4 == 0 {
        let mode = ("mode", Text(one(&["DCR", "CRD"], kind / 2)));
        return Some(graph.writer.node(
            "DepthToSpace",
            &[&a.name],
            &[block, mode],
            vec![c / 4, 2 * h, 2 * w],
        ));
    }
    let fits = h % 2 == 0 && w % 2 == 0;
    fits.then(|| graph.writer.node("SpaceToDepth", &[&a.name], &[block], vec![c * 4, h / 2, w / 2]))
}

fn gather(graph: &mut Graph, [a, axis, first, by]: [u8; 4]) -> Option<Tensor> {
    let mut a = graph.pick(a);
    let axis = below(axis, a.dims.len());
    let edge = a.dims[axis];
    let indices: Vec<i64> = (0..1 + below(by / 16, 6))
        .map(|i| below(first, edge) + i * below(by, 16))
        .map(|i| (i % edge) as i64 - if by & 1 == 1 { edge as i64 } else { 0 })
        .collect();
    a.dims[axis] = indices.len();
    let indices = graph.writer.shape(&indices);
    Some(graph.writer.node("Gather", &[&a.name, &indices], &[("axis", Int(axis as i64 + 1))], a.dims))
}

/// One of two pieces, their product or their sum.
fn split(graph: &mut Graph, [a, axis, at, which]: [u8; 4]) -> Option<Tensor> {
    let a = graph.pick(a);
    let axis = below(axis, a.dims.len());
    let edge = a.dims[axis];
    if edge < 2 {
        return None;
    }
    let first = if at & 1 == 0 && edge % 2 == 0 { edge / 2 } else { 1 + below(at, edge - 1) };
    let dims = |len: usize| {
        let mut dims = a.dims.clone();
        dims[axis] = len;
        dims
    };
    let lengths = graph.writer.shape(&[first as i64, (edge - first) as i64]);
    let axis = [("axis", Int(axis as i64 + 1))];
    let part = graph.writer.node("Split", &[&a.name, &lengths], &axis, dims(first));
    let rest = graph.writer.beside(dims(edge - first));
    Some(match which % 4 {
        0 => part,
        1 => rest,
        which => {
            let dims = broadcast(&part.dims, &rest.dims)?;
            graph.writer.node(["Mul", "Add"][usize::from(which) - 2], &[&part.name, &rest.name], &[], dims)
        }
    })
}

fn unsqueeze(graph: &mut Graph, [a, axis, ..]: [u8; 4]) -> Option<Tensor> {
    let mut a = graph.pick(a);
    let axis = below(axis, a.dims.len() + 1);
    let axes = graph.writer.shape(&[axis as i64 + 1]);
    if a.dims.get(axis) == Some(&1) && a.dims.len() > 1 {
        a.dims.remove(axis);
        return Some(graph.writer.node("Squeeze", &[&a.name, &axes], &[], a.dims));
    }
    if a.dims.len() > 4 {
        return None;
    }
    a.dims.insert(axis, 1);
    Some(graph.writer.node("Unsqueeze", &[&a.name, &axes], &[], a.dims))
}

fn tile(graph: &mut Graph, [a, axis, times, _]: [u8; 4]) -> Option<Tensor> {
    let mut a = graph.pick(a);
    let axis = below(axis, a.dims.len());
    let times = 1 + below(times, 4);
    let mut repeats = vec![1; a.dims.len() + 1];
    repeats[axis + 1] = times as i64;
    let repeats = graph.writer.shape(&repeats);
    a.dims[axis] *= times;
    Some(graph.writer.node("Tile", &[&a.name, &repeats], &[], a.dims))
}

/// One tensor or another by the noise alone: elsewhere rounding would be a difference.
fn choice(graph: &mut Graph, [kind, a, b, value]: [u8; 4]) -> Option<Tensor> {
    let (a, b) = (graph.pick(a), graph.pick(b));
    let dims = broadcast(&broadcast(&LATENT, &a.dims)?, &b.dims)?;
    let number = graph.writer.scalar(f32::from(value.cast_signed()) / 64.0);
    let kinds = ["Greater", "Less", "GreaterOrEqual", "LessOrEqual"];
    let is = graph.writer.node(one(&kinds, kind), &["x", &number], &[], vec![]);
    Some(graph.writer.node("Where", &[&is.name, &a.name, &b.name], &[], dims))
}

/// The shape of both together, if they go together.
fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let fits = a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b || *a == 1 || *b == 1);
    fits.then(|| a.iter().zip(b).map(|(&a, &b)| a.max(b)).collect())
}
