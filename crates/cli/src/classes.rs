//! `flowturbo classes`: what can be asked for.

use std::fmt::Write;

use clap::Args;

use crate::failure::{Failure, print};
use crate::options::{ModelArgument, class_name};

/// Lists the classes of a bundle: number and label, a line each
///
/// The last line is the null class: "no class", what guidance steers away from. Models without one cannot be guided.
#[derive(Args)]
pub struct Classes {
    #[command(flatten)]
    model: ModelArgument,
}

impl Classes {
    pub fn run(&self) -> Result<(), Failure> {
        let bundle = self.model.open()?;
        let (manifest, mut text) = (bundle.manifest(), String::new());
        let classes = &manifest.classes;
        for class in 0..i64::from(classes.count) {
            let label = if classes.labels.is_some() { class_name(class, manifest) } else { "-".into() };
            let _ = writeln!(text, "{class}\t{label}");
        }
        if let Some(null) = classes.null {
            let _ = writeln!(text, "{null}\t(null: no class)");
        }
        print(&text)
    }
}
