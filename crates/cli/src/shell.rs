//! `flowturbo completions` and `flowturbo man`: what shells and `man` want to know of this program.

use clap::{Args, Command};
use clap_complete::Shell;

use crate::failure::{Failure, print};

/// Prints a script that completes commands and options, for a shell
///
/// Example: flowturbo completions bash > ~/.local/share/bash-completion/completions/flowturbo
#[derive(Args)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub fn run(&self, program: &mut Command) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, program, "flowturbo", &mut script);
        print(&String::from_utf8_lossy(&script))
    }
}

/// Prints the manual page of this program, or of a command
///
/// Example: flowturbo man generate | man -l -
#[derive(Args)]
pub struct Man {
    /// The command
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

impl Man {
    pub fn run(&self, program: Command) -> Result<(), Failure> {
        let page = match &self.command {
            None => program,
            Some(name) => {
                let found = program.get_subcommands().find(|command| command.get_name() == name).cloned();
                let found = found.ok_or_else(|| Failure::Usage(format!("'{name}' is no command")))?;
                found.display_name(format!("flowturbo-{name}")).bin_name(format!("flowturbo {name}"))
            }
        };
        let mut text = Vec::new();
        clap_mangen::Man::new(page).render(&mut text).map_err(|error| Failure::Failed(error.to_string()))?;
        print(&String::from_utf8_lossy(&text))
    }
}
