//! Holds each node to the standard once tract knows what it takes.
//!
//! tract learns shapes and values bit by bit, so every operation of its is wrapped: as soon as all that a node takes
//! is known, [`laws`](super::laws) says what must come out, and tract's own answer has to be that.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_core::tract_data::TooEarly;
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::internal::*;

use super::laws::{self, Shapes};
use super::{Node, Operand, Seen, budget, names};
use crate::error::{invalid_bundle, unsupported};
use crate::graph::operators::{self, Built};
use crate::panics::of_tract;
use crate::{Error, ErrorKind};

/// A reader of graphs whose operations are all wrapped.
pub(in super::super) fn register(onnx: &mut Onnx) {
    onnx.op_register.0 = readers().op_register.0.keys().map(|name| (name.clone(), READ)).collect();
}

type Reader = fn(&ParsingContext, &NodeProto) -> TractResult<Built>;

const READ: Reader = read;

/// tract's readers, and ours in the place of those that read wrongly.
fn readers() -> &'static Onnx {
    static READERS: OnceLock<Onnx> = OnceLock::new();
    READERS.get_or_init(|| {
        let mut onnx = tract_onnx::onnx();
        operators::register(&mut onnx);
        onnx
    })
}

fn read(context: &ParsingContext, node: &NodeProto) -> TractResult<Built> {
    let read = readers().op_register.0.get(&node.op_type).context("has no reader")?;
    let seen = Node::new(node, context.onnx_operator_set_version);
    let (inner, closures) = guarded(&seen, || read(context, node))?;
    // tract knows its constants by their type.
    if node.op_type == "Constant" {
        return Ok((inner, closures));
    }
    Ok((Box::new(Checked { inner, node: Arc::new(seen), shapes: None, counted: OnceLock::new() }), closures))
}

/// Runs what tract has to say of a node; its errors and panics name the node.
fn guarded<T>(node: &Node, work: impl FnOnce() -> TractResult<T>) -> TractResult<T> {
    let refused = |error: TractError| -> Error {
        // Our own errors pass through tract unchanged.
        if let Some(own) = error.downcast_ref::<Error>() {
            return own.clone();
        }
        let cause = format!("{error:#}").replace(['\n', '\r'], " ");
        if cause.to_lowercase().contains("unimplemented") || cause.contains("not supported") {
            unsupported(format!("tract cannot run it: {cause}"))
        } else {
            invalid_bundle(format!("tract refuses it: {cause}"))
        }
    };
    match catch_unwind(AssertUnwindSafe(work)) {
        // A node inside of this one has said it.
        Ok(Err(error)) if error.is::<Placed>() => Err(error),
        Ok(done) => Ok(done.map_err(|error| Placed(refused(error).at(node.place.clone())))?),
        Err(panic) => {
            Err(Placed(of_tract(panic.as_ref(), ErrorKind::InvalidBundle).at(node.place.clone())).into())
        }
    }
}

/// One of our errors that already says which node it is about.
#[derive(Debug)]
pub(in super::super) struct Placed(pub(in super::super) Error);

impl std::fmt::Display for Placed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Placed {}

/// One of tract's operations, held to the standard.
#[derive(Clone, Debug)]
struct Checked {
    inner: Box<dyn InferenceOp>,
    node: Arc<Node>,
    /// What comes out by the standard, once all that goes in is known.
    shapes: Option<Shapes>,
    /// Set once tract has computed its results, which are constants then.
    counted: OnceLock<()>,
}

impl PartialEq for Checked {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

impl Eq for Checked {}

impl Checked {
    fn laws(&self, seen: &Seen) -> TractResult<Shapes> {
        guarded(&self.node, || Ok(laws::shapes(seen)?))
    }
}

fn inferred(fact: &&InferenceFact) -> Option<Operand> {
    let shape = fact.shape.concretize()?.iter().map(|d| d.to_usize().ok()).collect::<Option<_>>()?;
    Some(Operand { shape, value: fact.value.concretize() })
}

fn typed(fact: &TypedFact) -> Option<Operand> {
    Some(Operand { shape: fact.shape.as_concrete()?.to_vec(), value: fact.konst.clone() })
}

impl Op for Checked {
    fn name(&self) -> StaticName {
        self.inner.as_op().name()
    }

