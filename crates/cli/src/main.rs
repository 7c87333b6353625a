//! The `flowturbo` command: one file a subcommand, and around them
//!
//! ```text
//! options, editing, given, input (arguments and their files) ─▶ locate (which bundle) ─▶ library ─▶ steps (bar, times)
//!     ─▶ maps, sheet, numpy ─▶ output
//! ```
//!
//! Every failure ends here, as one line on stderr and an exit code.

#![forbid(unsafe_code)]

mod bench;
mod classes;
#[cfg(feature = "compile")]
mod compile;
mod contexts;
mod decode;
mod devices;
mod editing;
mod encode;
mod failure;
mod generate;
mod given;
mod input;
mod inspect;
mod interrupt;
mod latents;
mod locate;
mod machine;
mod maps;
mod numpy;
mod options;
mod output;
mod prompts;
#[cfg(feature = "compile")]
mod quantize;
mod sheet;
mod shell;
mod steps;
mod times;
mod tune;
mod units;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::{ArgAction, CommandFactory, Parser, Subcommand};

use failure::Failure;

/// Generates images with FlowTurbo models.
///
/// Every command takes a model by -m: a bundle, which is a folder or a zip file, or a plan, which `flowturbo compile`
/// makes of one. Without it, it takes that at $FLOWTURBO_BUNDLE, else models/textures under the current folder, else
/// models/textures beside this program's source.
///
/// Exit codes: 0 done, 1 failed while working, or a file cannot be written, 2 the command line or a file to be
/// read cannot be used, 130 stopped by ctrl-C, which leaves files as they were; pressed again, it does not wait.
/// -v tells what goes on inside, -vv more of it; RUST_LOG says so in detail.
#[derive(Parser)]
#[command(name = "flowturbo", version, arg_required_else_help = true, verbatim_doc_comment)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Tell on stderr what goes on inside; twice for more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
}

#[derive(Subcommand)]
enum Command {
    Generate(generate::Generate),
    Inspect(inspect::Inspect),
    Bench(bench::Bench),
    Tune(tune::Tune),
    Classes(classes::Classes),
    Devices(devices::Devices),
    #[cfg(feature = "compile")]
    Compile(compile::Compile),
    #[cfg(feature = "compile")]
    Quantize(quantize::Quantize),
    Latents(latents::Latents),
    Decode(decode::Decode),
    Encode(encode::Encode),
    Context(prompts::Context),
    Completions(shell::Completions),
    Man(shell::Man),
}

impl Command {
    fn run(&self) -> Result<(), Failure> {
        match self {
            Self::Generate(command) => command.run(),
            Self::Inspect(command) => command.run(),
            Self::Bench(command) => command.run(),
            Self::Tune(command) => command.run(),
            Self::Classes(command) => command.run(),
            Self::Devices(command) => command.run(),
            #[cfg(feature = "compile")]
            Self::Compile(command) => command.run(),
            #[cfg(feature = "compile")]
            Self::Quantize(command) => command.run(),
            Self::Latents(command) => command.run(),
            Self::Decode(command) => command.run(),
            Self::Encode(command) => command.run(),
            Self::Context(command) => command.run(),
            Self::Completions(command) => command.run(&mut Cli::command()),
            Self::Man(command) => command.run(Cli::command()),
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let level = ["error", "info", "debug", "trace"][usize::from(cli.verbose.min(3))];
    env_logger::init_from_env(env_logger::Env::default().default_filter_or(format!("flowturbo={level}")));
    // The library stops tract's panics on damaged graphs; their report belongs in the log, not on stderr.
    std::panic::set_hook(Box::new(|panic| log::debug!("{panic}")));
    catch_unwind(AssertUnwindSafe(|| cli.command.run()))
        .unwrap_or_else(|panic| Err(Failure::panicked(panic.as_ref())))
        .map_or_else(|failure| failure.report(), |()| ExitCode::SUCCESS)
}
