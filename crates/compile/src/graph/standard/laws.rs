//! What comes out of a node by the standard: the shapes, or why it breaks the standard.
//!
//! Operators that are not named here make what tract says.

mod moves;
mod scales;
mod sums;

use super::attributes::LARGEST;
use super::seen::{Operand, Seen, axes, axis};
use crate::Result;
use crate::error::{invalid_bundle, limit_exceeded, unsupported};
use crate::graph::operators::{self, conv_transpose, pad, resize, slice};
pub(in super::super) use scales::{scales_along, zero_point};

/// The shape of each output, where the standard's is known.
pub(in super::super) type Shapes = Vec<Option<Vec<usize>>>;

/// Inputs that have to be known while loading.
const KNOWN: &[(&str, &[usize])] = &[
    ("BlackmanWindow", &[0]),
    ("ConstantOfShape", &[0]),
    ("CumSum", &[1]),
    ("Dropout", &[1, 2]),
    ("Expand", &[1]),
    ("HammingWindow", &[0]),
    ("HannWindow", &[0]),
    ("MelWeightMatrix", &[0, 1]),
    ("OneHot", &[1, 2]),
    ("Pad", &[1, 2, 3]),
    ("Range", &[0, 1, 2]),
    ("Reshape", &[1]),
    ("Resize", &[1, 2, 3]),
    ("Slice", &[1, 2, 3, 4]),
    ("Split", &[1]),
    ("Squeeze", &[1]),
    ("Tile", &[1]),
    ("TopK", &[1]),
    ("Trilu", &[1]),
    ("Unsqueeze", &[1]),
    ("Upsample", &[1]),
];

/// No tensor has more elements; not all are made: the scores of an attention never are.
const MOST: usize = 1 << 40;
/// Nor has one that is made of constants alone, and so made while loading.
pub(in super::super) const MOST_CONSTANT: usize = 1 << 28;
/// No axis that is resized or repeated has more.
pub(in super::super) const LONGEST: usize = 1 << 24;

/// No tensor has more axes.
const MOST_AXES: usize = 64;

/// False while a value that has to be known is not; tract may still find it.
pub(super) fn may_speak(seen: &Seen) -> bool {
    let known = |&place: &usize| seen.operand(place).is_none_or(|operand| operand.value.is_some());
    let row = KNOWN.iter().find(|(operator, _)| *operator == seen.node.operator);
    let reduces = seen.node.operator.starts_with("Reduce") && seen.node.operator != "Reduce";
    row.is_none_or(|(_, places)| places.iter().all(known)) && (!reduces || known(&1))
}

/// The shapes of those outputs that are there.
pub(in super::super) fn shapes(seen: &Seen) -> Result<Shapes> {
    let there = seen.node.outputs.iter();
    let shapes: Shapes = of_operator(seen)?
        .into_iter()
        .zip(there)
        .filter_map(|(shape, &there)| there.then_some(shape))
        .collect();
    let constant = seen.operands.iter().flatten().all(|operand| operand.value.is_some());
    // What only depends on a shape is made while loading, too.
    let made = constant || seen.node.operator == "EyeLike";
    shapes.iter().flatten().try_for_each(|shape| hold(shape, made))?;
    Ok(shapes)
}

/// Refuses a shape that is too large, or empty; those of constants may be empty.
pub(super) fn hold(shape: &[usize], constant: bool) -> Result<()> {
    if shape.len() > MOST_AXES {
        let axes = shape.len();
        return Err(limit_exceeded(format!("makes a tensor of {axes} axes, the most are {MOST_AXES}")));
    }
    let elements = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
    if elements.is_none_or(|n| n > if constant { MOST_CONSTANT } else { MOST }) {
        return Err(limit_exceeded(format!("makes a tensor of shape {shape:?}, which is too large")));
    }
    if elements == Some(0) && !constant {
        return Err(unsupported(format!("makes a tensor without elements, of shape {shape:?}")));
    }
    Ok(())
}

