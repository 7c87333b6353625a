//! One network: its file, its tensors, its cost.

use flowturbo::{Cost, Manifest, Model, Role};
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
    pub inputs: Vec<Tensor>,
    pub output: Tensor,
    pub cost: Cost,
}

/// A tensor by its name in the graph.
pub struct Tensor {
    pub name: String,
    pub kind: &'static str,
    pub shape: Vec<usize>,
}

impl Network {
    /// `images` is what a generation makes; a decoder or an encoder takes them one by one.
    pub fn new(model: &Model, role: Role, images: usize) -> Result<Self, Failure> {
        let manifest = model.manifest();
        let samples = matches!(role, Role::Predictor | Role::Refiner);
        let doubled = samples && manifest.sampling.guidance != 1.0;
        let batch = if samples { images * if doubled { 2 } else { 1 } } else { 1 };
        let (file, inputs, output) = tensors(manifest, role, batch).unwrap_or_default();
        Ok(Self {
            role,
            file,
            bytes: model.bundle().size(role)?,
            batch,
            doubled,
            inputs,
            output,
            cost: model.cost(role, batch)?,
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
            "inputs": self.inputs.iter().map(Tensor::json).collect::<Vec<_>>(),
            "output": self.output.json(),
            "parameters": self.cost.parameters(),
            "weights": weights,
            "flops": self.cost.flops,
            "constant_bytes": self.cost.constant_bytes,
            "largest_activation_bytes": self.cost.largest_activation_bytes,
            "nodes": self.cost.nodes,
        })
    }
}

impl Tensor {
    fn json(&self) -> Value {
        json!({ "name": self.name, "type": self.kind, "shape": self.shape })
    }
}

impl Default for Tensor {
    fn default() -> Self {
        Self { name: String::new(), kind: "f32", shape: Vec::new() }
    }
}

/// File, inputs and output of a network that the bundle has.
fn tensors(manifest: &Manifest, role: Role, batch: usize) -> Option<(String, Vec<Tensor>, Tensor)> {
    let (latent, networks) = (&manifest.latent, &manifest.networks);
    let latent = [batch, latent.channels as usize, latent.height as usize, latent.width as usize];
    let image = manifest.image.as_ref().map(|i| [batch, 3, i.height as usize, i.width as usize]);
    let f32 =
        |name: &String, shape: &[usize]| Tensor { name: name.clone(), kind: "f32", shape: shape.to_vec() };
    let i64 = |name: &String| Tensor { name: name.clone(), kind: "i64", shape: vec![batch] };
    Some(match role {
        Role::Predictor => {
            let (network, i) = (&networks.predictor, &networks.predictor.inputs);
            let inputs = vec![f32(&i.x, &latent), f32(&i.t, &[batch]), i64(&i.y)];
            (network.file.clone(), inputs, f32(&network.output, &latent))
        }
        Role::Refiner => {
            let network = networks.refiner.as_ref()?;
            let i = &network.inputs;
            let inputs = vec![f32(&i.x, &latent), f32(&i.v, &latent), f32(&i.t, &[batch]), i64(&i.y)];
            (network.file.clone(), inputs, f32(&network.output, &latent))
        }
        Role::Decoder => {
            let network = networks.decoder.as_ref()?;
            let inputs = vec![f32(&network.inputs.latent, &latent)];
            (network.file.clone(), inputs, f32(&network.output, &image?))
        }
        Role::Encoder => {
            let network = networks.encoder.as_ref()?;
            let inputs = vec![f32(&network.inputs.image, &image?)];
            (network.file.clone(), inputs, f32(&network.output, &latent))
        }
    })
}
