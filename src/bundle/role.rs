//! The parts that networks play in a bundle.

#![forbid(unsafe_code)]

use std::fmt;

/// The part a network plays. `Display` gives its key under `networks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    pub const ALL: [Self; 4] = [Self::Predictor, Self::Refiner, Self::Decoder, Self::Encoder];
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
