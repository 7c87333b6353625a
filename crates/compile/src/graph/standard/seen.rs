//! A node with what is known of the tensors that it takes.

use std::sync::Arc;

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{AttributeProto, NodeProto};
use tract_onnx::prelude::Tensor;

use crate::error::{invalid_bundle, unsupported};
use crate::{Error, Result};

/// What a node says of itself, without its graphs and tensors.
#[derive(Clone, Debug)]
pub(in super::super) struct Node {
    pub(in super::super) operator: String,
    pub(in super::super) opset: i64,
    /// For messages.
    pub(in super::super) place: String,
    attributes: Vec<AttributeProto>,
    /// For each input that the node lists, its place among those that are there.
    slots: Vec<Option<usize>>,
    /// Outputs that the node lists and that are there.
    pub(super) outputs: Vec<bool>,
}

impl Node {
    pub(in super::super) fn new(node: &NodeProto, opset: i64) -> Self {
        let mut there = 0..;
        let slots = node.input.iter().map(|name| if name.is_empty() { None } else { there.next() }).collect();
        let plain = |a: &&AttributeProto| a.t.is_none() && a.g.is_none();
        Self {
            operator: node.op_type.clone(),
            opset,
            place: super::place(node),
            attributes: node.attribute.iter().filter(plain).cloned().collect(),
            slots,
            outputs: node.output.iter().map(|name| !name.is_empty()).collect(),
        }
    }

    /// The node with its operands; `None` while one of them, as `operand` tells, is open.
    pub(in super::super) fn see<F>(
        &self,
        facts: &[F],
        operand: impl Fn(&F) -> Option<Operand>,
    ) -> Option<Seen<'_>> {
        let operands = self.slots.iter().map(|slot| match *slot {
            Some(slot) => operand(facts.get(slot)?).map(Some),
            None => Some(None),
        });
        Some(Seen { node: self, operands: operands.collect::<Option<_>>()? })
    }

    /// What is known of the input with this place in the standard, if the node lists it.
    pub(super) fn input<'a, F>(&self, facts: &'a [F], place: usize) -> Option<&'a F> {
        facts.get((*self.slots.get(place)?)?)
    }

    fn attribute(&self, name: &str, kind: AttributeType) -> Option<&AttributeProto> {
        self.attributes.iter().find(|a| a.name == name && a.r#type == kind as i32)
    }

    pub(in super::super) fn int(&self, name: &str) -> Option<i64> {
        Some(self.attribute(name, AttributeType::Int)?.i)
    }

    pub(in super::super) fn flag(&self, name: &str) -> bool {
        self.int(name).is_some_and(|value| value != 0)
    }

    pub(in super::super) fn float(&self, name: &str) -> Option<f32> {
        Some(self.attribute(name, AttributeType::Float)?.f)
    }

    pub(in super::super) fn ints(&self, name: &str) -> Option<&[i64]> {
        Some(&self.attribute(name, AttributeType::Ints)?.ints)
    }

    pub(in super::super) fn floats(&self, name: &str) -> Option<&[f32]> {
        Some(&self.attribute(name, AttributeType::Floats)?.floats)
    }

    pub(in super::super) fn word(&self, name: &str) -> Option<&str> {
        str::from_utf8(&self.attribute(name, AttributeType::String)?.s).ok()
    }

    /// An attribute that is one number for each of `axes` axes; `otherwise` if it is not there.
    pub(in super::super) fn each(&self, name: &str, axes: usize, otherwise: usize) -> Result<Vec<usize>> {
        let Some(list) = self.ints(name) else { return Ok(vec![otherwise; axes]) };
        let sizes: Option<Vec<usize>> = list.iter().map(|&n| usize::try_from(n).ok()).collect();
        sizes.filter(|sizes| sizes.len() == axes).ok_or_else(|| {
            invalid_bundle(format!(
                "attribute '{name}' is {list:?}, must be {axes} numbers that are not negative"
            ))
        })
    }
}

/// A tensor's shape, and its elements where they are known.
#[derive(Clone, Debug)]
pub(in super::super) struct Operand {
    pub(in super::super) shape: Vec<usize>,
    pub(in super::super) value: Option<Arc<Tensor>>,
}

