//! Kernels by themselves on one thread, in the shapes that the networks give them. Elements are operations,
//! so `Gelem/s` is GFLOP/s.

mod common;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use flowturbo::bench::{Format, Kernel, Microkernel, microkernels, numbers};
use flowturbo::ndarray::Array2;
use flowturbo_compile::tract_onnx::prelude::*;
use flowturbo_compile::tract_onnx::tract_core::ops::einsum::EinSum;

/// Width of a block, its heads, and the rows of a guided image: 2 x 256 tokens, or 2 x 64.
const MODELS: [(&str, usize, usize, usize); 4] =
    [("textures", 256, 4, 128), ("SiT-S", 384, 6, 512), ("SiT-B", 768, 12, 512), ("SiT-XL", 1152, 16, 512)];

/// A block's widest layer in every model, and SiT-XL's other shapes: fewer rows, a long inner dimension.
fn products(c: &mut Criterion) {
    let widest = MODELS.map(|(model, width, _, rows)| (model, rows, width, 4 * width));
    let others = [
        ("SiT-XL", 64, 1152, 4608),
        ("SiT-XL", 128, 1152, 4608),
        ("SiT-XL", 256, 1152, 4608),
        ("SiT-XL", 512, 4608, 1152),
    ];
    let mut group = c.benchmark_group("matmul");
    group.sampling_mode(SamplingMode::Flat);
    for (model, rows, k, cols) in widest.into_iter().chain(others) {
        let shape = format!("{model} {rows}x{k}x{cols}");
        group.throughput(Throughput::Elements((2 * rows * k * cols) as u64));
        // Each line of the table in one shape, the best of each kind in all of them.
        let best = |by: &&Microkernel| {
            Microkernel::of(by.isa, by.format).is_some_and(|line| std::ptr::eq(line, *by))
        };
        let widest = |by: &&Microkernel| by.isa == microkernels().next().map_or(by.isa, |first| first.isa);
        let all = (model, k) == ("SiT-B", 768);
        for by in microkernels().filter(|by| all || best(by) && widest(by)) {
            let mut kernel = Kernel::product(rows, k, cols, by, 1).unwrap();
            group.bench_function(BenchmarkId::new(format!("flowturbo {by}"), &shape), |b| {
                b.iter(|| kernel.run())
            });
        }
        let matrix = |rows, cols| Array2::from_shape_vec((rows, cols), numbers(rows * cols)).unwrap();
        let (x, w) = (matrix(rows, k), matrix(k, cols));
        let plan = tract_product(rows, &w).unwrap();
        let input = x.clone().into_tensor();
        group.bench_function(BenchmarkId::new("tract", &shape), |b| {
            b.iter(|| plan.run(tvec!(input.clone().into())).unwrap());
        });
        let mut out = Array2::zeros((rows, cols));
        group.bench_function(BenchmarkId::new("matrixmultiply", &shape), |b| {
            b.iter(|| ndarray::linalg::general_mat_mul(1.0, &x, &w, 0.0, &mut out));
        });
    }
}

/// tract-linalg's product with weights that were packed before.
fn tract_product(rows: usize, w: &Array2<f32>) -> TractResult<Arc<TypedRunnableModel>> {
    let mut model = TypedModel::default();
    let x = model.add_source("x", f32::fact([rows, w.nrows()]))?;
    let w = model.add_const("w", w.clone().into_tensor())?;
    let product = EinSum::new("mk,kn->mn".parse()?, f32::datum_type());
    let product = model.wire_node("product", product, &[x, w])?;
    model.select_output_outlets(&product)?;
    model.into_optimized()?.into_runnable()
}

fn attention(c: &mut Criterion) {
    let mut group = c.benchmark_group("attention");
    for (model, width, heads, rows) in MODELS {
        let (tokens, dim) = (rows / 2, width / heads);
        group.throughput(Throughput::Elements((4 * 2 * tokens * tokens * width) as u64));
        let widest = microkernels().next().unwrap().isa;
        for by in [Format::F32, Format::Bf16].into_iter().filter_map(|format| Microkernel::of(widest, format))
        {
            // Not every processor with bfloat16 has attention in it.
            let Ok(mut kernel) = Kernel::attention(2, heads, tokens, dim, by, 1) else { continue };
            group.bench_function(format!("flowturbo {by}/{model} {heads}x{tokens}x{dim}"), |b| {
                b.iter(|| kernel.run())
            });
        }
    }
}

/// The bundled decoder's 3x3 convolutions, with the normalisation and activation before them.
fn convolutions(c: &mut Criterion) {
    let mut group = c.benchmark_group("norm, silu, convolution");
    for (edge, channels) in [(16, 128), (32, 96), (64, 48)] {
        group.throughput(Throughput::Elements((2 * 9 * edge * edge * channels * channels) as u64));
        let mut kernel = Kernel::convolution(edge, channels, channels, 1).unwrap();
        group.bench_function(format!("flowturbo/{edge}x{edge}x{channels}"), |b| b.iter(|| kernel.run()));
    }
}

/// Limited by memory: bytes, beside a copy of the same rows.
fn norms(c: &mut Criterion) {
    let mut group = c.benchmark_group("norm, modulation");
    for (model, width, _, rows) in MODELS {
        group.throughput(Throughput::Bytes((2 * 4 * rows * width) as u64));
        let mut kernel = Kernel::norm(2, rows / 2, width, 1).unwrap();
        group.bench_function(format!("flowturbo/{model} {rows}x{width}"), |b| b.iter(|| kernel.run()));
        let (from, mut to) = (numbers(rows * width), vec![0.0; rows * width]);
        group.bench_function(format!("copy/{model} {rows}x{width}"), |b| {
            b.iter(|| std::hint::black_box(&mut to).copy_from_slice(&from));
        });
    }
}

fn limits(_: &mut Criterion) {
    common::limits(&[1]);
}

criterion_group! {
    name = kernels;
    config = common::criterion();
    targets = limits, products, attention, convolutions, norms
}
criterion_main!(kernels);
