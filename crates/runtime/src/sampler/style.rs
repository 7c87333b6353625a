//! Keeps a larger latent to one material: that of a latent of the networks' own size, which is sampled beside it.
//!
//! Windows that do not overlap know nothing of each other, so their colours and contrasts drift apart. After each
//! evaluation, the data that every window is heading for, `x̂ = x + (1 - t) v`, is given the mean and the deviation of
//! the reference's `x̂`, channel by channel (adaptive instance normalisation, arXiv 1703.06868).

use super::windows::Windows;

/// The time after which nothing is changed: what is left to go is too little to tell `x̂` by.
const LAST: f32 = 0.95;
/// How much a contrast is changed at most: down to, and up to.
const GAIN: [f32; 2] = [0.5, 2.0];

/// Floats of scratch memory for latents of `cells` in windows of `window` cells.
pub fn scratch(cells: usize, window: usize) -> usize {
    3 * cells + window
}

/// One channel of a latent, and where it is heading.
pub struct Heading<'a> {
    /// The state `[H, W]`.
    pub x: &'a [f32],
    /// Its velocity.
    pub v: &'a [f32],
}

impl Heading<'_> {
    fn estimates(&self, t: f32) -> impl Iterator<Item = f32> + Clone {
        self.x.iter().zip(self.v).map(move |(x, v)| x + (1.0 - t) * v)
    }
}

/// Writes to `change` what `image`'s velocity at `t` lacks for each window to be like `reference`; `weights` are those
/// of [`Windows::weigh`], `evaluation` places the windows. Nothing is changed near the end.
pub fn change(
    image: &Heading,
    reference: &Heading,
    t: f32,
    (windows, evaluation): (&Windows, usize),
    weights: [&[f32]; 2],
    scratch: &mut [f32],
    change: &mut [f32],
) {
    if t > LAST {
        change.fill(0.0);
        return;
    }
    let cells = image.x.len();
    let (estimate, rest) = scratch.split_at_mut(cells);
    let (gains, rest) = rest.split_at_mut(cells);
    let (offsets, rest) = rest.split_at_mut(cells);
    let window = &mut rest[..windows.area()];
    estimate.iter_mut().zip(image.estimates(t)).for_each(|(to, value)| *to = value);
    gains.fill(0.0);
    offsets.fill(0.0);
    let (mean, deviation) = moments(reference.estimates(t));
    for index in 0..windows.count() {
        windows.gather(estimate, index, evaluation, window);
        let (own_mean, own_deviation) = moments(window.iter().copied());
        let gain = if own_deviation > f32::EPSILON { deviation / own_deviation } else { 1.0 };
        let gain = gain.clamp(GAIN[0], GAIN[1]);
        window.fill(gain);
        windows.scatter(window, index, evaluation, weights, gains);
        window.fill(mean - gain * own_mean);
        windows.scatter(window, index, evaluation, weights, offsets);
    }
    for (((change, estimate), gain), offset) in change.iter_mut().zip(estimate).zip(gains).zip(offsets) {
        *change = (*gain * *estimate + *offset - *estimate) / (1.0 - t);
    }
}

/// Mean and standard deviation.
fn moments(values: impl Iterator<Item = f32> + Clone) -> (f32, f32) {
    let (count, sum) = values.clone().fold((0usize, 0.0), |(n, sum), value| (n + 1, sum + f64::from(value)));
    let mean = sum / count.max(1) as f64;
    let squares: f64 = values.map(|value| f64::from(value) - mean).map(|from| from * from).sum();
    (mean as f32, (squares / count.max(1) as f64).sqrt() as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows of `[16, 16]` over `[32, 48]`, and what `change` makes of `x̂ = x` (a velocity of 0) by a reference.
    fn changed(t: f32, image: impl Fn(usize) -> f32, reference: impl Fn(usize) -> f32) -> Vec<f32> {
        let windows = Windows::new([32, 48], [16, 16], [true, false]);
        let mut weights = [Vec::new(), Vec::new()];
        weights.iter_mut().enumerate().for_each(|(axis, weights)| windows.weigh(axis, weights).unwrap());
        let (x, still): (Vec<f32>, _) = ((0..32 * 48).map(image).collect(), vec![0.0; 32 * 48]);
        let (of_reference, at_rest): (Vec<f32>, _) = ((0..256).map(reference).collect(), vec![0.0; 256]);
        let (mut memory, mut change) = (vec![f32::NAN; scratch(x.len(), 256)], vec![f32::NAN; x.len()]);
        super::change(
            &Heading { x: &x, v: &still },
            &Heading { x: &of_reference, v: &at_rest },
            t,
            (&windows, 3),
            weights.each_ref().map(Vec::as_slice),
            &mut memory,
            &mut change,
        );
        x.iter().zip(change).map(|(x, change)| x + (1.0 - t) * change).collect()
    }

    #[test]
    fn every_place_takes_the_references_mean_and_contrast() {
        let wave = |i: usize| (i % 2) as f32 * 2.0 - 1.0;
        let made = changed(0.25, |i| 5.0 + (i % 48) as f32 * 0.1 + wave(i), |i| -2.0 + 1.5 * wave(i));
        for corner in [0, 20, 40, 16 * 48, 24 * 48 + 30] {
            let part: Vec<f32> =
                (0..8).flat_map(|y| (0..8).map(move |x| corner + y * 48 + x)).map(|i| made[i]).collect();
            let (mean, deviation) = moments(part.iter().copied());
            assert!(
                (mean + 2.0).abs() < 0.6 && (deviation - 1.5).abs() < 0.4,
                "{corner}: {mean}, {deviation}"
            );
        }
    }

    #[test]
    fn what_is_alike_already_stays_and_so_does_the_end() {
        let wave = |i: usize| (i % 2) as f32 * 2.0 - 1.0;
        for (i, value) in changed(0.5, wave, wave).into_iter().enumerate() {
            assert!((value - wave(i)).abs() < 1e-5);
        }
        assert_eq!(changed(0.99, |i| i as f32, wave)[..5], [0.0, 1.0, 2.0, 3.0, 4.0]);
        // A plain window is moved, not stretched without bound.
        assert!(changed(0.5, |_| 7.0, wave).into_iter().all(|value| value.abs() < 1e-5));
    }
}
