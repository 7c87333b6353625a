//! Every network of both bundles, on every instruction set.

use super::*;

const TINY: &str = "tests/data/tiny-sit/bundle";
const TEXTURES: &str = "models/textures";

fn open(path: &str) -> Bundle {
    Bundle::open(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(path)).unwrap()
}

/// Holds `role` to plain tract at `batch`, on each of these sets with so many threads.
fn agrees(bundle: &Bundle, role: Role, batch: usize, sets: &[(Isa, usize)]) {
    let import = |batch| Graph::import(bundle, role, bundle.manifest().extent(batch));
    let theirs = answers(bundle, role, batch, &Reference::new(1));
    for &(isa, threads) in sets {
        let fused = fused_for(isa, threads, false);
        let call = format!("{} {role} x{batch} on {isa}, {threads} threads", bundle.manifest().name);
        let lowered = fused.fused(&import(batch).unwrap(), Role::Predictor, &import);
        assert!(lowered.is_ok(), "{call}: {:?}", lowered.err());
        let (error, most) = apart(&answers(bundle, role, batch, &fused), &theirs);
        println!("{call}: {error:.1e} of {most:.1}");
        assert!(error <= 2e-5 * most.max(1.0), "{call}: {error} of {most}");
    }
}

/// On the best instruction set; `runs` are batches with numbers of threads.
fn every_network_agrees(path: &str, runs: &[(usize, &[usize])]) {
    let (bundle, best) = (open(path), Isa::available()[0]);
    for role in Role::ALL.iter().copied().filter(|&role| bundle.manifest().has(role)) {
        for (batch, threads) in runs {
            let sets: Vec<_> = threads.iter().map(|&threads| (best, threads)).collect();
            agrees(&bundle, role, *batch, &sets);
        }
    }
}

#[test]
fn the_tiny_networks_agree_with_plain_tract() {
    every_network_agrees(TINY, &[(1, &[1, 2]), (2, &[2]), (3, &[3])]);
}

#[test]
fn the_bundled_networks_agree_with_plain_tract() {
    every_network_agrees(TEXTURES, &[(1, &[1, 2])]);
}

/// Apart from the test above, because emulated processors take minutes for it.
#[test]
fn the_bundled_networks_agree_in_batches() {
    every_network_agrees(TEXTURES, &[(2, &[2]), (3, &[3])]);
}

/// All of both bundles, but no large network one float at a time.
#[test]
fn every_other_instruction_set_agrees_with_plain_tract() {
    for (path, role, small) in [
        (TINY, Role::Predictor, true),
        (TINY, Role::Refiner, true),
        (TEXTURES, Role::Refiner, true),
        (TEXTURES, Role::Predictor, false),
        (TEXTURES, Role::Decoder, false),
        (TEXTURES, Role::Encoder, false),
    ] {
        let others = Isa::available().into_iter().skip(1).filter(|&isa| small || isa != Isa::Scalar);
        let others: Vec<_> = others.map(|isa| (isa, 2)).collect();
        if !others.is_empty() {
            agrees(&open(path), role, 2, &others);
        }
    }
}

#[test]
fn networks_of_contexts_agree_with_plain_tract_and_are_recognised_whole() {
    for (path, role, steps) in [
        ("pooled", Role::Predictor, "attention 2, matmul 12, norm 5, pointwise 1"),
        ("pooled", Role::Refiner, "attention 1, matmul 7, norm 3, pointwise 2"),
        ("tokens", Role::Predictor, "attention 4, matmul 18, norm 7, pointwise 1"),
        ("tokens", Role::Refiner, "attention 2, matmul 10, norm 4, pointwise 2"),
    ] {
        let bundle = open(&format!("tests/data/contexts/{path}"));
        let program = lowered(&bundle, role);
        assert_eq!(program.fallbacks(), [], "{path} {role}");
        assert_eq!(kinds(&program.executable.describe()), steps, "{path} {role}");
        let conditions = program.conditions.as_ref().unwrap().describe();
        assert!(kinds(&conditions).contains("matmul"), "{conditions}");
        for (batch, threads) in [(1, 1), (2, 2), (3, 2)] {
            let sets: Vec<_> = Isa::available().into_iter().map(|isa| (isa, threads)).collect();
            agrees(&bundle, role, batch, &sets);
        }
    }
}
