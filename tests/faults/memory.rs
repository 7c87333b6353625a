//! Memory that the system refuses.
//!
//! What is asked for through our own fallible paths is an error; Rust's collections and tract end the process when a
//! request of theirs is refused, so only requests from [`FALLIBLE`] bytes on are refused here: those whose size a file or a
//! request decides.

use flowturbo::{Model, ModelOptions};

use crate::allocator::{leaves_nothing, refusing};
use crate::{open, request, root, tiny};

/// From so many bytes on every request for memory may be refused.
const FALLIBLE: usize = 1 << 16;

pub fn refused() {
    for bundle in [tiny(), root().join("models/textures")] {
        let load = || Model::load(open(&bundle), &ModelOptions::default().with_threads(1));
        let model = load().unwrap();
        let mut refusals = 0;
        let mut each = |what: &str, work: &dyn Fn() -> flowturbo::Result<()>| {
            for n in 0.. {
                let (outcome, refused) = refusing(n, FALLIBLE, work);
                match outcome {
                    Ok(()) if !refused => break,
                    Ok(()) => {}
                    Err(error) => {
                        refusals += 1;
                        assert_eq!(format!("{:?}", error.kind()), "OutOfMemory", "{what}, {n}: {error}");
                        leaves_nothing(what, || drop(refusing(n, FALLIBLE, work)));
                    }
                }
                work().unwrap();
            }
        };
        each("load", &|| load().map(drop));
        each("prepare", &|| model.session().prepare(&request(), flowturbo::Output::Latents));
        each("generate", &|| model.session().latents(&request()).map(drop));
        println!("{}: {refusals} refusals", bundle.display());
        assert!(refusals > 0);
    }
}
