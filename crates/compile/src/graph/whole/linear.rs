//! Products of whole numbers.

use tract_onnx::pb::NodeProto;
use tract_onnx::pb::tensor_proto::DataType;

use super::super::operators::rounded::Rounded;
use super::super::standard::bounds;
use super::{Whole, Writer, Zero};
use crate::error::invalid_bundle;
use crate::{Error, Result, memory};

/// What factors of sums are made of: the name of the weight's scales, the bits of those of what is multiplied and of
/// what comes out, and how many axes of the sums stand behind that of the channels.
pub(super) type Scaling = (String, [u32; 2], usize);

/// The right side of a product.
pub(super) struct Factor {
    pub(super) floats: String,
    /// Its axes, where it is a weight.
    rank: Option<usize>,
}

impl Writer<'_> {
    /// Makes the sums of a `MatMulInteger` or `ConvInteger` as floats, if it multiplies what is there as such.
    pub(super) fn integer_product(&mut self, node: &NodeProto) -> Result<()> {
        let (Some(output), [x, w, zeros @ ..]) = (node.output.first(), node.input.as_slice()) else {
            return Ok(());
        };
        let convolution = node.op_type == "ConvInteger";
        let Some(left) = self.less_zero(x, zeros.first(), &node.name) else { return Ok(()) };
        let Some(right) = self.factor((w, zeros.get(1)), convolution, &node.name)? else { return Ok(()) };
        let operator = if convolution { "Conv" } else { "MatMul" };
        let sums = self.made.node(operator, &[&left, &right.floats], &node.name);
        self.made.attributes(node.attribute.clone());
        self.sums.insert(output.clone(), sums);
        Ok(())
    }

    /// Makes what a `QLinearMatMul` or `QLinearConv` does as floats, if it multiplies what is there as such.
    pub(super) fn linear_product(&mut self, node: &NodeProto) -> Result<()> {
        let convolution = node.op_type == "QLinearConv";
        let (Some(output), [x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias @ ..]) =
            (node.output.first(), node.input.as_slice())
        else {
            return Ok(());
        };
        let steps = self.constants.step(x_scale).zip(self.constants.step(y_scale));
        let zero = self.constants.zero(y_zero).and_then(|(zero, kind)| Some((zero, kind, bounds(kind)?)));
        let (Some(steps), Some((zero, kind, (least, most)))) = (steps, zero) else { return Ok(()) };
        let bias = bias.first().filter(|name| !name.is_empty());
        if bias.is_some_and(|name| !self.constants.holds(name)) {
            return Ok(());
        }
        let dims = self.constants.bytes(w);
        let channels = dims.and_then(|dims| of_channels(dims, convolution));
        let Some(count) = self.constants.count_of_steps(w_scale, channels) else { return Ok(()) };
        if let Some(dims) = dims.filter(|dims| count > 1 && !convolution && dims.len() > 2) {
            return Err(columns_of_no_matrix("scales", dims));
        }
        let Some(left) = self.less_zero(x, Some(x_zero), &node.name) else { return Ok(()) };
        let Some(right) = self.factor((w, Some(w_zero)), convolution, &node.name)? else { return Ok(()) };
        let mut inputs = vec![left, right.floats];
        if let Some(bias) = bias {
            let floats = self.made.node("Cast", &[bias], &node.name);
            self.made.attribute("to", DataType::Float as i64);
            inputs.push(floats);
        }
        let operator = if convolution { "Conv" } else { "MatMul" };
        let sums = self.made.node(operator, &inputs.iter().collect::<Vec<_>>(), &node.name);
        self.made.attributes(node.attribute.clone());
        let behind = right.rank.filter(|_| convolution && count > 1).map_or(0, |rank| rank - 2);
        let Some(factors) = self.factors((w_scale, count), steps, behind, &node.name)? else { return Ok(()) };
        let steps = self.made.node("Mul", &[&sums, &factors], &node.name);
        let floats = self.made.rounded(&Rounded::new(1.0, least - zero, most - zero), &steps, &node.name);
        self.wholes.insert(output.clone(), Whole { floats, zero: Zero::Known(zero), kind });
        Ok(())
    }

    /// What multiplies: whole numbers that are there as floats, or a weight of bytes, whose channels are along its
    /// `first` axis or its last.
    pub(super) fn factor(
        &mut self,
        (name, zero): (&String, Option<&String>),
        first: bool,
        place: &str,
    ) -> Result<Option<Factor>> {
        if self.wholes.contains_key(name) {
            let floats = self.less_zero(name, zero, place);
            return Ok(floats.map(|floats| Factor { floats, rank: None }));
        }
        let Some(dims) = self.constants.bytes(name) else { return Ok(None) };
        let Some(channels) = of_channels(dims, first) else { return Ok(None) };
        let (zero, sizes) = match zero.filter(|name| !name.is_empty()) {
            Some(zero) => match self.constants.zeros(zero, channels) {
                Some(sizes) => (Some(zero), sizes),
                None => return Ok(None),
            },
            None => (None, Vec::new()),
        };
        if !first && dims.len() > 2 && !matches!(sizes[..], [] | [1]) {
            return Err(columns_of_no_matrix("zero points", dims));
        }
        let one = self.one(&sizes, place)?;
        let mut inputs = vec![name, &one];
        inputs.extend(zero);
        let floats = self.made.node("DequantizeLinear", &inputs, place);
        self.made.attribute("axis", if first { 0 } else { -1 });
        Ok(Some(Factor { floats, rank: Some(dims.len()) }))
    }

    /// What makes numbers of sums: the `count` scales of a weight, times a step and by another one.
    pub(super) fn factors(
        &mut self,
        (scale, count): (&str, i64),
        (x_step, y_step): (f32, f32),
        behind: usize,
        place: &str,
    ) -> Result<Option<String>> {
        let scaling = (scale.to_owned(), [x_step, y_step].map(f32::to_bits), behind);
        if let Some(name) = self.factors.get(&scaling) {
            return Ok(Some(name.clone()));
        }
        self.bytes = self.bytes.saturating_add(4 * count as u64);
        self.allowance.weights(self.bytes)?;
        let Some(steps) = self.constants.steps(scale) else { return Ok(None) };
        let mut dims = if count == 1 { Vec::new() } else { vec![count] };
        dims.extend(std::iter::repeat_n(1, behind));
        let factors = memory::collected(steps.len(), steps.iter().map(|step| x_step * step / y_step))?;
        let name = self.made.constant(place, dims, factors);
        self.factors.insert(scaling, name.clone());
        Ok(Some(name))
    }

    /// Scales that are 1, of these sizes.
    fn one(&mut self, sizes: &[i64], place: &str) -> Result<String> {
        if let Some(name) = self.ones.get(sizes) {
            return Ok(name.clone());
        }
        let count: usize = sizes.iter().map(|&n| n as usize).product();
        self.bytes += 4 * count as u64;
        self.allowance.weights(self.bytes)?;
        let name = self.made.constant(place, sizes.to_vec(), memory::filled(count, 1.0)?);
        self.ones.insert(sizes.to_vec(), name.clone());
        Ok(name)
    }
}

/// As ONNX Runtime, which knows columns of matrices alone.
fn columns_of_no_matrix(what: &str, dims: &[i64]) -> Error {
    invalid_bundle(format!("has {what} for each column of {dims:?}, must have one, or a matrix of two axes"))
}

/// The output channels of a weight, along its first axis or its last.
pub(super) fn of_channels(dims: &[i64], first: bool) -> Option<i64> {
    if first { dims.first().copied() } else { dims.last().copied() }
}
