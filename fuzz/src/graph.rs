//! Valid predictors of random operators.

use arbitrary::{Arbitrary, Unstructured};
use prost::Message;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension::Value as Dim};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, type_proto,
};

/// One operator and its choices; numbers are taken modulo what there is.
#[derive(Arbitrary, Debug)]
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
#[derive(Arbitrary, Debug)]
pub struct Plan(Vec<Step>);

/// A tensor of the graph, and its shape without the batch.
#[derive(Clone)]
struct Tensor {
    name: String,
    dims: Vec<usize>,
}

/// The most floats of a tensor.
const MOST: usize = 1 << 13;

#[derive(Default)]
struct Writer {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    tensors: Vec<Tensor>,
}

impl Plan {
    pub fn read(data: &[u8]) -> Option<Self> {
        Unstructured::new(data).arbitrary().ok()
    }

    /// The ONNX file.
    pub fn write(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.tensors.push(Tensor { name: "x".into(), dims: vec![4, 8, 16] });
        let of_time = writer.node("Reshape", &["t", "times"], &[], vec![1, 1, 1]);
        writer.integers("times", &[-1, 1, 1, 1]);
        writer.tensors.push(of_time);
        self.0.iter().take(12).for_each(|step| writer.step(step));
        writer.finish()
    }
}

impl Writer {
    fn pick(&self, number: u8) -> Tensor {
        self.tensors[usize::from(number) % self.tensors.len()].clone()
    }

    fn node(&mut self, operator: &str, inputs: &[&str], attributes: &[(&str, Attribute)], dims: Vec<usize>) -> Tensor {
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
                let a = self.pick(a);
                let kinds = [
                    "Neg", "Abs", "Tanh", "Sigmoid", "Relu", "Erf", "Sin", "Cos", "Softplus", "Floor", "HardSwish",
                    "LeakyRelu", "Identity", "Sign", "Elu",
                ];
                self.node(kinds[usize::from(kind) % kinds.len()], &[&a.name], &[], a.dims)
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
                let axes: Vec<i64> = (0..a.dims.len() as i64).filter(|i| axes >> i & 1 == 1).map(|i| i + 1).collect();
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
                let weights = self.floats(&[k, cols], 0.3);
                let mut dims = a.dims.clone();
                *dims.last_mut().unwrap() = cols;
                self.node("MatMul", &[&a.name, &weights], &[], dims)
            }
            Step::Product(a, b) => {
                let (a, b) = (self.pick(a), self.pick(b));
                let (&[.., rows, k], &[.., depth, cols]) = (a.dims.as_slice(), b.dims.as_slice()) else { return };
                if k != depth || a.dims.len() != b.dims.len() || a.dims[..a.dims.len() - 2] != b.dims[..b.dims.len() - 2] {
                    return;
                }
                let mut dims = a.dims[..a.dims.len() - 2].to_vec();
                dims.extend([rows, cols]);
                self.node("MatMul", &[&a.name, &b.name], &[], dims)
            }
            Step::Conv(a, channels, kind) => {
                let a = self.pick(a);
                let &[c, h, w] = a.dims.as_slice() else { return };
                let (out, size, stride) = (1 + usize::from(channels) % 12, 1 + usize::from(kind) % 3, 1 + usize::from(kind / 4) % 2);
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
                let fits = a.dims.len() == b.dims.len() && (0..a.dims.len()).all(|i| i == axis || a.dims[i] == b.dims[i]);
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
                self.node("LayerNormalization", &[&a.name, &scale, &bias], &[("axis", Attribute::Int(-1))], a.dims)
            }
            Step::Resize(a) => {
                let a = self.pick(a);
                let &[c, h, w] = a.dims.as_slice() else { return };
                let scales = format!("c{}", self.constants.len());
                self.constants.push(TensorProto {
                    name: scales.clone(),
                    data_type: DataType::Float as i32,
                    dims: vec![4],
                    float_data: vec![1.0, 1.0, 2.0, 2.0],
                    ..TensorProto::default()
                });
                let attributes = [
                    ("mode", Attribute::Text("nearest")),
                    ("coordinate_transformation_mode", Attribute::Text("asymmetric")),
                    ("nearest_mode", Attribute::Text("floor")),
                ];
                self.node("Resize", &[&a.name, "", &scales], &attributes, vec![c, 2 * h, 2 * w])
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

    /// Brings the last tensor to the answer's shape.
    fn finish(mut self) -> Vec<u8> {
        let last = self.tensors[self.tensors.len() - 1].clone();
        let all: usize = last.dims.iter().product();
        let (flat, image) = (self.shape(&[-1, all as i64]), self.shape(&[-1, 4, 8, 16]));
        let weights = self.floats(&[all, 512], 1.0 / (all as f32).sqrt());
        let rows = self.node("Reshape", &[&last.name, &flat], &[], vec![all]);
        let mixed = self.node("MatMul", &[&rows.name, &weights], &[], vec![512]);
        self.node("Reshape", &[&mixed.name, &image], &[], vec![4, 8, 16]);
        self.nodes.last_mut().unwrap().output = vec!["velocity".into()];
        let graph = GraphProto {
            name: "fuzzed".into(),
            node: self.nodes,
            input: vec![
                port("x", DataType::Float, &[4, 8, 16]),
                port("t", DataType::Float, &[]),
                port("y", DataType::Int64, &[]),
            ],
            output: vec![port("velocity", DataType::Float, &[4, 8, 16])],
            initializer: self.constants,
            ..GraphProto::default()
        };
        let opset = OperatorSetIdProto { version: 18, ..Default::default() };
        ModelProto { ir_version: 8, opset_import: vec![opset], graph: Some(graph), ..ModelProto::default() }.encode_to_vec()
    }
}

/// The shape of both together, if they go together.
fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let fits = a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b || *a == 1 || *b == 1);
    fits.then(|| a.iter().zip(b).map(|(&a, &b)| a.max(b)).collect())
}

enum Attribute {
    Int(i64),
    Ints(Vec<i64>),
    Text(&'static str),
}

impl Attribute {
    fn proto(&self, name: &str) -> AttributeProto {
        let proto = AttributeProto { name: name.into(), ..AttributeProto::default() };
        match self {
            Self::Int(i) => AttributeProto { r#type: AttributeType::Int as i32, i: *i, ..proto },
            Self::Ints(ints) => AttributeProto { r#type: AttributeType::Ints as i32, ints: ints.clone(), ..proto },
            Self::Text(text) => AttributeProto { r#type: AttributeType::String as i32, s: (*text).into(), ..proto },
        }
    }
}

/// A tensor of any number of images.
fn port(name: &str, kind: DataType, image: &[i64]) -> ValueInfoProto {
    let dimension = |value| Dimension { value: Some(value), ..Default::default() };
    let batch = std::iter::once(Dim::DimParam("N".into()));
    let dim = batch.chain(image.iter().map(|&n| Dim::DimValue(n))).map(dimension).collect();
    let tensor = type_proto::Tensor { elem_type: kind as i32, shape: Some(TensorShapeProto { dim }) };
    let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.into(), r#type: Some(kind), ..Default::default() }
}
