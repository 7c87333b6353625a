//! Attention, recognised in a softmax between two products.

use tract_onnx::prelude::*;

use super::{Binary, Einsum, Id, Net, Op, Unary};

impl Net {
    /// `einsum(softmax(scale * einsum(q, k)), v)`, seen from the second product; perhaps with a bias of each key
    /// between scale and softmax, the same for all heads and queries.
    pub(super) fn attention(&mut self, second: &Einsum, a: Id, b: Id) -> Option<Id> {
        let (weights, v, of_weights, of_v) = match (self.op(a), self.op(b)) {
            (Op::Softmax(_), _) => (a, b, &second.a, &second.b),
            (_, Op::Softmax(_)) => (b, a, &second.b, &second.a),
            _ => return None,
        };
        let Op::Softmax(keys) = *self.op(weights) else { return None };
        let (shifted, bias) = self.unbiased(self.inputs(weights)[0], keys);
        let (scores, scale) = self.unscaled(shifted);
        let Op::Einsum(first) = self.op(scores).clone() else { return None };
        let (mut q, mut k) = (self.inputs(scores)[0], self.inputs(scores)[1]);
        let (mut of_q, mut of_k) = (first.a, first.b);
        let key = first.out[keys];
        if of_q.contains(&key) {
            (q, k, of_q, of_k) = (k, q, of_k, of_q);
        }
        // The softmax's axes, as the second product calls them: batch axes, one of queries, one of keys.
        let renamed = |letter: char| first.out.iter().position(|&l| l == letter).map(|i| of_weights[i]);
        let mut batch = Vec::new();
        let mut query = None;
        for &letter in &first.out {
            match (of_q.contains(&letter), of_k.contains(&letter)) {
                (true, true) => batch.push(letter),
                (true, false) if query.is_none() => query = Some(letter),
                (false, true) if letter == key => {}
                _ => return None,
            }
        }
        let query = query?;
        let mut inner = of_q.iter().filter(|letter| !first.out.contains(letter));
        let (&inner, None) = (inner.next()?, inner.next()) else { return None };
        let (key2, query2) = (renamed(key)?, renamed(query)?);
        let batch2: Vec<char> = batch.iter().map(|&letter| renamed(letter)).collect::<Option<_>>()?;
        let mut widths = of_v.iter().filter(|&&letter| letter != key2 && !batch2.contains(&letter));
        let (&width, None) = (widths.next()?, widths.next()) else { return None };
        let wanted: Vec<char> = batch2.iter().copied().chain([query2, width]).collect();
        let complete = batch2.iter().all(|letter| of_v.contains(letter)) && !second.out.contains(&key2);
        let sorted = second.out.iter().map(|letter| wanted.iter().position(|l| l == letter));
        let order: Vec<usize> = sorted.collect::<Option<_>>()?;
        if !complete || order.len() != wanted.len() || batch.len() > 2 || of_k.len() != batch.len() + 2 {
            return None;
        }
        let ((q, q_scale), (k, k_scale)) = (self.stripped(q), self.stripped(k));
        let letters = |batch: &[char], rest: [char; 2]| [batch, &rest].concat();
        let q = self.arranged(q, &of_q, &letters(&batch, [query, inner]))?;
        let k = self.arranged(k, &of_k, &letters(&batch, [key, inner]))?;
        let v = self.arranged(v, of_v, &letters(&batch2, [key2, width]))?;
        let dims = self.dims(q).to_vec();
        let scale = scale * q_scale * k_scale;
        // What the kernel takes.
        if self.dims(v)[3] != dims[3] || scale <= 0.0 {
            return None;
        }
        let mut operands = vec![q, k, v];
        if let Some(bias) = bias {
            // It has the first product's axes, of which the first is that of images: there are two of the batch, or
            // one, and that may be the heads'.
            let images = self.dims(bias)[0];
            let of_images = batch.len() == 2 && first.out.first() == batch.first();
            if images > 1 && !of_images {
                return None;
            }
            // What is masked out by infinities too has no weight; numbers in the kernel are finite.
            let bias = match self.look(bias, |values| Some(values.to_vec())) {
                Some(values) => {
                    let values = values.iter().map(|value| (value * scale.recip()).clamp(LEAST, -LEAST));
                    let tensor = tract_ndarray::Array::from_iter(values).into_tensor();
                    let tensor = tensor.into_shape(self.dims(bias)).ok()?;
                    self.tensor(tensor.into_arc_tensor())
                }
                // Made of constants, and none yet.
                None if self.is_of_constants(bias) => return None,
                None => {
                    let scaled = self.unary(Unary::Mul(scale.recip()), bias);
                    self.unary(Unary::Clamp(LEAST, -LEAST), scaled)
                }
            };
            let flat = vec![images, self.dims(bias)[3]];
            let flat = self.reshape(bias, flat);
            operands.push(self.broadcast(flat, vec![dims[0], self.dims(flat)[1]]));
        }
        let attended = self.float(Op::Attention { scale }, operands, dims.clone());
        let plain = self.reshape(attended, dims[2 - batch.len()..].to_vec());
        Some(self.permute(plain, order))
    }

