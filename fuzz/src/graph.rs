//! Networks as ONNX files: valid predictors of random operators, and the few of the painter.

use prost::Message;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto};

use crate::proto::{Attribute, port};

/// One operator and its choices; numbers are taken modulo what there is.
#[derive(Debug)]
enum Step {
    Unary(u8, u8),
    Binary(u8, u8, u8),
    Scalar(u8, u8, i8),
    Softmax(u8, u8),
    Reduce(u8, u8, u8),
    Transpose(u8, u8),
    Reshape(u8, u8),
    MatMul(u8, u8),
    Product(u8, u8),
    Conv(u8, u8, u8),
    Slice(u8, u8, u8, u8),
    Concat(u8, u8, u8),
    Pad(u8, u8, u8),
    Normal(u8),
    Resize(u8),
    Class(u8),
}

/// A graph: up to twelve steps.
#[derive(Debug)]
pub struct Plan(Vec<Step>);

/// A tensor of the graph, and its shape without the batch.
#[derive(Clone)]
struct Tensor {
    name: String,
    dims: Vec<usize>,
}

/// The most floats of a tensor.
const MOST: usize = 1 << 13;
/// The answer, without the batch.
const LATENT: [usize; 3] = [4, 8, 16];

#[derive(Default)]
struct Writer {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    tensors: Vec<Tensor>,
}

impl Step {
    fn read(&[kind, a, b, c, d]: &[u8; 5]) -> Self {
        match kind % 16 {
            0 => Self::Unary(a, b),
            1 => Self::Binary(a, b, c),
            2 => Self::Scalar(a, b, c.cast_signed()),
            3 => Self::Softmax(a, b),
            4 => Self::Reduce(a, b, c),
            5 => Self::Transpose(a, b),
            6 => Self::Reshape(a, b),
            7 => Self::MatMul(a, b),
            8 => Self::Product(a, b),
            9 => Self::Conv(a, b, c),
            10 => Self::Slice(a, b, c, d),
            11 => Self::Concat(a, b, c),
            12 => Self::Pad(a, b, c),
            13 => Self::Normal(a),
            14 => Self::Resize(a),
            _ => Self::Class(a),
        }
    }
}

impl Plan {
    /// A step is five bytes: which, and its choices.
    pub fn read(data: &[u8]) -> Self {
        Self(data.as_chunks().0.iter().take(12).map(Step::read).collect())
    }

    /// The ONNX file.
    pub fn write(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.tensors.push(Tensor { name: "x".into(), dims: LATENT.to_vec() });
        let of_time = writer.node("Reshape", &["t", "times"], &[], vec![1, 1, 1]);
        writer.integers("times", &[-1, 1, 1, 1]);
        writer.tensors.push(of_time);
        self.0.iter().for_each(|step| writer.step(step));
        let inputs = [
            port("x", DataType::Float, &[4, 8, 16]),
            port("t", DataType::Float, &[]),
            port("y", DataType::Int64, &[]),
        ];
        writer.answer().file(&inputs, ("velocity", &[4, 8, 16]))
    }
}

impl Writer {
    fn pick(&self, number: u8) -> Tensor {
        self.tensors[usize::from(number) % self.tensors.len()].clone()
    }

