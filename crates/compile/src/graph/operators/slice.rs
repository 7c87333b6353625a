//! `Slice`, its bounds clamped as the standard says.

use tract_onnx::tract_core::ops::array::{Gather, Slice};
use tract_onnx::tract_hir::internal::*;

use super::Wiring;
use crate::error::{invalid_bundle, limit_exceeded, unsupported};
use crate::graph::standard::{LONGEST, Seen, axes};
use crate::{Result, memory};

/// What is taken of each axis.
pub(in crate::graph) struct Spec(Vec<Taken>);

struct Taken {
    start: usize,
    step: i64,
    len: usize,
    /// Of the tensor that is sliced.
    size: usize,
}

impl Spec {
    pub(in crate::graph) fn read(seen: &Seen) -> Result<Self> {
        let shape = seen.shape(0)?;
        let list = |place: usize, name: &str| seen.list(place, name);
        let starts = list(1, "starts")?.unwrap_or_default();
        let ends = list(2, "ends")?.unwrap_or_default();
        let along = list(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = list(4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
        if [ends.len(), along.len(), steps.len()].iter().any(|&len| len != starts.len()) {
            return Err(invalid_bundle("'starts', 'ends', 'axes' and 'steps' are not of one length"));
        }
        // Of shapes, nothing may be taken.
        let constant = seen.operands.iter().flatten().all(|operand| operand.value.is_some());
        let whole = |&size: &usize| Taken { start: 0, step: 1, len: size, size };
        let mut taken: Vec<Taken> = shape.iter().map(whole).collect();
        for (i, axis) in axes("axes", &along, shape.len())?.into_iter().enumerate() {
            let (size, step) = (shape[axis] as i64, steps[i]);
            // From behind, then held to what there is.
            let bound = |written: i64, least: i64, most: i64| {
                (if written < 0 { written.saturating_add(size) } else { written }).clamp(least, most)
            };
            let (start, len) = if step > 0 {
                let (start, end) = (bound(starts[i], 0, size), bound(ends[i], 0, size));
                (start, (end - start).max(0) as u64)
            } else if step < 0 {
                let (start, end) = (bound(starts[i], 0, (size - 1).max(0)), bound(ends[i], -1, size - 1));
                (start, (start.min(size - 1) - end).max(0) as u64)
            } else {
                return Err(invalid_bundle("'steps' holds 0"));
            };
            let len = len.div_ceil(step.unsigned_abs()) as usize;
            if step != 1 && len > LONGEST {
                let message =
                    format!("'steps' {step} leaves {len} elements of axis {axis}, the most are {LONGEST}");
                return Err(limit_exceeded(message));
            }
            if len == 0 && !constant {
                let (from, to) = (starts[i], ends[i]);
                return Err(unsupported(format!(
                    "'starts' {from} and 'ends' {to} leave a tensor without elements: axis {axis} has {size}"
                )));
            }
            taken[axis] = Taken { start: start as usize, step, len, size: shape[axis] };
        }
        Ok(Self(taken))
    }

    pub(in crate::graph) fn shape(&self) -> Vec<usize> {
        self.0.iter().map(|taken| taken.len).collect()
    }
}

pub(super) fn wire(seen: &Seen, to: &mut Wiring) -> TractResult<OutletId> {
    let mut x = to.inputs[0];
    for (axis, taken) in Spec::read(seen)?.0.into_iter().enumerate() {
        let Taken { start, step, len, size } = taken;
        if step == 1 || len <= 1 {
            if len < size {
                // An empty slice begins where there is something.
                let start = start.min(size - len);
                x = to.op(Slice::new(axis, start, start + len), &[x])?;
            }
        } else {
            let places = memory::collected(len, (0..len as i64).map(|i| start as i64 + i * step))?;
            let places = to.constant(tensor1(&places))?;
            x = to.op(Gather::new(axis), &[x, places])?;
        }
    }
    Ok(x)
}
