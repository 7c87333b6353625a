//! Copies of the tiny bundle to be changed.

use std::path::Path;

use flowturbo::{Bundle, Model, ModelOptions, Result};
use flowturbo_compile::prost::Message;
use flowturbo_compile::tract_onnx::pb::ModelProto;
use serde_json::Value;

use crate::bundle::{self, sha256};
use crate::common::data;

/// A copy of a bundle, the tiny one if not said otherwise, that a test may change.
pub struct Copy(tempfile::TempDir);

impl Copy {
    pub fn new() -> Self {
        Self::of(&data("bundle"))
    }

    pub fn of(bundle: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        bundle::copy(bundle, folder.path());
        Self(folder)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn edit_manifest(&self, edit: impl FnOnce(&mut Value)) {
        bundle::edit_manifest(self.path(), edit);
    }

    /// Changes the predictor's bytes and makes the manifest's hash agree.
    pub fn edit_predictor(&self, edit: impl FnOnce(Vec<u8>) -> Vec<u8>) {
        self.edit_file("predictor", edit);
    }

    fn edit_file(&self, role: &str, edit: impl FnOnce(Vec<u8>) -> Vec<u8>) {
        let path = self.path().join(format!("{role}.onnx"));
        let bytes = edit(std::fs::read(&path).unwrap());
        self.edit_manifest(|m| m["networks"][role]["sha256"] = sha256(&bytes).into());
        std::fs::write(path, bytes).unwrap();
    }

    pub fn edit_graph(&self, edit: impl FnOnce(&mut ModelProto)) {
        self.edit_network("predictor", edit);
    }

    /// Changes a network's graph and makes the manifest's hash agree.
    pub fn edit_network(&self, role: &str, edit: impl FnOnce(&mut ModelProto)) {
        self.edit_file(role, |bytes| {
            let mut proto = ModelProto::decode(&*bytes).unwrap();
            edit(&mut proto);
            proto.encode_to_vec()
        });
    }

    pub fn load(&self) -> Result<Model> {
        Model::load(Bundle::open(self.path())?, &ModelOptions::default().with_threads(1))
    }
}
