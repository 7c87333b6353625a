//! A network's file with some of its weights as bytes.

use std::collections::{HashMap, HashSet};

use prost::Message;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::{AttributeProto, ModelProto, NodeProto, StringStringEntryProto, TensorProto};

use super::initializers::{Use, Uses, encoding, external_part};
use super::skeleton::Skeleton;
use crate::allowance::Allowance;
use crate::bundle::{ExternalData, ListedFile, Part, Replacement};
use crate::error::{Context, invalid_bundle, unsupported};
use crate::kernels::{scale_of_bytes, to_byte};
use crate::weights::{Encoding, Weight};
use crate::{Result, memory};

/// The first version of the standard whose `DequantizeLinear` has a scale for each place along an axis.
const OPSET: i64 = 13;
/// Bytes that data outside of a graph starts at a multiple of.
const ALIGNED: usize = 64;
/// Bytes that no message of protobuf can pass.
const LARGEST: usize = i32::MAX as usize;

/// The file with the weights in `chosen` as bytes: a scale for each place along the axis that is given. What is not
/// only multiplied by stays as it is. Gives how many are bytes now, too.
///
/// # Errors
/// `Unsupported`: the file is of an opset before 13, or more than 2 GiB would lie inside. As [`Weight::read`].
pub fn with_bytes(
    file: &ListedFile,
    external: &ExternalData,
    chosen: &HashMap<String, usize>,
    allowance: &Allowance,
) -> Result<(Replacement, usize)> {
    let Skeleton { bytes, cuts } = Skeleton::read(file)?;
    let mut model = super::import::decode(bytes)?;
    let opset =
        model.opset_import.iter().find(|import| import.domain.is_empty()).map_or(0, |import| import.version);
    if opset < OPSET {
        return Err(unsupported(format!(
            "the file uses opset {opset} of ONNX, which has no weights of bytes; export it for {OPSET} or a newer one"
        )));
    }
    let graph = model.graph.as_mut().ok_or_else(|| invalid_bundle("the ONNX file holds no graph"))?;
    let tensors = std::mem::take(&mut graph.initializer);
    let names: Vec<String> = tensors.iter().map(|tensor| tensor.name.clone()).collect();
    let factors: HashMap<&str, usize> = {
        let uses = Uses::new(graph, &names);
        let fits = |tensor: &&TensorProto| match encoding(tensor) {
            Some(Encoding::F32) => true,
            Some(Encoding::F16) => uses.all_are(&tensor.name, "Cast"),
            _ => false,
        };
        let multiplied = |name: &str| uses.against_staying(name, Use::Factor).is_none();
        let named = |tensor: &TensorProto| names.iter().position(|name| *name == tensor.name);
        let found = tensors.iter().filter(fits).filter_map(|tensor| {
            let axis = *chosen.get(&tensor.name)?;
            let name = names[named(tensor)?].as_str();
            multiplied(name).then_some((name, axis))
        });
        found.collect()
    };
    let taken: HashSet<&str> = names.iter().map(String::as_str).collect();
    let mut written = Written { taken, external: format!("{}.int8", file.name()), ..Written::default() };
    let mut cuts: HashMap<usize, Part> = cuts.into_iter().collect();
    for (i, tensor) in tensors.iter().enumerate() {
        allowance.check()?;
        let place = || format!("weight '{}'", tensor.name);
        let outside = external_part(tensor, external).at(place)?;
        let part = outside.clone().or_else(|| cuts.remove(&i));
        match (factors.get(tensor.name.as_str()), part) {
            (Some(&axis), Some(part)) => written.bytes(tensor, &part, axis, outside.is_some())?,
            (_, part) => written.keep(tensor.clone(), part.as_ref(), outside.is_some()).at(place)?,
        }
    }
    let Written { initializers, nodes, data, external, .. } = written;
    let made = nodes.len();
    graph.input.retain(|input| nodes.iter().all(|node| node.output[0] != input.name));
    graph.value_info.retain(|value| nodes.iter().all(|node| node.output[0] != value.name));
    graph.initializer = initializers;
    graph.node.splice(0..0, nodes);
    let graph = encoded(&model)?;
    Ok((Replacement { graph, external: (!data.is_empty()).then_some((external, data)) }, made))
}

fn encoded(model: &ModelProto) -> Result<Vec<u8>> {
    let length = model.encoded_len();
    if length > LARGEST {
        let message =
            format!("its graph would take {length} bytes, more than ONNX allows; keep weights outside of it");
        return Err(unsupported(message));
    }
    let mut bytes = Vec::new();
    memory::reserve(&mut bytes, length)?;
    model.encode(&mut bytes).map_err(|error| invalid_bundle(error.to_string()))?;
    Ok(bytes)
}

