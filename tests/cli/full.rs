//! A full disk at every write of every command: one line, and what was there before is there still.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::tempdir;

use crate::program::{argument, copy, fail, flowturbo, names, run, tiny};

/// The program with files of at most `blocks` times 512 bytes; writing more fails, as on a full disk.
fn with_room_for<S: AsRef<str>>(blocks: usize, arguments: &[S]) -> Command {
    let program = flowturbo(arguments);
    let mut shell = Command::new("sh");
    // The signal that would end the program is ignored.
    let limited = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
    shell.args(["-c", limited.as_str(), "sh"]).arg(program.get_program()).args(program.get_args());
    shell.env_remove("RUST_LOG");
    shell
}

fn words(command: &str) -> Vec<String> {
    command.split(' ').map(str::to_owned).collect()
}

/// Runs `command`, which writes to `path`, with too little room for it, `often` or seldom.
fn leaves_what_was_there(command: &str, path: &Path, often: bool) {
    let arguments = words(command);
    let there = path.exists().then(|| fs::read(path).unwrap());
    run(&arguments);
    let whole = fs::metadata(path).unwrap().len() as usize;
    let old = there.unwrap_or_else(|| b"old".into());
    fs::write(path, &old).unwrap();
    let folder = path.parent().unwrap();
    let (before, last) = (names(folder), whole.div_ceil(512) - 1);
    let mut rooms = if often { vec![0, 1, last / 2, last] } else { vec![0, last / 2] };
    rooms.dedup();
    for blocks in rooms {
        fail(with_room_for(blocks, &arguments), 1, &[path.to_str().unwrap(), "cannot be written"]);
        assert!(fs::read(path).unwrap() == old, "{command}, {blocks} blocks");
        assert_eq!(names(folder), before, "{command}, {blocks} blocks");
    }
}

#[test]
fn a_full_disk_leaves_the_old_file_and_says_so_in_one_line() {
    let (folder, tiny) = (tempdir().unwrap(), tiny());
    let textures = argument(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("models/textures"));
    let at = |name: &str| folder.path().join(name);
    let (image, latents) = (argument(at("old.png")), argument(at("old.npy")));
    let given = "--class 1 --seed 1 --schedule E1";
    let generate = format!("generate --bundle {textures} {given} -o {image}");
    leaves_what_was_there(&generate, &at("old.png"), true);
    // With as much room as it takes.
    run(&words(&generate));
    let whole = fs::metadata(at("old.png")).unwrap().len() as usize;
    let output = with_room_for(whole.div_ceil(512), &words(&generate)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::metadata(at("old.png")).unwrap().len() as usize, whole);

    leaves_what_was_there(&format!("{generate} -n 3"), &at("old.png"), false);
    leaves_what_was_there(&format!("{generate} -n 2 --separate"), &at("old-0.png"), false);
    let sample = format!("latents --bundle {tiny} {given} -o {latents}");
    leaves_what_was_there(&sample, &at("old.npy"), true);
    let states = argument(at("states.npy"));
    leaves_what_was_there(&format!("{sample} --trajectory {states}"), &at("states.npy"), false);
    let made = argument(at("made.npy"));
    run(&words(&format!("latents --bundle {textures} {given} -o {made}")));
    leaves_what_was_there(&format!("decode --bundle {textures} {made} -o {image}"), &at("old.png"), false);
}

#[test]
fn a_full_disk_leaves_presets_and_tuned_copies_as_they_were() {
    let folder = tempdir().unwrap();
    let copy = copy(folder.path());
    let (bundle, zip) = (argument(&copy), folder.path().join("tuned.zip"));
    let tune = format!("tune {bundle} --samples 1 --class 3 --reference H4 --budget 1s --name one --json");
    leaves_what_was_there(&format!("{tune} --write"), &copy.join("bundle.json"), false);
    leaves_what_was_there(&format!("{tune} -o {}", argument(&zip)), &zip, false);
}

#[test]
#[cfg(target_os = "linux")]
fn a_device_that_is_full_is_said_in_one_line() {
    let command = format!("latents --bundle {} --class 1 --seed 1 --schedule E1 -o /dev/full", tiny());
    fail(flowturbo(&words(&command)), 1, &["/dev/full", "No space left"]);
}

#[test]
fn a_full_disk_leaves_a_quantized_bundle_as_it_was() {
    let folder = tempdir().unwrap();
    let textures = argument(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("models/textures"));
    let zip = folder.path().join("q.zip");
    leaves_what_was_there(&format!("quantize {textures} --quiet -o {}", argument(&zip)), &zip, false);
}