    /// Whether changes of shape alone lie between a node and a constant.
    fn is_of_constants(&self, mut id: Id) -> bool {
        while let Op::Reshape | Op::Permute(_) | Op::Slice { .. } | Op::Broadcast = self.op(id) {
            id = self.inputs(id)[0];
        }
        matches!(self.op(id), Op::Constant(_) | Op::Weight(_))
    }

    /// Scores of four axes without what is added to each image's keys (axis `keys`, the last), and that,
    /// `[images, 1, 1, keys]`.
    fn unbiased(&self, sum: Id, keys: usize) -> (Id, Option<Id>) {
        let (Op::Binary(Binary::Add), &[a, b]) = (self.op(sum), self.inputs(sum)) else { return (sum, None) };
        let dims = self.dims(sum).to_vec();
        let beside = |net: &Self, id: Id| match (net.dims(id), dims.as_slice()) {
            (&[images, 1, 1, count], &[of, _, _, all]) => {
                keys == 3 && count == all && (images == of || images == 1)
            }
            _ => false,
        };
        let (scores, bias) = match (beside(self, a), beside(self, b)) {
            (false, true) => (a, b),
            (true, false) => (b, a),
            _ => return (sum, None),
        };
        if self.dims(scores) != dims { (sum, None) } else { (scores, Some(bias)) }
    }

    /// The operand of multiplications by constants, and their product.
    fn unscaled(&self, mut id: Id) -> (Id, f32) {
        let mut scale = 1.0;
        while let Op::Unary(Unary::Mul(factor)) = *self.op(id) {
            (id, scale) = (self.inputs(id)[0], scale * factor);
        }
        (id, scale)
    }

    /// The same below changes of shape, which are then made anew; there may be any number of them.
    fn stripped(&mut self, id: Id) -> (Id, f32) {
        let (top, mut scale) = self.unscaled(id);
        let (mut at, mut passed) = (top, Vec::new());
        // The lowest factor: what it is of, and the changes of shape above.
        let (mut bare, mut above) = (top, 0);
        while let Op::Reshape | Op::Permute(_) = self.op(at) {
            passed.push(at);
            let (below, factor) = self.unscaled(self.inputs(at)[0]);
            if factor != 1.0 {
                (bare, above, scale) = (below, passed.len(), scale * factor);
            }
            at = below;
        }
        for &change in passed[..above].iter().rev() {
            bare = match self.op(change).clone() {
                Op::Permute(axes) => self.permute(bare, axes),
                _ => self.reshape(bare, self.dims(change).to_vec()),
            };
        }
        (bare, scale)
    }

    /// `x` with axes in the order `to`, behind as many axes of size 1 as make four.
    fn arranged(&mut self, x: Id, from: &[char], to: &[char]) -> Option<Id> {
        if from.len() != to.len() {
            return None;
        }
        let axes: Vec<usize> =
            to.iter().map(|letter| from.iter().position(|l| l == letter)).collect::<Option<_>>()?;
        let x = self.permute(x, axes);
        let mut dims = vec![1; 4 - to.len()];
        dims.extend(self.dims(x));
        Some(self.reshape(x, dims))
    }
}

/// The least that is added to a score: its key's weight is 0 beside any other's.
const LEAST: f32 = -1e30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_is_found_below_any_number_of_changes_of_shape() {
        let mut net = Net::new();
        let x = net.float(Op::Input(0), Vec::new(), vec![2, 3, 4]);
        let mut last = net.unary(Unary::Mul(0.5), x);
        for _ in 0..50_000 {
            last = net.permute(last, vec![0, 2, 1]);
            last = net.reshape(last, vec![2, 3, 4]);
        }
        let (mut bare, scale) = net.stripped(last);
        assert_eq!((net.dims(bare), scale), (&[2, 3, 4][..], 0.5));
        while bare != x {
            assert!(matches!(net.op(bare), Op::Reshape | Op::Permute(_)));
            bare = net.inputs(bare)[0];
        }
        // Without one, nothing is made anew.
        let whole = net.permute(x, vec![0, 2, 1]);
        assert_eq!(net.stripped(whole), (whole, 1.0));
    }
}
