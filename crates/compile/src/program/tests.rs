//! Networks on the fused engine and on plain tract.

mod bundles;
mod deterministic;
mod exporters;
mod fallbacks;
mod near_misses;
mod operations;
mod text;

use std::path::Path;

use prost::Message;
use serde_json::json;

use super::*;
use crate::backend::{Condition, Input};
use crate::bundle::Part;
use crate::contract::{Contract, PortRole};
use crate::engine::FusedProgram;
use crate::executor::Call;
use crate::files::Files;
use crate::graph::testing::{files, written};
use crate::kernels::{Isa, Packed, Pool, Scales, Sharing, Whole};
use crate::plan::{Address, Lookup, Operation, Step};
use crate::weights::Weight;
use crate::{Bundle, CancelToken, Limits, Role, noise};

fn fused(threads: usize) -> Fused {
    fused_for(Isa::available()[0], threads, false)
}

fn fused_for(isa: Isa, threads: usize, deterministic: bool) -> Fused {
    let engine = Engine::new(isa, Arc::new(Pool::new(threads).unwrap()));
    Fused::new(engine, deterministic, Reference::new(1))
}

/// A condition of a network without contexts.
fn at(time: f32, class: i64) -> Condition {
    Condition { time, class, context: 0 }
}

/// What `backend` makes of one call of `role` at `batch`.
fn answers(bundle: &Bundle, role: Role, batch: usize, backend: &dyn Backend) -> Vec<f32> {
    let extent = bundle.manifest().extent(batch);
    let contract = Contract::new(bundle.manifest(), role, extent, bundle.limits()).unwrap();
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
    // Of a text encoder: any tokens, of which each text has another number.
    let tokens: Vec<Vec<i64>> = contract
        .inputs
        .iter()
        .map(|port| {
            let most = port.shape.last().map_or(1, |&n| n as i64);
            let places = (0..batch as i64).flat_map(|text| (0..most).map(move |place| (text, place)));
            let number = |(text, place): (i64, i64)| match port.role {
                PortRole::TokenMask => i64::from(place < most / 2 + text),
                PortRole::TokenTypes => place % 2,
                _ => (text * 31 + place * 17) % 200,
            };
            places.map(number).collect()
        })
        .collect();
    let integers = |i: usize| if role == Role::Text { &tokens[i] } else { &labels };
    let inputs = contract.inputs.iter().zip(&floats).enumerate();
    let inputs: Vec<Input> = inputs
        .map(|(i, (port, floats))| port.element.choose(Input::F32(floats), Input::I64(integers(i))))
        .collect();
    let mut output = vec![0.0; contract.output.shape.iter().product()];
    let allowance = Allowance::new(bundle.limits(), &CancelToken::new());
    let program = backend.program(bundle, role, extent, &allowance).unwrap();
    let mut instance = program.instantiate(&CancelToken::new()).unwrap();
    // The second answer must not depend on what the first left behind.
    for _ in 0..2 {
        instance.run(&inputs, &mut output, &CancelToken::new()).unwrap();
    }
    output
}

/// The largest difference, infinite for NaN, and the largest number of `theirs`.
fn apart(ours: &[f32], theirs: &[f32]) -> (f32, f32) {
    assert_eq!(ours.len(), theirs.len());
    let difference = |(a, b): (&f32, &f32)| if (a - b).is_nan() { f32::INFINITY } else { (a - b).abs() };
    let most = theirs.iter().fold(0.0, |most: f32, value| most.max(value.abs()));
    assert!(most > 0.0, "nothing to compare");
    (ours.iter().zip(theirs).map(difference).fold(0.0, f32::max), most)
}

impl Fused {
    /// A network as it is loaded for the processor, and not left to plain tract.
    fn fused(
        &self,
        graph: &Graph,
        role: Role,
        again: &dyn Fn(usize) -> Result<Graph>,
    ) -> Result<FusedProgram> {
        let (network, conditions) = self.lower(graph, role, again)?;
        self.engine.fused(network, conditions)
    }
}

/// `role` as the fused engine runs it, which it has to.
fn lowered(bundle: &Bundle, role: Role) -> FusedProgram {
    let import = |batch| Graph::import(bundle, role, bundle.manifest().extent(batch));
    let lowered = fused(1).fused(&import(2).unwrap(), Role::Predictor, &import);
    lowered.unwrap_or_else(|error| panic!("{role} is left to plain tract: {error}"))
}

