//! Room for one generation at a time.

use std::ffi::c_void;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::time::Duration;

use super::boundary::{Failure, guard, guard_silently};
use super::error::Context;
use super::model::{MODELS, ft_model};
use super::pixels::{self, ft_pixels};
use super::pointers::{array_mut, place};
use super::registry::{Kind, Registry};
use super::request::{
    self, FT_PREVIEW_DECODED, FT_PREVIEW_LINEAR, ft_preview, ft_progress, ft_progress_callback, ft_request,
};
use super::status::ft_status;
use super::{Output, Pixels, PreviewKind, Progress, Request, Session};
use flowturbo_runtime::memory;

/// As long as it takes to end a step of the schedule, or an image.
// Digits, since generators of bindings do not know UINT64_MAX.
pub const FT_WHOLE_STEP: u64 = 0xffff_ffff_ffff_ffff;

/// Scratch memory for one generation at a time. A failed or cancelled one leaves it ready for the next.
pub struct ft_session {
    _private: [u8; 0],
}

/// A session with what its last request named.
pub(super) struct Desk {
    pub(super) session: Session,
    request: Request,
    /// The schedule as the program wrote it.
    written: String,
    watch: Watch,
}

static SESSIONS: Registry<Mutex<Desk>> = Registry::new(Kind::Session);

/// Who hears of the steps.
struct Watch {
    callback: ft_progress_callback,
    user_data: *mut c_void,
    preview: bool,
    /// The last preview.
    rgb: Vec<u8>,
    #[cfg(feature = "testing")]
    panic_after: u64,
}

// SAFETY: the header asks for a callback that may be called from whichever thread calls the library.
unsafe impl Send for Watch {}

impl Watch {
    fn nobody() -> Self {
        Self {
            callback: None,
            user_data: std::ptr::null_mut(),
            preview: false,
            rgb: Vec::new(),
            #[cfg(feature = "testing")]
            panic_after: 0,
        }
    }

    fn tell(&mut self, progress: &Progress) -> ControlFlow<()> {
        #[cfg(feature = "testing")]
        assert!(progress.step as u64 != self.panic_after, "asked to panic");
        let Some(callback) = self.callback else { return ControlFlow::Continue(()) };
        let (images, _, height, width) = progress.latent.dim();
        self.rgb.clear();
        if self.preview {
            // That there are colours was checked; refused memory makes no preview.
            let drawn = memory::resize(&mut self.rgb, images * height * width * 3, 0)
                .and_then(|()| progress.preview_into(&mut Pixels::rgb8(&mut self.rgb)));
            if drawn.is_err() {
                self.rgb.clear();
            }
        }
        let shown = !self.rgb.is_empty();
        let told = ft_progress {
            struct_size: size_of::<ft_progress>() as u32,
            step: progress.step as u32,
            steps: progress.steps as u32,
            kind: progress.kind.letter() as u32,
            microseconds: progress.took.as_micros() as u64,
            latents: progress.latent.as_ptr(),
            latent_count: progress.latent.len(),
            preview: if shown { self.rgb.as_ptr() } else { std::ptr::null() },
            preview_size: self.rgb.len(),
            preview_width: if shown { width as u32 } else { 0 },
            preview_height: if shown { height as u32 } else { 0 },
            decoded: progress.decoded as u32,
            pictures: progress.images as u32,
        };
        // SAFETY: the header asks for a callback that takes these.
        match unsafe { callback(self.user_data, &raw const told) } {
            0 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    }
}

impl Desk {
    /// Takes a request over and begins with it; whatever becomes of it, the generation before it is given up, and the
    /// copies of the program's arrays are let go: the session has made its own.
    ///
    /// # Safety
    /// `request` is NULL or an `ft_request`, and what it points at is there.
    unsafe fn begin<T>(
        &mut self,
        request: *const ft_request,
        begin: impl FnOnce(&mut Session, &Request, Output) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        // SAFETY: the caller's promise.
        let taken = unsafe { self.take(request) };
        let begun = taken.and_then(|output| begin(&mut self.session, &self.request, output));
        let Request { noise, init, mask, .. } = &mut self.request;
        (*noise, *init, *mask) = (None, None, None);
        begun
    }

