use super::super::super::parallel::{Threads, all_workers, in_time, noise};
use super::super::super::{Border, Isa, Padding, Stage};
use super::super::{Microkernel, Source, Values};
use super::*;

/// A convolution of images that a stage has made, or of pixels as they lie.
#[derive(Clone, Copy, Debug)]
struct Case {
    images: usize,
    rows: usize,
    cols: usize,
    k: usize,
    outputs: usize,
    stage: Option<(Border, usize)>,
    /// Steps of the epilogue.
    steps: usize,
}

/// Floats between one pixel and the next of images that no stage made.
const GAP: usize = 3;

impl Case {
    fn new([images, rows, cols, k, outputs]: [usize; 5]) -> Self {
        Self { images, rows, cols, k, outputs, stage: None, steps: 1 }
    }

    fn pixel(&self) -> usize {
        if self.stage.is_some() { self.k } else { self.k + GAP }
    }

    fn line(&self) -> usize {
        (self.cols + 2) * self.pixel()
    }

    /// Where things lie: what is convolved, the result, bias and gates, the residual, the images before the stage.
    fn places(&self) -> [usize; 6] {
        let out = 5 + self.images * (self.rows + 2) * self.line();
        let pixels = self.images * self.rows * self.cols;
        let constants = out + pixels * self.out_stride();
        let residual = constants + (1 + self.images) * self.outputs;
        let before = residual + pixels * self.outputs;
        [5, out, constants, residual, before, before + pixels * self.k]
    }

    fn out_stride(&self) -> usize {
        self.outputs + 2
    }

    fn memory(&self) -> Vec<f32> {
        noise(self.places()[5], 3)
    }

    /// For segments, and then for each column as many as there are inputs.
    fn weights(&self) -> Vec<f32> {
        noise(TAPS * self.k * self.outputs, 7)
    }

    fn segments(&self) -> Vec<usize> {
        (0..TAPS).map(|i| i / 3 * self.line() + i % 3 * self.pixel()).collect()
    }

    fn groups(&self) -> Vec<Group> {
        let [a, c, ..] = self.places();
        let group = |i: usize| Group {
            a: a + (i / self.rows * (self.rows + 2) + i % self.rows) * self.line(),
            c: c + i * self.cols * self.out_stride(),
            row: i * self.cols,
            rows: self.cols,
            image: i / self.rows,
        };
        (0..self.images * self.rows).map(group).collect()
    }

    fn epilogue(&self) -> Vec<Epilogue> {
        let [_, _, constants, residual, ..] = self.places();
        let gate = Epilogue::Gate { offset: constants + self.outputs, image_stride: self.outputs };
        let residual = Epilogue::Residual { offset: residual, stride: self.outputs };
        let steps = [Epilogue::Bias { offset: constants }, gate, Epilogue::Scale(0.5), residual];
        steps[..self.steps].to_vec()
    }

    fn plain(&self, workers: &mut Workers<'_>) -> Packed {
        let (values, k) = (self.weights(), self.k);
        let (segment_stride, col_stride) = (k, TAPS * k);
        let values = Values::F32(&values);
        let source = Source { values, cols: self.outputs, segment_stride, row_stride: 1, col_stride };
        Packed::new(workers, Microkernel::exact(workers.isa), TAPS, k, &source).unwrap()
    }

    fn convolution(&self, form: Form, workers: &mut Workers<'_>) -> Convolution {
        let plain = self.plain(workers);
        let weights = Arc::new(form.weights(&plain, workers).unwrap().unwrap());
        let hollow = Packed::hollow(Microkernel::exact(workers.isa), TAPS, self.k, self.outputs);
        let (segments, groups, epilogue) = (self.segments(), self.groups(), self.epilogue());
        let (stride, pixel) = (self.out_stride(), self.pixel());
        Convolution::new((form, weights), hollow, pixel, &segments, stride, &groups, &epilogue)
    }

    fn stage(&self) -> Option<Stage> {
        let (border, enlarge) = self.stage?;
        let (height, width) = (self.rows / enlarge, self.cols / enlarge);
        Some(Stage {
            x: self.places()[4],
            image_stride: height * width * self.k,
            pixel_stride: self.k,
            images: self.images,
            height,
            width,
            channels: self.k,
            affine: None,
            silu: false,
            enlarge,
            padding: Padding { top: 1, bottom: 1, left: 1, right: 1 },
            border,
            out: self.places()[0],
        })
    }

