//! NumPy files of 32-bit floats.

mod header;

use std::io;
use std::path::Path;

use ndarray::{Array, Array4, ArrayD, ArrayViewD, Dimension, Ix4};
use ndarray_npy::{ViewNpyError, ViewNpyExt, WriteNpyError, WriteNpyExt};

use crate::failure::Failure;
use crate::input;
use crate::output::Output;

/// Reads `[N, C, H, W]`.
pub fn read(path: &Path) -> Result<Array4<f32>, Failure> {
    let array = read_any(path)?;
    let shape = array.shape().to_vec();
    array.into_dimensionality::<Ix4>().map_err(|_| {
        let why = format!("has shape {shape:?}, must have four axes [N, C, H, W]");
        Failure::Usage(format!("{}: {why}", input::name(path)))
    })
}

/// Reads any shape.
///
/// The file is viewed, not parsed into memory of the size that its header claims.
pub fn read_any(path: &Path) -> Result<ArrayD<f32>, Failure> {
    let fail = |why: String| Failure::Usage(format!("{}: {why}", input::name(path)));
    let bytes = input::read(path)?;
    header::check(&bytes).map_err(fail)?;
    let view = ArrayViewD::<f32>::view_npy(&bytes).map_err(|error| match error {
        ViewNpyError::WrongDescriptor(kind) => fail(format!("holds {kind}, must hold float32 ('<f4')")),
        ViewNpyError::NonNativeEndian => fail("has another byte order than this machine".into()),
        error => fail(format!("is not a readable NumPy .npy file: {error}")),
    })?;
    Ok(view.to_owned())
}

/// Writes any shape.
pub fn write<D: Dimension>(output: &Output, array: &Array<f32, D>) -> Result<(), Failure> {
    output.write(|out| {
        array.write_npy(out).map_err(|error| match error {
            WriteNpyError::Io(error) => error,
            error => io::Error::other(error),
        })
    })
}
