//! Stages, copies, programs over elements, and rows of tables.

use flowturbo_cuda::arguments::{Copy, Gather, Integers, Lookup, Program, Stage};
use flowturbo_kernels as kernels;
use flowturbo_kernels::{Binary, Border, Elementwise, Padding, Pointwise, Unary, View};
use half::f16;

use crate::emulation::{Memory, compare, noise, on_cpu};

#[test]
fn stages_are_the_cpu_s() {
    let all = Padding { top: 1, bottom: 2, left: 3, right: 1 };
    let wide = Padding { top: 7, bottom: 9, left: 11, right: 12 };
    for (images, height, width, channels) in [(1, 4, 6, 48), (2, 3, 5, 3), (1, 5, 1, 16), (2, 2, 3, 70)] {
        for (enlarge, padding, border, affine, silu) in [
            (1, all, Border::Circular, true, true),
            (2, all, Border::Zero, true, false),
            (2, wide, Border::Circular, false, true),
            (1, wide, Border::Zero, false, false),
            (3, Padding::default(), Border::Zero, true, true),
        ] {
            let pixel_stride = channels + 2;
            let image_stride = height * width * pixel_stride + 5;
            let constants = 3 + images * image_stride;
            let stage = kernels::Stage {
                x: 3,
                image_stride,
                pixel_stride,
                images,
                height,
                width,
                channels,
                affine: affine.then_some(constants),
                silu,
                enlarge,
                padding,
                border,
                out: constants + 2 * images * channels,
            };
            let (out_height, out_width) = stage.size();
            let before = noise(stage.out + images * out_height * out_width * channels, 31);
            let arguments = Stage::new(&stage).unwrap();
            let mut memory = Memory::new(&before);
            memory.launch(arguments.launch().unwrap(), &arguments);
            let want = on_cpu(&before, 0, |workers, arena| stage.run(workers, arena));
            compare(memory.floats(), &want, 2e-6, &stage);
        }
    }
}

#[test]
fn copies_are_the_cpu_s() {
    let cases: [(&[usize], &[usize], &[usize]); 6] = [
        (&[], &[], &[]),
        (&[300], &[1], &[2]),
        (&[2, 3, 5], &[15, 5, 1], &[1, 2, 6]),
        (&[4, 7], &[0, 1], &[7, 1]),
        // Patches to tokens: [image, row, row in patch, column, column in patch, channel].
        (&[2, 3, 2, 4, 2, 3], &[144, 48, 8, 2, 1, 0], &[144, 48, 6, 12, 3, 1]),
        (&[2, 1, 2, 2, 2, 2, 2, 3], &[96, 0, 48, 24, 12, 6, 3, 1], &[1, 0, 2, 4, 8, 16, 32, 64]),
    ];
    for (shape, from, to) in cases {
        let copy = kernels::Copy::new(shape, View::new(5, from), View::new(500, to));
        let before = noise(1200, 32);
        let arguments = Copy::new(&copy).unwrap();
        let mut memory = Memory::new(&before);
        memory.launch(arguments.launch().unwrap(), &arguments);
        let want = on_cpu(&before, 0, |workers, arena| copy.run(workers, arena));
        compare(memory.floats(), &want, 0.0, &shape);
    }
    let same = View::new(5, &[1]);
    assert!(Copy::new(&kernels::Copy::new(&[7], same, same)).unwrap().launch().is_none());
    assert!(Copy::new(&kernels::Copy::new(&[0], same, View::new(9, &[1]))).unwrap().launch().is_none());
}

/// Inputs and the result as (offset, strides), in an arena of 1000 floats that are 0.5 to 2.5.
fn check_program(
    shape: &[usize],
    inputs: &[(usize, &[usize])],
    out: (usize, &[usize]),
    steps: &[Elementwise],
) {
    let inputs: Vec<View> = inputs.iter().map(|(offset, strides)| View::new(*offset, strides)).collect();
    let pointwise = Pointwise::new(shape, &inputs, View::new(out.0, out.1), steps);
    let mut before: Vec<f32> = noise(1000, 33).into_iter().map(|v| 1.5 + v).collect();
    before[7] = f32::NAN;
    let mut program = Program::new(&pointwise).unwrap();
    let mut memory = Memory::new(&before);
    program.arguments.steps = memory.table(&program.steps);
    program.arguments.inputs = memory.table(&program.inputs);
    memory.launch(program.arguments.launch().unwrap(), &program.arguments);
    let want = on_cpu(&before, pointwise.scratch(), |workers, arena| pointwise.run(workers, arena));
    compare(memory.floats(), &want, 3e-6, &(shape, steps));
}

