//! Requests of the C API: every number from the input, every pointer NULL or good. A status, the same for the same
//! request, and nothing written where it is not `FT_OK`.
#![no_main]

use std::cell::RefCell;
use std::ffi::CString;
use std::ptr;

use arbitrary::{Arbitrary, Unstructured};
use flowturbo::capi::model::{ft_model, ft_model_open_memory};
use flowturbo::capi::request::{ft_request, ft_request_init};
use flowturbo::capi::session::{ft_session, ft_session_generate, ft_session_get_latents, ft_session_new};
use flowturbo::capi::status::FT_OK;
use flowturbo_fuzz::zipped;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Numbers {
    size_off: Option<u8>,
    count: u8,
    classes: [i64; 4],
    small_classes: bool,
    seed: u64,
    schedule: Option<String>,
    guidance: f32,
    output: u32,
    preview: u32,
    reserved: u8,
    preset: Option<String>,
    tile: u32,
    edges: [u16; 2],
    strength: f32,
    init_count: u32,
    variation: f32,
    morph: Option<[f32; 4]>,
    mask: Option<u8>,
    noise: Option<u16>,
}

thread_local! {
    static SESSION: RefCell<Option<*mut ft_session>> = const { RefCell::new(None) };
}

fn session() -> *mut ft_session {
    SESSION.with_borrow_mut(|known| {
        *known.get_or_insert_with(|| {
            let (mut model, mut session) = (ptr::null_mut::<ft_model>(), ptr::null_mut());
            // Lent for good.
            let bytes = Vec::leak(zipped());
            // SAFETY: all pointers are good.
            unsafe {
                let opened = ft_model_open_memory(
                    bytes.as_ptr().cast(), bytes.len(), None, ptr::null_mut(), ptr::null(), &mut model,
                );
                assert_eq!(opened, FT_OK);
                assert_eq!(ft_session_new(model, &mut session), FT_OK);
            }
            session
        })
    })
}

fuzz_target!(|data: &[u8]| {
    let Ok(numbers) = Numbers::arbitrary(&mut Unstructured::new(data)) else { return };
    let session = session();
    let text = |text: &Option<String>| text.as_ref().and_then(|text| CString::new(text.as_str()).ok());
    let (schedule, preset) = (text(&numbers.schedule), text(&numbers.preset));
    let count = u32::from(numbers.count % 5);
    let classes = numbers.classes.map(|class| if numbers.small_classes { class.rem_euclid(4) } else { class });
    let morph = numbers.morph.unwrap_or_default();
    let (mask, noise) = (vec![numbers.mask.unwrap_or(0); 1 << 12], vec![0.5f32; 1 << 16]);
    let mut latents = vec![7.0f32; 4 * 1024];
    // SAFETY: every pointer is NULL or to as many numbers as four images can want.
    unsafe {
        let mut request = std::mem::zeroed::<ft_request>();
        assert_eq!(ft_request_init(&mut request, size_of::<ft_request>()), FT_OK);
        if let Some(off) = numbers.size_off {
            // No more than there is: a larger one would be a promise of memory.
            request.struct_size = request.struct_size.saturating_sub(u32::from(off));
        }
        request.image_count = count;
        request.classes = classes.as_ptr();
        request.seed = numbers.seed;
        request.schedule = schedule.as_ref().map_or(ptr::null(), |text| text.as_ptr());
        request.preset = preset.as_ref().map_or(ptr::null(), |text| text.as_ptr());
        (request.guidance, request.strength, request.variation) =
            (numbers.guidance, numbers.strength, numbers.variation);
        (request.output, request.preview, request.tile) = (numbers.output, numbers.preview, numbers.tile);
        request.reserved = u32::from(numbers.reserved / 200);
        [request.width, request.height] = numbers.edges.map(|edge| u32::from(edge % 64));
        request.init_count = numbers.init_count;
        if numbers.morph.is_some() {
            (request.morph_classes, request.morph_amounts) = (classes.as_ptr(), morph.as_ptr());
        }
        if numbers.mask.is_some() {
            (request.mask, request.mask_size) = (mask.as_ptr(), mask.len());
        }
        if let Some(noise_count) = numbers.noise {
            (request.noise, request.noise_count) = (noise.as_ptr(), usize::from(noise_count));
        }
        let first = ft_session_generate(session, &request, ptr::null_mut());
        assert_eq!(ft_session_generate(session, &request, ptr::null_mut()), first, "{numbers:?}");
        if first == FT_OK {
            let read = ft_session_get_latents(session, latents.as_mut_ptr(), latents.len());
            assert!(read != FT_OK || latents.iter().any(|&x| x != 7.0));
        }
    }
});
