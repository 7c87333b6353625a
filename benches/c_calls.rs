//! What the C API costs: the same generation by the Rust API and by the C functions, in turns.
//!
//! `cargo bench --bench c_calls`

// The crate itself is made for C alone.
#[allow(dead_code, unused_imports, reason = "what is not called here")]
#[path = "../crates/capi/src/lib.rs"]
mod capi;

use std::ffi::CString;
use std::ops::ControlFlow;
use std::ptr::null;
use std::time::Instant;

use capi::model::{ft_model_free, ft_model_open};
use capi::pixels::{ft_pixels, ft_pixels_init};
use capi::request::{ft_request, ft_request_init};
use capi::session::{ft_session_free, ft_session_generate, ft_session_new};
use flowturbo::{Model, Pixels, Request};

const TURNS: usize = 400;
const IMAGE: usize = 128 * 128 * 3;

/// The quartiles, in milliseconds or as they come.
fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[values.len() * quarter / 4])
}

fn main() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/textures");
    let mut session = Model::open(path).unwrap().session();
    let request = Request::new(vec![4]).with_seed(7);
    let (mut rust_rgb, mut c_rgb) = (vec![0u8; IMAGE], vec![0u8; IMAGE]);
    let (mut rust, mut c, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let class = 4i64;
    // SAFETY: places, structs and memory are there for as long as they are used.
    unsafe {
        let (mut model, mut c_session) = (std::ptr::null_mut(), std::ptr::null_mut());
        let path = CString::new(path).unwrap();
        assert_eq!(ft_model_open(path.as_ptr(), null(), &raw mut model), 0);
        assert_eq!(ft_session_new(model, &raw mut c_session), 0);
        let (mut raw, mut pixels) = (std::mem::zeroed::<ft_request>(), std::mem::zeroed::<ft_pixels>());
        assert_eq!(ft_request_init(&raw mut raw, size_of::<ft_request>()), 0);
        assert_eq!(ft_pixels_init(&raw mut pixels, size_of::<ft_pixels>()), 0);
        (raw.classes, raw.seed) = (&raw const class, 7);
        (pixels.data, pixels.size) = (c_rgb.as_mut_ptr().cast(), IMAGE);
        for turn in 0..TURNS + 5 {
            let mut by_rust = || {
                let started = Instant::now();
                let observer = &mut |_: &flowturbo::Progress| ControlFlow::Continue(());
                session.generate_into(&request, &mut Pixels::rgb8(&mut rust_rgb), observer).unwrap();
                started.elapsed().as_secs_f64()
            };
            let by_c = || {
                let started = Instant::now();
                assert_eq!(ft_session_generate(c_session, &raw const raw, &raw const pixels), 0);
                started.elapsed().as_secs_f64()
            };
            // Whoever is first finds the caches as the other left them.
            let (of_rust, of_c) = if turn % 2 == 0 {
                let of_rust = by_rust();
                (of_rust, by_c())
            } else {
                let of_c = by_c();
                (by_rust(), of_c)
            };
            if turn >= 5 {
                rust.push(of_rust * 1e3);
                c.push(of_c * 1e3);
                ratios.push(of_c / of_rust);
            }
        }
        ft_session_free(c_session);
        ft_model_free(model);
    }
    assert_eq!(rust_rgb, c_rgb);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{TURNS} turns, {threads} threads; quartiles");
    println!(
        "Rust {:.3?} ms, C {:.3?} ms, C / Rust {:.4?}",
        quartiles(rust),
        quartiles(c),
        quartiles(ratios)
    );
}
