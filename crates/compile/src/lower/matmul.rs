//! Linear layers: an activation times a constant matrix, with whatever follows as its epilogue.

use super::batch::{Roles, arranged};
use super::chain::{Beside, Link, ResultRows, What};
use super::{Lowering, Place, Target};
use crate::Result;
use crate::error::unsupported;
use crate::kernels::{Epilogue, Group, LINE, Unary};
use crate::net::{Einsum, Id, Op};
use crate::plan::{Address, Matmul, Operation};

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
        let weights = self.matrix(&w, [1, k, n], [0, k_stride, n_stride])?;
        // Rows in the order of the outer axes; a result's row is padded to whole cache lines.
        let sizes = &x.dims[..rank];
        let count: usize = sizes.iter().product();
        let target = self.targets.get(&last).copied();
        let target = target.filter(|_| rank == 1 && einsum.out.first() == outer.first());
        let Target { at: Address { buffer, offset }, stride: row_stride } = match target {
            Some(target) => target,
            None => {
                let stride = n.next_multiple_of(LINE);
                Target { at: Address { buffer: self.buffer_of(&[count, stride])?, offset: 0 }, stride }
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
            a: if rank > 1 { image * x.strides[0] } else { 0 },
            c: image * each * row_stride,
            row: image * each,
            rows: each,
            image,
        });
        let product = Matmul {
            weights,
            a: x.address(),
            a_stride,
            segments: vec![0],
            out: place.address(),
            out_stride: row_stride,
            groups: groups.collect(),
            epilogue: Vec::new(),
        };
        self.multiply(anchor, last, links, product, ResultRows { place, rows })
    }

    /// Emits a product that is not one of rows and a constant matrix, and its links.
    fn other_product(&mut self, anchor: Id, last: Id, links: &[Link], einsum: &Einsum) -> Result<Place> {
        let place = match Roles::of(einsum) {
            Some(roles) => self.batch_product(anchor, einsum, roles)?,
            None => self.foreign_product(anchor, einsum)?,
        };
        self.rest(place, links, last)
    }

    /// Emits a product with as many links as there are epilogues for, the others as steps of their own.
    pub(super) fn multiply(
        &mut self,
        anchor: Id,
        last: Id,
        links: &[Link],
        mut product: Matmul,
        result: ResultRows,
    ) -> Result<Place> {
        let mut done = 0;
        for link in links {
            let epilogue = match link.what {
                What::Unary(Unary::Silu) => Epilogue::Silu,
                What::Unary(Unary::GeluTanh) => Epilogue::Gelu,
                What::Unary(Unary::GeluErf) => Epilogue::GeluErf,
                What::Unary(Unary::Mul(factor)) => Epilogue::Scale(factor),
                What::Unary(_) => break,
                What::Add(other) => match self.beside(other, &result)? {
                    Some(Beside::Columns(place)) => Epilogue::Bias { offset: place.address() },
                    Some(Beside::Rows(place, stride)) => {
                        Epilogue::Residual { offset: place.address(), stride }
                    }
                    _ => break,
                },
                What::Mul(other) => match self.beside(other, &result)? {
                    Some(Beside::Columns(place)) => {
                        Epilogue::Gate { offset: place.address(), image_stride: 0 }
                    }
                    Some(Beside::Images(place, image_stride)) => {
                        Epilogue::Gate { offset: place.address(), image_stride }
                    }
                    _ => break,
                },
            };
            product.epilogue.push(epilogue);
            done += 1;
        }
        self.step(anchor, Operation::Matmul(Box::new(product)));
        self.rest(result.place, &links[done..], last)
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
