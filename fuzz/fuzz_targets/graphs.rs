//! Valid graphs of random operators: the fused kernels' numbers are plain tract's.
#![no_main]

use flowturbo::{BackendKind, ErrorKind};
use flowturbo_fuzz::{Plan, bundle, check, is_outside, sample};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|data: &[u8]| -> Corpus {
    let Some(plan) = Plan::read(data) else { return Corpus::Reject };
    let file = plan.write();
    let run = |backend| bundle(file.clone()).and_then(|bundle| sample(bundle, backend));
    match (run(BackendKind::Fused), run(BackendKind::Reference)) {
        (Ok(ours), Ok(theirs)) => {
            let most = theirs.iter().fold(1.0, |most: f32, v| most.max(v.abs()));
            let apart = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart <= 1e-3 * most, "off by {apart} of {most}: {plan:?}");
        }
        (Err(ours), theirs) => {
            check(&ours);
            if is_outside(&ours) {
                return Corpus::Reject;
            }
            let theirs = theirs.err().map(|error| error.kind());
            // Numbers that are no longer finite may show in another step of the arithmetic.
            assert!(
                ours.kind() == ErrorKind::NonFinite || theirs == Some(ours.kind()),
                "refused by one backend only: {ours}: {plan:?}"
            );
        }
        (Ok(_), Err(theirs)) => assert!(theirs.kind() == ErrorKind::NonFinite, "{theirs}: {plan:?}"),
    }
    Corpus::Keep
});
