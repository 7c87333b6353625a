//! What `bundle.json` says: one struct per JSON object, fields named as in the file.
//!
//! The rules that go beyond types are in `validate.rs`, the format's description in `docs/bundle.md`.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use serde::Deserialize;

use super::maps::Map;
use super::parse::{
    direction, no_prompt, object, object_map, objects, present, present_object, present_size, size,
};

/// The whole of `bundle.json`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Manifest {
    /// Always `flowturbo-bundle`.
    pub format: String,
    /// `major.minor`.
    pub format_version: String,
    /// Short name: 1 to 64 characters of `[A-Za-z0-9._-]`.
    pub name: String,
    /// One line for people.
    #[serde(default, deserialize_with = "present")]
    pub description: Option<String>,
    /// SPDX expression for the weights.
    #[serde(default, deserialize_with = "present")]
    pub license: Option<String>,
    /// Shape and scaling of the latent.
    #[serde(deserialize_with = "object")]
    pub latent: Latent,
    /// Size of the image; there is one if there is a decoder or an encoder.
    #[serde(default, deserialize_with = "present_object")]
    pub image: Option<ImageSize>,
    /// The class table.
    #[serde(deserialize_with = "object")]
    pub classes: Classes,
    /// The contexts that the networks take, if they take any. Since format 1.1.
    #[serde(default, deserialize_with = "present_object")]
    pub text: Option<Text>,
    /// How the networks count time.
    #[serde(default, deserialize_with = "object")]
    pub time: Time,
    /// What classifier-free guidance touches; see [`guided_channels`](Self::guided_channels).
    #[serde(default, deserialize_with = "present_object")]
    pub guidance: Option<Guidance>,
    /// Default schedule and guidance scale.
    #[serde(deserialize_with = "object")]
    pub sampling: Sampling,
    /// The networks' files.
    #[serde(deserialize_with = "object")]
    pub networks: Networks,
}

/// Shape of the latent, and the affine map between it and the autoencoder's own.
///
/// Stored latent = (encoder mean − shift) · scale; decoder input = latent / scale + shift.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Latent {
    /// Channels, at least 1.
    #[serde(deserialize_with = "size")]
    pub channels: u32,
    /// Rows, at least 1.
    #[serde(deserialize_with = "size")]
    pub height: u32,
    /// Columns, at least 1.
    #[serde(deserialize_with = "size")]
    pub width: u32,
    /// Finite, not 0. Default 1.
    #[serde(default = "one")]
    pub scale: f32,
    /// Finite. Default 0.
    #[serde(default)]
    pub shift: f32,
}

/// Size of the image in pixels: RGB in [-1, 1], a whole multiple of the latent's size.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct ImageSize {
    /// Rows.
    #[serde(deserialize_with = "size")]
    pub height: u32,
    /// Columns.
    #[serde(deserialize_with = "size")]
    pub width: u32,
    /// Whether decoder and encoder pad circularly along both axes, at any size: latents that tile become images
    /// that tile. Default false.
    #[serde(default)]
    pub wraps: bool,
    /// What red, green and blue of a small preview are, in [-1, 1]: for each, a factor for every channel of the
    /// sampled latent, then a constant. Fitted to the decoder's answers to noise if none, which is rougher.
    #[serde(default, deserialize_with = "present")]
    pub preview: Option<[Vec<f32>; 3]>,
    /// The maps that the decoder makes, in the order of its channels, colour first; colour alone if none. See
    /// [`Manifest::maps`].
    #[serde(default, deserialize_with = "present")]
    pub maps: Option<Vec<Map>>,
}

/// The class table of a class-conditional model.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Classes {
    /// Number of classes, at least 1; classes are `0..count`.
    #[serde(deserialize_with = "size")]
    pub count: u32,
    /// The `y` that means "no class" in guidance; at least `count`. None if the networks were trained on classes alone:
    /// they cannot be guided.
    #[serde(default, deserialize_with = "present")]
    pub null: Option<i64>,
    /// One name per class; several classes may have the same one.
    #[serde(default, deserialize_with = "present")]
    pub labels: Option<Vec<String>>,
}

