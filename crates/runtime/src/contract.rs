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

/// Inputs in the model contract's order (`x`, `v`, `t`, and `y` if the network takes a class) and the output.
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
        // The last input, of a network that takes a class.
        let class = |name: &Option<String>| {
            name.iter()
                .map(|name| Port {
                    role: PortRole::Class,
                    name: name.clone(),
                    element: ElementType::I64,
                    shape: vec![batch],
                })
                .collect::<Vec<_>>()
        };
        let missing =
            || invalid_argument(format!("the bundle has no {role} (networks.{role} in bundle.json)"));
        Ok(match role {
            Role::Predictor => {
                let (i, output) = (&networks.predictor.inputs, &networks.predictor.output);
                let inputs = vec![f32(PortRole::State, &i.x, &latent), f32(PortRole::Time, &i.t, &[batch])];
                Self {
                    inputs: [inputs, class(&i.y)].concat(),
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
                    inputs: [inputs, class(&i.y)].concat(),
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
        })
    }
}
