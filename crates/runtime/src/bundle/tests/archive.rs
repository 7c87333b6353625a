//! Zip files, good and bad.

use std::io::{Cursor, Read, Seek, SeekFrom};

use zip::write::SimpleFileOptions;

use super::super::testing::Files;
use super::super::*;
use super::{error, whole};
use crate::ErrorKind::{self, InvalidBundle, LimitExceeded};

fn open(zip: &[u8]) -> Result<Bundle> {
    Bundle::from_bytes(zip.to_vec(), &Limits::default())
}

/// Renames an entry in the central directory, whose headers are the last to hold its name.
fn rename(zip: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let at = (0..zip.len()).rfind(|&at| zip[at..].starts_with(old)).unwrap();
    let mut renamed = zip.to_vec();
    renamed[at..at + old.len()].copy_from_slice(new);
    renamed
}

/// Overwrites bytes of the first header of the central directory.
fn patch_entry(zip: &[u8], at: usize, new: &[u8]) -> Vec<u8> {
    let start = (0..zip.len()).find(|&at| zip[at..].starts_with(b"PK\x01\x02")).unwrap() + at;
    let mut patched = zip.to_vec();
    patched[start..start + new.len()].copy_from_slice(new);
    patched
}

/// Overwrites bytes of the end record.
fn patch_end(zip: &[u8], at: usize, new: &[u8]) -> Vec<u8> {
    let start = zip.len() - 22 + at;
    let mut patched = zip.to_vec();
    patched[start..start + new.len()].copy_from_slice(new);
    patched
}

#[test]
fn zip64_and_comments_are_read() {
    let files = Files::complete();
    let wide = files.zip_with(
        SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored).large_file(true),
    );
    open(&wide).unwrap().verify().unwrap();
    let comment = b"a comment PK\x05\x06 with a signature";
    let mut commented = patch_end(&files.zip(), 20, &(comment.len() as u16).to_le_bytes());
    commented.extend_from_slice(comment);
    open(&commented).unwrap().verify().unwrap();
}