    /// What a request asks for, if that makes sense.
    ///
    /// # Safety
    /// `request` is NULL or an `ft_request`, and what it points at is there.
    unsafe fn take(&mut self, request: *const ft_request) -> Result<Output, Failure> {
        self.session.reset();
        // SAFETY: the caller's promise.
        let raw = unsafe { request::read(request)? };
        let (output, preview) = (raw.output()?, raw.preview()?);
        if preview {
            self.session.model().colours().at(|| "request.preview".to_owned())?;
        }
        // SAFETY: as above.
        unsafe { raw.fill(self.session.model(), &mut self.request, &mut self.written)? };
        self.watch.callback = raw.progress;
        self.watch.user_data = raw.progress_data;
        self.watch.preview = preview;
        #[cfg(feature = "testing")]
        {
            self.watch.panic_after = raw.panic_after;
        }
        Ok(output)
    }
}

/// Does `work` at the desk of a session.
pub(super) fn at<T>(
    session: *const ft_session,
    work: impl FnOnce(&mut Desk) -> Result<T, Failure>,
) -> Result<T, Failure> {
    SESSIONS.at(session, work)
}

/// Makes a session of `model`.
///
/// Ownership: `*out_session` is the caller's, to be freed by `ft_session_free`; it keeps what it needs of the model.
/// Errors: `FT_ERROR_INVALID_ARGUMENT` (NULL), `FT_ERROR_INVALID_HANDLE`. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_session_new(
    model: *const ft_model,
    out_session: *mut *mut ft_session,
) -> ft_status {
    guard(|| {
        place(out_session, "out_session")?;
        let session = MODELS.get(model)?.model.session();
        let request = Request::new(Vec::new());
        let desk = Desk { session, request, written: String::new(), watch: Watch::nobody() };
        // SAFETY: not NULL; the header asks the caller for a place.
        unsafe { out_session.write(SESSIONS.insert(Mutex::new(desk))) };
        Ok(())
    })
}

/// Frees a session; NULL is fine. A call that is at work on it ends as if nothing had happened.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn ft_session_free(session: *mut ft_session) {
    guard_silently(|| SESSIONS.remove(session));
}

/// Does all that `request` needs before its first step: planning, memory, what depends on its times, classes and
/// contexts alone. For a loading screen: once for each class, context, `image_count`,
/// size, guided or not, with morphs or without; the last two plans of each network are kept. A generation under way is
/// given up, one that is done forgotten.
///
/// Errors: as `ft_session_generate`, for all that can be told beforehand. Threads: one at a time per session.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_session_prepare(
    session: *mut ft_session,
    request: *const ft_request,
) -> ft_status {
    guard(|| {
        at(session, |desk| {
            let begin =
                |session: &mut Session, request: &Request, output| Ok(session.prepare(request, output)?);
            // SAFETY: the header asks the caller for a struct.
            unsafe { desk.begin(request, begin)? };
            Ok(())
        })
    })
}

/// Makes images, and returns when they are done.
///
/// `pixels` names the memory they go to; with `FT_OUTPUT_LATENTS` it must be NULL. After a failure that memory is as
/// it was. A generation under way is given up, one that is done forgotten, also if this fails.
///
/// Errors: `FT_ERROR_INVALID_ARGUMENT` (the message names the field), `FT_ERROR_LIMIT_EXCEEDED`,
/// `FT_ERROR_NON_FINITE` (names the step), `FT_ERROR_CANCELLED`, `FT_ERROR_RUNTIME`, `FT_ERROR_OUT_OF_MEMORY`,
/// `FT_ERROR_BUSY`, `FT_ERROR_PANIC`, `FT_ERROR_INVALID_HANDLE`, `FT_ERROR_UNSUPPORTED` (a struct of a newer header),
/// and as `ft_model_open` if a network must be read first. Threads: one at a time per session; several sessions of a
/// model share its threads.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_session_generate(
    session: *mut ft_session,
    request: *const ft_request,
    pixels: *const ft_pixels,
) -> ft_status {
    guard(|| {
        at(session, |desk| {
            let begin = |session: &mut Session, request: &Request, output| match output {
                Output::Images => {
                    // SAFETY: the header asks the caller for a struct and its memory.
                    let mut pixels = unsafe { pixels::read(pixels)? };
                    session.begin_into(request, &mut pixels)?;
                    Ok(Some(pixels))
                }
                Output::Latents if pixels.is_null() => {
                    session.begin(request, output)?;
                    Ok(None)
                }
                _ => Err(Failure::argument("pixels: must be NULL for a request of FT_OUTPUT_LATENTS")),
            };
            // SAFETY: as above.
            let pixels = unsafe { desk.begin(request, begin)? };
            let Desk { session, watch, .. } = desk;
            let observer = &mut |progress: &Progress| watch.tell(progress);
            match pixels {
                Some(mut pixels) => session.finish_into(&mut pixels, observer)?,
                None => session.run_to_the_end(observer)?,
            }
            Ok(())
        })
    })
}

