mod bundle;
mod error;
mod limits;

pub use bundle::{Bundle, Manifest, Role, Source, manifest};
pub use error::{Error, ErrorKind, Result};
pub use limits::Limits;
