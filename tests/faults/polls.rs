//! A cancel, and a panic of the application's own, whenever its token is asked or its observer called: while a bundle
//! is hashed, imported and planned, while conditions are computed, while images are encoded, sampled and decoded.

use std::ops::ControlFlow;
use std::path::Path;

use flowturbo::{CancelToken, ErrorKind, Model, ModelOptions, Output, Request, Result};

use crate::split::{at_each, here, is_faulty};
use crate::{in_silence, open, request, root, tiny};

fn load(bundle: &Path, cancel: &CancelToken) -> Result<Model> {
    Model::load(open(bundle), &ModelOptions::default().with_threads(1).with_cancel(cancel.clone()))
}

/// Whatever asks a token: loading, planning other sizes, computing conditions, generating.
fn each(token: &CancelToken, mut at_each: impl FnMut(&str, usize, &mut dyn FnMut() -> Result<()>)) {
    let never = CancelToken::new();
    let [tiny, textures] = [tiny(), root().join("models/textures")];
    at_each("loading", 100, &mut || load(&tiny, token).map(drop));
    at_each("loading a model with images", 500, &mut || load(&textures, token).map(drop));
    let model = load(&tiny, &never).unwrap();
    // Of three sizes none is among the two that are kept.
    at_each("planning", 100, &mut || {
        [2, 3, 4].into_iter().try_for_each(|images| {
            let request = Request::new(vec![1; images]).with_cancel(token.clone());
            model.prepare(&request, Output::Latents).map(drop)
        })
    });
    let asking = request().with_cancel(token.clone());
    at_each("conditions", 10, &mut || load(&tiny, &never)?.session().prepare(&asking, Output::Latents));
    at_each("sampling", 100, &mut || model.session().latents(&asking).map(drop));
    let model = load(&textures, &never).unwrap();
    let init = ndarray::Array4::from_elem((1, 3, 128, 128), 0.25);
    let edit = Request::new(vec![1]).with_schedule("E1".parse().unwrap()).with_init(init, 0.8);
    let edit = edit.with_cancel(token.clone());
    at_each("encoding and decoding", 100, &mut || model.session().generate(&edit).map(drop));
}

/// A fault of this token ends what asked it with an error of this kind.
fn ends_with(wanted: ErrorKind, token: &CancelToken) {
    each(token, |what, least, work| {
        let tally = at_each(what, work, |error| match error.kind() {
            kind if kind == wanted => Ok(()),
            kind => Err(format!("{kind:?}")),
        });
        assert!(tally.places >= least && tally.without + tally.ends == 0, "{what}: {tally:?}");
    });
}

pub fn cancels() {
    ends_with(ErrorKind::Cancelled, &CancelToken::from_fn(|| here(0) || is_faulty()));
}

pub fn panics() {
    let token = CancelToken::from_fn(|| if here(0) { panic!("asked to") } else { false });
    in_silence(|| ends_with(ErrorKind::Runtime, &token));
}

pub fn of_observers() {
    let never = CancelToken::new();
    let model = load(&root().join("models/textures"), &never).unwrap();
    let request = Request::new(vec![1, 2]).with_schedule("H1R1".parse().unwrap());
    in_silence(|| {
        for fault in [|| ControlFlow::Break(()), || panic!("asked to")] as [fn() -> ControlFlow<()>; 2] {
            let mut observer =
                |_: &flowturbo::Progress| if here(0) { fault() } else { ControlFlow::Continue(()) };
            let work = || model.session().generate_with(&request, &mut observer).map(drop);
            let tally = at_each("observers", work, |error| match error.kind() {
                ErrorKind::Cancelled => Ok(()),
                kind => Err(format!("{kind:?}")),
            });
            // Two steps and two images.
            assert_eq!((tally.places, tally.errors), (4, 4));
        }
    });
}
