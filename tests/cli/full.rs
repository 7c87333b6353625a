//! A full disk at every write: one line, and what was there before is there still.

use std::fs;
use std::process::Command;

use crate::program::{argument, fail, flowturbo, names, run, tiny};

/// The program with files of at most `blocks` times 512 bytes; writing more fails, as on a full disk.
fn with_room_for(blocks: usize, arguments: &[&str]) -> Command {
    let program = flowturbo(arguments);
    let mut shell = Command::new("sh");
    // The signal that would end the program is ignored.
    let limited = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
    shell.args(["-c", limited.as_str(), "sh"]).arg(program.get_program()).args(program.get_args());
    shell.env_remove("RUST_LOG");
    shell
}

#[test]
fn a_full_disk_leaves_the_old_file_and_says_so_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let (png, npy) = (folder.path().join("old.png"), folder.path().join("old.npy"));
    let textures = argument(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models/textures"));
    let (picture, latents, tiny) = (argument(&png), argument(&npy), tiny());
    let commands: [(&str, Vec<&str>); 2] = [
        (
            &picture,
            vec![
                "generate",
                "--bundle",
                &textures,
                "--class",
                "1",
                "--seed",
                "1",
                "--schedule",
                "E1",
                "-o",
                &picture,
            ],
        ),
        (
            &latents,
            vec![
                "latents",
                "--bundle",
                &tiny,
                "--class",
                "1",
                "--seed",
                "1",
                "--schedule",
                "E1",
                "-o",
                &latents,
            ],
        ),
    ];
    for (path, arguments) in commands {
        run(&arguments);
        let whole = fs::metadata(path).unwrap().len() as usize;
        fs::write(path, "old").unwrap();
        let before = names(folder.path());
        let last = whole.div_ceil(512) - 1;
        for blocks in [0, 1, last / 2, last] {
            fail(with_room_for(blocks, &arguments), 1, &[path, "cannot be written"]);
            assert_eq!(fs::read(path).unwrap(), b"old", "{path}, {blocks} blocks");
            assert_eq!(names(folder.path()), before, "{path}, {blocks} blocks");
        }
        // With as much room as it takes.
        let output = with_room_for(last + 1, &arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(fs::metadata(path).unwrap().len() as usize, whole);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_device_that_is_full_is_said_in_one_line() {
    let tiny = tiny();
    let arguments =
        ["latents", "--bundle", &tiny, "--class", "1", "--seed", "1", "--schedule", "E1", "-o", "/dev/full"];
    fail(flowturbo(&arguments), 1, &["/dev/full", "No space left"]);
}
