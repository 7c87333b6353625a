//! Classifier-free guidance over a doubled batch (class half, null half).

/// Images in one network call: doubled for guidance, except at a scale of exactly 1, where the null half
/// would be multiplied by 0.
pub(crate) fn network_batch(images: usize, scale: f32) -> usize {
    images * if scale == 1.0 { 1 } else { 2 }
}

/// The layout of one network answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Images of the request.
    pub(crate) batch: usize,
    pub(crate) channels: usize,
    /// `H * W`.
    pub(crate) area: usize,
    /// The leading channels that guidance touches.
    pub(crate) guided: usize,
}

impl Layout {
    /// Floats of one image.
    pub(crate) fn image(&self) -> usize {
        self.channels * self.area
    }
}

/// `u + s (c - u)` on the guided channels, written to both halves of `answer` `[2N, C, H, W]`; the
/// other channels keep each half's own value (the official code's `forward_with_cfg`).
pub(crate) fn guide(answer: &mut [f32], layout: Layout, scale: f32) {
    let (class, null) = answer.split_at_mut(layout.batch * layout.image());
    let images = class.chunks_exact_mut(layout.image()).zip(null.chunks_exact_mut(layout.image()));
    for (class, null) in images {
        let guided = layout.guided * layout.area;
        for (c, u) in class.iter_mut().zip(null.iter_mut()).take(guided) {
            let velocity = *u + scale * (*c - *u);
            (*c, *u) = (velocity, velocity);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guided_channels_agree_in_both_halves_and_the_rest_is_left_alone() {
        let layout = Layout { batch: 2, channels: 2, area: 1, guided: 1 };
        let mut answer = vec![1.0, 2.0, 3.0, 4.0, /* null */ 0.0, 20.0, 1.0, 40.0];
        guide(&mut answer, layout, 3.0);
        assert_eq!(answer, [3.0, 2.0, 7.0, 4.0, 3.0, 20.0, 7.0, 40.0]);
    }
}
