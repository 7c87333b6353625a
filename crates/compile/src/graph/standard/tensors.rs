//! Whether a tensor in the file has the data that its shape asks for.

use tract_onnx::pb::TensorProto;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};

use crate::Result;
use crate::error::{invalid_bundle, unsupported};

/// Holds the data of a tensor inside the file to its shape.
pub(in super::super) fn check(tensor: &TensorProto) -> Result<()> {
    let dims = &tensor.dims;
    let elements = dims.iter().try_fold(1usize, |product, &n| product.checked_mul(usize::try_from(n).ok()?));
    let Some(elements) = elements else {
        return Err(invalid_bundle(format!("has the shape {dims:?}, which no tensor can have")));
    };
    if tensor.data_location == Some(DataLocation::External as i32) {
        return Err(unsupported("a constant outside of the weights lies in another file"));
    }
    let kind = DataType::try_from(tensor.data_type).unwrap_or(DataType::Undefined);
    let (size, given) = match kind {
        DataType::Float => (4, tensor.float_data.len()),
        DataType::Double => (8, tensor.double_data.len()),
        DataType::Int64 => (8, tensor.int64_data.len()),
        DataType::Int32 => (4, tensor.int32_data.len()),
        DataType::Uint8 | DataType::Int8 | DataType::Bool => (1, tensor.int32_data.len()),
        DataType::Uint16 | DataType::Int16 | DataType::Float16 | DataType::Bfloat16 => {
            (2, tensor.int32_data.len())
        }
        DataType::Uint32 => (4, tensor.uint64_data.len()),
        DataType::Uint64 => (8, tensor.uint64_data.len()),
        DataType::String => (usize::MAX, tensor.string_data.len()),
        _ => return Err(unsupported(format!("numbers of type {} are not supported", tensor.data_type))),
    };
    let raw = &tensor.raw_data;
    let fits = if raw.is_empty() { given == elements } else { elements.checked_mul(size) == Some(raw.len()) };
    if !fits {
        let has = if raw.is_empty() { format!("{given} elements") } else { format!("{} bytes", raw.len()) };
        return Err(invalid_bundle(format!("has {has}, which is not what the shape {dims:?} takes")));
    }
    within(tensor)
}

/// Holds whole numbers that are written wider than they are to their type.
pub(in super::super) fn within(tensor: &TensorProto) -> Result<()> {
    let kind = DataType::try_from(tensor.data_type).unwrap_or(DataType::Undefined);
    let Some((least, most)) = bounds(kind).filter(|_| tensor.raw_data.is_empty()) else { return Ok(()) };
    match tensor.int32_data.iter().find(|&number| !(least..=most).contains(number)) {
        Some(number) => Err(invalid_bundle(format!("holds {number}, which its type {kind:?} has not"))),
        None => Ok(()),
    }
}

/// The least and the greatest number of a type of one byte or two.
pub(in super::super) fn bounds(kind: DataType) -> Option<(i32, i32)> {
    match kind {
        DataType::Int8 => Some((i8::MIN.into(), i8::MAX.into())),
        DataType::Uint8 => Some((0, u8::MAX.into())),
        DataType::Int16 => Some((i16::MIN.into(), i16::MAX.into())),
        DataType::Uint16 => Some((0, u16::MAX.into())),
        _ => None,
    }
}
