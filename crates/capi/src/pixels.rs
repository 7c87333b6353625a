//! The caller's memory for images.

use std::ffi::{c_char, c_void};
use std::io::ErrorKind;
use std::path::Path;

use super::boundary::{Failure, guard};
use super::file::Destination;
use super::pointers::{array, array_mut, text};
use super::status::{FT_ERROR_IO, FT_ERROR_OUT_OF_MEMORY, ft_status};
use super::versioned::{self, Versioned};
use super::{PixelFormat, Pixels, PixelsRef, png_file};

/// What a pixel is made of. Colours are sRGB, as in a PNG file, and other maps are linear; rows run from top to bottom:
/// what OpenGL calls the bottom of a texture is the image's top.
pub type ft_pixel_format = u32;

/// Three bytes: red, green, blue.
pub const FT_PIXEL_RGB8: ft_pixel_format = 1;
/// Four bytes: red, green, blue, 255 (but for `FT_MAP_HDRP_MASK`, which has an alpha). Of an image that is read, the
/// fourth is not looked at.
pub const FT_PIXEL_RGBA8: ft_pixel_format = 2;
/// Four bytes: blue, green, red and a fourth as above; read likewise.
pub const FT_PIXEL_BGRA8: ft_pixel_format = 3;
/// Three IEEE half floats in 0 to 1.
pub const FT_PIXEL_RGB_F16: ft_pixel_format = 4;
/// Three floats in 0 to 1; what is read outside of that is clamped.
pub const FT_PIXEL_RGB_F32: ft_pixel_format = 5;
/// One byte. This and those below are for maps of one number a pixel, see `ft_session_get_map`; of an image that is
/// read, red, green and blue are the same.
pub const FT_PIXEL_GREY8: ft_pixel_format = 6;
/// One number of 16 bits, 0 to 65535, in the machine's byte order.
pub const FT_PIXEL_GREY16: ft_pixel_format = 7;
/// One float in 0 to 1.
pub const FT_PIXEL_GREY_F32: ft_pixel_format = 8;

/// The caller's memory for one or more images; filled by `ft_pixels_init`, then by hand. During a call that takes it
/// the memory is the library's alone: nobody reads or writes it, callbacks included, and nothing else that is given to
/// the call overlaps it, but for `ft_request.init`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ft_pixels {
    /// sizeof(ft_pixels).
    pub struct_size: u32,
    /// `FT_PIXEL_RGB8` unless set.
    pub format: ft_pixel_format,
    /// The first pixel of the first image. No alignment is asked for.
    pub data: *mut c_void,
    /// Bytes at `data`. With both strides 0 they must be just as many as the images take.
    pub size: usize,
    /// Bytes from the start of a row to the start of the next; 0 for rows without gaps.
    pub row_stride: usize,
    /// Bytes from the start of an image to the start of the next; 0 for images without gaps.
    pub image_stride: usize,
}

// SAFETY: `repr(C)`, begins with its size, integers and a pointer.
unsafe impl Versioned for ft_pixels {
    const NAME: &'static str = "ft_pixels";
    const FIRST: usize = versioned::first(40, 24);

    fn new() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            format: FT_PIXEL_RGB8,
            data: std::ptr::null_mut(),
            size: 0,
            row_stride: 0,
            image_stride: 0,
        }
    }
}

/// Reads a struct of the caller's.
///
/// # Safety
/// `pixels` is NULL or an `ft_pixels` whose memory nobody else looks at for `'a`.
pub(super) unsafe fn read<'a>(pixels: *const ft_pixels) -> Result<Pixels<'a>, Failure> {
    // SAFETY: the caller's promise.
    let raw = unsafe { versioned::read(pixels, "pixels")? };
    let format = format(raw.format, "pixels")?;
    // SAFETY: the caller's promise.
    let data = unsafe { array_mut(raw.data.cast::<u8>(), raw.size, "pixels.data")? };
    let mut pixels = Pixels::new(format, data);
    if raw.row_stride != 0 {
        pixels = pixels.with_row_stride(raw.row_stride);
    }
    if raw.image_stride != 0 {
        pixels = pixels.with_image_stride(raw.image_stride);
    }
    Ok(pixels)
}

/// Reads a struct of the caller's whose memory is only looked at.
///
/// # Safety
/// `pixels` is NULL or an `ft_pixels` whose memory nobody changes for `'a`.
pub(super) unsafe fn read_only<'a>(pixels: *const ft_pixels, name: &str) -> Result<PixelsRef<'a>, Failure> {
    // SAFETY: the caller's promise.
    let raw = unsafe { versioned::read(pixels, name)? };
    let format = format(raw.format, name)?;
    // SAFETY: the caller's promise.
    let data = unsafe { array(raw.data.cast_const().cast::<u8>(), raw.size, &format!("{name}.data"))? };
    let mut pixels = PixelsRef::new(format, data);
    if raw.row_stride != 0 {
        pixels = pixels.with_row_stride(raw.row_stride);
    }
    if raw.image_stride != 0 {
        pixels = pixels.with_image_stride(raw.image_stride);
    }
    Ok(pixels)
}

