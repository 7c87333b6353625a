//! Bundles that a C program reads for us, and memory that it lends.

use std::ffi::c_void;
use std::io::{self, Read, Seek, SeekFrom};

use super::boundary::guard;
use super::kernels::DefaultFloats;
use super::status::ft_status;
use super::versioned::{self, Versioned};

/// Called once, when the library no longer needs what was lent to it; from any thread.
pub type ft_release_callback = Option<unsafe extern "C" fn(user_data: *mut c_void)>;

/// Copies `size` bytes from `offset` of a bundle's zip file, or of a plan, to `buffer`; 0 if it did. Called from any
/// thread, one call at a time.
pub type ft_read_callback = Option<
    unsafe extern "C" fn(user_data: *mut c_void, offset: u64, buffer: *mut c_void, size: usize) -> i32,
>;

/// A bundle's zip file, or a plan, behind functions of the program's: an entry of an asset pack, something encrypted.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ft_reader {
    /// sizeof(ft_reader).
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Bytes of the file.
    pub size: u64,
    /// Reads some of them.
    pub read: ft_read_callback,
    /// NULL, or called once, when the library has no more use for the reader; also after a failure to open it.
    pub release: ft_release_callback,
    /// For `read` and `release`.
    pub user_data: *mut c_void,
    /// 0. Fills the struct up on 32-bit machines.
    pub reserved_end: usize,
}

// SAFETY: `repr(C)`, begins with its size, integers and pointers.
unsafe impl Versioned for ft_reader {
    const NAME: &'static str = "ft_reader";
    const FIRST: usize = versioned::first(40, 28);

    fn new() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            reserved: 0,
            size: 0,
            read: None,
            release: None,
            user_data: std::ptr::null_mut(),
            reserved_end: 0,
        }
    }
}

/// Sets every field to its default.
///
/// `struct_size` is sizeof(ft_reader). Errors: as `ft_model_options_init`. Threads: any, one at a time per struct.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_reader_init(reader: *mut ft_reader, struct_size: usize) -> ft_status {
    // SAFETY: the header asks the caller for that many bytes.
    guard(|| unsafe { versioned::init(reader, struct_size, "reader") })
}

/// Tells the program, once dropped, that what it lent is free again.
pub(super) struct Release {
    pub(super) callback: ft_release_callback,
    pub(super) user_data: *mut c_void,
}

// SAFETY: the header asks for a callback that may be called from any thread.
unsafe impl Send for Release {}
// SAFETY: as above.
unsafe impl Sync for Release {}

impl Drop for Release {
    fn drop(&mut self) {
        if let Some(callback) = self.callback {
            // SAFETY: the header asks for a callback that takes this.
            unsafe { callback(self.user_data) };
        }
    }
}

/// A zip file in the program's memory.
pub(super) struct Bytes {
    pub(super) data: *const u8,
    pub(super) size: usize,
    pub(super) _release: Release,
}

// SAFETY: the header asks for bytes that do not change until `release` is called.
unsafe impl Send for Bytes {}
// SAFETY: as above.
unsafe impl Sync for Bytes {}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: checked when it was made not to be NULL, and the header's demand.
        unsafe { std::slice::from_raw_parts(self.data, self.size) }
    }
}

/// A zip file behind callbacks.
pub(super) struct Callbacks {
    pub(super) read: unsafe extern "C" fn(*mut c_void, u64, *mut c_void, usize) -> i32,
    pub(super) size: u64,
    pub(super) position: u64,
    pub(super) release: Release,
}

impl Read for Callbacks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.size.saturating_sub(self.position);
        let size = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if size == 0 {
            return Ok(0);
        }
        let (user_data, to) = (self.release.user_data, buffer.as_mut_ptr().cast());
        let status = {
            // Whatever the callback does to it.
            let _default = DefaultFloats::enter();
            // SAFETY: the header asks for a callback that takes these; the buffer holds as many bytes.
            unsafe { (self.read)(user_data, self.position, to, size) }
        };
        if status != 0 {
            let position = self.position;
            return Err(io::Error::other(format!(
                "the read callback returned {status} for {size} bytes at {position}"
            )));
        }
        self.position += size as u64;
        Ok(size)
    }
}

