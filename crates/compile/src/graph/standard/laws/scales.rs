//! Where the scales of a quantized tensor lie.

use crate::Result;
use crate::error::invalid_bundle;
use crate::graph::standard::axis;
use crate::kernels::Sharing;

/// Which elements of a tensor of `shape` share one of the scales, by what the node says of their axis and blocks.
///
/// # Errors
/// `InvalidBundle`: the scales have another shape than that.
pub fn scales_along(shape: &[usize], scale: &[usize], along: i64, block: i64) -> Result<Sharing> {
    let block = usize::try_from(block)
        .map_err(|_| invalid_bundle(format!("attribute 'block_size' is {block}, which is no size")))?;
    if block > 0 {
        let along = axis("axis", along, shape.len())?;
        let mut blocks = shape.to_vec();
        blocks[along] = blocks[along].div_ceil(block);
        if scale != blocks {
            let message =
                format!("the scale is {scale:?}, blocks of {block} along axis {along} make it {blocks:?}");
            return Err(invalid_bundle(message));
        }
        return Ok(Sharing::Blocks(along, block));
    }
    if scale.iter().all(|&n| n == 1) {
        return Ok(Sharing::All);
    }
    let along = axis("axis", along, shape.len())?;
    if scale != [shape[along]] {
        let message = format!("the scale is {scale:?}, but axis {along} has {} elements", shape[along]);
        return Err(invalid_bundle(message));
    }
    Ok(Sharing::Axis(along))
}

/// Holds a zero point to the scale that it goes with: single numbers may have an axis of one element or none.
///
/// # Errors
/// `InvalidBundle`: it has another shape.
pub fn zero_point(zero: &[usize], scale: &[usize]) -> Result<()> {
    let single = |sizes: &[usize]| matches!(sizes, [] | [1]);
    if zero == scale || (single(zero) && single(scale)) {
        return Ok(());
    }
    Err(invalid_bundle(format!("the zero point is {zero:?}, the scale {scale:?}")))
}
