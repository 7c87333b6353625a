//! `Pad`: numbers below zero crop, then the others repeat what is left.

use std::sync::Arc;

use tract_onnx::tract_core::ops::array::{Pad, PadMode, Slice};
use tract_onnx::tract_hir::internal::*;

use super::Wiring;
use crate::error::{invalid_bundle, limit_exceeded, unsupported};
use crate::graph::standard::{LONGEST, Seen, axes};
use crate::{Result, memory};

pub(in crate::graph) struct Spec {
    /// Of what is padded.
    shape: Vec<usize>,
    before: Vec<i64>,
    after: Vec<i64>,
    mode: Mode,
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Constant,
    Reflect,
    Edge,
    Wrap,
}

/// Nothing is padded by more.
const MOST: i64 = 1 << 31;

impl Spec {
    pub(in crate::graph) fn read(seen: &Seen) -> Result<Self> {
        let shape = seen.shape(0)?.to_vec();
        let rank = shape.len();
        let pads = seen.list(1, "pads")?.unwrap_or_default();
        let along = match seen.integers(3, "axes")? {
            Some(list) => axes("axes", &list, rank)?,
            None => (0..rank).collect(),
        };
        if pads.len() != 2 * along.len() {
            let message = format!("'pads' is {pads:?}, must be two numbers for each of {} axes", along.len());
            return Err(invalid_bundle(message));
        }
        if let Some(pad) = pads.iter().find(|pad| !(-MOST..=MOST).contains(*pad)) {
            return Err(invalid_bundle(format!("'pads' holds {pad}, which no tensor is large enough for")));
        }
        // Whether the mode looks at it or not.
        if let Some(value) = seen.operand(2).filter(|value| !matches!(value.shape[..], [] | [1])) {
            return Err(invalid_bundle(format!("input 2 is {:?}, must be a single number", value.shape)));
        }
        let mode = match seen.node.word("mode") {
            Some("reflect") => Mode::Reflect,
            Some("edge") => Mode::Edge,
            Some("wrap") => Mode::Wrap,
            _ => Mode::Constant,
        };
        let mut spec = Self { before: vec![0; rank], after: vec![0; rank], shape, mode };
        for (i, &axis) in along.iter().enumerate() {
            (spec.before[axis], spec.after[axis]) = (pads[i], pads[i + along.len()]);
            spec.check(axis)?;
        }
        Ok(spec)
    }

    fn check(&self, axis: usize) -> Result<()> {
        let (before, after) = (self.before[axis], self.after[axis]);
        let kept = self.kept(axis);
        if kept < 0 {
            let message =
                format!("'pads' crops {before} and {after} of {} along axis {axis}", self.shape[axis]);
            return Err(invalid_bundle(message));
        }
        let size = kept + before.max(0) + after.max(0);
        if self.mode != Mode::Constant && size > LONGEST as i64 {
            return Err(limit_exceeded(format!(
                "'pads' makes {size} elements of axis {axis}, which is too large"
            )));
        }
        let repeats = self.mode != Mode::Constant && before.max(after) > 0;
        if repeats && kept == 0 {
            return Err(invalid_bundle(format!("'pads' leaves nothing of axis {axis} to repeat")));
        }
        if self.mode == Mode::Reflect && before.max(after) >= kept.max(1) {
            return Err(unsupported(format!(
                "'pads' reflects {} along axis {axis}, which has {kept}",
                before.max(after)
            )));
        }
        Ok(())
    }

    /// What cropping leaves of an axis.
    fn kept(&self, axis: usize) -> i64 {
        self.shape[axis] as i64 + self.before[axis].min(0) + self.after[axis].min(0)
    }

    pub(in crate::graph) fn shape(&self) -> Vec<usize> {
        let size = |axis| (self.kept(axis) + self.before[axis].max(0) + self.after[axis].max(0)) as usize;
        (0..self.shape.len()).map(size).collect()
    }

    /// The places of `axis`, of what cropping left, that make up the result.
    fn places(&self, axis: usize) -> Result<Vec<usize>> {
        let (kept, before, after) = (self.kept(axis), self.before[axis].max(0), self.after[axis].max(0));
        let place = |i: i64| match self.mode {
            Mode::Wrap => i.rem_euclid(kept),
            Mode::Reflect if i < 0 => -i,
            Mode::Reflect if i >= kept => 2 * (kept - 1) - i,
            _ => i.clamp(0, kept - 1),
        };
        let len = (before + kept + after) as usize;
        memory::collected(len, (-before..kept + after).map(|i| place(i) as usize))
    }
}

pub(super) fn wire(seen: &Seen, to: &mut Wiring) -> TractResult<OutletId> {
    let spec = Spec::read(seen)?;
    let mut x = to.inputs[0];
    for axis in 0..spec.shape.len() {
        let start = spec.before[axis].min(0).unsigned_abs() as usize;
        let kept = spec.kept(axis) as usize;
        if kept == 0 {
            return Err(unsupported("crops everything").into());
        }
        if kept < spec.shape[axis] {
            x = to.op(Slice::new(axis, start, start + kept), &[x])?;
        }
    }
    let more = |pads: &[i64]| pads.iter().map(|&pad| pad.max(0) as usize).collect::<Vec<_>>();
    let (before, after) = (more(&spec.before), more(&spec.after));
    if before.iter().chain(&after).all(|&n| n == 0) {
        return Ok(x);
    }
    if spec.mode == Mode::Constant {
        let value = constant(seen, to.kind(x)?)?;
        let pads = before.into_iter().zip(after).collect();
        return to.op(Pad { pads, mode: PadMode::Constant(value) }, &[x]);
    }
    for axis in 0..spec.shape.len() {
        if before[axis] + after[axis] > 0 {
            x = to.pick(x, axis, &spec.places(axis)?)?;
        }
    }
    Ok(x)
}

/// What is put around.
fn constant(seen: &Seen, kind: DatumType) -> TractResult<Arc<Tensor>> {
    let value = match seen.operand(2) {
        Some(operand) => {
            let value =
                operand.value.as_ref().context("input 'constant_value' must be known while loading")?;
            ensure!(value.len() == 1, "input 'constant_value' must be one number");
            value.as_ref().clone().into_shape(&[])?
        }
        None => tensor0(seen.node.float("value").unwrap_or(0.0)),
    };
    Ok(value.cast_to_dt(kind)?.into_owned().into_arc_tensor())
}
