//! Shapes of what moves elements or makes them anew.

use super::{LONGEST, Shapes, broadcast};
use crate::Result;
use crate::error::{invalid_bundle, limit_exceeded, unsupported};
use crate::graph::standard::seen::{Seen, axes, axis};

pub(super) fn shapes(seen: &Seen) -> Result<Shapes> {
    let node = seen.node;
    let one = |shape: Vec<usize>| Ok(vec![Some(shape)]);
    match node.operator.as_str() {
        "Concat" => one(concat(seen)?),
        "Split" => split(seen),
        "Gather" => {
            let (data, indices) = (seen.shape(0)?, seen.shape(1)?);
            let along = axis("axis", node.int("axis").unwrap_or(0), data.len())?;
            inside(seen, 1, data[along])?;
            one([&data[..along], indices, &data[along + 1..]].concat())
        }
        "GatherElements" => {
            let (data, indices) = (seen.shape(0)?, seen.shape(1)?);
            elements(seen, data, indices)?;
            one(indices.to_vec())
        }
        "ScatterElements" | "Scatter" => {
            let (data, indices, updates) = (seen.shape(0)?, seen.shape(1)?, seen.shape(2)?);
            elements(seen, data, indices)?;
            if indices != updates {
                return Err(invalid_bundle(format!("the indices are {indices:?}, the updates {updates:?}")));
            }
            one(data.to_vec())
        }
        "GatherND" => {
            let (data, indices) = (seen.shape(0)?, seen.shape(1)?);
            let batch = node.int("batch_dims").unwrap_or(0).max(0) as usize;
            let Some((&width, places)) = indices.split_last() else { return Err(no_places(data, indices)) };
            let fits = batch < data.len().min(indices.len()) && (1..=data.len() - batch).contains(&width);
            if !fits || data[..batch] != indices[..batch] {
                return Err(no_places(data, indices));
            }
            places_inside(seen, &data[batch..])?;
            one([places, &data[batch + width..]].concat())
        }
        "ScatterND" => {
            let (data, indices, updates) = (seen.shape(0)?, seen.shape(1)?, seen.shape(2)?);
            let Some((&width, places)) = indices.split_last() else { return Err(no_places(data, indices)) };
            if !(1..=data.len()).contains(&width) || updates != [places, &data[width..]].concat() {
                return Err(invalid_bundle(format!(
                    "updates {updates:?} at {indices:?} do not fit {data:?}"
                )));
            }
            places_inside(seen, data)?;
            one(data.to_vec())
        }
        "Reshape" => one(reshape(seen)?),
        "Flatten" => {
            let shape = seen.shape(0)?;
            let (written, rank) = (node.int("axis").unwrap_or(1), shape.len());
            let at = if written == rank as i64 { rank } else { axis("axis", written, rank)? };
            one(vec![shape[..at].iter().product(), shape[at..].iter().product()])
        }
        "Transpose" => {
            let shape = seen.shape(0)?;
            let Some(written) = node.ints("perm") else {
                return one(shape.iter().rev().copied().collect());
            };
            let rank = shape.len();
            let fits = written.len() == rank && (0..rank as i64).all(|axis| written.contains(&axis));
            if !fits {
                return Err(invalid_bundle(format!(
                    "attribute 'perm' is {written:?}, must order {rank} axes"
                )));
            }
            one(written.iter().map(|&axis| shape[axis as usize]).collect())
        }
        "Squeeze" => {
            let shape = seen.shape(0)?;
            let along = match seen.list(1, "axes")? {
                Some(list) => axes("axes", &list, shape.len())?,
                None => (0..shape.len()).filter(|&i| shape[i] == 1).collect(),
            };
            if let Some(&long) = along.iter().find(|&&i| shape[i] != 1) {
                return Err(invalid_bundle(format!(
                    "'axes' names axis {long}, which has {} elements",
                    shape[long]
                )));
            }
            one((0..shape.len()).filter(|i| !along.contains(i)).map(|i| shape[i]).collect())
        }
        "Unsqueeze" => {
            let (shape, list) = (seen.shape(0)?, seen.list(1, "axes")?.unwrap_or_default());
            let along = axes("axes", &list, shape.len() + list.len())?;
            let mut sizes = shape.iter().copied();
            let all = 0..shape.len() + list.len();
            one(all.map(|i| if along.contains(&i) { 1 } else { sizes.next().unwrap_or(1) }).collect())
        }
        "Expand" => one(broadcast(seen.shape(0)?, &sizes(seen, 1, "shape")?)?),
        "Tile" => {
            let (shape, repeats) = (seen.shape(0)?, sizes(seen, 1, "repeats")?);
            if shape.len() != repeats.len() {
                return Err(invalid_bundle(format!("'repeats' is {repeats:?} for {shape:?}")));
            }
            one(shape.iter().zip(&repeats).map(|(&n, &times)| n.saturating_mul(times)).collect())
        }
        "ConstantOfShape" => one(sizes(seen, 0, "input")?),
        "Range" => {
            let number = |place: usize, name: &str| -> Result<f64> {
                let Some(value) = seen.operand(place).and_then(|operand| operand.value.as_ref()) else {
                    return Err(unsupported(format!("input '{name}' must be known while loading")));
                };
                let number =
                    value.cast_to_scalar::<f64>().ok().filter(|n| n.is_finite() && value.rank() == 0);
                number.ok_or_else(|| invalid_bundle(format!("input '{name}' must be one finite number")))
            };
            let (start, limit, delta) = (number(0, "start")?, number(1, "limit")?, number(2, "delta")?);
            if delta == 0.0 {
                return Err(invalid_bundle("input 'delta' is 0"));
            }
            one(vec![((limit - start) / delta).ceil().max(0.0) as usize])
        }
        "BlackmanWindow" | "HammingWindow" | "HannWindow" => {
            let size = seen.integer(0, "size")?.unwrap_or(0);
            let size = usize::try_from(size).ok().filter(|&size| size > 0);
            one(vec![size.ok_or_else(|| invalid_bundle("input 'size' must be at least 1"))?])
        }
        "MelWeightMatrix" => {
            let count = |place: usize, name: &str| {
                let count = seen.integer(place, name)?.and_then(|count| usize::try_from(count).ok());
                count.ok_or_else(|| invalid_bundle(format!("input '{name}' must not be negative")))
            };
            one(vec![count(1, "dft_length")? / 2 + 1, count(0, "num_mel_bins")?])
        }
        "EyeLike" => {
            if seen.rank(0)? != 2 {
                return Err(invalid_bundle(format!("takes {:?}, must be a matrix", seen.shape(0)?)));
            }
            one(seen.shape(0)?.to_vec())
        }
        "OneHot" => {
            let (shape, depth) = (seen.shape(0)?, seen.integer(1, "depth")?.unwrap_or(0));
            let Some(depth) = usize::try_from(depth).ok().filter(|&depth| depth > 0) else {
                return Err(invalid_bundle(format!("input 'depth' is {depth}, must be at least 1")));
            };
            if depth > LONGEST {
                return Err(limit_exceeded(format!("input 'depth' is {depth}, the most are {LONGEST}")));
            }
            if seen.shape(2)? != [2] {
                return Err(invalid_bundle(format!("input 'values' is {:?}, must be [2]", seen.shape(2)?)));
            }
            let mut shape = shape.to_vec();
            let at = axis("axis", node.int("axis").unwrap_or(-1), shape.len() + 1)?;
            shape.insert(at, depth);
            one(shape)
        }
        "TopK" => {
            let mut shape = seen.shape(0)?.to_vec();
            let along = axis("axis", node.int("axis").unwrap_or(-1), shape.len())?;
            let k = node.int("k").or(seen.integer(1, "k")?).unwrap_or(0);
            if !(1..=shape[along] as i64).contains(&k) {
                return Err(invalid_bundle(format!(
                    "'k' is {k}, but axis {along} has {} elements",
                    shape[along]
                )));
            }
            shape[along] = k as usize;
            Ok(vec![Some(shape.clone()), Some(shape)])
        }
        "DepthToSpace" | "SpaceToDepth" => one(blocks(seen)?),
        "GridSample" => {
            let (x, grid) = (seen.shape(0)?, seen.shape(1)?);
            let spatial = x.len().saturating_sub(2);
            let fits =
                spatial > 0 && grid.len() == x.len() && grid[0] == x[0] && grid[x.len() - 1] == spatial;
            if !fits {
                return Err(invalid_bundle(format!("a grid {grid:?} does not fit {x:?}")));
            }
            // tract takes the grid's edge for the image's.
            if matches!(node.word("mode"), Some("bicubic" | "cubic"))
                && node.word("padding_mode") == Some("border")
            {
                return Err(unsupported("attribute 'padding_mode' border is not supported in mode cubic"));
            }
            one([&x[..2], &grid[1..x.len() - 1]].concat())
        }
        "Compress" => {
            if let Some(written) = node.int("axis") {
                axis("axis", written, seen.rank(0)?)?;
            }
            Ok(Shapes::new())
        }
        _ => Ok(Shapes::new()),
    }
}

