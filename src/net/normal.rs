//! Normalisations, recognised by their means, squares and roots.

use super::{Binary, Id, Net, Op, Reducer, Unary};

impl Net {
    /// `d * rsqrt(mean(d²) + eps)`: a layer or instance normalisation if `d` is `x - mean(x)`, else an RMS one.
    pub(super) fn normal(&mut self, d: Id, factor: Id) -> Option<Id> {
        let operand = |id: Id, op: Unary| match self.op(id) {
            Op::Unary(found) if *found == op => Some(self.inputs(id)[0]),
            _ => None,
        };
        let sum = operand(factor, Unary::Rsqrt)?;
        let Op::Unary(Unary::Add(eps)) = *self.op(sum) else { return None };
        let variance = self.inputs(sum)[0];
        let (square, axes) = self.mean_of(variance)?;
        if operand(square, Unary::Square)? != d {
            return None;
        }
        let axis = self.trailing(d, axes)?;
        let centred = match self.op(d) {
            Op::Binary(Binary::Sub) => {
                let (x, mean) = (self.inputs(d)[0], self.inputs(d)[1]);
                self.mean_of(mean).filter(|found| *found == (x, axes)).map(|_| x)
            }
            _ => None,
        };
        let dims = self.dims(d).to_vec();
        let op = Op::Normal { axis, eps, centred: centred.is_some() };
        Some(self.float(op, vec![centred.unwrap_or(d)], dims))
    }

    fn mean_of(&self, id: Id) -> Option<(Id, &[usize])> {
        match self.op(id) {
            Op::Reduce(Reducer::Mean, axes) => Some((self.inputs(id)[0], axes)),
            _ => None,
        }
    }

    /// The first of `axes`, if they are the last axes of `x`.
    fn trailing(&self, x: Id, axes: &[usize]) -> Option<usize> {
        let first = *axes.iter().min()?;
        let rank = self.dims(x).len();
        (axes.len() == rank - first && axes.iter().all(|&axis| axis < rank)).then_some(first)
    }

    /// `[N, C, H, W] -> [N, groups, ..] -> normalised -> [N, C, H, W]`, seen from its last step.
    pub(super) fn group_normal(&mut self, normal: Id, dims: &[usize]) -> Option<Id> {
        let Op::Normal { axis: 2, eps, centred: true } = *self.op(normal) else { return None };
        let grouped = self.inputs(normal)[0];
        let Op::Reshape = self.op(grouped) else { return None };
        let x = self.inputs(grouped)[0];
        let groups = self.dims(grouped)[1];
        let [images, channels, _, _] = *dims else { return None };
        if self.dims(x) != dims || self.dims(grouped)[0] != images || channels % groups != 0 {
            return None;
        }
        Some(self.float(Op::GroupNormal { groups, eps }, vec![x], dims.to_vec()))
    }

    /// Takes a scale and then a shift for each channel into a group normalisation.
    pub(super) fn group_affine(&mut self, op: Binary, normal: Id, other: Id) -> Option<Id> {
        let Op::GroupNormal { .. } = self.op(normal) else { return None };
        let wanted = match op {
            Binary::Mul => 1,
            Binary::Add => 2,
            _ => return None,
        };
        let dims = self.dims(normal).to_vec();
        let constant = matches!(self.op(other), Op::Constant(_));
        if self.inputs(normal).len() != wanted || !constant || self.dims(other) != [1, dims[1], 1, 1] {
            return None;
        }
        let mut inputs = self.inputs(normal).to_vec();
        inputs.push(other);
        let op = self.op(normal).clone();
        Some(self.float(op, inputs, dims))
    }
}
