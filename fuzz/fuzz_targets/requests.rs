//! Requests of the C API: every number from the input, every pointer NULL or good. A status, the same for the same
//! request, and nothing written where it is not `FT_OK`.
#![no_main]

// The crate itself is made for C alone.
#[allow(dead_code, unused_imports, reason = "what is not called here")]
#[path = "../../crates/capi/src/lib.rs"]
mod capi;

use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::ptr;

use capi::model::{ft_model, ft_model_open_memory};
use capi::pixels::{ft_pixels, ft_pixels_init};
use capi::request::{ft_request, ft_request_init};
use capi::session::{
    ft_session, ft_session_begin, ft_session_finish, ft_session_generate, ft_session_get_latents,
    ft_session_get_steps, ft_session_new, ft_session_prepare, ft_session_preview, ft_session_step,
};
use capi::status::{FT_ERROR_PANIC, FT_ERROR_RUNTIME, FT_OK, ft_status};
use flowturbo_fuzz::painter;
use libfuzzer_sys::fuzz_target;

/// Numbers from the input's bytes, 0 where they end.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let taken = std::array::from_fn(|i| self.0.get(i).copied().unwrap_or(0));
        self.0 = self.0.get(N..).unwrap_or(&[]);
        taken
    }

    fn byte(&mut self) -> u8 {
        self.take::<1>()[0]
    }

    fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    fn word(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn float(&mut self) -> f32 {
        match self.byte() % 4 {
            0 => f32::from_bits(self.word()),
            1 => f32::from(self.byte()) / 255.0,
            _ => 1.0,
        }
    }

    /// Mostly one of a few.
    fn small(&mut self, most: u32) -> u32 {
        let byte = self.byte();
        if byte == 255 { self.word() } else { u32::from(byte) % (most + 1) }
    }

    /// A class that there is, or any number.
    fn class(&mut self) -> i64 {
        let byte = self.byte();
        if byte == 255 { i64::from_le_bytes(self.take()) } else { i64::from(byte % 4) }
    }

    /// A text of those letters, or of any.
    fn text(&mut self, letters: &[u8]) -> Option<CString> {
        let long = self.byte() % 8;
        if long == 0 {
            return None;
        }
        let letter = |byte: u8| if byte < 240 { letters[usize::from(byte) % letters.len()] } else { byte };
        CString::new((0..long).map(|_| letter(self.byte())).collect::<Vec<_>>()).ok()
    }
}

fn start(text: &Option<CString>) -> *const c_char {
    text.as_ref().map_or(ptr::null(), |text| text.as_ptr())
}

thread_local! {
    static SESSION: RefCell<Option<*mut ft_session>> = const { RefCell::new(None) };
}

fn session() -> *mut ft_session {
    SESSION.with_borrow_mut(|known| {
        *known.get_or_insert_with(|| {
            let (mut model, mut session) = (ptr::null_mut::<ft_model>(), ptr::null_mut());
            // Lent for good.
            let bytes = Vec::leak(painter());
            // SAFETY: all pointers are good.
            unsafe {
                let opened = ft_model_open_memory(
                    bytes.as_ptr().cast(),
                    bytes.len(),
                    None,
                    ptr::null_mut(),
                    ptr::null(),
                    &mut model,
                );
                assert_eq!(opened, FT_OK);
                assert_eq!(ft_session_new(model, &mut session), FT_OK);
            }
            session
        })
    })
}

/// What a request may end with.
fn sound(status: ft_status) -> ft_status {
    assert!(status != FT_ERROR_PANIC && status != FT_ERROR_RUNTIME, "status {status}");
    status
}

/// Images of up to 64 by 64 of four floats, four of them.
const PIXELS: usize = 64 * 64 * 16 * 4;

fn pixels(bytes: &mut Bytes, memory: &mut [u8]) -> ft_pixels {
    // SAFETY: integers and pointers.
    let mut pixels = unsafe { std::mem::zeroed::<ft_pixels>() };
    // SAFETY: a good pointer.
    assert_eq!(unsafe { ft_pixels_init(&mut pixels, size_of::<ft_pixels>()) }, FT_OK);
    pixels.format = bytes.small(5);
    pixels.data = memory.as_mut_ptr().cast();
    let edge = [32usize, 40, 48, 64][usize::from(bytes.byte() % 4)];
    let each = [3, 3, 4, 4, 6, 12][pixels.format.min(5) as usize];
    let images = usize::from(bytes.byte() % 4 + 1);
    pixels.size = (edge * edge * each * images + usize::from(bytes.byte() / 200)).min(memory.len());
    if bytes.flag() {
        pixels.row_stride = edge * each + usize::from(bytes.byte() / 64);
        pixels.size = memory.len();
    }
    if bytes.flag() {
        pixels.image_stride = bytes.word() as usize;
        pixels.size = memory.len();
    }
    pixels
}