fn concat(seen: &Seen) -> Result<Vec<usize>> {
    let mut shape = seen.shape(0)?.to_vec();
    let along = axis("axis", seen.node.int("axis").unwrap_or(0), shape.len())?;
    for place in 1..seen.operands.len() {
        let other = seen.shape(place)?;
        let fits = other.len() == shape.len() && (0..shape.len()).all(|i| i == along || shape[i] == other[i]);
        if !fits {
            return Err(invalid_bundle(format!("{other:?} does not join {shape:?} along axis {along}")));
        }
        shape[along] += other[along];
    }
    Ok(shape)
}

fn split(seen: &Seen) -> Result<Shapes> {
    let shape = seen.shape(0)?;
    let along = axis("axis", seen.node.int("axis").unwrap_or(0), shape.len())?;
    let (parts, all) = (seen.node.outputs.len(), shape[along]);
    let sizes = match (seen.list(1, "split")?, seen.node.int("num_outputs")) {
        (Some(_), Some(_)) => return Err(invalid_bundle("'split' and 'num_outputs' are both there")),
        (Some(list), None) => {
            let sizes: Option<Vec<usize>> = list.iter().map(|&n| usize::try_from(n).ok()).collect();
            let sizes = sizes.filter(|s| s.len() == parts && s.iter().sum::<usize>() == all);
            sizes.ok_or_else(|| {
                invalid_bundle(format!("'split' is {list:?}, but {parts} parts of {all} are made"))
            })?
        }
        (None, written) => {
            if written.is_some_and(|n| n != parts as i64) {
                return Err(invalid_bundle(format!(
                    "attribute 'num_outputs' is not the {parts} that are made"
                )));
            }
            if written.is_none() && all % parts.max(1) != 0 {
                return Err(invalid_bundle(format!(
                    "axis {along} has {all} elements, which are not {parts} equal parts"
                )));
            }
            let size = all.div_ceil(parts.max(1));
            (0..parts).map(|i| all.saturating_sub(i * size).min(size)).collect()
        }
    };
    let part = |size| {
        let mut shape = shape.to_vec();
        shape[along] = size;
        Some(shape)
    };
    Ok(sizes.into_iter().map(part).collect())
}

