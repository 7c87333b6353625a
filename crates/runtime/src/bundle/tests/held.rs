//! What becomes of a bundle's files while it is open.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::*;

const GRAPH: &str = "predictor.onnx";

/// The same bundle as a folder and as a zip file, open, each with its path and what to overwrite of it.
fn opened(folder: &Path) -> [(PathBuf, PathBuf, Bundle); 2] {
    let (files, unpacked, zip) = (Files::complete(), folder.join("unpacked"), folder.join("packed.zip"));
    fs::rename(files.folder().keep(), &unpacked).unwrap();
    fs::write(&zip, files.zip()).unwrap();
    [(unpacked.clone(), unpacked.join(GRAPH)), (zip.clone(), zip)].map(|(place, file)| {
        let bundle = Bundle::open(&place).unwrap();
        (place, file, bundle)
    })
}

#[test]
fn what_is_renamed_replaced_or_deleted_reads_as_it_was_opened() {
    let folder = tempfile::tempdir().unwrap();
    let mut others = Files::complete();
    others.0.get_mut(GRAPH).unwrap()[0] ^= 1;
    for (place, _, bundle) in opened(folder.path()) {
        let read = || {
            assert_eq!(
                whole(bundle.graph(Role::Predictor)),
                Files::complete().0[GRAPH],
                "{}",
                place.display()
            );
            bundle.verify().unwrap();
        };
        let aside = folder.path().join("aside");
        fs::rename(&place, &aside).unwrap();
        read();
        match aside.is_dir() {
            true => fs::rename(others.folder().keep(), &place).unwrap(),
            false => fs::write(&place, others.zip()).unwrap(),
        }
        read();
        if aside.is_dir() { fs::remove_dir_all(&aside) } else { fs::remove_file(&aside) }.unwrap();
        read();
        assert!(Bundle::open(&place).unwrap().verify().is_err());
    }
}

#[test]
fn what_is_written_to_meanwhile_is_an_error_and_no_mixture() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 4] = [
        ("other bytes", |path| {
            let mut file = File::options().write(true).open(path).unwrap();
            file.write_all(b"other").unwrap();
            // Clocks of file systems may be coarse.
            file.set_modified(SystemTime::now() + Duration::from_secs(5)).unwrap();
        }),
        ("more bytes", |path| File::options().append(true).open(path).unwrap().write_all(b"more").unwrap()),
        ("fewer bytes", |path| File::options().write(true).open(path).unwrap().set_len(9).unwrap()),
        ("none", |path| drop(File::create(path).unwrap())),
    ];
    for (harm, inflict) in harms {
        let folder = tempfile::tempdir().unwrap();
        for (place, file, bundle) in opened(folder.path()) {
            let graph = bundle.graph(Role::Predictor).unwrap();
            let mut bytes = Vec::new();
            graph.part(0, None).unwrap().read(&mut bytes).unwrap();
            inflict(&file);
            for error in [error(graph.part(0, None).unwrap().read(&mut bytes)), error(bundle.verify())] {
                let place = place.display();
                assert_eq!(error.kind(), ErrorKind::Io, "{place}, {harm}: {error}");
                let message = error.to_string();
                assert!(message.contains(GRAPH), "{place}, {harm}: {message}");
                assert!(
                    message.ends_with("was written to since it was opened; open the bundle again"),
                    "{place}, {harm}: {message}"
                );
            }
        }
    }
}
