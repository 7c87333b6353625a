//! Generations that are stopped at each of their steps, by a cancel or by a panic.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use flowturbo::{CancelToken, ErrorKind, Parallel, Request, Session};

use crate::allocator::leaves_nothing;
use crate::{in_silence, load, request, root, tiny};

/// Lent threads that meddle: at one of the steps that they are given they do something else besides.
struct Meddling {
    runs: AtomicUsize,
    at: AtomicUsize,
    what: Mutex<Box<dyn Fn() + Send>>,
}

const NEVER: usize = usize::MAX;

impl Meddling {
    fn new() -> Arc<Self> {
        let nothing: Box<dyn Fn() + Send> = Box::new(|| {});
        Arc::new(Self { runs: 0.into(), at: NEVER.into(), what: Mutex::new(nothing) })
    }

    /// From now on: `what` at step `at`.
    fn does(&self, at: usize, what: impl Fn() + Send + 'static) {
        *self.what.lock().unwrap() = Box::new(what);
        self.rewind(at);
    }

    fn rewind(&self, at: usize) {
        self.runs.store(0, Ordering::Relaxed);
        self.at.store(at, Ordering::Relaxed);
    }

    fn runs(&self) -> usize {
        self.runs.load(Ordering::Relaxed)
    }
}

impl Parallel for Meddling {
    fn lanes(&self) -> usize {
        2
    }

    fn run(&self, body: &(dyn Fn(usize) + Sync)) {
        body(0);
        if self.runs.fetch_add(1, Ordering::Relaxed) == self.at.load(Ordering::Relaxed) {
            let what = self.what.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            what();
        }
        body(1);
    }
}

/// Bits of a request's latents, or of its images.
type Draw = fn(&mut Session, &Request) -> flowturbo::Result<Vec<u32>>;

fn latents(session: &mut Session, request: &Request) -> flowturbo::Result<Vec<u32>> {
    session.latents(request).map(|latents| latents.iter().map(|value| value.to_bits()).collect())
}

fn images(session: &mut Session, request: &Request) -> flowturbo::Result<Vec<u32>> {
    let bytes = session.generate(request)?.images.into_iter().flat_map(|image| image.rgb);
    Ok(bytes.map(u32::from).collect())
}

/// Sampling alone at each of its steps; an encoder and a decoder at a few.
fn cases() -> [(PathBuf, Request, Draw, usize); 2] {
    let with_init = Request::new(vec![1]).with_schedule("E1".parse().unwrap());
    let size = ndarray::Array4::from_elem((1, 3, 128, 128), 0.25);
    [
        (tiny(), request(), latents as Draw, 1),
        (root().join("models/textures"), with_init.with_init(size, 0.8), images, 7),
    ]
}

pub fn cancels() {
    for (bundle, request, draw, every) in cases() {
        let meddling = Meddling::new();
        let model = load(&bundle, &meddling).unwrap();
        let token = CancelToken::new();
        let request = request.with_cancel(token.clone());
        let mut session = model.session();
        let wanted = draw(&mut session, &request).unwrap();
        meddling.rewind(NEVER);
        draw(&mut session, &request).unwrap();
        let steps = meddling.runs();
        assert!(steps > 100, "{steps} steps");
        for at in (0..steps).step_by(every) {
            let of = token.clone();
            meddling.does(at, move || of.cancel());
            match draw(&mut session, &request) {
                Err(error) => assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}"),
                // Nobody asks after the last steps any more.
                Ok(drawn) => assert!(at + 4 > steps && drawn == wanted, "step {at} of {steps}"),
            }
            // Nothing is computed any more once it is seen.
            assert!(meddling.runs() <= at + 2, "{} steps after step {at}", meddling.runs());
            token.reset();
            assert!(draw(&mut session, &request).unwrap() == wanted, "after step {at} of {steps}");
        }
        let of = token.clone();
        meddling.does(steps / 2, move || of.cancel());
        leaves_nothing("cancels", || {
            meddling.rewind(steps / 2);
            draw(&mut session, &request).unwrap_err();
            token.reset();
            draw(&mut session, &request).unwrap();
        });
    }
}

/// Does `work`, which panics because it is asked to; nothing is printed.
fn panics_in<T>(work: impl FnOnce() -> T) {
    let outcome = catch_unwind(AssertUnwindSafe(work));
    let panic = outcome.err().expect("it was asked to panic");
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"asked to"));
}

pub fn panics() {
    in_silence(|| {
        for (bundle, request, draw, every) in cases() {
            let meddling = Meddling::new();
            let model = load(&bundle, &meddling).unwrap();
            let (mut other, wanted) = {
                let mut session = model.session();
                let wanted = draw(&mut session, &request).unwrap();
                (session, wanted)
            };
            meddling.rewind(NEVER);
            draw(&mut other, &request).unwrap();
            let steps = meddling.runs();
            meddling.does(NEVER, || panic!("asked to"));
            for at in (0..steps).step_by(every) {
                let mut session = model.session();
                meddling.rewind(at);
                panics_in(|| draw(&mut session, &request));
                // The same session, and others.
                assert!(draw(&mut session, &request).unwrap() == wanted, "after step {at} of {steps}");
                assert!(draw(&mut other, &request).unwrap() == wanted, "after step {at} of {steps}");
            }
            leaves_nothing("panics", || {
                meddling.rewind(steps / 2);
                panics_in(|| draw(&mut model.session(), &request));
            });
        }
    });
}
