//! A generation a little at a time, what it looks like meanwhile, and what memory it takes.

use std::ops::ControlFlow;
use std::time::Duration;

use flowturbo::{
    CancelToken, ErrorKind, Model, Output, PixelFormat, Pixels, PreviewKind, Progress, Request, Session,
};

use ndarray::Array4;

use crate::textures;

const IMAGE: usize = 128 * 128 * 3;
const LATENT: usize = 8 * 16 * 16;

fn request(schedule: &str) -> Request {
    Request::new(vec![2, 7]).with_seed(5).with_schedule(schedule.parse().unwrap())
}

fn go_on(_: &Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Steps until everything is done; gives the number of calls.
fn drive(session: &mut Session, budget: Option<Duration>) -> usize {
    let mut calls = 1;
    while !session.step(budget, &mut go_on).unwrap() {
        calls += 1;
    }
    calls
}

/// Answers that take several calls of a network, and images to be encoded first.
#[test]
fn windows_and_edits_go_a_little_at_a_time_and_are_given_up_as_anything_is() {
    let model = Model::open(textures()).unwrap();
    let mut session = model.session();
    let wide = Request::new(vec![2]).with_seed(5).with_size(256, 256).with_schedule("E2".parse().unwrap());
    let init = Array4::from_shape_fn([2, 3, 128, 128], |(i, c, y, x)| ((i + c + y * x) % 7) as f32 / 7.0);
    let edit = request("H1R1").with_init(init, 0.7);
    for (request, output) in [(&wide, Output::Latents), (&edit, Output::Latents)] {
        let whole = session.latents(request).unwrap();
        let mut small = vec![0; whole.len() / 8 * 3];
        for budget in [Duration::ZERO, Duration::from_micros(700)] {
            session.begin(request, output).unwrap();
            while !session.step(Some(budget), &mut go_on).unwrap() {
                session.preview_into(PreviewKind::Linear, &mut Pixels::rgb8(&mut small)).unwrap();
            }
            assert_eq!(session.last_latents().unwrap(), whole);
        }
        // Half-way through an answer or an encoding, then something else, then again.
        for steps in [1, 30, 90] {
            session.begin(request, output).unwrap();
            for _ in 0..steps {
                session.step(Some(Duration::ZERO), &mut go_on).unwrap();
            }
            session.begin(request, output).unwrap();
            request.cancel.cancel();
            assert_eq!(session.step(None, &mut go_on).unwrap_err().kind(), ErrorKind::Cancelled);
            request.cancel.reset();
        }
        assert_eq!(session.latents(request).unwrap(), whole);
    }
}

/// A preview half-way through a step's answer shows the velocity of the step before, not a part of the answer.
#[test]
fn previews_do_not_see_half_an_answer() {
    let model = Model::open(textures()).unwrap();
    let mut session = model.session();
    let request = Request::new(vec![2]).with_size(256, 256).with_schedule("E3".parse().unwrap());
    session.begin(&request, Output::Latents).unwrap();
    assert!(!session.step(None, &mut go_on).unwrap());
    let mut shown = [vec![0; 32 * 32 * 3], vec![0; 32 * 32 * 3]];
    session.preview_into(PreviewKind::Linear, &mut Pixels::rgb8(&mut shown[0])).unwrap();
    while session.steps().unwrap().0 == 1 {
        session.preview_into(PreviewKind::Linear, &mut Pixels::rgb8(&mut shown[1])).unwrap();
        assert!(shown[0] == shown[1], "the preview changed in the middle of a step");
        session.step(Some(Duration::ZERO), &mut go_on).unwrap();
    }
}

#[test]
fn a_budget_of_any_size_makes_the_same_image() {
    let model = Model::open(textures()).unwrap();
    let request = request("H1P2R1E1");
    let whole = model.session().generate(&request).unwrap();
    let mut session = model.session();
    // The smallest budget is one operation at a time, some dozens for each call of a network.
    for (budget, calls) in [
        (Some(Duration::from_nanos(1)), 200..100_000),
        (Some(Duration::from_millis(2)), 4..500),
        (Some(Duration::MAX), 1..2),
        // Five steps, two images.
        (None, 7..8),
    ] {
        session.begin(&request, Output::Images).unwrap();
        let made = drive(&mut session, budget);
        assert!(calls.contains(&made), "{budget:?}: {made} calls");
        let mut rgb = vec![0; 2 * IMAGE];
        session.finish_into(&mut Pixels::rgb8(&mut rgb), &mut go_on).unwrap();
        assert!(whole.images.iter().flat_map(|image| &image.rgb).eq(&rgb), "{budget:?}");
        assert_eq!(session.last_latents().unwrap(), whole.latents);
    }
}

#[test]
fn the_observer_hears_of_each_step_once_however_it_is_cut() {
    let model = Model::open(textures()).unwrap();
    let mut session = model.session();
    session.begin(&request("H1P2R1"), Output::Latents).unwrap();
    let mut heard = Vec::new();
    let mut observer = |progress: &Progress| {
        heard.push((progress.step, progress.steps, progress.kind.letter()));
        ControlFlow::Continue(())
    };
    while !session.step(Some(Duration::from_micros(200)), &mut observer).unwrap() {}
    assert_eq!(heard, [(1, 4, 'H'), (2, 4, 'P'), (3, 4, 'P'), (4, 4, 'R')]);
}

#[test]
fn finishing_does_what_is_left_and_may_be_repeated_in_another_format() {
    let model = Model::open(textures()).unwrap();
    let request = request("P2");
    let whole = model.session().generate(&request).unwrap();
    let mut session = model.session();
    session.begin(&request, Output::Images).unwrap();
    session.step(Some(Duration::from_micros(1)), &mut go_on).unwrap();
    // Memory of another size does not end the generation.
    let error = session.finish_into(&mut Pixels::rgb8(&mut [0; 5]), &mut go_on).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    let (mut rgb, mut bgra) = (vec![0; 2 * IMAGE], vec![0; 2 * IMAGE / 3 * 4]);
    session.finish_into(&mut Pixels::rgb8(&mut rgb), &mut go_on).unwrap();
    session.finish_into(&mut Pixels::new(PixelFormat::Bgra8, &mut bgra), &mut go_on).unwrap();
    assert!(whole.images.iter().flat_map(|image| &image.rgb).eq(&rgb));
    let back = bgra.chunks_exact(4).flat_map(|pixel| [pixel[2], pixel[1], pixel[0]]);
    assert!(back.eq(rgb.iter().copied()) && bgra.iter().skip(3).step_by(4).all(|&alpha| alpha == 255));
}

#[test]
fn what_is_asked_out_of_turn_is_refused() {
    let model = Model::open(textures()).unwrap();
    let mut session = model.session();
    let mut rgb = vec![0; 2 * IMAGE];
    let refused = |outcome: flowturbo::Result<()>, part: &str| {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains(part), "{error}");
    };
    refused(session.step(None, &mut go_on).map(drop), "no generation was begun");
    refused(session.finish_into(&mut Pixels::rgb8(&mut rgb), &mut go_on), "no generation was begun");
    refused(
        session.preview_into(PreviewKind::Linear, &mut Pixels::rgb8(&mut rgb)),
        "no generation was begun",
    );
    session.begin(&request("H1P1"), Output::Latents).unwrap();
    refused(session.last_latents().map(drop), "has steps left");
    refused(session.finish_into(&mut Pixels::rgb8(&mut rgb), &mut go_on), "latents alone");
    drive(&mut session, None);
    session.last_latents().unwrap();
}