    not_a_typed_op!();
}

impl EvalOp for Checked {
    fn eval(&self, context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        guarded(&self.node, || self.inner.eval(context, inputs))
    }

    fn eval_out_of_plan(&self, inputs: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
        // Too early is no error, and has to stay what it is.
        match catch_unwind(AssertUnwindSafe(|| self.inner.eval_out_of_plan(inputs))) {
            Ok(Err(error)) if error.root_cause().is::<TooEarly>() => Err(error),
            Ok(Ok(Some(made))) => guarded(&self.node, || {
                if self.counted.set(()).is_ok() {
                    let bytes = made.iter().map(|tensor| tensor.len() * tensor.datum_type().size_of());
                    budget::constant(bytes.sum::<usize>() as u64)?;
                }
                Ok(Some(made))
            }),
            Ok(done) => guarded(&self.node, || done),
            Err(panic) => guarded(&self.node, || std::panic::resume_unwind(panic)),
        }
    }

    fn state(&self, context: &EvalContext) -> TractResult<Option<Box<dyn OpState>>> {
        self.inner.state(context)
    }
}

impl InferenceOp for Checked {
    fn infer_facts(
        &mut self,
        inputs: TVec<&InferenceFact>,
        outputs: TVec<&InferenceFact>,
        observed: TVec<&InferenceFact>,
    ) -> TractResult<(TVec<InferenceFact>, TVec<InferenceFact>, TVec<InferenceFact>)> {
        guarded(&self.node, || Ok(budget::check()?))?;
        if self.shapes.is_none()
            && let Some(seen) = self.node.see(&inputs, inferred)
            && laws::may_speak(&seen)
        {
            self.shapes = Some(self.laws(&seen)?);
        }
        let node = Arc::clone(&self.node);
        let (inputs, mut outputs, observed) =
            guarded(&node, || self.inner.infer_facts(inputs, outputs, observed))?;
        for (fact, shape) in outputs.iter_mut().zip(self.shapes.iter().flatten()) {
            let Some(shape) = shape else { continue };
            let wanted =
                ShapeFactoid::closed(shape.iter().map(|n| GenericFactoid::Only(n.to_dim())).collect());
            fact.shape = guarded(&self.node, || match fact.shape.unify(&wanted) {
                Ok(shape) => Ok(shape),
                Err(_) => Err(differs(&fact.shape, shape).into()),
            })?;
        }
        Ok((inputs, outputs, observed))
    }

    fn observe_outlets(&self, model: &InferenceModel, node: &InferenceNode) -> TractResult<Vec<OutletId>> {
        self.inner.observe_outlets(model, node)
    }

    fn incorporate(
        &self,
        model: &InferenceModel,
        node: &InferenceNode,
    ) -> TractResult<Option<InferenceModelPatch>> {
        self.inner.incorporate(model, node)
    }

    fn nboutputs(&self) -> TractResult<usize> {
        self.inner.nboutputs()
    }

    fn to_typed(
        &self,
        source: &InferenceModel,
        node: &InferenceNode,
        target: &mut TypedModel,
        mapping: &HashMap<OutletId, OutletId>,
    ) -> TractResult<TVec<OutletId>> {
        let facts = node.inputs.iter().map(|outlet| target.outlet_fact(mapping[outlet]));
        let facts = facts.collect::<TractResult<Vec<_>>>()?;
        if let Some(kind) = facts.iter().map(|fact| fact.datum_type).find(|kind| unread(&self.node, *kind)) {
            return guarded(
                &self.node,
                || Err(unsupported(format!("takes numbers of type {kind:?}")).into()),
            );
        }
        guarded(&self.node, || Ok(whole(&self.node, &facts)?))?;
        let mut shapes = match self.node.see(&facts, |fact| typed(fact)) {
            Some(seen) => self.laws(&seen)?,
            None => Shapes::new(),
        }
        .into_iter();
        guarded(&self.node, || {
            budget::check()?;
            let made = self.inner.to_typed(source, node, target, mapping)?;
            // tract calls every one by its operator, so that there could be one only.
            if let (names::IF, Some(outlet)) = (self.node.operator.as_str(), made.first()) {
                target.rename_node(outlet.node, &node.name)?;
            }
            for &outlet in &made {
                let fact = target.outlet_fact(outlet)?;
                let found = fact.shape.as_concrete();
                match shapes.next().flatten() {
                    Some(shape) if found != Some(&shape) => return Err(differs(&fact.shape, &shape).into()),
                    Some(_) => {}
                    // Where the standard's is not known, tract's is no larger.
                    None => found.map_or(Ok(()), |found| laws::hold(found, fact.konst.is_some()))?,
                }
            }
            Ok(made)
        })
    }

