//! The image networks: latents to pictures and back, an image at a time.

use ndarray::{Array4, ArrayView3, ArrayView4, Axis};

use super::{Session, shape};
use crate::backend::Input;
use crate::bundle::{Extent, Role};
use crate::error::{invalid_argument, non_finite};
use crate::{CancelToken, Model, Result};

/// From a latent of the sampler to one of the decoder.
pub(super) fn to_decoder(model: &Model) -> impl Fn(f32) -> f32 + use<> {
    let latent = &model.manifest().latent;
    let (scale, shift) = (latent.scale, latent.shift);
    move |value| value / scale + shift
}

/// Refuses an answer of `role` that is not all numbers.
pub(super) fn check(role: Role, answer: &[f32]) -> Result<()> {
    if answer.iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    Err(non_finite(format!("the {role}'s answer holds a number that is not finite")))
}

impl Session {
    /// One image of the size that `[N, C, H, W]` says, or of the bundle's own where that is none for `role`.
    pub(super) fn extent_of(&self, role: Role, shape: &[usize]) -> Extent {
        let manifest = self.model.manifest();
        let (own, edges) = (manifest.extent(1), [shape[2], shape[3]]);
        let cells = match (role, manifest.cell()) {
            (Role::Decoder, _) => edges,
            (_, Some([down, across])) => [edges[0] / down, edges[1] / across],
            _ => own.cells,
        };
        if cells.contains(&0) { own } else { Extent { cells, ..own } }
    }

    /// Runs an image network over each image on its own, so that one program serves every batch.
    pub(super) fn converted(
        &mut self,
        role: Role,
        values: ArrayView4<f32>,
        prepare: impl Fn(f32) -> f32,
    ) -> Result<Array4<f32>> {
        let extent = self.extent_of(role, values.shape());
        let (wanted, made) = self.model.manifest().shapes(role, extent.cells)?;
        if values.shape().get(1..) != Some(&wanted) {
            let ([c, h, w], found) = (wanted, values.shape());
            return Err(invalid_argument(format!(
                "the {role} takes [N, {c}, {h}, {w}], was given {found:?}"
            )));
        }
        let [channels, height, width] = made;
        let mut results = Array4::zeros((values.len_of(Axis(0)), channels, height, width));
        let mut answer = vec![0.0; made.iter().product()];
        let mut instance = self.take(role, extent)?;
        let convert = |(image, mut result): (ArrayView3<f32>, ndarray::ArrayViewMut3<f32>)| {
            self.input.clear();
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
