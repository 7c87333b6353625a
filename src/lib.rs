mod bundle;
mod error;
mod limits;

pub use bundle::{
    Bundle, Classes, DecoderInputs, Direction, EncoderInputs, Guidance, Image, Latent, ListedFile, Manifest, Network,
    Networks, PredictorInputs, Preset, RefinerInputs, Role, Sampling, Source, Time,
};
pub use error::{Error, ErrorKind, Result};
pub use limits::Limits;