#[test]
fn every_operation_is_the_cpu_s() {
    for op in [
        Unary::Neg,
        Unary::Abs,
        Unary::Square,
        Unary::Sqrt,
        Unary::Rsqrt,
        Unary::Recip,
        Unary::Exp,
        Unary::Ln,
        Unary::Tanh,
        Unary::Sigmoid,
        Unary::Silu,
        Unary::Erf,
        Unary::GeluTanh,
        Unary::GeluErf,
        Unary::Cos,
        Unary::Sin,
        Unary::Add(0.3),
        Unary::Mul(-0.3),
        Unary::Pow(2.0),
        Unary::Pow(3.0),
        Unary::Pow(0.7),
        Unary::Clamp(0.9, 1.7),
        Unary::Rounded { step: 0.3, low: -4.0, high: 3.0 },
    ] {
        // Of numbers of both signs where that makes sense.
        let sub = match op {
            Unary::Sqrt | Unary::Rsqrt | Unary::Recip | Unary::Ln | Unary::Pow(_) => Unary::Add(0.0),
            _ => Unary::Add(-1.5),
        };
        let steps = [Elementwise::Load(0), Elementwise::Unary(sub, 0), Elementwise::Unary(op, 1)];
        for n in [1, 19, 300] {
            check_program(&[n], &[(1, &[1])], (400, &[1]), &steps);
        }
    }
    use Binary::{Add, Div, Max, Min, Mul, Sub};
    for op in [Add, Sub, Mul, Div, Max, Min] {
        let steps = [Elementwise::Load(0), Elementwise::Load(1), Elementwise::Binary(op, 1, 0)];
        check_program(&[5, 33], &[(0, &[33, 1]), (9, &[0, 1])], (400, &[40, 1]), &steps);
        check_program(&[3, 4], &[(0, &[1, 3]), (7, &[0, 0])], (400, &[4, 1]), &steps);
    }
}

#[test]
fn long_programs_reuse_their_registers_and_may_write_where_they_read() {
    let mut steps = vec![Elementwise::Load(0), Elementwise::Load(1)];
    for _ in 0..100 {
        steps.push(Elementwise::Binary(Binary::Add, steps.len() - 2, steps.len() - 1));
        steps.push(Elementwise::Unary(Unary::Mul(0.5), steps.len() - 1));
        steps.push(Elementwise::Unary(Unary::Tanh, steps.len() - 1));
    }
    check_program(&[2, 50], &[(0, &[50, 1]), (200, &[1, 2])], (0, &[50, 1]), &steps);
}

#[test]
fn rows_of_tables_are_what_integers_say() {
    for width in [1, 7, 300] {
        let (rows, integers) = (5, [3i64, 0, -1, 4, -5]);
        let mut before = noise(rows * width, 34);
        before.resize(before.len().next_multiple_of(2), 0.0);
        let place = before.len();
        before.extend(integers.iter().flat_map(|integer| {
            let bits = integer.to_le_bytes();
            [0, 4].map(|at| f32::from_le_bytes([bits[at], bits[at + 1], bits[at + 2], bits[at + 3]]))
        }));
        let out = before.len();
        before.resize(out + 5 * width, 0.0);
        let row = |integer: i64| (if integer < 0 { integer + 5 } else { integer }) as usize;
        let wanted = |table: &[f32]| -> Vec<f32> {
            integers.iter().flat_map(|&integer| table[row(integer) * width..][..width].to_vec()).collect()
        };
        let (place, at) = (place as u64, out as u64);
        let (count, width32) = (5, width as u32);

        let gather =
            Gather { table: 0, integers: place, out: at, rows: 5, width: width32, count, reserved: 0 };
        let mut memory = Memory::new(&before);
        memory.launch(gather.launch().unwrap(), &gather);
        assert_eq!(memory.floats()[out..], wanted(&before));

        let halves: Vec<f16> = before[..rows * width].iter().map(|x| f16::from_f32(*x)).collect();
        let mut words = vec![0u64; halves.len().div_ceil(4)];
        for (i, half) in halves.iter().enumerate() {
            words[i / 4] |= u64::from(half.to_bits()) << (i % 4 * 16);
        }
        let rounded: Vec<f32> = halves.iter().map(|half| half.to_f32()).collect();
        let mut memory = Memory::new(&before);
        let table = memory.table(&words);
        let lookup = Lookup { table, integers: place, out: at, rows: 5, width: width32, count, encoding: 1 };
        memory.launch(lookup.launch().unwrap(), &lookup);
        assert_eq!(memory.floats()[out..], wanted(&rounded));

        let mut words = vec![0u64; (rows * width).div_ceil(2)];
        for (i, x) in before[..rows * width].iter().enumerate() {
            words[i / 2] |= u64::from(x.to_bits()) << (i % 2 * 32);
        }
        let mut memory = Memory::new(&before);
        let lookup = Lookup { table: memory.table(&words), encoding: 0, ..lookup };
        memory.launch(lookup.launch().unwrap(), &lookup);
        assert_eq!(memory.floats()[out..], wanted(&before));
    }
    let integers = Integers { integers: 0, out: 4, count: 2, reserved: 0 };
    let [one, two] = [-7i64, 1 << 40].map(|integer| integer as u64);
    let float = |bits: u64| f32::from_bits(bits as u32);
    let mut memory = Memory::new(&[float(one), float(one >> 32), float(two), float(two >> 32), 0.0, 0.0]);
    memory.launch(integers.launch().unwrap(), &integers);
    assert_eq!(memory.floats()[4..], [-7.0, (1u64 << 40) as f32]);
}
