//! Shapes of what sums: products, convolutions, reductions.

use super::{LONGEST, broadcast};
use crate::Result;
use crate::error::{invalid_bundle, limit_exceeded, unsupported};
use crate::graph::standard::seen::Seen;

pub(super) fn matmul(a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let apart = || invalid_bundle(format!("the sizes {a:?} and {b:?} of what it takes do not go together"));
    // A list is a row on the left, and a column on the right.
    let (left, right) = (a.len() == 1, b.len() == 1);
    let row = if left { vec![1, a[0]] } else { a.to_vec() };
    let column = if right { vec![b[0], 1] } else { b.to_vec() };
    let ([before @ .., m, k], [around @ .., j, n]) = (row.as_slice(), column.as_slice()) else {
        return Err(apart());
    };
    if k != j {
        return Err(apart());
    }
    let mut shape = broadcast(before, around)?;
    shape.extend((!left).then_some(*m));
    shape.extend((!right).then_some(*n));
    Ok(shape)
}

pub(super) fn gemm(seen: &Seen) -> Result<Vec<usize>> {
    let matrix = |place: usize, turned: &str| -> Result<[usize; 2]> {
        match *seen.shape(place)? {
            [rows, columns] if seen.node.flag(turned) => Ok([columns, rows]),
            [rows, columns] => Ok([rows, columns]),
            ref other => Err(invalid_bundle(format!("input {place} is {other:?}, must be a matrix"))),
        }
    };
    let (a, b) = (matrix(0, "transA")?, matrix(1, "transB")?);
    if a[1] != b[0] {
        return Err(invalid_bundle(format!("the sizes {a:?} and {b:?} of what it takes do not go together")));
    }
    let shape = vec![a[0], b[1]];
    if let Some(c) = seen.operand(2)
        && broadcast(&shape, &c.shape)? != shape
    {
        return Err(invalid_bundle(format!("what is added is {:?}, the product {shape:?}", c.shape)));
    }
    Ok(shape)
}

/// The window that a node moves over the axes behind the first two; also those that tract is left to measure.
pub(super) struct Window {
    pub(super) strides: Vec<usize>,
    pub(super) dilations: Vec<usize>,
    pub(super) pads: Vec<usize>,
}

/// Holds the lists of a pooling or a convolution to the number of axes.
pub(super) fn window(seen: &Seen) -> Result<Window> {
    let shape = seen.shape(0)?;
    let Some(spatial) = shape.len().checked_sub(2).filter(|&n| n > 0) else {
        return Err(invalid_bundle(format!("takes {shape:?}, must have at least three axes")));
    };
    let node = seen.node;
    node.each("kernel_shape", spatial, 1)?;
    let pads = node.each("pads", 2 * spatial, 0)?;
    let automatic = node.word("auto_pad").is_some_and(|word| word != "NOTSET");
    if automatic && pads.iter().any(|&n| n != 0) {
        return Err(invalid_bundle("attribute 'pads' cannot be together with 'auto_pad'"));
    }
    Ok(Window {
        strides: node.each("strides", spatial, 1)?,
        dilations: node.each("dilations", spatial, 1)?,
        pads,
    })
}

/// Holds the window of a pooling to the standard: each of its places has to hold something of the tensor.
pub(super) fn pool(seen: &Seen) -> Result<()> {
    let Window { pads, .. } = window(seen)?;
    let kernel = seen.node.ints("kernel_shape").unwrap_or_default();
    // A plan has a number for each place of the window.
    let places = kernel.iter().try_fold(1usize, |all, &n| all.checked_mul(usize::try_from(n).ok()?));
    if places.is_none_or(|places| places > LONGEST) {
        return Err(limit_exceeded(format!("attribute 'kernel_shape' is {kernel:?}, which is too large")));
    }
    for (i, &pad) in pads.iter().enumerate() {
        let size = kernel.get(i % kernel.len().max(1)).copied().unwrap_or(i64::MAX);
        if pad as i64 >= size {
            return Err(invalid_bundle(format!(
                "attribute 'pads' holds {pad}, must be less than the kernel's {size}"
            )));
        }
    }
    Ok(())
}

