//! Presets: found by name, put into a manifest's text, packed.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::Value;

use super::super::testing::Files;
use super::super::*;
use super::{error, whole};
use crate::ErrorKind::{InvalidArgument, InvalidBundle, Io, LimitExceeded};

fn named(presets: &[(&str, &str, f32)]) -> BTreeMap<String, Preset> {
    let preset = |&(name, schedule, guidance): &(&str, &str, f32)| {
        (name.to_owned(), Preset::new(schedule.parse().unwrap(), guidance))
    };
    presets.iter().map(preset).collect()
}

#[test]
fn a_preset_is_found_by_its_name_and_an_unknown_one_lists_the_others() {
    let bundle = Files::complete().open().unwrap();
    assert_eq!(bundle.preset("fast").unwrap(), &Preset::new("H1R2".parse().unwrap(), 1.5));
    let bundle = bundle.with_presets(&named(&[("fast", "H1", 1.0), ("best", "H1P8", 4.0)])).unwrap();
    for (name, known) in [("slow", "'slow'"), ("Fast", "'Fast'"), ("a\nb", "'a\\nb'")] {
        let error = error(bundle.preset(name).map(drop));
        assert_eq!(error.to_string(), format!("no preset {known}; bundle 'test.1_a-b' has best, fast"));
        assert_eq!(error.kind(), InvalidArgument);
    }
    let bundle = Files::complete().remove("sampling.presets.fast.guidance").open().unwrap();
    assert_eq!(bundle.preset("fast").unwrap().guidance, 4.0);
    let error = error(Files::minimal().open().unwrap().preset("fast").map(drop));
    assert!(error.to_string().ends_with("has none; 'flowturbo tune --write' finds some"), "{error}");
}

#[test]
fn new_presets_change_no_other_field_nor_their_order() {
    let mut files = Files::complete();
    files
        .set("format_version", "1.9".into())
        .set("zebra", serde_json::json!({"sampling": {"presets": 1}, "apple": [1, {"a": null}, -1e5]}));
    let bundle = files.open().unwrap().with_presets(&named(&[("fast", "H1P2", 0.1)])).unwrap();
    let text = String::from_utf8(bundle.json().to_vec()).unwrap();
    let mut wanted = files.manifest();
    wanted["sampling"]["presets"] = serde_json::json!({"fast": {"schedule": "H1P2", "guidance": 0.1}});
    assert_eq!(text, format!("{wanted:#}\n"));
}

#[test]
fn a_bundle_with_other_presets_is_checked_as_an_opened_one_is() {
    let bundle = Files::complete().open().unwrap();
    for (presets, kind, text) in [
        (&[("very fast", "H1", 1.0)][..], InvalidBundle, "sampling.presets: must be 1 to 64 of"),
        (&[("\"", "H1", 1.0)], InvalidBundle, "sampling.presets: must be 1 to 64 of"),
        (&[("fast", "H1", -1.0)], InvalidBundle, "sampling.presets.fast.guidance: must be at least 0"),
        (&[("fast", "H1", f32::NAN)], InvalidBundle, "sampling.presets.fast.guidance"),
        (&[("fast", "H1001", 1.0)], LimitExceeded, "sampling.presets.fast.schedule: schedule has 1001 steps"),
    ] {
        let error = error(bundle.with_presets(&named(presets)));
        assert!(error.to_string().starts_with("test files: bundle.json: "), "{error}");
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(error.kind(), kind, "{error}");
    }
    let minimal = Files::minimal().open().unwrap();
    let refused = error(minimal.with_presets(&named(&[("fast", "H1R1", 1.0)])));
    assert!(refused.to_string().contains("has R steps, but networks has no refiner"), "{refused}");
}

#[test]
fn a_bundle_with_other_presets_is_the_same_model_under_another_hash() {
    let files = Files::complete();
    let (bundle, presets) = (files.open().unwrap(), named(&[("best", "H1P8R4", 0.1), ("tiny", "E1", 1e-30)]));
    let tuned = bundle.with_presets(&presets).unwrap();
    assert_eq!(tuned.presets(), &presets);
    assert_eq!(tuned.hash(), checksum::hex_of(tuned.json()));
    assert_ne!(tuned.hash(), bundle.hash());
    let mut after: Value = serde_json::from_slice(tuned.json()).unwrap();
    after["sampling"]["presets"] = files.manifest()["sampling"]["presets"].take();
    assert_eq!(after, files.manifest());
    assert_eq!(whole(tuned.graph(Role::Refiner)), files.0["refiner.onnx"]);
    let mut written = files.clone();
    written.0.insert(MANIFEST.into(), tuned.json().to_vec());
    assert_eq!(written.open().unwrap().hash(), tuned.hash());
}

fn packed(bundle: &Bundle) -> Vec<u8> {
    let mut zip = Vec::new();
    bundle.write_zip(&mut zip).unwrap();
    zip
}

#[test]
fn a_packed_bundle_is_the_bundle_whoever_reads_the_zip() {
    let mut files = Files::complete();
    // Shared by two networks, and larger than a piece; a stranger in the folder stays behind.
    let large: Vec<u8> = (0..3_000_001_u32).map(|i| (i / 7) as u8).collect();
    files.replace("networks.decoder", large);
    let shared = files.manifest()["networks"]["decoder"].clone();
    files.set("networks.encoder.file", shared["file"].clone());
    files.set("networks.encoder.sha256", shared["sha256"].clone());
    files.0.insert("README.md".into(), b"read me".to_vec());
    let bundle = files.open().unwrap();
    let zip = packed(&bundle);
    let opened = Bundle::from_bytes(zip.clone(), &Limits::default()).unwrap();
    opened.verify().unwrap();
    assert_eq!(opened.hash(), bundle.hash());
    assert_eq!(packed(&opened), zip);
    let mut others = zip::ZipArchive::new(io::Cursor::new(zip)).unwrap();
    let names: Vec<String> = others.file_names().map(|name| name.unwrap().into_owned()).collect();
    let wanted = ["bundle.json", "decoder.onnx", "predictor.onnx", "predictor.onnx.data", "refiner.onnx"];
    assert_eq!(names, wanted);
    for name in names {
        let mut bytes = Vec::new();
        // Reads to the end, and so checks the CRC.
        io::Read::read_to_end(&mut others.by_name(&name).unwrap(), &mut bytes).unwrap();
        assert_eq!(bytes, files.0[&name], "{name}");
    }
}

#[test]
fn a_damaged_file_is_not_packed_and_a_full_disk_is_told() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut files = Files::complete();
    let full = error(files.open().unwrap().write_zip(Full));
    assert_eq!(full.kind(), Io);
    assert!(full.to_string().contains("the zip cannot be written"), "{full}");
    files.0.get_mut("refiner.onnx").unwrap()[0] ^= 1;
    let damaged = error(files.open().unwrap().write_zip(io::sink()));
    assert!(damaged.to_string().contains("refiner.onnx: SHA-256 is"), "{damaged}");
}