/// The contexts that predictor and refiner take: what a text encoder makes of prompts, or a caller of anything.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Text {
    /// Floats of a context, or of each of its tokens: D, at least 1.
    #[serde(deserialize_with = "size")]
    pub width: u32,
    /// Tokens of a context, L: it is `[N, L, D]`. None of a pooled one, which is `[N, D]`.
    #[serde(default, deserialize_with = "present_size")]
    pub tokens: Option<u32>,
    /// Tokens that a prompt may have, at least 1. Default 128.
    #[serde(default = "max_tokens", deserialize_with = "size")]
    pub max_tokens: u32,
    /// What makes tokens of prompts, for `networks.text`.
    #[serde(default, deserialize_with = "present_object")]
    pub tokenizer: Option<ListedFile>,
    /// The context of a request without a prompt, and what guidance goes away from. Default
    /// [`Zeros`](NoPrompt::Zeros).
    #[serde(default, deserialize_with = "no_prompt")]
    pub no_prompt: NoPrompt,
}

/// The context that stands for no prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NoPrompt {
    /// Zeros.
    #[default]
    Zeros,
    /// What the text encoder makes of the empty prompt.
    Empty,
}

/// How the networks count time.
///
/// The sampler's time s runs from 0 (noise) to 1 (data); a network is given t = scale · s, or
/// t = scale · (1 − s) if it counts from data to noise.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Time {
    /// Which end is 0. Default [`NoiseToData`](Direction::NoiseToData).
    #[serde(deserialize_with = "direction")]
    pub direction: Direction,
    /// Finite, not 0. Default 1.
    pub scale: f32,
    /// 1 or -1: dx/ds = `velocity_sign` · the network's output. Default 1.
    ///
    /// A refiner is given v in the network's own sign, and its offset has the same sign.
    pub velocity_sign: i32,
}

/// The direction in which a network's time runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// t = 0 is noise.
    NoiseToData,
    /// t = 0 is data.
    DataToNoise,
}

/// What classifier-free guidance touches.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Guidance {
    /// The first `channels` channels of the latent are guided: 1 to `latent.channels`.
    #[serde(deserialize_with = "size")]
    pub channels: u32,
    /// Whether the refiner is told guided velocities and answers offsets to guided ones, so that it is asked once for
    /// an image and not for its class and for no class. Default false.
    #[serde(default)]
    pub refiner_guided: bool,
}

/// What a request uses that says nothing else.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Sampling {
    /// Such as `H1P5R3`.
    pub schedule: String,
    /// Guidance scale, finite, at least 0; 1 is no guidance.
    pub guidance: f32,
    /// Named alternatives; a name is 1 to 64 characters of `[A-Za-z0-9._-]`.
    #[serde(default, deserialize_with = "object_map")]
    pub presets: BTreeMap<String, Preset>,
    /// What `flowturbo tune` found to be the numbers to compute in. Since format 1.1.
    #[serde(default, deserialize_with = "present_object")]
    pub precision: Option<Measured>,
}

/// Numbers to compute in, and what they were measured on.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Measured {
    /// `f32`, `f16-weights`, `bf16` or `int8`.
    pub numbers: String,
    /// The processor, and how many threads.
    pub device: String,
    /// How many times as fast an image was as in `f32`.
    pub speedup: f32,
    /// How far latents were from those of `f32`, as root mean square.
    pub error: f32,
}

/// A named schedule and guidance scale; [`Bundle::presets`](crate::Bundle::presets) has them ready to use.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Preset {
    /// Such as `H1P5R3`.
    pub schedule: String,
    /// Guidance scale, finite, at least 0; 1 is no guidance. The default one if none.
    #[serde(default, deserialize_with = "present")]
    pub guidance: Option<f32>,
}

/// The networks' files.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Networks {
    /// The heavy velocity network.
    #[serde(deserialize_with = "object")]
    pub predictor: Network<PredictorInputs>,
    /// The light network that corrects a cached velocity; R steps need it.
    #[serde(default, deserialize_with = "present_object")]
    pub refiner: Option<Network<RefinerInputs>>,
    /// Latent to image.
    #[serde(default, deserialize_with = "present_object")]
    pub decoder: Option<Network<DecoderInputs>>,
    /// Image to latent mean.
    #[serde(default, deserialize_with = "present_object")]
    pub encoder: Option<Network<EncoderInputs>>,
    /// Prompt to context. Since format 1.1.
    #[serde(default, deserialize_with = "present_object")]
    pub text: Option<Network<TextInputs>>,
}

/// One network: its files, and its tensors' names inside the ONNX graph.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(bound = "I: Deserialize<'de>")]
#[non_exhaustive]
pub struct Network<I> {
    /// The ONNX graph.
    pub file: String,
    /// SHA-256 of `file`, 64 lower-case hex digits.
    pub sha256: String,
    /// Files beside the graph that hold weights.
    #[serde(default, deserialize_with = "objects")]
    pub external_data: Vec<ListedFile>,
    /// Names of the input tensors.
    #[serde(deserialize_with = "object")]
    pub inputs: I,
    /// Name of the output tensor.
    pub output: String,
}

