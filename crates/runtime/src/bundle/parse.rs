//! JSON to [`Manifest`], with errors that name the field, line and column.
//!
//! Two readings of the same bytes: the first looks at the version alone, so that a bundle of a
//! future format is refused for its version and not for a field that has changed.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::manifest::{Direction, Manifest, NoPrompt};
use super::version::{FORMAT, SUPPORTED, Version};
use crate::Result;
use crate::error::{Error, invalid_bundle};

/// Reads the bytes of `bundle.json`.
pub(super) fn manifest(json: &[u8]) -> Result<Manifest> {
    let (Object(header), _) = read::<Object<Header>>(json).map_err(|(error, _)| error)?;
    if header.format != FORMAT {
        let message = format!("must be \"{FORMAT}\", is {}", quoted(&header.format));
        return Err(invalid_bundle(message).at("format"));
    }
    let version = Version::supported(&header.format_version).map_err(|e| e.at("format_version"))?;
    let (manifest, unknown) = match read::<Object<Manifest>>(json) {
        Ok((Object(manifest), unknown)) => (manifest, unknown),
        // A misspelt field shows up as a missing one too; the spelling is the better news.
        Err((error, unknown)) => match unknown.first() {
            Some(path) if !version.may_have_unknown_fields() => return Err(unknown_field(path, version)),
            _ => return Err(error),
        },
    };
    if let Some(path) = unknown.first()
        && !version.may_have_unknown_fields()
    {
        return Err(unknown_field(path, version));
    }
    for path in &unknown {
        log::warn!("bundle.json: {path}: ignored; format {version} is newer than {SUPPORTED}");
    }
    Ok(manifest)
}

/// A string of the input as it may stand in a one-line message.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", shortened(text).escape_debug())
}

/// The start of a text that may be of any length.
pub(super) fn shortened(text: &str) -> String {
    const MOST: usize = 60;
    let more = text.chars().nth(MOST).map(|_| '…');
    text.chars().take(MOST).chain(more).collect()
}

#[derive(Deserialize)]
struct Header {
    format: String,
    format_version: String,
}

fn unknown_field(path: &str, version: Version) -> Error {
    invalid_bundle(format!("unknown field in format {version}")).at(path)
}

/// Reads a whole JSON text and lists the fields that `T` does not have. A failed reading lists those
/// that came before the failure.
fn read<'de, T: Deserialize<'de>>(
    json: &'de [u8],
) -> std::result::Result<(T, Vec<String>), (Error, Vec<String>)> {
    let mut unknown = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let mut json = serde_json::Deserializer::from_slice(json);
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let value = serde_ignored::deserialize(tracked, |path| unknown.push(shown(&path)));
    match value {
        Ok(value) => match json.end() {
            Ok(()) => Ok((value, unknown)),
            Err(error) => Err((describe(&error, ""), Vec::new())),
        },
        Err(error) => {
            if !error.is_data() {
                unknown.clear();
            }
            Err((describe(&error, &track.path().to_string()), unknown))
        }
    }
}

/// One line out of what serde says, which may quote any amount of the input.
fn describe(error: &serde_json::Error, path: &str) -> Error {
    const MOST: usize = 300;
    let text = error.to_string();
    let more = if text.chars().nth(MOST).is_some() { "…" } else { "" };
    let line: String = text.chars().take(MOST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let error = invalid_bundle(format!("{line}{more}"));
    // What ends before it has a name is called "?".
    let path = path.strip_suffix('?').map_or(path, |above| above.trim_end_matches('.'));
    if path.is_empty() || path == "." { error } else { error.at(path.escape_debug().to_string()) }
}

fn shown(path: &serde_ignored::Path) -> String {
    use serde_ignored::Path;
    let below = |parent: &Path, key: &str| match parent {
        Path::Root => key.to_owned(),
        _ => format!("{}.{key}", shown(parent)),
    };
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", shown(parent)),
        Path::Map { parent, key } => below(parent, &key.escape_debug().to_string()),
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
            shown(parent)
        }
    }
}

/// An optional field that is there has a value: `null` is not one.
pub(super) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> std::result::Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A count or an edge. What `u32` cannot hold becomes `u32::MAX`, which no limit admits.
pub(super) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<u32, D::Error> {
    struct Size;
    impl Visitor<'_> for Size {
        type Value = u32;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("a whole number that is not negative")
        }

        fn visit_u64<E: de::Error>(self, value: u64) -> std::result::Result<u32, E> {
            Ok(u32::try_from(value).unwrap_or(u32::MAX))
        }
    }
    deserializer.deserialize_u64(Size)
}

pub(super) fn present_size<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<u32>, D::Error> {
    size(deserializer).map(Some)
}

pub(super) fn no_prompt<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<NoPrompt, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "zeros" => Ok(NoPrompt::Zeros),
        "empty" => Ok(NoPrompt::Empty),
        other => {
            let is = quoted(other);
            Err(de::Error::custom(format!("must be \"zeros\" or \"empty\", is {is}")))
        }
    }
}

pub(super) fn direction<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Direction, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "noise_to_data" => Ok(Direction::NoiseToData),
        "data_to_noise" => Ok(Direction::DataToNoise),
        other => {
            let is = quoted(other);
            Err(de::Error::custom(format!("must be \"noise_to_data\" or \"data_to_noise\", is {is}")))
        }
    }
}

/// A `T` written as a JSON object.
///
/// A derived `Deserialize` also takes an array of the fields in order, which is no part of the format.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> std::result::Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

pub(super) fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> std::result::Result<T, D::Error> {
    Object::deserialize(deserializer).map(|object| object.0)
}

pub(super) fn present_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> std::result::Result<Option<T>, D::Error> {
    object(deserializer).map(Some)
}

pub(super) fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> std::result::Result<Vec<T>, D::Error> {
    let objects = Vec::<Object<T>>::deserialize(deserializer)?;
    Ok(objects.into_iter().map(|object| object.0).collect())
}

pub(super) fn object_map<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> std::result::Result<BTreeMap<String, T>, D::Error> {
    let map = BTreeMap::<String, Object<T>>::deserialize(deserializer)?;
    Ok(map.into_iter().map(|(key, object)| (key, object.0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_no_json_is_told_by_its_place_and_no_made_up_name() {
        for (json, words) in [
            ("{", "EOF while parsing an object at line 1 column 1"),
            (r#"{"a": 1,}"#, "trailing comma at line 1 column 9"),
            (r#"{"format": {"#, "format: invalid type: map, expected a string at line 1 column 11"),
            ("[]", "invalid type: sequence, expected an object at line 1 column 0"),
        ] {
            assert_eq!(manifest(json.as_bytes()).unwrap_err().to_string(), words, "{json}");
        }
    }
}
