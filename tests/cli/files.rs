//! What the program writes to and reads from: standard streams, pipes, files that cannot be replaced, full disks.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use ndarray::Array4;
use ndarray_npy::write_npy;
use tempfile::{TempDir, tempdir};

use crate::program::{argument, fail, flowturbo, names, run, tiny};

/// Anyone but the owner of the tests' files.
const NOBODY: u32 = 65534;

/// A latent of the tiny bundle, to be written to `output`: more than 4 KiB.
fn latent<'a>(bundle: &'a str, output: &'a str) -> Vec<&'a str> {
    vec!["latents", bundle, "--class", "3", "--seed", "1", "--schedule", "E1", "-o", output]
}

/// What it is as a file.
fn wanted(folder: &Path) -> Vec<u8> {
    let path = argument(folder.join("wanted.npy"));
    run(&latent(&tiny(), &path));
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(path).unwrap();
    bytes
}

/// A folder that others may look into.
fn shared() -> TempDir {
    let folder = tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    folder
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_same_bytes_go_to_files_pipes_and_standard_output() {
    let folder = tempdir().unwrap();
    let (bundle, wanted) = (tiny(), wanted(folder.path()));
    for output in ["-", "/dev/stdout", "/dev/fd/1"] {
        let Output { status, stdout, stderr } = flowturbo(&latent(&bundle, output)).output().unwrap();
        assert!(status.success() && stdout == wanted, "{output}: {}", text(&stderr));
        assert!(text(&stderr).contains(": 1 latent"), "{output}: {}", text(&stderr));
        let quiet = flowturbo(&latent(&bundle, output)).arg("-q").output().unwrap();
        assert!(quiet.stdout == wanted && quiet.stderr.is_empty(), "{output}: {}", text(&quiet.stderr));
    }
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut child = flowturbo(&latent(&bundle, pipe.to_str().unwrap())).arg("-q").spawn().unwrap();
    assert!(fs::read(&pipe).unwrap() == wanted);
    assert!(child.wait().unwrap().success());
    // A file that standard output leads to is gone on with, not replaced.
    let file = folder.path().join("file");
    let mut command = Command::new("sh");
    command.args(["-c", r#"(echo head; "$@"; echo tail) > file"#, "sh"]).arg(env!("CARGO_BIN_EXE_flowturbo"));
    assert!(
        command
            .args(latent(&bundle, "/dev/stdout"))
            .arg("-q")
            .current_dir(&folder)
            .status()
            .unwrap()
            .success()
    );
    assert!(fs::read(file).unwrap() == [b"head\n", &wanted[..], b"tail\n"].concat());
    assert_eq!(names(folder.path()), ["file", "pipe"]);
}

#[test]
fn what_only_one_can_have_is_given_to_one() {
    let folder = tempdir().unwrap();
    let bundle = tiny();
    for (more, words) in [
        (&["--trajectory", "-"][..], "name the same file"),
        (&["--trajectory", "/dev/stdout"], "name the same file"),
    ] {
        fail(flowturbo(&[&latent(&bundle, "-"), more].concat()), 2, &[words]);
    }
    let mut separate = flowturbo(&["generate", "--class", "brick", "-o", "-", "--separate"]);
    separate.current_dir(&folder);
    fail(separate, 2, &["--separate writes several files"]);
    fail(
        flowturbo(&["generate", "--class", "brick", "-o", "-", "--init", "-", "--mask", "-"]),
        2,
        &["only one"],
    );
    assert!(names(folder.path()).is_empty());
}

#[test]
fn noise_comes_through_pipes() {
    let folder = tempdir().unwrap();
    let at = |name: &str| argument(folder.path().join(name));
    write_npy(
        at("noise.npy"),
        &Array4::from_shape_fn([1, 4, 16, 16], |(_, c, y, x)| (c * y) as f32 / 9.0 - x as f32 / 7.0),
    )
    .unwrap();
    let bundle = tiny();
    let arguments = |noise: &str| {
        let fixed =
            ["latents", &bundle, "--class", "3", "--schedule", "E1", "-q", "-o", "-", "--noise", noise];
        fixed.map(str::to_owned)
    };
    let wanted = flowturbo(&arguments(&at("noise.npy"))).output().unwrap().stdout;
    assert!(!wanted.is_empty());
    for noise in ["-", "/dev/stdin"] {
        let mut command = flowturbo(&arguments(noise));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&fs::read(at("noise.npy")).unwrap()).unwrap();
        assert!(child.wait_with_output().unwrap().stdout == wanted, "{noise}");
    }
    let mut nothing = flowturbo(&arguments("-"));
    nothing.stdin(Stdio::null());
    fail(nothing, 2, &["standard input: is empty"]);
}

#[test]
fn a_file_that_is_replaced_keeps_its_mode_and_owner() {
    let folder = tempdir().unwrap();
    let (path, link) = (folder.path().join("latent.npy"), folder.path().join("link"));
    let (bundle, wanted) = (tiny(), wanted(folder.path()));
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for (set, output) in [(0o600, &path), (0o664, &link)] {
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(set)).unwrap();
        // Only root may, and not everywhere.
        let _ = chown(&path, Some(NOBODY), Some(NOBODY));
        let owner = fs::metadata(&path).unwrap().uid();
        run(&latent(&bundle, output.to_str().unwrap()));
        assert!(fs::read(&path).unwrap() == wanted);
        assert_eq!((mode(&path), fs::metadata(&path).unwrap().uid()), (set, owner));
    }
    assert!(link.is_symlink());
    assert_eq!(names(folder.path()), ["latent.npy", "link"]);
}

/// The program as a user who may write the files that everyone may, and make none in the tests' folders. None where the
/// system does not let us be one, or hides the program from them.
fn as_nobody(program: &str) -> Option<Command> {
    let mut command = Command::new(program);
    if !is_root() {
        return Some(command);
    }
    let mut looks = Command::new("test");
    looks.args(["-x", env!("CARGO_BIN_EXE_flowturbo"), "-a", "-r", &format!("{}/bundle.json", tiny())]);
    if !looks.uid(NOBODY).gid(NOBODY).status().is_ok_and(|status| status.success()) {
        println!("skipped: nobody else may run the program here");
        return None;
    }
    command.uid(NOBODY).gid(NOBODY);
    Some(command)
}

#[test]
fn a_file_in_a_closed_folder_is_written_over_and_whole_after_a_failure() {
    let folder = shared();
    let (bundle, wanted) = (tiny(), wanted(folder.path()));
    let path = folder.path().join("latent.npy");
    // A folder where no file may be made, and one where those of others may not be replaced.
    for folder_mode in [0o555, 0o1777] {
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(folder_mode)).unwrap();
        let before = fs::metadata(&path).unwrap();
        // As if the disk were full behind the first blocks.
        let Some(mut limited) = as_nobody("sh") else { return };
        limited.args([
            "-c",
            r#"trap "" XFSZ; ulimit -f 2; exec "$@""#,
            "sh",
            env!("CARGO_BIN_EXE_flowturbo"),
        ]);
        limited.args(latent(&bundle, path.to_str().unwrap()));
        fail(limited, 1, &["latent.npy: cannot be written: File too large"]);
        assert_eq!(fs::read(&path).unwrap(), b"old");

        let mut command = as_nobody(env!("CARGO_BIN_EXE_flowturbo")).unwrap();
        let Output { status, stderr, .. } =
            command.args(latent(&bundle, path.to_str().unwrap())).output().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        assert!(status.success(), "{}", text(&stderr));
        let after = fs::metadata(&path).unwrap();
        assert!(fs::read(&path).unwrap() == wanted);
        assert_eq!((after.uid(), mode(&path)), (before.uid(), 0o666));
        assert!(!is_root() || after.ino() == before.ino());
        assert_eq!(names(folder.path()), ["latent.npy"]);
    }
    // Found out before anything is loaded.
    fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
    let Some(mut command) = as_nobody(env!("CARGO_BIN_EXE_flowturbo")) else { return };
    command.args(latent(&bundle, path.to_str().unwrap())).env("RUST_LOG", "flowturbo=debug");
    fail(command, 1, &["latent.npy: cannot be written: Permission denied"]);
    assert!(fs::read(&path).unwrap() == wanted);
}

