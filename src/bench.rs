//! Kernels and networks by themselves, for `benches/`. No part of the interface: it is there only with the
//! feature `bench` and may change at any time.

#![forbid(unsafe_code)]

use std::path::Path;
use std::sync::Arc;

use crate::allowance::Allowance;
use crate::backend::{Backend, Input, Instance};
use crate::contract::{Contract, ElementType};
use crate::engine::Engine;
use crate::error::runtime;
use crate::kernels::{
    Attention, Border, Convolution, Epilogue, Form, Group, GroupNorm, Heads, Isa, MICROKERNELS, Matmul,
    Measure, Modulation, Norm, Packed, Padding, Pool, Rows, Source, Stage, Values, Workers,
};
use crate::{BackendKind, Bundle, CancelToken, Result, Role};
use flowturbo_compile::{Fused, Reference};

/// The micro-kernels that this processor has.
pub fn microkernels() -> impl Iterator<Item = &'static Microkernel> {
    MICROKERNELS.iter().filter(|line| line.is_available())
}

/// What [`Kernel::product`] is asked to run by.
pub use crate::kernels::{Format, Microkernel};

type Body = Box<dyn Fn(&mut Workers<'_>, &mut [f32])>;

/// One kernel with its memory, ready to run on as many threads as wanted.
pub struct Kernel {
    isa: Isa,
    pool: Pool,
    scratch: Vec<f32>,
    mem: Vec<f32>,
    run: Body,
}

impl Kernel {
    /// `rows x k` by `k x cols` and a bias: a linear layer, halved where networks halve it.
    pub fn product(
        rows: usize,
        k: usize,
        cols: usize,
        by: &'static Microkernel,
        threads: usize,
    ) -> Result<Self> {
        let groups = [Group { a: cols, c: cols + rows * k, row: 0, rows, image: 0 }];
        let bias = [Epilogue::Bias { offset: 0 }];
        let (weights, end) = (packed(by, 1, k, cols), cols + rows * (k + cols));
        let room = Matmul::room(&weights, k, &[0], &groups);
        let spare = (room > 0).then_some(end);
        let product = Matmul::new(weights, k, &[0], cols, &groups, &bias, spare);
        let floats = end + room;
        let kernel =
            Self::new(threads, product.scratch(), floats, Box::new(move |w, mem| product.run(w, mem)));
        Ok(Self { isa: by.isa, ..kernel? })
    }

    /// Queries, keys and values side by side, as a fused projection leaves them.
    pub fn attention(
        images: usize,
        heads: usize,
        tokens: usize,
        dim: usize,
        by: &Microkernel,
        threads: usize,
    ) -> Result<Self> {
        let width = heads * dim;
        let of = |offset: usize, stride: usize| Heads {
            offset,
            image_stride: tokens * stride,
            token_stride: stride,
            head_stride: dim,
        };
        let [q, k, v] = [0, width, 2 * width].map(|offset| of(offset, 3 * width));
        let out = of(images * tokens * 3 * width, width);
        let scale = 1.0 / (dim as f32).sqrt();
        let plan = Attention { q, k, v, out, images, heads, queries: tokens, keys: tokens, dim, scale };
        let floats = images * tokens * 4 * width;
        let format = by.format;
        if !plan.takes(by.isa, format) {
            return Err(runtime(format!("attention is not computed in {format} here")));
        }
        let run = Box::new(move |w: &mut Workers<'_>, mem: &mut [f32]| plan.run(format, w, mem));
        let kernel = Self::new(threads, plan.scratch(format), floats, run);
        Ok(Self { isa: by.isa, ..kernel? })
    }

    /// Layer norm with a scale and a shift for each image.
    pub fn norm(images: usize, tokens: usize, width: usize, threads: usize) -> Result<Self> {
        let floats = images * tokens * width;
        let x = Rows { offset: 0, rows: images * tokens, cols: width, stride: width };
        let modulation = Modulation {
            scale: 2 * floats,
            shift: Some(2 * floats + width),
            image_stride: 2 * width,
            rows_per_image: tokens,
        };
        let norm = Norm {
            x,
            out: Rows { offset: floats, ..x },
            measure: Measure::Deviation,
            eps: 1e-6,
            gamma: None,
            beta: None,
            modulation: Some(modulation),
        };
        let floats = 2 * floats + images * 2 * width;
        Self::new(threads, norm.scratch(), floats, Box::new(move |w, mem| norm.run(w, mem)))
    }

    /// Group norm of 8 groups, SiLU, a margin that wraps around, and a 3x3 convolution of one image.
    pub fn convolution(edge: usize, channels: usize, out_channels: usize, threads: usize) -> Result<Self> {
        let (image, padded) = (edge * edge * channels, (edge + 2) * (edge + 2) * channels);
        let affine = image;
        let mut norm = GroupNorm {
            x: Rows { offset: 0, rows: edge * edge, cols: channels, stride: channels },
            images: 1,
            image_stride: image,
            groups: 8,
            eps: 1e-6,
            gamma: None,
            beta: None,
            partial: affine + 2 * channels,
            out: affine,
        };
        norm.partial = norm.partial.next_multiple_of(16);
        let staged = (norm.partial + norm.partials()).next_multiple_of(16);
        let stage = Stage {
            x: 0,
            image_stride: image,
            pixel_stride: channels,
            images: 1,
            height: edge,
            width: edge,
            channels,
            affine: Some(affine),
            silu: true,
            enlarge: 1,
            padding: Padding { top: 1, bottom: 1, left: 1, right: 1 },
            border: Border::Circular,
            out: staged,
        };
        let (line, out) = ((edge + 2) * channels, staged + padded);
        let segments: Vec<usize> = (0..9).map(|tap| tap / 3 * line + tap % 3 * channels).collect();
        let row = |y: usize| Group {
            a: staged + y * line,
            c: out + y * edge * out_channels,
            row: y * edge,
            rows: edge,
            image: 0,
        };
        let rows: Vec<Group> = (0..edge).map(row).collect();
        let weights = packed(Microkernel::exact(Isa::available()[0]), 9, channels, out_channels);
        let floats = out + edge * edge * out_channels;
        let (scratch, product): (usize, Body) =
            match Form::of(&segments, channels, &rows, [channels, out_channels]) {
                Some(form) => {
                    let plain = Packed::hollow(weights.kernel(), 9, channels, out_channels);
                    let weights = (form, formed(form, &weights)?);
                    let product =
                        Convolution::new(weights, plain, channels, &segments, out_channels, &rows, &[]);
                    (product.scratch(), Box::new(move |workers, mem| product.run(workers, mem)))
                }
                None => {
                    let product = Matmul::new(weights, channels, &segments, out_channels, &rows, &[], None);
                    (product.scratch(), Box::new(move |workers, mem| product.run(workers, mem)))
                }
            };
        let run = move |workers: &mut Workers<'_>, mem: &mut [f32]| {
            norm.run(workers, mem);
            stage.run(workers, mem);
            product(workers, mem);
        };
        Self::new(threads, scratch, floats, Box::new(run))
    }

    fn new(threads: usize, scratch: usize, floats: usize, run: Body) -> Result<Self> {
        let pool = Pool::new(threads).map_err(|e| runtime(e.to_string()))?;
        let scratch = vec![0.0; scratch.next_multiple_of(16) * threads];
        Ok(Self { isa: Isa::available()[0], pool, scratch, mem: numbers(floats), run })
    }

    /// Computes once.
    pub fn run(&mut self) {
        let mut workers = Workers::new(self.isa, &self.pool, &mut self.scratch);
        (self.run)(&mut workers, &mut self.mem);
    }
}

/// Any weights.
fn packed(by: &'static Microkernel, segments: usize, k: usize, cols: usize) -> Arc<Packed> {
    let values = numbers(segments * k * cols);
    let values = Values::F32(&values);
    let source = Source { values, cols, segment_stride: k * cols, row_stride: cols, col_stride: 1 };
    let alone = Pool::new(1).expect("one lane takes no thread");
    let workers = &mut Workers::new(by.isa, &alone, &mut []);
    Arc::new(Packed::new(workers, by, segments, k, &source).expect("a bench has memory for its weights"))
}

/// The same in a convolution's form.
fn formed(form: Form, plain: &Packed) -> Result<Arc<Packed>> {
    let alone = Pool::new(1).expect("one lane takes no thread");
    let formed = form.weights(plain, &mut Workers::new(plain.kernel().isa, &alone, &mut []))?;
    formed.map(Arc::new).ok_or_else(|| runtime("a bench has finite weights"))
}

/// Repeatable numbers in -1..1.
pub fn numbers(count: usize) -> Vec<f32> {
    (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_769) >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}

/// One network of a bundle, with inputs.
pub struct Network {
    instance: Box<dyn Instance>,
    inputs: Vec<(ElementType, Vec<f32>)>,
    labels: Vec<i64>,
    output: Vec<f32>,
    /// Of one call.
    pub flops: u64,
}

impl Network {
    /// Plans a network of the bundle at `path`.
    pub fn open(path: &Path, role: Role, batch: usize, threads: usize, backend: BackendKind) -> Result<Self> {
        let bundle = Bundle::open(path)?;
        let extent = bundle.manifest().extent(batch);
        let contract = Contract::new(bundle.manifest(), role, extent, bundle.limits())?;
        let allowance = Allowance::new(bundle.limits(), &CancelToken::new());
        let inputs = contract.inputs.iter().map(|port| {
            let floats = numbers(port.shape.iter().product());
            (port.element, floats.iter().map(|x| x.abs()).collect())
        });
        let inputs = inputs.collect();
        let output = vec![0.0; contract.output.shape.iter().product()];
        let reference = Reference::new(threads);
        let backend: Box<dyn Backend> = match backend {
            BackendKind::Reference => Box::new(reference),
            BackendKind::Fused => {
                let pool = Pool::new(threads).map_err(|e| runtime(e.to_string()))?;
                Box::new(Fused::new(Engine::new(Isa::available()[0], Arc::new(pool)), false, reference))
            }
        };
        let flops = backend.cost(&bundle, role, extent, &allowance)?.flops;
        let instance = backend.program(&bundle, role, extent, &allowance)?.instantiate(&CancelToken::new())?;
        Ok(Self { instance, inputs, labels: vec![0; batch], output, flops })
    }

    /// Calls it once.
    ///
    /// # Errors
    /// As a session's.
    pub fn run(&mut self) -> Result<()> {
        let inputs: Vec<Input> = self
            .inputs
            .iter()
            .map(|(element, floats)| element.choose(Input::F32(floats), Input::I64(&self.labels)))
            .collect();
        self.instance.run(&inputs, &mut self.output, &CancelToken::new())
    }
}