    fn node(
        &mut self,
        operator: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute)],
        dims: Vec<usize>,
    ) -> Tensor {
        let name = format!("v{}", self.nodes.len());
        self.nodes.push(NodeProto {
            op_type: operator.into(),
            name: format!("n{}", self.nodes.len()),
            input: inputs.iter().map(|&input| input.into()).collect(),
            output: vec![name.clone()],
            attribute: attributes.iter().map(|(name, value)| value.proto(name)).collect(),
            ..NodeProto::default()
        });
        Tensor { name, dims }
    }

    fn integers(&mut self, name: &str, values: &[i64]) {
        self.constants.push(TensorProto {
            name: name.into(),
            data_type: DataType::Int64 as i32,
            dims: vec![values.len() as i64],
            int64_data: values.to_vec(),
            ..TensorProto::default()
        });
    }

    /// Repeatable numbers in ±`size`.
    fn floats(&mut self, dims: &[usize], size: f32) -> String {
        let name = format!("c{}", self.constants.len());
        let mut state = 0x9E37_79B9_u32.wrapping_mul(self.constants.len() as u32 + 1) | 1;
        let float_data = (0..dims.iter().product())
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                (state as f32 / u32::MAX as f32 * 2.0 - 1.0) * size
            })
            .collect();
        self.constants.push(TensorProto {
            name: name.clone(),
            data_type: DataType::Float as i32,
            dims: dims.iter().map(|&n| n as i64).collect(),
            float_data,
            ..TensorProto::default()
        });
        name
    }

    fn shape(&mut self, values: &[i64]) -> String {
        let name = format!("i{}", self.constants.len());
        self.integers(&name, values);
        name
    }

    fn step(&mut self, step: &Step) {
        let made = match *step {
            Step::Unary(kind, a) => {
                let kinds = [
                    "Neg",
                    "Abs",
                    "Tanh",
                    "Sigmoid",
                    "Relu",
                    "Erf",
                    "Sin",
                    "Cos",
                    "Softplus",
                    "Floor",
                    "HardSwish",
                    "LeakyRelu",
                    "Identity",
                    "Sign",
                    "Elu",
                    "Ceil",
                    "Round",
                ];
                let kind = kinds[usize::from(kind) % kinds.len()];
                // Where these jump, rounding would be a difference: of the noise alone.
                let jumps = ["Floor", "Sign", "Ceil", "Round"].contains(&kind);
                let a = if jumps { self.tensors[0].clone() } else { self.pick(a) };
                self.node(kind, &[&a.name], &[], a.dims)
            }
            Step::Binary(kind, a, b) => {
                let (a, b) = (self.pick(a), self.pick(b));
                let Some(dims) = broadcast(&a.dims, &b.dims) else { return };
                let kinds = ["Add", "Sub", "Mul", "Max", "Min"];
                self.node(kinds[usize::from(kind) % kinds.len()], &[&a.name, &b.name], &[], dims)
            }
            Step::Scalar(kind, a, value) => {
                let a = self.pick(a);
                let name = format!("c{}", self.constants.len());
                self.constants.push(TensorProto {
                    name: name.clone(),
                    data_type: DataType::Float as i32,
                    float_data: vec![f32::from(value) / 16.0],
                    ..TensorProto::default()
                });
                let kinds = ["Add", "Sub", "Mul", "Max", "Min"];
                let kind = kinds[usize::from(kind) % kinds.len()];
                self.node(kind, &[&a.name, &name], &[], a.dims)
            }
            Step::Softmax(a, axis) => {
                let a = self.pick(a);
                let axis = 1 + i64::from(axis) % a.dims.len() as i64;
                self.node("Softmax", &[&a.name], &[("axis", Attribute::Int(axis))], a.dims)
            }
            Step::Reduce(kind, a, axes) => {
                let a = self.pick(a);
                let axes: Vec<i64> =
                    (0..a.dims.len() as i64).filter(|i| axes >> i & 1 == 1).map(|i| i + 1).collect();
                if axes.is_empty() {
                    return;
                }
                let mut dims = a.dims.clone();
                axes.iter().for_each(|&axis| dims[axis as usize - 1] = 1);
                let kinds = ["ReduceMean", "ReduceSum", "ReduceMax", "ReduceL2", "ReduceMin"];
                let axes = self.shape(&axes);
                let attributes = [("keepdims", Attribute::Int(1))];
                self.node(kinds[usize::from(kind) % kinds.len()], &[&a.name, &axes], &attributes, dims)
            }
            Step::Transpose(a, seed) => {
                let a = self.pick(a);
                let mut perm: Vec<usize> = (0..a.dims.len()).collect();
                perm.rotate_left(usize::from(seed) % a.dims.len());
                if seed & 64 != 0 {
                    perm.reverse();
                }
                let dims = perm.iter().map(|&axis| a.dims[axis]).collect();
                let perm = [0].into_iter().chain(perm.iter().map(|&axis| axis as i64 + 1)).collect();
                self.node("Transpose", &[&a.name], &[("perm", Attribute::Ints(perm))], dims)
            }
            Step::Reshape(a, seed) => {
                let a = self.pick(a);
                let all: usize = a.dims.iter().product();
                let parts = [2, 4, 8, 16][usize::from(seed) % 4];
                let dims = if all % parts == 0 { vec![all / parts, parts] } else { vec![all] };
                let dims = if seed & 128 != 0 { vec![1, dims.iter().product()] } else { dims };
                let shape: Vec<i64> = [-1].into_iter().chain(dims.iter().map(|&n| n as i64)).collect();
                let shape = self.shape(&shape);
                self.node("Reshape", &[&a.name, &shape], &[], dims)
            }
            Step::MatMul(a, cols) => {
                let a = self.pick(a);
                let (k, cols) = (a.dims[a.dims.len() - 1], 1 + usize::from(cols) % 40);
                if k * cols > MOST {
                    return;
                }
                let weights = self.floats(&[k, cols], 0.3);
                let mut dims = a.dims.clone();
                *dims.last_mut().unwrap() = cols;
                self.node("MatMul", &[&a.name, &weights], &[], dims)
            }
            Step::Product(a, b) => {
                let (a, b) = (self.pick(a), self.pick(b));
                let (&[.., rows, k], &[.., depth, cols]) = (a.dims.as_slice(), b.dims.as_slice()) else {
                    return;
                };
                if k != depth
                    || a.dims.len() != b.dims.len()
                    || a.dims[..a.dims.len() - 2] != b.dims[..b.dims.len() - 2]
                {
                    return;
                }
                let mut dims = a.dims[..a.dims.len() - 2].to_vec();
                dims.extend([rows, cols]);
                self.node("MatMul", &[&a.name, &b.name], &[], dims)
            }
            Step::Conv(a, channels, kind) => {
                let a = self.pick(a);
                let &[c, h, w] = a.dims.as_slice() else { return };
                let (out, size, stride) = (
                    1 + usize::from(channels) % 12,
                    1 + usize::from(kind) % 3,
                    1 + usize::from(kind / 4) % 2,
                );
                let pad = usize::from(kind / 16) % 2;
                if h + 2 * pad < size || w + 2 * pad < size {
                    return;
                }
                let weights = self.floats(&[out, c, size, size], 0.2);
                let ints = |value: usize, count: usize| Attribute::Ints(vec![value as i64; count]);
                let along = |n: usize| (n + 2 * pad - size) / stride + 1;
                let attributes = [("pads", ints(pad, 4)), ("strides", ints(stride, 2))];
                self.node("Conv", &[&a.name, &weights], &attributes, vec![out, along(h), along(w)])
            }
            Step::Slice(a, axis, start, len) => {
                let a = self.pick(a);
                let axis = usize::from(axis) % a.dims.len();
                let start = usize::from(start) % a.dims[axis];
                let len = 1 + usize::from(len) % (a.dims[axis] - start);
                let mut dims = a.dims.clone();
                dims[axis] = len;
                let [from, to] = [start, start + len].map(|n| self.shape(&[n as i64]));
                let axes = self.shape(&[axis as i64 + 1]);
                self.node("Slice", &[&a.name, &from, &to, &axes], &[], dims)
            }
            Step::Concat(a, b, axis) => {
                let (a, b) = (self.pick(a), self.pick(b));
                let axis = usize::from(axis) % a.dims.len();
                let fits = a.dims.len() == b.dims.len()
                    && (0..a.dims.len()).all(|i| i == axis || a.dims[i] == b.dims[i]);
                if !fits {
                    return;
                }
                let mut dims = a.dims.clone();
                dims[axis] += b.dims[axis];
                self.node("Concat", &[&a.name, &b.name], &[("axis", Attribute::Int(axis as i64 + 1))], dims)
            }
            Step::Pad(a, axis, by) => {
                let a = self.pick(a);
                let axis = usize::from(axis) % a.dims.len();
                let (before, after) = (usize::from(by) % 3, usize::from(by / 3) % 3);
                let mut pads = vec![0; 2 * (a.dims.len() + 1)];
                (pads[axis + 1], pads[a.dims.len() + 1 + axis + 1]) = (before as i64, after as i64);
                let mut dims = a.dims.clone();
                dims[axis] += before + after;
                let pads = self.shape(&pads);
                self.node("Pad", &[&a.name, &pads], &[], dims)
            }
            Step::Normal(a) => {
                let a = self.pick(a);
                let width = a.dims[a.dims.len() - 1];
                let (scale, bias) = (self.floats(&[width], 1.0), self.floats(&[width], 1.0));
                self.node(
                    "LayerNormalization",
                    &[&a.name, &scale, &bias],
                    &[("axis", Attribute::Int(-1))],
                    a.dims,
                )
            }
            Step::Resize(a) => {
                let a = self.pick(a);
                let &[c, h, w] = a.dims.as_slice() else { return };
                self.enlarge(&a.name, 2.0, vec![c, 2 * h, 2 * w])
            }
            Step::Class(width) => {
                let width = 1 + usize::from(width) % 20;
                let table = self.floats(&[3, width], 1.0);
                self.node("Gather", &[&table, "y"], &[("axis", Attribute::Int(0))], vec![width])
            }
        };
        if made.dims.iter().product::<usize>() <= MOST {
            self.tensors.push(made);
        } else {
            self.nodes.pop();
        }
    }

    /// Brings the last tensor to the answer's shape: adds up its runs of so many floats, the last one filled with
    /// zeros.
    fn answer(mut self) -> Self {
        let last = self.tensors[self.tensors.len() - 1].clone();
        let (all, one) = (last.dims.iter().product::<usize>(), LATENT.iter().product::<usize>());
        let runs = all.div_ceil(one);
        let shapes = [
            vec![-1, all as i64],
            vec![0, 0, 0, (runs * one - all) as i64],
            vec![-1, runs as i64, one as i64],
        ];
        let [flat, pads, table] = shapes.map(|shape| self.shape(&shape));
        let (axis, image) = (self.shape(&[1]), self.shape(&[-1, 4, 8, 16]));
        let mut rows = self.node("Reshape", &[&last.name, &flat], &[], vec![all]);
        if all != runs * one {
            rows = self.node("Pad", &[&rows.name, &pads], &[], vec![runs * one]);
        }
        let rows = self.node("Reshape", &[&rows.name, &table], &[], vec![runs, one]);
        let sums =
            self.node("ReduceSum", &[&rows.name, &axis], &[("keepdims", Attribute::Int(0))], vec![one]);
        self.node("Reshape", &[&sums.name, &image], &[], LATENT.to_vec());
        self
    }

    /// The ONNX file; the last node makes the output.
    fn file(mut self, inputs: &[ValueInfoProto], output: (&str, &[i64])) -> Vec<u8> {
        self.nodes.last_mut().unwrap().output = vec![output.0.into()];
        let graph = GraphProto {
            name: "fuzzed".into(),
            node: self.nodes,
            input: inputs.to_vec(),
            output: vec![port(output.0, DataType::Float, output.1)],
            initializer: self.constants,
            ..GraphProto::default()
        };
        let opset = OperatorSetIdProto { version: 18, ..Default::default() };
        ModelProto { ir_version: 8, opset_import: vec![opset], graph: Some(graph), ..ModelProto::default() }
            .encode_to_vec()
    }

    /// A convolution with a square kernel; strides are as large as `stride`, borders are filled up.
    fn conv(&mut self, of: &str, [inputs, outputs]: [usize; 2], size: usize, stride: usize) -> Tensor {
        let weights = self.floats(&[outputs, inputs, size, size], 1.0 / size as f32);
        let ints = |value: usize, count: usize| Attribute::Ints(vec![value as i64; count]);
        let attributes = [("pads", ints((size - stride) / 2, 4)), ("strides", ints(stride, 2))];
        self.node("Conv", &[of, &weights], &attributes, vec![])
    }

    /// Columns and rows, so many times.
    fn enlarge(&mut self, of: &str, times: f32, dims: Vec<usize>) -> Tensor {
        let scales = format!("c{}", self.constants.len());
        self.constants.push(TensorProto {
            name: scales.clone(),
            data_type: DataType::Float as i32,
            dims: vec![4],
            float_data: vec![1.0, 1.0, times, times],
            ..TensorProto::default()
        });
        let attributes = [
            ("mode", Attribute::Text("nearest")),
            ("coordinate_transformation_mode", Attribute::Text("asymmetric")),
            ("nearest_mode", Attribute::Text("floor")),
        ];
        self.node("Resize", &[of, "", &scales], &attributes, dims)
    }
}

