//! Small bundles for tests: every network, dummy bytes for graphs, right hashes. The tests of `crates/compile` have
//! this file too.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::{self, Cursor, Write};

use serde_json::{Value, json};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::bundle::{Bundle, MANIFEST, Source, hex_of};
use crate::{Limits, Result};

/// The files of a bundle, to be spoilt and then opened.
#[derive(Clone)]
pub struct Files(pub BTreeMap<String, Vec<u8>>);

impl Files {
    /// A manifest that uses every field of format 1.0, and the files it lists.
    pub fn complete() -> Self {
        let mut files = BTreeMap::new();
        let mut listed = |name: &str, bytes: Vec<u8>| {
            let entry = json!({ "file": name, "sha256": hex_of(&bytes) });
            files.insert(name.to_owned(), bytes);
            entry
        };
        let mut network = |name: &str, external: &[Value], inputs: Value, output: &str| {
            let mut entry = listed(name, format!("graph {name}").into_bytes());
            entry["external_data"] = json!(external);
            entry["inputs"] = inputs;
            entry["output"] = json!(output);
            entry
        };
        let predictor = network("predictor.onnx", &[], json!({ "x": "x", "t": "t", "y": "y" }), "velocity");
        let refiner =
            network("refiner.onnx", &[], json!({ "x": "x", "v": "v", "t": "t", "y": "y" }), "offset");
        let decoder = network("decoder.onnx", &[], json!({ "latent": "latent" }), "image");
        let encoder = network("encoder.onnx", &[], json!({ "image": "image" }), "latent");
        let weights = listed("predictor.onnx.data", (0..=255).collect());
        let mut manifest = json!({
            "format": "flowturbo-bundle", "format_version": "1.0", "name": "test.1_a-b",
            "description": "one line", "license": "MIT",
            "latent": { "channels": 4, "height": 8, "width": 16, "scale": 0.5, "shift": 0.25 },
            "image": {
                "height": 64, "width": 128, "wraps": true,
                "preview": [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0.5]],
            },
            "classes": { "count": 2, "null": 2, "labels": ["brick", "moss"] },
            "time": { "direction": "data_to_noise", "scale": 1000.0, "velocity_sign": -1 },
            "guidance": { "channels": 3 },
            "sampling": {
                "schedule": "H1P5R3", "guidance": 4.0,
                "presets": { "fast": { "schedule": "H1R2", "guidance": 1.5 } },
            },
            "networks": { "predictor": predictor, "refiner": refiner, "decoder": decoder, "encoder": encoder },
        });
        manifest["networks"]["predictor"]["external_data"] = json!([weights]);
        let mut files = Self(files);
        files.set_manifest(&manifest);
        files
    }

    /// The complete one of a model that takes contexts too, encoded from prompts.
    pub fn with_text() -> Self {
        let mut files = Self::complete();
        let mut listed = |name: &str| {
            let bytes = format!("file {name}").into_bytes();
            let entry = json!({ "file": name, "sha256": hex_of(&bytes) });
            files.0.insert(name.to_owned(), bytes);
            entry
        };
        let (mut network, tokenizer) = (listed("text.onnx"), listed("tokenizer.json"));
        network["inputs"] = json!({ "tokens": "tokens", "mask": "mask", "types": "types" });
        network["output"] = json!("context");
        files
            .set("format_version", json!("1.1"))
            .set("networks.text", network)
            .set("networks.predictor.inputs.context", json!("context"))
            .set("networks.refiner.inputs.context", json!("context"));
        let text = json!({
            "width": 6, "tokens": 5, "max_tokens": 32, "tokenizer": tokenizer, "no_prompt": "empty",
        });
        files.set("text", text);
        files
    }

    /// The smallest manifest: a predictor and nothing optional.
    pub fn minimal() -> Self {
        let mut files = Self::complete();
        for field in
            ["description", "license", "image", "time", "guidance", "networks.refiner", "networks.decoder"]
        {
            files.remove(field);
        }
        for field in [
            "networks.encoder",
            "networks.predictor.external_data",
            "latent.scale",
            "latent.shift",
            "classes.labels",
            "sampling.presets",
        ] {
            files.remove(field);
        }
        files.set("sampling.schedule", json!("H1P5"));
        files
    }

    pub fn manifest(&self) -> Value {
        serde_json::from_slice(&self.0[MANIFEST]).unwrap()
    }

    pub fn set_manifest(&mut self, manifest: &Value) {
        self.0.insert(MANIFEST.into(), serde_json::to_vec_pretty(manifest).unwrap());
    }

    /// Sets a field of the manifest by its path, such as `networks.refiner.external_data.0.file`.
    pub fn set(&mut self, path: &str, value: Value) -> &mut Self {
        let mut manifest = self.manifest();
        let (parent, key) = path.rsplit_once('.').unwrap_or(("", path));
        let parent = manifest.pointer_mut(&pointer(parent)).unwrap();
        match parent {
            Value::Array(entries) => entries[key.parse::<usize>().unwrap()] = value,
            _ => parent[key] = value,
        }
        self.set_manifest(&manifest);
        self
    }

    pub fn remove(&mut self, path: &str) -> &mut Self {
        let mut manifest = self.manifest();
        let (parent, key) = path.rsplit_once('.').unwrap_or(("", path));
        let parent = manifest.pointer_mut(&pointer(parent)).unwrap().as_object_mut().unwrap();
        parent.remove(key).unwrap();
        self.set_manifest(&manifest);
        self
    }

    /// Gives the file that is listed at `path` other bytes, and the manifest their hash.
    pub fn replace(&mut self, path: &str, bytes: Vec<u8>) -> &mut Self {
        let listed = self.manifest().pointer(&pointer(path)).unwrap()["file"].as_str().unwrap().to_owned();
        self.set(&format!("{path}.sha256"), json!(hex_of(&bytes)));
        self.0.insert(listed, bytes);
        self
    }

    pub fn open(&self) -> Result<Bundle> {
        self.open_with(&Limits::default())
    }

    pub fn open_with(&self, limits: &Limits) -> Result<Bundle> {
        Bundle::from_source(self.clone(), limits)
    }

    pub fn folder(&self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in &self.0 {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        folder
    }

    /// A zip by another library than ours.
    pub fn zip(&self) -> Vec<u8> {
        self.zip_with(SimpleFileOptions::default().compression_method(CompressionMethod::Stored))
    }

    pub fn zip_with(&self, options: SimpleFileOptions) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in &self.0 {
            zip.start_file(name, options).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }
}

fn pointer(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("/{}", path.replace('.', "/")) }
}

impl Source for Files {
    fn size(&self, name: &str) -> io::Result<u64> {
        self.0.get(name).map(|bytes| bytes.len() as u64).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let bytes = self.0.get(name).ok_or(io::ErrorKind::NotFound)?;
        let range = bytes.get(offset as usize..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(range.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn describe(&self) -> String {
        "test files".into()
    }
}
