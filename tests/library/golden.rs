//! The sampler and the reference backend against the official code's numbers, step by step.

use std::io::Write;
use std::ops::ControlFlow;

use crate::common::{Case, cases, data, golden, golden4, largest_error};
use crate::copy::{Copy, sha256};
use flowturbo::{Bundle, Limits, Model, ModelOptions, Request};
use ndarray::Axis;
use tract_onnx::pb::StringStringEntryProto;

/// The bound that the issue sets; what is measured is printed and is a tenth of it or less.
const TOLERANCE: f32 = 2e-4;

fn model(threads: usize) -> Model {
    let bundle = Bundle::open(data("bundle")).unwrap();
    Model::load(bundle, &ModelOptions::default().with_threads(threads)).unwrap()
}

fn request(case: &Case) -> Request {
    Request::new(case.classes.clone())
        .with_noise(golden4(&format!("case{}_noise", case.index)))
        .with_schedule(case.schedule.parse().unwrap())
        .with_guidance(case.guidance)
}

/// Runs a case and returns the largest error over the states after every step.
fn trajectory_error(model: &Model, case: &Case) -> f32 {
    let expected = golden(&format!("case{}_traj", case.index));
    let mut worst = 0.0f32;
    let mut seen = 0;
    let latents = model.session().latents(&request(case), &mut |progress| {
        let state = expected.index_axis(Axis(0), progress.step - 1);
        worst = worst.max(largest_error(progress.latent.iter(), state.iter()));
        seen += 1;
        ControlFlow::Continue(())
    });
    assert_eq!(seen, expected.len_of(Axis(0)), "every golden step is reported");
    let last = golden(&format!("case{}_latent", case.index));
    worst.max(largest_error(latents.unwrap().iter(), last.iter()))
}

fn check_all(model: &Model, source: &str) {
    for case in cases() {
        let error = trajectory_error(model, &case);
        println!("{source} case {} ({}, guidance {}): {error:.1e}", case.index, case.schedule, case.guidance);
        assert!(error < TOLERANCE, "case {}: {error}", case.index);
    }
}

#[test]
fn every_state_of_all_six_cases_agrees_with_the_official_sampler() {
    check_all(&model(2), "folder");
}

#[test]
fn a_zip_bundle_gives_the_same_numbers_from_a_file_from_memory_and_from_a_reader() {
    let bytes = zipped();
    let limits = Limits::default();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.zip");
    std::fs::write(&path, &bytes).unwrap();
    let reader = std::io::Cursor::new(bytes.clone());
    for (source, bundle) in [
        ("zip file", Bundle::open(&path)),
        ("memory", Bundle::from_bytes(bytes, &limits)),
        ("reader", Bundle::from_reader(reader, &limits)),
    ] {
        check_all(&Model::load(bundle.unwrap(), &ModelOptions::default().with_threads(1)).unwrap(), source);
    }
}

#[test]
fn weights_beside_the_graph_give_the_same_numbers() {
    let copy = Copy::new();
    let mut weights = Vec::new();
    copy.edit_graph(|proto| {
        for tensor in proto.graph.as_mut().unwrap().initializer.iter_mut().filter(|t| t.raw_data.len() > 1000)
        {
            let bytes = std::mem::take(&mut tensor.raw_data);
            let entry = |key: &str, value: String| StringStringEntryProto { key: key.into(), value };
            tensor.external_data = vec![
                entry("location", "w.bin".into()),
                entry("offset", weights.len().to_string()),
                entry("length", bytes.len().to_string()),
            ];
            tensor.data_location = Some(1);
            weights.extend(bytes);
        }
    });
    assert!(weights.len() > 1_000_000);
    copy.edit_manifest(|m| {
        let listed = serde_json::json!([{ "file": "w.bin", "sha256": sha256(&weights) }]);
        m["networks"]["predictor"]["external_data"] = listed;
    });
    std::fs::write(copy.path().join("w.bin"), weights).unwrap();
    check_all(&copy.load().unwrap(), "external data");
}

fn zipped() -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for entry in std::fs::read_dir(data("bundle")).unwrap() {
        let path = entry.unwrap().path();
        zip.start_file(path.file_name().unwrap().to_str().unwrap(), options).unwrap();
        zip.write_all(&std::fs::read(&path).unwrap()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn the_thread_count_does_not_change_the_result() {
    let case = &cases()[1];
    let run = |threads| {
        model(threads).session().latents(&request(case), &mut |_| ControlFlow::Continue(())).unwrap()
    };
    let one = run(1);
    for threads in [2, 4, 8] {
        let error = largest_error(one.iter(), run(threads).iter());
        assert!(error <= 1e-5, "{threads} threads: {error}");
    }
}

#[test]
fn a_batch_is_its_images_one_by_one() {
    let model = model(2);
    let mut session = model.session();
    let mut sample = |classes: Vec<i64>, noise| {
        let request = Request::new(classes).with_noise(noise);
        session.latents(&request, &mut |_| ControlFlow::Continue(())).unwrap()
    };
    let noise = flowturbo::noise(3, [3, 4, 16, 16]).unwrap();
    let together = sample(vec![1, 5, 9], noise.clone());
    for (i, class) in [1, 5, 9].into_iter().enumerate() {
        let alone = sample(vec![class], noise.slice(ndarray::s![i..=i, .., .., ..]).to_owned());
        let error = largest_error(alone.iter(), together.index_axis(Axis(0), i).iter());
        assert!(error < 1e-4, "image {i}: {error}");
    }
}

#[test]
fn guidance_of_one_leaves_the_null_half_out_and_agrees_with_the_doubled_batch() {
    let model = model(2);
    let mut session = model.session();
    let mut sample = |guidance| {
        let request = Request::new(vec![4]).with_seed(1).with_guidance(guidance);
        session.latents(&request, &mut |_| ControlFlow::Continue(())).unwrap()
    };
    // The refiner sees the null half's own fourth channel only in its null half, so both agree.
    let error = largest_error(sample(1.0).iter(), sample(1.0 + f32::EPSILON).iter());
    assert!(error < 1e-4, "{error}");
}
