//! Resizes that repeat each pixel, recognised by what tract's operation does with a ramp.
//!
//! A resize treats each axis on its own, so it is asked about one axis at a time: what that costs grows with an
//! image's edge, not with its area.

use std::sync::Arc;

use tract_onnx::prelude::*;

use super::import::Read;
use super::{Id, Net, Op};
use crate::kernels::Stage;
use crate::panics::in_tract;

impl Net {
    /// A resize by a whole factor that takes the nearest pixel; none if it is another one.
    pub(super) fn resize(&mut self, op: &dyn TypedOp, operands: &[Id], dims: &[usize]) -> Read {
        let x = operands[0];
        let (&[n, c, h, w], &[_, _, height, width]) = (self.dims(x), dims) else { return Ok(None) };
        let factor = height / h.max(1);
        if !(2..=Stage::ENLARGE).contains(&factor) || dims != [n, c, h * factor, w * factor] {
            return Ok(None);
        }
        let (from, factors) = ([n, c, h, w], [1, 1, factor, factor]);
        debug_assert_eq!(width, w * factor);
        for axis in 0..4 {
            if !self.repeats(op, &operands[1..], axis, from[axis], factors[axis])? {
                return Ok(None);
            }
        }
        Ok(Some(self.float(Op::Upsample(factor), vec![x], dims.to_vec())))
    }

    /// Whether each of `size` elements along `axis` comes out `factor` times, if all other axes have one.
    fn repeats(
        &self,
        op: &dyn TypedOp,
        constants: &[Id],
        axis: usize,
        size: usize,
        factor: usize,
    ) -> TractResult<bool> {
        let ramp: Vec<f32> = (0..size).map(|i| i as f32).collect();
        let mut shape = [1; 4];
        shape[axis] = size;
        let mut tensors = tvec!(Tensor::from_shape(&shape, &ramp)?.into_tvalue());
        for &id in constants {
            let Op::Constant(constant) = self.op(id) else { return Ok(false) };
            let whole = &constant.0;
            // Sizes and scales have a number for each axis, of which one is of interest.
            let alone = match (whole.len(), whole.datum_type()) {
                (4, DatumType::I64) => Some(alone(whole, axis, 1i64)?),
                (4, DatumType::F32) => Some(alone(whole, axis, 1f32)?),
                _ => None,
            };
            tensors.push(alone.map_or_else(|| Arc::clone(whole).into_tvalue(), IntoTValue::into_tvalue));
        }
        let Some(result) = in_tract(|| op.eval_out_of_plan(tensors))?? else { return Ok(false) };
        let view = result[0].try_as_plain_ram()?;
        let result = view.as_slice::<f32>()?;
        let same = |(i, &value): (usize, &f32)| ramp.get(i / factor) == Some(&value);
        Ok(result.len() == size * factor && result.iter().enumerate().all(same))
    }
}

/// The numbers of a constant, all but that of `axis` replaced.
fn alone<T: Datum + Copy>(constant: &Tensor, axis: usize, other: T) -> TractResult<Tensor> {
    let view = constant.try_as_plain_ram()?;
    let numbers = view.as_slice::<T>()?.iter().enumerate();
    let numbers: Vec<T> = numbers.map(|(i, &number)| if i == axis { number } else { other }).collect();
    Tensor::from_shape(constant.shape(), &numbers)
}
