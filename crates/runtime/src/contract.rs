//! The tensors each role has, at one batch, as the manifest describes them.

use crate::bundle::{Extent, Manifest, Role};
use crate::error::invalid_argument;
use crate::{Limits, Result};

/// The element types that networks exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ElementType {
    /// 32-bit float.
    F32,
    /// 64-bit signed integer.
    I64,
}

impl ElementType {
    /// What goes with this one.
    #[doc(hidden)]
    pub fn choose<T>(self, f32: T, i64: T) -> T {
        match self {
            Self::F32 => f32,
            Self::I64 => i64,
        }
    }
}

/// What an input or output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PortRole {
    /// The sampler's state `x`.
    State,
    /// A velocity: the cached one that a refiner takes, or what a predictor answers.
    Velocity,
    /// What a refiner answers, to be added to the velocity.
    Offset,
    /// The time of each image.
    Time,
    /// The class of each image.
    Class,
    /// The context of each image: what its prompt was encoded to.
    Context,
    /// The tokens of a prompt.
    Tokens,
    /// Which tokens are the prompt's own.
    TokenMask,
    /// The kind of each token.
    TokenTypes,
    /// A latent on its way to or from an image.
    Latent,
    /// An image, nominally in [-1, 1]; of a decoder that makes [maps](crate::Manifest::maps), all of them.
    Image,
}

/// One input or output: its name in the ONNX graph and its shape at this batch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Port {
    /// What it is.
    pub role: PortRole,
    /// Its name inside the ONNX graph.
    pub name: String,
    /// Type of its elements.
    pub element: ElementType,
    /// Its dimensions, the batch first.
    pub shape: Vec<usize>,
}

/// Inputs in the model contract's order (`x`, `v`, `t`, `y` if the network takes a class, `context` if it takes one)
/// and the output.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Contract {
    /// In this order.
    pub inputs: Vec<Port>,
    /// The one output.
    pub output: Port,
}

impl Contract {
    /// The contract of `role` at `extent`, its tensors within `limits`.
    #[doc(hidden)]
    pub fn new(manifest: &Manifest, role: Role, extent: Extent, limits: &Limits) -> Result<Self> {
        let (batch, networks) = (extent.batch, &manifest.networks);
        let latent = manifest.latent_shape(extent);
        let image = manifest.image_shape(extent);
        let maps = manifest.maps_shape(extent);
        for shape in [Some(latent), image, maps].into_iter().flatten() {
            limits.check_tensor(shape)?;
        }
        let f32 = |role: PortRole, name: &String, shape: &[usize]| Port {
            role,
            name: name.clone(),
            element: ElementType::F32,
            shape: shape.to_vec(),
        };
        let i64 = |role: PortRole, name: &String, shape: &[usize]| Port {
            role,
            name: name.clone(),
            element: ElementType::I64,
            shape: shape.to_vec(),
        };
        let contexts = manifest.context_shape().map(|one| [vec![batch], one].concat());
        if let Some(shape) = &contexts {
            let [rows, width] = [shape.iter().rev().skip(1).product(), shape.last().copied().unwrap_or(0)];
            limits.check_tensor([1, 1, rows, width])?;
        }
        // The last inputs, of networks that take them.
        let conditions = |class: &Option<String>, context: &Option<String>| {
            let class = class.iter().map(|name| i64(PortRole::Class, name, &[batch]));
            let context = context.iter().zip(&contexts);
            class.chain(context.map(|(name, shape)| f32(PortRole::Context, name, shape))).collect::<Vec<_>>()
        };
        let missing =
            || invalid_argument(format!("the bundle has no {role} (networks.{role} in bundle.json)"));
        Ok(match role {
            Role::Predictor => {
                let (i, output) = (&networks.predictor.inputs, &networks.predictor.output);
                let inputs = vec![f32(PortRole::State, &i.x, &latent), f32(PortRole::Time, &i.t, &[batch])];
                Self {
                    inputs: [inputs, conditions(&i.y, &i.context)].concat(),
                    output: f32(PortRole::Velocity, output, &latent),
                }
            }
            Role::Refiner => {
                let network = networks.refiner.as_ref().ok_or_else(missing)?;
                let i = &network.inputs;
                let inputs = vec![
                    f32(PortRole::State, &i.x, &latent),
                    f32(PortRole::Velocity, &i.v, &latent),
                    f32(PortRole::Time, &i.t, &[batch]),
                ];
                Self {
                    inputs: [inputs, conditions(&i.y, &i.context)].concat(),
                    output: f32(PortRole::Offset, &network.output, &latent),
                }
            }
            Role::Decoder => {
                let network = networks.decoder.as_ref().ok_or_else(missing)?;
                Self {
                    inputs: vec![f32(PortRole::Latent, &network.inputs.latent, &latent)],
                    output: f32(PortRole::Image, &network.output, &maps.ok_or_else(missing)?),
                }
            }
            Role::Encoder => {
                let network = networks.encoder.as_ref().ok_or_else(missing)?;
                Self {
                    inputs: vec![f32(PortRole::Image, &network.inputs.image, &image.ok_or_else(missing)?)],
                    output: f32(PortRole::Latent, &network.output, &latent),
                }
            }
            Role::Text => {
                let network = networks.text.as_ref().ok_or_else(missing)?;
                let tokens = manifest.text.as_ref().map_or(0, |text| text.max_tokens as usize);
                let i = &network.inputs;
                let named = [
                    (PortRole::Tokens, Some(&i.tokens)),
                    (PortRole::TokenMask, i.mask.as_ref()),
                    (PortRole::TokenTypes, i.types.as_ref()),
                ];
                let inputs =
                    named.into_iter().filter_map(|(role, name)| Some(i64(role, name?, &[batch, tokens])));
                Self {
                    inputs: inputs.collect(),
                    output: f32(PortRole::Context, &network.output, contexts.as_deref().unwrap_or_default()),
                }
            }
        })
    }
}
