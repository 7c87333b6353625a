//! What ONNX Runtime's quantizer writes in a domain of its own, `com.microsoft`: sums and products of whole numbers by
//! elements, and `Gemm` of them.

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, NodeProto};

use super::super::dequantized::attribute;
use super::super::operators::rounded::Rounded;
use super::super::standard::{self, bounds};
use super::linear::of_channels;
use super::{Whole, Writer, Zero};
use crate::Result;
use crate::error::{Context, unsupported};

const OPERATORS: [&str; 3] = ["QLinearAdd", "QLinearMul", "QGemm"];

/// Refuses the first of these operators that is no floats.
///
/// # Errors
/// `Unsupported`: names the node.
pub(super) fn refuse_left(nodes: &[NodeProto]) -> Result<()> {
    let Some(node) = nodes.iter().find(|node| OPERATORS.contains(&node.op_type.as_str())) else {
        return Ok(());
    };
    let message = "takes numbers that no QuantizeLinear makes, scales that are no constants, or gives numbers that \
                   are looked at otherwise than by DequantizeLinear";
    Err(unsupported(message)).at(|| standard::place(node))
}

impl Writer<'_> {
    /// Makes what a `QLinearAdd` or `QLinearMul` does as floats, if both operands are there as such.
    pub(super) fn linear_elements(&mut self, node: &NodeProto) -> Option<()> {
        let [a, a_scale, a_zero, b, b_scale, b_zero, y_scale, rest @ ..] = node.input.as_slice() else {
            return None;
        };
        let step = |name| self.constants.step(name);
        let (a_step, b_step, y_step) = (step(a_scale)?, step(b_scale)?, step(y_scale)?);
        let (zero, kind) = match rest.first().filter(|name| !name.is_empty()) {
            Some(name) => self.constants.zero(name)?,
            None => (0, self.kind(a)?),
        };
        let place = &node.name;
        let steps = if node.op_type == "QLinearAdd" {
            let left = self.operand((a, a_zero), a_step / y_step, place)?;
            let right = self.operand((b, b_zero), b_step / y_step, place)?;
            self.made.node("Add", &[&left, &right], place)
        } else {
            let (left, right) =
                (self.operand((a, a_zero), 1.0, place)?, self.operand((b, b_zero), 1.0, place)?);
            let product = self.made.node("Mul", &[&left, &right], place);
            let factor = self.made.scalar(place, a_step * b_step / y_step);
            self.made.node("Mul", &[&product, &factor], place)
        };
        // ONNX Runtime adds the zero first, and so an odd one takes what lies half-way to the other side.
        self.whole(node, &steps, (zero, kind), zero % 2 != 0)
    }

    /// Makes what a `QGemm` does as floats, if it multiplies what is there as such; says whether nothing of it is left
    /// to do, as where it gives floats.
    pub(super) fn linear_gemm(&mut self, node: &NodeProto) -> Result<Option<()>> {
        let [a, a_scale, a_zero, b, b_scale, b_zero, rest @ ..] = node.input.as_slice() else {
            return Ok(None);
        };
        let given = |place: usize| rest.get(place).filter(|name| !name.is_empty());
        let alpha =
            node.attribute.iter().find(|attribute| attribute.name == "alpha").map_or(1.0, |alpha| alpha.f);
        let turned = attribute(node, "transB").unwrap_or(0) != 0;
        let made = match (given(1), given(2)) {
            (None, None) => None,
            (Some(scale), Some(zero)) => match self.constants.step(scale).zip(self.constants.zero(zero)) {
                Some(made) => Some(made),
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        let Some(a_step) = self.constants.step(a_scale) else { return Ok(None) };
        let bias = given(0);
        if bias.is_some_and(|name| !self.constants.holds(name)) {
            return Ok(None);
        }
        let channels = self.constants.bytes(b).and_then(|dims| of_channels(dims, turned));
        let Some(count) = self.constants.count_of_steps(b_scale, channels) else { return Ok(None) };
        let Some(left) = self.less_zero(a, Some(a_zero), &node.name) else { return Ok(None) };
        let Some(right) = self.factor((b, Some(b_zero)), turned, &node.name)? else { return Ok(None) };
        let mut inputs = vec![left, right.floats];
        if let Some(bias) = bias {
            inputs.push(self.made.node("Cast", &[bias], &node.name));
            self.made.attribute("to", DataType::Float as i64);
        }
        let sums = self.made.node("Gemm", &inputs.iter().collect::<Vec<_>>(), &node.name);
        let flag = |attribute: &&AttributeProto| attribute.name.starts_with("trans");
        self.made.attributes(node.attribute.iter().filter(flag).cloned().collect());
        let steps = (alpha * a_step, made.map_or(1.0, |(step, _)| step));
        let Some(factors) = self.factors((b_scale, count), steps, 0, &node.name)? else { return Ok(None) };
        match (made, node.output.first()) {
            (Some((_, (zero, kind))), _) => {
                let steps = self.made.node("Mul", &[&sums, &factors], &node.name);
                self.whole(node, &steps, (zero, kind), false);
                Ok(None)
            }
            (None, Some(output)) => {
                self.made.named("Mul", &[&sums, &factors], &node.name, output.clone());
                Ok(Some(()))
            }
            (None, None) => Ok(None),
        }
    }

    /// Rounds what is counted in steps to the whole numbers that a node gives: what lies half-way to even ones, or to
    /// `odd` ones.
    fn whole(
        &mut self,
        node: &NodeProto,
        steps: &String,
        (zero, kind): (i32, DataType),
        odd: bool,
    ) -> Option<()> {
        let (least, most) = bounds(kind)?;
        let (made, place) = (&mut self.made, &node.name);
        let floats = if odd {
            let one = made.scalar(place, 1.0);
            let next = made.node("Add", &[steps, &one], place);
            let next = made.rounded(&Rounded::new(1.0, least - zero + 1, most - zero + 1), &next, place);
            made.node("Sub", &[&next, &one], place)
        } else {
            made.rounded(&Rounded::new(1.0, least - zero, most - zero), steps, place)
        };
        let zero = Zero::Known(zero);
        self.wholes.insert(node.output.first()?.clone(), Whole { floats, zero, kind });
        Some(())
    }

    /// Whole numbers less their zero, times a factor: such as are there as floats, or constants of bytes.
    fn operand(&mut self, (name, zero): (&String, &String), factor: f32, place: &str) -> Option<String> {
        if self.wholes.contains_key(name) {
            let floats = self.less_zero(name, Some(zero), place)?;
            if factor == 1.0 {
                return Some(floats);
            }
            let factor = self.made.scalar(place, factor);
            return Some(self.made.node("Mul", &[&floats, &factor], place));
        }
        self.constants.kind(name).filter(|kind| [DataType::Int8, DataType::Uint8].contains(kind))?;
        let zero = Some(zero).filter(|zero| !zero.is_empty());
        let sizes = zero.map_or(Some(Vec::new()), |zero| self.constants.zeros(zero, 1))?;
        let factor = self.made.constant(place, sizes, vec![factor]);
        let inputs: Vec<&String> = [name, &factor].into_iter().chain(zero).collect();
        Some(self.made.node("DequantizeLinear", &inputs, place))
    }
}