fn of_operator(seen: &Seen) -> Result<Shapes> {
    let node = seen.node;
    let same = || Ok(vec![Some(seen.shape(0)?.to_vec())]);
    let one = |shape: Vec<usize>| Ok(vec![Some(shape)]);
    match node.operator.as_str() {
        "Abs" | "Acos" | "Acosh" | "Asin" | "Asinh" | "Atan" | "Atanh" | "BitwiseNot" | "Cast"
        | "CastLike" | "Ceil" | "Celu" | "Cos" | "Cosh" | "Elu" | "Erf" | "Exp" | "Floor" | "Gelu"
        | "HardSigmoid" | "HardSwish" | "Identity" | "IsInf" | "IsNaN" | "LeakyRelu" | "Log" | "Mish"
        | "Neg" | "Not" | "QuickGelu" | "Reciprocal" | "Relu" | "Round" | "Selu" | "Shrink" | "Sigmoid"
        | "Sign" | "Sin" | "Sinh" | "Softplus" | "Softsign" | "Sqrt" | "Swish" | "Tan" | "Tanh"
        | "ThresholdedRelu" => same(),
        "Clip" => {
            single_numbers(seen)?;
            same()
        }
        "Softmax" | "LogSoftmax" | "Hardmax" => {
            axis("axis", node.int("axis").unwrap_or(if node.opset < 13 { 1 } else { -1 }), seen.rank(0)?)?;
            same()
        }
        "LayerNormalization" | "RMSNormalization" | "LpNormalization" => {
            axis("axis", node.int("axis").unwrap_or(-1), seen.rank(0)?)?;
            same()
        }
        "MeanVarianceNormalization" => {
            axes("axes", node.ints("axes").unwrap_or(&[0, 2, 3]), seen.rank(0)?)?;
            same()
        }
        "GroupNormalization" => {
            let channels = seen.shape(0)?.get(1).copied().unwrap_or(0);
            let groups = node.int("num_groups").unwrap_or(1).max(1) as usize;
            if channels % groups != 0 {
                return Err(invalid_bundle(format!(
                    "attribute 'num_groups' is {groups}, which does not part {channels} channels"
                )));
            }
            one_for_each(seen, channels)?;
            same()
        }
        "BatchNormalization" if node.flag("training_mode") => Err(unsupported(
            "attribute 'training_mode' is not supported; export the model in evaluation mode",
        )),
        "BatchNormalization" | "InstanceNormalization" => {
            one_for_each(seen, seen.shape(0)?.get(1).copied().unwrap_or(1))?;
            same()
        }
        "LRN" => same(),
        "Dropout" => {
            single_numbers(seen)?;
            let training = seen.integer(2, "training_mode")?.unwrap_or(0) != 0;
            let ratio = seen.floats(1, "ratio")?.and_then(|list| list.first().copied()).unwrap_or(0.5);
            if training && ratio != 0.0 {
                return Err(operators::noise());
            }
            same()
        }
        "CumSum" => {
            let along = seen.integer(1, "axis")?.unwrap_or(0);
            axis("axis", along, seen.rank(0)?)?;
            same()
        }
        "Trilu" => {
            if let Some(k) = seen.integer(1, "k")?.filter(|k| !(-LARGEST..=LARGEST).contains(k)) {
                return Err(invalid_bundle(format!("input 'k' is {k}, which no tensor is large enough for")));
            }
            if seen.rank(0)? < 2 {
                return Err(invalid_bundle("takes a tensor of fewer than two axes"));
            }
            same()
        }
        "QuantizeLinear" | "DequantizeLinear" => {
            if node.int("block_size").unwrap_or(0) != 0 {
                return Err(unsupported("attribute 'block_size' is not supported"));
            }
            let given = seen.operand(2).is_some();
            let silent: &[i64] = if node.operator == "QuantizeLinear" { &[0, 2] } else { &[0, 1] };
            if node.int("output_dtype").is_some_and(|kind| !given && !silent.contains(&kind)) {
                return Err(unsupported("attribute 'output_dtype' is not supported"));
            }
            if node.int("precision").unwrap_or(0) != 0 {
                return Err(unsupported("attribute 'precision' is not supported"));
            }
            scales_along(seen.shape(0)?, seen.shape(1)?, node.int("axis").unwrap_or(1), 0)?;
            if let Some(zero) = seen.operand(2) {
                zero_point(&zero.shape, seen.shape(1)?)?;
            }
            same()
        }
        "Add" | "And" | "BitShift" | "BitwiseAnd" | "BitwiseOr" | "BitwiseXor" | "Div" | "Equal"
        | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "Max" | "Mean" | "Min" | "Mod" | "Mul"
        | "Or" | "Pow" | "Sub" | "Sum" | "Where" | "Xor" => {
            let shapes = seen.operands.iter().flatten().map(|operand| operand.shape.as_slice());
            one(shapes.into_iter().try_fold(Vec::new(), |all, shape| broadcast(&all, shape))?)
        }
        "PRelu" => {
            if broadcast(seen.shape(0)?, seen.shape(1)?)? != seen.shape(0)? {
                let (x, slope) = (seen.shape(0)?, seen.shape(1)?);
                return Err(invalid_bundle(format!("slopes of shape {slope:?} do not fit {x:?}")));
            }
            same()
        }
        "MatMul" | "MatMulInteger" => one(sums::matmul(seen.shape(0)?, seen.shape(1)?)?),
        "QLinearMatMul" => one(sums::matmul(seen.shape(0)?, seen.shape(3)?)?),
        "Gemm" => one(sums::gemm(seen)?),
        "Einsum" => one(sums::einsum(seen)?),
        "Conv" | "ConvInteger" => one(sums::convolution(seen, 1, (node.operator == "Conv").then_some(2))?),
        "QLinearConv" => {
            let shape = sums::convolution(seen, 3, Some(8))?;
            let scale = seen.shape(4)?.iter().product::<usize>();
            if scale != 1 && scale != shape[1] {
                return Err(invalid_bundle(format!(
                    "the kernel has {scale} scales for {} channels",
                    shape[1]
                )));
            }
            one(shape)
        }
        "ConvTranspose" => one(conv_transpose::Spec::read(seen)?.shape),
        "MaxPool" | "AveragePool" => {
            sums::pool(seen)?;
            Ok(Shapes::new())
        }
        "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool" => {
            let shape = seen.shape(0)?;
            if shape.len() < 3 {
                return Err(invalid_bundle(format!("takes {shape:?}, must have at least three axes")));
            }
            one(shape.iter().enumerate().map(|(i, &n)| if i < 2 { n } else { 1 }).collect())
        }
        "ArgMax" | "ArgMin" => {
            let along = axis("axis", node.int("axis").unwrap_or(0), seen.rank(0)?)?;
            one(sums::reduced(seen.shape(0)?, &[along], node.int("keepdims") != Some(0)))
        }
        reduce if reduce.starts_with("Reduce") => {
            let list = seen.list(1, "axes")?.unwrap_or_default();
            let rank = seen.rank(0)?;
            let mut along = axes("axes", &list, rank)?;
            if along.is_empty() && !node.flag("noop_with_empty_axes") {
                along = (0..rank).collect();
            }
            one(sums::reduced(seen.shape(0)?, &along, node.int("keepdims") != Some(0)))
        }
        "Slice" => one(slice::Spec::read(seen)?.shape()),
        "Pad" => one(pad::Spec::read(seen)?.shape()),
        "Resize" | "Upsample" => one(resize::Spec::read(seen)?.shape()),
        _ => moves::shapes(seen),
    }
}

