//! Adds nodes to a net, each in its plainest form.

use std::sync::Arc;

use tract_onnx::prelude::*;

use super::{Binary, Constant, Einsum, Id, Key, Net, Node, Op, Reducer, Unary, functions};
use crate::Result;
use crate::memory::{self, refused};

impl Net {
    /// Room for what one of tract's nodes may become, so that what is pushed meanwhile seldom asks for any.
    pub(super) fn make_room(&mut self) -> Result<()> {
        const MORE: usize = 32;
        memory::grow(&mut self.nodes, MORE)?;
        let entries = (self.known.len() + MORE) as u64;
        self.known.try_reserve(MORE).map_err(|_| refused(entries * size_of::<(Key, Id)>() as u64))
    }

    /// Adds a node as it is, or finds the equal one.
    pub(super) fn push(&mut self, op: Op, inputs: Vec<Id>, dims: Vec<usize>, element: DatumType) -> Id {
        let key = (format!("{op:?} {element:?}"), inputs, dims);
        if let Some(&id) = self.known.get(&key) {
            return id;
        }
        let (inputs, dims) = (key.1.clone(), key.2.clone());
        self.fault = self.fault.take().or_else(|| self.contradiction(&op, &inputs, &dims));
        let id = self.nodes.len();
        let name = Arc::clone(&self.origin);
        self.nodes.push(Node { op, inputs, dims, element, name, function: None });
        self.known.insert(key, id);
        id
    }

    /// As `push`, for `f32`.
    pub(super) fn float(&mut self, op: Op, inputs: Vec<Id>, dims: Vec<usize>) -> Id {
        self.push(op, inputs, dims, DatumType::F32)
    }

    pub(super) fn tensor(&mut self, tensor: Arc<Tensor>) -> Id {
        let (dims, element) = (tensor.shape().to_vec(), tensor.datum_type());
        self.push(Op::Constant(Constant(tensor)), Vec::new(), dims, element)
    }

    /// What `look` makes of the constant's elements as `f32`, if it is one.
    pub(super) fn look<T>(&self, id: Id, look: impl FnOnce(&[f32]) -> Option<T>) -> Option<T> {
        let Op::Constant(Constant(tensor)) = self.op(id) else { return None };
        let tensor = tensor.cast_to::<f32>().ok()?;
        look(tensor.try_as_plain_ram().ok()?.as_slice::<f32>().ok()?)
    }

    /// The one value of a constant whose elements are all equal.
    fn uniform(&self, id: Id) -> Option<f32> {
        if let Op::Broadcast = self.op(id) {
            return self.uniform(self.inputs(id)[0]);
        }
        self.look(id, |values| {
            let (&first, rest) = values.split_first()?;
            rest.iter().all(|&value| value == first).then_some(first)
        })
    }

    pub(super) fn reshape(&mut self, x: Id, dims: Vec<usize>) -> Id {
        if self.dims(x) == dims {
            return x;
        }
        let x = if matches!(self.op(x), Op::Reshape) { self.inputs(x)[0] } else { x };
        if self.dims(x) == dims {
            return x;
        }
        if let Some(id) = self.group_normal(x, &dims) {
            return id;
        }
        let element = self.nodes[x].element;
        self.push(Op::Reshape, vec![x], dims, element)
    }

    pub(super) fn permute(&mut self, x: Id, axes: Vec<usize>) -> Id {
        if axes.iter().enumerate().all(|(i, &axis)| i == axis) {
            return x;
        }
        if let Op::Permute(inner) = self.op(x) {
            let axes = axes.iter().map(|&axis| inner[axis]).collect();
            let x = self.inputs(x)[0];
            return self.permute(x, axes);
        }
        let dims = axes.iter().map(|&axis| self.dims(x)[axis]).collect();
        let element = self.nodes[x].element;
        self.push(Op::Permute(axes), vec![x], dims, element)
    }

