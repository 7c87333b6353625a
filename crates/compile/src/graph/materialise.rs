//! Puts the weights into a graph, for whatever wants tract to run it or to fold constants.

use std::collections::HashMap;

use half::f16;
use tract_onnx::prelude::tract_num_traits::Zero;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::translator::Translate;
use tract_onnx::tract_core::ops::array::{MultiBroadcastTo, Tile};
use tract_onnx::tract_core::ops::cnn::{Conv, PaddingSpec};

use super::Graph;
use super::held::Held;
use super::import::{classify, guarded};
use crate::Result;
use crate::contract::Port;
use crate::error::{Context, invalid_bundle};
use crate::weights::{Contents, Encoding, Weights, numbers};

impl Graph {
    /// The decluttered graph of the contract's inputs, every weight a constant in it.
    ///
    /// # Errors
    /// `NonFinite`: NaN in a weight. `InvalidBundle`: an output that is not the contract's, or a graph
    /// that tract cannot simplify. `Io`: the weights cannot be read.
    pub fn materialise(self) -> Result<TypedModel> {
        let Self { file, contract, mut model, weights, .. } = self;
        let made = guarded(|| {
            let sources = model.inputs.split_off(contract.inputs.len());
            let index = sources.iter().enumerate().map(|(i, outlet)| (outlet.node, i)).collect();
            let filled = Fill { weights: &weights, index }.translate_model(&model);
            let filled = filled.map_err(|error| classify(&error))?;
            drop(model);
            let model = filled.into_decluttered().map_err(|error| classify(&error))?;
            check_output(&model, &contract.output)?;
            Ok(model)
        });
        made.at(|| file)
    }
}

/// Wires a graph anew with a constant where a weight's source was; weights that nothing uses stay unread.
struct Fill<'a> {
    weights: &'a Weights,
    /// Which weight a node stands for.
    index: HashMap<usize, usize>,
}

impl Translate<TypedFact, Box<dyn TypedOp>, TypedFact, Box<dyn TypedOp>> for Fill<'_> {
    fn translate_node(
        &self,
        _: &TypedModel,
        node: &TypedNode,
        target: &mut TypedModel,
        mapping: &HashMap<OutletId, OutletId>,
    ) -> TractResult<TVec<OutletId>> {
        if let Some(&index) = self.index.get(&node.id) {
            return Ok(tvec!(target.add_const(&node.name, tensor(self.weights, index)?)?));
        }
        let inputs: Option<TVec<OutletId>> = node.inputs.iter().map(|o| mapping.get(o).copied()).collect();
        let mut inputs =
            inputs.ok_or_else(|| invalid_bundle(format!("node '{}' lacks an input", node.name)))?;
        let held = format!("{}.held", node.name);
        if node.op_as().is_some_and(pads_alone) {
            inputs[0] = target.wire_node(&held, Held, &inputs[..1])?[0];
        }
        let op = with_own_stride(node.op.as_ref()).unwrap_or_else(|| node.op.clone());
        let outlets = target.wire_node(&node.name, op, &inputs)?;
        if node.op_is::<Tile>() || node.op_is::<MultiBroadcastTo>() {
            return target.wire_node(held, Held, &outlets);
        }
        Ok(outlets)
    }
}

/// A convolution whose stride stays with it: its padding in the one form that tract's optimiser leaves alone.
///
/// Otherwise it thins out what goes in, and moves that before whatever makes it: before a softmax along the same axis
/// that gives other numbers, before a new axis it fails.
fn with_own_stride(op: &dyn TypedOp) -> Option<Box<dyn TypedOp>> {
    let mut conv =
        op.downcast_ref::<Conv>().filter(|conv| conv.pool_spec.strides().iter().any(|&n| n > 1))?.clone();
    let none = || tvec![0; conv.pool_spec.rank()];
    let (before, after) = match &conv.pool_spec.padding {
        PaddingSpec::Explicit(before, after) => (before.clone(), after.clone()),
        PaddingSpec::Valid => (none(), none()),
        _ => return None,
    };
    conv.pool_spec.padding = PaddingSpec::ExplicitOnnxPool(before, after, false);
    Some(Box::new(conv))
}

/// Whether a convolution pads an axis along which its kernel has one element: tract takes such an axis for one that may
/// go where it is of size 1.
fn pads_alone(conv: &Conv) -> bool {
    let (PaddingSpec::Explicit(before, after) | PaddingSpec::ExplicitOnnxPool(before, after, _)) =
        &conv.pool_spec.padding
    else {
        return false;
    };
    let axes = conv.pool_spec.kernel_shape.iter().zip(before.iter().zip(after));
    axes.into_iter().any(|(&size, (&before, &after))| size == 1 && before + after > 0)
}

impl std::fmt::Debug for Fill<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("with its weights")
    }
}

fn tensor(weights: &Weights, index: usize) -> TractResult<Tensor> {
    let mut bytes = Vec::new();
    let weight = weights.read(index, &mut bytes)?;
    match weight.contents {
        Contents::Plain(Encoding::F16) => filled(&weight.shape, numbers(&bytes, f16::from_le_bytes)),
        Contents::Plain(Encoding::I8) => filled(&weight.shape, numbers(&bytes, i8::from_le_bytes)),
        _ => {
            let mut tensor = Tensor::zero::<f32>(&weight.shape)?;
            weight.values(&bytes).copy(0, tensor.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?);
            Ok(tensor)
        }
    }
}

fn filled<T: Datum + Zero>(shape: &[usize], values: impl Iterator<Item = T>) -> TractResult<Tensor> {
    let mut tensor = Tensor::zero::<T>(shape)?;
    let mut view = tensor.try_as_plain_ram_mut()?;
    view.as_slice_mut::<T>()?.iter_mut().zip(values).for_each(|(to, value)| *to = value);
    Ok(tensor)
}

/// The output is what the contract says.
pub(super) fn check_output(model: &TypedModel, port: &Port) -> Result<()> {
    let fact = model.output_fact(0).map_err(|error| classify(&error))?;
    if fact.shape.as_concrete() != Some(&port.shape) || fact.datum_type != DatumType::F32 {
        return Err(invalid_bundle(format!(
            "output '{}' is {fact:?} in the file, but bundle.json makes it {:?} f32",
            port.name, port.shape
        )));
    }
    Ok(())
}
