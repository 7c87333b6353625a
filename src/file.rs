//! Files that are written whole or not at all. Everything that the library and its program write goes through here.
//!
//! ```text
//! path ──Destination::new, before the work──▶ standard output, a pipe, a device: bytes as they come
//!                                            a file that can be replaced: a new one beside it, renamed over it
//!                                            a file that cannot: written over, what is beyond its old end first
//! ```

#![forbid(unsafe_code)]

use std::collections::hash_map::RandomState;
use std::fs::{self, File, Metadata, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, BufWriter, Cursor, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Most links from a name to what it stands for, as in Linux.
const MOST_LINKS: usize = 40;

/// A place to write to, found writable before the work starts.
#[derive(Debug)]
pub struct Destination {
    /// As the user wrote it.
    path: PathBuf,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// What another file is renamed to. The old one's owner and mode are kept; its other names (hard links) keep what
    /// it held.
    Replace {
        target: PathBuf,
        old: Option<Metadata>,
    },
    /// In a folder where no file can be made, or of an owner who cannot be given to another file. What is to be
    /// written is made in memory first.
    Over(PathBuf),
    /// A pipe or a device, open: whoever reads a pipe is not left waiting if the work fails.
    Stream(File),
    StandardOutput,
}

impl Destination {
    /// Finds out how `path` can be written, and leaves nothing there.
    ///
    /// # Errors
    /// Why it cannot be written.
    pub fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), way: Way::of(path)? })
    }

    /// Whatever this process's standard output is.
    #[must_use]
    pub fn standard_output() -> Self {
        Self { path: "standard output".into(), way: Way::StandardOutput }
    }

    /// Whether this is standard output, by whatever name: then messages belong elsewhere.
    #[must_use]
    pub fn is_standard_output(&self) -> bool {
        matches!(self.way, Way::StandardOutput)
    }

    /// Whether what is written here takes the place of what is written to `other`, whatever names they go by.
    #[must_use]
    pub fn is_also(&self, other: &Self) -> bool {
        use Way::{Over, Replace, StandardOutput};
        match (&self.way, &other.way) {
            (Replace { target, .. } | Over(target), Replace { target: other, .. } | Over(other)) => {
                target == other
            }
            (StandardOutput, StandardOutput) => true,
            _ => false,
        }
    }

    /// The path as the user wrote it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes what `fill` makes. If that fails, a file is as it was before.
    ///
    /// # Errors
    /// What `fill` says, or why its bytes cannot be written: a full disk is found here, not after it.
    pub fn write(&self, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        match &self.way {
            Way::Replace { target, old } => {
                let aside = Aside::create(target, old.as_ref())?;
                filled(&aside.file, fill)?;
                aside.replace(target, old.as_ref())
            }
            Way::Over(target) => {
                let mut whole = Memory::default();
                fill(&mut whole)?;
                write_over(target, &mut Cursor::new(whole.0))
            }
            Way::Stream(file) => filled(file, fill),
            Way::StandardOutput => filled(io::stdout().lock(), fill),
        }
    }
}

impl Way {
    fn of(path: &Path) -> io::Result<Self> {
        match own_descriptor(path) {
            Some(1) => return Ok(Self::StandardOutput),
            // If it is a file, it goes on where it ends.
            Some(_) => return Ok(Self::Stream(OpenOptions::new().append(true).open(path)?)),
            None => {}
        }
        match fs::metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Self::new_file(path),
            // Windows tells nothing of its devices, such as NUL.
            Err(error) => Ok(Self::Stream(OpenOptions::new().write(true).open(path).map_err(|_| error)?)),
            Ok(there) if there.is_dir() => Err(ErrorKind::IsADirectory.into()),
            Ok(there) if !there.is_file() => Ok(Self::Stream(OpenOptions::new().write(true).open(path)?)),
            Ok(there) => {
                // A rename would get around the file's own write protection.
                OpenOptions::new().write(true).open(path)?;
                // And it would replace a link, not the file behind it.
                let target = path.canonicalize()?;
                let aside = Aside::create(&target, Some(&there));
                Ok(match aside.and_then(|aside| aside.take_after(&there)) {
                    Ok(()) => Self::Replace { target, old: Some(there) },
                    Err(_) => Self::Over(target),
                })
            }
        }
    }

    fn new_file(path: &Path) -> io::Result<Self> {
        if path.to_string_lossy().ends_with(std::path::is_separator) {
            return Err(ErrorKind::IsADirectory.into());
        }
        // A link may lead to a file that is to be made.
        let mut target = std::path::absolute(path)?;
        for _ in 0..MOST_LINKS {
            let Ok(link) = fs::read_link(&target) else {
                Aside::create(&target, None)?;
                // The one name of many that existing files have too.
                let folder = target.parent().unwrap_or(&target).canonicalize()?;
                let target = folder.join(target.file_name().unwrap_or_default());
                return Ok(Self::Replace { target, old: None });
            };
            target = target.parent().unwrap_or(&target).join(link);
        }
        Err(io::Error::other("too many links"))
    }
}

