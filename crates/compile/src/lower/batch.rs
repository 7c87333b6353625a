//! Products that are not by one constant matrix: of two activations, such as those of an attention with rounding
//! inside, or of a batch of constant matrices.

use super::{Lowering, Place};
use crate::Result;
use crate::error::unsupported;
use crate::kernels::{BatchMatmul, Matrices};
use crate::net::{Einsum, Id};
use crate::plan::{Address, Operation};

/// What each axis is to a product of matrices.
pub(super) struct Roles {
    /// In both operands and in the result.
    batch: Vec<char>,
    rows: Vec<char>,
    /// In both operands alone: what is added up.
    inner: Vec<char>,
    cols: Vec<char>,
}

impl Roles {
    /// Those of `einsum`; none where an axis of one operand alone is added up.
    pub(super) fn of(Einsum { a, b, out }: &Einsum) -> Option<Self> {
        let of = |from: &[char], other: &[char], both: bool, kept: bool| -> Vec<char> {
            let chosen = |letter: &&char| other.contains(letter) == both && out.contains(letter) == kept;
            from.iter().filter(chosen).copied().collect()
        };
        let alone = !of(a, b, false, false).is_empty() || !of(b, a, false, false).is_empty();
        (!alone).then(|| Self {
            batch: of(a, b, true, true),
            rows: of(a, b, false, true),
            inner: of(a, b, true, false),
            cols: of(b, a, false, true),
        })
    }
}

/// The axes of a batch, in two groups, and of matrices.
type Groups<'a> = [&'a [char]; 4];

impl Lowering<'_> {
    /// Emits products of matrices; gives where they lie, with the axes of the result.
    pub(super) fn batch_product(&mut self, id: Id, einsum: &Einsum, roles: Roles) -> Result<Place> {
        let net = self.net;
        let sides = [(net.inputs(id)[0], &einsum.a), (net.inputs(id)[1], &einsum.b)];
        let axis = |letter: &char, of: &[char]| of.iter().position(|l| l == letter);
        let size = |letter: &char| {
            sides.iter().find_map(|(x, of)| Some(net.dims(*x)[axis(letter, of)?])).unwrap_or(1)
        };
        let count = |letters: &[char]| letters.iter().map(size).product::<usize>();
        let Roles { batch, mut rows, inner, mut cols } = roles;
        // Vectors are of columns.
        let turned = count(&cols) == 1 && count(&rows) > 1;
        if turned {
            (rows, cols) = (cols, rows);
        }
        let [(a, of_a), (b, of_b)] = if turned { [sides[1], sides[0]] } else { sides };
        let (a, b) = (self.place(a)?, self.place(b)?);
        // Axes along which the right side is the same are further rows, where these then follow one another.
        let same = |letter: &char| axis(letter, of_b).is_none_or(|axis| b.strides[axis] == 0);
        let (shared, own): (Vec<char>, Vec<char>) =
            batch.iter().partition(|letter| size(letter) == 1 || same(letter));
        let further = [shared, rows.clone()].concat();
        let even = arranged(&a, of_a, &further).is_some_and(|rows| rows.merged(0..further.len()).is_some());
        let (batch, rows) = if even { (own, further) } else { (batch, rows) };
        let first = batch.iter().position(|letter| size(letter) > 1).map_or(0, |first| first + 1);
        let (images, heads) = batch.split_at(first);

        let (a, of_a) = self.grouped(id, &a, of_a, [images, heads, &rows, &inner], |[.., last]| last == 1)?;
        let aside = |[.., row, column]: [usize; 4]| row == 1 || column == 1;
        let (b, of_b) = self.grouped(id, &b, of_b, [images, heads, &inner, &cols], aside)?;
        let letters = [images, heads, &rows, &cols].concat();
        let dims: Vec<usize> = letters.iter().map(size).collect();
        let buffer = self.buffer_of(&dims)?;
        let place = arranged(&Place::dense(buffer, &dims), &letters, &einsum.out);
        let place = place.ok_or_else(|| unsupported("has no kernel for such a product"))?;
        let batch = [count(images), count(heads)];
        let (rows, inner, cols) = (count(&rows), count(&inner), count(&cols));
        let out = Address { buffer, offset: 0 };
        let products = BatchMatmul {
            a: Matrices { offset: a, batch: [of_a[0], of_a[1]], row: of_a[2] },
            b: Matrices { offset: b, batch: [of_b[0], of_b[1]], row: of_b[2] },
            column: of_b[3],
            out: Matrices { offset: out, batch: [batch[1] * rows * cols, rows * cols], row: cols },
            batch,
            rows,
            inner,
            cols,
        };
        self.step(id, Operation::BatchMatmul(products));
        Ok(place)
    }

    /// Where an operand lies, and a stride for each group of its axes; copied unless `takes` likes the strides.
    fn grouped(
        &mut self,
        id: Id,
        x: &Place,
        letters: &[char],
        groups: Groups,
        takes: impl Fn([usize; 4]) -> bool,
    ) -> Result<(Address, [usize; 4])> {
        let strides = |place: &Place| -> Option<[usize; 4]> {
            let (mut strides, mut start) = ([0; 4], 0);
            for (stride, group) in strides.iter_mut().zip(groups) {
                *stride = place.merged(start..start + group.len())?;
                start += group.len();
            }
            Some(strides)
        };
        let other = || unsupported("has no kernel for such a product");
        let x = arranged(x, letters, &groups.concat()).ok_or_else(other)?;
        if let Some(strides) = strides(&x).filter(|&strides| takes(strides)) {
            return Ok((x.address(), strides));
        }
        let dense = self.dense(id, &x);
        Ok((dense.address(), strides(&dense).ok_or_else(other)?))
    }
}

/// A place with axes in the order `to`.
pub(super) fn arranged(place: &Place, from: &[char], to: &[char]) -> Option<Place> {
    let axis = |letter: &char| from.iter().position(|l| l == letter);
    to.iter().map(axis).collect::<Option<Vec<usize>>>().map(|axes| place.permute(&axes))
}
