//! A bundle of every kind of network, each of a few operators: for requests.

use flowturbo::Bundle;
use serde_json::json;
use tract_onnx::pb::tensor_proto::DataType;

use crate::proto::{Attribute, port};
use crate::writer::{Tensor, Writer};
use crate::{Files, limits, network};

/// Latents `[N, 4, 4, 4]`, images of 32 by 32, three classes; as an uncompressed zip file.
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

/// A network of the painter.
#[derive(Clone, Copy)]
enum Net {
    Predictor,
    Refiner,
    Decoder,
    Encoder,
}

impl Net {
    fn write(self) -> Vec<u8> {
        let mut writer = Writer::default();
        let float = |name: &str, image: &[i64]| port(name, DataType::Float, image);
        let (latent, image) = ([4, 4, 4], [3, 32, 32]);
        let (mut inputs, output) = match self {
            Self::Predictor => (vec![float("x", &latent)], ("velocity", &latent[..])),
            Self::Refiner => (vec![float("x", &latent), float("v", &latent)], ("offset", &latent[..])),
            Self::Decoder => {
                let large = writer.enlarge("latent", 8.0, vec![]);
                let colours = conv(&mut writer, &large.name, [4, 3], 3, 1);
                writer.node("Tanh", &[&colours.name], &[], vec![]);
                return writer.file(&[float("latent", &latent)], ("image", &image));
            }
            Self::Encoder => {
                conv(&mut writer, "image", [3, 4], 8, 8);
                return writer.file(&[float("image", &image)], ("latent", &latent));
            }
        };
        let seen = if inputs.len() == 1 {
            "x".to_owned()
        } else {
            writer.node("Add", &["x", "v"], &[], vec![]).name
        };
        writer.integers("image", &[-1, 4, 1, 1]);
        writer.integers("times", &[-1, 1, 1, 1]);
        let table = writer.floats(&[4, 4], 1.0);
        let class = writer.node("Gather", &[&table, "y"], &[("axis", Attribute::Int(0))], vec![]);
        let class = writer.node("Reshape", &[&class.name, "image"], &[], vec![]);
        let time = writer.node("Reshape", &["t", "times"], &[], vec![]);
        let mixed = conv(&mut writer, &seen, [4, 4], 3, 1);
        let mixed = writer.node("Mul", &[&mixed.name, &time.name], &[], vec![]);
        writer.node("Add", &[&mixed.name, &class.name], &[], vec![]);
        inputs.extend([float("t", &[]), port("y", DataType::Int64, &[])]);
        writer.file(&inputs, output)
    }
}

/// A convolution with a square kernel; strides are as large as `stride`, borders are filled up.
fn conv(writer: &mut Writer, of: &str, [inputs, outputs]: [usize; 2], size: usize, stride: usize) -> Tensor {
    let weights = writer.floats(&[outputs, inputs, size, size], 1.0 / size as f32);
    let ints = |value: usize, count: usize| Attribute::Ints(vec![value as i64; count]);
    let attributes = [("pads", ints((size - stride) / 2, 4)), ("strides", ints(stride, 2))];
    writer.node("Conv", &[of, &weights], &attributes, vec![])
}
