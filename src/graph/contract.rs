//! The tensors each role has, at one batch, as the manifest describes them.

use crate::Result;
use crate::bundle::{Manifest, Role};
use crate::error::{invalid_argument, limit_exceeded};

/// The element types that networks exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ElementType {
    F32,
    I64,
}

/// One input or output: its name in the ONNX graph and its shape at this batch.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) element: ElementType,
    pub(crate) shape: Vec<usize>,
}

/// Inputs in the model contract's order (`x`, `v`, `t`, `y`) and the output.
#[derive(Clone, Debug)]
pub(crate) struct Contract {
    pub(crate) inputs: Vec<Port>,
    pub(crate) output: Port,
}

impl Contract {
    /// The contract of `role` for `batch` images; sizes are checked not to overflow.
    pub(crate) fn new(manifest: &Manifest, role: Role, batch: usize) -> Result<Self> {
        let (latent, networks) = (&manifest.latent, &manifest.networks);
        let latent = [batch, latent.channels as usize, latent.height as usize, latent.width as usize];
        let image = manifest.image.as_ref().map(|i| [batch, 3, i.height as usize, i.width as usize]);
        for shape in [Some(latent), image].into_iter().flatten() {
            let bytes = shape.iter().try_fold(4usize, |product, &n| product.checked_mul(n));
            if bytes.is_none_or(|bytes| bytes > isize::MAX as usize) {
                return Err(limit_exceeded(format!("a tensor of shape {shape:?} does not fit in memory")));
            }
        }
        let f32 = |name: &String, shape: &[usize]| Port {
            name: name.clone(),
            element: ElementType::F32,
            shape: shape.to_vec(),
        };
        let labels =
            |name: &String| Port { name: name.clone(), element: ElementType::I64, shape: vec![batch] };
        let missing =
            || invalid_argument(format!("the bundle has no {role} (networks.{role} in bundle.json)"));
        let image = || image.ok_or_else(missing);
        Ok(match role {
            Role::Predictor => {
                let (i, output) = (&networks.predictor.inputs, &networks.predictor.output);
                let inputs = vec![f32(&i.x, &latent), f32(&i.t, &[batch]), labels(&i.y)];
                Self { inputs, output: f32(output, &latent) }
            }
            Role::Refiner => {
                let network = networks.refiner.as_ref().ok_or_else(missing)?;
                let i = &network.inputs;
                let inputs = vec![f32(&i.x, &latent), f32(&i.v, &latent), f32(&i.t, &[batch]), labels(&i.y)];
                Self { inputs, output: f32(&network.output, &latent) }
            }
            Role::Decoder => {
                let network = networks.decoder.as_ref().ok_or_else(missing)?;
                Self {
                    inputs: vec![f32(&network.inputs.latent, &latent)],
                    output: f32(&network.output, &image()?),
                }
            }
            Role::Encoder => {
                let network = networks.encoder.as_ref().ok_or_else(missing)?;
                Self {
                    inputs: vec![f32(&network.inputs.image, &image()?)],
                    output: f32(&network.output, &latent),
                }
            }
        })
    }
}