/// Holds `role` to plain tract at some batches and thread counts.
fn agrees(bundle: &Bundle, role: Role, name: &str) {
    for (batch, threads) in [(1, 1), (1, 2), (2, 2), (3, 3)] {
        let backends: [&dyn Backend; 2] = [&fused(threads), &Reference::new(1)];
        let [ours, theirs] = backends.map(|backend| answers(bundle, role, batch, backend));
        let (error, most) = apart(&ours, &theirs);
        println!("{name} {role} x{batch}, {threads} threads: {error:.1e} of {most:.1}");
        assert!(error <= 2e-5 * most.max(1.0), "{name} {role} x{batch}: {error} of {most}");
    }
}

/// How many steps of each kind a plan has, but for copies: `attention 2, norm 5`.
fn kinds(plan: &str) -> String {
    let mut counts = std::collections::BTreeMap::new();
    for step in plan.lines().filter(|line| line.contains(" MFLOP ")) {
        *counts.entry(step.split_whitespace().nth(1).unwrap()).or_insert(0) += 1;
    }
    counts.remove("copy");
    counts.iter().map(|(kind, count)| format!("{kind} {count}")).collect::<Vec<_>>().join(", ")
}

#[test]
fn batch_sizes_share_their_packed_weights_and_their_conditioning() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let bundle = Bundle::open(root.join("models/textures")).unwrap();
    let import = |batch| Graph::import(&bundle, Role::Predictor, bundle.manifest().extent(batch));
    let fused = fused(2);
    let lower = |batch| fused.fused(&import(batch).unwrap(), Role::Predictor, &import).unwrap();
    let (one, two) = (lower(1), lower(2));
    assert!(Arc::ptr_eq(one.conditions.as_ref().unwrap(), two.conditions.as_ref().unwrap()));
    // Weights below the size from which on they stay in their files are packed anew.
    let stored = |program: &FusedProgram| -> Vec<*const Packed> {
        let steps = program.executable.steps.iter().filter(|step| step.stored.is_some());
        let products = steps.filter_map(|step| match &step.call {
            Call::Matmul(product) => Some(Arc::as_ptr(product.weights())),
            _ => None,
        });
        products.collect()
    };
    assert!(stored(&one).len() > 10);
    assert_eq!(stored(&one), stored(&two));
}

#[test]
fn a_panic_of_ours_is_told_and_the_network_is_not_left_to_tract() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let bundle = Bundle::open(root.join("tests/data/tiny-sit/bundle")).unwrap();
    let graph = Graph::import(&bundle, Role::Predictor, bundle.manifest().extent(1)).unwrap();
    // The network is wanted once more while it is lowered, for its conditioning.
    let error = fused(1).compile(graph, Role::Predictor, &|_| panic!("by the test")).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Runtime);
    assert_eq!(error.to_string(), "predictor.onnx: a bug in flowturbo, please report it: by the test");
}

/// A stranger's plan may say anything. Eight bytes have room for 16 numbers of four bits, of which 15 have scales.
#[test]
fn a_plan_that_looks_up_more_numbers_than_a_weight_has_is_refused() {
    let scales = Scales::new(Whole::I4, &[3, 5], Sharing::Axis(0), vec![1.0; 3], Vec::new());
    let mut weights = Weights::default();
    let part = Part::of_bytes("table", vec![0; 8]);
    weights.push(Weight::scaled("table", Arc::new(scales), &[3, 5], part).unwrap());
    let weights = &Arc::new(weights);
    let allowance = &Allowance::new(&Limits::default(), &CancelToken::new());
    let engine = Engine::new(Isa::available()[0], Arc::new(Pool::new(1).unwrap()));
    let load = |rows, width| {
        let out = Address { buffer: 0, offset: 0 };
        let lookup = Lookup { weight: 0, rows, width, input: 0, count: 1, out };
        let step = Step { name: "table's".into(), operation: Operation::Lookup(lookup) };
        let plan = Plan {
            buffers: vec![width],
            constants: Vec::new(),
            inputs: vec![None],
            given: None,
            output: 0,
            steps: vec![step],
        };
        engine.program(Network { file: "plan", precision: Precision::F32, plan, weights, allowance }, None)
    };
    assert!(load(3, 5).is_ok());
    for (rows, width) in [(4, 4), (2, 8), (2, 7)] {
        let error = load(rows, width).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidBundle);
        let line = "node 'table's': weight 'table': has another size than its table takes";
        assert_eq!(error.to_string(), line);
    }
}

