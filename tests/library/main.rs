//! The library from outside: golden numbers, and bad input.

mod bad_input;
#[path = "../common/mod.rs"]
mod common;
mod conditioning;
mod copy;
mod golden;
mod textures;
mod threads;
