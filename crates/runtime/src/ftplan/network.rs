//! What a file holds of one network.

#![forbid(unsafe_code)]

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bundle::Extent;
use crate::contract::{Contract, ElementType};
use crate::error::{Context, invalid_bundle, unsupported};
use crate::executor::Ports;
use crate::kernels::{Format, Scales};
use crate::plan::{Matrix, Numbers, Operation, Plan, Row, RowLayout};
use crate::weights::Encoding;
use crate::{Cost, Result, memory};

/// A network's plans, for each extent that it was compiled for.
#[derive(Serialize, Deserialize)]
pub struct Stored {
    /// What the plans' numbers of weights mean.
    pub weights: Vec<StoredWeight>,
    /// What its bodies are given, if they are given anything.
    pub conditions: Option<Conditions>,
    pub bodies: Vec<Body>,
}

/// A weight in the section of weights.
#[derive(Serialize, Deserialize)]
pub struct StoredWeight {
    /// Its name inside the ONNX graph.
    pub name: String,
    pub form: Form,
    pub shape: Vec<usize>,
    /// Bytes from the section's start.
    pub offset: u64,
    pub length: u64,
}

/// What a weight's bytes are: numbers, row-major as its shape says, perhaps with scales, or panels, one after another.
#[derive(Clone, Debug)]
pub enum Form {
    Numbers(Encoding),
    Scaled(Arc<Scales>),
    Panels(Format),
}

/// Written as an optional number: panels of `f32` were there first.
#[derive(Serialize, Deserialize)]
enum WrittenForm {
    F32,
    F16,
    I8,
    PanelsF16,
    PanelsI8,
    Scaled(Scales),
}

impl Serialize for Form {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let written = match self {
            Self::Numbers(Encoding::F32) => Some(WrittenForm::F32),
            Self::Numbers(Encoding::F16) => Some(WrittenForm::F16),
            Self::Numbers(Encoding::I8) => Some(WrittenForm::I8),
            Self::Scaled(scales) => Some(WrittenForm::Scaled(scales.as_ref().clone())),
            Self::Panels(Format::F32) => None,
            Self::Panels(Format::F16) => Some(WrittenForm::PanelsF16),
            Self::Panels(Format::I8) => Some(WrittenForm::PanelsI8),
            Self::Panels(Format::Bf16) => {
                return Err(serde::ser::Error::custom("weights are not packed as bfloat16"));
            }
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Form {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Ok(match Option::deserialize(deserializer)? {
            Some(WrittenForm::F32) => Self::Numbers(Encoding::F32),
            Some(WrittenForm::F16) => Self::Numbers(Encoding::F16),
            Some(WrittenForm::I8) => Self::Numbers(Encoding::I8),
            None => Self::Panels(Format::F32),
            Some(WrittenForm::PanelsF16) => Self::Panels(Format::F16),
            Some(WrittenForm::PanelsI8) => Self::Panels(Format::I8),
            Some(WrittenForm::Scaled(scales)) => Self::Scaled(scales.into()),
        })
    }
}

/// The rows that depend on times and classes alone.
#[derive(Serialize, Deserialize)]
pub enum Conditions {
    /// Computed when they are first asked for.
    Computed { plan: Plan, layout: RowLayout, ports: Ports },
    /// Computed beforehand: there are no others.
    Baked { rows: Vec<Row>, layout: RowLayout, ports: Ports },
}

/// The plan for one extent.
#[derive(Serialize, Deserialize)]
pub struct Body {
    pub batch: usize,
    /// Rows and columns of the latent.
    pub cells: [usize; 2],
    pub plan: Plan,
    pub cost: Cost,
    /// Nodes that tract computed beforehand, in its own way on the processor of whoever compiled it.
    pub inexact: Vec<String>,
}

impl Body {
    pub fn extent(&self) -> Extent {
        Extent { batch: self.batch, cells: self.cells }
    }
}

/// Bytes of memory that a byte of the section takes at most.
const READ: usize = 64;
/// Columns that a matrix may have in any case: of repeated ones there are more than numbers.
const REPEATED: u64 = 1 << 20;

impl Stored {
    /// # Errors
    /// `InvalidBundle`: not what [`write`](Self::write) writes, or it contradicts itself. `OutOfMemory`.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        // serde ends the process where memory is refused.
        memory::room(bytes.len().saturating_mul(READ))?;
        let read = postcard::take_from_bytes(bytes).map_err(|error| invalid_bundle(format!("{error}")));
        let (stored, rest): (Self, _) = read?;
        if !rest.is_empty() {
            return Err(invalid_bundle(format!("{} bytes more than its plans take", rest.len())));
        }
        let layout = match &stored.conditions {
            Some(Conditions::Computed { layout, .. } | Conditions::Baked { layout, .. }) => Some(layout),
            None => None,
        };
        if layout.is_some_and(|layout| layout.row == 0 || layout.images == 0) {
            return Err(invalid_bundle("a row of conditions is empty"));
        }
        if let Some(Conditions::Computed { plan, layout, .. }) = &stored.conditions {
            let rows = layout.row.checked_mul(layout.images);
            plan.check(&stored.weights, rows).at(|| "conditions".into())?;
        }
        Ok(stored)
    }

