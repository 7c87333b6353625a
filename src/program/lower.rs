//! Turns a net into steps over one arena.
//!
//! ```text
//! Net ──chain──▶ which element-wise nodes become a product's epilogue ──▶ drafts (places in buffers)
//!     ──arena──▶ offsets of the buffers ──▶ kernels with absolute places
//! ```
//!
//! Values are [`Place`]s: slices, transpositions and most reshapes only say where to look. A kernel that needs
//! its operand in another order gets a copy.

mod bounds;
mod chain;
mod constants;
mod convolution;
mod fallback;
mod product;
mod simple;

use std::collections::HashMap;
use std::sync::Arc;

use tract_onnx::prelude::DatumType;

use super::action::Action;
use super::arena::{self, Life};
use super::packs::{Packs, Stored};
use super::place::Place;
use crate::error::{Context, unsupported};
use crate::graph::Graph;
use crate::kernels::{Isa, LINE, Packed, Parallel};
use crate::net::{Id, Net, Op, Table};
use crate::panics::in_flowturbo;
use crate::{Result, memory};
use chain::Chain;
use constants::Origin;

/// A lowered net.
pub(super) struct Lowered {
    pub(super) steps: Vec<Placed>,
    /// Floats of the arena.
    pub(super) arena: usize,
    /// What the arena holds from the start: offset and floats.
    pub(super) constants: Vec<(usize, Vec<f32>)>,
    /// For each input: its offset in the arena and its floats, if it is one of floats.
    pub(super) inputs: Vec<Option<(usize, usize)>>,
    pub(super) output: (usize, usize),
    /// Where the row of conditions goes, for each image: its offset and all floats.
    pub(super) given: Option<(usize, usize)>,
}

/// A step and what is told of it.
pub(super) struct Placed {
    pub(super) action: Action,
    pub(super) kind: &'static str,
    pub(super) name: Arc<str>,
    /// Multiplications and additions.
    pub(super) flops: u64,
    /// Floats of the buffers that it reads and writes; weights are counted elsewhere.
    pub(super) touches: usize,
    /// Where it writes: offset and floats.
    pub(super) writes: (usize, usize),
    /// Where a product's weights can be read again, if they are in a file.
    pub(super) stored: Option<Stored>,
}

/// Makes a part of a kernel, given the buffers' offsets.
type Made<T> = Box<dyn Fn(&[usize]) -> T>;

/// Makes a kernel, given the buffers' offsets.
type Make = Box<dyn FnOnce(&[usize]) -> Action>;

/// A step before its buffers have addresses.
struct Draft {
    kind: &'static str,
    name: Arc<str>,
    reads: Vec<usize>,
    writes: Vec<usize>,
    flops: u64,
    /// Whether an operand ends beyond its buffer.
    astray: bool,
    make: Make,
}

struct Buffer {
    len: usize,
    /// Filled once and for all.
    constant: Option<Vec<f32>>,
    /// Filled before the first step.
    input: bool,
}

/// Where the rows of a result go.
#[derive(Clone, Copy)]
struct Target {
    buffer: usize,
    offset: usize,
    stride: usize,
}

struct Lowering<'a> {
    net: &'a Net,
    setting: Setting<'a>,
    /// How often each node is taken.
    uses: Vec<usize>,
    places: Vec<Option<Place>>,
    buffers: Vec<Buffer>,
    drafts: Vec<Draft>,
    /// Where the numbers of constant nodes come from; none for what has to be computed.
    origins: Vec<Option<Origin>>,
    /// Nodes that another one's step computes along.
    absorbed: Vec<bool>,
    /// Nodes whose rows have their place in a larger buffer: the buffer, and where each row starts and the next.
    targets: HashMap<Id, Target>,
    chains: Vec<Option<Chain>>,
    packed: Vec<(Arc<Packed>, Option<Stored>)>,
    /// The last weight as its file has it: memory for the next one.
    bytes: Vec<u8>,
}

/// What nodes are lowered with.
#[derive(Clone, Copy)]
pub(super) struct Setting<'a> {
    pub(super) graph: &'a Graph,
    pub(super) isa: Isa,
    pub(super) parallel: &'a dyn Parallel,
    pub(super) packs: &'a Packs,
    /// Leaves the weights in their files.
    pub(super) hollow: bool,
}

