//! Planning: what ends it, and what it takes.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flowturbo::{Bundle, CancelToken, ErrorKind, Limits, Model, ModelOptions, Output, Request, Source};

use crate::common::data;
use crate::textures;

fn load(limits: &Limits) -> flowturbo::Result<Model> {
    Model::load(Bundle::open_with(data("bundle"), limits)?, &ModelOptions::default().with_threads(1))
}

#[test]
fn a_network_above_a_limit_is_refused_by_file_number_and_limit() {
    let limits = Limits::default();
    for (limits, words) in [
        (
            limits.clone().with_max_weight_bytes(12_345),
            ["weights, above the limit of 12345", "(max_weight_bytes)"],
        ),
        (
            limits.clone().with_max_arena_bytes(12_345),
            ["scratch memory, above the limit of 12345", "(max_arena_bytes)"],
        ),
        (limits.with_max_planning(Duration::ZERO), ["longer than the limit of 0ns", "(max_planning)"]),
    ] {
        let error = load(&limits).unwrap_err();
        println!("{error}");
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
        for word in words {
            assert!(error.to_string().contains(word), "{error}");
        }
    }
    let named = load(&Limits::default().with_max_arena_bytes(12_345)).unwrap_err();
    assert!(named.to_string().starts_with("predictor.onnx: "), "{named}");
}

/// A folder that cancels a token at one of the reads.
struct Watched {
    folder: PathBuf,
    reads: Arc<AtomicUsize>,
    last: usize,
    cancel: CancelToken,
}

impl Source for Watched {
    fn size(&self, name: &str) -> io::Result<u64> {
        std::fs::metadata(self.folder.join(name)).map(|there| there.len())
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if self.reads.fetch_add(1, Ordering::Relaxed) == self.last {
            self.cancel.cancel();
        }
        let bytes = std::fs::read(self.folder.join(name))?;
        let from = usize::try_from(offset).unwrap();
        buffer.copy_from_slice(&bytes[from..from + buffer.len()]);
        Ok(())
    }

    fn describe(&self) -> String {
        "watched".to_owned()
    }
}

#[test]
fn a_token_cancelled_at_any_read_ends_loading() {
    let load = |last: usize| {
        let (reads, cancel) = (Arc::new(AtomicUsize::new(0)), CancelToken::new());
        let source =
            Watched { folder: data("bundle"), reads: Arc::clone(&reads), last, cancel: cancel.clone() };
        let bundle = Bundle::from_source(source, &Limits::default()).unwrap();
        let opened = reads.load(Ordering::Relaxed);
        let options = ModelOptions::default().with_threads(1).with_cancel(cancel);
        (Model::load(bundle, &options).map(drop), opened, reads.load(Ordering::Relaxed))
    };
    let (whole, opened, all) = load(usize::MAX);
    whole.unwrap();
    assert!(all > opened + 10, "{opened} {all}");
    // The very last read may be the end of all work.
    for last in (opened..all - 1).step_by((all - opened) / 8) {
        let (ended, _, reads) = load(last);
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::Cancelled, "read {last} of {all}");
        assert!(reads < all, "read {last} of {all}: went on to {reads}");
    }
}

#[test]
fn a_request_that_is_cancelled_while_it_is_planned_ends_and_the_next_one_works() {
    let model =
        Model::load(Bundle::open(textures()).unwrap(), &ModelOptions::default().with_threads(1)).unwrap();
    let cancel = CancelToken::new();
    let request =
        |size: usize| Request::new(vec![4]).with_size(size, size).with_schedule("E1".parse().unwrap());
    cancel.cancel();
    let cancelled = request(1024).with_cancel(cancel.clone());
    let error = model.prepare(&cancelled, Output::Images).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(model.session().prepare(&cancelled, Output::Images).unwrap_err().kind(), ErrorKind::Cancelled);
    cancel.reset();
    model.prepare(&cancelled, Output::Images).unwrap();
}

#[test]
fn planning_takes_about_as_long_for_every_size() {
    let model =
        Model::load(Bundle::open(textures()).unwrap(), &ModelOptions::default().with_threads(1)).unwrap();
    let took = |size: usize| {
        let request = Request::new(vec![4]).with_size(size, size).with_schedule("E1".parse().unwrap());
        let start = Instant::now();
        let memory = model.prepare(&request, Output::Images).unwrap();
        (start.elapsed(), memory.session)
    };
    // The first time for another size than the bundle's own.
    took(256);
    let ((small, few), (large, much)) = (took(512), took(4096));
    println!("512: {small:?}, 4096: {large:?}");
    assert!(much > 40 * few, "{few} {much}");
    // By area it would be 64 times as long.
    assert!(large < 16 * small + Duration::from_secs(1), "{small:?} {large:?}");
}
