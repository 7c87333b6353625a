//! Images to latents and back, without a generation.

use ndarray::ArrayView4;

use super::Role;
use super::boundary::{Failure, guard};
use super::bundle::Extent;
use super::pixels::{self, ft_pixels};
use super::pointers::{array, array_mut, place};
use super::session::{Desk, at, ft_session};
use super::status::{FT_ERROR_LIMIT_EXCEEDED, ft_status};

/// Encodes `image_count` images of `width` x `height` pixels to `count` floats
/// `[image_count, channels, latent height, latent width]`; 0 for width or height is the model's own.
///
/// The memory of `pixels` is only read. A generation under way goes on. Errors: as `ft_session_generate`, but none is
/// `FT_ERROR_CANCELLED`; `FT_ERROR_INVALID_ARGUMENT` for NULL, a size that the encoder cannot take, another count, no
/// encoder, memory that cannot hold the images. Threads: one at a time per session.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_session_encode(
    session: *mut ft_session,
    pixels: *const ft_pixels,
    width: u32,
    height: u32,
    image_count: u32,
    out_latents: *mut f32,
    count: usize,
) -> ft_status {
    guard(|| {
        // SAFETY: the header asks the caller for a struct and its memory.
        let pixels = unsafe { pixels::read_only(pixels, "pixels")? };
        place(out_latents, "out_latents")?;
        // SAFETY: the header asks the caller for as many floats.
        let out = unsafe { array_mut(out_latents, count, "out_latents")? };
        at(session, |desk| {
            let (images, [height, width]) = (count_of(desk, image_count)?, edges(desk, width, height));
            // Before the pixels are read: whether there is an encoder, and how much it makes.
            let made = desk.session.converts(Role::Encoder, &[images, 3, height, width])?.1;
            let wanted = images * made.iter().product::<usize>();
            if out.len() != wanted {
                let [channels, rows, columns] = made;
                return Err(Failure::argument(format!(
                    "count: {count} floats, the latents [{images}, {channels}, {rows}, {columns}] are {wanted}"
                )));
            }
            let latents = desk.session.encode(pixels.to_array([images, height, width])?.view())?;
            out.iter_mut().zip(&latents).for_each(|(out, latent)| *out = *latent);
            Ok(())
        })
    })
}

/// Decodes latents: `count` floats `[N, channels, latent height, latent width]`, for N up to the limit of a request, to
/// N images of the model's own size; see `ft_session_decode_sized` for others.
///
/// After a failure the memory of `pixels` is as it was. A generation under way goes on. Errors: as
/// `ft_session_generate`, but none is `FT_ERROR_CANCELLED`; `FT_ERROR_INVALID_ARGUMENT` for NULL, a count that is no
/// multiple of a latent's, no decoder, memory that cannot hold the images. Threads: one at a time per session.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_session_decode(
    session: *mut ft_session,
    latents: *const f32,
    count: usize,
    pixels: *const ft_pixels,
) -> ft_status {
    // SAFETY: the same is asked of the caller.
    unsafe { ft_session_decode_sized(session, latents, count, 0, 0, pixels) }
}

/// As `ft_session_decode`, to images of `width` x `height` pixels, those of a request with these; 0 is the model's
/// own.
///
/// Errors: as there; `FT_ERROR_INVALID_ARGUMENT` also for a size that the decoder cannot make.
/// Threads: one at a time per session.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_session_decode_sized(
    session: *mut ft_session,
    latents: *const f32,
    count: usize,
    width: u32,
    height: u32,
    pixels: *const ft_pixels,
) -> ft_status {
    guard(|| {
        // SAFETY: the header asks the caller for as many floats, a struct and its memory.
        let (latents, mut pixels) = unsafe { (array(latents, count, "latents")?, pixels::read(pixels)?) };
        at(session, |desk| {
            let manifest = desk.session.model().manifest();
            let own = manifest.extent(1);
            let cells = match manifest.cell() {
                None => own.cells,
                Some([down, across]) => {
                    let [height, width] = edges(desk, width, height);
                    if !(height.is_multiple_of(down) && width.is_multiple_of(across)) {
                        return Err(Failure::argument(format!(
                            "{width} x {height} pixels: must be in steps of {across} x {down}"
                        )));
                    }
                    [height / down, width / across]
                }
            };
            let [_, channels, rows, columns] = manifest.latent_shape(Extent { cells, ..own });
            let each = channels.saturating_mul(rows).saturating_mul(columns);
            if count == 0 || !count.is_multiple_of(each) {
                return Err(Failure::argument(format!("count: {count} floats; a latent takes {each}")));
            }
            let most = desk.session.model().bundle().limits().max_batch;
            let shape = [count / each, channels, rows, columns];
            if shape[0] > most as usize {
                let message = format!("count: {} latents, above the limit of {most} (max_batch)", shape[0]);
                return Err(Failure::new(FT_ERROR_LIMIT_EXCEEDED, message));
            }
            let view = ArrayView4::from_shape(shape, latents);
            let view = view.map_err(|error| Failure::argument(format!("latents: {error}")))?;
            Ok(desk.session.decode_into(view, &mut pixels)?)
        })
    })
}

/// Height and width in pixels; 0 is the model's own.
fn edges(desk: &Desk, width: u32, height: u32) -> [usize; 2] {
    let image = desk.session.model().manifest().image.as_ref();
    let own = image.map_or([0, 0], |image| [image.height, image.width]);
    [if height == 0 { own[0] } else { height }, if width == 0 { own[1] } else { width }].map(|n| n as usize)
}

/// As many images as a request may have.
fn count_of(desk: &Desk, images: u32) -> Result<usize, Failure> {
    let most = desk.session.model().bundle().limits().max_batch;
    match images {
        0 => Err(Failure::argument("image_count: 0 images; give at least one")),
        n if n > most => {
            let message = format!("image_count: {n} images, above the limit of {most} (max_batch)");
            Err(Failure::new(FT_ERROR_LIMIT_EXCEEDED, message))
        }
        n => Ok(n as usize),
    }
}