fuzz_target!(|data: &[u8]| {
    let bytes = &mut Bytes(data);
    let session = session();
    let (schedule, preset) = (bytes.text(b"EHPR123456789"), bytes.text(b"fast"));
    let classes: [i64; 4] = std::array::from_fn(|_| bytes.class());
    let morphed: [i64; 4] = std::array::from_fn(|_| bytes.class());
    let amounts: [f32; 4] = std::array::from_fn(|_| bytes.float());
    let mask: Vec<u8> = vec![bytes.byte(); 4 * 64 * 64];
    let noise = vec![0.5f32; 1 << 12];
    let mut given = vec![bytes.byte(); PIXELS];
    let mut images = vec![7u8; PIXELS];
    let numbers: [u64; 4] = std::array::from_fn(|_| u64::from_le_bytes(bytes.take()));
    let init = pixels(bytes, &mut given);
    let out = pixels(bytes, &mut images);
    // SAFETY: every pointer is NULL or to as many numbers as four images can want.
    unsafe {
        let mut request = std::mem::zeroed::<ft_request>();
        assert_eq!(ft_request_init(&mut request, size_of::<ft_request>()), FT_OK);
        if bytes.byte() == 255 {
            // No more than there is: a larger one would be a promise of memory.
            request.struct_size = request.struct_size.saturating_sub(u32::from(bytes.byte()));
        }
        request.image_count = u32::from(bytes.byte() % 5);
        request.classes = classes.as_ptr();
        request.seed = numbers[0];
        (request.schedule, request.preset) = (start(&schedule), start(&preset));
        (request.guidance, request.strength, request.variation) =
            (bytes.float(), bytes.float(), bytes.float());
        (request.output, request.preview, request.tile) = (bytes.small(1), bytes.small(1), bytes.small(3));
        request.reserved = u32::from(bytes.byte() / 250);
        let edges = [0, 32, 40, 48, 64, 31, 8, 1];
        [request.width, request.height] = std::array::from_fn(|_| edges[usize::from(bytes.byte() % 8)]);
        if bytes.flag() {
            (request.init, request.init_count) = (&init, bytes.small(4));
        }
        if bytes.flag() {
            (request.morph_classes, request.morph_amounts) = (morphed.as_ptr(), amounts.as_ptr());
        }
        if bytes.flag() {
            let edge = |asked: u32| if asked == 0 { 32 } else { asked as usize };
            let images = usize::from(bytes.byte() % 5);
            (request.mask, request.mask_size) =
                (mask.as_ptr(), edge(request.width) * edge(request.height) * images);
        }
        if bytes.flag() {
            (request.noise, request.noise_count) = (noise.as_ptr(), 16 * (bytes.word() as usize % 256));
        }
        if bytes.flag() {
            (request.seeds, request.seed_count) = (numbers.as_ptr(), bytes.byte() as usize % 5);
        }
        if bytes.flag() {
            (request.streams, request.stream_count) = (numbers.as_ptr(), bytes.byte() as usize % 5);
        }
        let to: *const ft_pixels =
            if request.output == 0 || bytes.byte() == 255 { &out } else { ptr::null() };
        let in_frames = bytes.flag();
        let first = sound(ft_session_generate(session, &request, to));
        if first == FT_OK {
            let mut latents = vec![7.0f32; 4 * 4 * 64];
            let read = ft_session_get_latents(session, latents.as_mut_ptr(), latents.len());
            assert!(read != FT_OK || latents.iter().any(|&x| x != 7.0));
            assert!(
                to.is_null() || images.iter().any(|&byte| byte != 7) || mask[0] == 0,
                "nothing was written"
            );
        } else {
            assert!(images.iter().all(|&byte| byte == 7), "an error, and pixels were written");
        }
        let whole = images.clone();
        assert_eq!(ft_session_generate(session, &request, to), first, "one request, two answers");
        assert!(whole == images, "one request, two images");
        if !in_frames || first != FT_OK {
            return;
        }
        images.fill(7);
        sound(ft_session_prepare(session, &request));
        assert_eq!(ft_session_begin(session, &request), FT_OK, "what is generated at once does not begin");
        let (mut done, mut made, mut all) = (0, 0, 0);
        for _ in 0..10_000 {
            assert_eq!(ft_session_step(session, u64::from(bytes.byte()), &mut done), FT_OK);
            assert_eq!(ft_session_get_steps(session, &mut made, &mut all), FT_OK);
            assert!(made <= all);
            if done != 0 {
                break;
            }
            sound(ft_session_preview(session, u32::from(bytes.byte() % 4), &out));
            images.fill(7);
        }
        assert!(done != 0 && made == all);
        if !to.is_null() {
            assert_eq!(ft_session_finish(session, to), FT_OK);
            assert!(whole == images, "at once and by frames, two images");
        }
    }
});
