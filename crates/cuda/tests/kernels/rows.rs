//! Norms, reductions, softmax and group norms.

use flowturbo_cuda::arguments::{GroupNorm, Norm, Reduce, Softmax};
use flowturbo_kernels as kernels;
use flowturbo_kernels::{Measure, Modulation, Reduction, Rows};

use crate::emulation::{Memory, compare, noise, on_cpu};

const COLS: [usize; 7] = [1, 3, 31, 128, 130, 257, 1152];

#[test]
fn norms_are_the_cpu_s() {
    for cols in COLS {
        for (gap, measure) in [
            (0, Measure::Deviation),
            (3, Measure::Deviation),
            (0, Measure::RootMeanSquare),
            (1, Measure::RootMeanSquare),
        ] {
            let (rows, stride) = (7, cols + gap);
            let x = Rows { offset: gap, rows, cols, stride };
            let constants = gap + rows * stride;
            let row = |i: usize| constants + i * stride;
            let separate = Rows { offset: row(10), ..x };
            let modulation = Modulation {
                scale: row(2),
                shift: Some(row(3)),
                image_stride: 2 * stride,
                rows_per_image: 3,
            };
            let modulations =
                [None, Some(modulation), Some(Modulation { shift: None, rows_per_image: 5, ..modulation })];
            for (i, modulation) in modulations.into_iter().enumerate() {
                let (gamma, beta) =
                    [(None, None), (Some(row(0)), Some(row(1))), (Some(row(0)), None)][(i + gap) % 3];
                let out = if i == 1 { x } else { separate };
                let norm = kernels::Norm { x, out, measure, eps: 1e-6, gamma, beta, modulation };
                let mut before = noise(row(10) + rows * stride, 21);
                // A mean far from 0, which rounds.
                before[gap..constants].iter_mut().for_each(|v| *v = 3.0 + 0.5 * *v);
                let arguments = Norm::new(&norm).unwrap();
                let mut memory = Memory::new(&before);
                memory.launch(arguments.launch().unwrap(), &arguments);
                let want = on_cpu(&before, norm.scratch(), |workers, arena| norm.run(workers, arena));
                compare(memory.floats(), &want, 5e-6, &norm);
            }
        }
    }
}

#[test]
fn reductions_are_the_cpu_s() {
    for cols in COLS {
        for reduction in [Reduction::Sum, Reduction::Mean, Reduction::Max] {
            let x = Rows { offset: 2, rows: 9, cols, stride: cols + 1 };
            let out = 2 + 9 * (cols + 1);
            let reduce = kernels::Reduce { x, reduction, out, out_stride: 3 };
            let mut before = noise(out + 27, 22);
            before[2 + 4 * (cols + 1) + cols / 2] = f32::NAN;
            let arguments = Reduce::new(&reduce).unwrap();
            let mut memory = Memory::new(&before);
            memory.launch(arguments.launch().unwrap(), &arguments);
            let want = on_cpu(&before, 0, |workers, arena| reduce.run(workers, arena));
            compare(memory.floats(), &want, 1e-5, &reduce);
            assert!(memory.floats()[out + 12].is_nan());
        }
    }
}

#[test]
fn softmax_is_the_cpu_s() {
    for cols in COLS {
        let x = Rows { offset: 0, rows: 6, cols, stride: cols + 2 };
        for out in [x, Rows { offset: 6 * (cols + 2), stride: cols, ..x }] {
            let softmax = kernels::Softmax { x, out };
            let mut before = noise(6 * (cols + 2) + 6 * cols, 23);
            before.iter_mut().for_each(|v| *v *= 30.0);
            before[2 * (cols + 2) + cols / 2] = f32::NAN;
            let arguments = Softmax::new(&softmax).unwrap();
            let mut memory = Memory::new(&before);
            memory.launch(arguments.launch().unwrap(), &arguments);
            let want = on_cpu(&before, 0, |workers, arena| softmax.run(workers, arena));
            compare(memory.floats(), &want, 2e-6, &softmax);
        }
    }
}

#[test]
fn group_norms_are_the_cpu_s() {
    for (images, pixels, channels, groups, gap) in
        [(1, 1, 1, 1, 0), (2, 70, 48, 3, 0), (1, 300, 70, 7, 2), (2, 65, 33, 33, 1), (1, 200, 128, 32, 0)]
    {
        let stride = channels + gap;
        let x = Rows { offset: gap, rows: pixels, cols: channels, stride };
        let image_stride = pixels * stride + gap;
        let constants = gap + images * image_stride;
        let mut norm = kernels::GroupNorm {
            x,
            images,
            image_stride,
            groups,
            eps: 1e-5,
            gamma: Some(constants),
            beta: Some(constants + channels),
            partial: constants + 2 * channels,
            out: 0,
        };
        norm.out = norm.partial + norm.partials();
        if gap == 1 {
            (norm.gamma, norm.beta) = (None, None);
        }
        let before: Vec<f32> = noise(norm.out + 2 * images * channels, 24);
        let arguments = GroupNorm::new(&norm).unwrap();
        let mut memory = Memory::new(&before);
        for launch in arguments.launches().unwrap() {
            memory.launch(launch, &arguments);
        }
        let want = on_cpu(&before, 0, |workers, arena| norm.run(workers, arena));
        // Partial sums too: they are added up as the CPU's are, but for the order of pixels.
        compare(memory.floats(), &want, 2e-5, &norm);
    }
}
