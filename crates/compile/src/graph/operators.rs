//! ONNX operators that this build of tract lacks or reads wrongly, spelled out in operations that it has.
//!
//! docs/tract.md says what tract makes of each. A [`Reading`] is wired when all that its node takes is known; the
//! laws of [`standard`](super::standard) have checked it by then.

mod attention;
pub(super) mod conv_transpose;
mod elementwise;
mod integers;
pub(super) mod pad;
mod pieces;
mod places;
mod pools;
mod products;
mod recurrent;
mod reductions;
mod resample;
pub(super) mod resize;
pub(super) mod rounded;
mod scan;
pub(super) mod slice;

pub use resample::Resample;
pub use rounded::Rounded;

use std::sync::{Arc, OnceLock};

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::standard::{Node, Operand, Seen};
use crate::Error;
use crate::error::{invalid_bundle, unsupported};

/// Teaches `onnx` what it lacks.
pub(super) fn register(onnx: &mut Onnx) {
    onnx.op_register.insert("Attention", attention::attention);
    onnx.op_register.insert("AveragePool", pools::window);
    onnx.op_register.insert("Cast", integers::cast);
    onnx.op_register.insert("Celu", |c, n| reading(c, n, elementwise::celu));
    onnx.op_register.insert("Concat", pieces::concat);
    onnx.op_register.insert("ConvTranspose", |c, n| reading(c, n, conv_transpose::wire));
    onnx.op_register.insert("Einsum", products::einsum);
    onnx.op_register.insert("GatherND", |c, n| reading(c, n, places::gather));
    onnx.op_register.insert("GlobalLpPool", pools::global_lp_pool);
    onnx.op_register.insert("MaxPool", pools::window);
    onnx.op_register.insert("OneHot", places::one_hot);
    onnx.op_register.insert("Pad", |c, n| reading(c, n, pad::wire));
    onnx.op_register.insert("Resize", |c, n| reading(c, n, resize::wire));
    onnx.op_register.insert(rounded::NAME, |c, n| reading(c, n, rounded::wire));
    onnx.op_register.insert("Pow", |c, n| reading(c, n, elementwise::power));
    onnx.op_register.insert("Range", |c, n| reading(c, n, integers::range));
    onnx.op_register.insert("Scan", scan::scan);
    onnx.op_register.insert("ScatterND", |c, n| reading(c, n, places::scatter));
    onnx.op_register.insert("Shape", integers::shape);
    onnx.op_register.insert("Size", integers::shape);
    onnx.op_register.insert("Slice", |c, n| reading(c, n, slice::wire));
    onnx.op_register.insert("Softplus", |c, n| reading(c, n, elementwise::softplus));
    onnx.op_register.insert("Swish", |c, n| reading(c, n, elementwise::swish));
    onnx.op_register.insert("Upsample", |c, n| reading(c, n, resize::wire));
    for name in ["GRU", "LSTM", "RNN"] {
        onnx.op_register.insert(name, recurrent::recurrent);
    }
    for name in reductions::NAMES {
        onnx.op_register.insert(name, reductions::reduction);
    }
    for name in
        ["Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"]
    {
        onnx.op_register.insert(name, |_, _| Err(noise().into()));
    }
}

pub(super) type Built = (Box<dyn InferenceOp>, Vec<String>);

/// tract's own reading of a node.
fn tracts(context: &ParsingContext, node: &NodeProto) -> TractResult<Built> {
    static TRACT: OnceLock<Onnx> = OnceLock::new();
    match TRACT.get_or_init(tract_onnx::onnx).op_register.0.get(&node.op_type) {
        Some(read) => read(context, node),
        None => Err(refused("tract knows no such operator")),
    }
}

/// Breaks the standard.
fn broken(what: impl Into<String>) -> TractError {
    invalid_bundle(what).into()
}

/// Sound, and beyond this build.
fn refused(what: impl Into<String>) -> TractError {
    unsupported(what).into()
}

/// Why a node that makes noise is refused: a seed is one image, whatever machine it is made on.
pub(super) fn noise() -> Error {
    unsupported(
        "makes noise of its own, but a seed must give one image; export the model without it, or in \
         evaluation mode",
    )
}

/// Wires a node whose operands are all known.
type Wire = fn(&Seen, &mut Wiring) -> TractResult<OutletId>;

fn reading(context: &ParsingContext, node: &NodeProto, wire: Wire) -> TractResult<Built> {
    let node = Arc::new(Node::new(node, context.onnx_operator_set_version));
    Ok((expand(Reading { node, wire }), Vec::new()))
}

/// A node that has one output, of the type of its first input.
#[derive(Clone, Debug)]
struct Reading {
    node: Arc<Node>,
    wire: Wire,
}

impl Expansion for Reading {
    fn name(&self) -> StaticName {
        self.node.operator.clone().into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_output_arity(outputs, 1)?;
        ensure!(!inputs.is_empty(), "takes nothing");
        solver.equals(&inputs[0].datum_type, &outputs[0].datum_type)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let seen = |outlet: &OutletId| -> TractResult<Operand> {
            let fact = model.outlet_fact(*outlet)?;
            let shape = fact.shape.as_concrete().context("takes a tensor of open sizes")?.to_vec();
            Ok(Operand { shape, value: fact.konst.clone() })
        };
        let operands = inputs.iter().map(seen).collect::<TractResult<Vec<_>>>()?;
        let seen = self.node.see(&operands, |operand| Some(operand.clone())).context("lacks an input")?;
        let mut wiring = Wiring { prefix, model, inputs, steps: 0 };
        let outlet = (self.wire)(&seen, &mut wiring)?;
        wiring.finish(outlet)
    }
}

/// A model in which a node is being spelled out.
struct Wiring<'a> {
    prefix: &'a str,
    model: &'a mut TypedModel,
    /// Those of the node that are there.
    inputs: &'a [OutletId],
    steps: usize,
}

impl Wiring<'_> {
    fn name(&mut self) -> String {
        self.steps += 1;
        format!("{}.{}", self.prefix, self.steps)
    }

    fn op(&mut self, op: impl Into<Box<dyn TypedOp>>, inputs: &[OutletId]) -> TractResult<OutletId> {
        let name = self.name();
        Ok(self.model.wire_node(name, op, inputs)?[0])
    }

    fn constant(&mut self, tensor: impl IntoArcTensor) -> TractResult<OutletId> {
        let name = self.name();
        self.model.add_const(name, tensor)
    }

    fn kind(&self, outlet: OutletId) -> TractResult<DatumType> {
        Ok(self.model.outlet_fact(outlet)?.datum_type)
    }

    fn shape(&self, outlet: OutletId) -> TractResult<Vec<usize>> {
        let shape = self.model.outlet_fact(outlet)?.shape.as_concrete().map(<[usize]>::to_vec);
        shape.ok_or_else(|| invalid_bundle("takes a tensor of open sizes").into())
    }

    /// The last step, if there is one, goes by the node's own name.
    fn finish(self, outlet: OutletId) -> TractResult<TVec<OutletId>> {
        let own = self.model.node(outlet.node).name.strip_prefix(self.prefix);
        if own.is_some_and(|rest| rest.starts_with('.')) {
            self.model.rename_node(outlet.node, self.prefix)?;
        }
        Ok(tvec!(outlet))
    }
}
