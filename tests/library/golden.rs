//! The sampler and the reference backend against the official code's numbers, step by step.

use std::io::Write;
use std::ops::ControlFlow;

use crate::bundle::sha256;
use crate::common::{Case, cases, data, golden, golden4, largest_error};
use crate::copy::Copy;
use flowturbo::{
    Bundle, CancelToken, Error, ErrorKind, Limits, Model, ModelOptions, Request, Seamless, Session,
};
use flowturbo_compile::tract_onnx::pb::tensor_proto::DataType;
use flowturbo_compile::tract_onnx::pb::{ModelProto, NodeProto, StringStringEntryProto, TensorProto};
use ndarray::Axis;

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
    let latents = model.session().latents_with(&request(case), &mut |progress| {
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

/// A family whose time runs from 1000 (noise) to 0 (data) and whose velocity points at the noise.
#[test]
fn a_reversed_scaled_and_sign_flipped_network_gives_the_same_numbers() {
    let copy = Copy::new();
    copy.edit_network("predictor", reverse_time);
    copy.edit_network("refiner", reverse_time);
    let time = serde_json::json!({ "direction": "data_to_noise", "scale": 1000.0, "velocity_sign": -1 });
    copy.edit_manifest(|m| m["time"] = time);
    let reversed = copy.load().unwrap();
    check_all(&reversed, "reversed time");
    // The way by windows, which copies velocities, too.
    let request = Request::new(vec![1, 0]).with_morph(2, 0.3).with_seamless(Seamless::Both);
    let latents = |model: &Model| model.session().latents(&request).unwrap();
    let error = largest_error(&latents(&reversed), &latents(&model(2)));
    assert!(error < 2e-4, "windows in reversed time: {error}");
}

/// Puts `1 - t / 1000` in front of the graph, and a change of sign behind it and in front of `v`.
fn reverse_time(proto: &mut ModelProto) {
    let graph = proto.graph.as_mut().unwrap();
    let inputs: Vec<String> = graph.input.iter().map(|input| input.name.clone()).collect();
    let output = graph.output[0].name.clone();
    for node in &mut graph.node {
        let uses = node.input.iter_mut().filter(|name| *name == "t" || *name == "v");
        uses.for_each(|name| *name = format!("inner_{name}"));
        node.output.iter_mut().filter(|name| **name == output).for_each(|name| *name = "inner_output".into());
    }
    let node = |kind: &str, from: &[&str], to: &str| NodeProto {
        name: format!("{kind}_{to}"),
        op_type: kind.into(),
        input: from.iter().map(|name| name.to_string()).collect(),
        output: vec![to.into()],
        ..NodeProto::default()
    };
    let constant = |name: &str, value: f32| TensorProto {
        name: name.into(),
        data_type: DataType::Float as i32,
        dims: vec![1],
        raw_data: value.to_le_bytes().to_vec(),
        ..TensorProto::default()
    };
    graph.initializer.extend([constant("thousandth", 0.001), constant("one", 1.0)]);
    let mut first =
        vec![node("Mul", &["t", "thousandth"], "share"), node("Sub", &["one", "share"], "inner_t")];
    if inputs.iter().any(|name| name == "v") {
        first.push(node("Neg", &["v"], "inner_v"));
    }
    first.append(&mut graph.node);
    first.push(node("Neg", &["inner_output"], &output));
    graph.node = first;
}

#[test]
fn an_euler_step_follows_the_guided_velocity() {
    let model = model(2);
    let mut session = model.session();
    let noise = flowturbo::noise(5, [1, 4, 16, 16]).unwrap();
    let mut velocity = |classes, guidance| {
        let request = Request::new(classes).with_noise(noise.clone()).with_guidance(guidance);
        session.latents(&request.with_schedule("E1".parse().unwrap())).unwrap() - &noise
    };
    let (class, null, guided) = (velocity(vec![2], 1.0), velocity(vec![10], 1.0), velocity(vec![2], 3.0));
    for channel in 0..4 {
        let of = |velocity: &ndarray::Array4<f32>| velocity.index_axis(Axis(1), channel).to_owned();
        let (c, u) = (of(&class), of(&null));
        let expected = if channel < 3 { &u + (&c - &u) * 3.0 } else { c };
        let error = largest_error(&of(&guided), &expected);
        assert!(error < 2e-5, "channel {channel}: {error}");
    }
}

#[test]
fn one_model_serves_many_threads() {
    fn shared<T: Send + Sync>() {}
    fn sent<T: Send>() {}
    shared::<Model>();
    shared::<CancelToken>();
    shared::<Request>();
    shared::<Error>();
    sent::<Session>();

    let model = model(2);
    let run = &|class: i64| model.session().latents(&Request::new(vec![class]).with_seed(1)).unwrap();
    let alone: Vec<_> = (0..4).map(run).collect();
    let together: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|class| scope.spawn(move || run(class))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (alone, together) in alone.iter().zip(&together) {
        assert!(largest_error(alone, together) <= 1e-5);
    }
}

#[test]
fn another_thread_can_cancel() {
    let model = model(1);
    let token = CancelToken::new();
    let request = Request::new(vec![0; 64]).with_schedule("H500".parse().unwrap()).with_cancel(token.clone());
    let stopped = std::thread::scope(|scope| {
        let run = scope.spawn(|| model.session().latents(&request));
        std::thread::sleep(std::time::Duration::from_millis(50));
        token.cancel();
        run.join().unwrap()
    });
    assert_eq!(stopped.unwrap_err().kind(), ErrorKind::Cancelled);
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
fn a_batch_is_its_images_one_by_one() {
    let model = model(2);
    let mut session = model.session();
    let mut sample = |classes: Vec<i64>, noise| {
        let request = Request::new(classes).with_noise(noise);
        session.latents(&request).unwrap()
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
        session.latents(&request).unwrap()
    };
    // The refiner sees the null half's own fourth channel only in its null half, so both agree.
    let error = largest_error(sample(1.0).iter(), sample(1.0 + f32::EPSILON).iter());
    assert!(error < 1e-4, "{error}");
}
