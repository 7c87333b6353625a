//! Requests that name a preset.

use std::collections::BTreeMap;

use flowturbo::{Bundle, ErrorKind, Model, ModelOptions, Preset, Request};

use crate::common::data;

/// The tiny model with a preset that differs from its defaults in both.
fn tuned() -> Bundle {
    let fast = Preset::new("H1P1R1".parse().unwrap(), 1.5);
    let presets = BTreeMap::from([("fast".to_owned(), fast)]);
    Bundle::open(data("bundle")).unwrap().with_presets(&presets).unwrap()
}

#[test]
fn a_preset_stands_in_for_the_schedule_and_the_guidance_that_a_request_leaves_open() {
    let mut session = Model::load(tuned(), &ModelOptions::default()).unwrap().session();
    let request = || Request::new(vec![3]).with_seed(5);
    let mut latents = |request: Request| session.latents(&request).unwrap();
    let written = |schedule: &str, guidance: f32| {
        request().with_schedule(schedule.parse().unwrap()).with_guidance(guidance)
    };
    let named = || request().with_preset("fast");
    for (request, same) in [
        (request(), written("H1P5R3", 4.0)),
        (named(), written("H1P1R1", 1.5)),
        (named().with_guidance(1.0), written("H1P1R1", 1.0)),
        (named().with_schedule("E3".parse().unwrap()), written("E3", 1.5)),
        (written("E3", 2.0).with_preset("fast"), written("E3", 2.0)),
    ] {
        assert_eq!(latents(request.clone()), latents(same), "{request:?}");
    }
}

#[test]
fn an_unknown_preset_is_refused_and_the_others_are_listed() {
    let error = Request::new(vec![3]).with_preset("slow").check(&tuned()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(error.to_string(), "no preset 'slow'; bundle 'tiny-sit' has fast");
}
