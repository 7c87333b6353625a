//! In what numbers networks multiply, and which products and attentions that is for.

#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use crate::bundle::Role;
use crate::error::{invalid_argument, unsupported};
use crate::kernels::{Attention, Format, Isa, Matmul, Microkernel};
use crate::plan::{self, Numbers, Operation, Target};
use crate::weights::{Encoding, Weights};
use crate::{Error, Result};

/// In what numbers the predictor, the refiner and the decoder multiply: linear layers, convolutions and attention. All
/// else is `f32`: normalisation, softmax, activations, what times and classes alone decide, a network's first and last
/// product, and convolutions of 3 x 3 in Winograd's form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Precision {
    /// `f32`, exact up to rounding.
    #[default]
    F32,
    /// As [`F32`](Self::F32), to the bit, but weights that the files store as float16 stay float16 in memory; those of
    /// convolutions in Winograd's form do not.
    F16Weights,
    /// bfloat16, with sums in `f32`: approximate. For processors with AVX512-BF16 or Arm's BF16, where attention stays
    /// `f32`.
    Bf16,
    /// Linear layers of bytes: a scale for each output channel, and for each token a scale and a zero, taken from the
    /// token itself; sums are exact. Convolutions and attention as [`Bf16`](Self::Bf16) where the processor has it,
    /// else as [`F16Weights`](Self::F16Weights). Approximate.
    Int8,
    /// float16, with sums in `f32`: approximate. For CUDA devices.
    F16,
    /// As [`F32`](Self::F32), but what linear layers and convolutions multiply is rounded to 10 bits of mantissa, with
    /// sums in `f32`: approximate. For CUDA devices of compute capability 8.0 and newer.
    Tf32,
    /// What `flowturbo tune` measured and stored in the bundle ([`Bundle::measured`](crate::Bundle::measured)), as far
    /// as this processor has it; else `f32`.
    Auto,
}

impl Precision {
    /// Every one.
    pub const ALL: &[Self] =
        &[Self::F32, Self::F16Weights, Self::Bf16, Self::Int8, Self::F16, Self::Tf32, Self::Auto];

    /// Holds that this processor has what it takes, with the kernels of `isa`, and gives the same bits as any other if
    /// that is asked for.
    ///
    /// # Errors
    /// `Unsupported`.
    pub fn check(self, isa: Isa, deterministic: bool) -> Result<()> {
        if self.is_of_devices() {
            return Err(unsupported(format!(
                "precision: {self} is for CUDA devices (device cuda); the cpu takes f32, f16-weights, bf16 or int8"
            )));
        }
        if self != Self::Bf16 || Self::available(isa, deterministic)(Format::Bf16) {
            return Ok(());
        }
        Err(unsupported(match deterministic {
            true => "precision: bf16 is rounded by each processor in its own way; a deterministic model takes f32, \
                     f16-weights or int8"
                .to_owned(),
            false => format!(
                "precision: bf16 takes a processor with AVX512-BF16 or Arm's BF16, here are kernels for {isa}; int8 \
                 and f16-weights run everywhere"
            ),
        }))
    }

    /// Whether no processor computes in it.
    pub fn is_of_devices(self) -> bool {
        matches!(self, Self::F16 | Self::Tf32)
    }

    /// What [`Auto`](Self::Auto) comes to where `measured` is stored, others as they are; a log line says so.
    #[must_use]
    pub fn taken(self, measured: Option<Self>, isa: Isa, deterministic: bool) -> Self {
        if self != Self::Auto {
            return self;
        }
        let Some(measured) = measured else {
            log::info!(
                "precision: auto is f32, nothing else is stored in the bundle; flowturbo tune --write measures"
            );
            return Self::F32;
        };
        match measured.check(isa, deterministic) {
            Ok(()) => {
                log::info!("precision: auto is {measured}, as flowturbo tune stored it");
                measured
            }
            Err(error) => {
                log::warn!("precision: auto is f32, not the stored {measured}: {error}");
                Self::F32
            }
        }
    }

    /// That of the network that plays `role`.
    #[must_use]
    pub fn of(self, role: Role) -> Self {
        match role {
            Role::Predictor | Role::Refiner | Role::Decoder => self,
            _ => self.exact(),
        }
    }

    /// For conditions and for networks that are none of those: what is exact.
    #[must_use]
    pub fn exact(self) -> Self {
        if self == Self::F32 { Self::F32 } else { Self::F16Weights }
    }

    /// Whether its numbers are those of `f32`, to the bit.
    pub fn is_exact(self) -> bool {
        self == self.exact()
    }

    /// Whether weights are packed in it for `target`: f32 alone where nothing is packed, and nothing that only some
    /// processors of a target have.
    pub fn packs(self, target: Target) -> bool {
        let everywhere = !matches!(self, Self::Bf16 | Self::Auto) && !self.is_of_devices();
        self == Self::F32 || (target != Target::Generic && everywhere)
    }

