//! What the targets share: small bundles in memory, and one step of sampling.

mod graph;

use std::io;

use flowturbo::{BackendKind, Bundle, Error, ErrorKind, Limits, Model, ModelOptions, Request, Source};
use sha2::{Digest, Sha256};

pub use graph::Plan;

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
    Limits::default().with_max_file_bytes(1 << 22).with_max_tensor_bytes(1 << 22).with_max_edge(256)
}

/// A bundle with this predictor of latents `[N, 4, 8, 16]`, its hash right.
pub fn bundle(predictor: Vec<u8>) -> Result<Bundle, Error> {
    let sha256: String = Sha256::digest(&predictor).iter().map(|byte| format!("{byte:02x}")).collect();
    let manifest = serde_json::json!({
        "format": "flowturbo-bundle", "format_version": "1.0", "name": "fuzzed",
        "latent": { "channels": 4, "height": 8, "width": 16 },
        "classes": { "count": 2, "null": 2 },
        "sampling": { "schedule": "E1", "guidance": 1.0 },
        "networks": { "predictor": {
            "file": "predictor.onnx", "sha256": sha256,
            "inputs": { "x": "x", "t": "t", "y": "y" }, "output": "velocity",
        } },
    });
    let files = vec![
        ("bundle.json".to_owned(), manifest.to_string().into_bytes()),
        ("predictor.onnx".to_owned(), predictor),
    ];
    Bundle::from_source(Files(files), &limits())
}

/// Two latents after one step, by one backend.
pub fn sample(bundle: Bundle, backend: BackendKind) -> Result<Vec<f32>, Error> {
    let options = ModelOptions::default().with_threads(1).with_backend(backend);
    let model = Model::load(bundle, &options)?;
    let mut session = model.session();
    let request = Request::new(vec![0, 1]).with_seed(7).with_guidance(1.0);
    let once = session.latents(&request)?;
    let again = session.latents(&request)?;
    assert!(once.iter().zip(&again).all(|(a, b)| a.to_bits() == b.to_bits()), "one request, two answers");
    Ok(once.into_raw_vec_and_offset().0)
}

/// Whether the fault is in outside software: such an input is not kept.
pub fn is_outside(error: &Error) -> bool {
    error.to_string().contains("tract panicked")
}

/// Holds a failure to the rules for all of them.
pub fn check(error: &Error) {
    let line = error.to_string();
    assert!(line.len() <= 4096, "a message of {} bytes", line.len());
    assert!(!line.contains('\n'), "a message of several lines");
    assert!(!line.contains("bug in flowturbo"), "{line}");
    assert!(error.kind() != ErrorKind::Runtime || !line.contains("panicked at"), "{line}");
}

/// A small bundle with a refiner as an uncompressed zip file: that of the golden numbers.
pub fn zipped() -> Vec<u8> {
    let bundle = Bundle::open(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/tiny-sit/bundle"));
    let mut bytes = Vec::new();
    bundle.and_then(|bundle| bundle.write_zip(&mut bytes)).expect("the golden bundle packs");
    bytes
}
