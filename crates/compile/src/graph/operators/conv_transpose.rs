//! `ConvTranspose`: the standard's padding, wired as tract's own operation with all of it written out.

use tract_onnx::tract_core::ops::cnn::{Deconv, KernelFormat, PaddingSpec, PoolSpec};
use tract_onnx::tract_core::ops::nn::DataFormat;
use tract_onnx::tract_hir::internal::*;

use super::Wiring;
use crate::Result;
use crate::error::{invalid_bundle, unsupported};
use crate::graph::standard::Seen;

pub(in crate::graph) struct Spec {
    pub(in crate::graph) shape: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    before: Vec<usize>,
    after: Vec<usize>,
    /// Rows that are added at the end.
    extra: Vec<usize>,
    group: usize,
}

impl Spec {
    pub(in crate::graph) fn read(seen: &Seen) -> Result<Self> {
        let (x, w, node) = (seen.shape(0)?, seen.shape(1)?, seen.node);
        let group = node.int("group").unwrap_or(1).max(1) as usize;
        let fits = x.len() > 2 && w.len() == x.len() && w[0] == x[1] && x[1] % group == 0;
        if !fits {
            return Err(invalid_bundle(format!("a kernel {w:?} in {group} groups does not fit {x:?}")));
        }
        let (spatial, channels) = (x.len() - 2, w[1].saturating_mul(group));
        if let Some(written) = node.ints("kernel_shape")
            && !written.iter().map(|&n| n as usize).eq(w[2..].iter().copied())
        {
            return Err(invalid_bundle(format!(
                "attribute 'kernel_shape' is {written:?}, but the kernel is {w:?}"
            )));
        }
        if let Some(bias) = seen.operand(2)
            && bias.shape != [channels]
        {
            return Err(invalid_bundle(format!("the bias is {:?}, must be [{channels}]", bias.shape)));
        }
        let mut spec = Self {
            shape: vec![x[0], channels],
            strides: node.each("strides", spatial, 1)?,
            dilations: node.each("dilations", spatial, 1)?,
            before: Vec::new(),
            after: Vec::new(),
            extra: node.each("output_padding", spatial, 0)?,
            group,
        };
        let pads = node.each("pads", 2 * spatial, 0)?;
        let automatic = node.word("auto_pad").unwrap_or("NOTSET");
        // Newer files may give the whole shape.
        let wanted = match node.ints("output_shape") {
            Some(list) if list.len() == spatial + 2 => Some(&list[2..]),
            Some(list) if list.len() != spatial => {
                return Err(invalid_bundle(format!(
                    "attribute 'output_shape' is {list:?} for {spatial} axes"
                )));
            }
            list => list,
        };
        for i in 0..spatial {
            let (stride, extra) = (spec.strides[i] as i64, spec.extra[i] as i64);
            if spec.extra[i] >= spec.strides[i].max(spec.dilations[i]) {
                let message = format!("attribute 'output_padding' holds {extra}, which is a whole stride");
                return Err(invalid_bundle(message));
            }
            let size = x[2 + i] as i64;
            // As much as the kernel reaches.
            let reach = (w[2 + i] as i64 - 1).saturating_mul(spec.dilations[i] as i64);
            let full = stride.saturating_mul(size - 1).saturating_add(extra + 1).saturating_add(reach);
            let (before, after) = match (wanted, automatic) {
                (None, "NOTSET") => (pads[i] as i64, pads[spatial + i] as i64),
                (None, "VALID") => (0, 0),
                (wanted, _) => {
                    let target = wanted.map_or(size * stride, |list| list[i]);
                    let total = full - target;
                    if total < 0 || target < 1 {
                        return Err(unsupported(format!(
                            "attribute 'output_shape' asks for {target} along axis {}, but the kernel reaches {full}",
                            2 + i
                        )));
                    }
                    let less = total / 2;
                    if automatic == "SAME_UPPER" { (less, total - less) } else { (total - less, less) }
                }
            };
            let size = full - before - after;
            if size < 1 {
                return Err(invalid_bundle(format!("attribute 'pads' leaves nothing of axis {}", 2 + i)));
            }
            spec.shape.push(size as usize);
            spec.before.push(before as usize);
            spec.after.push(after as usize);
        }
        Ok(spec)
    }
}

pub(super) fn wire(seen: &Seen, to: &mut Wiring) -> TractResult<OutletId> {
    let spec = Spec::read(seen)?;
    let group = spec.group;
    let kind = to.kind(to.inputs[0])?;
    // The file has a kernel as [groups * in, out, ..], tract as [groups * out, in, ..].
    let w = seen.shape(1)?.to_vec();
    let mut kernel = to.inputs[1];
    if group > 1 {
        let parts = tvec!(group.to_dim(), (w[0] / group).to_dim());
        kernel = to.op(AxisOp::Reshape(0, tvec!(w[0].to_dim()), parts), &[kernel])?;
        kernel = to.op(AxisOp::Move(1, 2), &[kernel])?;
        let parts = tvec!(group.to_dim(), w[1].to_dim());
        kernel = to.op(AxisOp::Reshape(0, parts, tvec!((group * w[1]).to_dim())), &[kernel])?;
    } else {
        kernel = to.op(AxisOp::Move(0, 1), &[kernel])?;
    }
    let bias = match to.inputs.get(2) {
        Some(&bias) => bias,
        None => to.constant(Tensor::zero_scalar_dt(kind)?)?,
    };
    let pool = PoolSpec::new(
        DataFormat::NCHW,
        w[2..].into(),
        PaddingSpec::Explicit(spec.before.into(), spec.after.into()),
        Some(spec.dilations.into()),
        Some(spec.strides.into()),
        w[0],
        w[1] * group,
    );
    let deconv = Deconv::new(pool, KernelFormat::OIHW, spec.extra.into(), group);
    to.op(deconv, &[to.inputs[0], kernel, bias])
}
