//! A bundle with weights of bytes.

#![forbid(unsafe_code)]

use crate::{Bundle, CancelToken, Result};

/// Makes of `bundle` one whose large linear layers have weights of bytes with a scale for each output channel: a
/// quarter of float32, half of float16. Those are the layers that [`Precision::Int8`](crate::Precision::Int8)
/// multiplies as bytes, rounded as it rounds them, so that by it both bundles give the same images; what it keeps exact
/// stays as it is. In the other precisions the new bundle's images are those of the rounded weights.
///
/// The new networks are in memory, all else is read from where it was; [`Bundle::write_zip`] writes them down. They are
/// ONNX graphs of `DequantizeLinear`, which other engines read too.
///
/// ```no_run
/// use flowturbo::{Bundle, CancelToken, quantize};
/// let quantized = quantize(&Bundle::open("models/textures")?, &CancelToken::new())?;
/// quantized.write_zip(std::fs::File::create("textures-int8.zip").unwrap())?;
/// # Ok::<(), flowturbo::Error>(())
/// ```
///
/// # Errors
/// [`Unsupported`](crate::ErrorKind::Unsupported): `bundle` is a plan, its weights are bytes already, it has none that
/// are large, a network's opset is older than 13, or a node has no kernel, so that int8 does not run it either. Else as
/// [`Model::load`](crate::Model::load).
pub fn quantize(bundle: &Bundle, cancel: &CancelToken) -> Result<Bundle> {
    bundle.check_onnx()?;
    bundle.with_networks(flowturbo_compile::quantised(bundle, cancel)?)
}
