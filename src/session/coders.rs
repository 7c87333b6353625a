//! The image networks: latents to images and back, an image at a time.

use ndarray::{Array4, ArrayView3, ArrayView4, Axis};

use super::{Session, shape};
use crate::backend::Input;
use crate::bundle::{Extent, Role};
use crate::error::{invalid_argument, limit_exceeded, non_finite};
use crate::{CancelToken, Model, Result, memory};

/// From a latent of the sampler to one of the decoder.
pub(super) fn to_decoder(model: &Model) -> impl Fn(f32) -> f32 + use<> {
    let latent = &model.manifest().latent;
    let (scale, shift) = (latent.scale, latent.shift);
    move |value| value / scale + shift
}

/// From a latent of the encoder to one of the sampler.
pub(super) fn from_encoder(model: &Model) -> impl Fn(f32) -> f32 + Clone + use<> {
    let latent = &model.manifest().latent;
    let (scale, shift) = (latent.scale, latent.shift);
    move |value| (value - shift) * scale
}

/// Refuses an answer of `role` that is not all numbers.
pub(super) fn check(role: Role, answer: &[f32]) -> Result<()> {
    if answer.iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    Err(non_finite(format!("the {role}'s answer holds a number that is not finite")))
}

impl Session {
    /// What `role` is planned for, and the `[C, H, W]` that it makes, of images `shape` `[N, C, H, W]`.
    #[doc(hidden)]
    pub fn converts(&self, role: Role, shape: &[usize]) -> Result<(Extent, [usize; 3])> {
        let (manifest, limits) = (self.model.manifest(), self.model.bundle().limits());
        let own = manifest.extent(1);
        let (taken, _) = manifest.shapes(role, own.cells)?;
        let &[batch, channels, height, width] = shape else {
            return Err(invalid_argument(format!("the {role} takes [N, C, H, W], was given {shape:?}")));
        };
        let cell = if role == Role::Decoder { [1, 1] } else { manifest.cell().unwrap_or([1, 1]) };
        let cells = [height / cell[0], width / cell[1]];
        if channels != taken[0]
            || cells.contains(&0)
            || [height, width] != [cells[0] * cell[0], cells[1] * cell[1]]
        {
            let ([c, h, w], [down, across]) = (taken, cell);
            return Err(invalid_argument(format!(
                "the {role} takes [N, {c}, {h}, {w}], other heights and widths in steps of {down} and {across}; \
                 was given {shape:?}"
            )));
        }
        let extent = Extent { cells, ..own };
        let made = manifest.shapes(role, cells)?.1;
        let most = limits.max_edge as usize;
        if height.max(width).max(made[1]).max(made[2]) > most {
            return Err(limit_exceeded(format!(
                "{height} x {width} for the {role}, above the limit of {most} pixels (max_edge)"
            )));
        }
        limits.check_tensor([batch, channels, height, width])?;
        limits.check_tensor([batch, made[0], made[1], made[2]])?;
        Ok((extent, made))
    }

    /// Runs an image network over each image on its own, so that one program serves every batch.
    pub(super) fn converted(
        &mut self,
        role: Role,
        values: ArrayView4<f32>,
        prepare: impl Fn(f32) -> f32,
    ) -> Result<Array4<f32>> {
        self.model.check_process()?;
        let (extent, made) = self.converts(role, values.shape())?;
        let [channels, height, width] = made;
        let all = [values.len_of(Axis(0)), channels, height, width];
        let results = memory::filled(all.iter().product(), 0.0)?;
        let mut results = Array4::from_shape_vec(all, results).map_err(shape)?;
        let mut answer = memory::filled(made.iter().product(), 0.0)?;
        let mut instance = self.take(role, extent, &CancelToken::new())?;
        let convert = |(image, mut result): (ArrayView3<f32>, ndarray::ArrayViewMut3<f32>)| {
            self.input.clear();
            memory::reserve(&mut self.input, image.len())?;
            self.input.extend(image.iter().copied().map(&prepare));
            instance.1.run(&[Input::F32(&self.input)], &mut answer, &CancelToken::new())?;
            check(role, &answer)?;
            result.assign(&ArrayView3::from_shape(made, &answer).map_err(shape)?);
            Ok(())
        };
        let outcome = values.outer_iter().zip(results.outer_iter_mut()).try_for_each(convert);
        self.put(instance);
        outcome.map(|()| results)
    }
}
