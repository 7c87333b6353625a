//! Images larger than the networks' own: one material, that of the image that the seed makes at their own size.

use flowturbo::{Model, Request, Seamless};
use ndarray::{Array4, ArrayView3, ArrayView4, Axis, s};

use crate::textures;

fn request(class: i64) -> Request {
    Request::new(vec![class]).with_seed(0).with_seamless(Seamless::Both)
}

/// Mean and deviation of each channel.
fn moments(latent: ArrayView3<f32>) -> Vec<(f32, f32)> {
    latent.outer_iter().map(|channel| (channel.mean().unwrap(), channel.std(0.0))).collect()
}

/// How far the means of `latent`'s channels are from `own`'s, and how much their deviations differ, on the whole.
fn unlike(latent: ArrayView3<f32>, own: ArrayView3<f32>) -> (f32, f32) {
    let (ours, theirs) = (moments(latent), moments(own));
    let pairs = || ours.iter().zip(&theirs);
    let means = pairs().map(|((a, _), (b, _))| (a - b).powi(2)).sum::<f32>() / ours.len() as f32;
    let contrasts = pairs().map(|((_, a), (_, b))| (a / b).ln().abs()).sum::<f32>() / ours.len() as f32;
    (means.sqrt(), contrasts)
}

fn quarters(latents: ArrayView4<'_, f32>) -> Vec<Array4<f32>> {
    let [_, _, height, width] = *latents.shape() else { unreachable!() };
    let (h, w) = (height / 2, width / 2);
    [(0, 0), (0, w), (h, 0), (h, w)]
        .map(|(y, x)| latents.slice(s![.., .., y..y + h, x..x + w]).to_owned())
        .to_vec()
}

#[test]
fn each_quarter_of_a_larger_image_is_of_the_material_of_the_small_one() {
    let mut session = Model::open(textures()).unwrap().session();
    // Brick, paving and wood, which fell apart most.
    for class in [0, 6, 10] {
        let own = session.latents(&request(class)).unwrap();
        let large = session.latents(&request(class).with_size(384, 384)).unwrap();
        for quarter in quarters(large.view()) {
            let (means, contrasts) = unlike(quarter.index_axis(Axis(0), 0), own.index_axis(Axis(0), 0));
            println!("class {class}: means {means:.3} apart, contrasts by {contrasts:.3}");
            assert!(means < 0.15 && contrasts < 0.25, "class {class}: {means}, {contrasts}");
        }
    }
}

/// Each has its own, whatever the others are.
#[test]
fn images_of_one_request_follow_their_own() {
    let mut session = Model::open(textures()).unwrap().session();
    let mut latents =
        |request: Request| session.latents(&request.with_schedule("H2".parse().unwrap())).unwrap();
    let two = |size: Option<usize>| {
        let request = Request::new(vec![4, 9]).with_seeds(vec![3, 8]);
        size.map_or(request.clone(), |size| request.with_size(128, size))
    };
    let (own, large) = (latents(two(None)), latents(two(Some(256))));
    for (i, large) in large.outer_iter().enumerate() {
        let [same, other] = [i, 1 - i].map(|k| unlike(large, own.index_axis(Axis(0), k)).0);
        assert!(same < 0.2 && other > 2.0 * same, "image {i}: {same} from its own, {other} from the other's");
    }
}

/// An image to begin with says what it is to look like: here dark on the left and light on the right.
#[test]
fn what_begins_with_an_image_follows_nothing_else() {
    let mut session = Model::open(textures()).unwrap().session();
    let init = Array4::from_shape_fn((1, 3, 128, 512), |(_, _, _, x)| if x < 256 { -0.7 } else { 0.7 });
    let request = Request::new(vec![4]).with_size(128, 512).with_init(init, 0.4);
    let image = session.generate(&request).unwrap().images.remove(0);
    let mean = |from: usize, to: usize| {
        let rows = image.rgb.chunks_exact(512 * 3);
        let sum: u32 = rows.flat_map(|row| &row[from * 3..to * 3]).map(|&value| u32::from(value)).sum();
        sum / ((to - from) * 3 * 128) as u32
    };
    let (left, right) = (mean(0, 192), mean(320, 512));
    assert!(left + 80 < right, "{left} on the left, {right} on the right");
}