/// Holds known indices to an axis of `size` elements.
fn inside(seen: &Seen, place: usize, size: usize) -> Result<()> {
    let Some(operand) = seen.operand(place).filter(|operand| operand.value.is_some()) else { return Ok(()) };
    let Some(list) = operand.integers() else {
        return Err(invalid_bundle("input 'indices' does not hold integers"));
    };
    list.into_iter().try_for_each(|index| one_inside(index, size))
}

/// Holds known places, each one index for the first axes of `data`, to these.
fn places_inside(seen: &Seen, data: &[usize]) -> Result<()> {
    let Some(places) = seen.operand(1).filter(|operand| operand.value.is_some()) else { return Ok(()) };
    let width = places.shape.last().copied().unwrap_or(1).max(1);
    let list = places.integers().unwrap_or_default();
    let size = |i: usize| data.get(i % width).copied().unwrap_or(0);
    list.into_iter().enumerate().try_for_each(|(i, index)| one_inside(index, size(i)))
}

fn one_inside(index: i64, size: usize) -> Result<()> {
    if (-(size as i64)..size as i64).contains(&index) {
        return Ok(());
    }
    Err(invalid_bundle(format!("input 'indices' holds {index}, but the axis has {size} elements")))
}

fn elements(seen: &Seen, data: &[usize], indices: &[usize]) -> Result<()> {
    let along = axis("axis", seen.node.int("axis").unwrap_or(0), data.len())?;
    let fits = data.len() == indices.len() && (0..data.len()).all(|i| i == along || indices[i] <= data[i]);
    if !fits {
        return Err(invalid_bundle(format!("indices of shape {indices:?} do not fit {data:?}")));
    }
    inside(seen, 1, data[along])
}

