//! Products of every kind of number, in tiles of both sizes.

use std::sync::Arc;

use flowturbo_cuda::kernel::Number;
use flowturbo_cuda::product::{Product, Shape, pack};
use flowturbo_kernels::{
    Epilogue, Floats, Format, Group, Inline, Isa, Matmul, Microkernel, Packed, Source, Values, Workers,
};
use half::{bf16, f16};

use crate::emulation::{Memory, compare, noise, on_cpu};

/// A product, with places in an arena of `len` floats.
#[derive(Debug)]
struct Case {
    groups: Vec<Group>,
    a_stride: usize,
    segments: Vec<usize>,
    k: usize,
    cols: usize,
    c_stride: usize,
    epilogue: Vec<Epilogue>,
    len: usize,
}

impl Case {
    fn shape(&self) -> Shape<'_> {
        Shape {
            groups: &self.groups,
            a_stride: self.a_stride,
            segments: &self.segments,
            k: self.k,
            cols: self.cols,
            c_stride: self.c_stride,
            epilogue: &self.epilogue,
        }
    }

    fn depth(&self) -> usize {
        self.segments.len() * self.k
    }

    fn source<'a>(&self, weights: &'a [f32]) -> Source<'a> {
        Source {
            values: Values::F32(weights),
            cols: self.cols,
            segment_stride: self.k * self.cols,
            row_stride: self.cols,
            col_stride: 1,
        }
    }

    /// The CPU's kernel.
    fn on_cpu(&self, arena: &[f32], weights: &[f32]) -> Vec<f32> {
        let kernel = Microkernel::of(Isa::Scalar, Format::F32).unwrap();
        let mut none = [];
        let workers = &mut Workers::new(Isa::Scalar, &Inline, &mut none);
        let packed =
            Packed::new(workers, kernel, self.segments.len(), self.k, &self.source(weights)).unwrap();
        let Self { a_stride, segments, c_stride, groups, epilogue, .. } = self;
        let product = Matmul::new(Arc::new(packed), *a_stride, segments, *c_stride, groups, epilogue, None);
        on_cpu(arena, product.scratch(), |workers, arena| product.run(workers, arena))
    }

    fn on_gpu(&self, arena: &[f32], weights: &[f32], number: Number, multiprocessors: u32) -> Vec<f32> {
        let mut product = Product::new(self.shape()).unwrap();
        assert!(product.end <= self.len, "{} of {}", product.end, self.len);
        // Of words, so that it lies on a boundary of 16 bytes wherever the memory comes from.
        let (segments, source, mut room) = (self.segments.len(), self.source(weights), Floats::none());
        let packed = pack(number, segments, self.k, &source, &Inline, &mut room).unwrap();
        let mut memory = Memory::new(arena);
        product.arguments.weights = memory.table(packed);
        product.arguments.groups = memory.table(&product.groups);
        product.arguments.segments = memory.table(&product.segments);
        let launch = product.arguments.launch(number, multiprocessors).unwrap();
        memory.launch(launch, &product.arguments);
        memory.floats().to_vec()
    }
}

/// A linear layer of images with as many tokens, with all that may follow it.
fn linear(images: usize, tokens: usize, k: usize, cols: usize, gap: usize, epilogue: &[&str]) -> Case {
    let (a_stride, c_stride, rows) = (k + gap, cols + gap, images * tokens);
    let out = (rows * a_stride + gap).next_multiple_of(if gap == 0 { 16 } else { 1 });
    let bias = out + rows * c_stride;
    let gate = bias + cols + gap;
    let residual = gate + images * (cols + gap);
    let groups = (0..images).map(|image| Group {
        a: image * tokens * a_stride,
        c: out + image * tokens * c_stride,
        row: image * tokens,
        rows: tokens,
        image,
    });
    let steps = epilogue.iter().map(|step| match *step {
        "bias" => Epilogue::Bias { offset: bias },
        "gelu" => Epilogue::Gelu,
        "gelu-erf" => Epilogue::GeluErf,
        "silu" => Epilogue::Silu,
        "gate" => Epilogue::Gate { offset: gate, image_stride: cols + gap },
        "residual" => Epilogue::Residual { offset: residual, stride: cols + gap },
        "in-place" => Epilogue::Residual { offset: out, stride: c_stride },
        "scale" => Epilogue::Scale(0.37),
        other => panic!("no step {other}"),
    });
    Case {
        groups: groups.collect(),
        a_stride,
        segments: vec![0],
        k,
        cols,
        c_stride,
        epilogue: steps.collect(),
        len: residual + rows * (cols + gap),
    }
}