/// A graph's initializers as they are written anew.
#[derive(Default)]
struct Written<'a> {
    initializers: Vec<TensorProto>,
    /// What makes weights of bytes.
    nodes: Vec<NodeProto>,
    /// What lies outside of the graph, and the file it goes to.
    data: Vec<u8>,
    external: String,
    /// Names that are used already.
    taken: HashSet<&'a str>,
}

impl Written<'_> {
    /// Adds an initializer as it is.
    fn keep(&mut self, mut tensor: TensorProto, part: Option<&Part>, outside: bool) -> Result<()> {
        if let Some(part) = part {
            let mut bytes = Vec::new();
            part.read(&mut bytes)?;
            self.put(&mut tensor, bytes, outside)?;
        }
        memory::push(&mut self.initializers, tensor)
    }

    /// Gives `tensor` its data: inside, or behind what lies outside already.
    fn put(&mut self, tensor: &mut TensorProto, bytes: Vec<u8>, outside: bool) -> Result<()> {
        (tensor.external_data, tensor.data_location) = (Vec::new(), None);
        if !outside {
            tensor.raw_data = bytes;
            return Ok(());
        }
        let start = self.data.len().next_multiple_of(ALIGNED);
        memory::resize(&mut self.data, start, 0)?;
        memory::grow(&mut self.data, bytes.len())?;
        self.data.extend_from_slice(&bytes);
        let entry = |key: &str, value: String| StringStringEntryProto { key: key.into(), value };
        tensor.external_data = vec![
            entry("location", self.external.clone()),
            entry("offset", start.to_string()),
            entry("length", bytes.len().to_string()),
        ];
        tensor.data_location = Some(DataLocation::External as i32);
        Ok(())
    }

    /// Adds an initializer as bytes, and the node that makes floats of them.
    fn bytes(&mut self, tensor: &TensorProto, part: &Part, axis: usize, outside: bool) -> Result<()> {
        let encoding = encoding(tensor).unwrap_or(Encoding::F32);
        let weight = Weight::new(&tensor.name, encoding, &tensor.dims, part.clone())?;
        let mut stored = Vec::new();
        weight.read(&mut stored)?;
        let mut floats = memory::filled(weight.shape.iter().product(), 0.0)?;
        weight.values(&stored).copy(0, &mut floats);
        let inner: usize = weight.shape[axis + 1..].iter().product();
        let columns = weight.shape[axis];
        let column = |i: usize| i / inner % columns;
        let of = |n: usize| {
            let starts = (0..floats.len()).step_by(columns * inner).map(move |start| start + n * inner);
            starts.flat_map(|start| floats[start..start + inner].iter().copied())
        };
        let scales = memory::collected(columns, (0..columns).map(|n| scale_of_bytes(of(n))))?;
        let rounded = floats.iter().enumerate().map(|(i, &x)| to_byte(x, scales[column(i)]).cast_unsigned());
        let numbers = memory::collected(floats.len(), rounded)?;
        let named = |end: &str, data_type: DataType, dims: Vec<i64>| TensorProto {
            name: self.unused(format!("{}.{end}", tensor.name)),
            data_type: data_type as i32,
            dims,
            ..TensorProto::default()
        };
        let mut whole = named("int8", DataType::Int8, tensor.dims.clone());
        let mut scale = named("scale", DataType::Float, vec![columns as i64]);
        scale.raw_data = scales.iter().flat_map(|x| x.to_le_bytes()).collect();
        let node = NodeProto {
            op_type: "DequantizeLinear".into(),
            name: format!("{}/DequantizeLinear", tensor.name),
            input: vec![whole.name.clone(), scale.name.clone()],
            output: vec![tensor.name.clone()],
            attribute: vec![AttributeProto {
                name: "axis".into(),
                r#type: AttributeType::Int as i32,
                i: axis as i64,
                ..AttributeProto::default()
            }],
            ..NodeProto::default()
        };
        self.put(&mut whole, numbers, outside)?;
        memory::push(&mut self.nodes, node)?;
        memory::push(&mut self.initializers, whole)?;
        memory::push(&mut self.initializers, scale)
    }

    /// `name`, or with as many lines behind it as make it another name than all others.
    fn unused(&self, mut name: String) -> String {
        while self.taken.contains(name.as_str()) {
            name.push('_');
        }
        name
    }
}
