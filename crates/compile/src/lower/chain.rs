//! Finds the element-wise nodes that follow a product, and says how they read beside its result.

use super::{Lowering, Place};
use crate::Result;
use crate::kernels::{Binary, Unary};
use crate::net::{Id, Op};

/// A product, convolution or normalisation, and what is done to its result before anyone else sees it.
pub(super) struct Chain {
    pub(super) anchor: Id,
    /// From the anchor outwards.
    pub(super) links: Vec<Link>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    /// The node that this link computes.
    pub(super) node: Id,
    pub(super) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum What {
    Unary(Unary),
    /// Adds another node's value.
    Add(Id),
    /// Multiplies by another node's value.
    Mul(Id),
}

/// How another value is read beside a result of rows and columns.
pub(super) enum Beside {
    /// The same for all rows: a float a column.
    Columns(Place),
    /// The same for all rows of an image: floats between images.
    Images(Place, usize),
    /// As the rows themselves: floats between rows.
    Rows(Place, usize),
}

/// A result in rows: the floats between two rows, and for each of its axes the rows that a step along it
/// passes, or none for the axes inside a row.
pub(super) struct ResultRows {
    pub(super) place: Place,
    pub(super) rows: Vec<Option<usize>>,
}

impl Lowering<'_> {
    /// Looks from each element-wise node back to what it could be an epilogue of.
    pub(super) fn find_chains(&mut self) -> Result<()> {
        let live = self.net.live()?;
        self.find_stages(&live);
        for id in (0..self.net.nodes.len()).rev() {
            if !live[id] || self.absorbed[id] || !matches!(self.net.op(id), Op::Unary(_) | Op::Binary(_)) {
                continue;
            }
            let mut links = Vec::new();
            if let Some(anchor) = self.walk(id, id, &mut links) {
                links.reverse();
                self.absorbed[anchor] = true;
                links.iter().filter(|link| link.node != id).for_each(|link| self.absorbed[link.node] = true);
                self.chains[id] = Some(Chain { anchor, links });
            }
        }
        Ok(())
    }

    /// Collects links from `node` inwards; gives the anchor they end at.
    fn walk(&self, node: Id, root: Id, links: &mut Vec<Link>) -> Option<Id> {
        if links.len() > 6 || (node != root && (self.uses[node] != 1 || self.absorbed[node])) {
            return None;
        }
        let inputs = self.net.inputs(node);
        let steps: Vec<(What, Id)> = match self.net.op(node) {
            Op::Einsum(_) if node != root => {
                return inputs.iter().any(|&id| self.origins[id].is_some()).then_some(node);
            }
            Op::Convolution(_) | Op::Normal { .. } if node != root => return Some(node),
            Op::Unary(op @ (Unary::Silu | Unary::GeluTanh | Unary::GeluErf | Unary::Mul(_))) => {
                vec![(What::Unary(*op), inputs[0])]
            }
            Op::Binary(op @ (Binary::Add | Binary::Mul)) => {
                let what = |other: Id| if *op == Binary::Add { What::Add(other) } else { What::Mul(other) };
                let mut ways = vec![(what(inputs[1]), inputs[0]), (what(inputs[0]), inputs[1])];
                ways.sort_by_key(|&(_, next)| std::cmp::Reverse(next));
                ways
            }
            _ => return None,
        };
        for (what, next) in steps {
            if self.net.dims(next) != self.net.dims(root) {
                continue;
            }
            links.push(Link { node, what });
            if let Some(anchor) = self.walk(next, root, links) {
                return Some(anchor);
            }
            links.pop();
        }
        None
    }

    /// Emits an anchor with its links.
    pub(super) fn chain(&mut self, id: Id, chain: Chain) -> Result<()> {
        let place = match self.net.op(chain.anchor) {
            Op::Einsum(_) => self.product(chain.anchor, id, &chain.links)?,
            Op::Convolution(_) => self.convolution(chain.anchor, id, &chain.links)?,
            _ => self.normal(chain.anchor, &chain.links)?,
        };
        self.places[id] = Some(place);
        Ok(())
    }

    /// How `other` reads beside `result`; none if no epilogue reads so.
    pub(super) fn beside(&mut self, other: Id, result: &ResultRows) -> Result<Option<Beside>> {
        let place = self.place(other)?;
        if place.dims.len() > result.place.dims.len() {
            return Ok(None);
        }
        let wide = place.broadcast(&result.place.dims);
        let axes: Vec<usize> = (0..wide.dims.len()).filter(|&axis| wide.dims[axis] > 1).collect();
        let (rows, cols): (Vec<usize>, Vec<usize>) =
            axes.into_iter().partition(|&axis| result.rows[axis].is_some());
        if cols.iter().any(|&axis| wide.strides[axis] != result.place.strides[axis]) {
            return Ok(None);
        }
        if rows.iter().all(|&axis| wide.strides[axis] == 0) {
            return Ok(Some(Beside::Columns(wide)));
        }
        let unit = rows.iter().find_map(|&axis| {
            let rows = result.rows[axis]?;
            wide.strides[axis].is_multiple_of(rows).then_some(wide.strides[axis] / rows)
        });
        if let Some(unit) = unit.filter(|&unit| unit > 0)
            && rows
                .iter()
                .all(|&axis| result.rows[axis].is_some_and(|rows| wide.strides[axis] == unit * rows))
        {
            return Ok(Some(Beside::Rows(wide, unit)));
        }
        if rows.iter().all(|&axis| axis == 0 || wide.strides[axis] == 0) {
            let stride = wide.strides[0];
            return Ok(Some(Beside::Images(wide, stride)));
        }
        Ok(None)
    }
}
