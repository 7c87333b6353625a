mod archive;
mod contexts;
mod held;
mod manifest;
mod maps;
mod presets;

use std::io::Cursor;

use serde_json::json;

use super::testing::Files;
use super::*;
use crate::{Error, ErrorKind};

/// Opens the same files from every kind of place.
fn everywhere(files: &Files) -> Vec<(&'static str, Result<Bundle>)> {
    let folder = files.folder();
    let zip = folder.path().join("bundle.zip");
    std::fs::write(&zip, files.zip()).unwrap();
    let limits = Limits::default();
    let opened = vec![
        ("folder", Bundle::open(folder.path())),
        ("zip file", Bundle::open(&zip)),
        ("memory", Bundle::from_bytes(files.zip(), &limits)),
        ("reader", Bundle::from_reader(Cursor::new(files.zip()), &limits)),
        ("caller's source", files.open()),
    ];
    // The folder goes: a bundle's files stay open.
    opened
}

/// What a file holds.
fn whole(file: Result<ListedFile>) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.and_then(|file| file.part(0, None)).and_then(|part| part.read(&mut bytes)).unwrap();
    bytes
}

fn error<T>(result: Result<T>) -> Error {
    result.err().expect("it must fail")
}

#[test]
fn a_bundle_reads_the_same_from_every_kind_of_place() {
    let files = Files::complete();
    for (place, bundle) in everywhere(&files) {
        let bundle = bundle.unwrap_or_else(|e| panic!("{place}: {e}"));
        assert_eq!(bundle.manifest().name, "test.1_a-b", "{place}");
        assert_eq!(bundle.hash(), checksum::hex_of(&files.0[MANIFEST]), "{place}");
        for role in Role::ALL.iter().copied().filter(|&role| bundle.manifest().has(role)) {
            assert_eq!(whole(bundle.graph(role)), files.0[&format!("{role}.onnx")], "{place}: {role}");
        }
        let external = bundle.external_data(Role::Predictor).unwrap();
        let mut buffer = vec![7; 3];
        external.part("predictor.onnx.data", 10, Some(5)).unwrap().read(&mut buffer).unwrap();
        assert_eq!(buffer, [10, 11, 12, 13, 14], "{place}");
        external.part("predictor.onnx.data", 254, None).unwrap().read(&mut buffer).unwrap();
        assert_eq!(buffer, [254, 255], "{place}");
        external.part("predictor.onnx.data", 256, None).unwrap().read(&mut buffer).unwrap();
        assert!(buffer.is_empty(), "{place}");
        bundle.verify().unwrap();
    }
}