/// Holds all inputs but the first to be single numbers.
fn single_numbers(seen: &Seen) -> Result<()> {
    for (place, operand) in seen.operands.iter().enumerate().skip(1) {
        if let Some(Operand { shape, .. }) = operand
            && !matches!(shape.as_slice(), [] | [1])
        {
            return Err(invalid_bundle(format!("input {place} is {shape:?}, must be a single number")));
        }
    }
    Ok(())
}

/// Holds all inputs but the first to be lists of `count` numbers.
fn one_for_each(seen: &Seen, count: usize) -> Result<()> {
    for place in 1..seen.operands.len() {
        let shape = seen.shape(place)?;
        if shape != [count] {
            return Err(invalid_bundle(format!("input {place} is {shape:?}, must be [{count}]")));
        }
    }
    Ok(())
}

/// The shape that both have when axes of one element are repeated.
fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let rank = a.len().max(b.len());
    let size = |shape: &[usize], i: usize| (i + shape.len()).checked_sub(rank).map_or(1, |i| shape[i]);
    let both = (0..rank).map(|i| match (size(a, i), size(b, i)) {
        (a, b) if a == b => Some(a),
        (1, n) | (n, 1) => Some(n),
        _ => None,
    });
    let shape = both.collect::<Option<_>>();
    shape.ok_or_else(|| {
        invalid_bundle(format!("the sizes {a:?} and {b:?} of what it takes do not go together"))
    })
}
