//! What a graph's constants say of whole numbers: scales, zero points, and which weights are bytes.

use std::collections::HashMap;

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{NodeProto, TensorProto};

use super::super::dequantized::{floats, stored, whole};
use super::super::initializers::external_part;
use super::super::names::told_apart;
use super::super::standard::check_tensor;
use super::kind_of;
use crate::Result;
use crate::bundle::{ExternalData, Part};

type Tensor<'a> = (&'a TensorProto, Option<Part>);

/// Constants by their names.
pub(super) struct Constants<'a> {
    /// Initializers, with the parts of files that their data lies in if that is not inside.
    initializers: HashMap<&'a str, Option<Tensor<'a>>>,
    /// Single numbers of `Constant` nodes.
    singles: HashMap<String, TensorProto>,
}

impl<'a> Constants<'a> {
    pub(super) fn new(
        tensors: &'a [TensorProto],
        nodes: &[NodeProto],
        cuts: &[(usize, Part)],
        external: &ExternalData,
    ) -> Self {
        let cuts: HashMap<usize, &Part> = cuts.iter().map(|(i, part)| (*i, part)).collect();
        let initializers = told_apart(tensors.iter().enumerate().map(|(i, tensor)| {
            // What points nowhere has nothing here; who reads it says so.
            let part =
                external_part(tensor, external).ok().flatten().or(cuts.get(&i).map(|&part| part.clone()));
            (tensor.name.as_str(), (tensor, part))
        }));
        let constants = nodes.iter().filter(|node| node.op_type == "Constant");
        let value = |node: &NodeProto| {
            let value = node.attribute.iter().find(|attribute| attribute.name == "value")?.t.as_ref()?;
            // Data elsewhere is none here.
            single(value).then_some((node.output.first()?.clone(), value.clone()))
        };
        Self { initializers, singles: constants.filter_map(value).collect() }
    }

    fn initializer(&self, name: &str) -> Option<&Tensor<'a>> {
        self.initializers.get(name)?.as_ref()
    }

    /// The scale of this name, if it is one float, above zero and finite.
    pub(super) fn step(&self, name: &str) -> Option<f32> {
        let only = match self.singles.get(name) {
            Some(tensor) => of_floats(tensor, None)?,
            None => self.initializer(name).filter(|(tensor, _)| single(tensor)).and_then(read)?,
        };
        only.first().copied().filter(|step| step.is_normal() && *step > 0.0)
    }

    /// How many scales go by this name, one or `count`, if there is data for so many: a file may claim any number.
    pub(super) fn count_of_steps(&self, name: &str, count: Option<i64>) -> Option<i64> {
        if self.step(name).is_some() {
            return Some(1);
        }
        let (tensor, part) = self.initializer(name)?;
        let here = tensor.raw_data.len().max(4 * tensor.float_data.len()) as u64;
        let bytes = part.as_ref().map_or(here, Part::length);
        let [n] = tensor.dims[..] else { return None };
        (Some(n) == count && u64::try_from(n).ok()?.checked_mul(4) == Some(bytes)).then_some(n)
    }

    /// The scales of this name, as they are.
    pub(super) fn steps(&self, name: &str) -> Option<Vec<f32>> {
        self.step(name).map(|step| vec![step]).or_else(|| read(self.initializer(name)?))
    }

    /// The zero point of this name and its type, if it is one number.
    pub(super) fn zero(&self, name: &str) -> Option<(i32, DataType)> {
        let (tensor, part) = match self.singles.get(name) {
            Some(tensor) => (tensor, None),
            None => {
                let (tensor, part) = self.initializer(name)?;
                (*tensor, part.as_ref())
            }
        };
        let kind = kind_of(tensor.data_type.into()).filter(|_| single(tensor))?;
        let number = match kind {
            DataType::Int8 | DataType::Uint8 => {
                let whole = whole(tensor)?;
                whole.get(&stored(tensor, part, whole).ok()?, 0)
            }
            // What is damaged is told of by who reads it in the end.
            DataType::Int16 | DataType::Uint16 if part.is_none() && check_tensor(tensor).is_ok() => {
                match *tensor.raw_data.as_slice() {
                    [low, high] if kind == DataType::Int16 => i16::from_le_bytes([low, high]).into(),
                    [low, high] => u16::from_le_bytes([low, high]).into(),
                    _ => *tensor.int32_data.first()?,
                }
            }
            _ => return None,
        };
        Some((number, kind))
    }

    /// The sizes of the weight of this name, if it is of bytes and has two axes or more.
    pub(super) fn bytes(&self, name: &str) -> Option<&'a [i64]> {
        let (tensor, _) = self.initializer(name)?;
        let byte = [DataType::Int8 as i32, DataType::Uint8 as i32].contains(&tensor.data_type);
        (byte && tensor.dims.len() > 1).then_some(tensor.dims.as_slice())
    }

    /// Whether the zero points of this name are of one number, or of as many as `count` and have bytes for them: a
    /// file may claim any number.
    pub(super) fn zeros(&self, name: &str, count: i64) -> Option<Vec<i64>> {
        let (tensor, part) = self.initializer(name)?;
        let here = tensor.raw_data.len().max(tensor.int32_data.len()) as u64;
        let bytes = part.as_ref().map_or(here, Part::length);
        let fits = match tensor.dims[..] {
            [] | [1] => true,
            [n] => n == count && u64::try_from(n) == Ok(bytes),
            _ => false,
        };
        fits.then(|| tensor.dims.clone())
    }

    /// The type of the constant of this name.
    pub(super) fn kind(&self, name: &str) -> Option<DataType> {
        let tensor = match self.singles.get(name) {
            Some(tensor) => tensor,
            None => self.initializer(name)?.0,
        };
        kind_of(tensor.data_type.into())
    }

    /// Whether an initializer goes by this name.
    pub(super) fn holds(&self, name: &str) -> bool {
        self.initializer(name).is_some()
    }
}

/// Whether a tensor is one number.
fn single(tensor: &TensorProto) -> bool {
    matches!(tensor.dims[..], [] | [1])
}

fn read((tensor, part): &Tensor) -> Option<Vec<f32>> {
    of_floats(tensor, part.as_ref())
}

/// What is damaged is told of by who reads it in the end.
fn of_floats(tensor: &TensorProto, part: Option<&Part>) -> Option<Vec<f32>> {
    let float = tensor.data_type == DataType::Float as i32;
    let read: Option<Result<Vec<f32>>> = float.then(|| floats(tensor, part));
    read?.ok().filter(|floats| !floats.is_empty())
}
