//! The library from outside: golden numbers, bad input, and what its pages link to.

mod bad_input;
#[path = "../common/bundle.rs"]
mod bundle;
mod classes;
#[path = "../common/mod.rs"]
mod common;
mod conditioning;
mod contexts;
mod copy;
mod damaged_plans;
mod deterministic;
mod editing;
mod golden;
mod guidance;
mod larger;
mod links;
mod maps;
#[path = "../common/plan_bytes.rs"]
mod plan_bytes;
mod planning;
mod plans;
mod precision;
mod presets;
#[cfg(unix)]
mod process;
mod prompts;
mod quantize;
mod seamless;
mod stepping;
mod streams;
mod sweep;
mod textures;
mod threads;

mod workspace;

use std::path::PathBuf;

/// The bundled model.
fn textures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/textures")
}
