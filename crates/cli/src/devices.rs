//! `flowturbo devices`: what --device can name.

use std::fmt::Write;

use clap::Args;
use flowturbo::devices;

use crate::failure::{Failure, print};

/// Lists the GPUs that --device can name, a line each
///
/// It fails where there is none, and says why: a build without CUDA, no driver, a driver that is too old.
#[derive(Args)]
pub struct Devices {}

impl Devices {
    pub fn run(&self) -> Result<(), Failure> {
        let mut text = String::new();
        for (number, device) in devices()?.iter().enumerate() {
            let _ = writeln!(text, "cuda:{number}\t{device}");
        }
        print(&text)
    }
}
