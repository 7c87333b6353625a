//! Attention of every kind of number, with a mask and without, of heads of many sizes.

use flowturbo_cuda::arguments::Attention;
use flowturbo_cuda::kernel::Number;
use flowturbo_kernels as kernels;
use flowturbo_kernels::{Format, Heads, MaskedAttention};
use half::{bf16, f16};

use crate::emulation::{Memory, compare, noise, on_cpu};

/// Queries, keys and values side by side where there are as many of each, `gap` floats behind them; the bias and then
/// the result behind these.
fn attention(
    [images, heads, queries, keys, dim]: [usize; 5],
    gap: usize,
) -> (kernels::Attention, usize, usize) {
    let stride = 3 * heads * dim + gap;
    let most = queries.max(keys);
    let q = Heads { offset: gap, image_stride: most * stride, token_stride: stride, head_stride: dim };
    let (k, v) = (Heads { offset: gap + heads * dim, ..q }, Heads { offset: gap + 2 * heads * dim, ..q });
    let bias = gap + images * most * stride;
    let out_stride = heads * dim + gap;
    let out = Heads {
        offset: bias + images * keys,
        image_stride: queries * out_stride,
        token_stride: out_stride,
        head_stride: dim,
    };
    let scale = 1.0 / (dim as f32).sqrt();
    let len = out.offset + images * queries * out_stride;
    (kernels::Attention { q, k, v, out, images, heads, queries, keys, dim, scale }, bias, len)
}

const SHAPES: [([usize; 5], usize); 12] = [
    ([1, 1, 1, 1, 1], 0),
    ([1, 2, 65, 65, 72], 0),
    ([2, 1, 33, 77, 64], 4),
    ([1, 2, 70, 130, 32], 0),
    ([1, 1, 5, 64, 128], 0),
    ([1, 1, 31, 40, 126], 2),
    ([2, 2, 9, 7, 12], 1),
    ([1, 1, 64, 64, 80], 0),
    ([1, 3, 17, 100, 33], 0),
    ([1, 1, 2, 65, 20], 0),
    ([1, 2, 16, 16, 16], 3),
    ([1, 1, 130, 3, 96], 0),
];

/// How far a result in `number`s may be from the CPU's, of values in -1..1: queries, keys, weights and values are
/// rounded, each by half of the last place.
fn tolerance(number: Number) -> f32 {
    match number {
        Number::F32 | Number::Tf32 => 2e-6,
        Number::F16 => 1.5e-3,
        Number::Bf16 => 1.2e-2,
    }
}

fn check(plain: &kernels::Attention, bias: Option<(usize, usize)>, before: &[f32], number: Number) {
    let arguments = Attention::new(plain, bias).unwrap();
    let mut memory = Memory::new(before);
    memory.launch(arguments.launch(number).unwrap(), &arguments);
    let want = on_cpu(before, plain.scratch(Format::F32), |workers, arena| match bias {
        Some((bias, bias_stride)) => {
            MaskedAttention { attention: *plain, bias, bias_stride }.run(workers, arena);
        }
        None => plain.run(Format::F32, workers, arena),
    });
    compare(memory.floats(), &want, tolerance(number), &(number, plain, bias));
}

#[test]
fn attention_is_the_cpu_s() {
    for (shape, gap) in SHAPES {
        let (plain, _, len) = attention(shape, gap);
        for number in Number::ALL {
            check(&plain, None, &noise(len, 11), number);
        }
    }
}

#[test]
fn masked_attention_is_the_cpu_s() {
    // The keys that count: all but some behind, but some in front, every other one.
    let masks: [fn(usize) -> bool; 3] = [|key| key < 90, |key| key >= 70, |key| key % 2 == 0];
    let (plain, bias, len) = attention([2, 2, 19, 130, 24], 0);
    for counts in masks {
        let mut before = noise(len, 12);
        for i in 0..2 * 130 {
            before[bias + i] = if counts(i % 130) { before[bias + i] } else { -1e30 };
        }
        for number in Number::ALL {
            check(&plain, Some((bias, 130)), &before, number);
        }
    }
}

/// With numbers that need no rounding, one key that outweighs all others and values that are whole, nothing is
/// rounded: a value in another's place would show.
#[test]
fn the_key_that_counts_gives_its_value() {
    for (shape, gap) in SHAPES {
        let (plain, _, len) = attention(shape, gap);
        let [images, heads, queries, keys, dim] = shape;
        let at = |place: &Heads, image, token, head| {
            place.offset + image * place.image_stride + token * place.token_stride + head * place.head_stride
        };
        let mut before = noise(len, 13);
        before.iter_mut().for_each(|x| *x = (*x * 100.0).round());
        // A key has its number in signs, 8 bits of it; so has the query that wants it.
        if dim < 9 {
            continue;
        }
        let wanted = |query: usize| (query * 7 + 3) % keys;
        for (image, head) in (0..images).flat_map(|image| (0..heads).map(move |head| (image, head))) {
            let mut signs = |start: usize, key: usize| {
                for d in 0..dim {
                    let bit = d % 9 < 8 && key >> (d % 9) & 1 == 1;
                    before[start + d] = if bit { 8.0 } else { -8.0 };
                }
            };
            (0..keys).for_each(|key| signs(at(&plain.k, image, key, head), key));
            (0..queries).for_each(|query| signs(at(&plain.q, image, query, head), wanted(query)));
        }
        for number in Number::ALL {
            let arguments = Attention::new(&plain, None).unwrap();
            let mut memory = Memory::new(&before);
            memory.launch(arguments.launch(number).unwrap(), &arguments);
            for (image, head) in (0..images).flat_map(|image| (0..heads).map(move |head| (image, head))) {
                for query in 0..queries {
                    let value = &before[at(&plain.v, image, wanted(query), head)..][..dim];
                    let got = &memory.floats()[at(&plain.out, image, query, head)..][..dim];
                    compare(got, value, 1e-6, &(number, shape, query));
                }
            }
        }
    }
}

#[test]
fn rounding_is_what_differs() {
    let (plain, _, len) = attention([1, 1, 40, 70, 40], 0);
    for (number, round) in [
        (Number::F16, (|x| f16::from_f32(x).to_f32()) as fn(f32) -> f32),
        (Number::Bf16, |x| bf16::from_f32(x).to_f32()),
    ] {
        // With all that is read rounded before, only weights still are.
        let before: Vec<f32> = noise(len, 14).into_iter().map(round).collect();
        let arguments = Attention::new(&plain, None).unwrap();
        let mut memory = Memory::new(&before);
        memory.launch(arguments.launch(number).unwrap(), &arguments);
        let want = on_cpu(&before, plain.scratch(Format::F32), |workers, arena| {
            plain.run(Format::F32, workers, arena);
        });
        compare(memory.floats(), &want, tolerance(number) / 3.0, &number);
    }
}

#[test]
fn heads_that_are_too_large_are_refused_by_name() {
    let (plain, _, _) = attention([1, 1, 1, 1, 129], 0);
    let error = Attention::new(&plain, None).unwrap_err().to_string();
    assert_eq!(error, "attention heads of 129 numbers; CUDA kernels take 128 at most");
}
