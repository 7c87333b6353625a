//! Weights that a graph stores as whole numbers: `DequantizeLinear` of initializers alone.
//!
//! tract would make floats of them while importing. Here the node goes, and what it made is a weight that stays in its
//! file, with its scales; where tract needs the values, or nothing is multiplied by it, an initializer of floats.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tract_onnx::pb::{GraphProto, NodeProto, TensorProto, tensor_proto};

use super::names::told_apart;
use super::standard::{self, check_tensor};
use crate::allowance::Allowance;
use crate::bundle::Part;
use crate::error::{Context, invalid_bundle};
use crate::kernels::{Scales, Whole};
use crate::weights::{Weight, numbers};
use crate::{Result, memory};

/// The standard's numbers of the types that tract does not know.
const UINT4: i32 = 21;
const INT4: i32 = 22;

/// A weight of whole numbers, by the name of the node's output.
pub(super) struct Dequantized {
    name: String,
    shape: Vec<usize>,
    scales: Arc<Scales>,
    part: Part,
    /// Bytes of memory that it takes: its scales, and its numbers where they were inside the graph.
    held: u64,
}

/// Initializers by their names, each with the part of a file that its data is if that is not in it.
type Initializers<'a> = HashMap<&'a str, Option<(&'a TensorProto, Option<&'a Part>)>>;

/// Takes the nodes out of `graph` that make weights of whole numbers in `tensors`, whose data lies in `parts` where it
/// is not in them; gives what they made, and the names of those initializers. Adds to `bytes`, as far as `allowance`
/// lets it, what that takes in memory.
///
/// # Errors
/// Name the node that breaks the standard, or the initializer whose data is not there.
pub(super) fn take_out(
    graph: &mut GraphProto,
    (tensors, parts): (&[TensorProto], &[Option<Part>]),
    bytes: &mut u64,
    allowance: &Allowance,
) -> Result<(Vec<Dequantized>, HashSet<String>)> {
    let (mut found, mut spent, mut taken) = (Vec::new(), HashSet::new(), HashSet::new());
    let outputs: HashSet<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    let initializers: Initializers = told_apart(
        tensors.iter().zip(parts).map(|(tensor, part)| (tensor.name.as_str(), (tensor, part.as_ref()))),
    );
    for (i, node) in graph.node.iter().enumerate().filter(|(_, node)| node.op_type == "DequantizeLinear") {
        allowance.check()?;
        let output = node.output.first().filter(|name| !outputs.contains(name.as_str()));
        let Some(output) = output else { continue };
        if let Some(weight) = dequantized(node, output, &initializers).at(|| standard::place(node))? {
            *bytes += weight.held;
            allowance.weights(*bytes)?;
            memory::push(&mut found, weight)?;
            spent.extend(node.input.iter().cloned());
            taken.insert(i);
        }
    }
    let mut at = 0..;
    graph.node.retain(|_| at.next().is_none_or(|i| !taken.contains(&i)));
    Ok((found, spent))
}

/// What `node` makes of initializers; none if that is nothing known here.
fn dequantized(node: &NodeProto, output: &str, initializers: &Initializers) -> Result<Option<Dequantized>> {
    let operand = |place: usize| node.input.get(place).filter(|name| !name.is_empty());
    let of = |place: usize| operand(place).and_then(|name| *initializers.get(name.as_str())?);
    let (Some((x, x_part)), Some((scale, scale_part)), zero) = (of(0), of(1), of(2)) else { return Ok(None) };
    let Some(whole) = whole(x) else { return Ok(None) };
    let float = tensor_proto::DataType::Float as i32;
    let output_type = attribute(node, "output_dtype").unwrap_or(0);
    let alike =
        zero.is_none_or(|(zero, _)| zero.data_type == x.data_type) && zero.is_some() == operand(2).is_some();
    if scale.data_type != float || !alike || (output_type != 0 && output_type != i64::from(float)) {
        return Ok(None);
    }
    let sizes = |tensor: &TensorProto| -> Result<Vec<usize>> {
        let sizes = tensor.dims.iter().map(|&n| usize::try_from(n).ok()).collect::<Option<Vec<usize>>>();
        let message = || invalid_bundle(format!("has the shape {:?}, which no tensor can have", tensor.dims));
        sizes.ok_or_else(message).at(|| format!("weight '{}'", tensor.name))
    };
    let (shape, of_scale) = (sizes(x)?, sizes(scale)?);
    if let Some((zero, _)) = zero {
        standard::zero_point(&sizes(zero)?, &of_scale)?;
    }
    let (along, block) = (attribute(node, "axis").unwrap_or(1), attribute(node, "block_size").unwrap_or(0));
    let sharing = standard::scales_along(&shape, &of_scale, along, block)?;
    if let Some(part) = x_part {
        held(x, part.length(), |count| Some(whole.bytes(count)))?;
    }
    let scales = floats(scale, scale_part)?;
    let mut zeros = Vec::new();
    if let Some((zero, part)) = zero {
        let bytes = stored(zero, part, whole)?;
        let count = scales.len();
        zeros = memory::collected(count, (0..count).map(|i| whole.get(&bytes, i) as i16))?;
        if zeros.iter().all(|&zero| zero == 0) {
            zeros.clear();
        }
    }
    let part = match x_part {
        Some(part) => part.clone(),
        None => Part::of_bytes(&x.name, stored(x, None, whole)?),
    };
    let numbers = if x_part.is_none() { part.length() } else { 0 };
    let held = numbers + (size_of_val(&scales[..]) + size_of_val(&zeros[..])) as u64;
    let scales = Arc::new(Scales::new(whole, &shape, sharing, scales, zeros));
    Ok(Some(Dequantized { name: output.to_owned(), shape, scales, part, held }))
}

