//! `Resize` and `Upsample`: which elements of an axis make an element of the result, and how much of each.

use tract_onnx::tract_hir::internal::*;

use super::Wiring;
use super::resample::{Line, Resample};
use crate::Result;
use crate::error::{invalid_bundle, limit_exceeded, unsupported};
use crate::graph::standard::{LONGEST, Seen, axes};

pub(in crate::graph) struct Spec {
    axes: Vec<Axis>,
    filter: Filter,
}

/// One axis before and after.
struct Axis {
    from: usize,
    to: usize,
    scale: f32,
}

impl Axis {
    fn is_unchanged(&self) -> bool {
        self.from == self.to && self.scale == 1.0
    }
}

/// What the attributes say.
struct Filter {
    kind: Kind,
    place: Place,
    nearest: Nearest,
    /// The cubic's coefficient.
    a: f32,
    /// What lies outside counts for nothing, rather than being the edge.
    exclude: bool,
    antialias: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Nearest,
    Linear,
    Cubic,
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    HalfPixel,
    PytorchHalfPixel,
    HalfPixelSymmetric,
    HalfPixelForNearest,
    AlignCorners,
    Asymmetric,
}

#[derive(Clone, Copy, PartialEq)]
enum Nearest {
    PreferFloor,
    PreferCeil,
    Floor,
    Ceil,
    /// Before opset 11: down where the tensor grows, else up.
    Simple,
}

impl Spec {
    pub(in crate::graph) fn read(seen: &Seen) -> Result<Self> {
        let (node, shape) = (seen.node, seen.shape(0)?);
        let filter = Filter::read(seen)?;
        let rank = shape.len();
        let along = match node.ints("axes") {
            Some(list) => axes("axes", list, rank)?,
            None => (0..rank).collect(),
        };
        let given = |list: Vec<f32>| Some(list).filter(|list| !list.is_empty());
        let places = if node.opset < 11 { (1, usize::MAX) } else { (2, 3) };
        let scales = match node.floats("scales") {
            Some(list) => Some(list.to_vec()),
            None => seen.floats(places.0, "scales")?.and_then(given),
        };
        let sizes = seen.integers(places.1, "sizes")?.filter(|list| !list.is_empty());
        let mut spec =
            Self { axes: shape.iter().map(|&n| Axis { from: n, to: n, scale: 1.0 }).collect(), filter };
        match (scales, sizes) {
            (Some(scales), None) => spec.scale(&along, &scales)?,
            (None, Some(sizes)) => spec.size(seen, &along, &sizes)?,
            (Some(_), Some(_)) => return Err(invalid_bundle("'scales' and 'sizes' are both there")),
            (None, None) => return Err(invalid_bundle("has neither 'scales' nor 'sizes'")),
        }
        let too_long = |axis: &&Axis| !axis.is_unchanged() && axis.from.max(axis.to) > LONGEST;
        if let Some(axis) = spec.axes.iter().find(too_long) {
            return Err(limit_exceeded(format!(
                "makes {} of {} elements, which is too large",
                axis.to, axis.from
            )));
        }
        Ok(spec)
    }

    fn scale(&mut self, along: &[usize], scales: &[f32]) -> Result<()> {
        if scales.len() != along.len() {
            return Err(invalid_bundle(format!("'scales' is {scales:?} for {} axes", along.len())));
        }
        for (&axis, &scale) in along.iter().zip(scales) {
            let axis = &mut self.axes[axis];
            let to = (axis.from as f32 * scale).floor();
            if !(scale > 0.0 && (1.0..2147483648.0).contains(&to)) {
                return Err(invalid_bundle(format!(
                    "'scales' holds {scale}, which leaves {to} of {}",
                    axis.from
                )));
            }
            (axis.scale, axis.to) = (scale, to as usize);
        }
        Ok(())
    }

    fn size(&mut self, seen: &Seen, along: &[usize], sizes: &[i64]) -> Result<()> {
        let fits = sizes.len() == along.len() && sizes.iter().all(|size| (1..1 << 31).contains(size));
        if !fits {
            return Err(invalid_bundle(format!("'sizes' is {sizes:?} for {} axes", along.len())));
        }
        let scales = along.iter().zip(sizes).map(|(&axis, &size)| size as f32 / self.axes[axis].from as f32);
        let scales: Vec<f32> = scales.collect();
        let kept = match seen.node.word("keep_aspect_ratio_policy") {
            Some("not_larger") => scales.iter().copied().reduce(f32::min),
            Some("not_smaller") => scales.iter().copied().reduce(f32::max),
            _ => None,
        };
        for (i, &axis) in along.iter().enumerate() {
            let axis = &mut self.axes[axis];
            axis.scale = kept.unwrap_or(scales[i]);
            axis.to = match kept {
                Some(scale) => ((scale * axis.from as f32 + 0.5).floor() as usize).max(1),
                None => sizes[i] as usize,
            };
        }
        Ok(())
    }

    pub(in crate::graph) fn shape(&self) -> Vec<usize> {
        self.axes.iter().map(|axis| axis.to).collect()
    }
}