    /// What is convolved at a line and column that may lie outside, by what the words mean.
    fn value(&self, mem: &[f32], image: usize, [y, x]: [usize; 2], k: usize) -> f64 {
        let Some((border, enlarge)) = self.stage else {
            let line = (image * (self.rows + 2) + y) * self.line();
            return f64::from(mem[5 + line + x * self.pixel() + k]);
        };
        let inside = (1..=self.rows).contains(&y) && (1..=self.cols).contains(&x);
        if border == Border::Zero && !inside {
            return 0.0;
        }
        let (height, width) = (self.rows / enlarge, self.cols / enlarge);
        let y = (y + self.rows - 1) % self.rows / enlarge;
        let x = (x + self.cols - 1) % self.cols / enlarge;
        f64::from(mem[self.places()[4] + ((image * height + y) * width + x) * self.k + k])
    }

    /// The result of pixel `row` of all, column `n`.
    fn expected(&self, mem: &[f32], w: &[f32], row: usize, n: usize) -> f64 {
        let (x, y) = (row % self.cols, row / self.cols % self.rows);
        let image = row / self.cols / self.rows;
        let mut sum = 0.0;
        for tap in 0..TAPS {
            for k in 0..self.k {
                let value = self.value(mem, image, [y + tap / 3, x + tap % 3], k);
                sum += value * f64::from(w[(n * TAPS + tap) * self.k + k]);
            }
        }
        for step in self.epilogue() {
            sum = match step {
                Epilogue::Bias { offset } => sum + f64::from(mem[offset + n]),
                Epilogue::Gate { offset, image_stride } => {
                    sum * f64::from(mem[offset + image * image_stride + n])
                }
                Epilogue::Scale(factor) => sum * f64::from(factor),
                Epilogue::Residual { offset, stride } => sum + f64::from(mem[offset + row * stride + n]),
                _ => unreachable!("the cases have no other steps"),
            };
        }
        sum
    }

    /// Runs it in `form` with all sets, whose results are at most `near` times the largest off.
    fn holds(&self, form: Form, near: f64) {
        let (before, w) = (self.memory(), self.weights());
        let ([a, c, ..], pixels) = (self.places(), self.images * self.rows * self.cols);
        let results = (0..pixels * self.outputs).map(|i| (i / self.outputs, i % self.outputs));
        let expected: Vec<f64> = results.clone().map(|(row, n)| self.expected(&before, &w, row, n)).collect();
        let largest = expected.iter().fold(0.0f64, |most, value| most.max(value.abs()));
        let scratch = self.convolution(form, &mut Workers::new(Isa::Scalar, &Threads(1), &mut [])).scratch();
        // Sets differ in how wide their panels are.
        all_workers(2 * scratch + 4096, |workers| {
            let convolution = self.convolution(form, workers);
            let mut mem = before.clone();
            if let Some(stage) = self.stage() {
                stage.run(workers, &mut mem);
                mem[a..c].iter().for_each(|value| assert!(value.is_finite()));
            }
            let staged = mem.clone();
            convolution.run(workers, &mut mem);
            for ((row, n), expected) in results.clone().zip(&expected) {
                let got = std::mem::replace(&mut mem[c + row * self.out_stride() + n], 0.0);
                let error = (f64::from(got) - expected).abs();
                let isa = workers.isa;
                assert!(error <= near * largest, "{isa} {form:?} {self:?} {row} {n}: {got} {expected}");
            }
            let written = |i: usize| (c..).contains(&i) && (i - c) % self.out_stride() < self.outputs;
            let end = c + pixels * self.out_stride();
            let apart = (0..mem.len()).filter(|&i| i >= end || !written(i));
            apart.for_each(|i| assert_eq!(mem[i].to_bits(), staged[i].to_bits(), "{self:?}: {i} is written"));
        });
    }
}

const SIZES: [[usize; 5]; 12] = [
    [1, 1, 1, 1, 1],
    [1, 1, 1, 16, 16],
    [3, 1, 5, 17, 3],
    [1, 4, 4, 16, 4],
    [2, 5, 7, 9, 20],
    [1, 8, 3, 33, 2],
    [1, 13, 14, 20, 49],
    [2, 9, 16, 31, 67],
    [1, 35, 70, 5, 3],
    [1, 33, 130, 3, 1],
    [1, 30, 31, 16, 16],
    [1, 6, 6, 150, 100],
];

/// The forms that a size may have: few columns only fill vectors.
fn forms(case: &Case) -> Vec<Form> {
    if case.outputs <= NARROW { vec![Form::Winograd, Form::Narrow] } else { vec![Form::Winograd] }
}

