//! Convolutions as products over a padded, channels-last image; what makes that image is one step, with the
//! group normalisation, activation and upsampling before it.

use super::chain::{Link, ResultRows};
use super::{Lowering, Place};
use crate::Result;
use crate::error::unsupported;
use crate::kernels::{Border, Epilogue, Group, GroupNorm, LINE, Padding, Rows, Stage, Unary};
use crate::net::{Id, Margins, Op};
use crate::plan::{Address, Matmul, Operation};

/// What is done to an image on its way into a convolution, outermost last.
struct Staging {
    x: Id,
    group: Option<Id>,
    silu: bool,
    enlarge: usize,
    margins: Option<Margins>,
}

impl Lowering<'_> {
    /// Marks what a convolution's stage computes along.
    pub(super) fn find_stages(&mut self, live: &[bool]) {
        for id in (0..self.net.nodes.len()).filter(|&id| live[id]) {
            let Op::Convolution(window) = *self.net.op(id) else { continue };
            let padded = window.before != [0; 2] || window.after != [0; 2];
            let (mut node, mut least) = (self.net.inputs(id)[0], 0);
            loop {
                let next = self.net.inputs(node).first().copied();
                // A stage has one of each, in this order.
                let rank = match self.net.op(node) {
                    Op::Pad(_) if !padded => 0,
                    Op::Upsample(_) => 1,
                    Op::Unary(Unary::Silu)
                        if next.is_some_and(|next| {
                            matches!(self.net.op(next), Op::GroupNormal { .. }) && self.uses[next] == 1
                        }) =>
                    {
                        2
                    }
                    Op::GroupNormal { .. } => 3,
                    _ => break,
                };
                let (true, 1, Some(next)) = (rank >= least, self.uses[node], next) else { break };
                self.absorbed[node] = true;
                (node, least) = (next, rank + 1);
            }
        }
    }

    /// Reads the stage of node `id` from its last node `root` inwards: `id` itself, others if they were marked.
    fn staging(&self, id: Id, root: Id) -> Staging {
        let mut staging = Staging { x: root, group: None, silu: false, enlarge: 1, margins: None };
        let here = |x: Id| x == id || self.absorbed[x];
        let below = |x: Id| self.net.inputs(x)[0];
        if let Op::Pad(margins) = *self.net.op(staging.x)
            && here(staging.x)
        {
            (staging.margins, staging.x) = (Some(margins), below(staging.x));
        }
        if let Op::Upsample(factor) = *self.net.op(staging.x)
            && here(staging.x)
        {
            (staging.enlarge, staging.x) = (factor, below(staging.x));
        }
        if let Op::Unary(Unary::Silu) = *self.net.op(staging.x)
            && self.absorbed[staging.x]
            && matches!(self.net.op(below(staging.x)), Op::GroupNormal { .. })
        {
            (staging.silu, staging.x) = (true, below(staging.x));
        }
        if let Op::GroupNormal { .. } = *self.net.op(staging.x)
            && here(staging.x)
        {
            (staging.group, staging.x) = (Some(staging.x), below(staging.x));
        }
        staging
    }

    /// Emits the stage that ends at `root`, for the step of `id`; gives a channels-last place of
    /// `[N, C, H, W]`, with margins of zeros if asked for.
    pub(super) fn staged(&mut self, id: Id, root: Id, zeros: Option<Margins>) -> Result<Place> {
        let Staging { x, group, silu, enlarge, margins } = self.staging(id, root);
        let x = self.place(x)?;
        let x = self.channels_last(id, x);
        let margins = margins.or(zeros);
        if group.is_none() && enlarge == 1 && margins.is_none() {
            return Ok(x);
        }
        let affine = match group {
            Some(group) => Some(self.group_norm(group, &x)?),
            None => None,
        };
        let &[images, channels, height, width] = x.dims.as_slice() else {
            return Err(unsupported("is not an image"));
        };
        let Margins { before, after, circular } =
            margins.unwrap_or(Margins { before: [0; 2], after: [0; 2], circular: false });
        // A size beyond all addresses is refused with the buffer.
        let padded = |size: usize, side: usize| {
            (size * enlarge).saturating_add(before[side]).saturating_add(after[side])
        };
        let (rows, cols) = (padded(height, 0), padded(width, 1));
        let buffer = self.buffer_of(&[images, rows, cols, channels])?;
        let out = Place::dense(buffer, &[images, rows, cols, channels]).permute(&[0, 3, 1, 2]);
        let stage = Stage {
            x: x.address(),
            image_stride: x.strides[0],
            pixel_stride: x.strides[3],
            images,
            height,
            width,
            channels,
            affine: affine.as_ref().map(Place::address),
            silu,
            enlarge,
            padding: Padding { top: before[0], bottom: after[0], left: before[1], right: after[1] },
            border: if circular { Border::Circular } else { Border::Zero },
            out: out.address(),
        };
        self.step(id, Operation::Stage(stage));
        Ok(out)
    }

    /// Emits the statistics of a group normalisation; gives where scales and shifts are.
    fn group_norm(&mut self, group: Id, x: &Place) -> Result<Place> {
        let net = self.net;
        let Op::GroupNormal { groups, eps } = *net.op(group) else {
            return Err(unsupported("is not a group normalisation"));
        };
        let &[images, channels, height, width] = x.dims.as_slice() else {
            return Err(unsupported("is not an image"));
        };
        let mut affine = Vec::new();
        for &id in &net.inputs(group)[1..] {
            affine.push(self.place(id)?);
        }
        let out = Place::dense(self.buffer(2 * images * channels), &[images, 2, channels]);
        let mut norm = GroupNorm {
            x: Rows { offset: x.address(), rows: height * width, cols: channels, stride: x.strides[3] },
            images,
            image_stride: x.strides[0],
            groups,
            eps,
            gamma: affine.first().map(Place::address),
            beta: affine.get(1).map(Place::address),
            partial: out.address(),
            out: out.address(),
        };
        norm.partial = Address { buffer: self.buffer(norm.partials()), offset: 0 };
        self.step(group, Operation::GroupNorm(norm));
        Ok(out)
    }

    /// `[N, C, H, W]` with its channels side by side and its pixels evenly spaced.
    fn channels_last(&mut self, id: Id, mut place: Place) -> Place {
        if place.dims[2..] == [1, 1] {
            // A single pixel may have any stride: that of pixels side by side is one that every kernel takes.
            let channels = place.dims[1];
            place.strides[2..].fill(channels);
        }
        // Pixels that repeat one another have to be apart.
        let apart = place.strides[3] >= place.dims[1];
        let even = apart && (place.strides[1] == 1 || place.dims[1] == 1);
        if even && (place.dims[0] == 1 || place.strides[0] >= place.strides[3]) {
            let pixels = place.permute(&[0, 2, 3, 1]);
            if pixels.merged(1..3) == Some(place.strides[3]) {
                return place;
            }
        }
        let &[n, c, h, w] = place.dims.as_slice() else { return place };
        let buffer = self.buffer(n * c * h * w);
        let to = Place::dense(buffer, &[n, h, w, c]).permute(&[0, 3, 1, 2]);
        self.copy(id, &place, &to);
        to
    }

    /// Emits the convolution `anchor` with the links up to node `last`; gives where `last` lies.
    pub(super) fn convolution(&mut self, anchor: Id, last: Id, links: &[Link]) -> Result<Place> {
        let net = self.net;
        let Op::Convolution(window) = *net.op(anchor) else {
            return Err(unsupported("is not a convolution"));
        };
        let inputs = net.inputs(anchor);
        let kernel = self.origins[inputs[1]].clone();
        let kernel = kernel.ok_or_else(|| unsupported("has a kernel that is not constant"))?;
        let zeros = (window.before != [0; 2] || window.after != [0; 2]).then_some(Margins {
            before: window.before,
            after: window.after,
            circular: false,
        });
        let x = self.staged(anchor, inputs[0], zeros)?;
        let &[images, channels, _, cols] = x.dims.as_slice() else {
            return Err(unsupported("is not an image"));
        };
        let [height, width] = window.size;
        let strides = kernel.place.strides.clone();
        let across = kernel.place.merged(2..4).ok_or_else(|| unsupported("has a kernel in pieces"))?;
        let out_channels = kernel.place.dims[0];
        let sizes = [height * width, channels, out_channels];
        let weights = self.matrix(&kernel, sizes, [across, strides[1], strides[0]])?;
        let (line, pixel) = (cols * x.strides[3], x.strides[3]);
        let segments =
            (0..height * width).map(|i| i / width * line + i % width * pixel).collect::<Vec<usize>>();
        let &[_, _, out_rows, out_cols] = net.dims(anchor) else {
            return Err(unsupported("is not an image"));
        };
        let row_stride = out_channels.next_multiple_of(LINE);
        let buffer = self.buffer_of(&[images, out_rows, out_cols, row_stride])?;
        let whole = [height, width, window.stride[0], window.stride[1]] == [1; 4];
        let (runs, each) = if whole { (1, out_rows * out_cols) } else { (out_rows, out_cols) };
        let groups = (0..images * runs).map(|i| Group {
            a: i / runs * x.strides[0] + i % runs * window.stride[0] * line,
            c: i * each * row_stride,
            row: i * each,
            rows: each,
            image: i / runs,
        });
        let groups = groups.collect();
        let pixels = [images, out_rows, out_cols];
        let steps = Place::dense(buffer, &pixels).strides;
        let place = Place {
            buffer,
            offset: 0,
            dims: net.dims(anchor).to_vec(),
            strides: vec![steps[0] * row_stride, 1, steps[1] * row_stride, row_stride],
        };
        let mut epilogue = Vec::new();
        if let Some(&bias) = inputs.get(2) {
            epilogue.push(Epilogue::Bias { offset: self.place(bias)?.address() });
        }
        let product = Matmul {
            weights,
            a: x.address(),
            a_stride: window.stride[1] * pixel,
            segments,
            out: place.address(),
            out_stride: row_stride,
            groups,
            epilogue,
        };
        let result = ResultRows { place, rows: vec![Some(steps[0]), None, Some(steps[1]), Some(1)] };
        self.multiply(anchor, last, links, product, result)
    }
}
