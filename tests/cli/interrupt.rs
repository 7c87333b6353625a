//! Ctrl-C while images are made.
#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use tempfile::tempdir;

use crate::program::{argument, flowturbo, names};

#[test]
fn ctrl_c_stops_at_once_with_one_line_and_leaves_no_file() {
    let folder = tempdir().unwrap();
    let output = argument(folder.path().join("long.png"));
    let mut command =
        flowturbo(&["generate", "--class", "1", "--schedule", "H1000", "-n", "8", "-o", &output]);
    // Planning tells that the request, and with it ctrl-C, was taken.
    let mut program = command.env("RUST_LOG", "flowturbo=debug").stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(program.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("planned")));
    let sent = Command::new("kill").args(["-INT", &program.id().to_string()]).status().unwrap();
    assert!(sent.success());
    assert_eq!(lines.last().unwrap(), "error: interrupted");
    assert_eq!(program.wait().unwrap().code(), Some(130));
    assert!(names(folder.path()).is_empty());
}
