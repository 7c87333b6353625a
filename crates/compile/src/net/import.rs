//! Reads a typed tract graph into a net.

use std::collections::HashMap;
use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{AxisOp, DimLike, bail};
use tract_onnx::tract_core::ops::array::{Gather, MultiBroadcastTo, Pad, PadMode, Slice, TypedConcat};
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cast::Cast;
use tract_onnx::tract_core::ops::cnn::{Conv, KernelFormat, PaddingSpec};
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::identity::Identity;
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_core::ops::math::PowConst;
use tract_onnx::tract_core::ops::nn::{DataFormat, Reduce, Softmax, SoftmaxKind};
use tract_onnx::tract_core::ops::source::TypedSource;

use super::{Binary, Einsum, Foreign, Id, Margins, Net, Op, Reducer, Unary, Window};
use crate::allowance::Allowance;
use crate::error::{Context, Error, invalid_bundle, limit_exceeded, unsupported};
use crate::graph::{Resample, Rounded};
use crate::kernels::{RANK, Stage};
use crate::panics::{in_flowturbo, in_tract};
use crate::{Result, memory};

/// tract's node, read into ours; `None` where it says something that we have no word for.
pub(super) type Read = TractResult<Option<Id>>;

impl Net {
    /// Reads `model`, whose first `inputs` inputs are the network's and whose others are large weights.
    ///
    /// # Errors
    /// `Unsupported`: only plain tract can have it. `InvalidBundle` names the node whose shapes contradict each other,
    /// or on which tract panicked; `Runtime` one on which we did. As [`Allowance::check`].
    pub fn import(model: &TypedModel, inputs: usize, allowance: &Allowance) -> Result<Self> {
        let mut net = Self::new();
        let mut values: Vec<TVec<Id>> = memory::filled(model.nodes().len(), tvec!())?;
        for node in model.eval_order().map_err(passed)?.into_iter().map(|id| model.node(id)) {
            allowance.check()?;
            net.make_room()?;
            let place = || format!("node '{}' ({})", node.name, node.op.name());
            let operands: Vec<Id> = node.inputs.iter().map(|o| values[o.node][o.slot]).collect();
            let entered = in_flowturbo(|| net.enter(model, inputs, node, &operands).map_err(passed));
            values[node.id] = entered.at(place)?;
            net.hold(node, &values[node.id]).at(place)?;
        }
        let outputs = model.output_outlets().map_err(passed)?;
        net.outputs = outputs.iter().map(|o| values[o.node][o.slot]).collect();
        net.known = HashMap::new();
        Ok(net)
    }

    /// Adds what `node` computes: an id for each of its outputs.
    fn enter(
        &mut self,
        model: &TypedModel,
        inputs: usize,
        node: &TypedNode,
        operands: &[Id],
    ) -> TractResult<TVec<Id>> {
        self.origin = node.name.as_str().into();
        let facts: Vec<&TypedFact> = node.outputs.iter().map(|o| &o.fact).collect();
        if node.op_is::<TypedSource>() {
            let place = model.input_outlets()?.iter().position(|o| o.node == node.id).unwrap_or(0);
            let op = place.checked_sub(inputs).map_or(Op::Input(place), Op::Weight);
            return Ok(tvec!(self.push(op, Vec::new(), shape(facts[0])?, facts[0].datum_type)));
        }
        if let Some(folded) = self.fold(node, operands)? {
            return Ok(folded);
        }
        let float = facts.iter().all(|fact| fact.datum_type == DatumType::F32);
        if let [fact] = facts.as_slice()
            && (float || (moves(node.op.as_ref()) && !self.inside_tract(operands)))
            && let Some(id) = self.read(node.op.as_ref(), operands, fact)?
        {
            return Ok(tvec!(id));
        }
        let foreign = |(slot, fact): (usize, &&TypedFact)| {
            let op = Op::Fallback(Foreign { node: node.id, op: node.op.clone() }, slot);
            Ok(self.push(op, operands.to_vec(), shape(fact)?, fact.datum_type))
        };
        facts.iter().enumerate().map(foreign).collect()
    }

