use super::super::parallel::{Threads, all_workers, in_time, noise};
use super::super::{Inline, Isa};
use super::*;

/// A product over a random arena, and what plain loops in double precision make of it.
struct Case {
    segments: Vec<usize>,
    k: usize,
    cols: usize,
    a_stride: usize,
    c_stride: usize,
    groups: Vec<Group>,
    epilogue: Vec<Epilogue>,
    spare: Option<usize>,
}

const ARENA: usize = 400_000;

impl Case {
    fn linear(rows: usize, k: usize, cols: usize, epilogue: &[Epilogue]) -> Self {
        let (a_stride, c_stride) = (k + 3, cols + 5);
        let c = 200_000;
        let groups = vec![
            Group { a: 10, c, row: 0, rows: rows / 2, image: 0 },
            Group {
                a: 10 + rows / 2 * a_stride,
                c: c + rows / 2 * c_stride,
                row: rows / 2,
                rows: rows - rows / 2,
                image: 1,
            },
        ];
        Self {
            segments: vec![0],
            k,
            cols,
            a_stride,
            c_stride,
            groups,
            epilogue: epilogue.to_vec(),
            spare: None,
        }
    }

    /// The same, as seven products of half the size.
    fn halved(self) -> Self {
        Self { spare: Some(330_000), ..self }
    }

    fn weights(&self) -> Vec<f32> {
        noise(self.segments.len() * self.k * self.cols, 7)
    }

    fn expected(&self, mem: &[f32]) -> Vec<f32> {
        let (mut out, w) = (mem.to_vec(), self.weights());
        for group in &self.groups {
            for r in 0..group.rows {
                for n in 0..self.cols {
                    let mut sum = 0.0f64;
                    for (s, segment) in self.segments.iter().enumerate() {
                        for k in 0..self.k {
                            let a = mem[group.a + r * self.a_stride + segment + k];
                            sum += f64::from(a) * f64::from(w[(s * self.k + k) * self.cols + n]);
                        }
                    }
                    for step in &self.epilogue {
                        sum = match *step {
                            Epilogue::Bias { offset } => sum + f64::from(mem[offset + n]),
                            Epilogue::Gelu => {
                                let inner = 0.797_884_560_8 * (sum + 0.044_715 * sum.powi(3));
                                0.5 * sum * (1.0 + inner.tanh())
                            }
                            // Tested where it lives; here only that it is the one that is called.
                            Epilogue::GeluErf => sum * 0.5 * (1.0 + erf(sum / 2f64.sqrt())),
                            Epilogue::Silu => sum / (1.0 + (-sum).exp()),
                            Epilogue::Gate { offset, image_stride } => {
                                sum * f64::from(mem[offset + group.image * image_stride + n])
                            }
                            Epilogue::Residual { offset, stride } => {
                                sum + f64::from(mem[offset + (group.row + r) * stride + n])
                            }
                            Epilogue::Scale(factor) => sum * f64::from(factor),
                        };
                    }
                    out[group.c + r * self.c_stride + n] = sum as f32;
                }
            }
        }
        out
    }

    fn product(&self, workers: &mut Workers<'_>) -> Matmul {
        self.product_by(Microkernel::exact(workers.isa), workers)
    }

    fn product_by(&self, kernel: &'static Microkernel, workers: &mut Workers<'_>) -> Matmul {
        let w = self.weights();
        let [segment_stride, row_stride] = [self.k * self.cols, self.cols];
        let source =
            Source { values: Values::F32(&w), cols: self.cols, segment_stride, row_stride, col_stride: 1 };
        let packed = Packed::new(workers, kernel, self.segments.len(), self.k, &source).unwrap();
        Matmul::new(
            Arc::new(packed),
            self.a_stride,
            &self.segments,
            self.c_stride,
            &self.groups,
            &self.epilogue,
            self.spare,
        )
    }

    fn holds(&self) {
        self.holds_in(ARENA, 400_000);
    }

