//! Files that appear whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::failure::Failure;

/// A place to write to, found writable before the work starts.
#[derive(Debug)]
pub struct Output {
    /// As the user wrote it.
    path: PathBuf,
    target: Target,
}

#[derive(Debug)]
enum Target {
    /// A file to be replaced by renaming another one over it.
    File(PathBuf),
    /// A device or a pipe, which must not be replaced.
    Device,
}

impl Output {
    /// Checks that `path` can be written, and leaves nothing there.
    pub fn new(path: &Path) -> Result<Self, Failure> {
        let target = probe(path).map_err(|error| cannot_write(path, &error))?;
        Ok(Self { path: path.to_owned(), target })
    }

    /// The path as the user wrote it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes what `fill` makes; if that fails, the path is as it was before.
    pub fn write(&self, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
        let outcome = match &self.target {
            Target::Device => OpenOptions::new().write(true).open(&self.path).and_then(|f| filled(f, fill)),
            Target::File(target) => replace(target, fill),
        };
        outcome.map_err(|error| cannot_write(&self.path, &error))
    }
}

fn probe(path: &Path) -> io::Result<Target> {
    let target = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error),
        Ok(there) if there.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(there) if !there.is_file() => return Ok(Target::Device),
        Ok(_) => {
            // A rename would get around the file's own write protection.
            OpenOptions::new().write(true).open(path)?;
            // And it would replace a link, not the file behind it.
            path.canonicalize()?
        }
    };
    let (_, temporary) = create_beside(&target)?;
    fs::remove_file(temporary)?;
    Ok(Target::File(target))
}

fn replace(target: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let (file, temporary) = create_beside(target)?;
    let outcome = filled(file, fill).and_then(|()| fs::rename(&temporary, target));
    if outcome.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    outcome
}

fn filled(file: File, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut file = BufWriter::new(file);
    fill(&mut file)?;
    file.flush()
}

/// A new file in the folder of `target`, under a name that no other output of any process has.
fn create_beside(target: &Path) -> io::Result<(File, PathBuf)> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    if target.file_name().is_none() {
        return Err(io::ErrorKind::InvalidFilename.into());
    }
    let path = target.with_file_name(format!(".flowturbo-{}-{number}.tmp", std::process::id()));
    Ok((OpenOptions::new().write(true).create_new(true).open(&path)?, path))
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::Failed(format!("{}: cannot be written: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old.txt");
        fs::write(&path, "old").unwrap();
        let output = Output::new(&path).unwrap();
        let failed = output.write(|out| {
            out.write_all(b"half")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert!(matches!(failed, Err(Failure::Failed(_))));
        assert_eq!((names(folder.path()), fs::read(&path).unwrap()), (vec!["old.txt".into()], b"old".into()));
        output.write(|out| out.write_all(b"new")).unwrap();
        assert_eq!((names(folder.path()), fs::read(&path).unwrap()), (vec!["old.txt".into()], b"new".into()));
    }

    #[test]
    fn checking_a_path_leaves_nothing_there() {
        let folder = tempfile::tempdir().unwrap();
        Output::new(&folder.path().join("new.txt")).unwrap();
        assert!(names(folder.path()).is_empty());
        for bad in [folder.path().to_owned(), folder.path().join("none/new.txt"), PathBuf::from("..")] {
            assert!(matches!(Output::new(&bad), Err(Failure::Failed(_))), "{}", bad.display());
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_devices_are_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        Output::new(&link).unwrap().write(|out| out.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(link.is_symlink());
        Output::new(Path::new("/dev/null")).unwrap().write(|out| out.write_all(b"gone")).unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