    /// Refuses a node whose shapes do not go together, by tract's facts or by our own reckoning.
    fn hold(&mut self, node: &TypedNode, ids: &[Id]) -> Result<()> {
        if let Some(fault) = self.fault.take() {
            return Err(invalid_bundle(fault));
        }
        for (output, &id) in node.outputs.iter().zip(ids) {
            let most = isize::MAX as usize / 64;
            let len = self.dims(id).iter().try_fold(1usize, |product, &n| product.checked_mul(n));
            if len.is_none_or(|len| len > most) {
                let shape = self.dims(id);
                return Err(limit_exceeded(format!("gives a tensor of shape {shape:?}, above all memory")));
            }
            if self.dims(id).iter().filter(|&&n| n > 1).count() > RANK {
                return Err(unsupported(format!("gives a tensor of more than {RANK} axes")));
            }
            let (ours, theirs) = (self.dims(id), &output.fact.shape);
            if theirs.as_concrete().is_some_and(|theirs| theirs != ours) {
                let message =
                    format!("gives {ours:?}, which tract takes for {theirs:?}; its sizes do not go together");
                return Err(invalid_bundle(message));
            }
        }
        Ok(())
    }

    /// True for what only tract's own operations can read: answers of theirs that are not of floats.
    fn inside_tract(&self, operands: &[Id]) -> bool {
        let foreign =
            |&id: &Id| matches!(self.op(id), Op::Fallback(..)) && self.nodes[id].element != DatumType::F32;
        operands.iter().any(foreign)
    }

    /// Evaluates what depends on small constants alone.
    fn fold(&mut self, node: &TypedNode, operands: &[Id]) -> TractResult<Option<TVec<Id>>> {
        if let Some(constant) = node.op_as::<Const>() {
            return Ok(Some(tvec!(self.tensor(Arc::clone(constant.val())))));
        }
        let mut tensors = tvec!();
        for &id in operands {
            let Op::Constant(constant) = self.op(id) else { return Ok(None) };
            tensors.push(Arc::clone(&constant.0).into_tvalue());
        }
        // A constant repeated over an image stays what it is: memory goes by layers, not by pixels.
        let repeats = |fact: &TypedFact| {
            let len =
                fact.shape.as_concrete().map(|dims| dims.iter().fold(1usize, |a, &n| a.saturating_mul(n)));
            fact.datum_type == DatumType::F32 && len.is_some_and(|len| len > MOST_REPEATED)
        };
        let repeated = node.op_is::<MultiBroadcastTo>() && node.outputs.iter().any(|o| repeats(&o.fact));
        if operands.is_empty() || repeated {
            return Ok(None);
        }
        let results = in_tract(|| node.op.eval_out_of_plan(tensors))??;
        Ok(results.map(|results| results.into_iter().map(|t| self.tensor(t.into_arc_tensor())).collect()))
    }

    fn read(&mut self, op: &dyn TypedOp, operands: &[Id], fact: &TypedFact) -> Read {
        let dims = shape(fact)?;
        if let Some(axis) = op.downcast_ref::<AxisOp>() {
            let x = operands[0];
            return Ok(Some(match *axis {
                AxisOp::Move(from, to) => {
                    let mut axes: Vec<usize> = (0..dims.len()).collect();
                    let moved = axes.remove(from);
                    axes.insert(to, moved);
                    self.permute(x, axes)
                }
                _ => self.reshape(x, dims),
            }));
        }
        if op.is::<Identity>() {
            return Ok(Some(operands[0]));
        }
        if op.is::<MultiBroadcastTo>() {
            return Ok(Some(self.broadcast(operands[0], dims)));
        }
        if let Some(slice) = op.downcast_ref::<Slice>() {
            let start = slice.start.to_usize()?;
            return Ok(Some(self.slice(operands[0], slice.axis, start, dims[slice.axis])));
        }
        if let Some(concat) = op.downcast_ref::<TypedConcat>() {
            return Ok(Some(self.concat(concat.axis, operands.to_vec())));
        }
        if op.is::<Cast>() {
            return Ok(self.cast(operands[0], fact.datum_type));
        }
        if let Some(binary) = op.downcast_ref::<TypedBinOp>() {
            return Ok(self.typed_binary(binary, operands));
        }
        if let Some(element_wise) = op.downcast_ref::<ElementWiseOp>() {
            return Ok(self.element_wise(element_wise, operands[0]));
        }
        if let Some(einsum) = op.downcast_ref::<EinSum>() {
            return Ok(self.typed_einsum(einsum, operands));
        }
        if let Some(reduce) = op.downcast_ref::<Reduce>() {
            return Ok(self.typed_reduce(reduce, operands[0]));
        }
        if let Some(softmax) = op.downcast_ref::<Softmax>() {
            let plain = softmax.kind == SoftmaxKind::Softmax && softmax.quant_output_dt.is_none();
            return Ok(match softmax.axes.as_slice() {
                &[axis] if plain => Some(self.float(Op::Softmax(axis), operands.to_vec(), dims)),
                _ => None,
            });
        }
        if let Some(gather) = op.downcast_ref::<Gather>() {
            let by_row = gather.axis == 0 && self.dims(operands[0]).len() == 2;
            let integer = self.nodes[operands[1]].element == DatumType::I64;
            let input = matches!(self.op(operands[1]), Op::Input(_));
            let fits = by_row && integer && input && self.nodes[operands[0]].element == DatumType::F32;
            return Ok(fits.then(|| self.float(Op::Gather, operands.to_vec(), dims)));
        }
        if let Some(conv) = op.downcast_ref::<Conv>() {
            return Ok(self.convolution(conv, operands, dims));
        }
        if let Some(pad) = op.downcast_ref::<Pad>() {
            return Ok(self.zero_pad(pad, operands[0]));
        }
        if let Some(factor) = op.downcast_ref::<Resample>().and_then(Resample::upsampling) {
            let fits = dims.len() == 4 && (2..=Stage::ENLARGE).contains(&factor);
            return Ok(fits.then(|| self.float(Op::Upsample(factor), operands.to_vec(), dims)));
        }
        if let Some(rounded) = op.downcast_ref::<Rounded>() {
            return Ok(Some(self.unary(rounded.unary(), operands[0])));
        }
        Ok(None)
    }

