//! ONNX operators that this build of tract lacks or reads wrongly, spelled out in operations that it has or in ours.

mod attention;
mod pools;
mod products;
mod recurrent;
mod reductions;

use std::sync::OnceLock;

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{TractError, TractResult};
use tract_onnx::tract_hir::internal::InferenceOp;

use crate::error::{invalid_bundle, unsupported};

/// Teaches `onnx` what it lacks.
pub(super) fn register(onnx: &mut Onnx) {
    onnx.op_register.insert("Attention", attention::attention);
    for name in ["GRU", "LSTM", "RNN"] {
        onnx.op_register.insert(name, recurrent::recurrent);
    }
    for name in reductions::NAMES {
        onnx.op_register.insert(name, reductions::reduction);
    }
    onnx.op_register.insert("AveragePool", pools::window);
    onnx.op_register.insert("Einsum", products::einsum);
    onnx.op_register.insert("GlobalLpPool", pools::global_lp_pool);
    onnx.op_register.insert("MaxPool", pools::window);
}

type Built = (Box<dyn InferenceOp>, Vec<String>);

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