/// Runs a script in a mount namespace of its own, with the program and its arguments as `$@`; false, with a word, where
/// the system refuses that.
fn with_mounts(folder: &Path, script: &str, arguments: &[&str]) -> bool {
    let own = if is_root() { "-m" } else { "-rm" };
    let script = format!("mount -t tmpfs -o size=16k none disk || exit 77\n{script}");
    let mut command = Command::new("unshare");
    command.args([own, "sh", "-ec", &script, "sh", env!("CARGO_BIN_EXE_flowturbo")]).args(arguments);
    fs::create_dir_all(folder.join("disk")).unwrap();
    let Output { status, stdout, stderr } = command.current_dir(folder).output().unwrap();
    let (stdout, stderr) = (text(&stdout), text(&stderr));
    if status.code() == Some(77) || stderr.contains("unshare failed") {
        println!("skipped: no mounts here: {stderr}");
        return false;
    }
    assert!(status.success(), "{stdout}{stderr}");
    true
}

#[test]
fn a_file_that_is_mounted_by_itself_is_written_over() {
    let folder = tempdir().unwrap();
    let (bundle, wanted) = (tiny(), wanted(folder.path()));
    fs::write(folder.path().join("host.npy"), "old").unwrap();
    fs::write(folder.path().join("mounted.npy"), "").unwrap();
    let script = r#"mount --bind host.npy mounted.npy; "$@"; cmp host.npy mounted.npy"#;
    if with_mounts(folder.path(), script, &latent(&bundle, "mounted.npy")) {
        assert!(fs::read(folder.path().join("host.npy")).unwrap() == wanted);
        assert_eq!(names(folder.path()), ["disk", "host.npy", "mounted.npy"]);
    }
}

#[test]
fn a_full_disk_is_reported_and_the_old_file_is_whole() {
    let folder = tempdir().unwrap();
    let bundle = tiny();
    let mut command = flowturbo(&latent(&bundle, "-"));
    command.stdout(fs::File::options().write(true).open("/dev/full").unwrap());
    fail(command, 1, &["standard output: cannot be written: No space left"]);
    let mut command = flowturbo(&["classes", &bundle]);
    command.stdout(fs::File::options().write(true).open("/dev/full").unwrap());
    fail(command, 1, &["standard output: cannot be written: No space left"]);
    let script = r#"
        echo old > disk/latent.npy; head -c 20000 /dev/zero > disk/fill || true
        if "$@" 2> said; then exit 1; fi
        grep "latent.npy: cannot be written: No space left" said
        test "$(cat disk/latent.npy)" = old; test "$(ls -A disk | wc -l)" = 2"#;
    with_mounts(folder.path(), script, &latent(&bundle, "disk/latent.npy"));
}
