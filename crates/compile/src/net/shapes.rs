//! Holds every node to the shapes of its operands. tract's facts may contradict one another, and a kernel that
//! believed them would read what lies beside its operand.

use super::{Einsum, Id, Net, Op, Window};

impl Net {
    /// Says what is wrong if the shapes of a node and of its operands do not go together.
    pub(super) fn contradiction(&self, op: &Op, inputs: &[Id], dims: &[usize]) -> Option<String> {
        let of: Vec<&[usize]> = inputs.iter().map(|&id| self.dims(id)).collect();
        let sound = match (op, of.as_slice()) {
            (Op::Input(_) | Op::Given(_) | Op::Constant(_) | Op::Weight(_) | Op::Fallback(..), _) => true,
            (Op::Reshape, &[x]) => len(x).is_some() && len(x) == len(dims),
            (Op::Permute(axes), &[x]) => {
                let each = (0..x.len()).all(|axis| axes.contains(&axis));
                let whole = each && axes.len() == x.len() && dims.len() == x.len();
                whole && axes.iter().zip(dims).all(|(&axis, &n)| x[axis] == n)
            }
            (&Op::Slice { axis, start }, &[x]) => {
                let inside = |n: usize| start.checked_add(n).is_some_and(|end| end <= x[axis]);
                same_but(&[axis], x, dims) && dims.get(axis).is_some_and(|&n| inside(n))
            }
            (Op::Broadcast, &[x]) => fits(x, dims),
            (Op::Unary(_) | Op::Integers, &[x]) => x == dims,
            (Op::Binary(_), &[a, b]) => {
                let together = || dims.iter().enumerate().all(|(i, &n)| n == a[i].max(b[i]));
                a.len() == dims.len() && b.len() == dims.len() && fits(a, dims) && fits(b, dims) && together()
            }
            (Op::Reduce(_, axes), &[x]) => {
                same_but(axes, x, dims) && axes.iter().all(|&axis| dims.get(axis) == Some(&1))
            }
            (&Op::Softmax(axis), &[x]) => x == dims && axis < dims.len(),
            (&Op::Normal { axis, .. }, &[x]) => x == dims && axis < dims.len(),
            (&Op::GroupNormal { groups, .. }, &[x, ref affine @ ..]) => {
                let channels = dims.get(1).copied().unwrap_or(0);
                let right = affine.iter().all(|&constant| len(constant) == Some(channels));
                x == dims && dims.len() == 4 && groups > 0 && channels.is_multiple_of(groups) && right
            }
            (Op::Einsum(einsum), &[a, b]) => sums(einsum, a, b, dims),
            (
                Op::Attention { .. },
                &[&[n, h, _, d], &[kn, kh, keys, kd], &[vn, vh, values, _], ref bias @ ..],
            ) => {
                let biased = bias.iter().all(|&bias| bias == [n, keys]) && bias.len() < 2;
                [kn, kh, kd] == [n, h, d] && [vn, vh, values] == [n, h, keys] && dims == of[0] && biased
            }
            (Op::Convolution(window), &[x, kernel, ref bias @ ..]) => {
                convolved(window, x, kernel, bias, dims)
            }
            (Op::Pad(margins), &[&[n, c, h, w]]) => {
                let side = |i: usize, size: usize| {
                    size.checked_add(margins.before[i])?.checked_add(margins.after[i])
                };
                matches!(*dims, [a, b, y, x] if [a, b] == [n, c] && side(0, h) == Some(y) && side(1, w) == Some(x))
            }
            (&Op::Upsample(factor), &[&[n, c, h, w]]) => dims == [n, c, h * factor, w * factor],
            (&Op::Concat(axis), parts) if !parts.is_empty() => {
                let sum = parts
                    .iter()
                    .map(|part| part.get(axis).copied().unwrap_or(0))
                    .fold(0, usize::saturating_add);
                parts.iter().all(|part| same_but(&[axis], part, dims)) && dims.get(axis) == Some(&sum)
            }
            (Op::Gather, &[&[_, width], indices]) => dims == [indices, &[width]].concat(),
            _ => false,
        };
        (!sound)
            .then(|| format!("the sizes of what it takes and gives do not go together: {of:?} and {dims:?}"))
    }
}

fn len(dims: &[usize]) -> Option<usize> {
    dims.iter().try_fold(1usize, |product, &n| product.checked_mul(n))
}

/// As many axes, and the same sizes but for those of `axes`, which are there.
fn same_but(axes: &[usize], x: &[usize], dims: &[usize]) -> bool {
    let other = |axis: usize| axes.contains(&axis) || x[axis] == dims[axis];
    x.len() == dims.len() && axes.iter().all(|&axis| axis < x.len()) && (0..x.len()).all(other)
}

/// Whether `x` becomes `dims` by repeating axes of size 1, new ones in front.
fn fits(x: &[usize], dims: &[usize]) -> bool {
    let Some(missing) = dims.len().checked_sub(x.len()) else { return false };
    x.iter().zip(&dims[missing..]).all(|(&n, &to)| n == to || n == 1)
}

/// Whether each letter has one size.
fn sums(einsum: &Einsum, a: &[usize], b: &[usize], dims: &[usize]) -> bool {
    let lettered = [(&einsum.a, a), (&einsum.b, b), (&einsum.out, dims)];
    if lettered.iter().any(|(letters, dims)| letters.len() != dims.len()) {
        return false;
    }
    let sizes = || lettered.iter().flat_map(|(letters, dims)| letters.iter().zip(dims.iter()));
    let known = einsum.out.iter().all(|letter| einsum.a.contains(letter) || einsum.b.contains(letter));
    known && sizes().all(|(letter, &n)| sizes().all(|(other, &m)| other != letter || n == m))
}