impl Dequantized {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Bytes in its file.
    pub(super) fn length(&self) -> u64 {
        self.part.length()
    }

    pub(super) fn weight(self) -> Result<Weight> {
        Weight::scaled(&self.name, self.scales, &self.shape, self.part)
    }

    /// The input, or the initializer, that stands for it: a tensor of floats.
    pub(super) fn tensor(&self) -> TensorProto {
        TensorProto {
            name: self.name.clone(),
            data_type: tensor_proto::DataType::Float as i32,
            dims: self.shape.iter().map(|&n| n as i64).collect(),
            ..TensorProto::default()
        }
    }

    /// Bytes of the floats that it stands for.
    pub(super) fn widened(&self) -> u64 {
        self.shape.iter().fold(4, |bytes, &n| bytes.saturating_mul(n as u64))
    }

    /// An initializer of what the node made.
    pub(super) fn floats(self) -> Result<TensorProto> {
        let tensor = self.tensor();
        let weight = self.weight()?;
        let mut bytes = Vec::new();
        weight.read(&mut bytes)?;
        let mut floats = memory::filled(tensor.dims.iter().product::<i64>() as usize, 0.0)?;
        weight.values(&bytes).copy(0, &mut floats);
        let mut raw_data = Vec::new();
        memory::reserve(&mut raw_data, size_of_val(&floats[..]))?;
        raw_data.extend(floats.iter().flat_map(|x| x.to_le_bytes()));
        Ok(TensorProto { raw_data, ..tensor })
    }
}

pub(super) fn whole(tensor: &TensorProto) -> Option<Whole> {
    match tensor.data_type {
        UINT4 => Some(Whole::U4),
        INT4 => Some(Whole::I4),
        kind if kind == tensor_proto::DataType::Int8 as i32 => Some(Whole::I8),
        kind if kind == tensor_proto::DataType::Uint8 as i32 => Some(Whole::U8),
        _ => None,
    }
}

/// What an attribute of a whole number says.
pub(super) fn attribute(node: &NodeProto, name: &str) -> Option<i64> {
    node.attribute.iter().find(|attribute| attribute.name == name).map(|attribute| attribute.i)
}

/// Holds the bytes that an initializer has to its shape: so many numbers take `size` bytes.
fn held(tensor: &TensorProto, has: u64, size: impl Fn(usize) -> Option<usize>) -> Result<()> {
    let dims = &tensor.dims;
    let count = dims.iter().try_fold(1usize, |count, &n| count.checked_mul(usize::try_from(n).ok()?));
    if count.and_then(size).map(|bytes| bytes as u64) == Some(has) {
        return Ok(());
    }
    Err(invalid_bundle(format!("has {has} bytes, which is not what the shape {dims:?} takes")))
        .at(|| place(tensor))
}

fn place(tensor: &TensorProto) -> String {
    format!("weight '{}'", tensor.name)
}

/// The bytes of an initializer of whole numbers, which are as many as its shape takes.
pub(super) fn stored(tensor: &TensorProto, part: Option<&Part>, whole: Whole) -> Result<Vec<u8>> {
    let here = if tensor.raw_data.is_empty() { tensor.int32_data.len() } else { tensor.raw_data.len() };
    held(tensor, part.map_or(here as u64, Part::length), |count| Some(whole.bytes(count)))?;
    let mut bytes = Vec::new();
    match part {
        Some(part) => part.read(&mut bytes).at(|| place(tensor))?,
        None => {
            standard::within(tensor).at(|| place(tensor))?;
            memory::reserve(&mut bytes, here)?;
            bytes.extend(&tensor.raw_data);
            // Four bits lie two to a byte there too.
            bytes.extend(tensor.int32_data.iter().take(here - bytes.len()).map(|&number| number as u8));
        }
    }
    Ok(bytes)
}

pub(super) fn floats(tensor: &TensorProto, part: Option<&Part>) -> Result<Vec<f32>> {
    let mut bytes = Vec::new();
    let raw = match part {
        Some(part) => {
            held(tensor, part.length(), |count| count.checked_mul(4))?;
            part.read(&mut bytes).at(|| place(tensor))?;
            &bytes
        }
        None => {
            check_tensor(tensor).at(|| place(tensor))?;
            &tensor.raw_data
        }
    };
    if raw.is_empty() {
        return memory::collected(tensor.float_data.len(), tensor.float_data.iter().copied());
    }
    memory::collected(raw.len() / 4, numbers(raw, f32::from_le_bytes))
}