fn quick(case: &Case) -> bool {
    in_time(case.images * case.rows * case.cols * case.k * case.outputs)
}

#[test]
fn every_form_agrees_with_f64() {
    for size in SIZES {
        for steps in [0, 1, 4] {
            let case = Case { steps, ..Case::new(size) };
            forms(&case).into_iter().filter(|_| quick(&case)).for_each(|form| case.holds(form, 4e-6));
        }
    }
}

#[test]
fn borders_and_enlarged_pixels_are_where_they_are_without_tiles() {
    for border in [Border::Zero, Border::Circular] {
        for (size, enlarge) in
            [([1, 1, 1, 3, 3], 1), ([1, 2, 2, 4, 2], 2), ([2, 6, 10, 20, 17], 2), ([1, 7, 9, 16, 16], 1)]
        {
            let case = Case { stage: Some((border, enlarge)), ..Case::new(size) };
            forms(&case).into_iter().filter(|_| quick(&case)).for_each(|form| case.holds(form, 4e-6));
        }
    }
}

/// The largest and the mean error of a convolution by `weights` on all sets, of the largest result.
fn errors(case: &Case, run: impl Fn(&mut Workers<'_>, &mut [f32])) -> [f64; 2] {
    let mut before = case.memory();
    // As behind an activation.
    before.iter_mut().for_each(|value| *value = value.max(0.0));
    let (w, c, pixels) = (case.weights(), case.places()[1], case.images * case.rows * case.cols);
    let expected: Vec<f64> =
        (0..pixels).map(|row| case.expected(&before, &w, row, row % case.outputs)).collect();
    let largest = expected.iter().fold(0.0f64, |most, value| most.max(value.abs()));
    let mut errors = [0.0f64; 2];
    all_workers(1_000_000, |workers| {
        let mut mem = before.clone();
        run(workers, &mut mem);
        let off = expected.iter().enumerate().map(|(row, expected)| {
            (f64::from(mem[c + row * case.out_stride() + row % case.outputs]) - expected).abs() / largest
        });
        errors[0] = off.clone().fold(errors[0], f64::max);
        errors[1] = errors[1].max((off.map(|x| x * x).sum::<f64>() / pixels as f64).sqrt());
    });
    errors
}

#[test]
#[cfg_attr(miri, ignore = "many sums")]
fn results_are_nearly_as_exact_as_those_of_the_plain_product() {
    for k in [32, 128] {
        let case = Case::new([1, 40, 40, k, 33]);
        let plain = errors(&case, |workers, mem| {
            let (weights, steps) = (Arc::new(case.plain(workers)), case.epilogue());
            let (segments, groups) = (case.segments(), case.groups());
            let stride = case.out_stride();
            Matmul::new(weights, case.pixel(), &segments, stride, &groups, &steps, None).run(workers, mem);
        });
        let tiled = errors(&case, |workers, mem| case.convolution(Form::Winograd, workers).run(workers, mem));
        assert!(
            plain[0] > 0.0 && tiled[0] < 5.0 * plain[0] && tiled[1] < 3.0 * plain[1],
            "{plain:?} {tiled:?}"
        );
    }
}

#[test]
fn results_have_the_same_bits_with_any_number_of_lanes() {
    let cases =
        [(Form::Winograd, Case::new([2, 21, 19, 16, 20])), (Form::Narrow, Case::new([2, 41, 70, 4, 3]))];
    for (form, case) in cases.into_iter().filter(|(_, case)| quick(case)) {
        for isa in Isa::available() {
            let run = |lanes: usize| {
                let (threads, mut scratch) = (Threads(lanes), vec![f32::NAN; lanes * 400_000]);
                let (mut workers, mut mem) = (Workers::new(isa, &threads, &mut scratch), case.memory());
                case.convolution(form, &mut workers).run(&mut workers, &mut mem);
                mem.into_iter().map(f32::to_bits).collect::<Vec<u32>>()
            };
            let one = run(1);
            [2, 3, 7].into_iter().for_each(|lanes| assert!(run(lanes) == one, "{isa} {form:?} {lanes}"));
        }
    }
}

#[test]
fn what_is_not_a_number_stays_in_the_tiles_that_look_at_it() {
    let (rows, cols, at) = (9, 11, [4, 6]);
    for (form, value) in
        [(Form::Winograd, f32::NAN), (Form::Winograd, f32::INFINITY), (Form::Narrow, f32::NAN)]
    {
        let case = Case { steps: 0, ..Case::new([1, rows, cols, 3, 2]) };
        let mut before = case.memory();
        before[5 + at[0] * case.line() + at[1] * case.pixel() + 1] = value;
        all_workers(100_000, |workers| {
            let mut mem = before.clone();
            case.convolution(form, workers).run(workers, &mut mem);
            for i in 0..rows * cols * 2 {
                let place = [i / 2 / cols, i / 2 % cols];
                let looks = |at: usize, from: usize, pixels: usize| (from..from + pixels + 2).contains(&at);
                let direct = (0..2).all(|d| looks(at[d], place[d], 1));
                let tile = (0..2).all(|d| looks(at[d], place[d] / TILE * TILE, TILE));
                let finite = mem[case.places()[1] + i / 2 * case.out_stride() + i % 2].is_finite();
                let most = if form == Form::Winograd { tile } else { direct };
                assert!(if finite { !direct } else { most }, "{} {form:?} {place:?}", workers.isa);
            }
        });
    }
}

#[test]
fn weights_beyond_all_numbers_are_left_to_the_plain_product() {
    all_workers(0, |workers| {
        for (value, finite) in [(1e30, true), (f32::MAX, false), (f32::INFINITY, false)] {
            let mut values = noise(TAPS * 5 * 19, 7);
            values[100] = value;
            let values = Values::F32(&values);
            let source = Source { values, cols: 19, segment_stride: 5, row_stride: 1, col_stride: TAPS * 5 };
            let plain = Packed::new(workers, Microkernel::exact(workers.isa), TAPS, 5, &source).unwrap();
            let weights = Form::Winograd.weights(&plain, workers).unwrap();
            assert_eq!(weights.is_some(), finite, "{} {value}", workers.isa);
        }
    });
}

#[test]
fn a_form_is_taken_by_sizes_alone() {
    let of = |images, rows, cols, k, outputs| {
        let case = Case::new([images, rows, cols, k, outputs]);
        Form::of(&case.segments(), case.pixel(), &case.groups(), [k, outputs])
    };
    for images in [1, 5] {
        assert_eq!(of(images, 16, 16, 128, 128), Some(Form::Winograd));
        assert_eq!(of(images, 5, 30, 16, 16), Some(Form::Winograd));
        assert_eq!(of(images, 128, 128, 16, 3), Some(Form::Narrow));
        assert_eq!(of(images, 128, 128, 16, 5), Some(Form::Winograd));
        assert_eq!(of(images, 2, 2, 1, 4), Some(Form::Narrow));
        assert_eq!(of(images, 64, 64, 8, 64), None, "not deep");
        assert_eq!(of(images, 8, 8, 64, 64), None, "few tiles");
        assert_eq!(of(images, 16, 16, 1280, 1280), None, "large weights for few tiles");
        assert_eq!(of(images, 32, 32, 640, 640), Some(Form::Winograd));
        assert_eq!(of(images, 1, 200, 64, 64), None, "tiles are mostly outside");
    }
}

#[test]
fn other_products_have_no_form() {
    let case = Case::new([2, 32, 32, 32, 32]);
    let (segments, pixel, groups) = (case.segments(), case.pixel(), case.groups());
    let of = |segments: &[usize], pixel: usize, groups: &[Group]| Form::of(segments, pixel, groups, [32, 32]);
    assert_eq!(of(&segments, pixel, &groups), Some(Form::Winograd));
    assert_eq!(of(&[0], pixel, &groups), None, "a matrix");
    assert_eq!(of(&segments[..6], pixel, &groups), None, "a kernel of 2 x 3");
    assert_eq!(of(&segments, 2 * pixel, &groups), None, "columns two apart");
    let two = |group: Group| Group { a: 2 * group.a, ..group };
    assert_eq!(of(&segments, pixel, &groups.iter().copied().map(two).collect::<Vec<_>>()), None, "lines too");
    assert_eq!(of(&segments, pixel, &groups[..40]), None, "half an image");
    assert_eq!(of(&segments, pixel, &[]), None);
}

#[test]
#[should_panic(expected = "outside")]
fn a_convolution_that_reaches_beyond_the_arena_is_refused() {
    let case = Case::new([1, 8, 8, 16, 16]);
    let (threads, mut scratch) = (Threads(1), vec![0.0; 300_000]);
    let workers = &mut Workers::new(Isa::Scalar, &threads, &mut scratch);
    let convolution = case.convolution(Form::Winograd, workers);
    let constants = case.places()[2];
    convolution.run(workers, &mut vec![0.0; constants + case.outputs - 1]);
}
