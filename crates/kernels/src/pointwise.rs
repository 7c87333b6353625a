//! Elementwise steps: a short program over strided operands, interpreted a block of elements at a time.

mod elementwise;

use std::ops::Range;

pub use self::elementwise::{Binary, Elementwise, Unary};
use self::elementwise::{binary, unary};
use super::view::{Space, View};
use super::{Kernel, Shared, Simd, Workers};

/// Elements of a register: long enough for the interpreter not to be felt, short enough for a dozen of
/// registers to stay in the first-level cache.
const BLOCK: usize = 512;

/// The most registers a program may need at once.
const REGISTERS: usize = 32;

/// `out = program(inputs)`, elementwise. The result may be in the very places of an input.
#[derive(Clone, Debug)]
pub struct Pointwise {
    space: Space,
    inputs: Vec<View>,
    out: View,
    /// Each step and the register of its value; operands are registers too.
    steps: Vec<(Elementwise, usize)>,
    registers: usize,
}

impl Pointwise {
    /// The last of the `steps` is the result.
    ///
    /// # Panics
    /// If a step names an input or a step that is not there, or needs more than 32 registers.
    pub fn new(shape: &[usize], inputs: &[View], out: View, steps: &[Elementwise]) -> Self {
        let mut views: Vec<View> = [out].into_iter().chain(inputs.iter().copied()).collect();
        let space = Space::arrange(shape, &mut views);
        let inputs = views.split_off(1);

        // A register is free again after the last step that reads it.
        let mut last = vec![steps.len(); steps.len()];
        for (i, step) in steps.iter().enumerate() {
            step.operands().into_iter().flatten().for_each(|operand| last[operand] = i);
        }
        let mut free: Vec<usize> = Vec::new();
        let (mut placed, mut registers): (Vec<(Elementwise, usize)>, usize) = (Vec::new(), 0);
        for (i, step) in steps.iter().enumerate() {
            if let Elementwise::Load(input) = step {
                assert!(*input < inputs.len(), "a step loads an input that is not there");
            }
            let operands = step.operands();
            let place = |operand: usize| placed[operand].1;
            let moved = step.with(place);
            let [a, b] = operands;
            for operand in [a, b.filter(|b| a != Some(*b))].into_iter().flatten() {
                if last[operand] == i {
                    free.push(place(operand));
                }
            }
            let to = free.pop().unwrap_or_else(|| {
                registers += 1;
                registers - 1
            });
            placed.push((moved, to));
        }
        assert!(
            !steps.is_empty() && registers <= REGISTERS,
            "a program has 1 step at least, 32 values at most"
        );
        Self { space, inputs, out: views[0], steps: placed, registers }
    }

    /// The shape in the order in which views have their strides.
    pub fn shape(&self) -> &[usize] {
        self.space.shape()
    }

    pub fn inputs(&self) -> &[View] {
        &self.inputs
    }

    pub fn out(&self) -> &View {
        &self.out
    }

    /// Each step and the register of its value, of which there are 32 at most; operands are registers too.
    pub fn steps(&self) -> &[(Elementwise, usize)] {
        &self.steps
    }

    /// Floats of scratch for each lane.
    pub fn scratch(&self) -> usize {
        self.registers * BLOCK
    }

    /// Shows each place that is touched.
    pub fn places(&self, see: &mut dyn FnMut(Range<usize>)) {
        let views = self.inputs.iter().chain([&self.out]);
        views.filter(|_| !self.space.is_empty()).for_each(|view| see(self.space.span(view)));
    }

    /// Holds its places against each other and against a memory of `len` floats.
    ///
    /// # Panics
    /// If it would touch what lies outside, or write what it reads.
    pub fn check(&self, len: usize) {
        if !self.space.is_empty() {
            self.space.check(&self.out, &self.inputs, len);
        }
    }

