//! The format's version: what this build reads, and what it makes of other versions.

#![forbid(unsafe_code)]

use std::fmt;

use crate::Result;
use crate::error::{invalid_bundle, unsupported};

/// What the manifest's `format` field must say.
pub(super) const FORMAT: &str = "flowturbo-bundle";

/// The newest version this build knows in full.
pub(super) const SUPPORTED: Version = Version { major: 1, minor: 1 };

/// The version that brought maps.
pub(super) const WITH_MAPS: Version = Version { major: 1, minor: 1 };

/// `major.minor` of a bundle's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    major: u32,
    minor: u32,
}

impl Version {
    /// Reads a version that this build can load.
    ///
    /// A newer minor version adds fields that may be ignored; another major version is refused.
    pub(super) fn supported(text: &str) -> Result<Self> {
        let number = |digits: &str| {
            let plain = digits.bytes().all(|b| b.is_ascii_digit());
            let padded = digits.len() > 1 && digits.starts_with('0');
            (plain && !padded).then(|| digits.parse().ok()).flatten()
        };
        let parts = text.split_once('.').and_then(|(a, b)| Some((number(a)?, number(b)?)));
        let Some((major, minor)) = parts else {
            let message =
                format!("must be 'major.minor', such as {SUPPORTED}, is {}", super::parse::quoted(text));
            return Err(invalid_bundle(message));
        };
        let version = Self { major, minor };
        if major == SUPPORTED.major {
            return Ok(version);
        }
        let (age, remedy) = if major > SUPPORTED.major {
            ("newer than", "update flowturbo")
        } else {
            ("older than", "export the bundle again")
        };
        Err(unsupported(format!("{version} is {age} {SUPPORTED}, the version this build reads; {remedy}")))
    }

    /// Whether a field that this build does not know may be ignored.
    pub(super) fn may_have_unknown_fields(self) -> bool {
        self.minor > SUPPORTED.minor
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}
