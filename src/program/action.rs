//! One step of a program: a kernel with all its places, or one of tract's operations.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::bail;

use crate::backend::failed;
use crate::error::{Context, runtime};
use crate::kernels::{Attention, Copy, GroupNorm, Norm, Pointwise, Product, Reduce, Softmax, Stage, Workers};
use crate::panics::of_tract;
use crate::{ErrorKind, Result};

pub(super) enum Action {
    Product(Box<Product>),
    Norm(Norm),
    Attention(Attention),
    GroupNorm(GroupNorm),
    Stage(Stage),
    Copy(Copy),
    Pointwise(Pointwise),
    Reduce(Reduce),
    Softmax(Softmax),
    Gather(Gather),
    Fallback(Fallback),
}

/// Copies rows of a table in the arena by the integers of a network input.
pub(super) struct Gather {
    pub(super) table: usize,
    pub(super) rows: usize,
    pub(super) width: usize,
    /// Which of the network's inputs.
    pub(super) input: usize,
    /// How many integers that has.
    pub(super) count: usize,
    pub(super) out: usize,
}

/// An operation without a kernel, planned by tract.
pub(super) struct Fallback {
    /// What tract calls it.
    pub(super) operation: String,
    pub(super) plan: Arc<TypedSimplePlan>,
    /// Dense in the arena: offsets and sizes.
    pub(super) operands: Vec<(usize, Vec<usize>)>,
    pub(super) out: usize,
    /// Floats of the answer.
    pub(super) len: usize,
}

impl Action {
    /// Floats of scratch for each lane.
    pub(super) fn scratch(&self) -> usize {
        match self {
            Self::Product(product) => product.scratch(),
            Self::Norm(norm) => norm.scratch(),
            Self::Attention(attention) => attention.scratch(),
            Self::Pointwise(pointwise) => pointwise.scratch(),
            _ => 0,
        }
    }

    /// Shows each place of the arena that it touches.
    pub(super) fn places(&self, see: &mut dyn FnMut(Range<usize>)) {
        match self {
            Self::Product(product) => product.places(see),
            Self::Norm(norm) => norm.places(see),
            Self::Attention(attention) => attention.places(see),
            Self::GroupNorm(norm) => norm.places(see),
            Self::Stage(stage) => stage.places(see),
            Self::Copy(copy) => copy.places(see),
            Self::Pointwise(pointwise) => pointwise.places(see),
            Self::Reduce(reduce) => reduce.places(see),
            Self::Softmax(softmax) => softmax.places(see),
            Self::Gather(gather) => {
                see(gather.table..gather.table + gather.rows * gather.width);
                see(gather.out..gather.out + gather.count * gather.width);
            }
            Self::Fallback(fallback) => {
                let operands = fallback.operands.iter();
                operands.for_each(|(offset, dims)| see(*offset..offset + dims.iter().product::<usize>()));
                see(fallback.out..fallback.out + fallback.len);
            }
        }
    }

    /// Holds it against an arena of `len` floats.
    ///
    /// # Panics
    /// If a kernel would refuse to run.
    pub(super) fn check(&self, len: usize) {
        match self {
            Self::Product(product) => product.check(len),
            Self::Norm(norm) => norm.check(len),
            Self::Attention(attention) => attention.check(len),
            Self::GroupNorm(norm) => norm.check(len),
            Self::Stage(stage) => stage.check(len),
            Self::Copy(copy) => copy.check(len),
            Self::Pointwise(pointwise) => pointwise.check(len),
            Self::Reduce(reduce) => reduce.check(len),
            Self::Softmax(softmax) => softmax.check(len),
            Self::Gather(_) | Self::Fallback(_) => {}
        }
    }

    /// What tract calls the operation that it runs here; none for a kernel.
    pub(super) fn foreign(&self) -> Option<&str> {
        match self {
            Self::Fallback(fallback) => Some(&fallback.operation),
            _ => None,
        }
    }

    /// `integers` are the network's integer inputs, by their place; the others' places are empty.
    pub(super) fn run(&self, workers: &mut Workers, mem: &mut [f32], integers: &[&[i64]]) -> Result<()> {
        match self {
            Self::Product(product) => product.run(workers, mem),
            Self::Norm(norm) => norm.run(workers, mem),
            Self::Attention(attention) => attention.run(workers, mem),
            Self::GroupNorm(norm) => norm.run(workers, mem),
            Self::Stage(stage) => stage.run(workers, mem),
            Self::Copy(copy) => copy.run(workers, mem),
            Self::Pointwise(pointwise) => pointwise.run(workers, mem),
            Self::Reduce(reduce) => reduce.run(workers, mem),
            Self::Softmax(softmax) => softmax.run(workers, mem),
            Self::Gather(gather) => return gather.run(mem, integers),
            Self::Fallback(fallback) => {
                return fallback.run(mem).map_err(|error| failed(&error));
            }
        }
        Ok(())
    }
}

impl Gather {
    fn run(&self, mem: &mut [f32], integers: &[&[i64]]) -> Result<()> {
        let indices = integers.get(self.input).copied().unwrap_or_default();
        if indices.len() != self.count {
            return Err(runtime(format!("{} integers, {} were planned", indices.len(), self.count)));
        }
        for (i, &index) in indices.iter().enumerate() {
            // Negative indices count from the end, as in ONNX.
            let row = if index < 0 { index + self.rows as i64 } else { index };
            let row = usize::try_from(row)
                .ok()
                .filter(|&row| row < self.rows)
                .ok_or_else(|| runtime(format!("index {index} is outside of a table of {} rows", self.rows)));
            let from = self.table + row.at(|| format!("row {i}"))? * self.width;
            mem.copy_within(from..from + self.width, self.out + i * self.width);
        }
        Ok(())
    }
}

impl Fallback {
    fn run(&self, mem: &mut [f32]) -> TractResult<()> {
        let operand = |(offset, dims): &(usize, Vec<usize>)| -> TractResult<TValue> {
            let len: usize = dims.iter().product();
            Ok(Tensor::from_shape(dims, &mem[*offset..offset + len])?.into_tvalue())
        };
        let work = || self.plan.run(self.operands.iter().map(operand).collect::<TractResult<_>>()?);
        let results = catch_unwind(AssertUnwindSafe(work));
        let results =
            results.unwrap_or_else(|panic| Err(of_tract(panic.as_ref(), ErrorKind::Runtime).into()))?;
        let view = results[0].try_as_plain_ram()?;
        let values = view.as_slice::<f32>()?;
        if values.len() != self.len {
            bail!("{} gave {} numbers, {} were planned", self.operation, values.len(), self.len);
        }
        mem[self.out..self.out + self.len].copy_from_slice(values);
        Ok(())
    }
}
