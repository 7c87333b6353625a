//! Bundles behind readers that fail, read little at a time, or lie.

use std::fs;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flowturbo::{Bundle, ErrorKind, Limits, Model, ModelOptions, Source};

use crate::allocator::leaves_nothing;
use crate::{draw, in_silence, request, tiny};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// An error of the reader's own.
    Error,
    /// An error that asks for another try.
    Interrupted,
    /// One byte instead of all that was asked for.
    Little,
    /// The end, long before it.
    End,
    /// Other bytes than there are.
    Garbage,
    /// More bytes than were asked for.
    TooMany,
    /// A mistake in the reader's own code.
    Panic,
}

/// A zip file whose reader does so from its `from`-th call on.
struct Reader {
    zip: Cursor<Arc<[u8]>>,
    fault: Fault,
    calls: Arc<AtomicUsize>,
    from: usize,
}

impl Reader {
    fn fault(&self) -> Fault {
        if self.calls.fetch_add(1, Ordering::Relaxed) < self.from { Fault::None } else { self.fault }
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.fault() {
            Fault::None => self.zip.read(buffer),
            Fault::Error => Err(io::Error::other("the disc is scratched")),
            // Every other time, or it would never end.
            Fault::Interrupted if self.calls.load(Ordering::Relaxed).is_multiple_of(2) => {
                Err(io::ErrorKind::Interrupted.into())
            }
            Fault::Interrupted => self.zip.read(buffer),
            Fault::Little => {
                let some = buffer.len().min(1 + buffer.len() / 3);
                self.zip.read(&mut buffer[..some])
            }
            Fault::End => Ok(0),
            Fault::Garbage => {
                buffer.fill(0xa5);
                self.zip.seek_relative(buffer.len() as i64)?;
                Ok(buffer.len())
            }
            Fault::TooMany => Ok(buffer.len() + 1),
            Fault::Panic => panic!("asked to"),
        }
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self.fault() {
            Fault::Error => Err(io::Error::other("the disc is scratched")),
            Fault::Garbage => Ok(u64::MAX),
            _ => self.zip.seek(to),
        }
    }
}

fn zip(folder: &Path) -> Arc<[u8]> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for name in ["bundle.json", "predictor.onnx", "refiner.onnx"] {
        writer.start_file(name, stored).unwrap();
        writer.write_all(&fs::read(folder.join(name)).unwrap()).unwrap();
    }
    writer.finish().unwrap().into_inner().into()
}

/// One thread, so that the calls come in the same order each time.
fn load(bundle: flowturbo::Result<Bundle>) -> flowturbo::Result<Model> {
    Model::load(bundle?, &ModelOptions::default().with_threads(1))
}

/// Every one of a few, then a few of many.
fn some(calls: usize) -> impl Iterator<Item = usize> {
    (0..calls).filter(move |&n| n < 10 || n % (calls / 10 + 1) == 0 || n + 4 > calls)
}

pub fn that_fail() {
    let zip = zip(&tiny());
    let calls = Arc::new(AtomicUsize::new(0));
    let open = |fault, from| {
        calls.store(0, Ordering::Relaxed);
        let reader = Reader { zip: Cursor::new(Arc::clone(&zip)), fault, calls: Arc::clone(&calls), from };
        load(Bundle::from_reader(reader, &Limits::default()))
    };
    let model = open(Fault::None, 0).unwrap();
    let most = calls.load(Ordering::Relaxed);
    let wanted = draw(&model).unwrap();
    assert!(most > 20, "{most} calls");
    for fault in [Fault::Little, Fault::Interrupted] {
        assert_eq!(draw(&open(fault, 0).unwrap()).unwrap(), wanted, "{fault:?}");
    }
    for fault in [Fault::Error, Fault::End, Fault::Garbage, Fault::TooMany] {
        for from in some(most) {
            leaves_nothing(&format!("{fault:?} from call {from} on"), || {
                let outcome = open(fault, from);
                match (fault, outcome.as_ref().map_err(flowturbo::Error::kind)) {
                    (Fault::Error | Fault::TooMany, Err(ErrorKind::Io)) => {}
                    // The end is found by a seek that still tells the truth.
                    (Fault::End, Err(ErrorKind::Io | ErrorKind::InvalidBundle)) => {}
                    (Fault::Garbage, Err(kind)) => {
                        assert!(matches!(
                            kind,
                            ErrorKind::Io
                                | ErrorKind::InvalidBundle
                                | ErrorKind::LimitExceeded
                                | ErrorKind::NonFinite
                        ));
                    }
                    // Files whose hashes were right, and which are others when they are read again: nobody can tell.
                    (Fault::Garbage, Ok(_)) => {}
                    // A call that only seeks, behind which nothing is read.
                    (Fault::End | Fault::TooMany, Ok(_)) if from + 1 == most => {}
                    (_, other) => panic!("{fault:?} from call {from} of {most} on: {other:?}"),
                }
            });
        }
    }
    assert_eq!(draw(&open(Fault::None, 0).unwrap()).unwrap(), wanted);
}

/// Files in memory whose source does so at one call, or from it on.
struct Files {
    folder: std::path::PathBuf,
    fault: Fault,
    calls: Arc<AtomicUsize>,
    at: std::ops::Range<usize>,
}

impl Files {
    fn fault(&self) -> Fault {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        if self.at.contains(&call) { self.fault } else { Fault::None }
    }
}