#[test]
fn the_bundle_in_the_repository_opens_and_is_whole() {
    let bundle =
        Bundle::open(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/tiny-sit/bundle")).unwrap();
    assert_eq!(bundle.manifest().name, "tiny-sit");
    bundle.verify().unwrap();
}

#[test]
fn a_bundle_and_its_external_data_can_be_shared_between_threads() {
    fn shareable<T: Send + Sync + 'static>() {}
    shareable::<Bundle>();
    shareable::<ExternalData>();
}

#[test]
fn threads_that_read_at_once_get_their_own_ranges() {
    let bundle = Bundle::from_bytes(Files::complete().zip(), &Limits::default()).unwrap();
    let external = bundle.external_data(Role::Predictor).unwrap();
    std::thread::scope(|scope| {
        for start in 0..8_u8 {
            let external = external.clone();
            scope.spawn(move || {
                let mut buffer = Vec::new();
                for offset in (start..200).step_by(8) {
                    external
                        .part("predictor.onnx.data", offset.into(), Some(2))
                        .unwrap()
                        .read(&mut buffer)
                        .unwrap();
                    assert_eq!(buffer, [offset, offset + 1]);
                }
            });
        }
    });
}

#[test]
fn a_network_that_the_bundle_lacks_is_an_error_and_not_a_panic() {
    let bundle = Files::minimal().open().unwrap();
    assert!(bundle.graph(Role::Predictor).is_ok());
    let message = "test files: bundle.json: networks.refiner: the bundle has no such network";
    assert_eq!(error(bundle.graph(Role::Refiner)).to_string(), message);
    assert_eq!(error(bundle.external_data(Role::Refiner)).to_string(), message);
}

#[test]
fn a_changed_file_is_found_by_its_hash() {
    for name in ["predictor.onnx", "predictor.onnx.data", "refiner.onnx"] {
        let mut files = Files::complete();
        files.0.get_mut(name).unwrap()[3] ^= 1;
        for (place, bundle) in everywhere(&files) {
            // Hashes are checked when a network is loaded: opening stays cheap.
            let bundle = bundle.unwrap();
            let role = if name.starts_with("refiner") { Role::Refiner } else { Role::Predictor };
            for error in [error(bundle.check_while(role, || Ok(()))), error(bundle.verify())] {
                let message = error.to_string();
                let (is, says) = (
                    &checksum::hex_of(&files.0[name])[..8],
                    &checksum::hex_of(&Files::complete().0[name])[..8],
                );
                let wanted = format!(
                    "{name}: SHA-256 is {is}…, bundle.json says {says}…; the file is damaged or was changed"
                );
                assert!(message.ends_with(&wanted), "{place}: {message}");
                assert_eq!(error.kind(), ErrorKind::InvalidBundle);
            }
        }
    }
}

#[test]
fn a_missing_file_is_named_together_with_the_field_that_lists_it() {
    for (name, field) in [
        ("predictor.onnx", "networks.predictor.file"),
        ("predictor.onnx.data", "networks.predictor.external_data[0].file"),
        ("encoder.onnx", "networks.encoder.file"),
    ] {
        let mut files = Files::complete();
        files.0.remove(name);
        for (place, bundle) in everywhere(&files) {
            let error = error(bundle);
            let wanted = format!("{name}: no such file, but bundle.json ({field}) lists it");
            assert!(error.to_string().ends_with(&wanted), "{place}: {error}");
            assert_eq!(error.kind(), ErrorKind::InvalidBundle);
        }
    }
    let mut files = Files::complete();
    files.0.remove(MANIFEST);
    for (place, bundle) in everywhere(&files) {
        let error = error(bundle);
        assert!(error.to_string().contains("has no bundle.json"), "{place}: {error}");
        assert_eq!(error.kind(), ErrorKind::InvalidBundle);
    }
}

#[test]
fn a_path_that_is_no_bundle_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "not a zip").unwrap();
    let empty = folder.path().join("empty.zip");
    std::fs::write(&empty, "").unwrap();
    for (path, kind, message) in [
        (folder.path().join("gone"), ErrorKind::Io, "No such file"),
        (text, ErrorKind::InvalidBundle, "is not a zip file or was cut short"),
        (empty, ErrorKind::InvalidBundle, "is not a zip file or was cut short"),
        (folder.path().to_owned(), ErrorKind::InvalidBundle, "has no bundle.json"),
    ] {
        let error = error(Bundle::open(&path));
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[test]
fn a_folder_where_a_file_should_be_is_an_error() {
    let mut files = Files::complete();
    files.0.remove("refiner.onnx");
    let folder = files.folder();
    std::fs::create_dir(folder.path().join("refiner.onnx")).unwrap();
    let error = error(Bundle::open(folder.path()));
    assert!(error.to_string().ends_with("refiner.onnx: is not a file"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Io);
}

#[cfg(unix)]
#[test]
fn a_device_is_refused_and_not_waited_for() {
    let error = error(Bundle::open("/dev/zero"));
    assert_eq!(error.to_string(), "/dev/zero: is neither a folder nor a file");
}

#[test]
fn only_listed_ranges_of_external_data_are_served() {
    let bundle = Files::complete().open().unwrap();
    let external = bundle.external_data(Role::Predictor).unwrap();
    let none = bundle.external_data(Role::Refiner).unwrap();
    let data = "predictor.onnx.data";
    for (external, name, offset, length, message) in [
        (&external, data, 0, Some(257), "the graph asks for 257 bytes at offset 0, the file has 256 bytes"),
        (&external, data, 250, Some(7), "the graph asks for 7 bytes at offset 250, the file has 256 bytes"),
        (&external, data, 257, None, "the graph asks for the rest at offset 257, the file has 256 bytes"),
        (
            &external,
            data,
            u64::MAX,
            Some(u64::MAX),
            "the graph asks for 18446744073709551615 bytes at offset 18446744073709551615, the file has 256 bytes",
        ),
        (&external, "predictor.onnx", 0, Some(1), "does not list in its external_data"),
        (&external, "../secret", 0, None, "does not list in its external_data"),
        (&none, data, 0, Some(1), "does not list in its external_data"),
    ] {
        let error = error(external.part(name, offset, length));
        assert!(error.to_string().ends_with(message), "{error}");
        assert_eq!(error.kind(), ErrorKind::InvalidBundle);
    }
}

#[test]
fn files_above_the_limits_are_refused_before_they_are_read() {
    let files = Files::complete();
    let manifest = files.0[MANIFEST].len() as u64;
    for (limits, message) in [
        (Limits::default().with_max_manifest_bytes(manifest - 1), "bundle.json: is "),
        (
            Limits::default().with_max_file_bytes(255),
            "predictor.onnx.data: is 256 bytes, above the limit of 255",
        ),
    ] {
        for bundle in [files.open_with(&limits), Bundle::from_bytes(files.zip(), &limits)] {
            let error = error(bundle);
            assert_eq!(error.kind(), ErrorKind::LimitExceeded);
            assert!(error.to_string().contains(message), "{error}");
        }
    }
    let exact = Limits::default().with_max_manifest_bytes(manifest).with_max_file_bytes(256);
    assert_eq!(files.open_with(&exact).unwrap().limits(), &exact);
}

/// A source that claims any size.
struct Liar(u64);

impl Source for Liar {
    fn size(&self, name: &str) -> std::io::Result<u64> {
        if name == "refiner.onnx" { Ok(self.0) } else { Files::complete().size(name) }
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        Files::complete().read_at(name, offset, buffer)
    }

    fn describe(&self) -> String {
        "liar".into()
    }
}

#[test]
fn a_claimed_size_cannot_abort_the_process() {
    let limits = Limits::default().with_max_file_bytes(u64::MAX);
    for (claimed, kind) in
        [(u64::MAX, ErrorKind::Io), (1 << 33, ErrorKind::Io), (4, ErrorKind::InvalidBundle)]
    {
        let bundle = Bundle::from_source(Liar(claimed), &limits).unwrap();
        assert_eq!(error(bundle.check_while(Role::Refiner, || Ok(()))).kind(), kind, "{claimed}");
    }
}

#[test]
fn files_longer_than_one_read_are_hashed_whole() {
    let mut files = Files::complete();
    let bytes: Vec<u8> = (0..(5 << 19) + 3).map(|i: u32| (i % 251) as u8).collect();
    files.set("networks.refiner.sha256", json!(checksum::hex_of(&bytes)));
    files.0.insert("refiner.onnx".into(), bytes.clone());
    for (place, bundle) in everywhere(&files) {
        let bundle = bundle.unwrap();
        bundle.check_while(Role::Refiner, || Ok(())).unwrap();
        assert!(whole(bundle.graph(Role::Refiner)) == bytes, "{place}");
    }
}

#[test]
fn debug_names_the_bundle_without_dumping_it() {
    let text = format!("{:?}", Files::complete().open().unwrap());
    assert!(text.starts_with("Bundle { source: \"test files\", name: \"test.1_a-b\", hash: \""), "{text}");
}