#[test]
fn a_generation_that_is_given_up_leaves_nothing_behind() {
    let model = Model::open(textures()).unwrap();
    let (mut session, wanted) = (model.session(), model.session().latents(&request("H1R1")).unwrap());
    let little = Some(Duration::from_micros(300));
    // By another begin, by a request, by a stop, by its token; in the middle of a network or of the decoder.
    session.begin(&request("H2P3"), Output::Images).unwrap();
    session.step(little, &mut go_on).unwrap();
    session.begin(&request("H2P3"), Output::Images).unwrap();
    session.step(little, &mut go_on).unwrap();
    assert_eq!(session.latents(&request("H1R1")).unwrap(), wanted);
    let cancel = CancelToken::new();
    session.begin(&request("E1").with_cancel(cancel.clone()), Output::Images).unwrap();
    assert!(!session.step(None, &mut go_on).unwrap());
    session.step(little, &mut go_on).unwrap();
    // The decoder that is half-way is asked for something else, and goes on.
    let alone = model.session().decode(wanted.view()).unwrap();
    assert_eq!(session.decode(wanted.view()).unwrap(), alone);
    cancel.cancel();
    let error = session.step(Some(Duration::MAX), &mut go_on).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(session.step(None, &mut go_on).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(session.latents(&request("H1R1")).unwrap(), wanted);
}

/// The mean difference from `wanted`, in 0..=255.
fn apart(found: &[u8], wanted: &[u8]) -> f64 {
    let difference = |(a, b): (&u8, &u8)| f64::from(a.abs_diff(*b));
    found.iter().zip(wanted).map(difference).sum::<f64>() / found.len() as f64
}

/// Images of 128 x 128 pixels at an eighth of their size.
fn small(rgb: &[u8]) -> Vec<u8> {
    let sum = |image: usize, y: usize, x: usize, colour: usize| -> u32 {
        let pixels = (0..64).map(|i| (image * 128 + 8 * y + i / 8) * 128 + 8 * x + i % 8);
        pixels.map(|pixel| u32::from(rgb[3 * pixel + colour])).sum()
    };
    (0..rgb.len() / 64).map(|i| (sum(i / 768, i / 48 % 16, i / 3 % 16, i % 3) / 64) as u8).collect()
}

#[test]
fn previews_come_closer_to_the_image() {
    let model = Model::open(textures()).unwrap();
    let request = request("H1P5R3");
    let images = model.session().generate(&request).unwrap().images;
    let whole: Vec<u8> = images.into_iter().flat_map(|image| image.rgb).collect();
    let wanted = small(&whole);
    let mut session = model.session();
    let (mut linear, mut decoded) = (Vec::new(), Vec::new());
    let mut observed = Vec::new();
    session.begin(&request, Output::Images).unwrap();
    loop {
        let (mut tiny, mut large) = (vec![0; 2 * 16 * 16 * 3], vec![0; 2 * IMAGE]);
        session.preview_into(PreviewKind::Linear, &mut Pixels::rgb8(&mut tiny)).unwrap();
        session.preview_into(PreviewKind::Decoded, &mut Pixels::rgb8(&mut large)).unwrap();
        linear.push(apart(&tiny, &wanted));
        decoded.push(apart(&large, &whole));
        let mut observer = |progress: &Progress| {
            let mut tiny = vec![0; 2 * 16 * 16 * 3];
            progress.preview_into(&mut Pixels::rgb8(&mut tiny)).unwrap();
            if progress.decoded == 0 {
                observed.push(apart(&tiny, &wanted));
            }
            ControlFlow::Continue(())
        };
        if session.step(None, &mut observer).unwrap() {
            break;
        }
    }
    println!("mean difference: linear {linear:.1?}, decoded {decoded:.1?}");
    assert_eq!(observed, linear[1..10]);
    // Of the last latent the decoder makes the image itself.
    assert_eq!(decoded[9], 0.0);
    assert!(decoded[1] < 0.7 * decoded[0] && decoded[5] < 0.7 * decoded[1], "{decoded:?}");
    assert!(linear[9] < 0.5 * linear[0] && linear[9] < 25.0, "{linear:?}");
}

#[test]
fn memory_is_told_before_it_is_taken() {
    let model = Model::open(textures()).unwrap();
    let request = request("H1R1");
    let images = model.prepare(&request, Output::Images).unwrap();
    let latents = model.prepare(&request, Output::Latents).unwrap();
    assert!(images.session > latents.session + 2 * IMAGE * 4, "{images:?}, {latents:?}");
    assert!(images.model > latents.model);
    // No refiner, half the batch: less of everything.
    let less =
        model.prepare(&request.with_guidance(1.0).with_schedule("H1".parse().unwrap()), Output::Latents);
    let less = less.unwrap();
    assert!(less.session < latents.session && less.model < latents.model, "{less:?}");
    let wrong = Request::new(vec![99]);
    assert_eq!(model.prepare(&wrong, Output::Latents).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(LATENT, model.session().latents(&Request::new(vec![0])).unwrap().len());
}
