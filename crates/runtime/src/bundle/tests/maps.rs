//! `image.maps`, which came with format 1.1.

use serde_json::{Value, json};

use super::super::testing::Files;
use super::super::{Extent, Map, Role};
use super::error;
use crate::ErrorKind::InvalidBundle;
use crate::{Contract, Limits};

fn files(maps: Value) -> Files {
    let mut files = Files::complete();
    files.set("format_version", json!("1.1")).set("image.maps", maps);
    files
}

#[test]
fn maps_are_the_channels_of_the_decoder_and_the_encoder_takes_colour_alone() {
    let names = ["color", "normal", "height", "roughness", "metallic", "occlusion"];
    let bundle = files(json!(names)).open().unwrap();
    let manifest = bundle.manifest();
    assert_eq!(manifest.maps().iter().map(|map| map.name()).collect::<Vec<_>>(), names);
    let extent = Extent { batch: 2, cells: [8, 16] };
    let contract = |role| Contract::new(manifest, role, extent, &Limits::default()).unwrap();
    assert_eq!(contract(Role::Decoder).output.shape, [2, 9, 64, 128]);
    assert_eq!(contract(Role::Encoder).inputs[0].shape, [2, 3, 64, 128]);
    assert_eq!(manifest.shapes(Role::Decoder, [8, 16]).unwrap(), ([4, 8, 16], [9, 64, 128]));
    assert_eq!(manifest.shapes(Role::Encoder, [8, 16]).unwrap(), ([3, 64, 128], [4, 8, 16]));
}

#[test]
fn a_bundle_that_says_nothing_of_maps_has_colour_and_one_without_a_decoder_none() {
    let decoder = Files::complete().open().unwrap();
    assert_eq!(decoder.manifest().maps(), [Map::Color]);
    let own = decoder.manifest().extent(1);
    assert_eq!(decoder.manifest().maps_shape(own), decoder.manifest().image_shape(own));
    let encoder = Files::complete().remove("networks.decoder").open().unwrap();
    assert_eq!(encoder.manifest().maps(), []);
    assert_eq!(encoder.manifest().maps_shape(own), None);
}

#[test]
fn each_fault_is_one_line_that_names_the_field() {
    let listed = "must be one of color, normal, height, roughness, metallic, occlusion, is";
    for (maps, words) in [
        (json!([]), "image.maps: must begin with color, begins with nothing"),
        (json!(["normal", "color"]), "image.maps: must begin with color, begins with normal"),
        (json!(["color", "height", "height"]), "image.maps[2]: repeats height"),
        (json!(["color", "albedo"]), &format!("image.maps[1]: {listed} \"albedo\"")),
        (json!(["color", "Normal"]), &format!("image.maps[1]: {listed} \"Normal\"")),
        // Packed here, never by a network.
        (json!(["color", "orm"]), &format!("image.maps[1]: {listed} \"orm\"")),
        (json!(["color", 3]), "image.maps[1]: invalid type: integer `3`, expected a string"),
        (json!("color"), "image.maps: invalid type: string \"color\""),
        (json!(null), "image.maps: invalid type: null"),
    ] {
        let error = error(files(maps).open());
        let text = error.to_string();
        assert!(text.starts_with(&format!("test files: bundle.json: {words}")), "{text}");
        assert!(error.kind() == InvalidBundle && !text.contains('\n'), "{text}");
    }
    let old = error(files(json!(["color"])).set("format_version", json!("1.0")).open()).to_string();
    assert!(old.ends_with("image.maps: is a field of format 1.1, but format_version is 1.0"), "{old}");
    let none = error(files(json!(["color"])).remove("networks.decoder").open()).to_string();
    assert!(none.ends_with("image.maps: is there, but networks has no decoder, which makes them"), "{none}");
    files(json!(["color", "normal"])).set("format_version", json!("1.3")).open().unwrap();
    let unknown = error(files(json!(["color"])).set("image.mapz", json!(1)).open()).to_string();
    assert!(unknown.ends_with("image.mapz: unknown field in format 1.1"), "{unknown}");
}
