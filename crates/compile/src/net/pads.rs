//! Joins: concatenation, and the circular padding that exporters make of it.

use super::{Id, Margins, Net, Op};

impl Net {
    pub(super) fn concat(&mut self, axis: usize, parts: Vec<Id>) -> Id {
        if let &[part] = parts.as_slice() {
            return part;
        }
        if let Some(id) = self.wrapped(axis, &parts) {
            return id;
        }
        let mut dims = self.dims(parts[0]).to_vec();
        dims[axis] = parts.iter().map(|&part| self.dims(part)[axis]).sum();
        let element = self.nodes[parts[0]].element;
        self.push(Op::Concat(axis), parts, dims, element)
    }

    /// The end of an image's axis, the image, its beginning: a circular pad.
    fn wrapped(&mut self, axis: usize, parts: &[Id]) -> Option<Id> {
        let &[last, x, first] = parts else { return None };
        let piece = |id: Id| match *self.op(id) {
            Op::Slice { axis: along, start } if along == axis && self.inputs(id)[0] == x => {
                Some((start, self.dims(id)[axis]))
            }
            _ => None,
        };
        let ((start, before), (zero, after)) = (piece(last)?, piece(first)?);
        let [_, _, height, width] = *self.dims(x) else { return None };
        let size = [height, width];
        let side = axis.checked_sub(2)?;
        if zero != 0 || start + before != size[side] {
            return None;
        }
        let mut margins = Margins { before: [0; 2], after: [0; 2], circular: true };
        margins.before[side] = before;
        margins.after[side] = after;
        Some(self.pad(x, margins))
    }

    /// Pads `[N, C, H, W]`; pads of one kind along different axes become one.
    pub(super) fn pad(&mut self, x: Id, margins: Margins) -> Id {
        if let Op::Pad(inner) = *self.op(x) {
            let apart = |side: usize| {
                inner.before[side] + inner.after[side] == 0 || margins.before[side] + margins.after[side] == 0
            };
            if inner.circular == margins.circular && apart(0) && apart(1) {
                let add = |a: [usize; 2], b: [usize; 2]| [a[0] + b[0], a[1] + b[1]];
                let (before, after) = (add(inner.before, margins.before), add(inner.after, margins.after));
                let x = self.inputs(x)[0];
                return self.pad(x, Margins { before, after, circular: inner.circular });
            }
        }
        let mut dims = self.dims(x).to_vec();
        for side in [0, 1] {
            dims[2 + side] += margins.before[side] + margins.after[side];
        }
        self.float(Op::Pad(margins), vec![x], dims)
    }
}
