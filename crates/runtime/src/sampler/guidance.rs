//! From a network's answers for several conditions to one velocity: classifier-free guidance, and a blend of
//! two classes.

use crate::Manifest;

/// Conditions that each image is asked for: its class, the class that it is blended with, and no class. Without
/// a blend, and at a scale of exactly 1, where the null part would be multiplied by 0, that part is left out.
pub fn parts(scale: f32, blends: bool) -> usize {
    1 + usize::from(blends) + usize::from(scale != 1.0)
}

/// Likewise for the refiner: one that answers guided velocities is not asked for no class.
pub fn refiner_parts(manifest: &Manifest, scale: f32, blends: bool) -> usize {
    parts(if manifest.refiner_guided() { 1.0 } else { scale }, blends)
}

/// The layout of one network answer.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Images of the request.
    pub batch: usize,
    pub channels: usize,
    /// `H * W`.
    pub area: usize,
    /// The leading channels that guidance touches.
    pub guided: usize,
}

impl Layout {
    /// Floats of one image.
    pub fn image(&self) -> usize {
        self.channels * self.area
    }
}

/// Turns the parts of `answer`, `stride` floats from one to the next, into velocities: with `blend`, one
/// amount `a` for each image, `c ← c + a (b - c)` first; then `u + s (c - u)` on the guided channels, written
/// to all parts. The other channels of the null part keep their own value (the official code's
/// `forward_with_cfg`).
pub fn guide(answer: &mut [f32], stride: usize, layout: Layout, blend: &[f32], scale: f32) {
    let image = layout.image();
    let mut parts = answer.chunks_mut(stride).map(|part| &mut part[..layout.batch * image]);
    let class = parts.next().unwrap_or_default();
    let other = if blend.is_empty() { None } else { parts.next() }.unwrap_or_default();
    let null = parts.next().unwrap_or_default();
    for ((class, other), amount) in class.chunks_exact_mut(image).zip(other.chunks_exact(image)).zip(blend) {
        for (c, b) in class.iter_mut().zip(other) {
            *c += amount * (b - *c);
        }
    }
    for (class, null) in class.chunks_exact_mut(image).zip(null.chunks_exact_mut(image)) {
        for (c, u) in class.iter_mut().zip(null.iter_mut()).take(layout.guided * layout.area) {
            let velocity = *u + scale * (*c - *u);
            (*c, *u) = (velocity, velocity);
        }
    }
    other.copy_from_slice(&class[..other.len()]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guided_channels_agree_in_both_halves_and_the_rest_is_left_alone() {
        let layout = Layout { batch: 2, channels: 2, area: 1, guided: 1 };
        let mut answer = vec![1.0, 2.0, 3.0, 4.0, /* null */ 0.0, 20.0, 1.0, 40.0];
        guide(&mut answer, 4, layout, &[], 3.0);
        assert_eq!(answer, [3.0, 2.0, 7.0, 4.0, 3.0, 20.0, 7.0, 40.0]);
    }

    #[test]
    fn classes_are_blended_before_they_are_guided() {
        let layout = Layout { batch: 2, channels: 2, area: 1, guided: 1 };
        let mut answer = vec![
            1.0, 2.0, 3.0, 4.0, /* other */ 3.0, 4.0, 3.0, 8.0, /* null */ 0.0, 20.0, 1.0, 40.0,
        ];
        guide(&mut answer, 4, layout, &[0.5, 0.25], 3.0);
        let class = [6.0, 3.0, 7.0, 5.0];
        assert_eq!(answer, [&class[..], &class, &[6.0, 20.0, 7.0, 40.0]].concat());
        let mut unguided = vec![1.0, 2.0, 3.0, 4.0, 3.0, 4.0, 3.0, 8.0];
        guide(&mut unguided, 4, layout, &[1.0, 0.0], 1.0);
        assert_eq!(unguided, [3.0, 4.0, 3.0, 4.0, 3.0, 4.0, 3.0, 4.0]);
    }
}