    /// The number that stands for it in a file.
    pub fn code(self) -> u32 {
        self as u32
    }

    /// The formats that a processor of `isa` multiplies, or those of them that are the same to the bit on all.
    pub fn available(isa: Isa, deterministic: bool) -> impl Fn(Format) -> bool {
        move |format| Microkernel::of(isa, format).is_some() && !(deterministic && format == Format::Bf16)
    }

    /// Those that every processor of a target has.
    pub fn portable(format: Format) -> bool {
        format != Format::Bf16
    }

    /// The format of each product among `steps`, of those that there are; none for other steps. Weights that are packed
    /// have theirs.
    pub fn formats<'a>(
        self,
        steps: &'a [plan::Step],
        weights: &'a Weights,
        there_is: impl Fn(Format) -> bool + 'a,
    ) -> impl Iterator<Item = Option<Format>> + 'a {
        let products = steps.iter().filter(|step| matches!(step.operation, Operation::Matmul(_))).count();
        let mut number = 0;
        steps.iter().map(move |step| {
            let Operation::Matmul(product) = &step.operation else { return None };
            number += 1;
            let ends = number == 1 || number == products;
            let packed = match product.weights.numbers {
                Numbers::Weight(index) => weights.packed_as(index),
                Numbers::Here(_) => None,
            };
            let rounded = || self.rounded(product, &there_is).filter(|_| !ends);
            Some(packed.or_else(rounded).unwrap_or_else(|| self.unrounded(product, weights)))
        })
    }

    /// The format that both sides of a product are rounded to, if they are.
    fn rounded(self, product: &plan::Matmul, there_is: impl Fn(Format) -> bool) -> Option<Format> {
        let formats: &[Format] = match self {
            Self::F32 | Self::F16Weights | Self::F16 | Self::Tf32 | Self::Auto => &[],
            Self::Bf16 => &[Format::Bf16],
            Self::Int8 => &[Format::I8, Format::Bf16],
        };
        let plan::Matmul { a_stride, segments, groups, weights, .. } = product;
        let takes = |format| Matmul::takes(format, weights.layout.sizes[1], *a_stride, segments, groups);
        formats.iter().copied().find(|&format| there_is(format) && takes(format))
    }

    /// What queries, keys, weights and values of an attention are multiplied as; sets that are the same to the bit
    /// everywhere have floats alone.
    pub fn of_attention<A>(self, attention: &Attention<A>, isa: Isa) -> Format {
        match self {
            Self::Bf16 | Self::Int8 if attention.takes(isa, Format::Bf16) => Format::Bf16,
            _ => Format::F32,
        }
    }

    /// The format that weights have as they are.
    fn unrounded(self, product: &plan::Matmul, weights: &Weights) -> Format {
        let stored = match product.weights.numbers {
            Numbers::Weight(index) => weights.encoding(index),
            Numbers::Here(_) => None,
        };
        let halves = self != Self::F32 && stored == Some(Encoding::F16);
        if halves { Format::F16 } else { Format::F32 }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16Weights => "f16-weights",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
            Self::F16 => "f16",
            Self::Tf32 => "tf32",
            Self::Auto => "auto",
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
        assert_eq!(error, "no precision 'fp16'; there are f32, f16-weights, bf16, int8, f16, tf32, auto");
    }

    #[test]
    fn only_bfloat16_asks_for_a_processor_and_some_for_a_device() {
        for isa in Isa::available() {
            for precision in Precision::ALL {
                let of_processors = !precision.is_of_devices();
                let has = *precision != Precision::Bf16 || Microkernel::of(isa, Format::Bf16).is_some();
                assert_eq!(precision.check(isa, false).is_ok(), of_processors && has, "{isa} {precision}");
                assert_eq!(
                    precision.check(isa, true).is_ok(),
                    of_processors && *precision != Precision::Bf16,
                    "{isa} {precision}"
                );
            }
        }
        let error = Precision::Bf16.check(Isa::Scalar, false).unwrap_err().to_string();
        assert!(error.starts_with("precision: bf16 takes a processor with AVX512-BF16"), "{error}");
    }

    #[test]
    fn attention_is_rounded_where_the_processor_has_bfloat16() {
        let place = Heads { offset: 0, image_stride: 0, token_stride: 64, head_stride: 0 };
        let (q, k, v, out) = (place, place, place, place);
        let attention =
            Attention { q, k, v, out, images: 1, heads: 1, queries: 256, keys: 256, dim: 64, scale: 1.0 };
        for isa in Isa::available() {
            let has = attention.takes(isa, Format::Bf16);
            for &precision in Precision::ALL {
                let rounds = has && matches!(precision, Precision::Bf16 | Precision::Int8);
                let format = if rounds { Format::Bf16 } else { Format::F32 };
                assert_eq!(precision.of_attention(&attention, isa), format, "{isa} {precision}");
            }
        }
    }
}