    fn cast(&mut self, x: Id, to: DatumType) -> Option<Id> {
        let from = self.nodes[x].element;
        if from == to {
            return Some(x);
        }
        match *self.op(x) {
            // Widened while it is packed.
            Op::Weight(place) if matches!(from, DatumType::F16 | DatumType::I8) && to == DatumType::F32 => {
                let dims = self.dims(x).to_vec();
                Some(self.float(Op::Weight(place), Vec::new(), dims))
            }
            Op::Input(_) if from == DatumType::I64 && to == DatumType::F32 => {
                let dims = self.dims(x).to_vec();
                Some(self.float(Op::Integers, vec![x], dims))
            }
            _ => None,
        }
    }

    fn typed_binary(&mut self, op: &TypedBinOp, operands: &[Id]) -> Option<Id> {
        let &[a, b] = operands else { return None };
        let op = match op.0.name() {
            "Add" => Binary::Add,
            "Sub" => Binary::Sub,
            "Mul" => Binary::Mul,
            "Div" => Binary::Div,
            "Max" => Binary::Max,
            "Min" => Binary::Min,
            "Pow" => {
                let exponent = self.look(b, |values| if let &[one] = values { Some(one) } else { None })?;
                return Some(self.power(a, exponent));
            }
            _ => return None,
        };
        Some(self.binary(op, a, b))
    }

    fn element_wise(&mut self, op: &ElementWiseOp, x: Id) -> Option<Id> {
        if let Some(power) = op.0.downcast_ref::<PowConst>() {
            return Some(self.power(x, power.exponent));
        }
        let op = match op.0.name().as_str() {
            "Abs" => Unary::Abs,
            "Neg" => Unary::Neg,
            "Square" => Unary::Square,
            "Sqrt" => Unary::Sqrt,
            "Rsqrt" => Unary::Rsqrt,
            "Recip" => Unary::Recip,
            "Exp" => Unary::Exp,
            "Ln" => Unary::Ln,
            "Sin" => Unary::Sin,
            "Cos" => Unary::Cos,
            "Tanh" => Unary::Tanh,
            "Sigmoid" => Unary::Sigmoid,
            "Silu" => Unary::Silu,
            "GeluApproximate" => Unary::GeluTanh,
            "Erf" => Unary::Erf,
            "GeluExact" => Unary::GeluErf,
            _ => return None,
        };
        Some(self.unary(op, x))
    }

