//! What a C program does from a model's file to an image's: open, generate with previews, save. Every call's status.

use std::ffi::{CStr, CString, c_void};
use std::fmt;
use std::path::Path;
use std::ptr::null_mut;

use crate::capi::{model, model_options, pixels, request, session, status};

/// A status that is not FT_OK, and the message that goes with it.
pub struct Status(pub i32, String);

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0, self.1)
    }
}

fn told(status: i32) -> Result<(), Status> {
    if status == status::FT_OK {
        return Ok(());
    }
    // SAFETY: the library's text, until the next call.
    let message = unsafe { CStr::from_ptr(status::ft_last_error_message()) };
    Err(Status(status, message.to_string_lossy().into_owned()))
}

fn c(path: &Path) -> CString {
    CString::new(path.to_str().unwrap()).unwrap()
}

/// An open model, on one thread.
pub struct Model(*mut model::ft_model);

impl Model {
    pub fn open(bundle: &Path) -> Result<Self, Status> {
        let mut model = null_mut();
        // SAFETY: structs, texts and places of this function's.
        unsafe {
            let mut options = std::mem::zeroed::<model_options::ft_model_options>();
            told(model_options::ft_model_options_init(&raw mut options, size_of_val(&options)))?;
            options.threads = 1;
            told(model::ft_model_open(c(bundle).as_ptr(), &raw const options, &raw mut model))?;
        }
        Ok(Self(model))
    }

    /// An image, with a preview of it after each step, saved to `path`.
    pub fn draw(&self, path: &Path) -> Result<(), Status> {
        let mut session = null_mut();
        // SAFETY: a place of this function's.
        unsafe { told(session::ft_session_new(self.0, &raw mut session))? };
        let drawn = draw(session, path);
        session::ft_session_free(session);
        // The message of the last failure stays: always the same one.
        // SAFETY: NULL is refused.
        assert_ne!(unsafe { pixels::ft_pixels_init(null_mut(), 0) }, status::FT_OK);
        drawn
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        model::ft_model_free(self.0);
    }
}

fn draw(session: *mut session::ft_session, path: &Path) -> Result<(), Status> {
    unsafe extern "C" fn watch(_: *mut c_void, _: *const request::ft_progress) -> i32 {
        0
    }
    let (classes, mut rgb) = ([1i64], [0u8; 128 * 128 * 3]);
    // SAFETY: structs, texts and memory of this function's.
    unsafe {
        let mut request = std::mem::zeroed::<request::ft_request>();
        told(request::ft_request_init(&raw mut request, size_of_val(&request)))?;
        request.classes = classes.as_ptr();
        request.schedule = c"H1P1R1".as_ptr();
        request.preview = request::FT_PREVIEW_LINEAR;
        request.progress = Some(watch);
        let mut pixels = std::mem::zeroed::<pixels::ft_pixels>();
        told(pixels::ft_pixels_init(&raw mut pixels, size_of_val(&pixels)))?;
        (pixels.data, pixels.size) = (rgb.as_mut_ptr().cast(), rgb.len());
        told(session::ft_session_generate(session, &raw const request, &raw const pixels))?;
        told(pixels::ft_pixels_save_png(&raw const pixels, 128, 128, c(path).as_ptr()))
    }
}
