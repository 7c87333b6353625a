//! What takes elements of any places: programs over them, and copies.

use flowturbo_kernels as kernels;
use flowturbo_kernels::{Binary, Elementwise, RANK, Result, Unary};

use super::{Copy, Pointwise, ProgramStep, View, counted, place};

/// A program over elements, and the tables that its kernel reads.
pub struct Program {
    /// Where `steps` and `inputs` are is for whoever uploads these.
    pub arguments: Pointwise,
    pub steps: Vec<ProgramStep>,
    pub inputs: Vec<View>,
}

impl Program {
    /// A program in an arena.
    ///
    /// # Errors
    /// `Unsupported`: sizes that are too large.
    pub fn new(pointwise: &kernels::Pointwise) -> Result<Self> {
        let steps = pointwise.steps().iter().map(|&(step, to)| ProgramStep::new(step, to));
        let steps: Vec<ProgramStep> = steps.collect::<Result<_>>()?;
        let inputs: Vec<View> = pointwise.inputs().iter().map(View::new).collect();
        let (shape, elements) = counted_shape(pointwise.shape())?;
        let arguments = Pointwise {
            out: View::new(pointwise.out()),
            shape,
            rank: counted(pointwise.shape().len())?,
            step_count: counted(steps.len())?,
            elements,
            result: steps.last().map_or(0, |step| step.to),
            ..Pointwise::default()
        };
        Ok(Self { arguments, steps, inputs })
    }
}

impl ProgramStep {
    fn new(step: Elementwise, to: usize) -> Result<Self> {
        let (operation, a, b, numbers) = match step {
            Elementwise::Load(input) => (0, input, 0, [0.0; 4]),
            Elementwise::Unary(unary, a) => {
                let of = |operation| (operation, [0.0; 4]);
                let (operation, numbers) = match unary {
                    Unary::Neg => of(1),
                    Unary::Abs => of(2),
                    Unary::Square | Unary::Pow(2.0) => of(3),
                    Unary::Sqrt => of(4),
                    Unary::Rsqrt => of(5),
                    Unary::Recip => of(6),
                    Unary::Exp => of(7),
                    Unary::Ln => of(8),
                    Unary::Tanh => of(9),
                    Unary::Sigmoid => of(10),
                    Unary::Silu => of(11),
                    Unary::Erf => of(12),
                    Unary::GeluTanh => of(13),
                    Unary::GeluErf => of(14),
                    Unary::Cos => of(15),
                    Unary::Sin => of(16),
                    Unary::Add(number) => (17, [number, 0.0, 0.0, 0.0]),
                    Unary::Mul(number) => (18, [number, 0.0, 0.0, 0.0]),
                    Unary::Pow(number) => (19, [number, 0.0, 0.0, 0.0]),
                    Unary::Clamp(low, high) => (20, [low, high, 0.0, 0.0]),
                    Unary::Rounded { step, low, high } => (21, [step, low, high, 0.0]),
                };
                (operation, a, 0, numbers)
            }
            Elementwise::Binary(binary, a, b) => {
                let operation = match binary {
                    Binary::Add => 22,
                    Binary::Sub => 23,
                    Binary::Mul => 24,
                    Binary::Div => 25,
                    Binary::Max => 26,
                    Binary::Min => 27,
                };
                (operation, a, b, [0.0; 4])
            }
        };
        Ok(Self { operation, to: counted(to)?, a: counted(a)?, b: counted(b)?, numbers })
    }
}

impl View {
    fn new(view: &kernels::View) -> Self {
        Self { offset: place(view.offset), strides: view.strides().map(|stride| stride as u64) }
    }
}

/// A shape filled up with ones, and how many elements it has.
fn counted_shape(shape: &[usize]) -> Result<([u32; RANK], u32)> {
    let mut counts = [1; RANK];
    for (count, &size) in counts.iter_mut().zip(shape) {
        *count = counted(size)?;
    }
    let elements = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    Ok((counts, counted(elements.unwrap_or(usize::MAX))?))
}

impl Copy {
    /// A copy in an arena.
    ///
    /// # Errors
    /// `Unsupported`: sizes that are too large.
    pub fn new(copy: &kernels::Copy) -> Result<Self> {
        let (shape, elements) = counted_shape(copy.shape())?;
        let rank = counted(copy.shape().len())?;
        Ok(Self { from: View::new(copy.from()), to: View::new(copy.to()), shape, rank, elements })
    }
}
