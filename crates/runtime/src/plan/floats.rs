//! Floats in a file: their bytes, the smallest first, one float behind another.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserializer, Serializer};

use crate::memory;
use crate::weights::numbers;

pub fn serialize<S: Serializer>(floats: &[f32], to: S) -> Result<S::Ok, S::Error> {
    let bytes: Vec<u8> = floats.iter().flat_map(|float| float.to_le_bytes()).collect();
    to.serialize_bytes(&bytes)
}

pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f32>, D::Error> {
    from.deserialize_bytes(Floats)
}

struct Floats;

impl Visitor<'_> for Floats {
    type Value = Vec<f32>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("whole floats of four bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<f32>, E> {
        if !bytes.len().is_multiple_of(4) {
            return Err(E::invalid_length(bytes.len(), &self));
        }
        memory::collected(bytes.len() / 4, numbers(bytes, f32::from_le_bytes)).map_err(E::custom)
    }
}
