//! Small numbers: every line of the table against plain loops over rounded numbers.

use half::{bf16, f16};

use super::*;

/// A row as bytes would have it, by the words of [`Format::I8`].
fn as_bytes(row: &[f32]) -> Vec<f64> {
    let least = row.iter().fold(0.0f32, |a, b| a.min(*b));
    let range = row.iter().fold(0.0f32, |a, b| a.max(*b)) - least;
    let tiny = range < 255.0 * f32::MIN_POSITIVE;
    let (scale, steps) = if tiny { (0.0, 0.0) } else { (range / 255.0, 255.0 / range) };
    let zero = (-least * steps).round_ties_even();
    let byte = |x: &f32| x.mul_add(steps, zero).round_ties_even().clamp(0.0, 255.0) - zero;
    row.iter().map(|x| f64::from(byte(x)) * f64::from(scale)).collect()
}

impl Case {
    /// The left side's rows and the weights' columns, rounded.
    fn rounded(&self, format: Format, mem: &[f32]) -> (Vec<Vec<f64>>, Vec<f64>) {
        let depth = self.segments.len() * self.k;
        let row = |start: usize| -> Vec<f32> {
            self.segments.iter().flat_map(|at| mem[start + at..][..self.k].to_vec()).collect()
        };
        let starts = self.groups.iter().flat_map(|g| (0..g.rows).map(|r| g.a + r * self.a_stride));
        let rows = starts.map(|start| match format {
            Format::I8 => as_bytes(&row(start)),
            Format::Bf16 => row(start).iter().map(|x| f64::from(bf16::from_f32(*x).to_f32())).collect(),
            _ => row(start).into_iter().map(f64::from).collect(),
        });
        let w = self.weights();
        let greatest = |n: usize| (0..depth).map(|k| w[k * self.cols + n].abs()).fold(0.0, f32::max);
        let weights = w.iter().enumerate().map(|(i, &x)| match format {
            Format::I8 => {
                let scale = greatest(i % self.cols) / 127.0;
                f64::from((x / scale).round_ties_even()) * f64::from(scale)
            }
            Format::Bf16 => f64::from(bf16::from_f32(x).to_f32()),
            Format::F16 => f64::from(f16::from_f32(x).to_f32()),
            Format::F32 => f64::from(x),
        });
        (rows.collect(), weights.collect())
    }

    /// Every line that this processor has gives the sums of the rounded numbers; they are what they are for any number
    /// of lanes.
    fn holds_in_small(&self) {
        let mem = noise(ARENA, 3);
        for kernel in MICROKERNELS.iter().filter(|line| line.is_available()) {
            let format = kernel.format;
            let shape = (self.k, self.a_stride, self.segments.as_slice(), self.groups.as_slice());
            if !Matmul::takes(format, shape.0, shape.1, shape.2, shape.3) {
                continue;
            }
            let (rows, w) = self.rounded(format, &mem);
            let mut bits = Vec::new();
            for lanes in [1, 3] {
                let mut scratch = vec![f32::NAN; lanes * 300_000];
                let threads = Threads(lanes);
                let workers = &mut Workers::new(kernel.isa, &threads, &mut scratch);
                let case = self.product_by(kernel, workers);
                let mut got = mem.clone();
                case.run(workers, &mut got);
                let mut row = rows.iter();
                for group in &self.groups {
                    for r in 0..group.rows {
                        let row = row.next().unwrap();
                        for n in 0..self.cols {
                            let sum: f64 =
                                row.iter().enumerate().map(|(k, x)| x * w[k * self.cols + n]).sum();
                            let residual = self.epilogue.iter().map(|step| match *step {
                                Epilogue::Residual { offset, stride } => {
                                    mem[offset + (group.row + r) * stride + n]
                                }
                                Epilogue::Bias { offset } => mem[offset + n],
                                _ => unreachable!("no other is used here"),
                            });
                            let expected = sum + f64::from(residual.sum::<f32>());
                            let got = f64::from(got[group.c + r * self.c_stride + n]);
                            let near = 3e-6 * (self.segments.len() * self.k) as f64 + 1e-5;
                            assert!((got - expected).abs() < near, "{kernel} {r} {n}: {got} {expected}");
                        }
                    }
                }
                let place = case.left.iter().flat_map(Left::place);
                place.for_each(|i| got[i] = 0.0);
                bits.push(got);
            }
            assert!(bits[0] == bits[1], "{kernel}");
        }
    }
}

#[test]
fn every_kind_of_small_numbers_gives_the_sums_of_what_it_rounds_to() {
    let bias = [Epilogue::Bias { offset: 150_000 }];
    let residual = [Epilogue::Bias { offset: 150_000 }, Epilogue::Residual { offset: 160_000, stride: 70 }];
    for (rows, k, cols, steps) in [
        (1, 1, 1, &[][..]),
        (2, 3, 5, &bias),
        (13, 7, 16, &[]),
        (18, 33, 48, &bias),
        (29, 64, 64, &residual),
        (40, 50, 131, &bias),
        (12, 1500, 48, &bias),
        (3, 5000, 16, &residual),
    ] {
        if in_time(rows * k * cols) {
            Case::linear(rows, k, cols, steps).halved().holds_in_small();
        }
    }
}

