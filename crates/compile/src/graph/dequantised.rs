//! Weights that a graph stores as whole numbers: `DequantizeLinear` of initializers alone.
//!
//! tract would make floats of them while importing. Here the node goes, and what it made is a weight that stays in its
//! file, with its scales; where tract needs the values, or nothing is multiplied by it, an initializer of floats.

use std::collections::HashSet;
use std::sync::Arc;

use tract_onnx::pb::{GraphProto, NodeProto, TensorProto, tensor_proto};

use super::standard::{self, check_tensor};
use crate::bundle::Part;
use crate::error::{Context, invalid_bundle};
use crate::kernels::{Scales, Whole};
use crate::weights::{Weight, numbers};
use crate::{Result, memory};

/// The standard's numbers of the types that tract does not know.
const UINT4: i32 = 21;
const INT4: i32 = 22;

/// A weight of whole numbers, by the name of the node's output.
pub(super) struct Dequantised {
    name: String,
    shape: Vec<usize>,
    scales: Arc<Scales>,
    part: Part,
}

/// Initializers by their names, and where the data of those lies that is not in them.
pub(super) struct Initializers<'a> {
    pub(super) tensors: &'a [TensorProto],
    pub(super) parts: &'a [Option<Part>],
}

impl Initializers<'_> {
    /// The one of this name, if there is one alone.
    fn named(&self, name: &str) -> Option<(&TensorProto, Option<&Part>)> {
        let mut all = self.tensors.iter().zip(self.parts).filter(|(tensor, _)| tensor.name == name);
        let (tensor, part) = all.next()?;
        all.next().is_none().then_some((tensor, part.as_ref()))
    }
}

/// Takes the nodes out of `graph` that make weights of whole numbers in `initializers`; gives what they made, and the
/// names of those initializers.
///
/// # Errors
/// Name the node that breaks the standard, or the initializer whose data is not there.
pub(super) fn take_out(
    graph: &mut GraphProto,
    initializers: &Initializers,
) -> Result<(Vec<Dequantised>, HashSet<String>)> {
    let (mut found, mut spent, mut taken) = (Vec::new(), HashSet::new(), HashSet::new());
    for (i, node) in graph.node.iter().enumerate().filter(|(_, node)| node.op_type == "DequantizeLinear") {
        let output =
            node.output.first().filter(|name| graph.output.iter().all(|output| output.name != **name));
        let Some(output) = output else { continue };
        if let Some(weight) = dequantised(node, output, initializers).at(|| standard::place(node))? {
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
fn dequantised(node: &NodeProto, output: &str, initializers: &Initializers) -> Result<Option<Dequantised>> {
    let operand = |place: usize| node.input.get(place).filter(|name| !name.is_empty());
    let of = |place: usize| operand(place).and_then(|name| initializers.named(name));
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
    let scales = Arc::new(Scales::new(whole, &shape, sharing, scales, zeros));
    Ok(Some(Dequantised { name: output.to_owned(), shape, scales, part }))
}

impl Dequantised {
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

fn whole(tensor: &TensorProto) -> Option<Whole> {
    match tensor.data_type {
        UINT4 => Some(Whole::U4),
        INT4 => Some(Whole::I4),
        kind if kind == tensor_proto::DataType::Int8 as i32 => Some(Whole::I8),
        kind if kind == tensor_proto::DataType::Uint8 as i32 => Some(Whole::U8),
        _ => None,
    }
}

fn attribute(node: &NodeProto, name: &str) -> Option<i64> {
    node.attribute.iter().find(|attribute| attribute.name == name).map(|attribute| attribute.i)
}

/// The bytes of an initializer of whole numbers, which are as many as its shape takes.
fn stored(tensor: &TensorProto, part: Option<&Part>, whole: Whole) -> Result<Vec<u8>> {
    let place = || format!("weight '{}'", tensor.name);
    let count = tensor.dims.iter().try_fold(1usize, |count, &n| count.checked_mul(usize::try_from(n).ok()?));
    let wanted = count.map(|count| whole.bytes(count));
    let mut bytes = Vec::new();
    match part {
        Some(part) => part.read(&mut bytes).at(place)?,
        None if tensor.raw_data.is_empty() => {
            memory::reserve(&mut bytes, tensor.int32_data.len())?;
            // Four bits lie two to a byte there too.
            bytes.extend(tensor.int32_data.iter().map(|&number| number as u8));
        }
        None => {
            memory::reserve(&mut bytes, tensor.raw_data.len())?;
            bytes.extend(&tensor.raw_data);
        }
    }
    if wanted == Some(bytes.len()) {
        return Ok(bytes);
    }
    let (has, dims) = (bytes.len(), &tensor.dims);
    Err(invalid_bundle(format!("has {has} bytes, which is not what the shape {dims:?} takes"))).at(place)
}

fn floats(tensor: &TensorProto, part: Option<&Part>) -> Result<Vec<f32>> {
    let place = || format!("weight '{}'", tensor.name);
    let mut bytes = Vec::new();
    let raw = match part {
        Some(part) => {
            part.read(&mut bytes).at(place)?;
            &bytes
        }
        None => {
            check_tensor(tensor).at(place)?;
            &tensor.raw_data
        }
    };
    if raw.is_empty() {
        return memory::collected(tensor.float_data.len(), tensor.float_data.iter().copied());
    }
    memory::collected(raw.len() / 4, numbers(raw, f32::from_le_bytes))
}
