//! Whole calls of the bundled networks and a whole image, on one thread and on all, beside plain tract.
//! Elements are the graph's operations, so `Gelem/s` is GFLOP/s.

mod common;

use std::path::Path;
use std::thread::available_parallelism;

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use flowturbo::bench::Network;
use flowturbo::{BackendKind, Bundle, Model, ModelOptions, Request, Role};

const BACKENDS: [(&str, BackendKind); 2] =
    [("flowturbo", BackendKind::Fused), ("tract", BackendKind::Reference)];

fn bundle() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/models/textures"))
}

fn threads() -> Vec<usize> {
    let mut counts = vec![1, available_parallelism().map_or(1, usize::from)];
    counts.dedup();
    counts
}

/// For one image, doubled for guidance but where the answers are guided ones already.
fn calls(c: &mut Criterion) {
    for (role, batch) in [(Role::Predictor, 2), (Role::Refiner, 1), (Role::Decoder, 1)] {
        let mut group = c.benchmark_group(format!("{role} call"));
        group.sampling_mode(SamplingMode::Flat);
        for (name, backend) in BACKENDS {
            for threads in threads() {
                let mut network = Network::open(bundle(), role, batch, threads, backend).unwrap();
                group.throughput(Throughput::Elements(network.flops));
                let name = format!("{name}/threads {threads}");
                group.bench_function(name, |b| b.iter(|| network.run().unwrap()));
            }
        }
    }
}

/// From noise to pixels, by the bundle's own schedule.
fn images(c: &mut Criterion) {
    let mut group = c.benchmark_group("image");
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    for (name, backend) in BACKENDS {
        for threads in threads() {
            let options = ModelOptions::default().with_threads(threads).with_backend(backend);
            let model = Model::load(Bundle::open(bundle()).unwrap(), &options).unwrap();
            let (mut session, request) = (model.session(), Request::new(vec![0]));
            let name = format!("{name}/threads {threads}");
            group.bench_function(name, |b| b.iter(|| session.generate(&request).unwrap()));
        }
    }
}

fn limits(_: &mut Criterion) {
    common::limits(&threads());
}

criterion_group! {
    name = networks;
    config = common::criterion();
    targets = limits, calls, images
}
criterion_main!(networks);
