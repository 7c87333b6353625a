//! Linear layers: an activation times a constant matrix, with whatever follows as its epilogue.

use std::sync::Arc;

use super::chain::{Beside, Link, Table, What};
use super::{Lowering, Made, Place, Target};
use crate::Result;
use crate::error::unsupported;
use crate::kernels::{Epilogue, Group, LINE, Packed, Product, Unary};
use crate::net::{Einsum, Id, Op};
use crate::program::action::Action;

/// A row of groups before the buffers have addresses, and everything else that a product needs.
pub(super) struct Multiply {
    pub(super) weights: Arc<Packed>,
    pub(super) a: Place,
    pub(super) a_stride: usize,
    pub(super) segments: Vec<usize>,
    /// Places inside the two buffers.
    pub(super) groups: Vec<Group>,
    pub(super) row_stride: usize,
    pub(super) table: Table,
}

impl Lowering<'_> {
    /// Emits the product `anchor` with the links up to node `last`; gives where `last` lies.
    pub(super) fn product(&mut self, anchor: Id, last: Id, links: &[Link]) -> Result<Place> {
        let Op::Einsum(einsum) = self.net.op(anchor).clone() else {
            return Err(unsupported("is not a product"));
        };
        let inputs = self.net.inputs(anchor);
        let (x, w, of_x, of_w) = match (self.origins[inputs[0]].clone(), self.origins[inputs[1]].clone()) {
            (_, Some(w)) => (inputs[0], w, &einsum.a, &einsum.b),
            (Some(w), None) => (inputs[1], w, &einsum.b, &einsum.a),
            _ => return self.other_product(anchor, last, links, &einsum),
        };
        let inner: Vec<char> = of_x.iter().copied().filter(|l| of_w.contains(l)).collect();
        let outer: Vec<char> = einsum.out.iter().copied().filter(|l| of_x.contains(l)).collect();
        let columns: Vec<char> = einsum.out.iter().copied().filter(|l| of_w.contains(l)).collect();
        let plain = inner.iter().all(|l| !einsum.out.contains(l))
            && outer.len() + inner.len() == of_x.len()
            && columns.len() + inner.len() == of_w.len()
            && outer.len() + columns.len() == einsum.out.len();
        let arranged = |place: &Place, from: &[char], to: &[char]| {
            let axis = |letter: &char| from.iter().position(|l| l == letter);
            to.iter().map(axis).collect::<Option<Vec<usize>>>().map(|axes| place.permute(&axes))
        };
        let weight = arranged(&w.place, of_w, &[inner.clone(), columns.clone()].concat());
        let strides = weight.as_ref().and_then(|place| {
            Some((place.merged(0..inner.len())?, place.merged(inner.len()..place.dims.len())?, place))
        });
        let Some((k_stride, n_stride, weight)) = strides.filter(|_| plain) else {
            return self.other_product(anchor, last, links, &einsum);
        };
        let k: usize = weight.dims[..inner.len()].iter().product();
        let n: usize = weight.dims[inner.len()..].iter().product();
        let x = self.place(x)?;
        let x = arranged(&x, of_x, &[outer.clone(), inner.clone()].concat())
            .ok_or_else(|| unsupported("has no kernel for such a product"))?;
        let rank = outer.len();
        let x = match (x.merged(rank..x.dims.len()), x.merged(usize::from(rank > 1)..rank)) {
            (Some(1), Some(_)) => x,
            _ => self.dense(anchor, &x),
        };
        let weights = self.pack(&w, [1, k, n], [0, k_stride, n_stride])?;
        // Rows in the order of the outer axes; a result's row is padded to whole cache lines.
        let sizes = &x.dims[..rank];
        let count: usize = sizes.iter().product();
        let target = self.targets.get(&last).copied();
        let target = target.filter(|_| rank == 1 && einsum.out.first() == outer.first());
        let Target { buffer, offset, stride: row_stride } = match target {
            Some(target) => target,
            None => {
                let stride = n.next_multiple_of(LINE);
                Target { buffer: self.buffer_of(&[count, stride])?, offset: 0, stride }
            }
        };
        let steps = Place::dense(buffer, sizes).strides;
        let out_columns = Place::dense(buffer, &weight.dims[inner.len()..]).strides;
        let mut place = Place { buffer, offset, dims: Vec::new(), strides: Vec::new() };
        let mut rows = Vec::new();
        for letter in &einsum.out {
            if let Some(axis) = outer.iter().position(|l| l == letter) {
                place.dims.push(sizes[axis]);
                place.strides.push(steps[axis] * row_stride);
                rows.push(Some(steps[axis]));
            } else if let Some(axis) = columns.iter().position(|l| l == letter) {
                place.dims.push(weight.dims[inner.len() + axis]);
                place.strides.push(out_columns[axis]);
                rows.push(None);
            }
        }
        // Within an image rows are even.
        let images = if rank > 1 { sizes[0] } else { 1 };
        let each = count / images;
        let Some(a_stride) = x.merged(usize::from(rank > 1)..rank) else {
            return Err(unsupported("has no kernel for rows at such places"));
        };
        let groups = (0..images).map(|image| Group {
            a: x.offset + if rank > 1 { image * x.strides[0] } else { 0 },
            c: offset + image * each * row_stride,
            row: image * each,
            rows: each,
            image,
        });
        let groups = groups.collect();
        let table = Table { place, rows };
        let multiply = Multiply { weights, a: x, a_stride, segments: vec![0], groups, row_stride, table };
        self.multiply(anchor, last, links, Vec::new(), multiply)
    }

    /// Emits a product that is not one of rows and a constant matrix, and its links.
    fn other_product(&mut self, anchor: Id, last: Id, links: &[Link], einsum: &Einsum) -> Result<Place> {
        let place = self.foreign_product(anchor, einsum)?;
        self.rest(place, links, last)
    }

    /// Emits a product with as many links as there are epilogues for, the others as steps of their own.
    pub(super) fn multiply(
        &mut self,
        anchor: Id,
        last: Id,
        links: &[Link],
        bias: Vec<Id>,
        multiply: Multiply,
    ) -> Result<Place> {
        let Multiply { weights, a, a_stride, segments, groups, row_stride, table } = multiply;
        let mut reads = vec![a.clone()];
        let mut epilogue: Vec<Made<Epilogue>> = Vec::new();
        for id in bias {
            let place = self.place(id)?;
            let (buffer, offset) = (place.buffer, place.offset);
            reads.push(place);
            epilogue.push(Box::new(move |at| Epilogue::Bias { offset: at[buffer] + offset }));
        }
        let mut done = 0;
        for link in links {
            let made: Option<Made<Epilogue>> = match link.what {
                What::Unary(Unary::Silu) => Some(Box::new(|_| Epilogue::Silu)),
                What::Unary(Unary::GeluTanh) => Some(Box::new(|_| Epilogue::Gelu)),
                What::Unary(Unary::GeluErf) => Some(Box::new(|_| Epilogue::GeluErf)),
                What::Unary(Unary::Mul(factor)) => Some(Box::new(move |_| Epilogue::Scale(factor))),
                What::Unary(_) => None,
                What::Add(other) => match self.beside(other, &table)? {
                    Some(Beside::Columns(place)) => {
                        let (buffer, offset) = (place.buffer, place.offset);
                        reads.push(place);
                        Some(Box::new(move |at| Epilogue::Bias { offset: at[buffer] + offset }))
                    }
                    Some(Beside::Rows(place, stride)) => {
                        let (buffer, offset) = (place.buffer, place.offset);
                        reads.push(place);
                        Some(Box::new(move |at| Epilogue::Residual { offset: at[buffer] + offset, stride }))
                    }
                    _ => None,
                },
                What::Mul(other) => match self.beside(other, &table)? {
                    Some(Beside::Columns(place)) => {
                        let (buffer, offset) = (place.buffer, place.offset);
                        reads.push(place);
                        Some(Box::new(move |at| Epilogue::Gate {
                            offset: at[buffer] + offset,
                            image_stride: 0,
                        }))
                    }
                    Some(Beside::Images(place, image_stride)) => {
                        let (buffer, offset) = (place.buffer, place.offset);
                        reads.push(place);
                        Some(Box::new(move |at| Epilogue::Gate { offset: at[buffer] + offset, image_stride }))
                    }
                    _ => None,
                },
            };
            match made {
                Some(made) => epilogue.push(made),
                None => break,
            }
            done += 1;
        }
        let rows: usize = groups.iter().map(|group| group.rows).sum();
        let flops = 2 * rows * weights.segments() * weights.k() * weights.cols();
        let spare = match Product::room(&weights, &groups) {
            0 => None,
            room => Some(self.buffer(room)),
        };
        let (from, to) = (a.buffer, table.place.buffer);
        let reads: Vec<&Place> = reads.iter().collect();
        self.draft(anchor, "product", flops, &reads, to, move |at| {
            let groups: Vec<Group> =
                groups.iter().map(|g| Group { a: at[from] + g.a, c: at[to] + g.c, ..*g }).collect();
            let epilogue: Vec<Epilogue> = epilogue.iter().map(|made| made(at)).collect();
            Action::Product(Box::new(Product::new(
                weights,
                a_stride,
                &segments,
                row_stride,
                &groups,
                &epilogue,
                spare.map(|spare| at[spare]),
            )))
        });
        if let (Some(spare), Some(draft)) = (spare, self.drafts.last_mut()) {
            draft.writes.push(spare);
        }
        self.rest(table.place, &links[done..], last)
    }

    /// Emits links that no kernel took along, one by one.
    pub(super) fn rest(&mut self, place: Place, links: &[Link], last: Id) -> Result<Place> {
        let mut place = place;
        for link in links {
            place = self.link(link, &place)?;
            if link.node != last {
                self.places[link.node] = Some(place.clone());
            }
        }
        Ok(place)
    }
}
