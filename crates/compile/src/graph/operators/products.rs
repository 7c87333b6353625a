//! `Einsum`: tract reads an equation that ends in an arrow as one without it.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::{Built, refused, tracts};

pub(super) fn einsum(context: &ParsingContext, node: &NodeProto) -> TractResult<Built> {
    let equation: String = node.get_attr::<&str>("equation")?.split_whitespace().collect();
    if let Some(inputs) = equation.strip_suffix("->") {
        // Without an arrow, the letters that are there once come out.
        let once = |letter: char| inputs.matches(letter).count() == 1;
        if inputs.contains("...") || inputs.chars().any(|c| c.is_ascii_alphabetic() && once(c)) {
            return Err(refused(
                "attribute 'equation' has no letters behind the arrow, which is not supported",
            ));
        }
    }
    tracts(context, node)
}