    pub(super) fn slice(&mut self, x: Id, axis: usize, start: usize, len: usize) -> Id {
        if start == 0 && Some(&len) == self.dims(x).get(axis) {
            return x;
        }
        let mut dims = self.dims(x).to_vec();
        if let Some(dim) = dims.get_mut(axis) {
            *dim = len;
        }
        let element = self.nodes[x].element;
        self.push(Op::Slice { axis, start }, vec![x], dims, element)
    }

    pub(super) fn broadcast(&mut self, x: Id, dims: Vec<usize>) -> Id {
        if self.dims(x) == dims {
            return x;
        }
        let element = self.nodes[x].element;
        self.push(Op::Broadcast, vec![x], dims, element)
    }

    pub(super) fn unary(&mut self, op: Unary, x: Id) -> Id {
        let inner = match self.op(x) {
            Op::Unary(inner) => Some((*inner, self.inputs(x)[0])),
            _ => None,
        };
        match (op, inner) {
            (Unary::Mul(1.0) | Unary::Add(0.0), _) => return x,
            // One number in place of two where it is a plain one, and where no digits are lost between the two.
            (Unary::Mul(b), Some((Unary::Mul(a), y))) if (a * b).is_normal() => {
                return self.unary(Unary::Mul(a * b), y);
            }
            (Unary::Add(b), Some((Unary::Add(a), y))) if a * b >= 0.0 && (a + b).is_finite() => {
                return self.unary(Unary::Add(a + b), y);
            }
            (Unary::Recip, Some((Unary::Sqrt, y))) => return self.unary(Unary::Rsqrt, y),
            (Unary::Mul(factor), None) => {
                if let Some(id) = self.mean(x, factor) {
                    return id;
                }
            }
            _ => {}
        }
        let dims = self.dims(x).to_vec();
        let id = self.float(Op::Unary(op), vec![x], dims);
        functions::recognise(self, id)
    }

    pub(super) fn binary(&mut self, op: Binary, a: Id, b: Id) -> Id {
        let dims: Vec<usize> = self.dims(a).iter().zip(self.dims(b)).map(|(&a, &b)| a.max(b)).collect();
        let constant = |net: &Self, id: Id, other: Id| {
            if net.dims(other) == dims { net.uniform(id) } else { None }
        };
        if let Some(c) = constant(self, b, a) {
            let op = match op {
                Binary::Add => Some(Unary::Add(c)),
                Binary::Sub => Some(Unary::Add(-c)),
                Binary::Mul => Some(Unary::Mul(c)),
                Binary::Div => Some(c.recip()).filter(|factor| factor.is_normal()).map(Unary::Mul),
                Binary::Max => Some(Unary::Clamp(c, f32::INFINITY)),
                Binary::Min => Some(Unary::Clamp(f32::NEG_INFINITY, c)),
            };
            if let Some(op) = op {
                return self.unary(op, a);
            }
        }
        if let Some(c) = constant(self, a, b) {
            match op {
                Binary::Add | Binary::Mul | Binary::Max | Binary::Min => return self.binary(op, b, a),
                Binary::Sub => {
                    let negative = self.unary(Unary::Mul(-1.0), b);
                    return self.unary(Unary::Add(c), negative);
                }
                Binary::Div => {
                    let reciprocal = self.unary(Unary::Recip, b);
                    return self.unary(Unary::Mul(c), reciprocal);
                }
            }
        }
        if op == Binary::Mul && a == b {
            return self.unary(Unary::Square, a);
        }
        if op == Binary::Div && matches!(self.op(b), Op::Unary(Unary::Sqrt)) {
            let root = self.inputs(b)[0];
            let reciprocal = self.unary(Unary::Rsqrt, root);
            return self.binary(Binary::Mul, a, reciprocal);
        }
        if op == Binary::Mul
            && let Some(id) = self.normal(a, b).or_else(|| self.normal(b, a))
        {
            return id;
        }
        if let Some(id) = self.group_affine(op, a, b).or_else(|| self.group_affine(op, b, a)) {
            return id;
        }
        let id = self.float(Op::Binary(op), vec![a, b], dims);
        functions::recognise(self, id)
    }