fn no_places(data: &[usize], indices: &[usize]) -> crate::Error {
    invalid_bundle(format!("indices of shape {indices:?} are no places in {data:?}"))
}

/// A known list of sizes.
fn sizes(seen: &Seen, place: usize, name: &str) -> Result<Vec<usize>> {
    let list = seen.integers(place, name)?.unwrap_or_default();
    let sizes: Option<Vec<usize>> = list.iter().map(|&n| usize::try_from(n).ok()).collect();
    sizes.ok_or_else(|| invalid_bundle(format!("input '{name}' is {list:?}, must not be negative")))
}

fn reshape(seen: &Seen) -> Result<Vec<usize>> {
    let (from, to) = (seen.shape(0)?, seen.integers(1, "shape")?.unwrap_or_default());
    let elements: usize = from.iter().product();
    let refused = || invalid_bundle(format!("input 'shape' is {to:?}, which {from:?} does not fill"));
    let mut shape = Vec::new();
    let mut open = None;
    for (i, &n) in to.iter().enumerate() {
        match n {
            -1 if open.is_none() => {
                open = Some(i);
                shape.push(1);
            }
            0 if !seen.node.flag("allowzero") => shape.push(*from.get(i).ok_or_else(refused)?),
            n => shape.push(usize::try_from(n).map_err(|_| refused())?),
        }
    }
    let filled = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n)).ok_or_else(refused)?;
    if let Some(open) = open {
        if filled == 0 || !elements.is_multiple_of(filled) {
            return Err(refused());
        }
        shape[open] = elements / filled;
    } else if filled != elements {
        return Err(refused());
    }
    Ok(shape)
}

fn blocks(seen: &Seen) -> Result<Vec<usize>> {
    let block = seen.node.int("blocksize").unwrap_or(1).max(1) as usize;
    let &[n, c, h, w] = seen.shape(0)? else {
        return Err(invalid_bundle(format!("takes {:?}, must have four axes", seen.shape(0)?)));
    };
    let area = block.saturating_mul(block);
    let deep = seen.node.operator == "DepthToSpace";
    let fits = if deep { c % area == 0 } else { h % block == 0 && w % block == 0 };
    if !fits {
        return Err(invalid_bundle(format!(
            "attribute 'blocksize' is {block}, which does not part {:?}",
            [n, c, h, w]
        )));
    }
    Ok(if deep { vec![n, c / area, h * block, w * block] } else { vec![n, c * area, h / block, w / block] })
}
