//! `flowturbo inspect`, `classes` and `bench`: what a bundle is and costs.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::program::{copy_ending_in, fail, flowturbo, node, run, tiny};

fn inspect(batch: &str) -> Value {
    serde_json::from_str(&run(&["inspect", &tiny(), "--json", "--batch", batch])).unwrap()
}

#[test]
fn inspect_as_json_has_the_numbers_of_the_manifest_and_of_the_networks() {
    let report = inspect("1");
    for (pointer, expected) in [
        ("/name", json!("tiny-sit")),
        ("/latent/height", json!(16)),
        ("/classes/null", json!(10)),
        ("/time/direction", json!("noise_to_data")),
        ("/guided_channels", json!(3)),
        ("/sampling/schedule", json!("H1P5R3")),
        ("/image", Value::Null),
        ("/networks/predictor/file", json!("predictor.onnx")),
        ("/networks/predictor/batch", json!(2)),
        ("/networks/predictor/doubled_for_guidance", json!(true)),
        ("/networks/refiner/inputs/1", json!({ "name": "v", "type": "f32", "shape": [2, 4, 16, 16] })),
        ("/networks/refiner/output/shape", json!([2, 4, 16, 16])),
        ("/generation/calls", json!({ "predictor": 7, "refiner": 6 })),
    ] {
        assert_eq!(report.pointer(pointer), Some(&expected), "{pointer}");
    }
    assert_eq!(report["hash"].as_str().unwrap().len(), 64);
    let number = |pointer: &str| report.pointer(pointer).unwrap().as_u64().unwrap();
    for (network, depth) in [("predictor", 4), ("refiner", 1)] {
        let of = |field: &str| number(&format!("/networks/{network}/{field}"));
        let file = std::fs::metadata(crate::common::data(&format!("bundle/{network}.onnx"))).unwrap();
        assert_eq!(of("bytes"), file.len());
        // Of width 64: a block has 12 matrices of 64 x 64 that see each of 64 tokens, attention, and 6
        // more that see each image once. The rest (embeddings, the last layer) is below a fifth.
        let block = 2 * 2 * (12 * 64 * 64 * 64 + 2 * 64 * 64 * 64 + 6 * 64 * 64);
        let share = of("flops") as f64 / f64::from(depth * block);
        assert!((1.0..1.3).contains(&share), "{network}: {share} of the blocks' own work");
        let weights = f64::from(depth * 18 * 64 * 64);
        let share = of("parameters") as f64 / weights;
        assert!((1.0..1.7).contains(&share), "{network}: {share} of the blocks' own weights");
        assert!(of("nodes") > 20 && of("constant_bytes") > 4 * weights as u64 / 2);
    }
    let total = 7 * number("/networks/predictor/flops") + 6 * number("/networks/refiner/flops");
    assert_eq!(number("/generation/flops"), total);
}

#[test]
fn work_grows_with_the_batch() {
    let flops = |batch| inspect(batch).pointer("/networks/predictor/flops").unwrap().as_u64().unwrap() as f64;
    let ratio = flops("4") / flops("1");
    assert!((3.9..=4.0).contains(&ratio), "{ratio}");
}

#[test]
fn inspect_for_people_names_networks_and_says_that_guidance_doubles() {
    let text = run(&["inspect", &tiny()]);
    for part in ["tiny-sit", "predictor.onnx", "refiner.onnx", "doubled for guidance", "7 predictor calls"] {
        assert!(text.contains(part), "'{part}' is not in:\n{text}");
    }
}