/// The number of the descriptor of this process that a path names: `/dev/stdout`, `/dev/fd/3`, a link to one.
fn own_descriptor(path: &Path) -> Option<u32> {
    let descriptors = Path::new("/dev/fd").canonicalize().ok()?;
    let mut path = std::path::absolute(path).ok()?;
    for _ in 0..MOST_LINKS {
        let folder = path.parent()?.canonicalize().ok()?;
        if folder == descriptors {
            return path.file_name()?.to_str()?.parse().ok();
        }
        path = folder.join(fs::read_link(&path).ok()?);
    }
    None
}

fn filled(out: impl Write, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    fill(&mut out)?;
    out.flush()
}

/// Makes what is created readable to its owner alone; on Windows a file is as open as its folder.
fn hide(options: &mut OpenOptions) {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    #[cfg(not(unix))]
    let _ = options;
}

/// A new file in the folder of another one, which it may replace; gone when it is dropped.
struct Aside {
    path: PathBuf,
    file: File,
}

impl Aside {
    /// Under a name that no other process has, whatever its number and whatever killed ones have left behind. In place
    /// of an `old` file, nobody else may read it before it has that one's mode.
    fn create(target: &Path, old: Option<&Metadata>) -> io::Result<Self> {
        const TRIES: usize = 16;
        if target.file_name().is_none() {
            return Err(ErrorKind::InvalidFilename.into());
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        if old.is_some() {
            hide(&mut options);
        }
        let create = || {
            let random = RandomState::new().build_hasher().finish();
            let path = target.with_file_name(format!(".flowturbo-{random:016x}.tmp"));
            options.open(&path).map(|file| Self { path, file })
        };
        let taken =
            |made: &io::Result<Self>| matches!(made, Err(error) if error.kind() == ErrorKind::AlreadyExists);
        (1..TRIES).map(|_| create()).find(|made| !taken(made)).unwrap_or_else(create)
    }

    /// Gives this file the owner and the mode of another one.
    fn take_after(&self, old: &Metadata) -> io::Result<()> {
        let own = self.file.metadata()?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::{MetadataExt, fchown};
            if (own.uid(), own.gid()) != (old.uid(), old.gid()) {
                fchown(&self.file, Some(old.uid()), Some(old.gid()))?;
            }
        }
        // After the owner, whose change takes set-id bits away. Some file systems know one mode, and refuse to set it.
        if own.permissions() == old.permissions() {
            return Ok(());
        }
        self.file.set_permissions(old.permissions())
    }

    /// Renames this file to `target`. Where that is refused, as for a file that is mounted by itself, the old one is
    /// written over.
    fn replace(mut self, target: &Path, old: Option<&Metadata>) -> io::Result<()> {
        // Network folders and quotas tell here at the latest; after a power cut a renamed file would be empty.
        self.file.sync_data()?;
        let taken_after = old.map_or(Ok(()), |old| self.take_after(old));
        match (taken_after.and_then(|()| fs::rename(&self.path, target)), old) {
            (Ok(()), _) => Ok(()),
            (Err(error), None) => Err(error),
            (Err(_), Some(_)) => write_over(target, &mut self.file),
        }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // After a rename there is none.
        let _ = fs::remove_file(&self.path);
    }
}

/// Puts `from` in the place of what a file holds. What is longer than that goes first: it is what a full disk refuses,
/// and without it the old file is whole again.
fn write_over(target: &Path, from: &mut (impl Read + Seek)) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(target)?;
    let (old, new) = (file.metadata()?.len(), from.seek(SeekFrom::End(0))?);
    if new > old {
        from.seek(SeekFrom::Start(old))?;
        file.seek(SeekFrom::Start(old))?;
        let grown = io::copy(from, &mut file).and_then(|_| file.sync_data());
        grown.inspect_err(|_| drop(file.set_len(old)))?;
    }
    from.rewind()?;
    file.rewind()?;
    io::copy(&mut from.take(old.min(new)), &mut file)?;
    file.set_len(new)?;
    file.sync_data()
}

