//! What the targets share: small bundles in memory, one step of sampling, and the rules for every failure.

mod graph;
mod mutate;
mod painter;
mod proto;
mod steps;
mod windows;
mod writer;

use std::io;
use std::time::Duration;

use flowturbo::{BackendKind, Bundle, Error, ErrorKind, Limits, Model, ModelOptions, Request, Source};
use prost::Message;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dim;
use tract_onnx::pb::{ModelProto, type_proto};

pub use graph::Plan;
pub use mutate::mutate;
pub use painter::painter;

/// Files of a bundle in memory.
pub struct Files(pub Vec<(String, Vec<u8>)>);

impl Files {
    fn file(&self, name: &str) -> io::Result<&[u8]> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, bytes)| bytes.as_slice()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Source for Files {
    fn size(&self, name: &str) -> io::Result<u64> {
        Ok(self.file(name)?.len() as u64)
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let bytes = usize::try_from(offset).ok().and_then(|start| self.file(name).ok()?.get(start..));
        let bytes = bytes.and_then(|bytes| bytes.get(..buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn describe(&self) -> String {
        "memory".to_owned()
    }
}

/// Bounds that keep a single input quick.
pub fn limits() -> Limits {
    Limits::default()
        .with_max_file_bytes(1 << 22)
        .with_max_tensor_bytes(1 << 22)
        .with_max_edge(256)
        .with_max_channels(64)
        .with_max_nodes(2000)
        .with_max_weight_bytes(1 << 22)
        .with_max_arena_bytes(1 << 26)
        .with_max_planning(Duration::from_secs(20))
}

/// Lets the library contain panics, which libFuzzer's own hook would end the process for. Those of this file, whose
/// promises did not hold, still do.
pub fn contain_panics() {
    std::panic::set_hook(Box::new(|panic| {
        if panic.location().is_some_and(|place| place.file() == file!()) {
            eprintln!("{panic}");
            std::process::abort();
        }
    }));
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A network of the manifest, by file, its hash right.
fn network(file: &str, bytes: &[u8], inputs: &[&str], output: &str) -> Value {
    let inputs: serde_json::Map<_, _> = inputs.iter().map(|&name| (name.to_owned(), name.into())).collect();
    json!({ "file": file, "sha256": hash(bytes), "inputs": inputs, "output": output })
}

/// `[C, H, W]` of the input `x`, and whether there is a `y`; `[4, 8, 16]` where the file does not say.
fn ports(predictor: &[u8]) -> ([u32; 3], bool) {
    let graph = ModelProto::decode(predictor).ok().and_then(|model| model.graph).unwrap_or_default();
    let shape = graph.input.iter().find(|input| input.name == "x").and_then(|x| {
        let Some(type_proto::Value::TensorType(tensor)) = &x.r#type.as_ref()?.value else { return None };
        let dims = tensor.shape.as_ref()?.dim.get(1..4)?.iter().map(|dim| match dim.value {
            Some(Dim::DimValue(n)) => u32::try_from(n).ok(),
            _ => None,
        });
        dims.collect::<Option<Vec<u32>>>()?.try_into().ok()
    });
    (shape.unwrap_or([4, 8, 16]), graph.input.iter().any(|input| input.name == "y"))
}

/// A bundle with this predictor.
pub fn bundle(predictor: Vec<u8>) -> Result<Bundle, Error> {
    let ([channels, height, width], classes) = ports(&predictor);
    let inputs: &[&str] = if classes { &["x", "t", "y"] } else { &["x", "t"] };
    let manifest = json!({
        "format": "flowturbo-bundle", "format_version": "1.0", "name": "fuzzed",
        "latent": { "channels": channels, "height": height, "width": width },
        "classes": if classes { json!({ "count": 2, "null": 2 }) } else { json!({ "count": 1 }) },
        "sampling": { "schedule": "E1", "guidance": 1.0 },
        "networks": { "predictor": network("predictor.onnx", &predictor, inputs, "velocity") },
    });
    let files = vec![
        ("bundle.json".to_owned(), manifest.to_string().into_bytes()),
        ("predictor.onnx".to_owned(), predictor),
    ];
    Bundle::from_source(Files(files), &limits())
}

/// Two latents after one step, by one backend; the noise of each pixel is larger or smaller by `shaken` of itself.
pub fn sample(bundle: Bundle, backend: BackendKind, shaken: f32) -> Result<Vec<f32>, Error> {
    let last = bundle.manifest().classes.count.min(2) - 1;
    let [channels, height, width] = {
        let latent = &bundle.manifest().latent;
        [latent.channels, latent.height, latent.width].map(|n| n as usize)
    };
    let options = ModelOptions::default().with_threads(1).with_batch(2).with_backend(backend);
    let model = Model::load(bundle, &options)?;
    let mut session = model.session();
    let mut noise = flowturbo::noise(7, [2, channels, height, width])?;
    noise.iter_mut().zip([1.0 + shaken, 1.0 - shaken].into_iter().cycle()).for_each(|(v, by)| *v *= by);
    let request = Request::new(vec![0, i64::from(last)]).with_noise(noise).with_guidance(1.0);
    let once = session.latents(&request)?;
    let again = session.latents(&request)?;
    assert!(once.iter().zip(&again).all(|(a, b)| a.to_bits() == b.to_bits()), "one request, two answers");
    Ok(once.into_raw_vec_and_offset().0)
}

/// What both backends make of one predictor.
pub enum Verdict {
    /// The same numbers, up to rounding, or the same refusal.
    Agree,
    /// The fault is in outside software, or a limit ended it: nothing to be learned, and not to be kept.
    Outside,
    /// Told in words.
    Apart(String),
}

/// Holds the fused kernels to plain tract.
pub fn compare(predictor: &[u8]) -> Verdict {
    let run = |backend, shaken| bundle(predictor.to_vec()).and_then(|bundle| sample(bundle, backend, shaken));
    let ours = run(BackendKind::Fused, 0.0);
    if let Err(error) = &ours {
        check(error);
        if is_outside(error) {
            return Verdict::Outside;
        }
    }
    let between = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    match (ours, run(BackendKind::Reference, 0.0)) {
        (Ok(ours), Ok(theirs)) => {
            let most = theirs.iter().fold(1.0, |most: f32, v| most.max(v.abs()));
            let apart = between(&ours, &theirs);
            // A graph may make much of little: what a few roundings of its input do is no difference.
            let is_rounding = || {
                run(BackendKind::Reference, 1e-6)
                    .map_or(true, |shaken| 4.0 * between(&shaken, &theirs) > apart)
            };
            if apart <= 1e-3 * most || is_rounding() {
                Verdict::Agree
            } else {
                Verdict::Apart(format!("off by {apart} of {most}"))
            }
        }
        // Numbers that are no longer finite may show in another step of the arithmetic.
        (Err(error), _) | (_, Err(error)) if error.kind() == ErrorKind::NonFinite => Verdict::Agree,
        (_, Err(theirs)) if is_outside(&theirs) => Verdict::Outside,
        (Err(ours), Err(theirs)) if ours.kind() == theirs.kind() => Verdict::Agree,
        (Err(ours), theirs) => {
            Verdict::Apart(format!("the kernels refuse it: {ours}; tract: {:?}", theirs.map(|_| "runs")))
        }
        (Ok(_), Err(theirs)) => Verdict::Apart(format!("tract refuses it: {theirs}")),
    }
}

/// Whether the fault is in outside software, or the input is too large for fuzzing.
pub fn is_outside(error: &Error) -> bool {
    error.to_string().contains("tract panicked") || error.kind() == ErrorKind::LimitExceeded
}

/// Holds a failure to the rules for all of them.
pub fn check(error: &Error) {
    let line = error.to_string();
    assert!(line.len() <= 4096, "a message of {} bytes", line.len());
    assert!(!line.contains('\n'), "a message of several lines");
    assert!(!line.contains("bug in flowturbo"), "{line}");
    assert!(error.kind() != ErrorKind::Runtime || !line.contains("panicked at"), "{line}");
}
