//! Graphs with operations that have no kernel: right all the same, and they say so.

use super::*;
use crate::graph::testing::{files, written};

fn compiled(graph: &str) -> (Bundle, Arc<dyn Program>) {
    let bundle = files(&written(graph)).open().unwrap();
    let import = |batch| Graph::import(&bundle, Role::Predictor, bundle.manifest().extent(batch));
    let program = fused(1).compile(import(2).unwrap(), Role::Predictor, &import).unwrap();
    (bundle, program)
}

#[test]
fn operations_without_a_kernel_are_run_by_tract_and_named() {
    for (operation, graph) in [
        ("HardSwish", "velocity = HardSwish(x)"),
        ("MaxPool", "velocity = MaxPool(x) kernel_shape=[3,3] pads=[1,1,1,1]"),
        (
            "Conv",
            "w = noise [4,1,3,3]
             velocity = Conv(x, w) group=4 pads=[1,1,1,1]",
        ),
        (
            "CumSum",
            "last = [3]
             axis = Squeeze(last)
             velocity = CumSum(x, axis)",
        ),
        // Its condition is not of floats, and is computed along.
        (
            "GT + Iff",
            "zero = 0.0
             more = Greater(x, zero)
             velocity = Where(more, x, zero)",
        ),
        (
            "GRU",
            "steps = Transpose(x) perm=[1,0,2,3]
             rows = [4, -1, 16]
             sequence = Reshape(steps, rows)
             w = noise [1, 48, 16]
             r = noise [1, 48, 16]
             hidden = GRU(sequence, w, r) hidden_size=16
             apart = [4, -1, 8, 16]
             images = Reshape(hidden, apart)
             velocity = Transpose(images) perm=[1,0,2,3]",
        ),
    ] {
        let (bundle, program) = compiled(graph);
        let plan = program.describe();
        println!("{plan}");
        let fallbacks = program.fallbacks();
        let [Fallback::Operation { operation: named, node }] = fallbacks.as_slice() else { panic!("{plan}") };
        assert_eq!(named, operation, "{plan}");
        assert!(node.starts_with("makes "), "{plan}");
        assert!(plan.lines().any(|line| line.contains(" fallback ") && line.contains(operation)), "{plan}");
        agrees(&bundle, Role::Predictor, operation);
    }
}

#[test]
fn a_network_that_cannot_be_lowered_is_left_to_tract_whole_and_says_why() {
    let (bundle, program) = compiled(
        "total = ReduceSum(y)
         more = Greater(total, total)
         velocity = Where(more, x, x)",
    );
    let fallbacks = program.fallbacks();
    println!("{fallbacks:?}");
    let [Fallback::Network { reason }] = fallbacks.as_slice() else { panic!("{fallbacks:?}") };
    assert!(reason.contains("'makes velocity'") && reason.contains("I64 from 'y'"), "{reason}");
    assert!(program.describe().contains(reason));
    agrees(&bundle, Role::Predictor, "where");
    // In small numbers it would be another model than was asked for; the text encoder's are exact anyway.
    let import = |batch| Graph::import(&bundle, Role::Predictor, bundle.manifest().extent(batch));
    let engine = Engine::new(Isa::Scalar, Arc::new(Pool::new(1).unwrap()));
    let engine = engine.with_precision(Precision::Int8, false).unwrap();
    let small = Fused::new(engine, false, Reference::new(1));
    let error = small.compile(import(2).unwrap(), Role::Predictor, &import).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("I64 from 'y'"), "{error}");
    assert!(small.compile(import(2).unwrap(), Role::Text, &import).is_ok());
}
