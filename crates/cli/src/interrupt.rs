//! Ctrl-C: the first one stops the generation at hand, the second one the program.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use flowturbo::CancelToken;
use signal_hook::consts::SIGINT;
use signal_hook::flag;

use crate::failure::Failure;

/// Exit code of a program that ctrl-C has stopped, as shells count.
pub const CODE: u8 = 130;

static PRESSED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// The token of all generations of this process: the first ctrl-C cancels it.
pub fn token() -> CancelToken {
    CancelToken::from(Arc::clone(watch()))
}

/// From now on, ctrl-C sets a flag.
pub fn watch() -> &'static Arc<AtomicBool> {
    PRESSED.get_or_init(|| {
        let pressed = Arc::new(AtomicBool::new(false));
        // In this order, so that the first ctrl-C does not see itself. Where signals cannot be caught, it ends the
        // program as it does without this.
        let second = flag::register_conditional_shutdown(SIGINT, CODE.into(), Arc::clone(&pressed));
        let first = second.and_then(|_| flag::register(SIGINT, Arc::clone(&pressed)));
        first.map_or_else(|error| log::warn!("ctrl-C is not caught: {error}"), drop);
        pressed
    })
}

/// Fails once ctrl-C was pressed, between things that cannot be stopped half-way.
pub fn check() -> Result<(), Failure> {
    let pressed = PRESSED.get().is_some_and(|pressed| pressed.load(Ordering::Relaxed));
    if pressed { Err(Failure::Interrupted) } else { Ok(()) }
}
