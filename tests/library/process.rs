//! A Rust program that forks.

use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};

use flowturbo::{Bundle, ErrorKind, Model, ModelOptions, Output, Request, Session};

use crate::common::data;

unsafe extern "C" {
    fn fork() -> c_int;
    fn waitpid(process: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn _exit(status: c_int) -> !;
    fn alarm(seconds: u32) -> u32;
}

/// Does `work` in a child, which is killed if it hangs; whether all that it asked held.
fn in_a_child(work: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child runs `work` and nothing else of this program: it neither returns nor unwinds.
    let child = unsafe { fork() };
    assert!(child >= 0);
    if child == 0 {
        // SAFETY: as they are declared.
        unsafe {
            alarm(60);
            let held = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(false);
            _exit(if held { 0 } else { 1 });
        }
    }
    let mut status = -1;
    // SAFETY: a child of this process, and a place for a number.
    assert_eq!(unsafe { waitpid(child, &raw mut status, 0) }, child);
    status == 0
}

fn load(threads: usize) -> Model {
    let options = ModelOptions::default().with_threads(threads);
    Model::load(Bundle::open(data("bundle")).unwrap(), &options).unwrap()
}

fn draw(session: &mut Session) -> flowturbo::Result<Vec<u32>> {
    let latents = session.latents(&Request::new(vec![1]).with_schedule("H1R1".parse().unwrap()))?;
    Ok(latents.iter().map(|value| value.to_bits()).collect())
}

/// Every call on what its parent made is one clear line, and letting it go is silent.
fn uses_nothing(model: &Model, session: &mut Session) -> bool {
    let mut refused = Vec::new();
    let mut ask = |error: Option<flowturbo::Error>| {
        refused.push(error.is_some_and(|error| {
            error.kind() == ErrorKind::Runtime && error.to_string().contains("before this process was forked")
        }));
    };
    ask(draw(session).err());
    ask(draw(&mut model.session()).err());
    ask(session.prepare(&Request::new(vec![1]), Output::Latents).err());
    ask(model.prepare(&Request::new(vec![1]), Output::Latents).err());
    ask(model.cost(flowturbo::Role::Predictor, 1).err());
    ask(model.plan(flowturbo::Role::Predictor, 1).err());
    model.release_conditioning();
    refused.iter().all(|refused| *refused)
}

#[test]
fn a_forked_child_uses_nothing_of_its_parents_and_may_have_its_own() {
    for threads in [1, 3] {
        let (model, stop) = (load(threads), AtomicBool::new(false));
        let mut session = model.session();
        let wanted = draw(&mut session).unwrap();
        std::thread::scope(|scope| {
            let busy = scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(draw(&mut model.session()).unwrap(), wanted);
                }
            });
            for round in 0..10 {
                let (mut mine, clone) = (model.session(), model.clone());
                let wanted = &wanted;
                let held = in_a_child(move || {
                    let refused = uses_nothing(&clone, &mut mine);
                    drop((mine, clone));
                    refused
                        && (round % 5 != 0
                            || draw(&mut load(threads).session()).is_ok_and(|drawn| drawn == *wanted))
                });
                assert!(held, "{threads} threads, round {round}");
            }
            stop.store(true, Ordering::Relaxed);
            busy.join().unwrap();
        });
        // The last of a model, in a child.
        assert!(in_a_child(move || {
            drop((session, model));
            true
        }));
    }
}
