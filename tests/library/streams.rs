//! The noise of each image: a seed and a stream of it.

use flowturbo::{ErrorKind, Model, Request};
use ndarray::{Array4, Axis};

use crate::common::{data, largest_error};

fn sample(model: &Model, request: Request) -> Array4<f32> {
    model.session().latents(&request.with_schedule("P2R1".parse().unwrap())).unwrap()
}

#[test]
fn any_image_of_a_batch_can_be_made_alone() {
    let model = Model::open(data("bundle")).unwrap();
    let classes = vec![3, 5, 3, 7];
    for change in [|r: Request| r, |r: Request| r.with_variation(9, 0.4), |r: Request| r.with_morph(1, 0.5)] {
        let all = sample(&model, change(Request::new(classes.clone()).with_seed(7)));
        for (i, &class) in classes.iter().enumerate() {
            let alone = Request::new(vec![class]).with_seed(7).with_streams(vec![i as u64]);
            let error = largest_error(&sample(&model, change(alone)), &all.select(Axis(0), &[i]));
            assert!(error < 1e-5, "image {i}: {error}");
        }
        let reversed = Request::new(vec![7, 3]).with_seed(7).with_streams(vec![3, 0]);
        let error = largest_error(&sample(&model, change(reversed)), &all.select(Axis(0), &[3, 0]));
        assert!(error < 1e-5, "{error}");
    }
}

#[test]
fn with_a_seed_each_images_are_those_of_requests_of_their_own() {
    let model = Model::open(data("bundle")).unwrap();
    for change in [|r: Request| r, |r: Request| r.with_variation(9, 0.4)] {
        let all = sample(&model, change(Request::new(vec![3, 3, 5]).with_seeds(vec![7, u64::MAX, 7])));
        for (i, (class, seed)) in [(3, 7), (3, u64::MAX), (5, 7)].into_iter().enumerate() {
            let alone = sample(&model, change(Request::new(vec![class]).with_seed(seed)));
            let error = largest_error(&alone, &all.select(Axis(0), &[i]));
            assert!(error < 1e-5, "image {i}: {error}");
        }
        let both = Request::new(vec![3]).with_seeds(vec![7]).with_streams(vec![2]);
        let third = Request::new(vec![3; 3]).with_seed(7);
        let third = sample(&model, change(third)).select(Axis(0), &[2]);
        assert!(largest_error(&sample(&model, change(both)), &third) < 1e-5);
    }
}

#[test]
fn there_is_one_for_each_image_or_none() {
    let model = Model::open(data("bundle")).unwrap();
    for (request, words) in [
        (Request::new(vec![3, 5]).with_seeds(vec![1]), "seeds: 1 for 2 images; give one for each"),
        (Request::new(vec![3]).with_streams(vec![0, 1]), "streams: 2 for 1 images; give one for each"),
    ] {
        let error = model.session().latents(&request).unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidArgument && error.to_string().contains(words), "{error}");
    }
}