fn convolved(window: &Window, x: &[usize], kernel: &[usize], bias: &[&[usize]], dims: &[usize]) -> bool {
    let (&[n, c, h, w], &[o, kc, kh, kw]) = (x, kernel) else { return false };
    let side = |i: usize, size: usize| {
        let padded = size.checked_add(window.before[i])?.checked_add(window.after[i])?;
        let left = padded.checked_sub(window.size[i])?;
        Some(left.checked_div(window.stride[i])? + 1)
    };
    let (Some(height), Some(width)) = (side(0, h), side(1, w)) else { return false };
    let bias = bias.iter().all(|&bias| len(bias) == Some(o));
    kc == c && window.size == [kh, kw] && dims == [n, o, height, width] && bias
}

#[cfg(test)]
mod tests {
    use tract_onnx::prelude::DatumType;

    use super::super::Margins;
    use super::*;

    fn net(shapes: &[&[usize]]) -> Net {
        let mut net = Net::new();
        for (i, shape) in shapes.iter().enumerate() {
            net.push(Op::Input(i), Vec::new(), shape.to_vec(), DatumType::F32);
        }
        net
    }

    #[test]
    fn shapes_that_contradict_each_other_are_found_and_others_pass() {
        let einsum = |a: &str, b: &str, out: &str| {
            let letters = |text: &str| text.chars().collect();
            Op::Einsum(Einsum { a: letters(a), b: letters(b), out: letters(out) })
        };
        let window = Window { size: [3, 3], stride: [2, 1], before: [1, 1], after: [1, 1] };
        let margins = Margins { before: [1, 0], after: [2, 0], circular: false };
        let group = Op::GroupNormal { groups: 2, eps: 1e-5 };
        let attention = Op::Attention { scale: 1.0 };
        type Case<'a> = (Op, &'a [&'a [usize]], &'a [usize], &'a [&'a [usize]]);
        let cases: Vec<Case> = vec![
            (Op::Reshape, &[&[2, 6]], &[3, 4], &[&[3, 5], &[12, 2]]),
            (Op::Permute(vec![1, 0]), &[&[2, 6]], &[6, 2], &[&[2, 6], &[6]]),
            (Op::Slice { axis: 1, start: 4 }, &[&[2, 6]], &[2, 2], &[&[2, 3], &[1, 2], &[2]]),
            (Op::Slice { axis: 1, start: 7 }, &[&[2, 9]], &[2, 2], &[&[2, 3]]),
            (Op::Broadcast, &[&[1, 6]], &[3, 2, 6], &[&[3, 2, 7], &[6]]),
            (Op::Reduce(super::super::Reducer::Max, vec![0]), &[&[4, 6]], &[1, 6], &[&[4, 6], &[1, 5], &[6]]),
            (Op::Softmax(1), &[&[4, 6]], &[4, 6], &[&[4, 5]]),
            (
                Op::Binary(crate::kernels::Binary::Add),
                &[&[4, 1], &[1, 6]],
                &[4, 6],
                &[&[4, 5], &[6], &[5, 6]],
            ),
            (einsum("mk", "kn", "mn"), &[&[4, 6], &[6, 5]], &[4, 5], &[&[4, 6], &[4]]),
            (attention, &[&[1, 2, 7, 4], &[1, 2, 9, 4], &[1, 2, 9, 4]], &[1, 2, 7, 4], &[&[1, 2, 9, 4]]),
            (group, &[&[1, 4, 3, 3], &[4]], &[1, 4, 3, 3], &[&[1, 4, 3, 2]]),
            (Op::Convolution(window), &[&[1, 4, 8, 8], &[5, 4, 3, 3], &[5]], &[1, 5, 4, 8], &[&[1, 5, 8, 8]]),
            (Op::Pad(margins), &[&[1, 2, 3, 4]], &[1, 2, 6, 4], &[&[1, 2, 5, 4]]),
            (Op::Upsample(2), &[&[1, 2, 3, 4]], &[1, 2, 6, 8], &[&[1, 2, 6, 4]]),
            (Op::Concat(1), &[&[2, 3], &[2, 4]], &[2, 7], &[&[2, 6], &[3, 7]]),
            (Op::Gather, &[&[10, 8], &[3]], &[3, 8], &[&[2, 8], &[3, 10]]),
        ];
        for (op, shapes, right, wrong) in cases {
            let net = net(shapes);
            let inputs: Vec<Id> = (0..shapes.len()).collect();
            assert_eq!(net.contradiction(&op, &inputs, right), None, "{op:?} {shapes:?} {right:?}");
            for dims in wrong {
                let said = net.contradiction(&op, &inputs, dims);
                assert!(said.is_some_and(|said| said.contains(&format!("{dims:?}"))), "{op:?} {dims:?}");
            }
        }
        let out_of_range = net(&[&[4, 6]]);
        assert!(out_of_range.contradiction(&Op::Softmax(2), &[0], &[4, 6]).is_some());
        assert!(out_of_range.contradiction(&Op::Permute(vec![0, 0]), &[0], &[4, 4]).is_some());
    }
}
