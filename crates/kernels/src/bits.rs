//! The sets of 8 floats give the bits that are written down here, so those of other processors do too.

use std::sync::Arc;

use super::parallel::{Threads, noise};
use super::*;

/// FNV-1a over the bits of all floats.
fn hash(values: &[f32]) -> u64 {
    let bytes = values.iter().flat_map(|value| value.to_bits().to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Each result lies behind the one before, from `at` on.
struct Arena {
    memory: Vec<f32>,
    at: usize,
}

impl Arena {
    fn take(&mut self, floats: usize) -> usize {
        self.at += floats;
        assert!(self.at <= self.memory.len());
        self.at - floats
    }
}

fn functions(workers: &mut Workers<'_>, arena: &mut Arena) {
    use Unary::*;
    let ops = [
        Neg,
        Square,
        Sqrt,
        Rsqrt,
        Recip,
        Exp,
        Ln,
        Tanh,
        Sigmoid,
        Silu,
        Erf,
        GeluTanh,
        GeluErf,
        Cos,
        Sin,
        Pow(1.7),
        Rounded { step: 0.37, low: 1.0, high: 17.0 },
    ];
    for op in ops {
        // Roots and logarithms want what is above zero.
        let steps = [
            Elementwise::Load(0),
            Elementwise::Unary(Abs, 0),
            Elementwise::Unary(Mul(9.0), 1),
            Elementwise::Unary(op, 2),
        ];
        let (x, out) = (View::dense(0, &[301]), View::dense(arena.take(301), &[301]));
        Pointwise::new(&[301], &[x], out, &steps).run(workers, &mut arena.memory);
    }
}

fn rows(workers: &mut Workers<'_>, arena: &mut Arena) {
    let x = Rows { offset: 3, rows: 11, cols: 77, stride: 80 };
    let mut to = || Rows { offset: arena.take(11 * 77), stride: 77, ..x };
    let (softmax, norm) = (Softmax { x, out: to() }, to());
    let reduce = Reduce { x, reduction: Reduction::Mean, out: arena.take(11), out_stride: 1 };
    softmax.run(workers, &mut arena.memory);
    reduce.run(workers, &mut arena.memory);
    let measure = Measure::Deviation;
    let norm =
        Norm { x, out: norm, measure, eps: 1e-6, gamma: Some(900), beta: Some(1000), modulation: None };
    norm.run(workers, &mut arena.memory);
    let images = Rows { offset: 0, rows: 120, cols: 12, stride: 12 };
    let mut groups = GroupNorm {
        x: images,
        images: 1,
        image_stride: 0,
        groups: 3,
        eps: 1e-6,
        gamma: None,
        beta: None,
        partial: 0,
        out: arena.take(24),
    };
    groups.partial = arena.take(groups.partials());
    groups.run(workers, &mut arena.memory);
}

fn attention(workers: &mut Workers<'_>, arena: &mut Arena) {
    let heads = |offset| Heads { offset, image_stride: 0, token_stride: 20, head_stride: 0 };
    let (q, k, v) = (heads(0), heads(7), heads(13));
    let out = Heads { offset: arena.take(130 * 20), ..q };
    let attention =
        Attention { q, k, v, out, images: 1, heads: 1, queries: 130, keys: 130, dim: 20, scale: 0.3 };
    attention.run(Format::F32, workers, &mut arena.memory);
}

fn product(workers: &mut Workers<'_>, arena: &mut Arena) {
    let (rows, k, cols) = (37, 90, 53);
    let weights = noise(k * cols, 5);
    let source =
        Source { values: Values::F32(&weights), cols, segment_stride: 0, row_stride: cols, col_stride: 1 };
    let packed = Packed::new(workers, Microkernel::exact(workers.isa), 1, k, &source).unwrap();
    let group = Group { a: 0, c: arena.take(rows * cols), row: 0, rows, image: 0 };
    let steps = [Epilogue::Bias { offset: 500 }, Epilogue::Gelu];
    Matmul::new(Arc::new(packed), k, &[0], cols, &[group], &steps, None).run(workers, &mut arena.memory);
}

fn batches(workers: &mut Workers<'_>, arena: &mut Arena) {
    let matrices = |offset, row| Matrices { offset, batch: [300, 0], row };
    let (rows, inner, cols) = (37, 45, 53);
    let out = Matrices { batch: [rows * cols; 2], ..matrices(arena.take(2 * rows * cols), cols) };
    let (a, b) = (matrices(3, 48), matrices(1000, 1));
    let products = BatchMatmul { a, b, column: 46, out, batch: [2, 1], rows, inner, cols };
    products.run(workers, &mut arena.memory);
}

fn convolutions(workers: &mut Workers<'_>, arena: &mut Arena) {
    let (rows, cols, k) = (9, 7, 20);
    let line = (cols + 2) * k;
    let segments: Vec<usize> = (0..9).map(|i| i / 3 * line + i % 3 * k).collect();
    for (form, outputs) in [(Form::Winograd, 18), (Form::Narrow, 3)] {
        let weights = noise(9 * k * outputs, 5);
        let source = Source {
            values: Values::F32(&weights),
            cols: outputs,
            segment_stride: k * outputs,
            row_stride: outputs,
            col_stride: 1,
        };
        let plain = Packed::new(workers, Microkernel::exact(workers.isa), 9, k, &source).unwrap();
        let weights = form.weights(&plain, workers).unwrap().unwrap();
        let c = arena.take(rows * cols * outputs);
        let group = |y| Group { a: y * line, c: c + y * cols * outputs, row: y * cols, rows: cols, image: 0 };
        let groups: Vec<Group> = (0..rows).map(group).collect();
        let steps = [Epilogue::Bias { offset: 2500 }, Epilogue::Silu];
        let weights = (form, Arc::new(weights));
        Convolution::new(weights, plain, k, &segments, outputs, &groups, &steps)
            .run(workers, &mut arena.memory);
    }
}

#[test]
fn sets_of_eight_floats_give_the_bits_that_are_written_down() {
    for isa in Isa::portable() {
        for lanes in [1, 3] {
            let mut scratch = vec![0.0; lanes * 200_000];
            let threads = Threads(lanes);
            let mut found = Vec::new();
            for kernel in [functions, rows, attention, product, convolutions, batches] {
                let workers = &mut Workers::new(isa, &threads, &mut scratch);
                let mut arena = Arena { memory: noise(20_000, 11), at: 4000 };
                kernel(workers, &mut arena);
                found.push(hash(&arena.memory[4000..arena.at]));
            }
            assert_eq!(found, KNOWN, "{isa}, {lanes} lanes: {found:#x?}");
        }
    }
}

/// Of functions, rows, attention, a product, convolutions and products of a batch.
const KNOWN: [u64; 6] = [
    0x98a0_18c8_1d68_60ad,
    0x23c5_6f4c_d0d7_569a,
    0x1d43_b916_d635_8995,
    0x56f0_1632_af39_03db,
    0x3485_4229_02e7_eef3,
    0x294a_70b1_c016_44d8,
];
