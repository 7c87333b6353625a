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

    /// `[N, C, ..] -> [N, groups, ..] -> normalised -> [N, C, ..]`, seen from its last step. Pixels may be a
    /// single axis, as before attention between them.
    pub(super) fn group_normal(&mut self, normal: Id, dims: &[usize]) -> Option<Id> {
        let Op::Normal { axis: 2, eps, centred: true } = *self.op(normal) else { return None };
        let grouped = self.inputs(normal)[0];
        let (Op::Reshape, 3..=4) = (self.op(grouped), dims.len()) else { return None };
        let x = self.inputs(grouped)[0];
        let (groups, channels) = (self.dims(grouped)[1], dims[1]);
        if self.dims(grouped)[0] != dims[0] || channels % groups != 0 {
            return None;
        }
        // As many groups as channels could be a layer normalisation of tokens, too.
        if groups == channels && self.dims(x) != dims {
            return None;
        }
        let image = match *self.dims(x) {
            [n, c, h, w] if [n, c] == dims[..2] => vec![n, c, h, w],
            _ => vec![dims[0], channels, dims[2..].iter().product(), 1],
        };
        let x = self.reshape(x, image.clone());
        let normal = self.float(Op::GroupNormal { groups, eps }, vec![x], image);
        Some(self.reshape(normal, dims.to_vec()))
    }

    /// Takes a scale and then a shift for each channel into a group normalisation.
    pub(super) fn group_affine(&mut self, op: Binary, normal: Id, other: Id) -> Option<Id> {
        let dims = self.dims(normal).to_vec();
        let view = matches!(self.op(normal), Op::Reshape);
        let normal = if view { self.inputs(normal)[0] } else { normal };
        let Op::GroupNormal { .. } = self.op(normal) else { return None };
        let wanted = match op {
            Binary::Mul => 1,
            Binary::Add => 2,
            _ => return None,
        };
        let image = self.dims(normal).to_vec();
        let by_channel: Vec<usize> =
            (0..dims.len()).map(|axis| if axis == 1 { image[1] } else { 1 }).collect();
        let constant = matches!(self.op(other), Op::Constant(_));
        if self.inputs(normal).len() != wanted
            || !constant
            || self.dims(other) != by_channel
            || dims[1] != image[1]
        {
            return None;
        }
        let mut inputs = self.inputs(normal).to_vec();
        inputs.push(self.reshape(other, vec![1, image[1], 1, 1]));
        let op = self.op(normal).clone();
        let normal = self.float(op, inputs, image);
        Some(self.reshape(normal, dims))
    }
}