    pub fn write(&self) -> Result<Vec<u8>> {
        postcard::to_allocvec(self)
            .map_err(|error| unsupported(format!("the plan cannot be written: {error}")))
    }

    /// Takes out the body for `extent`, held against `contract`; else the extents that there are.
    ///
    /// # Errors
    /// `InvalidBundle`: another number of inputs, or sizes, than the contract's.
    pub fn take(
        &mut self,
        extent: Extent,
        contract: &Contract,
    ) -> Result<std::result::Result<Body, Vec<Extent>>> {
        let Some(at) = self.bodies.iter().position(|body| body.extent() == extent) else {
            return Ok(Err(self.bodies.iter().map(Body::extent).collect()));
        };
        let body = self.bodies.swap_remove(at);
        let len = |shape: &[usize]| shape.iter().try_fold(1usize, |len, &n| len.checked_mul(n));
        let plan = &body.plan;
        plan.check(&self.weights, len(&contract.output.shape))?;
        let fits = |(buffer, port): (&Option<usize>, &crate::contract::Port)| {
            buffer.is_none_or(|buffer| {
                port.element == ElementType::F32 && Some(plan.buffers[buffer]) == len(&port.shape)
            })
        };
        let inputs =
            plan.inputs.len() <= contract.inputs.len() && plan.inputs.iter().zip(&contract.inputs).all(fits);
        let given = match (&self.conditions, plan.given) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(Conditions::Computed { layout, .. } | Conditions::Baked { layout, .. }), Some(given)) => {
                layout.row.checked_mul(extent.batch) == Some(plan.buffers[given])
            }
        };
        match inputs && given {
            true => Ok(Ok(body)),
            false => Err(invalid_bundle("its inputs are not those that the manifest gives the network")),
        }
    }
}

impl Plan {
    /// Holds that what it names is there: `weights` of them, an answer of so many floats. Where steps reach in their
    /// buffers is held when it is loaded.
    ///
    /// # Errors
    /// `InvalidBundle`.
    pub fn check(&self, weights: &[StoredWeight], answer: Option<usize>) -> Result<()> {
        let buffers = self.buffers.len();
        let len = |buffer: usize| self.buffers.get(buffer).copied();
        if self.inputs.iter().flatten().chain(&self.given).any(|&buffer| buffer >= buffers) {
            return Err(invalid_bundle("inputs: a buffer that is not there"));
        }
        if len(self.output).is_none() || len(self.output) != answer {
            return Err(invalid_bundle("output: of another size than the network's answer"));
        }
        if self.constants.iter().any(|constant| len(constant.buffer) != Some(constant.floats.len())) {
            return Err(invalid_bundle("constants: of another size than their buffer"));
        }
        for step in &self.steps {
            let mut astray = false;
            step.operation.addresses(&mut |at| astray |= len(at.buffer).is_none_or(|len| at.offset > len));
            if let Operation::Matmul(product) = &step.operation {
                let Matrix { layout, numbers } = &product.weights;
                // A byte is two numbers at most.
                let there = match numbers {
                    Numbers::Weight(index) => {
                        weights.get(*index).map(|weight| weight.length.saturating_mul(2))
                    }
                    Numbers::Here(floats) => layout.is_within(floats.len()).then_some(floats.len() as u64),
                };
                astray |= there.is_none_or(|there| layout.sizes[2] as u64 > there.max(REPEATED));
            }
            if let Operation::Lookup(lookup) = &step.operation {
                astray |= lookup.weight >= weights.len();
            }
            if astray {
                return Err(invalid_bundle("names a buffer or a weight that is not there")
                    .at(format!("node '{}'", step.name)));
            }
        }
        Ok(())
    }
}
