//! One network: its file, its tensors, its cost.

use flowturbo::{Contract, Cost, ElementType, Fallback, Manifest, Model, Port, Role};
use serde_json::{Map, Value, json};

use crate::failure::Failure;

/// A network as planned for a number of images.
pub struct Network {
    pub role: Role,
    pub file: String,
    /// Of all its files.
    pub bytes: u64,
    /// Images in one call.
    pub batch: usize,
    /// True if the batch holds a null half for guidance.
    pub doubled: bool,
    pub contract: Contract,
    pub cost: Cost,
    /// What plain tract runs; nothing for an encoder, which is not planned.
    pub fallbacks: Vec<Fallback>,
}

/// The batch in which a network meets so many images under the bundle's own guidance, and whether it holds a null half.
pub fn batch(manifest: &Manifest, role: Role, images: usize) -> (usize, bool) {
    let guided = manifest.sampling.guidance != 1.0;
    let doubled = match role {
        Role::Predictor => guided,
        Role::Refiner => guided && !manifest.refiner_guided(),
        _ => return (1, false),
    };
    (if doubled { 2 * images } else { images }, doubled)
}

impl Network {
    /// `images` is what a generation makes; a decoder or an encoder takes them one by one.
    pub fn new(model: &Model, role: Role, images: usize) -> Result<Self, Failure> {
        let manifest = model.manifest();
        let (batch, doubled) = batch(manifest, role, images);
        Ok(Self {
            role,
            file: manifest.file(role).to_owned(),
            bytes: model.bundle().size(role)?,
            batch,
            doubled,
            contract: model.contract(role, batch)?,
            cost: model.cost(role, batch)?,
            fallbacks: if role == Role::Encoder { Vec::new() } else { model.fallbacks(role, batch)? },
        })
    }

    pub fn json(&self) -> Value {
        let weights: Map<String, Value> =
            self.cost.weights.iter().map(|(kind, count)| (kind.clone(), json!(count))).collect();
        json!({
            "file": self.file,
            "bytes": self.bytes,
            "batch": self.batch,
            "doubled_for_guidance": self.doubled,
            "inputs": self.contract.inputs.iter().map(port).collect::<Vec<_>>(),
            "output": port(&self.contract.output),
            "parameters": self.cost.parameters(),
            "weights": weights,
            "flops": self.cost.flops,
            "constant_bytes": self.cost.constant_bytes,
            "largest_activation_bytes": self.cost.largest_activation_bytes,
            "nodes": self.cost.nodes,
            "fallbacks": self.fallbacks.iter().filter_map(operation).collect::<Vec<_>>(),
            "left_to_tract": self.left_to_tract(),
        })
    }

    /// Why plain tract runs the whole network, if it does.
    pub fn left_to_tract(&self) -> Option<&str> {
        self.fallbacks.iter().find_map(|fallback| match fallback {
            Fallback::Network { reason } => Some(reason.as_str()),
            _ => None,
        })
    }
}

/// What to call a tensor's elements.
pub fn kind(port: &Port) -> &'static str {
    match port.element {
        ElementType::I64 => "i64",
        _ => "f32",
    }
}

fn operation(fallback: &Fallback) -> Option<Value> {
    match fallback {
        Fallback::Operation { operation, node } => Some(json!({ "operation": operation, "node": node })),
        _ => None,
    }
}

fn port(port: &Port) -> Value {
    json!({ "name": port.name, "type": kind(port), "shape": port.shape })
}
