//! The library from outside: golden numbers, and bad input.

mod bad_input;
#[path = "../common/mod.rs"]
mod common;
mod conditioning;
mod copy;
mod golden;
mod presets;
mod stepping;
mod textures;
mod threads;

use std::path::PathBuf;

/// The bundled model.
fn textures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/textures")
}
