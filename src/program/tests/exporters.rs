//! Graphs of both PyTorch exporters and several opsets: what is recognised in each.

use super::*;
use crate::bundle::testing::Files;

/// A bundle whose predictor or decoder is this file of `tests/data/graphs`.
fn bundle_of(name: &str) -> (Bundle, Role) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/graphs");
    let bytes = std::fs::read(root.join(format!("{name}.onnx"))).unwrap();
    let (role, place) = match name.starts_with("decoder") {
        true => (Role::Decoder, "networks.decoder"),
        false => (Role::Predictor, "networks.predictor"),
    };
    (Files::complete().replace(place, bytes).open().unwrap(), role)
}

#[test]
fn explore() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/graphs");
    let mut names: Vec<_> = std::fs::read_dir(root).unwrap().map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "onnx")).map(|p| p.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    for name in names {
        let (bundle, role) = bundle_of(&name);
        let import = |batch| Graph::import(&bundle, role, batch);
        let graph = match import(2) { Ok(g) => g, Err(e) => { println!("{name}: {e}"); continue } };
        let program = match Fused::new(1).unwrap().lower(&graph, &import) { Ok(g) => g, Err(e) => { println!("{name}: LOWER {e}"); continue } };
        let kinds = |steps: &[super::super::lower::Placed]| {
            let mut m = std::collections::BTreeMap::new();
            for s in steps { *m.entry(s.kind).or_insert(0) += 1; }
            m
        };
        println!("{name}: {:?} | {:?}", kinds(&program.runner.lowered.steps), program.conditions.as_ref().map(|c| kinds(&c.runner().lowered.steps)));
        println!("   {:?}", [(1, 1), (2, 2)].map(|(b, t)| difference(&bundle, role, b, t)));
        if std::env::var("SHOW").is_ok_and(|s| s == name) { println!("{}", program.describe()); }
    }
}