/// Bytes in memory; a refusal is an error.
#[derive(Default)]
struct Memory(Vec<u8>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_reserve(bytes.len()).map_err(|_| io::Error::from(ErrorKind::OutOfMemory))?;
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn put(path: &Path, bytes: &[u8]) {
        Destination::new(path).unwrap().write(|out| out.write_all(bytes)).unwrap();
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old.txt");
        fs::write(&path, "old").unwrap();
        let ways = [Destination::new(&path).unwrap().way, Way::Over(path.clone())];
        for way in ways {
            let failed = Destination { path: path.clone(), way }.write(|out| {
                out.write_all(b"half")?;
                Err(ErrorKind::StorageFull.into())
            });
            assert_eq!(failed.unwrap_err().kind(), ErrorKind::StorageFull);
            assert_eq!(
                (names(folder.path()), fs::read(&path).unwrap()),
                (vec!["old.txt".into()], b"old".into())
            );
        }
        put(&path, b"new");
        assert_eq!((names(folder.path()), fs::read(&path).unwrap()), (vec!["old.txt".into()], b"new".into()));
    }

    #[test]
    fn checking_a_path_leaves_nothing_there() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        Destination::new(&at("new.txt")).unwrap();
        assert!(names(folder.path()).is_empty());
        for bad in [folder.path().to_owned(), at("none/new.txt"), at("new/"), "..".into(), "".into()] {
            assert!(Destination::new(&bad).is_err(), "{}", bad.display());
        }
        fs::write(at("file"), "").unwrap();
        assert!(Destination::new(&at("file/new.txt")).is_err());
        assert_eq!(names(folder.path()), ["file"]);
    }

    #[test]
    fn writing_over_a_file_makes_it_longer_and_shorter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "four").unwrap();
        for text in ["longer", "of6six", "two", "", "seven77"] {
            write_over(&path, &mut Cursor::new(text)).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_devices_are_not_replaced() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "old").unwrap();
        symlink("file", at("link")).unwrap();
        symlink("link", at("second")).unwrap();
        symlink("to be made", at("early")).unwrap();
        symlink("circle", at("circle")).unwrap();
        put(&at("second"), b"new");
        put(&at("early"), b"made");
        assert_eq!(fs::read(at("file")).unwrap(), b"new");
        assert_eq!(fs::read(at("to be made")).unwrap(), b"made");
        assert!(["link", "second", "early"].iter().all(|name| at(name).is_symlink()));
        fs::create_dir(at("folder")).unwrap();
        symlink(folder.path(), at("folder/up")).unwrap();
        symlink("not yet", at("later")).unwrap();
        let also =
            |a: &str, b: &str| Destination::new(&at(a)).unwrap().is_also(&Destination::new(&at(b)).unwrap());
        assert!(
            also("file", "folder/../second")
                && also("not yet", "folder/up/not yet")
                && also("later", "not yet")
        );
        assert!(!also("file", "to be made") && !also("not yet", "nor this"));
        assert!(Destination::standard_output().is_also(&Destination::standard_output()));
        assert!(Destination::new(&at("circle")).is_err());
        put(Path::new("/dev/null"), b"gone");
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
        let full =
            Destination::new(Path::new("/dev/full")).map(|full| full.write(|out| out.write_all(b"much")));
        assert!(full.map_or(true, |written| written.unwrap_err().kind() == ErrorKind::StorageFull));
    }

    #[cfg(unix)]
    #[cfg_attr(miri, ignore = "Miri makes no hard links")]
    #[test]
    fn the_mode_stays_and_other_names_keep_what_they_had() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (file, other) = (folder.path().join("file"), folder.path().join("other"));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        for wanted in [0o600, 0o640, 0o666, 0o755] {
            fs::write(&file, "old").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(wanted)).unwrap();
            fs::hard_link(&file, &other).unwrap();
            put(&file, b"new");
            assert_eq!((mode(&file), fs::read(&file).unwrap()), (wanted, b"new".into()));
            assert_eq!((mode(&other), fs::read(&other).unwrap()), (wanted, b"old".into()));
            fs::remove_file(&other).unwrap();
        }
    }

    #[cfg(target_os = "linux")]
    #[cfg_attr(miri, ignore = "Miri numbers descriptors itself")]
    #[test]
    fn descriptors_are_known_by_every_name() {
        use std::os::fd::AsRawFd;
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/dev/stdout", &link).unwrap();
        for name in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", link.to_str().unwrap()] {
            assert!(Destination::new(Path::new(name)).unwrap().is_standard_output(), "{name}");
        }
        // A file behind one goes on; it is not replaced.
        let path = folder.path().join("file");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"begun, ").unwrap();
        put(&PathBuf::from(format!("/dev/fd/{}", file.as_raw_fd())), b"done");
        assert_eq!(fs::read(&path).unwrap(), b"begun, done");
        assert!(!Destination::new(&path).unwrap().is_standard_output());
    }
}
