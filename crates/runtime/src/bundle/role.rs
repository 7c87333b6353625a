//! The parts that networks play in a bundle, and what the manifest has for each.

#![forbid(unsafe_code)]

use std::fmt;

use super::checksum::Listed;
use super::manifest::{ListedFile, Manifest, Network};
use crate::Result;
use crate::error::invalid_argument;

/// The part a network plays. `Display` gives its key under `networks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Latent, time, class, context to velocity.
    Predictor,
    /// Latent, velocity, time, class, context to an offset of the velocity.
    Refiner,
    /// Latent to image.
    Decoder,
    /// Image to latent mean.
    Encoder,
    /// Tokens of a prompt to a context.
    Text,
}

/// What a network is planned for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Images in one call.
    pub batch: usize,
    /// Rows and columns of the latent.
    pub cells: [usize; 2],
}

impl Role {
    /// Every role, in the manifest's order.
    pub const ALL: &[Self] = &[Self::Predictor, Self::Refiner, Self::Decoder, Self::Encoder, Self::Text];
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Predictor => "predictor",
            Self::Refiner => "refiner",
            Self::Decoder => "decoder",
            Self::Encoder => "encoder",
            Self::Text => "text",
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
            Role::Text => networks.text.is_some(),
        }
    }

    /// The ONNX file that plays `role`; empty if there is none.
    pub fn file(&self, role: Role) -> &str {
        self.listed(role).first().map_or("", |listed| listed.name)
    }

    /// The size that the networks were made for, for `batch` images.
    #[doc(hidden)]
    pub fn extent(&self, batch: usize) -> Extent {
        Extent { batch, cells: [self.latent.height as usize, self.latent.width as usize] }
    }

    /// `[N, C, H, W]` of latents.
    #[doc(hidden)]
    pub fn latent_shape(&self, extent: Extent) -> [usize; 4] {
        let [height, width] = extent.cells;
        [extent.batch, self.latent.channels as usize, height, width]
    }

    /// Pixels that a cell of the latent stands for, down and across; none without an image.
    #[doc(hidden)]
    pub fn cell(&self) -> Option<[usize; 2]> {
        let (image, latent) = (self.image.as_ref()?, &self.latent);
        Some([(image.height / latent.height) as usize, (image.width / latent.width) as usize])
    }

    /// `[N, 3, H, W]` of images, which an encoder takes; none without.
    #[doc(hidden)]
    pub fn image_shape(&self, extent: Extent) -> Option<[usize; 4]> {
        let ([down, across], [height, width]) = (self.cell()?, extent.cells);
        Some([extent.batch, 3, height * down, width * across])
    }

    /// `[C, H, W]` that an image network takes and makes, for latents of `cells`.
    #[doc(hidden)]
    pub fn shapes(&self, role: Role, cells: [usize; 2]) -> Result<([usize; 3], [usize; 3])> {
        let extent = Extent { batch: 1, cells };
        let [_, latent @ ..] = self.latent_shape(extent);
        let shape = if role == Role::Decoder { self.maps_shape(extent) } else { self.image_shape(extent) };
        match (shape, self.has(role), role) {
            (Some([_, maps @ ..]), true, Role::Decoder) => Ok((latent, maps)),
            (Some([_, image @ ..]), true, Role::Encoder) => Ok((image, latent)),
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
            Role::Text => networks.text.as_ref().map_or_else(Vec::new, |n| n.listed(role)),
        }
    }

    /// The file that makes tokens of prompts, if there is one.
    pub(super) fn tokenizer(&self) -> Option<Listed<'_>> {
        let ListedFile { file, sha256 } = self.text.as_ref()?.tokenizer.as_ref()?;
        Some(Listed { name: file, sha256, field: "text.tokenizer.file".to_owned() })
    }

    /// Every file that is listed.
    pub(super) fn files(&self) -> impl Iterator<Item = Listed<'_>> {
        Role::ALL.iter().flat_map(|&role| self.listed(role)).chain(self.tokenizer())
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
