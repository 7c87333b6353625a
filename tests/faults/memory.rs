//! Memory that the system refuses, at each request for some of it: an error that says how much it was, after which
//! nothing is left and the same call works; or done without.
//!
//! Small pieces are Rust's own to ask for, and where they are refused the process ends. So does what prost and tract
//! ask for while they read a graph: pieces that follow from its number of nodes, and weights below 64 KiB.

use std::path::Path;

use crate::capi::status::FT_ERROR_OUT_OF_MEMORY;
use flowturbo::{Bundle, ErrorKind, Model, ModelOptions, Output, Request};

use crate::allocator::{peak, refusing, within};
use crate::program::{self, Status};
use crate::split::{Tally, at_each, child};
use crate::{request, root, tiny};

/// Requests for less are small pieces.
const SMALL: isize = 8 << 10;

/// `FLOWTURBO_FAULTS_FROM` sets another size.
fn small() -> usize {
    std::env::var("FLOWTURBO_FAULTS_FROM").map_or(SMALL as usize, |from| from.parse().unwrap())
}

fn load(bundle: &Path) -> flowturbo::Result<Model> {
    Model::load(Bundle::open(bundle)?, &ModelOptions::default().with_threads(1))
}

fn refused(what: &str, work: impl FnMut() -> flowturbo::Result<()>) -> Tally {
    let fits = |error: &flowturbo::Error| match error.kind() {
        ErrorKind::OutOfMemory if error.to_string().contains("bytes") => Ok(()),
        kind => Err(format!("{kind:?}")),
    };
    refusing(small(), || at_each(what, work, fits))
}

pub fn while_generating() {
    let textures = load(&root().join("models/textures")).unwrap();
    for model in [load(&tiny()).unwrap(), textures.clone()] {
        // A new session each time: it has no memory yet.
        let latents = refused("latents", || model.session().latents(&request()).map(drop));
        assert!(latents.errors > 5 && latents.ends == 0, "{latents:?}");
        let pack = refused("a packed bundle", || model.bundle().write_zip(std::io::sink()));
        assert!(pack.errors > 0 && pack.ends == 0, "{pack:?}");
    }
    let init = ndarray::Array4::from_elem((1, 3, 128, 128), 0.25);
    let mask = ndarray::Array3::from_elem((1, 128, 128), 0.5);
    let edit = Request::new(vec![1, 2]).with_schedule("E1".parse().unwrap()).with_variation(3, 0.5);
    let edit = edit.with_init(init.clone(), 0.8).with_mask(mask);
    let images = refused("images", || textures.session().generate(&edit).map(drop));
    assert!(images.errors > 10 && images.ends == 0, "{images:?}");
    let coding = refused("encoding and decoding", || {
        let mut session = textures.session();
        let latents = session.encode(init.view())?;
        flowturbo::to_pixels(session.decode(latents.view())?.view()).map(drop)
    });
    assert!(coding.errors > 10 && coding.ends == 0, "{coding:?}");
}

pub fn while_planning() {
    let model = load(&tiny()).unwrap();
    // Of three sizes none is among the two that are kept.
    let planning = refused("planning", || {
        [2, 3, 4]
            .into_iter()
            .try_for_each(|images| model.prepare(&Request::new(vec![1; images]), Output::Latents).map(drop))
    });
    assert!(planning.errors > 10 && planning.strange == 0, "{planning:?}");
}

pub fn while_loading() {
    for bundle in [tiny(), root().join("models/textures")] {
        let loading = refused("loading", || load(&bundle).map(drop));
        assert!(loading.errors > 30 && loading.strange == 0, "{loading:?}");
    }
}

/// As in a process that may have so much memory and no more: a status, whatever the limit up to 95 % of what loading
/// takes. Above, a small piece may be the one that is refused.
pub fn with_too_little() {
    for bundle in [tiny(), root().join("models/textures")] {
        load(&bundle).unwrap();
        let most = peak(|| drop(load(&bundle).unwrap()));
        // Before anything is asked for, the name of the bundle takes some.
        let (mut enough, mut ended) = (0, Vec::new());
        for part in 0..=95 {
            let (status, said) = child(|| match within(SMALL + most / 100 * part, || load(&bundle)) {
                Ok(_) => true,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{error}");
                    drop(error);
                    load(&bundle).unwrap();
                    false
                }
            });
            if status.is_none() || said.contains("panicked") {
                ended.push(format!("{part} of 100 parts of {most} bytes: {said}"));
            }
            enough += usize::from(status == Some(0));
        }
        println!("{most} bytes at most, {enough} of 96 parts are enough");
        assert!(ended.is_empty() && enough < 50, "{enough}, {}", ended.join("\n"));
    }
}

/// The same statuses, and one more file that is written.
pub fn of_a_c_program() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.png");
    let model =
        program::Model::open(&root().join("models/textures")).map_err(|error| error.to_string()).unwrap();
    let fits = |error: &Status| match error.0 {
        FT_ERROR_OUT_OF_MEMORY => Ok(()),
        status => Err(format!("{status}")),
    };
    let drawing = refusing(small(), || at_each("a C program", || model.draw(&path), fits));
    // The encoder of PNG files takes pieces that do not grow with the image.
    assert!(drawing.errors > 10 && drawing.strange == 0 && drawing.largest < 100_000, "{drawing:?}");
}
