//! Steps that move a window along an image: convolutions and pools.

use crate::graph::Graph;
use crate::proto::Attribute::Int;
use crate::steps::{below, ints, one};
use crate::writer::Tensor;

pub(crate) fn convolution(graph: &mut Graph, [a, channels, kind, _]: [u8; 4]) -> Option<Tensor> {
    let a = graph.pick(a);
    let [c, spatial @ ..] = a.dims.as_slice() else { return None };
    let (out, size, stride, pad) =
        (1 + below(channels, 12), 1 + below(kind, 3), 1 + below(kind / 4, 2), below(kind / 16, 2));
    let along = convolved(spatial, size, stride, pad)?;
    let weights = graph.writer.floats(&[&[out, *c][..], &vec![size; spatial.len()]].concat(), 0.2);
    let attributes = [("pads", ints(pad, 2 * spatial.len())), ("strides", ints(stride, spatial.len()))];
    let dims = [&[out][..], &along].concat();
    Some(graph.writer.node("Conv", &[&a.name, &weights], &attributes, dims))
}

/// The edges after a window of `size` went along one or two of them.
fn convolved(spatial: &[usize], size: usize, stride: usize, pad: usize) -> Option<Vec<usize>> {
    if !(1..=2).contains(&spatial.len()) {
        return None;
    }
    spatial.iter().map(|edge| Some((edge + 2 * pad).checked_sub(size)? / stride + 1)).collect()
}

pub(crate) fn transposed_convolution(graph: &mut Graph, [a, channels, kind, _]: [u8; 4]) -> Option<Tensor> {
    let a = graph.pick(a);
    let &[c, h, w] = a.dims.as_slice() else { return None };
    let (out, size, stride) = (1 + below(channels, 12), 1 + below(kind, 4), 1 + below(kind / 4, 2));
    let pad = below(kind / 16, 2);
    let along = |edge: usize| ((edge - 1) * stride + size).checked_sub(2 * pad).filter(|&edge| edge > 0);
    let dims = vec![out, along(h)?, along(w)?];
    let weights = graph.writer.floats(&[c, out, size, size], 0.2);
    let attributes = [("pads", ints(pad, 4)), ("strides", ints(stride, 2))];
    Some(graph.writer.node("ConvTranspose", &[&a.name, &weights], &attributes, dims))
}

pub(crate) fn pool(graph: &mut Graph, [a, kind, counted, _]: [u8; 4]) -> Option<Tensor> {
    let a = graph.pick(a);
    let [c, spatial @ ..] = a.dims.as_slice() else { return None };
    let (size, stride) = (1 + below(kind, 3), 1 + below(kind / 4, 2));
    let pad = below(kind / 16, 2).min(size - 1);
    let dims = [&[*c][..], &convolved(spatial, size, stride, pad)?].concat();
    let rank = spatial.len();
    let mut attributes = vec![
        ("kernel_shape", ints(size, rank)),
        ("strides", ints(stride, rank)),
        ("pads", ints(pad, 2 * rank)),
    ];
    let kind = one(&["MaxPool", "AveragePool"], kind / 64);
    if kind == "AveragePool" {
        attributes.push(("count_include_pad", Int(i64::from(counted % 2))));
    }
    Some(graph.writer.node(kind, &[&a.name], &attributes, dims))
}

pub(crate) fn global_pool(graph: &mut Graph, [a, kind, ..]: [u8; 4]) -> Option<Tensor> {
    let a = graph.pick(a);
    let &[c, _, _] = a.dims.as_slice() else { return None };
    let kind = one(&["GlobalAveragePool", "GlobalMaxPool"], kind);
    Some(graph.writer.node(kind, &[&a.name], &[], vec![c, 1, 1]))
}

pub(crate) fn grouped(graph: &mut Graph, [a, groups, kind, times]: [u8; 4]) -> Option<Tensor> {
    let a = graph.pick(a);
    let [c, spatial @ ..] = a.dims.as_slice() else { return None };
    let (groups, size, spread) = (one(&[1, 2, *c], groups), 1 + below(kind, 3), 1 + below(kind / 4, 3));
    let out = groups * (1 + below(times, 3));
    let pad = below(kind / 16, 2);
    if c % groups != 0 || out > 64 {
        return None;
    }
    let along = convolved(spatial, (size - 1) * spread + 1, 1, pad)?;
    let rank = spatial.len();
    let weights = graph.writer.floats(&[&[out, c / groups][..], &vec![size; rank]].concat(), 0.3);
    let bias = graph.writer.floats(&[out], 0.5);
    let attributes =
        [("pads", ints(pad, 2 * rank)), ("dilations", ints(spread, rank)), ("group", Int(groups as i64))];
    let dims = [&[out][..], &along].concat();
    Some(graph.writer.node("Conv", &[&a.name, &weights, &bias], &attributes, dims))
}