#[test]
fn a_convolution_of_small_numbers_is_one() {
    // Three by three taps over rows of six pixels, two images.
    for channels in [4, 6, 20] {
        let line = 6 * channels;
        let row = |i: usize| Group {
            a: 10 + i / 3 * 5 * line + i % 3 * line,
            c: 200_000 + i * 4 * 30,
            row: 4 * i,
            rows: 4,
            image: i / 3,
        };
        let case = Case {
            segments: (0..9).map(|tap| tap / 3 * line + tap % 3 * channels).collect(),
            k: channels,
            cols: 27,
            a_stride: channels,
            c_stride: 30,
            groups: (0..6).map(row).collect(),
            epilogue: vec![Epilogue::Bias { offset: 150_000 }],
            spare: Some(330_000),
        };
        case.holds_in_small();
    }
}

#[test]
fn bytes_give_the_same_bits_on_every_set() {
    let case = Case::linear(30, 300, 100, &[Epilogue::Bias { offset: 150_000 }]).halved();
    let mut mem = noise(ARENA, 3);
    // A row whose numbers are next to nothing, and one of a single such number.
    mem[10..310].fill(-1e-39);
    mem[10 + case.a_stride..][..300].fill(0.0);
    mem[10 + case.a_stride + 7] = 3e-38;
    let lines = MICROKERNELS.iter().filter(|line| line.format == Format::I8 && line.is_available());
    let all: Vec<Vec<f32>> = lines
        .map(|kernel| {
            let mut scratch = vec![0.0; 300_000];
            let workers = &mut Workers::new(kernel.isa, &Inline, &mut scratch);
            let product = case.product_by(kernel, workers);
            let mut got = mem.clone();
            product.run(workers, &mut got);
            got[..330_000].to_vec()
        })
        .collect();
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn what_is_not_finite_makes_its_row_nan() {
    for kernel in MICROKERNELS.iter().filter(|line| line.is_available() && line.format.rounds()) {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let case = Case::linear(6, 40, 20, &[]).halved();
            let mut mem = noise(ARENA, 3);
            mem[10 + 2 * case.a_stride + 33] = bad;
            let mut scratch = vec![0.0; 100_000];
            let workers = &mut Workers::new(kernel.isa, &Inline, &mut scratch);
            case.product_by(kernel, workers).run(workers, &mut mem);
            for r in 0..6 {
                let finite = mem[200_000 + r * case.c_stride..][..20].iter().all(|x| x.is_finite());
                assert_eq!(finite, r != 2, "{kernel} {bad} {r}");
            }
        }
    }
}

#[test]
fn a_weight_that_is_not_finite_makes_its_column_nan() {
    for kernel in MICROKERNELS.iter().filter(|line| line.is_available() && line.format == Format::I8) {
        for bad in [f32::NAN, f32::INFINITY] {
            let case = Case::linear(6, 40, 20, &[]).halved();
            let mut w = case.weights();
            w[20 * 33 + 4] = bad;
            let source = Source {
                values: Values::F32(&w),
                cols: 20,
                segment_stride: 0,
                row_stride: 20,
                col_stride: 1,
            };
            let (mut mem, mut scratch) = (noise(ARENA, 3), vec![0.0; 100_000]);
            let workers = &mut Workers::new(kernel.isa, &Inline, &mut scratch);
            let packed = Arc::new(Packed::new(workers, kernel, 1, 40, &source).unwrap());
            let (a, c) = (case.a_stride, case.c_stride);
            Matmul::new(packed, a, &[0], c, &case.groups, &[], case.spare).run(workers, &mut mem);
            for (r, n) in (0..6).flat_map(|r| (0..20).map(move |n| (r, n))) {
                assert_eq!(mem[200_000 + r * c + n].is_nan(), n == 4, "{kernel} {bad} {r} {n}");
            }
        }
    }
}

#[test]
fn sums_that_32_bits_do_not_hold_are_not_taken() {
    let rows = [Group { a: 0, c: 0, row: 0, rows: 1, image: 0 }];
    for (format, k, takes) in [
        (Format::I8, 65_790, true),
        (Format::I8, 65_800, false),
        (Format::Bf16, 66_500, true),
        (Format::F16, 66_500, true),
    ] {
        assert_eq!(Matmul::takes(format, k, k, &[0], &rows), takes, "{format} {k}");
    }
    // Segments of an odd number of channels are no whole words.
    assert!(!Matmul::takes(Format::Bf16, 3, 3, &[0, 3], &rows));
}

#[test]
#[should_panic(expected = "beyond all addresses")]
fn rows_beyond_all_addresses_are_refused_without_columns_too() {
    // Whose end, counted carelessly, is small again.
    let group = Group { a: 0, c: 0, row: 0, rows: usize::MAX / 8 + 2, image: 0 };
    let kernel = Microkernel::of(Isa::Scalar, Format::I8).unwrap();
    let packed = Arc::new(Packed::hollow(kernel, 1, 8, 0));
    Matmul::new(packed, 8, &[0], 0, &[group], &[], Some(0));
}
