//! Types of whole numbers, which their floats no longer tell.

use tract_onnx::pb::NodeProto;
use tract_onnx::pb::tensor_proto::DataType;

use super::super::dequantized::attribute;
use super::{Writer, kind_of};
use crate::Result;
use crate::error::invalid_bundle;

/// What the standard says of the types that an operator takes, by the places of its inputs.
struct Kinds {
    operators: &'static [&'static str],
    /// Those that are bytes.
    bytes: &'static [usize],
    /// Those whose type is another one's.
    alike: &'static [[usize; 2]],
}

const KINDS: [Kinds; 5] = [
    Kinds { operators: &["DequantizeLinear"], bytes: &[], alike: &[[2, 0]] },
    Kinds { operators: &["MatMulInteger", "ConvInteger"], bytes: &[0, 1], alike: &[[2, 0], [3, 1]] },
    Kinds { operators: &["QLinearMatMul", "QLinearConv"], bytes: &[0, 3, 7], alike: &[[2, 0], [5, 3]] },
    Kinds { operators: &["QLinearAdd", "QLinearMul"], bytes: &[0], alike: &[[2, 0], [3, 0], [5, 0], [7, 0]] },
    Kinds { operators: &["QGemm"], bytes: &[0, 3, 8], alike: &[[2, 0], [5, 3]] },
];

/// Operators with a bias, and its place.
const BIASES: [(&str, usize); 2] = [("QLinearConv", 8), ("QGemm", 6)];

impl Writer<'_> {
    /// Holds the types of what a node takes to the standard, as far as they are known here.
    ///
    /// # Errors
    /// `InvalidBundle`: says which input is of another type.
    pub(super) fn check_kinds(&self, node: &NodeProto) -> Result<()> {
        let kind = |place: usize| self.kind(node.input.get(place)?);
        let refuse = |place: usize, kind: DataType, wanted: &str| {
            Err(invalid_bundle(format!("input {place} holds numbers of type {kind:?}, must be {wanted}")))
        };
        if node.op_type == "QuantizeLinear"
            && let Some(named) = attribute(node, "output_dtype").filter(|&kind| kind != 0)
            && let Some(zero) = kind(2).filter(|&zero| Some(zero) != kind_of(named))
        {
            return refuse(2, zero, "what 'output_dtype' says");
        }
        let row = KINDS.iter().find(|row| row.operators.contains(&node.op_type.as_str()));
        let Some(Kinds { bytes, alike, .. }) = row else { return Ok(()) };
        for &place in *bytes {
            if let Some(kind) = kind(place).filter(|kind| ![DataType::Int8, DataType::Uint8].contains(kind)) {
                return refuse(place, kind, "Int8 or Uint8");
            }
        }
        for &[place, other] in *alike {
            if let (Some(kind), Some(wanted)) = (kind(place), kind(other))
                && kind != wanted
            {
                return refuse(place, kind, &format!("{wanted:?} as those of input {other}"));
            }
        }
        let bias = BIASES.iter().find(|(operator, _)| *operator == node.op_type).map(|&(_, place)| place);
        match bias.and_then(|place| Some((place, kind(place)?))) {
            Some((place, kind)) if kind != DataType::Int32 => refuse(place, kind, "Int32"),
            _ => Ok(()),
        }
    }

    pub(super) fn kind(&self, name: &str) -> Option<DataType> {
        self.wholes.get(name).map(|whole| whole.kind).or_else(|| self.constants.kind(name))
    }
}