impl Source for Files {
    fn size(&self, name: &str) -> io::Result<u64> {
        let size = fs::metadata(self.folder.join(name))?.len();
        match self.fault() {
            Fault::Error => Err(io::Error::other("the disc is scratched")),
            Fault::End => Ok(0),
            Fault::Garbage => Ok(size - 1),
            Fault::TooMany => Ok(u64::MAX),
            Fault::Panic => panic!("asked to"),
            _ => Ok(size),
        }
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match self.fault() {
            Fault::Error => return Err(io::Error::other("the disc is scratched")),
            Fault::End => return Err(io::ErrorKind::UnexpectedEof.into()),
            Fault::Panic => panic!("asked to"),
            _ => {}
        }
        let mut file = fs::File::open(self.folder.join(name))?;
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(buffer)?;
        if self.fault == Fault::Garbage && self.at.contains(&(self.calls.load(Ordering::Relaxed) - 1)) {
            buffer.iter_mut().for_each(|byte| *byte ^= 0x55);
        }
        Ok(())
    }

    fn describe(&self) -> String {
        "a pack of assets".to_owned()
    }
}

pub fn sources() {
    let calls = Arc::new(AtomicUsize::new(0));
    let open = |fault, at| {
        calls.store(0, Ordering::Relaxed);
        let files = Files { folder: tiny(), fault, calls: Arc::clone(&calls), at };
        load(Bundle::from_source(files, &Limits::default()))
    };
    let model = open(Fault::None, 0..0).unwrap();
    let most = calls.load(Ordering::Relaxed);
    let wanted = draw(&model).unwrap();
    assert!(most > 10, "{most} calls");
    for fault in [Fault::Error, Fault::End, Fault::Garbage, Fault::TooMany] {
        for (n, at) in some(most).flat_map(|n| [(n, n..n + 1), (n, n..usize::MAX)]) {
            leaves_nothing(&format!("{fault:?} at calls {at:?}"), || {
                match open(fault, at.clone()) {
                    Err(error) => {
                        let line = error.to_string();
                        assert!(
                            !line.contains('\n') && line.contains("pack of assets") || line.contains(".onnx"),
                            "{line}"
                        );
                        let io = error.kind() == ErrorKind::Io;
                        assert!(io || fault != Fault::Error, "call {n} of {most}: {line}");
                    }
                    // A file whose hash was right, and which is another one when it is read again: nobody can tell.
                    // And only sizes can be too large.
                    Ok(_) => assert!(
                        matches!(fault, Fault::Garbage | Fault::TooMany | Fault::End),
                        "call {n} of {most}"
                    ),
                }
            });
        }
    }
    assert_eq!(draw(&open(Fault::None, 0..0).unwrap()).unwrap(), wanted);
}

pub fn that_panic() {
    let calls = Arc::new(AtomicUsize::new(0));
    let open = |at| {
        calls.store(0, Ordering::Relaxed);
        let files = Files { folder: tiny(), fault: Fault::Panic, calls: Arc::clone(&calls), at };
        load(Bundle::from_source(files, &Limits::default()))
    };
    let model = open(0..0).unwrap();
    let most = calls.load(Ordering::Relaxed);
    let wanted = draw(&model).unwrap();
    in_silence(|| {
        for n in some(most) {
            leaves_nothing(&format!("a panic at call {n}"), || {
                // To the caller, told by an error, or done without.
                match catch_unwind(AssertUnwindSafe(|| open(n..n + 1))) {
                    Err(panic) => assert_eq!(panic.downcast_ref::<&str>(), Some(&"asked to")),
                    // The network is also imported for more rows at once, and if that fails it goes on without.
                    Ok(Ok(model)) => assert_eq!(draw(&model).unwrap(), wanted, "call {n} of {most}"),
                    Ok(Err(error)) => assert!(!error.to_string().contains('\n'), "{error}"),
                }
            });
        }
    });
    assert_eq!(draw(&open(0..0).unwrap()).unwrap(), wanted);
}

pub fn that_fail_later() {
    let calls = Arc::new(AtomicUsize::new(0));
    let open = |fault, at| {
        calls.store(0, Ordering::Relaxed);
        let files = Files { folder: tiny(), fault, calls: Arc::clone(&calls), at };
        let options = ModelOptions::default().with_threads(1).with_release_conditioning(true);
        Model::load(Bundle::from_source(files, &Limits::default()).unwrap(), &options).unwrap()
    };
    let model = open(Fault::None, 0..0);
    let loaded = calls.load(Ordering::Relaxed);
    let wanted = draw(&model).unwrap();
    let most = calls.load(Ordering::Relaxed);
    assert!(most > loaded, "nothing is read again");
    for at in some(most - loaded).map(|n| loaded + n..loaded + n + 1) {
        for fault in [Fault::Error, Fault::End] {
            leaves_nothing(&format!("{fault:?} at call {at:?}"), || {
                let model = open(fault, at.clone());
                let mut session = model.session();
                let error = session.latents(&request()).unwrap_err();
                // A size of 0 makes a file without a graph.
                let damaged = fault == Fault::End && error.kind() == ErrorKind::InvalidBundle;
                assert!(damaged || error.kind() == ErrorKind::Io, "{error}");
                assert!(error.to_string().contains(".onnx"), "{error}");
                let again: Vec<u32> =
                    session.latents(&request()).unwrap().iter().map(|x| x.to_bits()).collect();
                assert_eq!(again, wanted);
            });
        }
    }
}
