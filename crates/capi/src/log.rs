//! What the library has to tell while it works.

use std::cell::Cell;
use std::ffi::{c_char, c_void};
use std::sync::{OnceLock, PoisonError, RwLock};

use log::{LevelFilter, Log, Metadata, Record};

use super::boundary::{Failure, guard, without_nul};
use super::kernels::DefaultFloats;
use super::of_process::OfProcess;
use super::status::{FT_ERROR_BUSY, ft_status};

/// How much a message matters; a level takes in those before it.
pub type ft_log_level = u32;

/// Nothing.
pub const FT_LOG_OFF: ft_log_level = 0;
/// What went wrong.
pub const FT_LOG_ERROR: ft_log_level = 1;
/// What may be going wrong.
pub const FT_LOG_WARN: ft_log_level = 2;
/// What is good to know: a network without kernels of its own.
pub const FT_LOG_INFO: ft_log_level = 3;
/// What takes time: planning.
pub const FT_LOG_DEBUG: ft_log_level = 4;
/// Everything.
pub const FT_LOG_TRACE: ft_log_level = 5;

/// Takes a message: UTF-8 without a line break at its end, the library's, for the time of the call. `target`
/// names the part of the library. Called from any thread, also several at a time. Calls of this library from
/// inside are fine, but for `ft_log_set`; what they log is lost.
pub type ft_log_callback = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        level: ft_log_level,
        target: *const c_char,
        message: *const c_char,
    ),
>;

struct Listener {
    callback: unsafe extern "C" fn(*mut c_void, ft_log_level, *const c_char, *const c_char),
    user_data: *mut c_void,
    /// A message that was on its way when this was set may matter less.
    level: LevelFilter,
}

// SAFETY: the header asks for a callback that may be called from any thread.
unsafe impl Send for Listener {}
// SAFETY: as above.
unsafe impl Sync for Listener {}

/// A forked child has none until it sets one.
static LISTENER: OfProcess<RwLock<Option<Listener>>> = OfProcess::new();

fn listener() -> &'static RwLock<Option<Listener>> {
    LISTENER.get(RwLock::default)
}

thread_local! {
    /// A callback is at work on this thread.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

struct Forward;

impl Log for Forward {
    fn enabled(&self, _: &Metadata) -> bool {
        true
    }

    fn log(&self, record: &Record) {
        if INSIDE.try_with(|inside| inside.replace(true)).unwrap_or(true) {
            return;
        }
        if let Some(Listener { callback, user_data, level }) =
            &*listener().read().unwrap_or_else(PoisonError::into_inner)
            && record.level() <= *level
        {
            let (target, message) = (without_nul(record.target()), without_nul(&record.args().to_string()));
            // Whatever the callback does to it.
            let _default = DefaultFloats::enter();
            // SAFETY: the header asks for a callback that takes these.
            unsafe { callback(*user_data, record.level() as u32, target.as_ptr(), message.as_ptr()) };
        }
        let _ = INSIDE.try_with(|inside| inside.set(false));
    }

    fn flush(&self) {}
}

/// Sets who hears of what the library logs, for the whole library: nobody, unless this is called. A forked child begins
/// with nobody.
///
/// NULL, or `FT_LOG_OFF`, ends it. Once the call returns, the former callback is not running and will not be called
/// again.
///
/// Errors: `FT_ERROR_INVALID_ARGUMENT` (no such level), `FT_ERROR_BUSY` (called from inside a callback, or the
/// program is a Rust program with a logger of its own). Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_log_set(
    callback: ft_log_callback,
    user_data: *mut c_void,
    level: ft_log_level,
) -> ft_status {
    guard(|| {
        let known = LevelFilter::iter().nth(level as usize);
        let level =
            known.ok_or_else(|| Failure::argument(format!("level: {level} is none of FT_LOG_...")))?;
        if INSIDE.try_with(Cell::get).unwrap_or(true) {
            return Err(Failure::new(FT_ERROR_BUSY, "ft_log_set was called by a log callback"));
        }
        static OURS: OnceLock<bool> = OnceLock::new();
        if !OURS.get_or_init(|| log::set_logger(&Forward).is_ok()) {
            return Err(Failure::new(
                FT_ERROR_BUSY,
                "the program has a logger of the Rust crate log already",
            ));
        }
        let listener = callback.map(|callback| Listener { callback, user_data, level });
        log::set_max_level(listener.as_ref().map_or(LevelFilter::Off, |listener| listener.level));
        *self::listener().write().unwrap_or_else(PoisonError::into_inner) = listener;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::status::FT_OK;
    use super::*;

    /// Of this test's messages; others may be told meanwhile.
    unsafe extern "C" fn count(told: *mut c_void, _: ft_log_level, target: *const c_char, _: *const c_char) {
        // SAFETY: a text, and the number below.
        let (target, told) = unsafe { (std::ffi::CStr::from_ptr(target), &*told.cast::<AtomicUsize>()) };
        told.fetch_add(usize::from(target == c"on its way"), Ordering::Relaxed);
    }

    #[test]
    fn a_message_that_was_on_its_way_when_the_level_changed_is_held_to_the_new_one() {
        static TOLD: AtomicUsize = AtomicUsize::new(0);
        let user_data = std::ptr::from_ref(&TOLD).cast_mut().cast();
        let arrives = || {
            let warning = Record::builder().level(log::Level::Warn).target("on its way").build();
            Forward.log(&warning);
            TOLD.swap(0, Ordering::Relaxed)
        };
        for (level, told) in [(FT_LOG_WARN, 1), (FT_LOG_ERROR, 0), (FT_LOG_TRACE, 1), (FT_LOG_OFF, 0)] {
            // SAFETY: a callback that takes the number, which stays.
            assert_eq!(unsafe { ft_log_set(Some(count), user_data, level) }, FT_OK);
            assert_eq!(arrives(), told, "level {level}");
        }
        // SAFETY: no callback.
        assert_eq!(unsafe { ft_log_set(None, std::ptr::null_mut(), FT_LOG_TRACE) }, FT_OK);
        assert_eq!(arrives(), 0);
    }
}