#[test]
fn a_zip64_directory_is_followed() {
    let files = Files::complete();
    let zip = files.zip();
    let end = zip.len() - 22;
    let u32_at = |at: usize| u64::from(u32::from_le_bytes(zip[end + at..][..4].try_into().unwrap()));
    let entries = u64::from(u16::from_le_bytes(zip[end + 10..][..2].try_into().unwrap()));
    let build = |entries: u64, size: u64, start: u64, locator: u64| {
        let mut wide = zip[..end].to_vec();
        wide.extend_from_slice(b"PK\x06\x06");
        wide.extend_from_slice(&44_u64.to_le_bytes());
        wide.extend_from_slice(&[45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for value in [entries, entries, size, start] {
            wide.extend_from_slice(&value.to_le_bytes());
        }
        wide.extend_from_slice(b"PK\x06\x07\0\0\0\0");
        wide.extend_from_slice(&locator.to_le_bytes());
        wide.extend_from_slice(&[1, 0, 0, 0]);
        wide.extend_from_slice(b"PK\x05\x06\0\0\0\0");
        wide.extend_from_slice(&[0xff; 12]);
        wide.extend_from_slice(&[0, 0]);
        wide
    };
    let (size, start) = (u32_at(12), u32_at(16));
    open(&build(entries, size, start, end as u64)).unwrap().verify().unwrap();
    for (wide, kind) in [
        (build(1 << 40, size, start, end as u64), LimitExceeded),
        (build(entries, 1 << 40, start, end as u64), LimitExceeded),
        (build(entries, size, u64::MAX, end as u64), InvalidBundle),
        (build(entries, size, start, u64::MAX), InvalidBundle),
        (build(entries, size, start, 0), InvalidBundle),
        (build(entries + 1, size, start, end as u64), InvalidBundle),
    ] {
        assert_eq!(error(open(&wide)).kind(), kind);
    }
}

#[test]
fn an_entry_with_zip64_sizes_and_offset_is_read() {
    let zip = Files::complete().zip();
    let header = (0..zip.len()).find(|&at| zip[at..].starts_with(b"PK\x01\x02")).unwrap();
    let field = |at: usize| <[u8; 4]>::try_from(&zip[header + at..][..4]).unwrap();
    let name_end = header + 46 + MANIFEST.len();
    let build = |values: &[[u8; 4]]| {
        // Behind another extra field, which has to be skipped.
        let mut extra = b"UT\x05\0\0\0\0\0\0\x01\0".to_vec();
        extra.extend_from_slice(&(8 * values.len() as u16).to_le_bytes());
        extra.extend(values.iter().flat_map(|value| [*value, [0; 4]].concat()));
        let mut wide = [&zip[..name_end], &extra, &zip[name_end..]].concat();
        for at in [20, 24, 42] {
            wide[header + at..][..4].copy_from_slice(&[0xff; 4]);
        }
        wide[header + 30..][..2].copy_from_slice(&(extra.len() as u16).to_le_bytes());
        let size = (wide.len() - 22 - header) as u32;
        patch_end(&wide, 12, &size.to_le_bytes())
    };
    open(&build(&[field(24), field(20), field(42)])).unwrap().verify().unwrap();
    for wrong in [&[][..], &[field(24), field(20)], &[[9; 4], field(20), field(42)], &[[0xff; 4]; 3]] {
        assert_eq!(error(open(&build(wrong))).kind(), InvalidBundle);
    }
}

#[test]
fn what_a_bundle_has_no_use_for_is_refused_and_named() {
    let zip = Files::complete().zip();
    let name = b"decoder.onnx";
    let cases: Vec<(Vec<u8>, ErrorKind, &str)> = vec![
        (
            patch_entry(&zip, 10, &[8, 0]),
            InvalidBundle,
            "bundle.json: is compressed in the zip; store it as it is",
        ),
        (patch_entry(&zip, 20, &[1, 0, 0, 0]), InvalidBundle, "bundle.json: is compressed in the zip"),
        (patch_entry(&zip, 8, &[1, 0]), InvalidBundle, "bundle.json: is encrypted in the zip"),
        (rename(&zip, name, b"../coder.onn"), InvalidBundle, "the zip has an entry \"../coder.onn\""),
        (rename(&zip, name, b"/ecoder.onnx"), InvalidBundle, "the zip has an entry \"/ecoder.onnx\""),
        (rename(&zip, name, b"a\\coder.onnx"), InvalidBundle, "the zip has an entry"),
        (rename(&zip, name, b"C:coder.onnx"), InvalidBundle, "the zip has an entry"),
        (rename(&zip, name, b"folder.onnx/"), InvalidBundle, "the zip has an entry"),
        (rename(&zip, name, b"decoder\0onnx"), InvalidBundle, "the zip has an entry"),
        (rename(&zip, name, b"decoder\xffonnx"), InvalidBundle, "the zip has an entry"),
        (rename(&zip, name, b"encoder.onnx"), InvalidBundle, "encoder.onnx: is in the zip twice"),
        (patch_entry(&zip, 20, &[0xf0; 8]), InvalidBundle, "bundle.json: reaches past the zip's directory"),
        (patch_entry(&zip, 42, &[0xf0; 4]), InvalidBundle, "bundle.json: reaches past the zip's directory"),
        (patch_entry(&zip, 42, &[1, 0, 0, 0]), InvalidBundle, "the zip's directory is damaged"),
        (patch_entry(&zip, 24, &[0xff; 4]), InvalidBundle, "the zip's directory is damaged"),
        (patch_end(&zip, 4, &[1, 0]), InvalidBundle, "the zip's directory is damaged"),
        (patch_end(&zip, 8, &[0xff; 4]), LimitExceeded, "the zip's directory has 65535 entries"),
        (patch_end(&zip, 12, &[0xf0; 4]), LimitExceeded, "a bundle may have 256"),
        (patch_end(&zip, 16, &[0xf0; 4]), InvalidBundle, "the zip's directory is not where its end says"),
        ([b"MZ".as_slice(), &zip].concat(), InvalidBundle, "bytes are missing or added"),
        ([&zip, b"more".as_slice()].concat(), InvalidBundle, "is not a zip file or was cut short"),
    ];
    for (i, (zip, kind, text)) in cases.into_iter().enumerate() {
        let error = error(open(&zip));
        assert!(error.to_string().starts_with("zip in memory: "), "case {i}: {error}");
        assert!(error.to_string().contains(text), "case {i}: {error}");
        assert_eq!(error.kind(), kind, "case {i}: {error}");
    }
}

#[test]
fn a_zip_with_too_many_entries_is_refused() {
    let mut files = Files::complete();
    for i in 0..256 {
        files.0.insert(format!("extra{i}"), Vec::new());
    }
    assert_eq!(error(open(&files.zip())).kind(), LimitExceeded);
    files.0.retain(|name, _| !name.ends_with('7'));
    open(&files.zip()).unwrap();
}

#[test]
fn a_zip_cut_anywhere_is_an_error() {
    let zip = Files::complete().zip();
    for length in 0..zip.len() {
        assert_eq!(error(open(&zip[..length])).kind(), InvalidBundle, "cut to {length} bytes");
    }
}

#[test]
fn a_zip_with_any_byte_changed_is_an_error_or_still_the_same_bundle() {
    let zip = Files::complete().zip();
    let hash = open(&zip).unwrap().hash().to_owned();
    for at in 0..zip.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut changed = zip.clone();
            changed[at] ^= change;
            let Ok(bundle) = open(&changed) else { continue };
            // The manifest's own bytes are vouched for by nobody but `hash`.
            assert!(bundle.verify().is_err() || bundle.hash() != hash || same_files(&bundle), "byte {at}");
        }
    }
}

fn same_files(bundle: &Bundle) -> bool {
    let files = Files::complete();
    let mut roles = Role::ALL.iter().filter(|&&role| bundle.manifest().has(role));
    roles.all(|&role| whole(bundle.graph(role)) == files.0[&format!("{role}.onnx")])
}

/// A reader that fails from some byte on.
struct Failing(Cursor<Vec<u8>>, u64);

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.0.position() < self.1 {
            Err(std::io::Error::other("tape is torn"))
        } else {
            self.0.read(buffer)
        }
    }
}

impl Seek for Failing {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn what_a_reader_says_is_passed_on() {
    let zip = Files::complete().zip();
    for torn in [1, 100, zip.len() as u64] {
        let reader = Failing(Cursor::new(zip.clone()), torn);
        let error = error(Bundle::from_reader(reader, &Limits::default()));
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(error.to_string().starts_with("zip behind a reader: "), "{error}");
        assert!(error.to_string().ends_with("cannot be read: tape is torn"), "{error}");
    }
}
