//! What has no kernel: one of tract's operations, planned as a network of its own together with whatever it takes
//! that is not of floats, which the arena does not hold.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::bail;
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::plan::SimplePlan;

use super::{Lowering, Place};
use crate::error::{Context, unsupported};
use crate::net::{Constant, Einsum, Id, Op};
use crate::panics::{in_tract, of_tract};
use crate::plan::{Foreign, ForeignOperation, Operation};
use crate::reference::failed;
use crate::{ErrorKind, Result};

impl Lowering<'_> {
    /// Emits an operation that the net took over as it was.
    pub(super) fn fallback(&mut self, id: Id) -> Result<Place> {
        let Op::Fallback(foreign, slot) = self.net.op(id).clone() else {
            return Err(unsupported("is not an operation of tract's"));
        };
        self.foreign(id, foreign.op, slot)
    }

    /// Emits a product that is not one of rows and a constant matrix.
    pub(super) fn foreign_product(&mut self, id: Id, einsum: &Einsum) -> Result<Place> {
        let text = |letters: &[char]| letters.iter().collect::<String>();
        let axes = format!("{},{}->{}", text(&einsum.a), text(&einsum.b), text(&einsum.out));
        let axes = axes.parse().map_err(|_| unsupported(format!("has no kernel for the product {axes}")))?;
        self.foreign(id, Box::new(EinSum::new(axes, DatumType::F32)), 0)
    }

    fn foreign(&mut self, id: Id, op: Box<dyn TypedOp>, slot: usize) -> Result<Place> {
        let net = self.net;
        let mut part = Part::default();
        let mut outlets = tvec!();
        for &input in net.inputs(id) {
            outlets.push(self.wire(&mut part, id, input).at(|| op.name().to_string())?);
        }
        let answer = part.wire(op, &outlets)?;
        let Part { mut model, places, operations, .. } = part;
        let plan = guarded(|| {
            model.select_output_outlets(&answer[slot..=slot])?;
            SimplePlan::new(model.into_optimized()?)
        })?;
        let len = net.dims(id).iter().product();
        let out = Place::dense(self.buffer(len), net.dims(id));
        let operation = Arc::new(Planned { name: operations.join(" + "), plan });
        let operands = places.into_iter().map(|place| (place.address(), place.dims)).collect();
        self.step(id, Operation::Foreign(Foreign { operation, operands, out: out.address(), len }));
        Ok(out)
    }

    /// An operand as part of a network of tract's: floats come from the arena, whatever else is computed inside.
    fn wire(&mut self, part: &mut Part, user: Id, id: Id) -> Result<OutletId> {
        if let Some(&outlet) = part.known.get(&id) {
            return Ok(outlet);
        }
        let net = self.net;
        let outlet = match net.op(id) {
            Op::Constant(Constant(tensor)) => part.constant(Arc::clone(tensor))?,
            _ if net.nodes[id].element == DatumType::F32 => {
                let place = self.place(id)?;
                let place = self.dense(user, &place);
                part.source(place)?
            }
            Op::Fallback(foreign, slot) if part.inside < MOST_INSIDE => {
                let (foreign, slot) = (foreign.clone(), *slot);
                part.inside += 1;
                let mut outlets = tvec!();
                for &input in net.inputs(id) {
                    outlets.push(self.wire(part, user, input)?);
                }
                part.wire(foreign.op, &outlets)?[slot]
            }
            _ => {
                let (name, element) = (&net.nodes[id].name, net.nodes[id].element);
                return Err(unsupported(format!("takes numbers of type {element:?} from '{name}'")));
            }
        };
        part.known.insert(id, outlet);
        Ok(outlet)
    }
}

/// An operation as tract planned it.
struct Planned {
    name: String,
    plan: Arc<TypedSimplePlan>,
}

impl ForeignOperation for Planned {
    fn name(&self) -> &str {
        &self.name
    }

    fn run(&self, mem: &mut [f32], call: &Foreign) -> Result<()> {
        self.eval(mem, call).map_err(|error| failed(&error))
    }
}

impl Planned {
    fn eval(&self, mem: &mut [f32], call: &Foreign) -> TractResult<()> {
        let operand = |(offset, dims): &(usize, Vec<usize>)| -> TractResult<TValue> {
            let len: usize = dims.iter().product();
            Ok(Tensor::from_shape(dims, &mem[*offset..offset + len])?.into_tvalue())
        };
        let work = || self.plan.run(call.operands.iter().map(operand).collect::<TractResult<_>>()?);
        let results = catch_unwind(AssertUnwindSafe(work));
        let results =
            results.unwrap_or_else(|panic| Err(of_tract(panic.as_ref(), ErrorKind::Runtime).into()))?;
        let view = results[0].try_as_plain_ram()?;
        let values = view.as_slice::<f32>()?;
        if values.len() != call.len {
            bail!("{} gave {} numbers, {} were planned", self.name, values.len(), call.len);
        }
        mem[call.out..call.out + call.len].copy_from_slice(values);
        Ok(())
    }
}

/// The most operations in a part; a network that computes more without floats is left to tract whole.
const MOST_INSIDE: usize = 16;

/// A few operations that tract runs together.
#[derive(Default)]
struct Part {
    model: TypedModel,
    /// Where its inputs are.
    places: Vec<Place>,
    /// What tract calls its operations.
    operations: Vec<String>,
    known: HashMap<Id, OutletId>,
    /// Operations entered whose answers are no floats; bounds how deep wiring goes.
    inside: usize,
}

impl Part {
    fn name(&self) -> String {
        self.model.nodes().len().to_string()
    }

    fn constant(&mut self, tensor: Arc<Tensor>) -> Result<OutletId> {
        let name = self.name();
        guarded(|| self.model.add_const(name, tensor))
    }

    fn source(&mut self, place: Place) -> Result<OutletId> {
        let (name, fact) = (self.name(), f32::fact(&place.dims));
        self.places.push(place);
        guarded(|| self.model.add_source(name, fact))
    }

    fn wire(&mut self, op: Box<dyn TypedOp>, inputs: &[OutletId]) -> Result<TVec<OutletId>> {
        self.operations.push(op.name().to_string());
        let name = self.name();
        guarded(|| self.model.wire_node(name, op, inputs))
    }
}

/// tract may refuse, or panic: that is no reason to give it the whole network.
fn guarded<T>(work: impl FnOnce() -> TractResult<T>) -> Result<T> {
    in_tract(work)?.map_err(|error| {
        let cause = || unsupported(format!("cannot be planned by itself: {error:#}").replace('\n', " "));
        error.downcast_ref().cloned().unwrap_or_else(cause)
    })
}
