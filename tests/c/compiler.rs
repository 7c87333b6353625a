//! C and C++ programs: built with every warning an error, and run.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Output};

use crate::libraries::{Library, NATIVES};
use crate::{made, root};

/// Of C programs; the last two mean nothing in C++.
pub const WARNINGS: [&str; 6] =
    ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wconversion", "-Wstrict-prototypes"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Shared,
    Static,
}

/// How to make a program of one source file.
pub struct Program<'a> {
    /// From the root of the project.
    pub source: &'a str,
    pub standard: &'a str,
    pub library: Library,
    pub link: Link,
    pub flags: &'a [&'a str],
}

impl<'a> Program<'a> {
    /// In C11, with the shared library as shipped.
    pub fn c(source: &'a str) -> Self {
        Self { source, standard: "c11", library: Library::Shipped, link: Link::Shared, flags: &[] }
    }

    /// In C++17.
    pub fn cpp(source: &'a str) -> Self {
        Self { standard: "c++17", ..Self::c(source) }
    }

    pub fn with(self, library: Library) -> Self {
        Self { library, ..self }
    }

    pub fn linked(self, link: Link) -> Self {
        Self { link, ..self }
    }

    pub fn flags(self, flags: &'a [&'a str]) -> Self {
        Self { flags, ..self }
    }

    /// Compiles and links; gives the program.
    pub fn build(&self) -> PathBuf {
        let name = self.source.replace('/', "-");
        let flags: String = self.flags.iter().map(|flag| flag.replace(['/', '='], "-")).collect();
        let program = made().join(format!("{name}-{:?}-{:?}{flags}", self.library, self.link));
        let mut compiler = compiler(self.standard);
        compiler.args(["-O1", "-g", "-pthread"]).args(self.flags);
        compiler.arg("-o").arg(&program).arg(root().join(self.source));
        match self.link {
            Link::Shared => {
                let built = self.library.built();
                compiler.arg("-L").arg(&built.folder).arg(format!("-l{}", self.library.name())).arg("-lm");
                compiler.arg(format!("-Wl,-rpath,{}", built.folder.display()));
            }
            Link::Static => {
                compiler.arg(self.library.archive()).args(NATIVES);
            }
        }
        passes(&mut compiler);
        program
    }

    /// Builds and runs it in the project's root; gives what it printed.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = passes(Command::new(self.build()).args(arguments).current_dir(root()));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// A compiler for a standard, all warnings on.
pub fn compiler(standard: &str) -> Command {
    let cpp = standard.starts_with("c++");
    let (variable, usual) = if cpp { ("CXX", "c++") } else { ("CC", "cc") };
    let mut compiler = Command::new(env::var(variable).unwrap_or_else(|_| usual.to_owned()));
    compiler.arg(format!("-std={standard}"));
    compiler.args(if cpp { &WARNINGS[..5] } else { &WARNINGS[..] });
    compiler.arg("-I").arg(root().join("include"));
    compiler
}

/// Runs a command that must succeed.
pub fn passes(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}{err}", output.status);
    output
}