/// Lowers `net`; `Unsupported` if something in it has to be left to plain tract. With a table, several
/// outputs become its rows, and given nodes are read from them.
pub(super) fn lower(net: &Net, setting: Setting, table: Option<&Table>) -> Result<Lowered> {
    let count = net.nodes.len();
    let mut lowering = Lowering {
        net,
        setting,
        uses: net.uses()?,
        places: memory::filled(count, None)?,
        buffers: Vec::new(),
        drafts: Vec::new(),
        origins: constants::origins(net)?,
        absorbed: memory::filled(count, false)?,
        targets: HashMap::new(),
        chains: memory::collected(count, std::iter::repeat_with(|| None))?,
        packed: Vec::new(),
        bytes: Vec::new(),
    };
    lowering.find_chains()?;
    let (live, constant) = (net.live()?, net.constant()?);
    let inputs = lowering.inputs(&live);
    let given = table.and_then(|table| lowering.given(table));
    let rows = table.filter(|_| given.is_none()).map(|table| lowering.row_buffer(table));
    for id in (0..count).filter(|&id| live[id] && !constant[id]) {
        let foreign = matches!(net.op(id), Op::Fallback(..)) && net.nodes[id].element != DatumType::F32;
        setting.graph.allowance.check()?;
        lowering.make_room()?;
        // What is not of floats is computed where it is used.
        if !foreign && !lowering.absorbed[id] && lowering.places[id].is_none() {
            in_flowturbo(|| lowering.emit(id)).at(|| format!("node '{}'", net.nodes[id].name))?;
        }
    }
    let output = match rows {
        Some(rows) => lowering.fill_rows(rows)?,
        None => lowering.dense_output()?,
    };
    // Conditioning runs rarely, and its weights are not to be held by one another.
    lowering.finish(&inputs, given, output, rows.is_none())
}

