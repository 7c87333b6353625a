//! Partial evaluation: parts a net into what the state never reaches and the rest.
//!
//! A sampler asks a network for many states `x` under few conditions (time and class). Whatever depends on
//! the conditions alone is computed once for each of them, in a net of its own, and enters the body as rows
//! of a table. That holds if each row of the batch follows from its own condition, which [`Net::by_row`]
//! proves node by node.

use tract_onnx::prelude::DatumType;

use super::{Id, Net, Node, Op};
use crate::kernels::LINE;
use crate::plan::RowLayout;
use crate::{Result, memory};

/// Where a net parts in two. A row of the table between them holds every crossing tensor of one condition.
pub struct Split {
    crossing: Vec<Id>,
    pub layout: RowLayout,
}

impl Net {
    /// Splits by the inputs in `state` (their places in the contract); `None` if nothing would be gained or a row
    /// could depend on another row's condition.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn split(&self, state: &[usize]) -> Result<Option<Split>> {
        let Some(crossing) = self.crossing(state)? else { return Ok(None) };
        let mut layout = RowLayout { offsets: Vec::new(), row: 0, images: 1 };
        for &id in &crossing {
            let (rows, len) = (self.dims(id)[0], self.dims(id).iter().product::<usize>());
            layout.images = rows;
            memory::push(&mut layout.offsets, layout.row)?;
            layout.row += (len / rows.max(1)).next_multiple_of(LINE);
        }
        Ok(Some(Split { crossing, layout }))
    }

    /// The part from the conditions to the crossing tensors, its outputs.
    pub fn conditioning(self, split: Split) -> Self {
        Self { outputs: split.crossing, ..self }
    }

    /// The rest; the crossing tensors are [`Op::Given`].
    pub fn body(mut self, split: &Split) -> Self {
        for (&id, &offset) in split.crossing.iter().zip(&split.layout.offsets) {
            let node = &mut self.nodes[id];
            (node.op, node.inputs) = (Op::Given(offset), Vec::new());
        }
        self
    }

    /// The nodes that the conditions alone decide and the rest reads.
    fn crossing(&self, state: &[usize]) -> Result<Option<Vec<Id>>> {
        let constant = self.constant()?;
        let mut reached = memory::filled(self.nodes.len(), false)?;
        for (id, node) in self.nodes.iter().enumerate() {
            let of_state = matches!(node.op, Op::Input(place) if state.contains(&place));
            reached[id] = of_state || node.inputs.iter().any(|&input| reached[input]);
        }
        let by_row = self.by_row()?;
        let live = self.live()?;
        let mut crossing = Vec::new();
        let body = self
            .nodes
            .iter()
            .zip(live.iter().zip(&reached))
            .filter(|(_, (live, reached))| **live && **reached);
        for (node, _) in body {
            for &input in &node.inputs {
                let mut source = input;
                if reached[source] || constant[source] {
                    continue;
                }
                // Views are taken inside the body, so that a table holds each number once.
                while matches!(
                    self.op(source),
                    Op::Reshape | Op::Permute(_) | Op::Slice { .. } | Op::Broadcast
                ) && by_row[self.inputs(source)[0]]
                {
                    source = self.inputs(source)[0];
                }
                if !by_row[source] || self.nodes[source].element != DatumType::F32 {
                    log::debug!("'{}': its conditioning does not go row by row", node.name);
                    return Ok(None);
                }
                if !crossing.contains(&source) {
                    memory::push(&mut crossing, source)?;
                }
            }
        }
        let gain = crossing.iter().any(|&id| !matches!(self.op(id), Op::Input(_)));
        Ok(gain.then_some(crossing))
    }

    /// For each node, whether row `n` of its first axis follows from row `n` of the inputs.
    fn by_row(&self) -> Result<Vec<bool>> {
        let constant = self.constant()?;
        let images =
            |node: &Node| matches!(node.op, Op::Input(_)).then(|| node.dims.first().copied()).flatten();
        let images = self.nodes.iter().find_map(images);
        let mut by_row: Vec<bool> = Vec::new();
        memory::reserve(&mut by_row, self.nodes.len())?;
        for node in &self.nodes {
            let rows = node.dims.first().copied();
            // Constants take part if they are the same for every row.
            let operand = |id: Id| {
                by_row[id]
                    || (constant[id]
                        && (self.dims(id).len() < node.dims.len()
                            || self.dims(id).first().is_none_or(|&rows| rows == 1)))
            };
            let all = node.inputs.iter().all(|&id| operand(id));
            let some = node.inputs.iter().any(|&id| by_row[id]);
            let kept = match &node.op {
                Op::Input(_) => true,
                Op::Constant(_) | Op::Weight(_) | Op::Given(_) | Op::Fallback(..) => false,
                Op::Reshape => all,
                Op::Permute(axes) => all && axes.first() == Some(&0),
                Op::Slice { axis, .. } | Op::Concat(axis) => all && *axis > 0,
                Op::Softmax(axis) | Op::Normal { axis, .. } => all && *axis > 0,
                Op::Reduce(_, axes) => all && !axes.contains(&0),
                Op::Unary(_) | Op::Binary(_) | Op::Broadcast => all && some,
                Op::Integers => all,
                Op::Einsum(einsum) => {
                    let (a, b) = (node.inputs[0], node.inputs[1]);
                    let leads = |letters: &[char], id: Id, other: Id, others: &[char]| {
                        let row = letters.first();
                        let shared = row.is_some_and(|row| others.contains(row));
                        by_row[id] && constant[other] && row == einsum.out.first() && !shared
                    };
                    leads(&einsum.a, a, b, &einsum.b) || leads(&einsum.b, b, a, &einsum.a)
                }
                Op::Gather => constant[node.inputs[0]] && by_row[node.inputs[1]],
                Op::GroupNormal { .. }
                | Op::Attention { .. }
                | Op::Convolution(_)
                | Op::Pad(_)
                | Op::Upsample(_) => {
                    by_row[node.inputs[0]] && node.inputs[1..].iter().all(|&id| constant[id])
                }
            };
            by_row.push(kept && rows == images);
        }
        Ok(by_row)
    }
}
