//! The `flowturbo` program as a user runs it: arguments in; files, text and exit codes out.

#[path = "../common/bundle.rs"]
mod bundle;
#[path = "../common/mod.rs"]
mod common;

mod compile;
mod contexts;
mod editing;
mod errors;
#[cfg(target_os = "linux")]
mod files;
#[cfg(unix)]
mod full;
mod generate;
mod images;
mod inspect;
mod interrupt;
mod labels;
mod latents;
mod maps;
mod program;
mod prompts;
mod quantize;
mod shell;
mod tune;
