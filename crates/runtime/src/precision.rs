//! In what numbers products of weights are computed, and which products that is for.

#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use crate::error::{invalid_argument, unsupported};
use crate::kernels::{Attention, Format, Isa, Matmul, Microkernel};
use crate::plan::{self, Numbers, Operation};
use crate::weights::{Encoding, Weights};
use crate::{Error, Result};

/// In what numbers the predictor, the refiner and the decoder multiply: by weights, which is linear layers and
/// convolutions, and in attention. All else is `f32`: normalisation, activations, attention under a mask, what times
/// and classes alone decide, and a network's first and last product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Precision {
    /// `f32`, exact up to rounding.
    #[default]
    F32,
    /// As [`F32`](Self::F32), to the bit, but weights that the files store as float16 stay float16 in memory: half of
    /// it.
    F16Weights,
    /// bfloat16, with sums in `f32`: approximate. For processors with AVX512-BF16.
    Bf16,
    /// Linear layers of bytes: a scale for each output channel, and for each token a scale and a zero, taken from the
    /// token itself; sums are exact. Convolutions and attention as [`Bf16`](Self::Bf16) where the processor has it,
    /// else as [`F32`](Self::F32). Approximate.
    Int8,
}

impl Precision {
    /// Every one.
    pub const ALL: &[Self] = &[Self::F32, Self::F16Weights, Self::Bf16, Self::Int8];

    /// Holds that this processor has what it takes, with the kernels of `isa`.
    ///
    /// # Errors
    /// `Unsupported`.
    pub fn check(self, isa: Isa) -> Result<()> {
        if self == Self::Bf16 && Microkernel::of(isa, Format::Bf16).is_none() {
            return Err(unsupported(format!(
                "precision: bf16 takes a processor with AVX512-BF16, here are kernels for {isa}; int8 and f16-weights run \
                 everywhere"
            )));
        }
        Ok(())
    }

    /// For a network that is none of predictor, refiner and decoder, or for conditions: what is exact.
    #[must_use]
    pub fn exact(self) -> Self {
        if self == Self::F32 { Self::F32 } else { Self::F16Weights }
    }

    /// The micro-kernel of each product among `steps`; none for other steps.
    pub fn kernels<'a>(
        self,
        steps: &'a [plan::Step],
        weights: &'a Weights,
        isa: Isa,
    ) -> impl Iterator<Item = Option<&'static Microkernel>> + 'a {
        let products = steps.iter().filter(|step| matches!(step.operation, Operation::Matmul(_))).count();
        let mut number = 0;
        steps.iter().map(move |step| {
            let Operation::Matmul(product) = &step.operation else { return None };
            number += 1;
            let ends = number == 1 || number == products;
            let rounded = self.rounded(product, isa).filter(|_| !ends);
            Some(rounded.unwrap_or_else(|| self.unrounded(product, weights, isa)))
        })
    }

    /// The micro-kernel that rounds both sides of a product, if it is to be rounded.
    fn rounded(self, product: &plan::Matmul, isa: Isa) -> Option<&'static Microkernel> {
        let formats: &[Format] = match self {
            Self::F32 | Self::F16Weights => &[],
            Self::Bf16 => &[Format::Bf16],
            // Sets that are the same to the bit everywhere have no bfloat16.
            Self::Int8 => &[Format::I8, Format::Bf16],
        };
        let plan::Matmul { a_stride, segments, groups, weights, .. } = product;
        let taken =
            |format: &&Format| Matmul::takes(**format, weights.layout.sizes[1], *a_stride, segments, groups);
        formats.iter().filter(taken).find_map(|format| Microkernel::of(isa, *format))
    }

    /// What queries, keys, weights and values of an attention are multiplied as.
    pub fn of_attention<A>(self, attention: &Attention<A>, isa: Isa) -> Format {
        match self {
            Self::Bf16 | Self::Int8 if attention.takes(isa, Format::Bf16) => Format::Bf16,
            _ => Format::F32,
        }
    }

    /// The micro-kernel that takes the weights as they are.
    fn unrounded(self, product: &plan::Matmul, weights: &Weights, isa: Isa) -> &'static Microkernel {
        let stored = match product.weights.numbers {
            Numbers::Weight(index) => weights.encoding(index),
            Numbers::Here(_) => None,
        };
        let halves = self != Self::F32 && stored == Some(Encoding::F16);
        let format = if halves { Format::F16 } else { Format::F32 };
        Microkernel::of(isa, format).unwrap_or_else(|| Microkernel::exact(isa))
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16Weights => "f16-weights",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        })
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.iter().copied().find(|precision| precision.to_string() == name).ok_or_else(|| {
            let known: Vec<String> = Self::ALL.iter().map(Self::to_string).collect();
            invalid_argument(format!(
                "no precision '{}'; there are {}",
                name.escape_debug(),
                known.join(", ")
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Heads;

    #[test]
    fn names_are_read_as_they_are_written() {
        for precision in Precision::ALL {
            assert_eq!(precision.to_string().parse::<Precision>().unwrap(), *precision);
        }
        let error = "fp16".parse::<Precision>().unwrap_err().to_string();
        assert_eq!(error, "no precision 'fp16'; there are f32, f16-weights, bf16, int8");
    }

    #[test]
    fn only_bfloat16_asks_for_a_processor() {
        for isa in Isa::available() {
            for precision in Precision::ALL {
                let has = *precision != Precision::Bf16 || Microkernel::of(isa, Format::Bf16).is_some();
                assert_eq!(precision.check(isa).is_ok(), has, "{isa} {precision}");
            }
        }
        let error = Precision::Bf16.check(Isa::Scalar).unwrap_err().to_string();
        assert!(error.starts_with("precision: bf16 takes a processor with AVX512-BF16"), "{error}");
    }

    #[test]
    fn attention_is_rounded_where_the_processor_has_bfloat16() {
        let place = Heads { offset: 0, image_stride: 0, token_stride: 64, head_stride: 0 };
        let (q, k, v, out) = (place, place, place, place);
        let attention =
            Attention { q, k, v, out, images: 1, heads: 1, queries: 256, keys: 256, dim: 64, scale: 1.0 };
        for isa in Isa::available() {
            let has = Microkernel::of(isa, Format::Bf16).is_some();
            for &precision in Precision::ALL {
                let rounds = has && matches!(precision, Precision::Bf16 | Precision::Int8);
                let format = if rounds { Format::Bf16 } else { Format::F32 };
                assert_eq!(precision.of_attention(&attention, isa), format, "{isa} {precision}");
            }
        }
    }
}