impl Filter {
    fn read(seen: &Seen) -> Result<Self> {
        let node = seen.node;
        let kind = match node.word("mode").unwrap_or("nearest") {
            "linear" => Kind::Linear,
            "cubic" => Kind::Cubic,
            _ => Kind::Nearest,
        };
        let place = match node.word("coordinate_transformation_mode") {
            _ if node.opset < 11 => Place::Asymmetric,
            Some("tf_crop_and_resize") => {
                let what = "attribute 'coordinate_transformation_mode' tf_crop_and_resize is not supported";
                return Err(unsupported(what));
            }
            Some("pytorch_half_pixel") => Place::PytorchHalfPixel,
            Some("half_pixel_symmetric") => Place::HalfPixelSymmetric,
            Some("tf_half_pixel_for_nn") => Place::HalfPixelForNearest,
            Some("align_corners") => Place::AlignCorners,
            Some("asymmetric") => Place::Asymmetric,
            _ => Place::HalfPixel,
        };
        let nearest = match node.word("nearest_mode") {
            _ if node.opset < 11 => Nearest::Simple,
            Some("round_prefer_ceil") => Nearest::PreferCeil,
            Some("floor") => Nearest::Floor,
            Some("ceil") => Nearest::Ceil,
            _ => Nearest::PreferFloor,
        };
        let antialias = node.flag("antialias");
        if antialias && kind == Kind::Nearest {
            return Err(invalid_bundle("attribute 'antialias' cannot be together with mode nearest"));
        }
        let a = node.float("cubic_coeff_a").unwrap_or(-0.75);
        Ok(Self { kind, place, nearest, a, exclude: node.flag("exclude_outside"), antialias })
    }

    /// Where element `i` of the result lies before, as ONNX Runtime rounds it.
    fn place(&self, axis: &Axis, i: usize) -> f32 {
        let (i, from, to) = (i as f32, axis.from as f32, axis.to as f32);
        match self.place {
            Place::HalfPixel => (i + 0.5) / axis.scale - 0.5,
            Place::PytorchHalfPixel => {
                if axis.to > 1 {
                    (i + 0.5) / axis.scale - 0.5
                } else {
                    0.0
                }
            }
            Place::HalfPixelSymmetric => {
                let adjustment = to / (axis.scale * from);
                from / 2.0 * (1.0 - adjustment) + (i + 0.5) / axis.scale - 0.5
            }
            Place::HalfPixelForNearest => (i + 0.5) / axis.scale,
            Place::AlignCorners => {
                if axis.to > 1 {
                    i * (from - 1.0) / (to - 1.0)
                } else {
                    0.0
                }
            }
            Place::Asymmetric => i / axis.scale,
        }
    }

    fn nearest(&self, axis: &Axis, x: f32) -> f32 {
        match self.nearest {
            Nearest::PreferFloor if x == x.trunc() + 0.5 && x >= 0.0 => x.floor(),
            Nearest::PreferFloor | Nearest::PreferCeil => x.round(),
            Nearest::Floor => x.floor(),
            Nearest::Ceil => x.ceil(),
            Nearest::Simple if axis.scale < 1.0 => x.ceil(),
            Nearest::Simple => x.trunc(),
        }
    }

    fn line(&self, axis: &Axis) -> Result<Line> {
        let last = axis.from as i64 - 1;
        let mut line = Line::new(axis.from);
        for i in 0..axis.to {
            let x = self.place(axis, i);
            match self.kind {
                Kind::Nearest => line.push(&[((self.nearest(axis, x) as i64).clamp(0, last), 1.0)])?,
                _ => line.push(&self.taps(axis, x, last))?,
            }
        }
        Ok(line)
    }

    /// Places and weights of the elements around `x`.
    fn taps(&self, axis: &Axis, x: f32, last: i64) -> Vec<(i64, f32)> {
        // A filter that shrinks reaches as far as it leaves out.
        let stretch = if self.antialias { axis.scale.min(1.0) } else { 1.0 };
        let reach = if self.kind == Kind::Cubic { 2.0 } else { 1.0 } / stretch;
        let first = (x - reach).floor() as i64 + 1;
        let end = (x + reach).ceil() as i64;
        let mut taps: Vec<(i64, f32)> = (first..end.max(first + 1))
            .map(|place| (place, self.weight((place as f32 - x) * stretch)))
            .filter(|&(place, weight)| weight != 0.0 && (!self.left_out() || (0..=last).contains(&place)))
            .collect();
        let sum: f32 = taps.iter().map(|tap| tap.1).sum();
        if sum != 0.0 && (self.antialias || self.exclude) {
            taps.iter_mut().for_each(|tap| tap.1 /= sum);
        }
        taps.iter_mut().for_each(|tap| tap.0 = tap.0.clamp(0, last));
        taps
    }

    fn left_out(&self) -> bool {
        self.exclude && (self.antialias || self.kind == Kind::Cubic)
    }

    fn weight(&self, distance: f32) -> f32 {
        let (d, a) = (distance.abs(), self.a);
        match self.kind {
            Kind::Cubic if d <= 1.0 => ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0,
            Kind::Cubic if d < 2.0 => ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a,
            Kind::Cubic => 0.0,
            _ => (1.0 - d).max(0.0),
        }
    }
}

pub(super) fn wire(seen: &Seen, to: &mut Wiring) -> TractResult<OutletId> {
    let spec = Spec::read(seen)?;
    let x = to.inputs[0];
    let kind = to.kind(x)?;
    if kind != DatumType::F32 {
        return Err(unsupported(format!("takes numbers of type {kind:?}, must be F32")).into());
    }
    let mut lines = Vec::new();
    for (i, axis) in spec.axes.iter().enumerate().filter(|(_, axis)| !axis.is_unchanged()) {
        let line = spec.filter.line(axis)?;
        if !line.is_identity() {
            lines.push((i, line));
        }
    }
    if lines.is_empty() { Ok(x) } else { to.op(Resample { lines }, &[x]) }
}