    pub fn run(&self, workers: &mut Workers<'_>, mem: &mut [f32]) {
        self.check(mem.len());
        let (run, runs) = (self.space.run(), self.space.runs());
        if run * runs == 0 {
            return;
        }
        // A block is a part of one run, or some whole runs.
        let (parts, group) = (run.div_ceil(BLOCK), if run >= BLOCK / 4 { 1 } else { BLOCK / run });
        let part = run.div_ceil(parts).next_multiple_of(16);
        let blocks = parts * runs.div_ceil(group);
        // Some blocks a piece, so that taking a piece costs little.
        let each = (blocks / (8 * workers.lanes())).clamp(1, 16);
        let (memory, isa) = (Shared::new(mem), workers.isa);
        workers.each(blocks.div_ceil(each), self.scratch(), |piece, scratch| {
            for block in piece * each..blocks.min((piece + 1) * each) {
                let (first, start) = (block / parts * group, block % parts * part);
                let end = run.min(start + part);
                if start < end {
                    let (count, length) = (group.min(runs - first), end - start);
                    let pointwise = self;
                    isa.run(Chunk { pointwise, memory, first, count, start, length, scratch: &mut *scratch });
                }
            }
        });
    }
}

/// `length` elements from `start` on in each of `count` runs from `first` on, at most `BLOCK` in all.
struct Chunk<'a> {
    pointwise: &'a Pointwise,
    memory: Shared,
    first: usize,
    count: usize,
    start: usize,
    length: usize,
    scratch: &'a mut [f32],
}

impl Chunk<'_> {
    /// Calls `visit` with the address of each run's part of `view` and with the part's place in a register.
    #[inline(always)]
    fn parts(&self, view: &View, mut visit: impl FnMut(*mut f32, usize)) {
        let (space, mut done) = (&self.pointwise.space, 0);
        let skip = self.start * space.stride(view);
        space.walk([view], self.first, self.count, |[offset]| {
            // SAFETY: `Pointwise::run` checked all elements of all views.
            visit(unsafe { self.memory.at(offset + skip) }, done);
            done += self.length;
        });
    }

    /// Where a whole block can be read or written without a register between.
    fn direct(&self, view: &View, lanes: usize) -> Option<*mut f32> {
        let mut at = None;
        if self.count == 1 && self.length.is_multiple_of(lanes) && self.pointwise.space.stride(view) == 1 {
            self.parts(view, |address, _| at = Some(address));
        }
        at
    }

    fn load(&self, view: &View, register: *mut f32) {
        let stride = self.pointwise.space.stride(view);
        // SAFETY: `parts` gives addresses of `length` elements, all of which fit a register.
        self.parts(view, |from, done| unsafe {
            let to = register.add(done);
            match stride {
                1 if self.length >= 16 => std::ptr::copy_nonoverlapping(from, to, self.length),
                0 => std::slice::from_raw_parts_mut(to, self.length).fill(*from),
                _ => (0..self.length).for_each(|i| *to.add(i) = *from.add(i * stride)),
            }
        });
    }

    fn store(&self, register: *const f32) {
        let stride = self.pointwise.space.stride(&self.pointwise.out);
        // SAFETY: as for `load`; elements of the result are apart from each other, and only this block
        // has these.
        self.parts(&self.pointwise.out, |to, done| unsafe {
            let from = register.add(done);
            match stride {
                1 if self.length >= 16 => std::ptr::copy_nonoverlapping(from, to, self.length),
                _ => (0..self.length).for_each(|i| *to.add(i * stride) = *from.add(i)),
            }
        });
    }
}