impl Seek for Callbacks {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
        };
        self.position =
            position.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a seek before the start"))?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};
    use std::ptr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::model::{ft_model, ft_model_open_memory, ft_model_open_reader};
    use super::super::status::{FT_ERROR_INVALID_BUNDLE, FT_ERROR_IO, FT_OK, ft_last_error_message};
    use super::*;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    /// A program's zip file, and how often it was told that nobody needs it any more.
    struct Program {
        zip: Vec<u8>,
        /// Where a read fails.
        broken: u64,
        released: AtomicUsize,
    }

    unsafe extern "C" fn read(user_data: *mut c_void, offset: u64, buffer: *mut c_void, size: usize) -> i32 {
        // SAFETY: the tests give a program, which outlives its reader.
        let program = unsafe { &*user_data.cast::<Program>() };
        let offset = offset as usize;
        if (offset..offset + size).contains(&(program.broken as usize)) {
            return 5;
        }
        let from = &program.zip[offset..][..size];
        // SAFETY: the buffer holds as many bytes.
        unsafe { from.as_ptr().copy_to_nonoverlapping(buffer.cast(), size) };
        0
    }

    unsafe extern "C" fn release(user_data: *mut c_void) {
        // SAFETY: as above.
        unsafe { &*user_data.cast::<Program>() }.released.fetch_add(1, Ordering::Relaxed);
    }

    fn message() -> String {
        // SAFETY: a text, until the next call.
        unsafe { std::ffi::CStr::from_ptr(ft_last_error_message()) }.to_string_lossy().into_owned()
    }

    /// The graphs of its bundle are none, so that it is read whole and then refused.
    fn program(broken: u64) -> Program {
        let manifest = include_str!("../../../tests/data/tiny-sit/bundle/bundle.json");
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, text) in [("bundle.json", manifest), ("predictor.onnx", "none"), ("refiner.onnx", "none")]
        {
            let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
            zip.start_file(name, options).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        let zip = zip.finish().unwrap().into_inner();
        Program { zip, broken, released: AtomicUsize::new(0) }
    }

    #[test]
    fn what_a_program_lends_is_let_go_of_once_also_after_a_failure() {
        for (broken, status, why) in [
            (u64::MAX, FT_ERROR_INVALID_BUNDLE, "predictor.onnx"),
            (0, FT_ERROR_IO, "the read callback returned 5"),
        ] {
            let program = program(broken);
            let user_data = ptr::from_ref(&program).cast_mut().cast();
            let (mut reader, mut model) = (ft_reader::new(), ptr::null_mut::<ft_model>());
            // SAFETY: a struct of this size.
            assert_eq!(unsafe { ft_reader_init(&raw mut reader, size_of::<ft_reader>()) }, FT_OK);
            reader.size = program.zip.len() as u64;
            reader.read = Some(read);
            reader.release = Some(release);
            reader.user_data = user_data;
            // SAFETY: a struct and a place; what the callbacks use outlives the call, which fails.
            let failed = unsafe { ft_model_open_reader(&raw const reader, ptr::null(), &raw mut model) };
            assert_eq!(failed, status, "{}", message());
            assert!(message().contains(why), "{}", message());
            assert_eq!((program.released.load(Ordering::Relaxed), model), (1, ptr::null_mut()));
        }
    }

    #[test]
    fn memory_that_a_program_lends_is_let_go_of_once() {
        let program = program(u64::MAX);
        let user_data = ptr::from_ref(&program).cast_mut().cast();
        let mut model = ptr::null_mut::<ft_model>();
        for size in [program.zip.len(), 30, 0] {
            program.released.store(0, Ordering::Relaxed);
            let data = program.zip.as_ptr().cast();
            // SAFETY: as many bytes and a place; all outlives the call, which fails.
            let failed = unsafe {
                ft_model_open_memory(data, size, Some(release), user_data, ptr::null(), &raw mut model)
            };
            assert_eq!(failed, FT_ERROR_INVALID_BUNDLE, "{}", message());
            assert_eq!(program.released.load(Ordering::Relaxed), 1);
        }
    }
}
