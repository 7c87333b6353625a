//! What tract says of a graph that it cannot load, as an error that names the ONNX node and its operator.

use std::collections::HashMap;

use tract_onnx::Onnx;
use tract_onnx::pb::{GraphProto, NodeProto};
use tract_onnx::prelude::{TractError, TypedModel};

use super::import::classify;
use super::standard::Placed;
use crate::error::{invalid_bundle, unsupported};
use crate::{Error, Result};

/// The nodes of a graph, kept while tract has it.
pub(super) struct Nodes {
    /// By name: the operator, and whether tract knows it.
    operators: HashMap<String, (String, bool)>,
}

impl Nodes {
    /// Notes the nodes of `graph`, all of which have names of their own.
    pub(super) fn note(graph: &GraphProto, onnx: &Onnx) -> Self {
        let row = |node: &NodeProto| {
            let known = onnx.op_register.0.contains_key(&node.op_type);
            (node.name.clone(), (node.op_type.clone(), known))
        };
        Self { operators: graph.node.iter().map(row).collect() }
    }

    /// tract's chain of causes from the node on, the node in front.
    pub(super) fn explain(&self, error: &TractError) -> Error {
        if let Some(Placed(own)) = error.downcast_ref::<Placed>() {
            return own.clone();
        }
        let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
        let found = causes.iter().enumerate().find_map(|(i, cause)| Some((i, self.named_in(cause)?)));
        let Some((i, (name, (_, known)))) = found else { return classify(error) };
        let place = self.place(name);
        if !known {
            let message = "tract knows no such operator; export the model without it, or for another opset";
            return unsupported(message).at(place);
        }
        // Our own errors pass through tract unchanged.
        if let Some(own) = error.downcast_ref::<Error>() {
            return own.clone().at(place);
        }
        let cause = causes[i + 1..].join(": ").replace(['\n', '\r'], " ");
        let cause: String = cause.chars().take(400).collect();
        if cause.to_lowercase().contains("unimplemented") || cause.contains("not supported") {
            unsupported(format!("tract cannot run it: {cause}")).at(place)
        } else {
            invalid_bundle(format!("tract refuses it: {cause}")).at(place)
        }
    }

    /// Holds every shape of the typed graph to be one: tract lets sizes that do not go together pass while no operation
    /// needs to know them.
    pub(super) fn check_shapes(&self, model: &TypedModel) -> Result<()> {
        for node in model.nodes() {
            for output in &node.outputs {
                let shape = &output.fact.shape;
                if shape.iter().any(|dim| dim.to_i64().is_err() && dim.symbols().is_empty()) {
                    let message = format!("the sizes of what it takes do not go together: {shape:?}");
                    return Err(invalid_bundle(message).at(self.place(&node.name)));
                }
            }
        }
        Ok(())
    }

    /// Where tract's node is in the file; tract adds to the names of nodes that it takes apart.
    pub(super) fn place(&self, tracts: &str) -> String {
        let own = |name: &str| {
            tracts.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let nodes = self.operators.iter().filter(|(name, _)| own(name));
        match nodes.max_by_key(|(name, _)| name.len()) {
            Some((name, (operator, _))) => format!("node '{name}' ({operator})"),
            None => format!("node '{tracts}'"),
        }
    }

    /// The node that one of tract's messages is about: `node NAME (OPERATOR)` while it reads the file, `"NAME"` later.
    fn named_in(&self, message: &str) -> Option<(&String, &(String, bool))> {
        let about = |(name, (operator, _)): &(&String, &(String, bool))| {
            message.contains(&format!("\"{name}\"")) || message.contains(&format!("node {name} ({operator})"))
        };
        self.operators.iter().filter(about).max_by_key(|(name, _)| name.len())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Graph;
    use super::super::testing::{files, written};
    use crate::{ErrorKind, Role};

    #[test]
    fn what_tract_cannot_load_is_named_by_file_node_operator_and_cause() {
        use ErrorKind::{InvalidBundle, Unsupported};
        for (graph, kind, operator, cause) in [
            ("velocity = FancyMax(x)", Unsupported, "FancyMax", "no such operator"),
            ("velocity = MaxPool(x)", InvalidBundle, "MaxPool", "kernel_shape"),
            ("velocity = Transpose(x) perm=3", InvalidBundle, "Transpose", "perm"),
            ("w = noise [3, 5]\n velocity = MatMul(x, w)", InvalidBundle, "MatMul", "16"),
            ("w = noise [7]\n velocity = Add(x, w)", InvalidBundle, "Add", "go together"),
            ("opset 23\n velocity = Attention(x, x, x, , x, x)", Unsupported, "Attention", "cache"),
            (
                "opset 23\n k = Transpose(x) perm=[0,1,3,2]\n velocity = Attention(x, k, x)",
                InvalidBundle,
                "Attention",
                "fit",
            ),
        ] {
            for named in [true, false] {
                let mut proto = written(graph);
                if !named {
                    proto.graph.as_mut().unwrap().node.iter_mut().for_each(|node| node.name.clear());
                }
                let bundle = files(&proto).open().unwrap();
                let error =
                    Graph::import(&bundle, Role::Predictor, bundle.manifest().extent(2)).err().unwrap();
                let (line, name) = (error.to_string(), if named { "makes velocity" } else { "velocity" });
                println!("{line}");
                assert_eq!(error.kind(), kind, "{line}");
                assert!(line.starts_with(&format!("predictor.onnx: node '{name}' ({operator}): ")), "{line}");
                assert!(line.contains(cause), "{line}");
            }
        }
    }

    #[test]
    fn an_operator_that_nothing_needs_may_be_unknown() {
        let bundle = files(&written("unused = FancyMax(x)\n velocity = Neg(x)")).open().unwrap();
        assert!(Graph::import(&bundle, Role::Predictor, bundle.manifest().extent(2)).is_ok());
    }
}