#[test]
fn conditions_that_a_full_table_has_dropped_are_computed_again() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let bundle = Bundle::open(root.join("tests/data/tiny-sit/bundle")).unwrap();
    let import = |batch| Graph::import(&bundle, Role::Predictor, bundle.manifest().extent(batch));
    let fused = fused(1);
    let program =
        |fused: &Fused| Arc::new(fused.fused(&import(2).unwrap(), Role::Predictor, &import).unwrap());
    let (whole, small) = (program(&fused), program(&self::fused(1)));
    small.conditions.as_ref().unwrap().limit(3);
    let x = noise(1, [2, 4, 16, 16]).unwrap().into_raw_vec_and_offset().0;
    let pairs: Vec<Condition> = (0..8).map(|i| at(i as f32 / 8.0, i % 3)).collect();
    let [mut whole, mut small] =
        [whole, small].map(|program| Program::instantiate(program, &CancelToken::new()).unwrap());
    let mut answers = [vec![0.0; x.len()], vec![0.0; x.len()]];
    for network in [&mut whole, &mut small] {
        network.prepare(&pairs, &[], &CancelToken::new()).unwrap();
    }
    for times in 0..20 {
        let [a, b] = [pairs[times * 3 % 8], pairs[times * 5 % 8]];
        let (t, y) = ([a.time, b.time], [a.class, b.class]);
        let inputs = [Input::F32(&x), Input::F32(&t), Input::I64(&y)];
        for (network, answer) in [&mut whole, &mut small].into_iter().zip(&mut answers) {
            network.run(&inputs, answer, &CancelToken::new()).unwrap();
        }
        assert_eq!(answers[0], answers[1], "{times}");
    }
}

/// A network of one class takes no class. What its time decides is computed once for all states, whatever the class.
#[test]
fn a_network_of_time_alone_has_its_conditioning_computed_once() {
    let mut model = written(
        "column = [-1, 1]
         rows = Reshape(t, column)
         w = noise [1, 64]
         wide = MatMul(rows, w)
         bent = Sigmoid(wide)
         v = noise [64, 4]
         narrow = MatMul(bent, v)
         channels = [-1, 4, 1, 1]
         scale = Reshape(narrow, channels)
         velocity = Mul(x, scale)",
    );
    model.graph.as_mut().unwrap().input.retain(|input| input.name != "y");
    let mut files = Files::minimal();
    files.replace("networks.predictor", model.encode_to_vec()).remove("networks.predictor.inputs.y");
    files.set("classes", json!({ "count": 1 })).set("sampling.guidance", json!(1));
    let bundle = files.open().unwrap();
    let program = lowered(&bundle, Role::Predictor);
    assert_eq!(kinds(&program.executable.describe()), "pointwise 1", "{}", program.describe());
    let conditions = program.conditions.as_ref().unwrap();
    assert!(kinds(&conditions.describe()).contains("matmul"), "{}", conditions.describe());
    agrees(&bundle, Role::Predictor, "time alone");

    let taken = conditions.footprint().weights;
    conditions.prepare(&[at(0.5, 0), at(0.25, 0)], &[], &CancelToken::new()).unwrap();
    let rows = conditions.footprint().weights;
    conditions.prepare(&[at(0.25, 1), at(0.5, 7)], &[], &CancelToken::new()).unwrap();
    assert!(rows > taken && conditions.footprint().weights == rows);
}

#[test]
fn what_has_other_rows_than_images_is_no_condition() {
    // Only one image goes with seven rows of its time.
    let text = "a = [1]\n seven = [7, 1]\n row = [1, -1]\n latent = [1, 4, 8, 16]
        u = Unsqueeze(t, a)\n e = Expand(u, seven)\n c = Cos(e)\n z = Reshape(x, row)
        p = MatMul(c, z)\n m = ReduceMax(p) axes=[0]\n velocity = Reshape(m, latent)";
    let bundle = files(&written(text)).open().unwrap();
    let ours = answers(&bundle, Role::Predictor, 1, &fused(1));
    let noise = |seed, len| noise(seed, [1, 1, 1, len]).unwrap().into_raw_vec_and_offset().0;
    let (x, time) = (noise(0, ours.len()), noise(1, 1)[0].abs().min(1.0));
    let wanted: Vec<f32> = x.iter().map(|x| x * time.cos()).collect();
    assert!(apart(&ours, &wanted).0 < 1e-5);
}

