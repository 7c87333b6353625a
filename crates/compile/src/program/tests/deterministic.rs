//! The same bits on every set of 8 floats, with any number of threads; nothing that tract computes.

use super::super::super::graph::testing::{files, written};
use super::*;

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn networks_give_the_same_bits_on_every_set_with_any_number_of_threads() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    for (path, role, batch) in [
        ("tests/data/tiny-sit/bundle", Role::Predictor, 2),
        ("tests/data/tiny-sit/bundle", Role::Refiner, 3),
        ("models/textures", Role::Refiner, 2),
        ("models/textures", Role::Decoder, 1),
    ] {
        let bundle = Bundle::open(root.join(path)).unwrap();
        let mut known: Option<Vec<u32>> = None;
        for isa in Isa::portable() {
            for threads in [1, 2, 3] {
                // One answer is enough of a set that an emulator or plain Rust is slow with.
                if isa == Isa::Scalar && (threads == 1 || (role == Role::Decoder && threads == 3)) {
                    continue;
                }
                let fused = fused_for(isa, threads, true);
                let answer = bits(&answers(&bundle, role, batch, &fused));
                let known = known.get_or_insert_with(|| answer.clone());
                assert!(*known == answer, "{path} {role} on {isa} with {threads} threads");
            }
        }
    }
}

#[test]
fn what_tract_would_compute_is_refused_by_name() {
    for (graph, operator) in [
        // No kernel for it.
        ("velocity = Ceil(x)", "Ceil"),
        // Of constants, while the graph is read.
        ("w = noise [1, 1, 1, 1]\n e = Exp(w)\n velocity = Mul(x, e)", "Exp"),
    ] {
        let bundle = files(&written(graph)).open().unwrap();
        let import = |batch| Graph::import(&bundle, Role::Predictor, bundle.manifest().extent(batch));
        assert!(fused(1).compile(import(1).unwrap(), Role::Predictor, &import).is_ok(), "{graph}");
        let error = fused_for(Isa::portable()[0], 1, true)
            .compile(import(1).unwrap(), Role::Predictor, &import)
            .err()
            .unwrap();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let line = error.to_string();
        assert!(line.contains(operator) && line.contains("deterministic"), "{line}");
    }
}
