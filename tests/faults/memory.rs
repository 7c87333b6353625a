//! Memory that the system refuses.
//!
//! What a file or a request decides the size of is asked for so that a refusal is an error. Two things are not ours to
//! ask for: what the description of a graph takes (nodes, names, weights below 64 KiB) while prost and tract read it,
//! and small things of Rust's own collections. There the process ends, as Rust programs do.

use std::path::Path;
use std::process::Command;

use flowturbo::{Model, ModelOptions, Output};

use crate::allocator::{leaves_nothing, refusing};
use crate::{open, request, root, tiny};

/// Requests for less are never refused here.
const SMALL: usize = 1 << 15;
/// What a graph's description takes at once at most, in the networks of these tests.
const DESCRIPTION: usize = 2 << 20;

fn load(bundle: &Path) -> flowturbo::Result<Model> {
    Model::load(open(bundle), &ModelOptions::default().with_threads(1))
}

/// Everything that a model which is planned does: each refusal is an error, leaks nothing, and the next call works.
pub fn refused_while_generating() {
    let mut refusals = 0;
    for bundle in [tiny(), root().join("models/textures")] {
        let model = load(&bundle).unwrap();
        // A new session each time: it has no memory yet.
        let prepare = || model.session().prepare(&request(), Output::Latents);
        let latents = || model.session().latents(&request()).map(drop);
        let pictures = || match model.manifest().has(flowturbo::Role::Decoder) {
            true => model.session().generate(&request()).map(drop),
            false => Ok(()),
        };
        for (what, work) in [
            ("prepare", &prepare as &dyn Fn() -> flowturbo::Result<()>),
            ("latents", &latents),
            ("pictures", &pictures),
        ] {
            work().unwrap();
            for n in 0.. {
                let (outcome, refused) = refusing(n, SMALL, work);
                match outcome {
                    Ok(()) if !refused => break,
                    // Done without: a table that stays smaller.
                    Ok(()) => {}
                    Err(error) => {
                        refusals += 1;
                        assert_eq!(format!("{:?}", error.kind()), "OutOfMemory", "{what}, {n}: {error}");
                        assert!(error.to_string().contains("bytes"), "{what}, {n}: {error}");
                        leaves_nothing(what, || drop(refusing(n, SMALL, work)));
                    }
                }
                work().unwrap();
            }
        }
    }
    assert!(refusals > 10, "{refusals} refusals");
}

/// What [`refused_while_loading`] runs in a process of its own: 3 for an error of the right kind.
pub fn child(bundle: &str, n: &str) -> i32 {
    let (n, bundle) = (n.parse().unwrap(), Path::new(bundle));
    let (outcome, refused) = refusing(n, SMALL, || load(bundle).map(drop));
    match outcome {
        Ok(()) if refused => 0,
        Ok(()) => 4,
        Err(error) if format!("{:?}", error.kind()) == "OutOfMemory" => {
            load(bundle).unwrap();
            3
        }
        Err(error) => panic!("{error}"),
    }
}

/// Each refusal is an error, or, where tract or prost asked, the end of a process; never anything else.
pub fn refused_while_loading() {
    let (mut errors, mut ends) = (0, 0);
    // All of the small bundle's are some two hundred: every fifth, in two runs of tests others.
    for n in (std::process::id() as usize % 5..).step_by(5) {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--refuse", tiny().to_str().unwrap(), &n.to_string()]).env("RUST_BACKTRACE", "0");
        let output = child.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => {}
            Some(3) => errors += 1,
            Some(4) => break,
            None => {
                let size =
                    told.split_once("memory allocation of ").and_then(|(_, rest)| rest.split(' ').next());
                let size: usize = size.and_then(|size| size.parse().ok()).expect("Rust says how much it was");
                assert!(size < DESCRIPTION, "{n}: {told}");
                ends += 1;
            }
            Some(_) => panic!("{n}: {told}"),
        }
    }
    println!("{errors} errors, {ends} ends");
    assert!(errors > ends / 2);
}