/// A convolution of 3 by 3 over padded images.
fn convolution(images: usize, height: usize, width: usize, channels: usize, cols: usize) -> Case {
    let row = (width + 2) * channels;
    let image_floats = (height + 2) * row;
    let out = images * image_floats;
    let bias = out + images * height * width * cols;
    let groups = (0..images * height).map(|i| Group {
        a: i / height * image_floats + i % height * row,
        c: out + i * width * cols,
        row: i * width,
        rows: width,
        image: i / height,
    });
    Case {
        groups: groups.collect(),
        a_stride: channels,
        segments: (0..9).map(|tap| tap / 3 * row + tap % 3 * channels).collect(),
        k: channels,
        cols,
        c_stride: cols,
        epilogue: vec![Epilogue::Bias { offset: bias }, Epilogue::Silu],
        len: bias + cols,
    }
}

fn cases() -> Vec<Case> {
    vec![
        linear(1, 1, 1, 1, 0, &[]),
        linear(1, 1, 40, 130, 0, &["bias"]),
        linear(2, 33, 64, 65, 0, &["bias", "gelu", "gate", "residual"]),
        linear(2, 70, 36, 64, 3, &["scale", "bias", "silu", "in-place"]),
        linear(3, 50, 17, 70, 1, &["gelu-erf", "residual", "scale"]),
        linear(1, 130, 96, 132, 4, &["bias", "gate", "in-place"]),
        convolution(1, 5, 7, 16, 20),
        convolution(2, 3, 6, 3, 5),
        // Groups that are not equally long, segments that are apart, one after another and backwards.
        Case {
            groups: vec![
                Group { a: 3, c: 2000, row: 4, rows: 6, image: 1 },
                Group { a: 300, c: 3000, row: 90, rows: 15, image: 0 },
            ],
            a_stride: 11,
            segments: vec![40, 9, 0, 20],
            k: 9,
            cols: 12,
            c_stride: 13,
            epilogue: vec![Epilogue::Gate { offset: 1000, image_stride: 20 }],
            len: 3400,
        },
    ]
}

/// Both tiles: as if there were no multiprocessor to keep busy, and as if there were many.
const TILES: [u32; 2] = [0, u32::MAX];

fn rounded(number: Number, x: f32) -> f32 {
    match number {
        Number::F32 => x,
        // Fewer bits than tf32 has.
        Number::Tf32 | Number::F16 => f16::from_f32(x).to_f32(),
        Number::Bf16 => bf16::from_f32(x).to_f32(),
    }
}

#[test]
fn products_of_numbers_that_need_no_rounding_are_the_cpu_s() {
    for case in cases() {
        for number in Number::ALL {
            let mut arena = noise(case.len, 3);
            arena.iter_mut().for_each(|x| *x = rounded(number, *x));
            let mut weights = noise(case.depth() * case.cols, 4);
            weights.iter_mut().for_each(|x| *x = rounded(number, *x));
            let want = case.on_cpu(&arena, &weights);
            for tiles in TILES {
                let got = case.on_gpu(&arena, &weights, number, tiles);
                compare(&got, &want, 1e-5, &(number, tiles, &case));
            }
        }
    }
}

/// What rounding both sides makes of a sum: at most twice the number's own rounding of the sum of the products' sizes.
#[test]
fn rounding_stays_within_its_bound() {
    for (number, bits) in [(Number::Tf32, 11), (Number::F16, 11), (Number::Bf16, 8)] {
        let case = linear(1, 9, 200, 33, 0, &[]);
        let (arena, weights) = (noise(case.len, 5), noise(case.depth() * case.cols, 6));
        for tiles in TILES {
            let got = case.on_gpu(&arena, &weights, number, tiles);
            let mut largest = 0.0f64;
            for (row, col) in (0..9).flat_map(|row| (0..33).map(move |col| (row, col))) {
                let product = |k: usize| f64::from(arena[row * 200 + k]) * f64::from(weights[k * 33 + col]);
                let sum: f64 = (0..200).map(product).sum();
                let size: f64 = (0..200).map(|k| product(k).abs()).sum();
                let error = (f64::from(got[case.groups[0].c + row * 33 + col]) - sum).abs();
                assert!(error <= 2.01 * 0.5f64.powi(bits) * size, "{number}: {error} of {size}");
                largest = largest.max(error);
            }
            assert!(largest > 0.0, "{number} rounds");
        }
    }
}

#[test]
fn what_is_not_a_number_spoils_its_row_alone() {
    let case = linear(1, 20, 40, 70, 0, &["bias"]);
    for number in Number::ALL {
        let mut arena = noise(case.len, 7);
        arena[3 * 40 + 39] = f32::NAN;
        let weights = noise(40 * 70, 8);
        for tiles in TILES {
            let got = case.on_gpu(&arena, &weights, number, tiles);
            for row in 0..20 {
                let spoilt = got[case.groups[0].c + row * 70..][..70].iter().filter(|x| x.is_nan()).count();
                assert_eq!(spoilt, if row == 3 { 70 } else { 0 }, "{number} {row}");
            }
        }
    }
}
