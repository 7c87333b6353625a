//! Every network of both bundles, on the fused engine and on plain tract.

mod exporters;

use std::path::Path;

use super::action::Action;
use super::*;
use crate::graph::ElementType;
use crate::kernels::{Packed, Pool};
use crate::{Bundle, Role, noise};

/// Largest difference of one call of `role` at `batch`, and the largest number in the answer.
fn difference(bundle: &Bundle, role: Role, batch: usize, threads: usize) -> (f32, f32) {
    let import = |batch| Graph::import(bundle, role, batch);
    let graph = || import(batch).unwrap();
    let contract = graph().contract;
    let classes = bundle.manifest().classes.count;
    let labels: Vec<i64> = (0..batch as i64).map(|i| (i * 3) % i64::from(classes)).collect();
    let floats: Vec<Vec<f32>> = contract
        .inputs
        .iter()
        .enumerate()
        .map(|(seed, port)| {
            let len: usize = port.shape.iter().product();
            let noise = noise(seed as u64, [1, 1, 1, len]).unwrap().into_raw_vec_and_offset().0;
            // Times lie in [0, 1].
            if port.shape.len() == 1 { noise.iter().map(|t| t.abs().min(1.0)).collect() } else { noise }
        })
        .collect();
    let inputs: Vec<Input> = contract
        .inputs
        .iter()
        .zip(&floats)
        .map(|(port, floats)| match port.element {
            ElementType::F32 => Input::F32(floats),
            ElementType::I64 => Input::I64(&labels),
        })
        .collect();
    let run = |backend: &dyn Backend| {
        let mut output = vec![0.0; contract.output.shape.iter().product()];
        let mut instance = backend.compile(graph(), &import).unwrap().instantiate();
        // The second answer must not depend on what the first left behind.
        for _ in 0..2 {
            instance.run(&inputs, &mut output, &CancelToken::new()).unwrap();
        }
        output
    };
    let fused = Fused::new(Arc::new(Pool::new(threads).unwrap()), Reference::new(1));
    let lowered = fused.lower(&graph(), &import);
    assert!(lowered.is_ok(), "{role}: {:?}", lowered.err());
    let (ours, theirs) = (run(&fused), run(&Reference::new(1)));
    let error = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    (error, theirs.iter().fold(0.0, |most: f32, value| most.max(value.abs())))
}

#[test]
fn every_network_agrees_with_plain_tract() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in ["tests/data/tiny-sit/bundle", "models/textures"] {
        let bundle = Bundle::open(root.join(path)).unwrap();
        for role in Role::ALL.iter().copied().filter(|&role| bundle.manifest().has(role)) {
            for (batch, threads) in [(1, 1), (1, 2), (2, 2), (3, 3)] {
                let (error, most) = difference(&bundle, role, batch, threads);
                println!("{path} {role} x{batch}, {threads} threads: {error:.1e} of {most:.1}");
                assert!(error <= 2e-5 * most.max(1.0), "{path} {role} x{batch}: {error} of {most}");
            }
        }
    }
}

#[test]
fn batch_sizes_share_their_packed_weights_and_their_conditioning() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let bundle = Bundle::open(root.join("models/textures")).unwrap();
    let import = |batch| Graph::import(&bundle, Role::Predictor, batch);
    let fused = Fused::new(Arc::new(Pool::new(2).unwrap()), Reference::new(1));
    let lower = |batch| fused.lower(&import(batch).unwrap(), &import).unwrap();
    let (one, two) = (lower(1), lower(2));
    assert!(Arc::ptr_eq(one.conditions.as_ref().unwrap(), two.conditions.as_ref().unwrap()));
    // Weights below the size from which on they stay in their files are packed anew.
    let stored = |program: &FusedProgram| -> Vec<*const Packed> {
        let steps = program.runner.lowered.steps.iter().filter(|step| step.stored.is_some());
        let products = steps.filter_map(|step| match &step.action {
            Action::Product(product) => Some(Arc::as_ptr(product.weights())),
            _ => None,
        });
        products.collect()
    };
    assert!(stored(&one).len() > 10);
    assert_eq!(stored(&one), stored(&two));
}
