//! Sums of elements along single axes: what a resize of every mode comes to.

use tract_onnx::tract_hir::internal::*;

use crate::{Result, memory};

/// A tensor, one axis after the other resampled.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resample {
    /// By axis.
    pub(super) lines: Vec<(usize, Line)>,
}

/// For each element along an axis of the result, the elements that it is the sum of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Line {
    /// Elements of the axis before.
    from: usize,
    /// Where each element's taps end.
    ends: Vec<usize>,
    /// Place and weight, which is kept by its bits.
    taps: Vec<(usize, u32)>,
}

impl Line {
    pub(super) fn new(from: usize) -> Self {
        Self { from, ends: Vec::new(), taps: Vec::new() }
    }

    /// The next element; places lie inside.
    pub(super) fn push(&mut self, taps: &[(i64, f32)]) -> Result<()> {
        for &(place, weight) in taps {
            memory::push(&mut self.taps, (place as usize, weight.to_bits()))?;
        }
        memory::push(&mut self.ends, self.taps.len())
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn taps(&self, i: usize) -> impl Iterator<Item = (usize, f32)> {
        let start = i.checked_sub(1).map_or(0, |i| self.ends[i]);
        self.taps[start..self.ends[i]].iter().map(|&(place, weight)| (place, f32::from_bits(weight)))
    }

    pub(super) fn is_identity(&self) -> bool {
        self.repeats() == Some(1)
    }

    /// How often each element follows itself, if that is all that happens.
    fn repeats(&self) -> Option<usize> {
        let factor = self.len() / self.from.max(1);
        let whole = factor * self.from == self.len() && self.taps.len() == self.len();
        let repeats = |(i, &(place, weight)): (usize, &(usize, u32))| {
            place == i / factor && f32::from_bits(weight) == 1.0
        };
        (whole && factor > 0 && self.taps.iter().enumerate().all(repeats)).then_some(factor)
    }

    /// Resamples the middle one of three axes.
    fn apply(&self, x: &[f32], inner: usize) -> Result<Vec<f32>> {
        let outer = x.len() / (self.from * inner).max(1);
        let mut y = memory::filled(outer * self.len() * inner, 0.0)?;
        let planes = x.chunks_exact((self.from * inner).max(1));
        for (x, y) in planes.zip(y.chunks_exact_mut((self.len() * inner).max(1))) {
            for (i, row) in y.chunks_exact_mut(inner.max(1)).enumerate() {
                for (place, weight) in self.taps(i) {
                    let from = &x[place * inner..][..inner];
                    row.iter_mut().zip(from).for_each(|(y, x)| *y += weight * x);
                }
            }
        }
        Ok(y)
    }
}

impl Resample {
    /// The factor by which rows and columns of `[N, C, H, W]` are repeated, if that is all that happens.
    pub fn upsampling(&self) -> Option<usize> {
        match self.lines.as_slice() {
            [(2, rows), (3, columns)] if rows.repeats() == columns.repeats() => rows.repeats(),
            _ => None,
        }
    }
}

impl Op for Resample {
    fn name(&self) -> StaticName {
        "Resize".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Resample {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let x = args_1!(inputs);
        let mut shape: TVec<usize> = x.shape().into();
        let x = x.try_as_plain_ram()?.as_slice::<f32>()?;
        let mut values = memory::collected(x.len(), x.iter().copied())?;
        for (axis, line) in &self.lines {
            ensure!(shape.get(*axis) == Some(&line.from), "takes {shape:?}");
            values = line.apply(&values, shape[axis + 1..].iter().product())?;
            shape[*axis] = line.len();
        }
        Ok(tvec!(Tensor::from_shape(&shape, &values)?.into_tvalue()))
    }
}

impl TypedOp for Resample {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs.len() == 1 && inputs[0].datum_type == f32::datum_type(), "takes one tensor of F32");
        let mut fact = inputs[0].without_value();
        for (axis, line) in &self.lines {
            ensure!(fact.shape.get(*axis) == Some(&line.from.to_dim()), "takes {:?}", inputs[0]);
            fact.shape.set(*axis, line.len().to_dim());
        }
        Ok(tvec!(fact))
    }

    as_op!();
}