    fn holds_in(&self, arena: usize, scratch: usize) {
        let mem = noise(arena, 3);
        let expected = self.expected(&mem);
        // Rounding grows with the number of terms; a term too many or too few would be far more.
        let near = 2e-5 + 5e-8 * (self.segments.len() * self.k) as f32;
        all_workers(scratch, |workers| {
            let product = self.product(workers);
            assert_eq!(product.halves.is_some(), self.spare.is_some());
            let mut got = mem.clone();
            product.run(workers, &mut got);
            for i in product.halves.iter().flat_map(Halves::place) {
                got[i] = expected[i];
            }
            for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
                let isa = workers.isa;
                assert!(
                    (got - expected).abs() < near * (1.0 + expected.abs()),
                    "{isa} {i}: {got} {expected}"
                );
            }
        });
    }
}

fn erf(x: f64) -> f64 {
    // Its Taylor series; few terms are needed for the small sums it is given here.
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

#[test]
fn a_linear_layer_is_the_sum_of_products() {
    for (rows, k, cols) in [(1, 1, 1), (2, 3, 5), (13, 7, 16), (18, 33, 48), (29, 64, 64), (40, 50, 131)] {
        Case::linear(rows, k, cols, &[]).holds();
    }
}

#[test]
fn a_small_product_ends_where_its_arena_does() {
    for cols in [3, 8, 19] {
        // What is read, a bias, and what is written, which is added to: each begins where the one before ends.
        let (bias, c) = (53, 53 + cols);
        let residual = Epilogue::Residual { offset: c, stride: cols + 1 };
        let case = Case {
            segments: vec![0],
            k: 5,
            cols,
            a_stride: 6,
            c_stride: cols + 1,
            groups: vec![Group { a: 0, c, row: 0, rows: 9, image: 0 }],
            epilogue: vec![Epilogue::Bias { offset: bias }, residual],
            spare: None,
        };
        case.holds_in(c + 8 * case.c_stride + cols, 4000);
    }
}

#[test]
fn every_tail_of_columns_is_right() {
    for cols in 1..=100 {
        Case::linear(5, 4, cols, &[Epilogue::Bias { offset: 100_000 }]).holds();
    }
}

#[test]
fn a_long_inner_dimension_is_added_up_in_stretches() {
    for cols in [70, 96] {
        let steps = [Epilogue::Bias { offset: 150_000 }, Epilogue::Scale(0.5)];
        (0..=2).for_each(|n| Case::linear(21, 2 * STRETCH + 5, cols, &steps[..n]).holds());
    }
}

#[test]
fn no_number_of_lanes_needs_more_scratch() {
    for (rows, k, cols) in
        [(4, 4, 4), (100, 256, 700), (300, STRETCH, 100), (900, 1200, 160), (700, 2300, 160)]
    {
        let case = Case::linear(0, k, cols, &[]);
        let (workers, groups) =
            (&mut Workers::new(Isa::available()[0], &Inline, &mut []), case.groups.clone());
        let mut product = case.product(workers);
        product.tiles = Tiles::new(&vec![Group { rows: 1, ..groups[0] }; rows], product.kernel.rows, 1, 1);
        let tile = product.kernel.rows * product.width();
        for lanes in 1..=16 {
            let cut = product.shape().cut(CACHES, lanes);
            let keep = if product.blocks.len() > 1 { cut.tiles } else { 1 };
            assert!(cut.panels * keep * tile <= product.scratch(), "{rows} {k} {cols} {lanes}");
        }
    }
}

#[test]
fn each_epilogue_does_what_it_says() {
    for step in [
        Epilogue::Bias { offset: 100_001 },
        Epilogue::Gelu,
        Epilogue::GeluErf,
        Epilogue::Silu,
        Epilogue::Gate { offset: 100_001, image_stride: 77 },
        Epilogue::Residual { offset: 100_001, stride: 83 },
        Epilogue::Scale(-1.5),
    ] {
        Case::linear(20, 9, 83, &[step]).holds();
        Case::linear(20, 9, 83, &[Epilogue::Bias { offset: 150_000 }, step]).holds();
    }
}

#[test]
fn a_row_with_something_that_is_not_a_number_has_no_numbers() {
    let residual = Epilogue::Residual { offset: 100_001, stride: 200 };
    for steps in [vec![], vec![Epilogue::Gelu], vec![Epilogue::GeluErf], vec![Epilogue::Silu, residual]] {
        for case in [Case::linear(20, 9, 83, &steps), Case::linear(20, STRETCH + 4, 192, &steps)] {
            let mut mem = noise(ARENA, 3);
            mem[10 + 7 * case.a_stride + case.k - 1] = f32::NAN;
            all_workers(400_000, |workers| {
                let mut got = mem.clone();
                case.product(workers).run(workers, &mut got);
                for row in 0..20 {
                    let row_of = &got[200_000 + row * case.c_stride..][..case.cols];
                    assert!(
                        row_of.iter().all(|v| v.is_nan() == (row == 7)),
                        "{} {steps:?} {row}",
                        workers.isa
                    );
                }
            });
        }
    }
}

#[test]
fn a_residual_may_be_where_the_row_is_written() {
    let stride = 83 + 5;
    let steps = [
        Epilogue::Bias { offset: 150_000 },
        Epilogue::Gate { offset: 100_001, image_stride: 77 },
        Epilogue::Residual { offset: 200_000, stride },
    ];
    Case::linear(20, 9, 83, &steps).holds();
    Case::linear(30, STRETCH + 1, 83, &steps).holds();
}

#[test]
fn a_convolution_gathers_its_taps() {
    // 3x3 over a padded image of 7 by 5 pixels of 6 channels: rows of taps are neighbours.
    let (height, width, k, cols) = (7, 5, 6, 20);
    let line = (width + 2) * k;
    let segments = (0..9).map(|s| s / 3 * line + s % 3 * k).collect();
    let groups = (0..height)
        .map(|y| Group {
            a: 50 + y * line,
            c: 5000 + y * width * cols,
            row: y * width,
            rows: width,
            image: 0,
        })
        .collect();
    let case = Case {
        segments,
        k,
        cols,
        a_stride: k,
        c_stride: cols,
        groups,
        epilogue: vec![Epilogue::Silu],
        spare: None,
    };
    assert_eq!(blocks(&case.segments, k)[0].spans.len(), 3);
    case.holds();
}

#[test]
fn segments_may_lie_anywhere() {
    let groups = vec![Group { a: 50, c: 5000, row: 0, rows: 31, image: 0 }];
    let segments = vec![3000, 0, 700];
    Case { segments, k: 13, cols: 19, a_stride: 17, c_stride: 19, groups, epilogue: vec![], spare: None }
        .holds();
}

#[test]
fn halves_give_the_same_as_the_whole() {
    let bias = Epilogue::Bias { offset: 150_000 };
    let gate = Epilogue::Gate { offset: 100_001, image_stride: 77 };
    for (rows, k, cols) in [(2, 2, 192), (20, 6, 192), (52, 34, 384), (22, 2 * halves::BLOCK + 38, 192)] {
        for steps in [vec![], vec![bias, Epilogue::Gelu], vec![bias, gate]] {
            Case::linear(rows, k, cols, &steps).halved().holds();
        }
    }
    let residual = Epilogue::Residual { offset: 200_000, stride: 192 + 5 };
    Case::linear(20, 8, 192, &[gate, residual]).halved().holds();
    // An odd number of images: the rows of each are halved.
    for images in [1, 3] {
        let group = |image| Group {
            a: 10 + image * 30 * 11,
            c: 200_000 + image * 30 * 197,
            row: image * 30,
            rows: 30,
            image,
        };
        let groups = (0..images).map(group).collect();
        Case { groups, ..Case::linear(0, 8, 192, &[bias, gate]) }.halved().holds();
    }
}

#[test]
fn what_cannot_be_halved_stays_whole() {
    let workers = &mut Workers::new(Isa::Scalar, &Inline, &mut []);
    let three = |rows| Group { a: 10, c: 200_000, row: 0, rows, image: 0 };
    for case in [
        Case::linear(20, 7, 192, &[]),
        Case::linear(20, 8, 191, &[]),
        Case { groups: vec![three(3)], ..Case::linear(3, 8, 192, &[]) },
    ] {
        assert!(case.halved().product(workers).halves.is_none());
    }
    let packed = |k, cols| Packed::hollow(Microkernel::exact(Isa::Scalar), 1, k, cols);
    let room = |k, cols, images: &[usize]| {
        let groups: Vec<Group> = images.iter().map(|&rows| three(rows)).collect();
        Matmul::room(&packed(k, cols), k, &[0], &groups)
    };
    for images in [&[512][..], &[256; 2], &[256; 3], &[85, 86, 85, 86]] {
        assert_eq!(room(1152, 4608, images), 2 * images.iter().sum::<usize>() * 576);
    }
    for (k, cols, images) in
        [(1152, 4608, &[128][..]), (1152, 4608, &[513]), (384, 4608, &[512]), (1152, 384, &[512])]
    {
        assert_eq!(room(k, cols, images), 0);
    }
}

#[test]
fn the_number_of_lanes_changes_no_bit() {
    let isa = Isa::available()[0];
    for case in [
        Case::linear(128, STRETCH + 60, 256, &[Epilogue::Gelu]),
        Case::linear(600, 20, 192, &[Epilogue::Gelu]).halved(),
    ] {
        let mem = noise(ARENA, 3);
        let mut scratch = vec![0.0; 8 * 200_000];
        let mut product = case.product(&mut Workers::new(isa, &Inline, &mut []));
        product.followed_by(product.weights.clone());
        let mut run = |lanes: usize| {
            let mut got = mem.clone();
            product.run(&mut Workers::new(isa, &Threads(lanes), &mut scratch), &mut got);
            got
        };
        let one = run(1);
        assert!([2, 3, 4, 8].iter().all(|lanes| run(*lanes) == one));
    }
}

#[test]
fn no_rows_and_no_columns_are_nothing() {
    Case::linear(0, 4, 4, &[]).holds();
    Case::linear(4, 4, 0, &[]).holds();
    Case::linear(4, 0, 4, &[Epilogue::Bias { offset: 150_000 }]).holds();
}

#[test]
#[should_panic(expected = "outside")]
fn a_place_outside_the_arena_is_refused() {
    let workers = &mut Workers::new(Isa::Scalar, &Inline, &mut []);
    Case::linear(4, 4, 4, &[]).product(workers).run(workers, &mut [0.0; 1000]);
}

#[test]
#[should_panic(expected = "reads what it writes")]
fn writing_to_what_is_read_is_refused() {
    let case = Case::linear(4, 4, 4, &[Epilogue::Residual { offset: 200_001, stride: 9 }]);
    case.product(&mut Workers::new(Isa::Scalar, &Inline, &mut []));
}

#[test]
#[should_panic(expected = "rows overlap")]
fn sums_of_halves_where_the_result_goes_are_refused() {
    let case = Case { spare: Some(200_010), ..Case::linear(4, 4, 192, &[]) };
    case.product(&mut Workers::new(Isa::Scalar, &Inline, &mut []));
}

#[test]
#[should_panic(expected = "rows overlap")]
fn writing_a_place_twice_is_refused() {
    let case = Case { c_stride: 3, ..Case::linear(4, 4, 4, &[]) };
    case.product(&mut Workers::new(Isa::Scalar, &Inline, &mut []));
}

mod small;