#[test]
fn conditioning_is_cancelled_too() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let bundle = Bundle::open(root.join("tests/data/tiny-sit/bundle")).unwrap();
    let import = |batch| Graph::import(&bundle, Role::Predictor, bundle.manifest().extent(batch));
    let mut network = Program::instantiate(
        Arc::new(fused(1).fused(&import(1).unwrap(), Role::Predictor, &import).unwrap()),
        &CancelToken::new(),
    )
    .unwrap();
    let cancelled = CancelToken::new();
    cancelled.cancel();
    let error = network.prepare(&[at(0.5, 1)], &[], &cancelled).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    network.prepare(&[at(0.5, 1)], &[], &CancelToken::new()).unwrap();
}

#[test]
fn conditions_are_kept_with_their_contexts_and_found_by_their_bits() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let bundle = Bundle::open(root.join("tests/data/contexts/pooled")).unwrap();
    let import = |batch| Graph::import(&bundle, Role::Predictor, bundle.manifest().extent(batch));
    let program = || Arc::new(fused(1).fused(&import(2).unwrap(), Role::Predictor, &import).unwrap());
    let (whole, small) = (program(), program());
    small.conditions.as_ref().unwrap().limit(3);
    let (known, width) = (Arc::clone(whole.conditions.as_ref().unwrap()), 12);
    let noise = |seed, shape| noise(seed, shape).unwrap().into_raw_vec_and_offset().0;
    let (x, mut contexts) = (noise(1, [2, 4, 8, 8]), noise(2, [1, 1, 4, width]));
    // The fourth differs from the third in the last bit of its last float.
    contexts.copy_within(2 * width..3 * width, 3 * width);
    let last = contexts.last_mut().unwrap();
    *last = f32::from_bits(last.to_bits() ^ 1);
    let wanted: Vec<Condition> = (0..24)
        .map(|i| Condition { time: (i % 2) as f32 / 2.0, class: i as i64 % 3, context: i / 6 })
        .collect();
    let [mut whole, mut small] =
        [whole, small].map(|program| Program::instantiate(program, &CancelToken::new()).unwrap());
    for network in [&mut whole, &mut small] {
        network.prepare(&wanted, &contexts, &CancelToken::new()).unwrap();
    }
    let rows = |conditions: &Conditions| conditions.known().unwrap();
    assert_eq!(rows(&known).len(), wanted.len());
    let mut answers = [vec![0.0; x.len()], vec![0.0; x.len()]];
    for times in 0..48 {
        let [a, b] = [wanted[times * 5 % 24], wanted[times * 7 % 24]];
        let (t, y) = ([a.time, b.time], [a.class, b.class]);
        let context = [a, b].map(|of| &contexts[of.context * width..][..width]).concat();
        let inputs = [Input::F32(&x), Input::F32(&t), Input::I64(&y), Input::F32(&context)];
        for (network, answer) in [&mut whole, &mut small].into_iter().zip(&mut answers) {
            network.run(&inputs, answer, &CancelToken::new()).unwrap();
        }
        assert_eq!(answers[0], answers[1], "{times}");
    }
    // Nothing was computed anew by the whole table, and each row begins with its context.
    let known = rows(&known);
    assert_eq!(known.len(), wanted.len());
    for (row, of) in known.iter().zip(&wanted) {
        assert_eq!(row.floats[..width], contexts[of.context * width..][..width]);
        assert_eq!((row.time, row.class), (of.time, of.class));
    }
    // Rows of contexts that differ in a bit are two rows.
    assert!(known[12].floats[..width] != known[18].floats[..width]);
    let beyond = Condition { context: 4, ..wanted[0] };
    let error = whole.prepare(&[beyond], &contexts, &CancelToken::new()).unwrap_err();
    assert!(error.to_string().ends_with("a context is missing among those that were given"), "{error}");
}
