//! A bundle of every kind of network, each of a few operators: for requests.

use flowturbo::Bundle;
use serde_json::json;

use crate::graph::Net;
use crate::{Files, limits, network};

/// Latents `[N, 4, 4, 4]`, pictures of 32 by 32, three classes; as an uncompressed zip file.
pub fn painter() -> Vec<u8> {
    let networks = [
        ("predictor", Net::Predictor, &["x", "t", "y"][..], "velocity"),
        ("refiner", Net::Refiner, &["x", "v", "t", "y"], "offset"),
        ("decoder", Net::Decoder, &["latent"], "image"),
        ("encoder", Net::Encoder, &["image"], "latent"),
    ];
    let (mut files, mut listed) = (Vec::new(), serde_json::Map::new());
    for (role, net, inputs, output) in networks {
        let (file, bytes) = (format!("{role}.onnx"), net.write());
        listed.insert(role.to_owned(), network(&file, &bytes, inputs, output));
        files.push((file, bytes));
    }
    let manifest = json!({
        "format": "flowturbo-bundle", "format_version": "1.0", "name": "painter",
        "latent": { "channels": 4, "height": 4, "width": 4, "scale": 0.5, "shift": 0.25 },
        "image": { "height": 32, "width": 32, "wraps": true },
        "classes": { "count": 3, "null": 3, "labels": ["moss", "slate", "sand"] },
        "guidance": { "channels": 3 },
        "sampling": {
            "schedule": "H1P1R1", "guidance": 2.0, "presets": { "fast": { "schedule": "E1", "guidance": 1.0 } },
        },
        "networks": listed,
    });
    files.push(("bundle.json".to_owned(), manifest.to_string().into_bytes()));
    let mut zip = Vec::new();
    let bundle = Bundle::from_source(Files(files), &limits()).expect("the painter is a bundle");
    bundle.write_zip(&mut zip).expect("the painter packs");
    zip
}