    /// A power by a constant exponent.
    pub(super) fn power(&mut self, x: Id, exponent: f32) -> Id {
        let op = match exponent {
            1.0 => return x,
            2.0 => Unary::Square,
            0.5 => Unary::Sqrt,
            -0.5 => Unary::Rsqrt,
            -1.0 => Unary::Recip,
            _ => Unary::Pow(exponent),
        };
        self.unary(op, x)
    }

    pub(super) fn reduce(&mut self, reducer: Reducer, x: Id, axes: Vec<usize>) -> Id {
        let mut dims = self.dims(x).to_vec();
        for &axis in &axes {
            if let Some(dim) = dims.get_mut(axis) {
                *dim = 1;
            }
        }
        self.float(Op::Reduce(reducer, axes), vec![x], dims)
    }

    /// `factor * sum(..)` that is a mean.
    fn mean(&mut self, sum: Id, factor: f32) -> Option<Id> {
        let Op::Reduce(Reducer::Sum, axes) = self.op(sum) else { return None };
        let (x, axes) = (self.inputs(sum)[0], axes.clone());
        let count: usize = axes.iter().map(|&axis| self.dims(x)[axis]).product();
        ((factor * count as f32 - 1.0).abs() < 1e-5).then(|| self.reduce(Reducer::Mean, x, axes))
    }

    pub(super) fn einsum(&mut self, einsum: Einsum, a: Id, b: Id) -> Id {
        // An axis of size 1 goes along with the other operand's.
        let (sizes_a, sizes_b) = (self.dims(a).to_vec(), self.dims(b).to_vec());
        let a = self.stretched(a, &einsum.a, &einsum.b, &sizes_b);
        let b = self.stretched(b, &einsum.b, &einsum.a, &sizes_a);
        if let Some(id) = self.attention(&einsum, a, b) {
            return id;
        }
        // Where nothing is added up, elements are multiplied.
        if einsum.a.iter().chain(&einsum.b).all(|letter| einsum.out.contains(letter)) {
            let a = self.spread(a, &einsum.a, &einsum.out);
            let b = self.spread(b, &einsum.b, &einsum.out);
            return self.binary(Binary::Mul, a, b);
        }
        let size = |letter: &char| {
            let of = |letters: &[char], id: Id| {
                letters.iter().position(|l| l == letter).map(|axis| self.dims(id)[axis])
            };
            of(&einsum.a, a).unwrap_or(1).max(of(&einsum.b, b).unwrap_or(1))
        };
        let dims = einsum.out.iter().map(size).collect();
        self.float(Op::Einsum(einsum), vec![a, b], dims)
    }

    /// `x` with its axes in the order `to`, of which those that it lacks are of size 1.
    fn spread(&mut self, x: Id, letters: &[char], to: &[char]) -> Id {
        let axes: Vec<Option<usize>> = to.iter().map(|l| letters.iter().position(|of| of == l)).collect();
        let dims = axes.iter().map(|axis| axis.map_or(1, |axis| self.dims(x)[axis])).collect();
        let x = self.permute(x, axes.into_iter().flatten().collect());
        self.reshape(x, dims)
    }

    /// `x` with its axes of size 1 repeated as often as another operand's of the same letter.
    fn stretched(&mut self, x: Id, letters: &[char], others: &[char], sizes: &[usize]) -> Id {
        let mut dims = self.dims(x).to_vec();
        for (dim, letter) in dims.iter_mut().zip(letters) {
            if let (1, Some(axis)) = (*dim, others.iter().position(|other| other == letter)) {
                *dim = sizes[axis];
            }
        }
        self.broadcast(x, dims)
    }
}
