//! Everything but products: normalisation, attention, element-wise work, moves.

use super::chain::{Beside, Link, ResultRows, What};
use super::{Lowering, Place};
use crate::Result;
use crate::error::unsupported;
use crate::kernels::{
    Attention, Binary, Elementwise, Heads, LINE, MaskedAttention, Measure, Modulation, Norm, Reduce,
    Reduction, Rows, Softmax,
};
use crate::net::{Id, Op, Reducer};
use crate::plan::{Address, Gather, Integers, Lookup, Operation};
use crate::weights::{Contents, Encoding};

impl Lowering<'_> {
    pub(super) fn copy(&mut self, id: Id, from: &Place, to: &Place) {
        // Kernels take a few axes only; those of one element say nothing.
        let axes: Vec<usize> = (0..from.dims.len()).filter(|&axis| from.dims[axis] > 1).collect();
        let (from, to) = (from.permute(&axes), to.permute(&axes));
        self.step(id, Operation::Copy { from, to });
    }

    /// A place whose last axes from `axis` on are side by side, and whose other axes are even, as rows.
    fn rows(&mut self, id: Id, x: &Place, axis: usize) -> (Place, usize) {
        let rank = x.dims.len();
        match (x.merged(axis..rank), x.merged(0..axis)) {
            (Some(1), Some(stride)) => (x.clone(), stride),
            _ => {
                let dense = self.dense(id, x);
                let stride = dense.dims[axis..].iter().product();
                (dense, stride)
            }
        }
    }

    /// Emits a normalisation with scales and shifts as far as the kernel takes them.
    pub(super) fn normal(&mut self, anchor: Id, links: &[Link]) -> Result<Place> {
        let net = self.net;
        let Op::Normal { axis, eps, centred } = *net.op(anchor) else {
            return Err(unsupported("is not a normalisation"));
        };
        let x = self.place(net.inputs(anchor)[0])?;
        let (x, stride) = self.rows(anchor, &x, axis);
        let cols: usize = x.dims[axis..].iter().product();
        let count = x.len() / cols.max(1);
        let out_stride = cols.next_multiple_of(LINE);
        let buffer = self.buffer(count * out_stride);
        let steps = Place::dense(buffer, &x.dims[..axis]).strides;
        let mut place = Place::dense(buffer, &x.dims);
        for (stride, step) in place.strides.iter_mut().zip(&steps) {
            *stride = step * out_stride;
        }
        let rows = (0..x.dims.len()).map(|i| steps.get(i).copied()).collect();
        let result = ResultRows { place, rows };
        let measure = if centred { Measure::Deviation } else { Measure::RootMeanSquare };
        // In the kernel's order: a scale and a shift a column, then a scale and a shift an image.
        let (mut slots, mut done) = ([None; 4], 0);
        for link in links {
            let (other, add) = match link.what {
                What::Mul(other) => (other, 0),
                What::Add(other) => (other, 1),
                What::Unary(_) => break,
            };
            let (slot, value) = match self.beside(other, &result)? {
                Some(Beside::Columns(place)) => (add, (place.address(), 0)),
                Some(Beside::Images(place, stride)) if axis > 1 => (2 + add, (place.address(), stride)),
                _ => break,
            };
            let later = slots[slot..].iter().any(Option::is_some);
            // A shift an image goes with a scale an image, and lies as far from the next image's.
            let alone = slot == 3 && slots[2].is_none_or(|(_, stride): (Address, usize)| stride != value.1);
            if later || alone {
                break;
            }
            slots[slot] = Some(value);
            done += 1;
        }
        let [gamma, beta, scale, shift] = slots.map(|slot| slot.map(|(place, _)| place));
        let modulation = slots[2].zip(scale).map(|((_, image_stride), scale)| Modulation {
            scale,
            shift,
            image_stride,
            rows_per_image: if axis > 1 { count / x.dims[0] } else { count },
        });
        let out = Rows { offset: result.place.address(), rows: count, cols, stride: out_stride };
        let x = Rows { offset: x.address(), rows: count, cols, stride };
        self.step(anchor, Operation::Norm(Norm { x, out, measure, eps, gamma, beta, modulation }));
        let last = links.last().map_or(anchor, |link| link.node);
        self.rest(result.place, &links[done..], last)
    }

    pub(super) fn attention(&mut self, id: Id) -> Result<Place> {
        let net = self.net;
        let Op::Attention { scale } = *net.op(id) else { return Err(unsupported("is not attention")) };
        let mut operands = Vec::new();
        for &input in net.inputs(id).iter().take(3) {
            let place = self.place(input)?;
            operands.push(if place.strides[3] == 1 { place } else { self.dense(id, &place) });
        }
        let [q, k, v] = &operands[..] else { return Err(unsupported("is not attention")) };
        let &[images, heads, queries, dim] = q.dims.as_slice() else {
            return Err(unsupported("is not attention"));
        };
        let keys = k.dims[2];
        let bias = match net.inputs(id).get(3) {
            Some(&bias) => {
                let place = self.place(bias)?;
                Some(if place.strides[1] == 1 || keys == 1 { place } else { self.dense(id, &place) })
            }
            None => None,
        };
        if v.dims[3] != dim || scale <= 0.0 {
            return Err(unsupported("has no kernel for such attention"));
        }
        let width = (heads * dim).next_multiple_of(LINE);
        let buffer = self.buffer(images * queries * width);
        let out = Place {
            buffer,
            offset: 0,
            dims: vec![images, heads, queries, dim],
            strides: vec![queries * width, dim, width, 1],
        };
        let [q, k, v, to] = [q, k, v, &out].map(|place| Heads {
            offset: place.address(),
            image_stride: place.strides[0],
            head_stride: place.strides[1],
            token_stride: place.strides[2],
        });
        let attention = Attention { q, k, v, out: to, images, heads, queries, keys, dim, scale };
        self.step(
            id,
            match bias {
                Some(bias) => Operation::MaskedAttention(MaskedAttention {
                    attention,
                    bias: bias.address(),
                    bias_stride: bias.strides[0],
                }),
                None => Operation::Attention(attention),
            },
        );
        Ok(out)
    }

    /// Emits a softmax or a reduction; its axes are seen as the last ones.
    pub(super) fn reduction(&mut self, id: Id) -> Result<Place> {
        let net = self.net;
        let x = self.place(net.inputs(id)[0])?;
        let rank = x.dims.len();
        let inner = match net.op(id) {
            Op::Softmax(axis) => std::slice::from_ref(axis),
            Op::Reduce(_, axes) => axes,
            _ => return Err(unsupported("is not a reduction")),
        };
        let mut order: Vec<usize> = (0..rank).filter(|axis| !inner.contains(axis)).collect();
        let axis = order.len();
        order.extend(inner);
        let (x, stride) = self.rows(id, &x.permute(&order), axis);
        let cols: usize = x.dims[axis..].iter().product();
        let rows = x.len() / cols.max(1);
        let sizes: Vec<usize> = order.iter().map(|&axis| net.dims(id)[axis]).collect();
        let back: Vec<usize> = (0..rank).filter_map(|axis| order.iter().position(|&o| o == axis)).collect();
        let buffer = self.buffer(sizes.iter().product());
        let out = Place::dense(buffer, &sizes).permute(&back);
        let x = Rows { offset: x.address(), rows, cols, stride };
        let reduce =
            |reduction| Operation::Reduce(Reduce { x, reduction, out: out.address(), out_stride: 1 });
        let operation = match net.op(id) {
            Op::Reduce(Reducer::Sum, _) => reduce(Reduction::Sum),
            Op::Reduce(Reducer::Mean, _) => reduce(Reduction::Mean),
            Op::Reduce(Reducer::Max, _) => reduce(Reduction::Max),
            _ => Operation::Softmax(Softmax { x, out: Rows { offset: out.address(), stride: cols, ..x } }),
        };
        self.step(id, operation);
        Ok(out)
    }

    /// Emits one element-wise node.
    pub(super) fn pointwise(&mut self, id: Id) -> Result<Place> {
        let net = self.net;
        let mut places = Vec::new();
        for &input in net.inputs(id) {
            places.push(self.place(input)?.broadcast(net.dims(id)));
        }
        let steps = match *net.op(id) {
            Op::Unary(op) => vec![Elementwise::Load(0), Elementwise::Unary(op, 0)],
            Op::Binary(op) => vec![Elementwise::Load(0), Elementwise::Load(1), Elementwise::Binary(op, 0, 1)],
            _ => return Err(unsupported("is not element-wise")),
        };
        Ok(self.compute(id, &places, steps))
    }

    /// Emits a link on its own: `place` is what it applies to.
    pub(super) fn link(&mut self, link: &Link, place: &Place) -> Result<Place> {
        let mut places = vec![place.clone()];
        let steps = match link.what {
            What::Unary(op) => vec![Elementwise::Load(0), Elementwise::Unary(op, 0)],
            What::Add(other) | What::Mul(other) => {
                places.push(self.place(other)?.broadcast(&place.dims));
                let op = if matches!(link.what, What::Add(_)) { Binary::Add } else { Binary::Mul };
                vec![Elementwise::Load(0), Elementwise::Load(1), Elementwise::Binary(op, 0, 1)]
            }
        };
        Ok(self.compute(link.node, &places, steps))
    }

    /// A new value, its axes in the order of the first whole operand's.
    fn compute(&mut self, id: Id, places: &[Place], steps: Vec<Elementwise>) -> Place {
        let whole = |place: &&Place| place.dims.iter().zip(&place.strides).all(|(&n, &s)| n == 1 || s > 0);
        let model = places.iter().find(whole).unwrap_or(&places[0]);
        let mut order: Vec<usize> = (0..model.dims.len()).collect();
        order.sort_by_key(|&axis| std::cmp::Reverse(model.strides[axis]));
        let sizes: Vec<usize> = order.iter().map(|&axis| model.dims[axis]).collect();
        let back: Vec<usize> =
            (0..order.len()).filter_map(|axis| order.iter().position(|&o| o == axis)).collect();
        let buffer = self.buffer(model.len());
        let out = Place::dense(buffer, &sizes).permute(&back);
        let axes: Vec<usize> = order.into_iter().filter(|&axis| out.dims[axis] > 1).collect();
        let inputs = places.iter().map(|place| place.permute(&axes)).collect();
        self.step(id, Operation::Pointwise { inputs, out: out.permute(&axes), program: steps });
        out
    }

    pub(super) fn concat(&mut self, id: Id, axis: usize) -> Result<Place> {
        let net = self.net;
        let dims = net.dims(id).to_vec();
        let buffer = self.buffer(dims.iter().product());
        // Channels of an image lie side by side.
        let whole = match (dims.as_slice(), axis) {
            (&[n, c, h, w], 1) => Place::dense(buffer, &[n, h, w, c]).permute(&[0, 3, 1, 2]),
            _ => Place::dense(buffer, &dims),
        };
        let mut start = 0;
        for &input in net.inputs(id) {
            let from = self.place(input)?;
            let part = whole.slice(axis, start, from.dims[axis]);
            self.copy(id, &from, &part);
            start += from.dims[axis];
        }
        Ok(whole)
    }

    pub(super) fn gather(&mut self, id: Id) -> Result<Place> {
        let net = self.net;
        let (table, Op::Input(input)) = (net.inputs(id)[0], net.op(net.inputs(id)[1])) else {
            return Err(unsupported("has no kernel for computed indices"));
        };
        let (input, &[rows, width]) = (*input, net.dims(table)) else {
            return Err(unsupported("has no kernel for such a table"));
        };
        let count = net.dims(net.inputs(id)[1]).iter().product::<usize>();
        if let Op::Weight(weight) = *net.op(table)
            && self.graph.weights.iter().nth(weight).is_some_and(|known| {
                // Bytes would be four times as large there.
                !matches!(known.contents, Contents::Plain(Encoding::F32 | Encoding::F16))
                    || known.length() > LARGE_TABLE
            })
        {
            let out = Place::dense(self.buffer(net.dims(id).iter().product()), net.dims(id));
            let lookup = Lookup { weight, rows, width, input, count, out: out.address() };
            self.step(id, Operation::Lookup(lookup));
            return Ok(out);
        }
        let place = self.place(table)?;
        let table = self.dense(id, &place);
        let out = Place::dense(self.buffer(net.dims(id).iter().product()), net.dims(id));
        let gather = Gather { table: table.address(), rows, width, input, count, out: out.address() };
        self.step(id, Operation::Gather(gather));
        Ok(out)
    }

    pub(super) fn integers(&mut self, id: Id) -> Result<Place> {
        let net = self.net;
        let Op::Input(input) = *net.op(net.inputs(id)[0]) else {
            return Err(unsupported("has no kernel for computed integers"));
        };
        let count = net.dims(id).iter().product();
        let out = Place::dense(self.buffer(count), net.dims(id));
        self.step(id, Operation::Integers(Integers { input, count, out: out.address() }));
        Ok(out)
    }
}

/// Bytes of a table beyond which it stays as its file has it: in the arena it would be there once for each session.
const LARGE_TABLE: u64 = 8 << 20;
