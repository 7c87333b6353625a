//! A plan file whose plans are changed byte by byte, its hashes right: an error, or images of whatever it says.
#![no_main]

use std::sync::{Once, OnceLock};

use flowturbo::{Bundle, Model, ModelOptions, PlanOptions, Precision, Request, Target, compile};
use flowturbo_fuzz::{check, contain_panics, limits};
use libfuzzer_sys::fuzz_target;

#[path = "../../tests/common/plan_bytes.rs"]
mod plan_bytes;

/// The tiny SiT of the tests: as its files have it, and packed in bytes for this processor.
fn good() -> &'static [Vec<u8>; 2] {
    static GOOD: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
    GOOD.get_or_init(|| {
        let native = (Target::of_this_processor(), Precision::Int8);
        [(Target::Generic, Precision::F32), native].map(|(target, precision)| {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/tiny-sit/bundle");
            let options = PlanOptions::default().with_target(target).with_precision(precision);
            let mut plan = Vec::new();
            compile(Bundle::open(folder).expect("the tests'"), &options, &mut plan).expect("the tests do so");
            plan
        })
    })
}

/// Which plan it is of, then five bytes a change: which of the two networks' plans, where, and what becomes of the byte
/// there.
fn changed(data: &[u8]) -> Vec<u8> {
    let (which, data) = data.split_first().unwrap_or((&0, &[]));
    let mut plan = good()[usize::from(which % 2)].clone();
    let sections = plan_bytes::sections(&plan);
    // Behind the manifest come each network's weights and its plans.
    for change in data.chunks_exact(5) {
        let place = u32::from_le_bytes([change[1], change[2], change[3], 0]) as usize;
        let section = &sections[2 + 2 * usize::from(change[0] % 2)];
        plan[section.start + place % section.len()] ^= change[4];
    }
    [2, 4].into_iter().for_each(|index| _ = plan_bytes::sign_section(&mut plan, index));
    plan
}

fuzz_target!(|data: &[u8]| {
    static QUIET: Once = Once::new();
    QUIET.call_once(contain_panics);
    let request = Request::new(vec![1]).with_schedule("H1R1".parse().expect("a schedule"));
    let made = Bundle::from_bytes(changed(data), &limits())
        .and_then(|bundle| Model::load(bundle, &ModelOptions::default().with_threads(1)))
        .and_then(|model| model.session().latents(&request));
    if let Err(error) = made {
        check(&error);
    }
});
