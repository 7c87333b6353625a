//! Changes an ONNX file where it counts: bytes changed at random are hardly ever a file.

use prost::Message;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dim;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto, type_proto};

const OPERATORS: [&str; 60] = [
    "Add",
    "ArgMax",
    "Attention",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "Ceil",
    "Clip",
    "Concat",
    "Conv",
    "ConvTranspose",
    "CumSum",
    "DepthToSpace",
    "Div",
    "Einsum",
    "Erf",
    "Expand",
    "Flatten",
    "Gather",
    "GatherElements",
    "GatherND",
    "Gelu",
    "Gemm",
    "GlobalAveragePool",
    "GroupNormalization",
    "HardSigmoid",
    "InstanceNormalization",
    "LayerNormalization",
    "LeakyRelu",
    "MatMul",
    "Max",
    "MaxPool",
    "Mod",
    "Mul",
    "OneHot",
    "PRelu",
    "Pad",
    "Pow",
    "ReduceL2",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceSum",
    "Reshape",
    "Resize",
    "ScatterElements",
    "ScatterND",
    "Shape",
    "Sigmoid",
    "Slice",
    "Softmax",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Tile",
    "TopK",
    "Transpose",
    "Trilu",
    "Unsqueeze",
    "Where",
];
const INTEGERS: [i64; 16] = [0, 1, 2, 3, 4, 5, 7, 8, -1, -2, -3, -4, 16, 1 << 31, i64::MAX, i64::MIN];
const FLOATS: [f32; 10] = [0.0, 1.0, -1.0, 0.5, 2.0, 1e-5, 1e9, -0.0, f32::NAN, f32::INFINITY];

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % most.max(1)
    }

    fn one<'a, T>(&mut self, of: &'a mut [T]) -> Option<&'a mut T> {
        let i = self.below(of.len());
        of.get_mut(i)
    }

    /// Near to what it was, or one of those that are often special.
    fn integer(&mut self, known: i64) -> i64 {
        match self.below(3) {
            0 => known.wrapping_add(1),
            1 => known.wrapping_sub(1),
            _ => INTEGERS[self.below(INTEGERS.len())],
        }
    }

    fn float(&mut self, known: f32) -> f32 {
        match self.below(3) {
            0 => -known,
            1 => known * 1.5,
            _ => FLOATS[self.below(FLOATS.len())],
        }
    }
}

/// The file with one to three changes, or none if it cannot be read.
pub fn mutate(file: &[u8], seed: u32) -> Option<Vec<u8>> {
    let mut model = ModelProto::decode(file).ok()?;
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15 ^ u64::from(seed) << 20 | 1);
    dice.below(1);
    for _ in 0..=dice.below(3) {
        if dice.below(16) == 0 {
            let opset = dice.one(&mut model.opset_import)?;
            opset.version = dice.integer(opset.version);
        } else {
            change(model.graph.as_mut()?, &mut dice);
        }
    }
    Some(model.encode_to_vec())
}

fn change(graph: &mut GraphProto, dice: &mut Dice) -> Option<()> {
    match dice.below(16) {
        0 => {
            let i = dice.below(graph.node.len());
            let node = graph.node.get(i)?.clone();
            let doubled =
                NodeProto { output: node.output.iter().map(|name| format!("{name}_")).collect(), ..node };
            graph.node.insert(i, doubled);
        }
        1 => {
            let i = dice.below(graph.node.len());
            (i < graph.node.len()).then(|| graph.node.remove(i))?;
        }
        2..5 => weight(dice.one(&mut graph.initializer)?, dice)?,
        5 => {
            let port = dice.one(&mut graph.input)?;
            let Some(type_proto::Value::TensorType(tensor)) = &mut port.r#type.as_mut()?.value else {
                return None;
            };
            let dim = dice.one(&mut tensor.shape.as_mut()?.dim)?;
            if let Some(Dim::DimValue(n)) = &mut dim.value {
                *n = 1 + dice.below(8) as i64;
            }
        }
        6..9 => {
            let made = graph.node.iter().flat_map(|node| &node.output);
            let weights = graph.initializer.iter().map(|tensor| &tensor.name);
            let inputs = graph.input.iter().map(|input| &input.name);
            let mut names: Vec<String> = made.chain(weights).chain(inputs).cloned().collect();
            names.push(String::new());
            let node = dice.one(&mut graph.node)?;
            let name = dice.one(&mut names)?.clone();
            match dice.below(4) {
                0 => node.input.push(name),
                1 => drop(node.input.pop()?),
                _ => *dice.one(&mut node.input)? = name,
            }
        }
        9..11 => dice.one(&mut graph.node)?.op_type = OPERATORS[dice.below(OPERATORS.len())].to_owned(),
        _ => attribute(dice.one(&mut graph.node)?, dice)?,
    }
    Some(())
}

fn attribute(node: &mut NodeProto, dice: &mut Dice) -> Option<()> {
    if dice.below(6) == 0 {
        let i = dice.below(node.attribute.len());
        (i < node.attribute.len()).then(|| node.attribute.remove(i))?;
        return Some(());
    }
    let attribute = dice.one(&mut node.attribute)?;
    if let Some(tensor) = &mut attribute.t {
        return weight(tensor, dice);
    }
    if let Some(graph) = &mut attribute.g {
        return change(graph, dice);
    }
    if !attribute.ints.is_empty() {
        match dice.below(4) {
            0 => drop(attribute.ints.pop()),
            1 => attribute.ints.push(INTEGERS[dice.below(INTEGERS.len())]),
            _ => {
                let i = dice.one(&mut attribute.ints)?;
                *i = dice.integer(*i);
            }
        }
    } else if !attribute.floats.is_empty() {
        let f = dice.one(&mut attribute.floats)?;
        *f = dice.float(*f);
    } else if !attribute.s.is_empty() {
        const TEXTS: [&str; 12] = [
            "",
            "linear",
            "cubic",
            "nearest",
            "align_corners",
            "asymmetric",
            "edge",
            "reflect",
            "SAME_UPPER",
            "CRD",
            "reverse",
            "tanh",
        ];
        attribute.s = TEXTS[dice.below(TEXTS.len())].into();
    } else if attribute.f != 0.0 {
        attribute.f = dice.float(attribute.f);
    } else {
        attribute.i = dice.integer(attribute.i);
    }
    Some(())
}

fn weight(tensor: &mut TensorProto, dice: &mut Dice) -> Option<()> {
    if dice.below(6) == 0 {
        let dim = dice.one(&mut tensor.dims)?;
        *dim = dice.integer(*dim);
        return Some(());
    }
    let (float, integer) = (DataType::Float as i32, DataType::Int64 as i32);
    if let Some(i) = dice.one(&mut tensor.int64_data) {
        *i = dice.integer(*i);
    } else if let Some(f) = dice.one(&mut tensor.float_data) {
        *f = dice.float(*f);
    } else if tensor.data_type == float || tensor.data_type == integer {
        let bytes = &mut tensor.raw_data;
        let size = if tensor.data_type == float { 4 } else { 8 };
        let start = dice.below(bytes.len() / size) * size;
        let place = bytes.get_mut(start..start + size)?;
        if let Ok(known) = <[u8; 4]>::try_from(&*place) {
            place.copy_from_slice(&dice.float(f32::from_le_bytes(known)).to_le_bytes());
        } else if let Ok(known) = <[u8; 8]>::try_from(&*place) {
            place.copy_from_slice(&dice.integer(i64::from_le_bytes(known)).to_le_bytes());
        }
    } else {
        tensor.data_type = dice.below(17) as i32;
    }
    Some(())
}