    fn typed_einsum(&mut self, op: &EinSum, operands: &[Id]) -> Option<Id> {
        let (inputs, outputs) = op.axes.to_strs();
        let letters = |text: &str| text.chars().collect::<Vec<char>>();
        let distinct =
            |letters: &[char]| letters.iter().all(|l| letters.iter().filter(|m| *m == l).count() == 1);
        // Of one operand: a transposition, if nothing is summed.
        if let &[x] = operands {
            let (from, to) = (letters(&inputs[0]), letters(outputs.first()?));
            let axes: Option<Vec<usize>> =
                to.iter().map(|letter| from.iter().position(|l| l == letter)).collect();
            let moves = distinct(&from) && distinct(&to) && from.len() == to.len();
            return axes.filter(|_| moves).map(|axes| self.permute(x, axes));
        }
        let &[a, b] = operands else { return None };
        let einsum =
            Einsum { a: letters(&inputs[0]), b: letters(&inputs[1]), out: letters(outputs.first()?) };
        let plain = distinct(&einsum.a) && distinct(&einsum.b) && distinct(&einsum.out);
        let float =
            op.q_params.is_none() && operands.iter().all(|&id| self.nodes[id].element == DatumType::F32);
        (plain && float).then(|| self.einsum(einsum, a, b))
    }

    fn typed_reduce(&mut self, op: &Reduce, x: Id) -> Option<Id> {
        use tract_onnx::tract_core::ops::nn::Reducer as Theirs;
        let axes = op.axes.to_vec();
        match op.reducer {
            Theirs::Sum => Some(self.reduce(Reducer::Sum, x, axes)),
            Theirs::Max => Some(self.reduce(Reducer::Max, x, axes)),
            Theirs::MeanOfSquares => {
                let square = self.unary(Unary::Square, x);
                Some(self.reduce(Reducer::Mean, square, axes))
            }
            _ => None,
        }
    }

    fn convolution(&mut self, op: &Conv, operands: &[Id], dims: Vec<usize>) -> Option<Id> {
        let pool = &op.pool_spec;
        let &[height, width] = pool.kernel_shape.as_slice() else { return None };
        let ones = |sizes: &Option<TVec<usize>>| sizes.as_ref().is_none_or(|s| s.iter().all(|&n| n == 1));
        let plain = op.group == 1 && op.q_params.is_none() && ones(&pool.dilations);
        if !plain || pool.data_format != DataFormat::NCHW || op.kernel_fmt != KernelFormat::OIHW {
            return None;
        }
        let (before, after) = match &pool.padding {
            PaddingSpec::Explicit(before, after) => (pair(before)?, pair(after)?),
            PaddingSpec::Valid => ([0; 2], [0; 2]),
            _ => return None,
        };
        let stride = pool.strides.as_ref().map_or(Some([1; 2]), |strides| pair(strides))?;
        let mut inputs = operands.to_vec();
        // A bias of nothing is a constant without elements or a single zero.
        if let Some(&bias) = inputs.get(2) {
            let (len, nothing) = self
                .look(bias, |bias| Some((bias.len(), bias.len() <= 1 && bias.iter().all(|&b| b == 0.0))))?;
            if nothing {
                inputs.truncate(2);
            } else if len != dims[1] {
                return None;
            }
        }
        Some(self.float(
            Op::Convolution(Window { size: [height, width], stride, before, after }),
            inputs,
            dims,
        ))
    }

    fn zero_pad(&mut self, op: &Pad, x: Id) -> Option<Id> {
        let PadMode::Constant(value) = &op.mode else { return None };
        let zero = value.cast_to_scalar::<f32>().is_ok_and(|value| value == 0.0);
        let &[(0, 0), (0, 0), (top, bottom), (left, right)] = op.pads.as_slice() else { return None };
        let margins = Margins { before: [top, left], after: [bottom, right], circular: false };
        zero.then(|| self.pad(x, margins))
    }
}

/// Elements of a repeated constant that are written out.
const MOST_REPEATED: usize = 1 << 14;

/// Operations that change no number, which other element types than `f32` may pass through.
fn moves(op: &dyn TypedOp) -> bool {
    op.is::<AxisOp>() || op.is::<Cast>() || op.is::<Slice>()
}

/// Our own errors pass through tract unchanged; what it says itself is that only it can have the graph.
fn passed(error: TractError) -> Error {
    let own = error.downcast_ref::<Error>().cloned();
    own.unwrap_or_else(|| unsupported(format!("{error:#}").replace('\n', " ")))
}

fn pair(sizes: &[usize]) -> Option<[usize; 2]> {
    sizes.try_into().ok()
}

fn shape(fact: &TypedFact) -> TractResult<Vec<usize>> {
    let dims = fact.shape.iter().map(|dim| Ok(dim.to_usize()?)).collect::<TractResult<Vec<_>>>()?;
    // Kernels may divide by sizes.
    if dims.contains(&0) { bail!("a tensor without elements, of shape {dims:?}") } else { Ok(dims) }
}