#[test]
fn inspect_names_what_runs_by_fallback() {
    let report = inspect("1");
    assert_eq!(report["networks"]["predictor"]["fallbacks"], json!([]));
    assert_eq!(report["networks"]["predictor"]["left_to_tract"], Value::Null);
    assert!(!run(&["inspect", &tiny()]).contains("fallback"));

    let folder = tempfile::tempdir().unwrap();
    let bundle = copy_ending_in(folder.path(), &[node("HardSwish", &["inner"], "velocity")]);
    let text = run(&["inspect", &bundle]);
    assert!(text.contains("plain tract runs 1 operation: HardSwish 'makes velocity'\n"), "{text}");
    let report: Value = serde_json::from_str(&run(&["inspect", &bundle, "--json"])).unwrap();
    let named = json!([{ "operation": "HardSwish", "node": "makes velocity" }]);
    assert_eq!(report["networks"]["predictor"]["fallbacks"], named);
    assert_eq!(report["networks"]["refiner"]["fallbacks"], json!([]));
    let plan = run(&["inspect", &bundle, "--plan"]);
    assert!(plan.lines().any(|line| line.contains(" fallback ") && line.contains("(HardSwish)")), "{plan}");
}

#[test]
fn inspect_says_that_a_whole_network_is_left_to_tract_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let nodes = [
        node("ReduceSum", &["y"], "total"),
        node("Greater", &["total", "total"], "more"),
        node("Where", &["more", "inner", "x"], "velocity"),
    ];
    let bundle = copy_ending_in(folder.path(), &nodes);
    let text = run(&["inspect", &bundle]);
    assert!(
        text.contains("plain tract runs the whole network, more slowly: node 'makes velocity'"),
        "{text}"
    );
    let report: Value = serde_json::from_str(&run(&["inspect", &bundle, "--json"])).unwrap();
    let reason = report["networks"]["predictor"]["left_to_tract"].as_str().unwrap();
    assert!(reason.contains("I64 from 'y'"), "{reason}");
    assert_eq!(report["networks"]["refiner"]["left_to_tract"], Value::Null);
    assert!(run(&["inspect", &bundle, "--plan"]).contains("left to plain tract"));
}

#[test]
fn a_graph_that_cannot_be_loaded_is_refused_with_file_node_and_operator() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = copy_ending_in(folder.path(), &[node("FancyMax", &["inner"], "velocity")]);
    let words = ["predictor.onnx: node 'makes velocity' (FancyMax)", "no such operator"];
    fail(flowturbo(&["inspect", &bundle]), 2, &words);
}

#[test]
fn classes_are_a_line_each_and_the_null_class_is_marked() {
    let text = run(&["classes", &tiny()]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 11);
    assert_eq!(lines.first(), Some(&"0\t-"));
    assert_eq!(lines.last(), Some(&"10\t(null: no class)"));
}

#[test]
fn bench_as_json_counts_every_step_of_every_run() {
    let text =
        run(&["bench", &tiny(), "--runs", "2", "--warmup", "0", "--batch", "2", "--threads", "1", "--json"]);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&report["threads"], &report["batch"]), (&json!(1), &json!(2)));
    for (name, count) in [("step_H", 2), ("step_P", 10), ("step_R", 6), ("sample", 2), ("whole", 2)] {
        let times = &report["times"][name];
        assert_eq!(times["count"], json!(count), "{name}");
        let [min, median, max] = ["min", "median", "max"].map(|field| times[field].as_f64().unwrap());
        assert!(0.0 < min && min <= median && median <= max, "{name}: {times}");
    }
    assert_eq!(report["times"].get("decode"), None);
    for backend in ["fused", "reference"] {
        let text = run(&["bench", &tiny(), "--runs", "1", "--warmup", "0", "--backend", backend]);
        assert!(text.contains("step R") && text.contains(backend), "{text}");
    }
}

#[test]
fn bench_measures_the_peaks_of_one_thread_and_of_all() {
    let report: Value = serde_json::from_str(&run(&["bench", "--peaks", "--json"])).unwrap();
    let all = std::thread::available_parallelism().unwrap().to_string();
    for pointer in ["/fma_gflops/1", "/read_gbytes/1", &format!("/fma_gflops/{all}")] {
        let value = report.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN);
        assert!(value.is_finite() && value > 0.0, "{pointer}: {report}");
    }
    assert!(report["isa"].is_string());
    assert!(run(&["bench", "--peaks", "--threads", "1"]).contains("1 thread "));
    let both = flowturbo(&["bench", &tiny(), "--peaks"]).output().unwrap();
    assert_eq!(both.status.code(), Some(2));
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let mut child =
        flowturbo(&["classes", &tiny()]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
