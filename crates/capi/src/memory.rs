//! What a request takes, told beforehand.

use super::Request;
use super::boundary::guard;
use super::model::{MODELS, ft_model};
use super::request::{self, ft_request};
use super::status::ft_status;
use super::versioned::{self, Versioned};

/// Bytes that a request takes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ft_memory {
    /// sizeof(ft_memory), set by the caller.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Held by the model, for all its sessions: packed weights, and what was computed of times, classes
    /// and contexts.
    pub model_bytes: u64,
    /// Held by a session once it has run the request.
    pub session_bytes: u64,
    /// Taken for a moment besides, when times, classes or contexts are new.
    pub passing_bytes: u64,
}

// SAFETY: `repr(C)`, begins with its size, integers.
unsafe impl Versioned for ft_memory {
    const NAME: &'static str = "ft_memory";
    const FIRST: usize = versioned::first(32, 32);

    fn new() -> Self {
        let struct_size = size_of::<Self>() as u32;
        Self { struct_size, reserved: 0, model_bytes: 0, session_bytes: 0, passing_bytes: 0 }
    }
}

/// Plans what `request` needs and is not planned yet, and tells the memory it will take before any is taken for it.
///
/// `out_memory` may be NULL; otherwise the caller sets its `struct_size`. The request's token and callback are not
/// used. Networks that the library has no kernels for take more while they run. Errors: as
/// `ft_session_generate`, for all that can be told beforehand. Threads: any. Takes up to seconds, for a new
/// `image_count` or the first use of a network.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_model_prepare(
    model: *const ft_model,
    request: *const ft_request,
    out_memory: *mut ft_memory,
) -> ft_status {
    guard(|| {
        let opened = MODELS.get(model)?;
        // SAFETY: the header asks the caller for structs.
        let request = unsafe {
            if !out_memory.is_null() {
                versioned::writable(out_memory, "out_memory")?;
            }
            request::read(request)?
        };
        let (output, mut wanted) = (request.output()?, Request::new(Vec::new()));
        // SAFETY: as above.
        unsafe { request.fill(&opened.model, &mut wanted, &mut String::new())? };
        let memory = opened.model.prepare(&wanted, output)?;
        if out_memory.is_null() {
            return Ok(());
        }
        let told = ft_memory {
            model_bytes: memory.model as u64,
            session_bytes: memory.session as u64,
            passing_bytes: memory.passing as u64,
            ..ft_memory::new()
        };
        // SAFETY: as above.
        unsafe { versioned::write(out_memory, "out_memory", &told) }
    })
}