impl Operand {
    /// The elements, if they are known and integers.
    pub(in super::super) fn integers(&self) -> Option<Vec<i64>> {
        let numbers = self.value.as_ref()?.cast_to::<i64>().ok()?;
        Some(numbers.try_as_plain_ram().ok()?.as_slice::<i64>().ok()?.to_vec())
    }
}

/// A node and its operands; all their shapes are known.
pub(in super::super) struct Seen<'a> {
    pub(in super::super) node: &'a Node,
    /// By the place that the standard gives them.
    pub(in super::super) operands: Vec<Option<Operand>>,
}

impl Seen<'_> {
    pub(in super::super) fn operand(&self, place: usize) -> Option<&Operand> {
        self.operands.get(place)?.as_ref()
    }

    /// The shape of an operand that has to be there.
    pub(in super::super) fn shape(&self, place: usize) -> Result<&[usize]> {
        let operand =
            self.operand(place).ok_or_else(|| invalid_bundle(format!("lacks its input {place}")))?;
        Ok(&operand.shape)
    }

    pub(in super::super) fn rank(&self, place: usize) -> Result<usize> {
        Ok(self.shape(place)?.len())
    }

    /// The elements of an operand, `name` in the standard, in a list; `None` if it is left out.
    pub(in super::super) fn integers(&self, place: usize, name: &str) -> Result<Option<Vec<i64>>> {
        let Some(operand) = self.operand(place) else { return Ok(None) };
        if operand.value.is_none() {
            return Err(unknown(name));
        }
        if operand.shape.len() > 1 {
            let rank = operand.shape.len();
            return Err(invalid_bundle(format!("input '{name}' has {rank} axes, must be a list")));
        }
        let numbers = operand.integers();
        let numbers =
            numbers.ok_or_else(|| invalid_bundle(format!("input '{name}' does not hold integers")))?;
        Ok(Some(numbers))
    }

    pub(in super::super) fn floats(&self, place: usize, name: &str) -> Result<Option<Vec<f32>>> {
        let Some(operand) = self.operand(place) else { return Ok(None) };
        let value = operand.value.as_ref().ok_or_else(|| unknown(name))?;
        let numbers =
            value.cast_to::<f32>().and_then(|t| Ok(t.try_as_plain_ram()?.as_slice::<f32>()?.to_vec()));
        let numbers = numbers.map_err(|_| invalid_bundle(format!("input '{name}' does not hold numbers")))?;
        match numbers.iter().find(|n| n.is_nan()) {
            Some(_) => Err(invalid_bundle(format!("input '{name}' holds NaN"))),
            None => Ok(Some(numbers)),
        }
    }

    /// The one element of an operand.
    pub(in super::super) fn integer(&self, place: usize, name: &str) -> Result<Option<i64>> {
        match self.integers(place, name)?.as_deref() {
            None => Ok(None),
            Some(&[n]) => Ok(Some(n)),
            Some(list) => {
                Err(invalid_bundle(format!("input '{name}' holds {} numbers, must hold one", list.len())))
            }
        }
    }

    /// An attribute until some opset, an input since.
    pub(in super::super) fn list(&self, place: usize, name: &str) -> Result<Option<Vec<i64>>> {
        match self.node.ints(name) {
            Some(list) => Ok(Some(list.to_vec())),
            None => self.integers(place, name),
        }
    }
}

fn unknown(name: &str) -> Error {
    unsupported(format!("input '{name}' must be known while loading: a constant, or made of sizes alone"))
}

/// The axis that `written` means in a tensor of `rank` axes.
pub(in super::super) fn axis(name: &str, written: i64, rank: usize) -> Result<usize> {
    let signed = rank as i64;
    if (-signed..signed).contains(&written) {
        return Ok(written.rem_euclid(signed) as usize);
    }
    Err(invalid_bundle(format!("'{name}' is {written}, but the tensor has {rank} axes")))
}

/// The axes that `written` means; each once.
pub(in super::super) fn axes(name: &str, written: &[i64], rank: usize) -> Result<Vec<usize>> {
    let axes: Vec<usize> = written.iter().map(|&a| axis(name, a, rank)).collect::<Result<_>>()?;
    match axes.iter().enumerate().find(|(i, axis)| axes[..*i].contains(axis)) {
        Some((_, axis)) => Err(invalid_bundle(format!("'{name}' names axis {axis} twice"))),
        None => Ok(axes),
    }
}