/// A file and its hash.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct ListedFile {
    /// A flat name: 1 to 128 characters of `[A-Za-z0-9._-]`, not starting with a dot.
    pub file: String,
    /// SHA-256 of `file`, 64 lower-case hex digits.
    pub sha256: String,
}

macro_rules! inputs {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* })*) => { $(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
        #[non_exhaustive]
        pub struct $name { $($(#[$field_meta])* pub $field: $type,)* }

        impl TensorNames for $name {
            fn named(&self) -> Vec<(&'static str, &str)> {
                let all = [$((stringify!($field), Option::<&String>::from(&self.$field))),*];
                all.into_iter().filter_map(|(input, tensor)| Some((input, tensor?.as_str()))).collect()
            }
        }
    )* };
}

/// Input tensors by role, for checks that are the same for every network.
pub(super) trait TensorNames {
    fn named(&self) -> Vec<(&'static str, &str)>;
}

inputs! {
    /// Names of the predictor's inputs.
    PredictorInputs {
        /// Noisy latent, f32 `[N, C, H, W]`.
        x: String,
        /// Time, f32 `[N]`.
        t: String,
        /// Class, i64 `[N]`; none of a network that takes none.
        #[serde(default, deserialize_with = "present")]
        y: Option<String>,
        /// Context, f32 `[N, D]` or `[N, L, D]`; none of a network that takes none. Since format 1.1.
        #[serde(default, deserialize_with = "present")]
        context: Option<String>,
    }
    /// Names of the refiner's inputs.
    RefinerInputs {
        /// Noisy latent, f32 `[N, C, H, W]`.
        x: String,
        /// Cached velocity, f32 `[N, C, H, W]`.
        v: String,
        /// Time, f32 `[N]`.
        t: String,
        /// Class, i64 `[N]`; none of a network that takes none.
        #[serde(default, deserialize_with = "present")]
        y: Option<String>,
        /// Context, f32 `[N, D]` or `[N, L, D]`; none of a network that takes none. Since format 1.1.
        #[serde(default, deserialize_with = "present")]
        context: Option<String>,
    }
    /// Names of the decoder's inputs.
    DecoderInputs {
        /// Unscaled latent, f32 `[N, C, H, W]`.
        latent: String,
    }
    /// Names of the encoder's inputs.
    EncoderInputs {
        /// RGB in [-1, 1], f32 `[N, 3, H, W]`.
        image: String,
    }
    /// Names of the text encoder's inputs.
    TextInputs {
        /// Tokens, i64 `[N, T]`.
        tokens: String,
        /// 1 for each token of the prompt, 0 for what fills it up, i64 `[N, T]`; none of a network that takes none.
        #[serde(default, deserialize_with = "present")]
        mask: Option<String>,
        /// Zeros, i64 `[N, T]`; none of a network that takes none.
        #[serde(default, deserialize_with = "present")]
        types: Option<String>,
    }
}

impl Manifest {
    /// How many leading latent channels guidance touches: all, unless `guidance` says otherwise.
    pub fn guided_channels(&self) -> u32 {
        self.guidance.as_ref().map_or(self.latent.channels, |guidance| guidance.channels)
    }

    /// Whether the refiner's answers are guided ones; see [`Guidance::refiner_guided`].
    pub fn refiner_guided(&self) -> bool {
        self.guidance.as_ref().is_some_and(|guidance| guidance.refiner_guided)
    }

    /// Whether there is something that guidance goes away from: no class, or, where the networks take a context and
    /// no class, the context of no prompt.
    pub fn can_be_guided(&self) -> bool {
        let unclassed = self.networks.predictor.inputs.y.is_none();
        self.classes.null.is_some() || (unclassed && self.text.is_some())
    }

    /// The shape of one context, `[D]` or `[L, D]`; none of a model without contexts.
    pub fn context_shape(&self) -> Option<Vec<usize>> {
        let text = self.text.as_ref()?;
        Some(text.tokens.iter().chain([&text.width]).map(|&n| n as usize).collect())
    }
}

impl Text {
    /// Floats of one context.
    pub fn floats(&self) -> usize {
        self.width as usize * self.tokens.unwrap_or(1) as usize
    }
}

impl Default for Time {
    fn default() -> Self {
        Self { direction: Direction::NoiseToData, scale: 1.0, velocity_sign: 1 }
    }
}

fn one() -> f32 {
    1.0
}

fn max_tokens() -> u32 {
    128
}