    as_op!();
}

/// Inputs that count or point at something. tract takes other numbers for them, and cuts what follows the point.
const WHOLE: &[(&str, &[usize])] = &[
    ("ConstantOfShape", &[0]),
    ("CumSum", &[1]),
    ("Expand", &[1]),
    ("Gather", &[1]),
    ("GatherElements", &[1]),
    ("GatherND", &[1]),
    ("Pad", &[1, 3]),
    ("Reshape", &[1]),
    ("Scatter", &[1]),
    ("ScatterElements", &[1]),
    ("ScatterND", &[1]),
    ("Slice", &[1, 2, 3, 4]),
    ("Split", &[1]),
    ("Squeeze", &[1]),
    ("Tile", &[1]),
    ("TopK", &[1]),
    ("Trilu", &[1]),
    ("Unsqueeze", &[1]),
];

/// Refuses other numbers than integers where the standard has those alone.
fn whole(node: &Node, facts: &[&TypedFact]) -> Result<(), Error> {
    let row = WHOLE.iter().find(|(operator, _)| *operator == node.operator);
    let places = match row {
        Some((_, places)) => places,
        None if node.operator.starts_with("Reduce") => &[1][..],
        None => return Ok(()),
    };
    for &place in places {
        let kind = node.input(facts, place).map(|fact| fact.datum_type);
        if let Some(kind) = kind.filter(|kind| !kind.is_integer() && !kind.is_tdim()) {
            return Err(invalid_bundle(format!(
                "input {place} holds numbers of type {kind:?}, must be integers"
            )));
        }
    }
    Ok(())
}

/// Types of numbers that tract plans for an operator, and then cannot compute, or not well.
fn unread(node: &Node, kind: DatumType) -> bool {
    use DatumType::{Bool, F16, F64, I16, U16};
    let operator = node.operator.as_str();
    match kind {
        // Whose sign the rest takes is left open.
        kind if kind.is_float() && operator == "Mod" => !node.flag("fmod"),
        Bool => matches!(operator, "Equal" | "Pad" | "ReduceMax" | "ReduceMin"),
        F16 => matches!(operator, "Conv" | "Tan"),
        F64 => matches!(operator, "Round" | "Sigmoid" | "Swish" | "LayerNormalization"),
        I16 | U16 => operator == "DequantizeLinear",
        _ => false,
    }
}

fn differs(tracts: &dyn std::fmt::Debug, standards: &[usize]) -> Error {
    unsupported(format!("tract makes {tracts:?} of it, the standard {standards:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn a_panic_names_its_node_and_one_for_want_of_memory_says_so() {
        let proto = NodeProto { name: "n".into(), op_type: "Relu".into(), ..NodeProto::default() };
        let node = Node::new(&proto, 17);
        for (text, kind) in [
            ("index 7", ErrorKind::InvalidBundle),
            ("failed to allocate Layout { size: 72, align: 8 }", ErrorKind::OutOfMemory),
        ] {
            let error = guarded(&node, || -> TractResult<()> { panic!("{text}") }).unwrap_err();
            let Placed(error) = error.downcast_ref().unwrap();
            assert_eq!(error.kind(), kind);
            assert!(error.to_string().starts_with("node 'n' (Relu): "), "{error}");
        }
    }
}
