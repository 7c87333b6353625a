//! Writes plan files.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use super::format::{Kind, Writer};
use super::network::{Body, Conditions, Form, Stored, StoredWeight};
use crate::bundle::Role;
use crate::error::{Context, unsupported};
use crate::kernels::{Format, Inline, Isa, Source, Workers, pack};
use crate::plan::{Layout, Numbers, Operation, Plan, Target};
use crate::precision::Precision;
use crate::weights::{Contents, Weights};
use crate::{Result, memory};

/// A network to be written; `stored` has no weights yet, its plans those of `weights`.
pub struct Network {
    pub role: Role,
    pub stored: Stored,
    pub weights: Arc<Weights>,
}

/// Writes a file of a manifest, perhaps a tokenizer, and some networks; the weights that no plan uses are left out.
///
/// # Errors
/// `Io`, `OutOfMemory`, those of reading the weights. `Unsupported`: a plan with a step that has no kernel.
pub fn write(
    out: impl Write,
    manifest: &[u8],
    tokenizer: Option<&[u8]>,
    mut networks: Vec<Network>,
    target: Target,
    precision: Precision,
) -> Result<()> {
    let mut writer = Writer::new(out, target, precision)?;
    writer.begin(Kind::Manifest)?;
    writer.write(manifest)?;
    if let Some(tokenizer) = tokenizer {
        writer.begin(Kind::Tokenizer)?;
        writer.write(tokenizer)?;
    }
    for Network { role, stored, weights } in &mut networks {
        let place = || role.to_string();
        writer.begin(Kind::Weights(*role)).at(place)?;
        let mut packing =
            Packing { writer: &mut writer, weights, target, known: HashMap::new(), stored: Vec::new() };
        let Stored { conditions, bodies, .. } = stored;
        let of_conditions = match conditions {
            Some(Conditions::Computed { plan, .. }) => Some(plan),
            _ => None,
        };
        let bodies = bodies.iter_mut().map(|Body { plan, .. }| (plan, precision.of(*role)));
        for (plan, precision) in bodies.chain(of_conditions.map(|plan| (plan, precision.exact()))) {
            plan.check_own().at(place)?;
            packing.plan(plan, precision).at(place)?;
        }
        stored.weights = packing.stored;
        writer.begin(Kind::Network(*role)).at(place)?;
        writer.write(&stored.write()?).at(place)?;
    }
    writer.finish()
}

/// Gives plans' weights their places in a section.
struct Packing<'a, W> {
    writer: &'a mut Writer<W>,
    weights: &'a Weights,
    target: Target,
    /// Those that are there: by their number, and packed ones by how they are laid out.
    known: HashMap<(usize, Option<(Layout, Format)>), usize>,
    stored: Vec<StoredWeight>,
}

impl<W: Write> Packing<'_, W> {
    /// Writes the weights of a plan that are not there yet, and numbers them anew.
    fn plan(&mut self, plan: &mut Plan, precision: Precision) -> Result<()> {
        let formats: Vec<_> = precision.formats(&plan.steps, self.weights, Precision::portable).collect();
        for (step, format) in plan.steps.iter_mut().zip(formats) {
            match (&mut step.operation, format) {
                (Operation::Matmul(product), Some(format)) => {
                    let matrix = &mut product.weights;
                    let Numbers::Weight(index) = &mut matrix.numbers else { continue };
                    let packed = self.target != Target::Generic;
                    *index = self.place(*index, packed.then_some((matrix.layout, format)))?;
                    if packed {
                        matrix.layout = Layout { offset: 0, strides: [0; 3], ..matrix.layout };
                    }
                }
                (Operation::Lookup(lookup), _) => lookup.weight = self.place(lookup.weight, None)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// The number of a weight in the section; writes it first if it is not there yet.
    fn place(&mut self, index: usize, packed: Option<(Layout, Format)>) -> Result<usize> {
        if let Some(&place) = self.known.get(&(index, packed)) {
            return Ok(place);
        }
        let stored = self.write(index, packed)?;
        memory::push(&mut self.stored, stored)?;
        self.known.insert((index, packed), self.stored.len() - 1);
        Ok(self.stored.len() - 1)
    }

    fn write(&mut self, index: usize, packed: Option<(Layout, Format)>) -> Result<StoredWeight> {
        let mut bytes = Vec::new();
        let weight = self.weights.read(index, &mut bytes)?;
        let mut form = match &weight.contents {
            Contents::Plain(encoding) => Form::Numbers(*encoding),
            Contents::Scaled(scales) => Form::Scaled(Arc::clone(scales)),
            Contents::Packed(format) => Form::Panels(*format),
        };
        let (name, mut shape, values) = (weight.name.clone(), weight.shape.clone(), weight.values(&bytes));
        if let (Some((layout, format)), Some(size)) = (packed, self.target.panels()) {
            let Layout { offset, sizes, strides } = layout;
            let ([segments, k, cols], [segment_stride, row_stride, col_stride]) = (sizes, strides);
            let source = Source { values: values.from(offset), cols, segment_stride, row_stride, col_stride };
            let workers = &mut Workers::new(Isa::Scalar, &Inline, &mut []);
            let panels = pack(size, format, segments, k, &source, workers)?;
            bytes.clear();
            memory::reserve(&mut bytes, size_of_val(&panels[..]))?;
            bytes.extend(panels.iter().flat_map(|x| x.to_le_bytes()));
            (form, shape) = (Form::Panels(format), sizes.to_vec());
        } else if packed.is_some() {
            return Err(unsupported("weights cannot be packed for every processor"));
        }
        self.writer.align()?;
        let offset = self.writer.write(&bytes)?;
        Ok(StoredWeight { name, form, shape, offset, length: bytes.len() as u64 })
    }
}