impl Kernel for Chunk<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        // Registers are computed in whole vectors, whatever the last of them holds.
        let length = self.count * self.length;
        let rounded = length.next_multiple_of(S::LANES);
        let registers = self.scratch.as_mut_ptr();
        // SAFETY: scratch holds all registers, and no set has vectors that do not fill a block.
        let register = |i: usize| unsafe { registers.add(i * BLOCK) };
        let mut at: [*const f32; REGISTERS] = [registers.cast_const(); REGISTERS];
        let direct = self.direct(&self.pointwise.out, S::LANES);
        let last = self.pointwise.steps.len() - 1;
        for (i, (step, to)) in self.pointwise.steps.iter().enumerate() {
            let place = register(*to);
            let target = if i == last { direct.unwrap_or(place) } else { place };
            // SAFETY: operands are registers with values, or as many elements of an input; the target is a
            // register, or as many elements of the result. Each is read before its own place is written.
            unsafe {
                match *step {
                    Elementwise::Load(input) => {
                        let view = &self.pointwise.inputs[input];
                        let source = self.direct(view, S::LANES);
                        match source {
                            Some(from) if i < last => {
                                at[*to] = from;
                                continue;
                            }
                            _ => self.load(view, place),
                        }
                        if i == last {
                            self.store(place);
                            return;
                        }
                    }
                    Elementwise::Unary(op, a) => unary(simd, op, at[a], target, rounded),
                    Elementwise::Binary(op, a, b) => binary(simd, op, at[a], at[b], target, rounded),
                }
            }
            at[*to] = target;
        }
        if direct.is_none() {
            self.store(at[self.pointwise.steps[last].1]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parallel::{all_workers, noise};
    use super::*;

    fn apply(op: Unary, x: f64) -> f64 {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        match op {
            Unary::Neg => -x,
            Unary::Abs => x.abs(),
            Unary::Square => x * x,
            Unary::Sqrt => x.sqrt(),
            Unary::Rsqrt => 1.0 / x.sqrt(),
            Unary::Recip => 1.0 / x,
            Unary::Exp => x.exp(),
            Unary::Ln => x.ln(),
            Unary::Tanh => x.tanh(),
            Unary::Sigmoid => sigmoid(x),
            Unary::Silu => x * sigmoid(x),
            // By the midpoint rule; the vector forms are tested where they are.
            Unary::Erf => {
                (0..1000).map(|i| (-((i as f64 + 0.5) * x / 1000.0).powi(2)).exp()).sum::<f64>() * x / 1000.0
                    * std::f64::consts::FRAC_2_SQRT_PI
            }
            Unary::GeluTanh => {
                x * sigmoid(2.0 * (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3)))
            }
            Unary::GeluErf => x * (1.0 + apply(Unary::Erf, x / 2f64.sqrt())) / 2.0,
            Unary::Cos => x.cos(),
            Unary::Sin => x.sin(),
            Unary::Add(c) => x + c as f64,
            Unary::Mul(c) => x * c as f64,
            Unary::Pow(c) => x.powf(c as f64),
            Unary::Clamp(low, high) => x.clamp(low as f64, high as f64),
            Unary::Rounded { step, low, high } => {
                (x / step as f64).clamp(low as f64, high as f64).round_ties_even()
            }
        }
    }

    fn value(steps: &[Elementwise], step: usize, inputs: &[f64]) -> f64 {
        let of = |step| value(steps, step, inputs);
        match steps[step] {
            Elementwise::Load(input) => inputs[input],
            Elementwise::Unary(op, a) => apply(op, of(a)),
            Elementwise::Binary(Binary::Add, a, b) => of(a) + of(b),
            Elementwise::Binary(Binary::Sub, a, b) => of(a) - of(b),
            Elementwise::Binary(Binary::Mul, a, b) => of(a) * of(b),
            Elementwise::Binary(Binary::Div, a, b) => of(a) / of(b),
            Elementwise::Binary(Binary::Max, a, b) => of(a).max(of(b)),
            Elementwise::Binary(Binary::Min, a, b) => of(a).min(of(b)),
        }
    }

    /// Inputs are (offset, strides), all in the first `out.0` floats, where numbers are 0.5 to 2.5.
    fn check(shape: &[usize], inputs: &[(usize, &[usize])], out: (usize, &[usize]), steps: &[Elementwise]) {
        let reach =
            |strides: &[usize]| shape.iter().zip(strides).map(|(n, s)| (n - 1) * s).sum::<usize>() + 1;
        let length = out.0 + reach(out.1);
        let before: Vec<f32> = noise(length.max(3000), 9).into_iter().map(|v| 1.5 + v).collect();
        let views: Vec<View> = inputs.iter().map(|(offset, strides)| View::new(*offset, strides)).collect();
        let pointwise = Pointwise::new(shape, &views, View::new(out.0, out.1), steps);
        let mut want = Vec::new();
        for i in 0..shape.iter().product() {
            let mut rest = i;
            let mut index = vec![0; shape.len()];
            for d in (0..shape.len()).rev() {
                index[d] = rest % shape[d];
                rest /= shape[d];
            }
            let at = |(offset, strides): (usize, &[usize])| {
                offset + index.iter().zip(strides).map(|(i, stride)| i * stride).sum::<usize>()
            };
            let values: Vec<f64> = inputs.iter().map(|input| before[at(*input)] as f64).collect();
            want.push((at(out), value(steps, steps.len() - 1, &values)));
        }
        all_workers(pointwise.scratch(), |workers| {
            let mut mem = before.clone();
            pointwise.run(workers, &mut mem);
            for (place, want) in &want {
                let error = (mem[*place] as f64 - want).abs();
                assert!(error <= 2e-6 * (1.0 + want.abs()), "{} {steps:?} {shape:?}: {error}", workers.isa);
                mem[*place] = before[*place];
            }
            assert!(mem == before, "nothing else is written");
        });
    }

    #[test]
    fn every_operation_agrees_with_f64() {
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
            Unary::Rounded { step: 0.3, low: -4.0, high: 6.0 },
        ] {
            for n in [1, 19, 1000] {
                check(&[n], &[(1, &[1])], (1001, &[1]), &[Elementwise::Load(0), Elementwise::Unary(op, 0)]);
            }
        }
        use Binary::*;
        for op in [Add, Sub, Mul, Div, Max, Min] {
            let steps = [Elementwise::Load(0), Elementwise::Load(1), Elementwise::Binary(op, 1, 0)];
            check(&[5, 33], &[(0, &[33, 1]), (9, &[0, 1])], (400, &[40, 1]), &steps);
        }
    }

    #[test]
    fn no_operation_hides_what_is_not_a_number() {
        let nan_from = |steps: &[Elementwise], inputs: usize, nan: usize| {
            let n = 37;
            let dense: Vec<View> = (0..inputs).map(|i| View::new(i * n, &[1])).collect();
            let pointwise = Pointwise::new(&[n], &dense, View::new(inputs * n, &[1]), steps);
            let mut before = vec![0.7; (inputs + 1) * n];
            for i in (0..n).step_by(5) {
                before[nan * n + i] = f32::NAN;
            }
            all_workers(pointwise.scratch(), |workers| {
                let mut mem = before.clone();
                pointwise.run(workers, &mut mem);
                for (i, v) in mem[inputs * n..].iter().enumerate() {
                    assert_eq!(v.is_nan(), i.is_multiple_of(5), "{} {steps:?} {nan} {i}: {v}", workers.isa);
                }
            });
        };
        use Unary::*;
        for op in [
            Neg,
            Abs,
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
            Add(0.3),
            Mul(-0.3),
            Pow(2.0),
            Pow(3.0),
            Pow(0.7),
            Clamp(0.9, 1.7),
            Clamp(0.0, f32::INFINITY),
            Clamp(f32::NEG_INFINITY, 0.5),
            Rounded { step: 0.3, low: -4.0, high: 6.0 },
        ] {
            nan_from(&[Elementwise::Load(0), Elementwise::Unary(op, 0)], 1, 0);
        }
        for op in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Max, Binary::Min] {
            for nan in [0, 1] {
                nan_from(
                    &[Elementwise::Load(0), Elementwise::Load(1), Elementwise::Binary(op, 0, 1)],
                    2,
                    nan,
                );
            }
        }
    }

    #[test]
    fn ties_are_rounded_to_even_and_what_is_out_of_bounds_to_them() {
        let rounded = Unary::Rounded { step: 0.25, low: -3.0, high: 4.0 };
        let steps = [Elementwise::Load(0), Elementwise::Unary(rounded, 0)];
        let x =
            [0.125, 0.375, 0.626, -0.125, -0.375, -0.62, 0.9, 9.0, -0.7, f32::INFINITY, f32::NEG_INFINITY];
        let want = [0.0, 2.0, 3.0, 0.0, -2.0, -2.0, 4.0, 4.0, -3.0, 4.0, -3.0];
        let n = x.len();
        let pointwise = Pointwise::new(&[n], &[View::new(0, &[1])], View::new(n, &[1]), &steps);
        all_workers(pointwise.scratch(), |workers| {
            let mut mem = [x, [7.0; 11]].concat();
            pointwise.run(workers, &mut mem);
            let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
            assert_eq!(bits(&mem[n..]), bits(&want), "{}: {:?}", workers.isa, &mem[n..]);
        });
    }

    #[test]
    fn programs_run_over_every_layout() {
        // (a - b)² * silu(a) + c, with a value used twice.
        let steps = [
            Elementwise::Load(0),
            Elementwise::Load(1),
            Elementwise::Binary(Binary::Sub, 0, 1),
            Elementwise::Unary(Unary::Square, 2),
            Elementwise::Unary(Unary::Silu, 0),
            Elementwise::Binary(Binary::Mul, 3, 4),
            Elementwise::Unary(Unary::Add(0.25), 5),
        ];
        let dense: &[usize] = &[1];
        check(&[1537], &[(0, dense), (3, dense)], (2000, dense), &steps);
        // In the place of an input.
        check(&[1537], &[(2000, dense), (3, dense)], (2000, dense), &steps);
        // Broadcasts, permutations, gaps; long, middling and short runs.
        check(&[2, 3, 700], &[(0, &[0, 700, 1]), (1, &[700, 1, 0])], (4000, &[2100, 700, 1]), &steps);
        check(&[2, 9, 5], &[(0, &[5, 10, 1]), (1, &[9, 1, 18])], (300, &[45, 5, 1]), &steps);
        check(&[2, 3, 4, 2, 5, 3], &[(0, &[1; 6]), (7, &[0; 6])], (800, &[360, 120, 30, 15, 3, 1]), &steps);
        check(&[40, 200], &[(0, &[1, 40]), (0, &[0, 0])], (9000, &[205, 1]), &steps);
        check(&[40, 7], &[(0, &[7, 1]), (0, &[0, 1])], (900, &[1, 50]), &steps);
        check(&[3, 11], &[(0, &[11, 1]), (1, &[0, 1])], (900, &[40, 3]), &steps);
        // Nothing but a load.
        check(&[3, 11], &[(0, &[11, 1])], (900, &[1, 3]), &steps[..1]);
        check(&[], &[(5, &[])], (900, &[]), &[Elementwise::Load(0), Elementwise::Unary(Unary::Neg, 0)]);
    }

    #[test]
    #[should_panic(expected = "overlaps its inputs")]
    fn results_over_a_part_of_an_input_are_refused() {
        let pointwise =
            Pointwise::new(&[8], &[View::new(0, &[1])], View::new(4, &[1]), &[Elementwise::Load(0)]);
        all_workers(pointwise.scratch(), |workers| pointwise.run(workers, &mut [0.0; 64]));
    }

    #[test]
    #[should_panic]
    fn steps_that_read_later_ones_are_refused() {
        Pointwise::new(&[8], &[], View::new(4, &[1]), &[Elementwise::Unary(Unary::Neg, 0)]);
    }
}