/// A network of the painter.
#[derive(Clone, Copy)]
pub enum Net {
    Predictor,
    Refiner,
    Decoder,
    Encoder,
}

impl Net {
    pub fn write(self) -> Vec<u8> {
        let mut writer = Writer::default();
        let float = |name: &str, image: &[i64]| port(name, DataType::Float, image);
        let (latent, image) = ([4, 4, 4], [3, 32, 32]);
        let (mut inputs, output) = match self {
            Self::Predictor => (vec![float("x", &latent)], ("velocity", &latent[..])),
            Self::Refiner => (vec![float("x", &latent), float("v", &latent)], ("offset", &latent[..])),
            Self::Decoder => {
                let large = writer.enlarge("latent", 8.0, vec![]);
                let colours = writer.conv(&large.name, [4, 3], 3, 1);
                writer.node("Tanh", &[&colours.name], &[], vec![]);
                return writer.file(&[float("latent", &latent)], ("image", &image));
            }
            Self::Encoder => {
                writer.conv("image", [3, 4], 8, 8);
                return writer.file(&[float("image", &image)], ("latent", &latent));
            }
        };
        let seen = if inputs.len() == 1 {
            "x".to_owned()
        } else {
            writer.node("Add", &["x", "v"], &[], vec![]).name
        };
        writer.integers("image", &[-1, 4, 1, 1]);
        writer.integers("times", &[-1, 1, 1, 1]);
        let table = writer.floats(&[4, 4], 1.0);
        let class = writer.node("Gather", &[&table, "y"], &[("axis", Attribute::Int(0))], vec![]);
        let class = writer.node("Reshape", &[&class.name, "image"], &[], vec![]);
        let time = writer.node("Reshape", &["t", "times"], &[], vec![]);
        let mixed = writer.conv(&seen, [4, 4], 3, 1);
        let mixed = writer.node("Mul", &[&mixed.name, &time.name], &[], vec![]);
        writer.node("Add", &[&mixed.name, &class.name], &[], vec![]);
        inputs.extend([float("t", &[]), port("y", DataType::Int64, &[])]);
        writer.file(&inputs, output)
    }
}

/// The shape of both together, if they go together.
fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let fits = a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b || *a == 1 || *b == 1);
    fits.then(|| a.iter().zip(b).map(|(&a, &b)| a.max(b)).collect())
}
