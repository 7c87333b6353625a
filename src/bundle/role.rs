//! The parts that networks play in a bundle, and what the manifest has for each.

#![forbid(unsafe_code)]

use std::fmt;

use super::checksum::Listed;
use super::manifest::{Manifest, Network};
use crate::Result;
use crate::error::invalid_argument;

/// The part a network plays. `Display` gives its key under `networks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Latent, time, class to velocity.
    Predictor,
    /// Latent, velocity, time, class to an offset of the velocity.
    Refiner,
    /// Latent to image.
    Decoder,
    /// Image to latent mean.
    Encoder,
}

impl Role {
    /// Every role, in the manifest's order.
    pub const ALL: &[Self] = &[Self::Predictor, Self::Refiner, Self::Decoder, Self::Encoder];
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Predictor => "predictor",
            Self::Refiner => "refiner",
            Self::Decoder => "decoder",
            Self::Encoder => "encoder",
        })
    }
}

impl Manifest {
    /// True if the bundle has a network for `role`.
    pub fn has(&self, role: Role) -> bool {
        let networks = &self.networks;
        match role {
            Role::Predictor => true,
            Role::Refiner => networks.refiner.is_some(),
            Role::Decoder => networks.decoder.is_some(),
            Role::Encoder => networks.encoder.is_some(),
        }
    }

    /// The ONNX file that plays `role`; empty if there is none.
    pub fn file(&self, role: Role) -> &str {
        self.listed(role).first().map_or("", |listed| listed.name)
    }

    /// `[C, H, W]` that an image network takes and makes.
    pub(crate) fn shapes(&self, role: Role) -> Result<([usize; 3], [usize; 3])> {
        let latent = [self.latent.channels as usize, self.latent.height as usize, self.latent.width as usize];
        match (&self.image, self.has(role), role) {
            (Some(image), true, Role::Decoder) => {
                Ok((latent, [3, image.height as usize, image.width as usize]))
            }
            (Some(image), true, Role::Encoder) => {
                Ok(([3, image.height as usize, image.width as usize], latent))
            }
            _ => Err(invalid_argument(format!("bundle '{}' has no {role}", self.name))),
        }
    }

    /// The files of a network, its graph first; empty if the bundle has no such network.
    pub(super) fn listed(&self, role: Role) -> Vec<Listed<'_>> {
        let networks = &self.networks;
        match role {
            Role::Predictor => networks.predictor.listed(role),
            Role::Refiner => networks.refiner.as_ref().map_or_else(Vec::new, |n| n.listed(role)),
            Role::Decoder => networks.decoder.as_ref().map_or_else(Vec::new, |n| n.listed(role)),
            Role::Encoder => networks.encoder.as_ref().map_or_else(Vec::new, |n| n.listed(role)),
        }
    }
}

impl<I> Network<I> {
    fn listed(&self, role: Role) -> Vec<Listed<'_>> {
        let graph = Listed { name: &self.file, sha256: &self.sha256, field: format!("networks.{role}.file") };
        let external = self.external_data.iter().enumerate().map(|(i, entry)| Listed {
            name: &entry.file,
            sha256: &entry.sha256,
            field: format!("networks.{role}.external_data[{i}].file"),
        });
        std::iter::once(graph).chain(external).collect()
    }
}