/// Begins a generation that `ft_session_step` carries out. One that was under way is given up, one that was done
/// forgotten, also if this fails.
///
/// Plans what is not planned yet and takes its memory: call `ft_session_prepare` beforehand, on a loading screen, if
/// that takes too long. What depends on the request's times and classes alone is left to the steps. Errors: as
/// `ft_session_generate`, for all that can be told beforehand. Threads: one at a time per session.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_session_begin(session: *mut ft_session, request: *const ft_request) -> ft_status {
    guard(|| {
        at(session, |desk| {
            let begin =
                |session: &mut Session, request: &Request, output| Ok(session.begin(request, output)?);
            // SAFETY: the header asks the caller for a struct.
            unsafe { desk.begin(request, begin) }
        })
    })
}

/// Gives the generation under way up, or forgets the last one: its callback and pixels are no longer the library's.
///
/// Errors: `FT_ERROR_INVALID_ARGUMENT` (NULL), `FT_ERROR_BUSY`, `FT_ERROR_PANIC`, `FT_ERROR_INVALID_HANDLE`. Threads:
/// one at a time per session.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_session_reset(session: *mut ft_session) -> ft_status {
    guard(|| {
        at(session, |desk| {
            desk.session.reset();
            desk.watch = Watch::nobody();
            Ok(())
        })
    })
}

/// Works on the generation for about `microseconds`, or, for `FT_WHOLE_STEP`, to the end of a step of the schedule or
/// of an image. `*out_done` is set to 1 once all images, or the latents, are done, until then to 0.
///
/// The clock is looked at between operations, so a call takes longer than asked for by at most one of them: 1 to 2 ms
/// for the bundled model and one thread. With 0 it does one operation. Networks that the library has no kernels for
/// run to their end. What depends on times and classes alone comes first, sixteen pairs of them an operation, unless
/// `ft_session_prepare` or an earlier request has computed it. A failure ends the generation. Errors: as
/// `ft_session_generate`; `FT_ERROR_INVALID_ARGUMENT` if nothing was begun. Threads: one at a time per session;
/// sessions of a model take turns on its threads, an operation at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_session_step(
    session: *mut ft_session,
    microseconds: u64,
    out_done: *mut u8,
) -> ft_status {
    guard(|| {
        place(out_done, "out_done")?;
        at(session, |desk| {
            let budget = (microseconds != FT_WHOLE_STEP).then(|| Duration::from_micros(microseconds));
            let watch = &mut desk.watch;
            let done = desk.session.step(budget, &mut |progress: &Progress| watch.tell(progress))?;
            // SAFETY: not NULL; the header asks the caller for a place.
            unsafe { out_done.write(u8::from(done)) };
            Ok(())
        })
    })
}

/// Tells how many steps of the schedule are done, and how many there are, in the generation under way or the last one.
///
/// Errors: `FT_ERROR_INVALID_ARGUMENT` (NULL, nothing was begun), `FT_ERROR_BUSY`, `FT_ERROR_PANIC`,
/// `FT_ERROR_INVALID_HANDLE`. Threads: one at a time per session.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_session_get_steps(
    session: *mut ft_session,
    out_made: *mut u32,
    out_all: *mut u32,
) -> ft_status {
    guard(|| {
        place(out_made, "out_made")?;
        place(out_all, "out_all")?;
        at(session, |desk| {
            let (made, all) = desk.session.steps()?;
            // SAFETY: not NULL; the header asks the caller for places.
            unsafe {
                out_made.write(made as u32);
                out_all.write(all as u32);
            }
            Ok(())
        })
    })
}

