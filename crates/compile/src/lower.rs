//! Compiles a net to a plan.
//!
//! ```text
//! Net ──chain──▶ which element-wise nodes become a product's epilogue ──▶ steps over buffers
//! ```
//!
//! Values are [`Place`]s: slices, transpositions and most reshapes only say where to look. A kernel that needs
//! its operand in another order gets a copy.

mod batch;
mod chain;
mod constants;
mod convolution;
mod fallback;
mod matmul;
mod simple;

use std::collections::HashMap;
use std::sync::Arc;

use tract_onnx::prelude::DatumType;

use crate::error::{Context, unsupported};
use crate::graph::Graph;
use crate::net::{Id, Net, Op};
use crate::panics::in_flowturbo;
use crate::plan::{Address, Constant, Operation, Place, Plan, RowLayout, Step};
use crate::{Result, memory};
use chain::Chain;
use constants::Origin;

/// Where the rows of a result go.
#[derive(Clone, Copy)]
struct Target {
    at: Address,
    stride: usize,
}

struct Lowering<'a> {
    net: &'a Net,
    graph: &'a Graph,
    /// How often each node is taken.
    uses: Vec<usize>,
    places: Vec<Option<Place>>,
    plan: Plan,
    /// Where the numbers of constant nodes come from; none for what has to be computed.
    origins: Vec<Option<Origin>>,
    /// Nodes that another one's step computes along.
    absorbed: Vec<bool>,
    /// Nodes whose rows have their place in a larger buffer: the buffer, and where each row starts and the next.
    targets: HashMap<Id, Target>,
    chains: Vec<Option<Chain>>,
}

/// Compiles `net`, which was made of `graph`. With a layout of rows, several outputs become rows, and given nodes are
/// read from them.
///
/// # Errors
/// `Unsupported`: something in it has to be left to plain tract. `LimitExceeded`, `Cancelled`: by the graph's
/// allowance. `OutOfMemory`.
pub fn lower(net: &Net, graph: &Graph, rows: Option<&RowLayout>) -> Result<Plan> {
    let count = net.nodes.len();
    let mut lowering = Lowering {
        net,
        graph,
        uses: net.uses()?,
        places: memory::filled(count, None)?,
        plan: Plan::default(),
        origins: constants::origins(net)?,
        absorbed: memory::filled(count, false)?,
        targets: HashMap::new(),
        chains: memory::collected(count, std::iter::repeat_with(|| None))?,
    };
    lowering.find_chains()?;
    let (live, constant) = (net.live()?, net.constant()?);
    lowering.inputs(&live);
    lowering.plan.given = rows.and_then(|rows| lowering.given(rows));
    let rows = rows.filter(|_| lowering.plan.given.is_none()).map(|rows| lowering.row_buffer(rows));
    for id in (0..count).filter(|&id| live[id] && !constant[id]) {
        let foreign = matches!(net.op(id), Op::Fallback(..)) && net.nodes[id].element != DatumType::F32;
        graph.allowance.check()?;
        lowering.make_room()?;
        // What is not of floats is computed where it is used.
        if !foreign && !lowering.absorbed[id] && lowering.places[id].is_none() {
            in_flowturbo(|| lowering.emit(id)).at(|| format!("node '{}'", net.nodes[id].name))?;
        }
    }
    lowering.plan.output = match rows {
        Some(rows) => lowering.fill_rows(rows)?,
        None => lowering.dense_output()?,
    };
    Ok(lowering.plan)
}

impl Lowering<'_> {
    /// Room for what one node may become, so that what is pushed meanwhile seldom asks for any.
    fn make_room(&mut self) -> Result<()> {
        const MORE: usize = 16;
        memory::grow(&mut self.plan.buffers, MORE)?;
        memory::grow(&mut self.plan.constants, MORE)?;
        memory::grow(&mut self.plan.steps, MORE)
    }

    fn inputs(&mut self, live: &[bool]) {
        for (id, node) in self.net.nodes.iter().enumerate() {
            let Op::Input(place) = node.op else { continue };
            let known = self.plan.inputs.len().max(place + 1);
            self.plan.inputs.resize(known, None);
            if !live[id] {
                continue;
            }
            if node.element == DatumType::F32 {
                let buffer = self.buffer(node.dims.iter().product());
                self.places[id] = Some(Place::dense(buffer, &node.dims));
                self.plan.inputs[place] = Some(buffer);
            } else {
                self.absorbed[id] = true;
            }
        }
    }

    /// Places the given nodes in one buffer, a row for each image; none if there are none.
    fn given(&mut self, rows: &RowLayout) -> Option<usize> {
        let mut buffer = None;
        for (id, node) in self.net.nodes.iter().enumerate() {
            let Op::Given(offset) = node.op else { continue };
            let buffer = *buffer.get_or_insert_with(|| self.buffer(node.dims[0] * rows.row));
            let mut place = Place::dense(buffer, &node.dims);
            place.strides[0] = rows.row;
            self.places[id] = Some(Place { offset, ..place });
        }
        buffer
    }

    /// A buffer for the outputs as rows.
    fn row_buffer(&mut self, rows: &RowLayout) -> usize {
        let buffer = self.buffer(self.net.dims(self.net.outputs[0])[0] * rows.row);
        let targets = self.net.outputs.iter().zip(&rows.offsets);
        let targets =
            targets.map(|(&id, &offset)| (id, Target { at: Address { buffer, offset }, stride: rows.row }));
        self.targets = targets.collect();
        buffer
    }

    /// Copies the outputs that are not in their rows yet.
    fn fill_rows(&mut self, buffer: usize) -> Result<usize> {
        for &id in &self.net.outputs {
            let from = self.place(id)?;
            let Some(&Target { at, stride }) = self.targets.get(&id) else { continue };
            let mut to = Place { offset: at.offset, ..Place::dense(at.buffer, &from.dims) };
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
        self.graph.allowance.arena(len)?;
        Ok(self.buffer(len.unwrap_or(0)))
    }

    fn buffer(&mut self, len: usize) -> usize {
        self.plan.buffers.push(len);
        self.plan.buffers.len() - 1
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
            self.plan.constants.push(Constant { buffer, floats });
            let place = Place::dense(buffer, &self.net.nodes[id].dims);
            self.places[id] = Some(place.clone());
            return Ok(place);
        }
        Err(unsupported(format!("has no kernel for {:?}", self.net.op(id))))
    }

    /// Adds a step for node `id`.
    fn step(&mut self, id: Id, operation: Operation) {
        self.plan.steps.push(Step { name: Arc::clone(&self.net.nodes[id].name), operation });
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
            (Op::Integers, _) => self.integers(id)?,
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
        let whole = self.plan.buffers[place.buffer] == place.len() && place.offset == 0;
        if whole && place == Place::dense(place.buffer, &place.dims) {
            return Ok(place.buffer);
        }
        let buffer = self.buffer(place.len());
        self.copy(id, &place, &Place::dense(buffer, &place.dims));
        Ok(buffer)
    }
}
