//! In what numbers networks multiply.

use super::Precision;
use super::boundary::Failure;

/// In what numbers networks multiply: linear layers, convolutions, attention. All else is float32.
pub type ft_precision = u32;

/// float32, exact up to rounding.
pub const FT_PRECISION_F32: ft_precision = 0;
/// The same bits, by weights that stay float16 in memory where the files have them so.
pub const FT_PRECISION_F16_WEIGHTS: ft_precision = 1;
/// bfloat16, approximate; for processors with AVX512-BF16 or Arm's BF16 and GPUs of compute capability 8.0 and newer,
/// else `FT_ERROR_UNSUPPORTED`.
pub const FT_PRECISION_BF16: ft_precision = 2;
/// Linear layers of bytes, the others as FT_PRECISION_BF16 where the processor has it; approximate. Not for GPUs.
pub const FT_PRECISION_INT8: ft_precision = 3;
/// float16, approximate; for GPUs (`FT_DEVICE_CUDA`), else `FT_ERROR_UNSUPPORTED`.
pub const FT_PRECISION_F16: ft_precision = 4;
/// float32 rounded to 10 bits of mantissa where it is multiplied, but for attention; for GPUs of compute capability 8.0
/// and newer, else `FT_ERROR_UNSUPPORTED`.
pub const FT_PRECISION_TF32: ft_precision = 5;
/// What `flowturbo tune` stored in the bundle, as far as this processor has it, else float32; a packed plan's own.
pub const FT_PRECISION_AUTO: ft_precision = 6;

/// What a number of the header's means.
pub(super) fn of(precision: ft_precision) -> Result<Precision, Failure> {
    match precision {
        FT_PRECISION_F32 => Ok(Precision::F32),
        FT_PRECISION_F16_WEIGHTS => Ok(Precision::F16Weights),
        FT_PRECISION_BF16 => Ok(Precision::Bf16),
        FT_PRECISION_INT8 => Ok(Precision::Int8),
        FT_PRECISION_F16 => Ok(Precision::F16),
        FT_PRECISION_TF32 => Ok(Precision::Tf32),
        FT_PRECISION_AUTO => Ok(Precision::Auto),
        other => Err(Failure::argument(format!(
            "options.precision is {other}, which is none of FT_PRECISION_...; call ft_model_options_init first"
        ))),
    }
}