/// Draws what the generation under way, or the last one, looks like so far. A program that steps looks when it likes,
/// in any format, and needs no callback; a new image is worth drawing when `ft_session_get_steps` tells of a new
/// step.
///
/// `kind` is `FT_PREVIEW_LINEAR`, images of the latent's own size, or `FT_PREVIEW_DECODED`, images of full size,
/// which takes as long as decoding does. Errors: as `ft_session_decode`; `FT_ERROR_INVALID_ARGUMENT` also if nothing
/// was begun. Threads: one at a time per session.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_session_preview(
    session: *mut ft_session,
    kind: ft_preview,
    pixels: *const ft_pixels,
) -> ft_status {
    guard(|| {
        let kind = match kind {
            FT_PREVIEW_LINEAR => PreviewKind::Linear,
            FT_PREVIEW_DECODED => PreviewKind::Decoded,
            other => return Err(Failure::argument(format!("kind: {other} is no preview"))),
        };
        // SAFETY: the header asks the caller for a struct and its memory.
        let mut pixels = unsafe { pixels::read(pixels)? };
        at(session, |desk| Ok(desk.session.preview_into(kind, &mut pixels)?))
    })
}

/// Does what is left of the generation, and writes its images. May be called again, in another format too, until
/// another generation begins.
///
/// After a failure the memory is as it was. Errors: as `ft_session_step`; `FT_ERROR_INVALID_ARGUMENT` for memory that
/// cannot hold the images (the generation goes on), and for a request of `FT_OUTPUT_LATENTS`. Threads: one at a time
/// per session.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_session_finish(session: *mut ft_session, pixels: *const ft_pixels) -> ft_status {
    guard(|| {
        // SAFETY: the header asks the caller for a struct and its memory.
        let mut pixels = unsafe { pixels::read(pixels)? };
        at(session, |desk| {
            let watch = &mut desk.watch;
            Ok(desk.session.finish_into(&mut pixels, &mut |progress: &Progress| watch.tell(progress))?)
        })
    })
}

/// Copies the latents of the last generation: `count` floats `[image_count, channels, height, width]`.
///
/// Errors: `FT_ERROR_INVALID_ARGUMENT` (NULL, another count, no generation that was sampled to its end),
/// `FT_ERROR_BUSY`, `FT_ERROR_PANIC`, `FT_ERROR_INVALID_HANDLE`. Threads: one at a time per session.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_session_get_latents(
    session: *mut ft_session,
    out_latents: *mut f32,
    count: usize,
) -> ft_status {
    guard(|| {
        place(out_latents, "out_latents")?;
        // SAFETY: the header asks the caller for as many floats.
        let out = unsafe { array_mut(out_latents, count, "out_latents")? };
        at(session, |desk| {
            let latents = desk.session.last_latents()?;
            let (shape, wanted) = (latents.shape(), latents.len());
            let latents =
                latents.as_slice().filter(|latents| latents.len() == out.len()).ok_or_else(|| {
                    Failure::argument(format!("count: {count} floats, the latents {shape:?} are {wanted}"))
                })?;
            out.copy_from_slice(latents);
            Ok(())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::model::{ft_model_free, ft_model_open};
    use super::super::request::FT_OUTPUT_LATENTS;
    use super::super::status::{FT_ERROR_INVALID_ARGUMENT, FT_OK};
    use super::super::versioned::Versioned;
    use super::*;

    #[cfg_attr(miri, ignore = "plans networks")]
    #[test]
    fn a_programs_arrays_are_not_held_beside_the_sessions_own() {
        let bundle = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/tiny-sit/bundle\0");
        let (mut model, mut session) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: a text and places.
        unsafe {
            assert_eq!(ft_model_open(bundle.as_ptr().cast(), std::ptr::null(), &raw mut model), FT_OK);
            assert_eq!(ft_session_new(model, &raw mut session), FT_OK);
        }
        let manifest = MODELS.get(model).unwrap().model.manifest().clone();
        let noise = vec![0.5; manifest.latent_shape(manifest.extent(1)).iter().product()];
        let (class, mask) = (0, [0; 3]);
        let mut request = ft_request {
            classes: &raw const class,
            output: FT_OUTPUT_LATENTS,
            noise: noise.as_ptr(),
            noise_count: noise.len(),
            ..ft_request::new()
        };
        let held = || at(session, |desk| Ok(desk.request.noise.is_some())).unwrap();
        // SAFETY: arrays that outlive the calls.
        assert_eq!(unsafe { ft_session_begin(session, &raw const request) }, FT_OK);
        assert!(!held());
        // What is wrong is seen when the noise is copied already.
        (request.mask, request.mask_size) = (mask.as_ptr(), mask.len());
        // SAFETY: as above.
        let failed = unsafe { ft_session_generate(session, &raw const request, std::ptr::null()) };
        assert_eq!(failed, FT_ERROR_INVALID_ARGUMENT);
        assert!(!held());
        ft_session_free(session);
        ft_model_free(model);
    }
}
