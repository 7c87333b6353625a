//! One step of an executable: a kernel with all its places, or an operation without one.

use std::ops::Range;
use std::sync::Arc;

use crate::Result;
use crate::error::{Context, runtime};
use crate::kernels::{
    Attention, BatchMatmul, Convolution, Copy, Format, GroupNorm, MaskedAttention, Matmul, Norm, Pointwise,
    Reduce, Softmax, Stage, Workers,
};
use crate::plan::{Foreign, Gather, Integers, Lookup};
use crate::weights::Table;

pub enum Call {
    Matmul(Box<Matmul>),
    Convolution(Box<Convolution>),
    Norm(Norm),
    /// With what it multiplies.
    Attention(Attention, Format),
    GroupNorm(GroupNorm),
    Stage(Stage),
    Copy(Copy),
    Pointwise(Pointwise),
    Reduce(Reduce),
    Softmax(Softmax),
    Gather(Gather),
    MaskedAttention(MaskedAttention),
    Lookup(Lookup, Arc<Table>),
    Integers(Integers),
    BatchMatmul(BatchMatmul),
    Foreign(Foreign),
}

impl Call {
    /// Floats of scratch for each lane.
    pub(super) fn scratch(&self) -> usize {
        match self {
            Self::Matmul(product) => product.scratch(),
            Self::Convolution(convolution) => convolution.scratch(),
            Self::Norm(norm) => norm.scratch(),
            Self::Attention(attention, format) => attention.scratch(*format),
            Self::Pointwise(pointwise) => pointwise.scratch(),
            Self::MaskedAttention(masked) => masked.scratch(),
            Self::BatchMatmul(products) => products.scratch(),
            _ => 0,
        }
    }

    /// Shows each place of the arena that it touches.
    pub(super) fn places(&self, see: &mut dyn FnMut(Range<usize>)) {
        match self {
            Self::Matmul(product) => product.places(see),
            Self::Convolution(convolution) => convolution.places(see),
            Self::Norm(norm) => norm.places(see),
            Self::Attention(attention, _) => attention.places(see),
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
            Self::MaskedAttention(masked) => masked.places(see),
            Self::BatchMatmul(products) => products.places(see),
            Self::Lookup(lookup, _) => see(lookup.out..lookup.out + lookup.count * lookup.width),
            Self::Integers(integers) => see(integers.out..integers.out + integers.count),
            Self::Foreign(foreign) => {
                let operands = foreign.operands.iter();
                operands.for_each(|(offset, sizes)| see(*offset..offset + sizes.iter().product::<usize>()));
                see(foreign.out..foreign.out + foreign.len);
            }
        }
    }

    /// Holds it against an arena of `len` floats.
    ///
    /// # Panics
    /// If a kernel would refuse to run.
    pub(super) fn check(&self, len: usize) {
        match self {
            Self::Matmul(product) => product.check(len),
            Self::Convolution(convolution) => convolution.check(len),
            Self::Norm(norm) => norm.check(len),
            Self::Attention(attention, _) => attention.check(len),
            Self::GroupNorm(norm) => norm.check(len),
            Self::Stage(stage) => stage.check(len),
            Self::Copy(copy) => copy.check(len),
            Self::Pointwise(pointwise) => pointwise.check(len),
            Self::Reduce(reduce) => reduce.check(len),
            Self::Softmax(softmax) => softmax.check(len),
            Self::MaskedAttention(masked) => masked.check(len),
            Self::BatchMatmul(products) => products.check(len),
            Self::Gather(_) | Self::Lookup(..) | Self::Integers(_) | Self::Foreign(_) => {}
        }
    }

    /// What an operation is called that has no kernel; none for a kernel.
    pub(super) fn foreign(&self) -> Option<&str> {
        match self {
            Self::Foreign(foreign) => Some(foreign.operation.name()),
            _ => None,
        }
    }

    /// How many rows it has of a table that it takes by the integers of `input`.
    pub(super) fn rows(&self, input: usize) -> Option<usize> {
        match self {
            Self::Gather(gather) if gather.input == input => Some(gather.rows),
            Self::Lookup(lookup, _) if lookup.input == input => Some(lookup.rows),
            _ => None,
        }
    }

    /// `integers` are the network's integer inputs, by their place; the others' places are empty.
    pub(super) fn run(&self, workers: &mut Workers, mem: &mut [f32], integers: &[&[i64]]) -> Result<()> {
        match self {
            Self::Matmul(product) => product.run(workers, mem),
            Self::Convolution(convolution) => convolution.run(workers, mem),
            Self::Norm(norm) => norm.run(workers, mem),
            Self::Attention(attention, format) => attention.run(*format, workers, mem),
            Self::GroupNorm(norm) => norm.run(workers, mem),
            Self::Stage(stage) => stage.run(workers, mem),
            Self::Copy(copy) => copy.run(workers, mem),
            Self::Pointwise(pointwise) => pointwise.run(workers, mem),
            Self::Reduce(reduce) => reduce.run(workers, mem),
            Self::Softmax(softmax) => softmax.run(workers, mem),
            Self::MaskedAttention(masked) => masked.run(workers, mem),
            Self::BatchMatmul(products) => products.run(workers, mem),
            Self::Gather(gather) => return gather.run(mem, integers),
            Self::Lookup(lookup, table) => return lookup.run(table, mem, integers),
            Self::Integers(integer) => return integer.run(mem, integers),
            Self::Foreign(foreign) => return foreign.operation.run(mem, foreign),
        }
        Ok(())
    }
}

impl Gather {
    fn run(&self, mem: &mut [f32], integers: &[&[i64]]) -> Result<()> {
        for (i, &index) in planned(integers, self.input, self.count)?.iter().enumerate() {
            let from = self.table + row(i, index, self.rows)? * self.width;
            mem.copy_within(from..from + self.width, self.out + i * self.width);
        }
        Ok(())
    }
}

impl Lookup {
    fn run(&self, table: &Table, mem: &mut [f32], integers: &[&[i64]]) -> Result<()> {
        let values = table.values();
        for (i, &index) in planned(integers, self.input, self.count)?.iter().enumerate() {
            let from = row(i, index, self.rows)? * self.width;
            values.copy(from, &mut mem[self.out + i * self.width..][..self.width]);
        }
        Ok(())
    }
}

impl Integers {
    fn run(&self, mem: &mut [f32], integers: &[&[i64]]) -> Result<()> {
        let values = planned(integers, self.input, self.count)?;
        mem[self.out..][..self.count].iter_mut().zip(values).for_each(|(to, &value)| *to = value as f32);
        Ok(())
    }
}

/// The integers of an input, which must be `count`.
fn planned<'a>(integers: &[&'a [i64]], input: usize, count: usize) -> Result<&'a [i64]> {
    let given = integers.get(input).copied().unwrap_or_default();
    match given.len() == count {
        true => Ok(given),
        false => Err(runtime(format!("{} integers, {count} were planned", given.len()))),
    }
}

/// The row that an index stands for; negative ones count from the end, as in ONNX.
fn row(place: usize, index: i64, rows: usize) -> Result<usize> {
    let row = if index < 0 { index.saturating_add(rows as i64) } else { index };
    usize::try_from(row)
        .ok()
        .filter(|&row| row < rows)
        .ok_or_else(|| runtime(format!("index {index} is outside of a table of {rows} rows")))
        .at(|| format!("row {place}"))
}