fn format(format: ft_pixel_format, name: &str) -> Result<PixelFormat, Failure> {
    Ok(match format {
        FT_PIXEL_RGB8 => PixelFormat::Rgb8,
        FT_PIXEL_RGBA8 => PixelFormat::Rgba8,
        FT_PIXEL_BGRA8 => PixelFormat::Bgra8,
        FT_PIXEL_RGB_F16 => PixelFormat::RgbF16,
        FT_PIXEL_RGB_F32 => PixelFormat::RgbF32,
        FT_PIXEL_GREY8 => PixelFormat::Grey8,
        FT_PIXEL_GREY16 => PixelFormat::Grey16,
        FT_PIXEL_GREY_F32 => PixelFormat::GreyF32,
        other => return Err(Failure::argument(format!("{name}.format: {other} is none of FT_PIXEL_..."))),
    })
}

/// Sets every field to its default.
///
/// `struct_size` is sizeof(ft_pixels). Errors: `FT_ERROR_INVALID_ARGUMENT` (NULL, a size too small),
/// `FT_ERROR_UNSUPPORTED` (this library is older than the header). Threads: any, one at a time per struct.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_pixels_init(pixels: *mut ft_pixels, struct_size: usize) -> ft_status {
    // SAFETY: the header asks the caller for that many bytes.
    guard(|| unsafe { versioned::init(pixels, struct_size, "pixels") })
}

/// Writes the first image at `pixels->data`, `width` x `height` pixels of 8 bits a channel or of grey in 16, to a PNG
/// file: a way to look at it; a fourth channel is left out. Other images may follow. A file that is there is replaced,
/// with its mode, once the new one is whole: after an error it is as it was. The memory is only read.
///
/// `path` is UTF-8. Errors: `FT_ERROR_INVALID_ARGUMENT` (NULL, memory that is too small, a format of floats),
/// `FT_ERROR_OUT_OF_MEMORY`, `FT_ERROR_IO`. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_pixels_save_png(
    pixels: *const ft_pixels,
    width: u32,
    height: u32,
    path: *const c_char,
) -> ft_status {
    guard(|| {
        // SAFETY: the header asks the caller for a struct, its memory and a text.
        let (raw, path) = unsafe { (versioned::read(pixels, "pixels")?, text(path, "path")?) };
        // SAFETY: as above.
        let data = unsafe { array(raw.data.cast_const().cast::<u8>(), raw.size, "pixels.data")? };
        let format = format(raw.format, "pixels")?;
        save_png(format, data, raw.row_stride, [width as usize, height as usize], Path::new(path))
    })
}

/// Writes the image at the beginning of `data`, in rows that begin `stride` bytes apart; 0 is for rows without gaps.
fn save_png(
    format: PixelFormat,
    data: &[u8],
    stride: usize,
    [width, height]: [usize; 2],
    path: &Path,
) -> Result<(), Failure> {
    let (kind, order) = match format {
        PixelFormat::Rgb8 | PixelFormat::Rgba8 => (PixelFormat::Rgb8, &[0, 1, 2][..]),
        PixelFormat::Bgra8 => (PixelFormat::Rgb8, &[2, 1, 0][..]),
        PixelFormat::Grey8 => (format, &[0][..]),
        PixelFormat::Grey16 => (format, &[0, 1][..]),
        _ => {
            return Err(Failure::argument("pixels.format: PNG files take formats of 8 bits, and GREY16"));
        }
    };
    let (each, found) = (format.bytes(), data.len());
    let row = width.saturating_mul(each);
    let stride = if stride == 0 { row } else { stride };
    let wanted = height.saturating_sub(1).saturating_mul(stride).saturating_add(row);
    if width == 0 || height == 0 || stride < row || found < wanted {
        return Err(Failure::argument(format!(
            "pixels: {found} bytes in rows of {stride}; an image of {width} x {height} {format} takes {wanted} in \
             rows of {row} or more"
        )));
    }
    let fill = |y: usize, written: &mut [u8]| {
        let pixels = data[y * stride..][..row].chunks_exact(each);
        for (to, pixel) in written.chunks_exact_mut(order.len()).zip(pixels) {
            to.iter_mut().zip(order).for_each(|(to, &i)| *to = pixel[i]);
        }
    };
    Destination::new(path)
        .and_then(|to| to.write(|out| png_file::write(out, kind, (width, height), &[], fill)))
        .map_err(|error| {
            let status = match error.kind() {
                ErrorKind::OutOfMemory => FT_ERROR_OUT_OF_MEMORY,
                _ => FT_ERROR_IO,
            };
            Failure::new(status, format!("{}: cannot be written: {error}", path.display()))
        })
}