impl Lowering<'_> {
    /// Room for what one node may become, so that what is pushed meanwhile seldom asks for any.
    fn make_room(&mut self) -> Result<()> {
        const MORE: usize = 16;
        memory::grow(&mut self.buffers, MORE)?;
        memory::grow(&mut self.drafts, MORE)?;
        memory::grow(&mut self.packed, MORE)
    }

    fn inputs(&mut self, live: &[bool]) -> Vec<Option<usize>> {
        let mut inputs = Vec::new();
        for (id, node) in self.net.nodes.iter().enumerate() {
            let Op::Input(place) = node.op else { continue };
            if inputs.len() <= place {
                inputs.resize(place + 1, None);
            }
            if !live[id] {
                continue;
            }
            if node.element == DatumType::F32 {
                let buffer = self.buffer(node.dims.iter().product());
                self.buffers[buffer].input = true;
                self.places[id] = Some(Place::dense(buffer, &node.dims));
                inputs[place] = Some(buffer);
            } else {
                self.absorbed[id] = true;
            }
        }
        inputs
    }

    /// Places the given nodes in one buffer, a row for each image; none if there are none.
    fn given(&mut self, table: &Table) -> Option<usize> {
        let mut buffer = None;
        for (id, node) in self.net.nodes.iter().enumerate() {
            let Op::Given(offset) = node.op else { continue };
            let buffer = *buffer.get_or_insert_with(|| self.buffer(node.dims[0] * table.row));
            self.buffers[buffer].input = true;
            let mut place = Place::dense(buffer, &node.dims);
            place.strides[0] = table.row;
            self.places[id] = Some(Place { offset, ..place });
        }
        buffer
    }

    /// A buffer for the outputs as rows of a table.
    fn row_buffer(&mut self, table: &Table) -> usize {
        let buffer = self.buffer(self.net.dims(self.net.outputs[0])[0] * table.row);
        let targets = self.net.outputs.iter().zip(&table.offsets);
        let targets = targets.map(|(&id, &offset)| (id, Target { buffer, offset, stride: table.row }));
        self.targets = targets.collect();
        buffer
    }

    /// Copies the outputs that are not in their rows yet.
    fn fill_rows(&mut self, buffer: usize) -> Result<usize> {
        for &id in &self.net.outputs {
            let from = self.place(id)?;
            let Some(&Target { buffer, offset, stride }) = self.targets.get(&id) else { continue };
            let mut to = Place { offset, ..Place::dense(buffer, &from.dims) };
            to.strides[0] = stride;
            if from != to {
                self.copy(id, &from, &to);
            }
        }
        Ok(buffer)
    }

    /// A buffer for a tensor of such sizes.
    ///
    /// # Errors
    /// `LimitExceeded`: there are not as many addresses.
    fn buffer_of(&mut self, dims: &[usize]) -> Result<usize> {
        let len = dims.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
        self.setting.graph.allowance.arena(len)?;
        Ok(self.buffer(len.unwrap_or(0)))
    }

    fn buffer(&mut self, len: usize) -> usize {
        self.buffers.push(Buffer { len, constant: None, input: false });
        self.buffers.len() - 1
    }

    /// Where a node's value is, a constant's too.
    fn place(&mut self, id: Id) -> Result<Place> {
        if let Some(place) = &self.places[id] {
            return Ok(place.clone());
        }
        if let Some(origin) = self.origins[id].clone() {
            if let Op::Broadcast = self.net.op(id) {
                let place = self.place(self.net.inputs(id)[0])?.broadcast(self.net.dims(id));
                self.places[id] = Some(place.clone());
                return Ok(place);
            }
            let floats = self.read(&origin)?;
            let buffer = self.buffer(floats.len());
            self.buffers[buffer].constant = Some(floats);
            let place = Place::dense(buffer, &self.net.nodes[id].dims);
            self.places[id] = Some(place.clone());
            return Ok(place);
        }
        Err(unsupported(format!("has no kernel for {:?}", self.net.op(id))))
    }

    fn draft(
        &mut self,
        id: Id,
        kind: &'static str,
        flops: usize,
        reads: &[&Place],
        write: usize,
        make: impl FnOnce(&[usize]) -> Action + 'static,
    ) {
        self.drafts.push(Draft {
            kind,
            name: Arc::clone(&self.net.nodes[id].name),
            reads: reads.iter().map(|place| place.buffer).collect(),
            writes: vec![write],
            flops: flops as u64,
            astray: reads
                .iter()
                .any(|place| place.end().is_none_or(|end| end > self.buffers[place.buffer].len)),
            make: Box::new(make),
        });
    }

    fn emit(&mut self, id: Id) -> Result<()> {
        let net = self.net;
        let node = &net.nodes[id];
        let first = node.inputs.first().copied();
        if let Some(chain) = self.chains[id].take() {
            return self.chain(id, chain);
        }
        let place = match (&node.op, first) {
            (Op::Permute(axes), Some(x)) => self.place(x)?.permute(axes),
            (Op::Slice { axis, start }, Some(x)) => self.place(x)?.slice(*axis, *start, node.dims[*axis]),
            (Op::Broadcast, Some(x)) => self.place(x)?.broadcast(&node.dims),
            (Op::Reshape, Some(x)) => {
                let place = self.place(x)?;
                match place.reshape(&node.dims) {
                    Some(place) => place,
                    None => {
                        let dense = match (place.dims.as_slice(), node.dims.as_slice()) {
                            // Pixels made of channels: convolutions read images channels last.
                            (&[n, c, h, a, w, b], &[images, channels, height, width])
                                if [n, c, h * a, w * b] == [images, channels, height, width] =>
                            {
                                let buffer = self.buffer(place.len());
                                let rows = Place::dense(buffer, &[n, h, a, w, b, c]);
                                let image = rows.permute(&[0, 5, 1, 2, 3, 4]);
                                self.copy(id, &place, &image);
                                image
                            }
                            _ => self.dense(id, &place),
                        };
                        dense.reshape(&node.dims).ok_or_else(|| unsupported("a reshape of other sizes"))?
                    }
                }
            }
            (Op::Unary(_) | Op::Binary(_), _) => self.pointwise(id)?,
            (Op::Einsum(_), _) => self.product(id, id, &[])?,
            (Op::Normal { .. }, _) => self.normal(id, &[])?,
            (Op::Attention { .. }, _) => self.attention(id)?,
            (Op::Softmax(_) | Op::Reduce(..), _) => self.reduction(id)?,
            (Op::Concat(axis), _) => self.concat(id, *axis)?,
            (Op::Gather, _) => self.gather(id)?,
            (Op::Convolution(_), _) => self.convolution(id, id, &[])?,
            (Op::GroupNormal { .. } | Op::Pad(_) | Op::Upsample(_), _) => self.staged(id, id, None)?,
            (Op::Fallback(..), _) => self.fallback(id)?,
            _ => return Err(unsupported(format!("has no kernel for {:?}", node.op))),
        };
        self.places[id] = Some(place);
        Ok(())
    }

    /// A row-major copy, or the place itself if it is that already.
    fn dense(&mut self, id: Id, place: &Place) -> Place {
        if *place == (Place { offset: place.offset, ..Place::dense(place.buffer, &place.dims) }) {
            return place.clone();
        }
        let buffer = self.buffer(place.len());
        let to = Place::dense(buffer, &place.dims);
        self.copy(id, place, &to);
        to
    }

    /// The output as the caller takes it: row-major, in a buffer of its own.
    fn dense_output(&mut self) -> Result<usize> {
        let id = self.net.outputs[0];
        let place = self.place(id)?;
        let whole = self.buffers[place.buffer].len == place.len() && place.offset == 0;
        if whole && place == Place::dense(place.buffer, &place.dims) {
            return Ok(place.buffer);
        }
        let buffer = self.buffer(place.len());
        self.copy(id, &place, &Place::dense(buffer, &place.dims));
        Ok(buffer)
    }

    fn finish(
        self,
        inputs: &[Option<usize>],
        given: Option<usize>,
        output: usize,
        ahead: bool,
    ) -> Result<Lowered> {
        let last = self.drafts.len();
        let lives = self.buffers.iter().map(|buffer| match buffer {
            // Constants are kept from run to run.
            Buffer { len, constant: Some(_), .. } => Life { len: *len, first: 0, last },
            Buffer { len, input: true, .. } => Life { len: *len, first: 0, last: 0 },
            Buffer { len, .. } => Life { len: *len, first: last, last: 0 },
        });
        let mut lives = memory::collected(self.buffers.len(), lives)?;
        for (step, draft) in self.drafts.iter().enumerate() {
            for &buffer in draft.writes.iter().chain(&draft.reads) {
                let life = &mut lives[buffer];
                (life.first, life.last) = (life.first.min(step), life.last.max(step));
            }
        }
        lives[output].last = last;
        lives.iter_mut().for_each(|life| life.last = life.last.max(life.first));
        let all = lives.iter().try_fold(0usize, |sum, life| sum.checked_add(life.len.checked_add(LINE)?));
        if all.is_none() {
            self.setting.graph.allowance.arena(None)?;
        }
        let (offsets, arena) = arena::place(&lives, || self.setting.graph.allowance.check())?;
        self.setting.graph.allowance.arena(Some(arena))?;
        let mut steps = Vec::new();
        memory::reserve(&mut steps, last)?;
        for draft in self.drafts {
            let write = draft.writes[0];
            let own = draft
                .reads
                .iter()
                .chain(&draft.writes)
                .map(|&b| offsets[b]..offsets[b] + self.buffers[b].len);
            let (make, astray) = (draft.make, draft.astray);
            let action = in_flowturbo(|| {
                let action = make(&offsets);
                bounds::within(&action, &own.collect::<Vec<_>>(), astray)?;
                action.check(arena);
                Ok(action)
            });
            let action = action.at(|| format!("node '{}'", draft.name))?;
            steps.push(Placed {
                action,
                kind: draft.kind,
                name: draft.name,
                flops: draft.flops,
                touches: draft.reads.iter().chain(&draft.writes).map(|&b| self.buffers[b].len).sum(),
                writes: (offsets[write], self.buffers[write].len),
                stored: None,
            });
        }
        // The first weights of each product are fetched while the one before is still at work.
        let products = steps.iter_mut().filter_map(|step| match &mut step.action {
            Action::Product(product) => Some((product, &mut step.stored)),
            _ => None,
        });
        for ((i, (product, stored)), of) in products.enumerate().zip(&self.packed) {
            assert!(Arc::ptr_eq(product.weights(), &of.0), "weights are packed in the products' order");
            if ahead {
                product.followed_by(Arc::clone(&self.packed[(i + 1) % self.packed.len()].0));
            }
            stored.clone_from(&of.1);
        }
        let input = |buffer: &usize| (offsets[*buffer], self.buffers[*buffer].len);
        let inputs = inputs.iter().map(|buffer| buffer.as_ref().map(input)).collect();
        let given = given.as_ref().map(input);
        let output = (offsets[output], self.buffers[output].len);
        let mut constants = Vec::new();
        for (buffer, &offset) in self.buffers.into_iter().zip(&offsets) {
            if let Some(floats) = buffer.constant {
                memory::push(&mut constants, (offset, floats))?;
            }
        }
        Ok(Lowered { steps, arena, constants, inputs, output, given })
    }
}