/// The kernel is input `kernel`, the bias perhaps input `bias`.
pub(super) fn convolution(seen: &Seen, kernel: usize, bias: Option<usize>) -> Result<Vec<usize>> {
    let window = window(seen)?;
    let (x, w) = (seen.shape(0)?, seen.shape(kernel)?);
    let group = seen.node.int("group").unwrap_or(1).max(1) as usize;
    let spatial = x.len() - 2;
    let fits = w.len() == x.len() && w[1].checked_mul(group) == Some(x[1]) && w[0] % group == 0;
    if !fits {
        return Err(invalid_bundle(format!("a kernel {w:?} in {group} groups does not fit {x:?}")));
    }
    let size: Vec<usize> = w[2..].to_vec();
    if let Some(written) = seen.node.ints("kernel_shape")
        && !written.iter().map(|&n| n as usize).eq(size.iter().copied())
    {
        return Err(invalid_bundle(format!(
            "attribute 'kernel_shape' is {written:?}, but the kernel is {w:?}"
        )));
    }
    if let Some(bias) = bias.and_then(|place| seen.operand(place))
        && bias.shape != [w[0]]
    {
        return Err(invalid_bundle(format!("the bias is {:?}, must be [{}]", bias.shape, w[0])));
    }
    let mut shape = vec![x[0], w[0]];
    for i in 0..spatial {
        let Window { strides, dilations, pads } = &window;
        let reach = dilations[i].checked_mul(size[i] - size[i].min(1)).map(|n| n + 1);
        let inside = match seen.node.word("auto_pad") {
            Some("SAME_UPPER" | "SAME_LOWER") => {
                if dilations[i] != 1 {
                    return Err(unsupported(
                        "attribute 'auto_pad' together with 'dilations' is not supported",
                    ));
                }
                shape.push(x[2 + i].div_ceil(strides[i]));
                continue;
            }
            _ => x[2 + i].checked_add(pads[i] + pads[spatial + i]),
        };
        let (Some(reach), Some(inside)) = (reach, inside) else {
            return Err(invalid_bundle("the window is too large"));
        };
        let Some(steps) = inside.checked_sub(reach) else {
            return Err(invalid_bundle(format!(
                "a window of {reach} is larger than the {inside} of axis {}",
                2 + i
            )));
        };
        shape.push(steps / strides[i] + 1);
    }
    Ok(shape)
}

pub(super) fn reduced(shape: &[usize], axes: &[usize], kept: bool) -> Vec<usize> {
    let sizes = shape.iter().enumerate();
    sizes.filter_map(|(i, &n)| if axes.contains(&i) { kept.then_some(1) } else { Some(n) }).collect()
}

/// The shape that an equation makes. The axes of `...` are letters of their own, repeated where they are of 1.
pub(super) fn einsum(seen: &Seen) -> Result<Vec<usize>> {
    let equation: String =
        seen.node.word("equation").unwrap_or_default().chars().filter(|c| !c.is_whitespace()).collect();
    let broken = |what: &str| invalid_bundle(format!("attribute 'equation' is '{equation}': {what}"));
    let (left, right) = equation.split_once("->").map_or((equation.as_str(), None), |(l, r)| (l, Some(r)));
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != seen.operands.len() {
        return Err(broken(&format!("it has {} terms for {} inputs", terms.len(), seen.operands.len())));
    }
    let mut sizes: Vec<(char, usize, usize)> = Vec::new();
    let mut rest: Option<usize> = None;
    for (place, term) in terms.iter().enumerate() {
        let shape = seen.shape(place)?;
        let unnamed = || broken(&format!("'{term}' does not name the axes of {shape:?}"));
        let mut letters = term.replacen(REST, "", 1);
        if !letters.chars().all(|c| c.is_ascii_alphabetic()) {
            return Err(unnamed());
        }
        let others = shape.len().checked_sub(letters.len()).ok_or_else(unnamed)?;
        if let Some(at) = term.find(REST) {
            if rest.is_some_and(|known| known != others) {
                return Err(broken(&format!("'{REST}' stands for another number of axes in '{term}'")));
            }
            rest = Some(others);
            letters.insert_str(at, &axes_of_rest(others));
        } else if others != 0 {
            return Err(unnamed());
        }
        for (i, (letter, &size)) in letters.chars().zip(shape).enumerate() {
            if letters.chars().take(i).any(|other| other == letter) {
                return Err(unsupported(format!(
                    "attribute 'equation' with '{letter}' twice in '{term}' is not supported"
                )));
            }
            let repeats = !letter.is_ascii();
            match sizes.iter_mut().find(|(known, ..)| *known == letter) {
                Some((_, known, count)) if *known == size || (repeats && size == 1) => *count += 1,
                Some((_, known, _)) if repeats && *known == 1 => *known = size,
                Some((_, known, _)) => {
                    let name = if repeats { REST.to_owned() } else { letter.to_string() };
                    return Err(broken(&format!("'{name}' is {known} and {size}")));
                }
                None => sizes.push((letter, size, 1)),
            }
        }
    }
    let rest = rest.map(axes_of_rest);
    let right = match right {
        None => {
            let once = sizes.iter().filter(|(letter, _, count)| *count == 1 && letter.is_ascii());
            let mut once: Vec<char> = once.map(|row| row.0).collect();
            once.sort_unstable();
            rest.unwrap_or_default() + &once.into_iter().collect::<String>()
        }
        Some(right) if rest.is_some() && !right.contains(REST) => {
            return Err(broken(&format!("'{right}' lacks the '{REST}'")));
        }
        Some(right) => right.replacen(REST, &rest.unwrap_or_default(), 1),
    };
    let mut shape = Vec::new();
    for (i, letter) in right.chars().enumerate() {
        let Some(row) = sizes.iter().find(|row| row.0 == letter) else {
            return Err(broken(&format!("'{letter}' comes from nowhere")));
        };
        if right.chars().take(i).any(|other| other == letter) {
            return Err(broken(&format!("'{letter}' is there twice")));
        }
        shape.push(row.1);
    }
    Ok(shape)
}

/// What stands for all axes that no letter names.
const REST: &str = "...";

/// A letter for each of them, of which an equation has none.
fn axes_of_rest(count: usize) -> String {
    ('\u{e000}'..).take(count).collect()
}
