//! What the values of attributes may be, whatever the tensors are.

use tract_onnx::pb::AttributeProto;
use tract_onnx::pb::attribute_proto::AttributeType;

use crate::Result;
use crate::error::invalid_bundle;

/// Words that an attribute of an operator may be, and the opset from which on.
type Words = &'static [(&'static str, i64)];

/// By operator, or for all, and attribute.
const WORDS: &[(&str, &str, Words)] = &[
    ("BitShift", "direction", &[("LEFT", 0), ("RIGHT", 0)]),
    ("DepthToSpace", "mode", &[("DCR", 0), ("CRD", 0)]),
    ("Gelu", "approximate", &[("none", 0), ("tanh", 0)]),
    ("GridSample", "mode", &[("bilinear", 0), ("nearest", 0), ("bicubic", 0), ("linear", 20), ("cubic", 20)]),
    ("GridSample", "padding_mode", &[("zeros", 0), ("border", 0), ("reflection", 0)]),
    // The standard has "wrap" from opset 19 on; PyTorch writes it at 18, and ONNX Runtime takes it.
    ("Pad", "mode", &[("constant", 0), ("reflect", 0), ("edge", 0), ("wrap", 18)]),
    (
        "Resize",
        "coordinate_transformation_mode",
        &[
            ("half_pixel", 0),
            ("pytorch_half_pixel", 0),
            ("align_corners", 0),
            ("asymmetric", 0),
            ("tf_half_pixel_for_nn", 0),
            ("tf_crop_and_resize", 0),
            ("half_pixel_symmetric", 19),
        ],
    ),
    ("Resize", "keep_aspect_ratio_policy", &[("stretch", 0), ("not_larger", 0), ("not_smaller", 0)]),
    ("Resize", "mode", &[("nearest", 0), ("linear", 0), ("cubic", 11)]),
    (
        "Resize",
        "nearest_mode",
        &[("round_prefer_floor", 0), ("round_prefer_ceil", 0), ("floor", 0), ("ceil", 0)],
    ),
    ("Upsample", "mode", &[("nearest", 0), ("linear", 0)]),
    ("ScatterElements", "reduction", &[("none", 0), ("add", 0), ("mul", 0), ("max", 18), ("min", 18)]),
    ("ScatterND", "reduction", &[("none", 0), ("add", 0), ("mul", 0), ("max", 18), ("min", 18)]),
    ("RNN", "direction", &[("forward", 0), ("reverse", 0), ("bidirectional", 0)]),
    ("GRU", "direction", &[("forward", 0), ("reverse", 0), ("bidirectional", 0)]),
    ("LSTM", "direction", &[("forward", 0), ("reverse", 0), ("bidirectional", 0)]),
    ("", "auto_pad", &[("NOTSET", 0), ("SAME_UPPER", 0), ("SAME_LOWER", 0), ("VALID", 0)]),
];

/// Integers, or elements of lists, that are flags.
const FLAGS: &[&str] = &[
    "align_corners",
    "allowzero",
    "antialias",
    "ceil_mode",
    "center_point_box",
    "count_include_pad",
    "detect_negative",
    "detect_positive",
    "exclude_outside",
    "exclusive",
    "fmod",
    "input_forget",
    "interleaved",
    "inverse",
    "is_causal",
    "keepdims",
    "largest",
    "layout",
    "linear_before_reset",
    "noop_with_empty_axes",
    "onesided",
    "periodic",
    "reverse",
    "saturate",
    "scan_input_directions",
    "scan_output_directions",
    "select_last_index",
    "sorted",
    "storage_order",
    "training_mode",
    "transA",
    "transB",
    "upper",
];

/// Integers, or elements of lists, that have a least value.
const LEAST: &[(&str, i64)] = &[
    ("batch_dims", 0),
    ("block_size", 0),
    ("blocksize", 1),
    ("dilations", 1),
    ("group", 1),
    ("hidden_size", 1),
    ("k", 1),
    ("kernel_shape", 1),
    ("kv_num_heads", 1),
    ("num_groups", 1),
    ("num_outputs", 1),
    ("num_scan_inputs", 1),
    ("output_padding", 0),
    ("p", 1),
    ("q_num_heads", 1),
    ("size", 1),
    ("split", 0),
    ("strides", 1),
];

/// Attributes that may be any number: what lies beyond a tensor is held to it.
const FREE: &[&str] = &["start", "starts", "end", "ends", "value_int", "value_ints", "seed", "batch_dims"];

/// Numbers that may be infinite.
const INFINITE: &[&str] = &["extrapolation_value", "max", "min", "value", "value_float", "value_floats"];

/// No size or place in a tensor is beyond it.
pub(super) const LARGEST: i64 = 1 << 31;

/// Holds the value of an attribute of `operator` to what the standard has at `opset`.
pub(super) fn check(operator: &str, opset: i64, attribute: &AttributeProto) -> Result<()> {
    let name = attribute.name.as_str();
    let refused = |what: String| Err(invalid_bundle(format!("attribute '{name}' {what}")));
    match AttributeType::try_from(attribute.r#type) {
        Ok(AttributeType::Int | AttributeType::Ints) => {
            let flag = FLAGS.contains(&name);
            // `k` of EyeLike is a diagonal, which may lie below.
            let least = LEAST.iter().find(|(known, _)| *known == name && operator != "EyeLike");
            // Only `Pad` may crop.
            let least = least.map(|&(_, least)| least).or((name == "pads" && operator != "Pad").then_some(0));
            let all = [attribute.i];
            let list = attribute.r#type == AttributeType::Ints as i32;
            for &value in if list { attribute.ints.as_slice() } else { &all } {
                if flag && !(0..=1).contains(&value) {
                    return refused(format!("is {value}, must be 0 or 1"));
                }
                if let Some(least) = least.filter(|&least| value < least) {
                    return refused(format!("holds {value}, must be at least {least}"));
                }
                if !FREE.contains(&name) && !(-LARGEST..=LARGEST).contains(&value) {
                    return refused(format!("holds {value}, which no tensor is large enough for"));
                }
            }
        }
        Ok(AttributeType::Float | AttributeType::Floats) => {
            for value in attribute.floats.iter().chain([&attribute.f]) {
                if value.is_nan() || (value.is_infinite() && !INFINITE.contains(&name)) {
                    return refused(format!("holds {value}"));
                }
            }
            // Nothing lies above the one or below the other.
            if [("min", f32::INFINITY), ("max", f32::NEG_INFINITY)].contains(&(name, attribute.f)) {
                return refused(format!("holds {}", attribute.f));
            }
            if name == "epsilon" && attribute.f < 0.0 {
                return refused(format!("is {}, must not be negative", attribute.f));
            }
        }
        Ok(AttributeType::String) => {
            let row = WORDS.iter().find(|row| (row.0 == operator || row.0.is_empty()) && row.1 == name);
            let Ok(word) = str::from_utf8(&attribute.s) else { return refused("is no text".into()) };
            let Some((_, _, words)) = row else { return Ok(()) };
            let words: Vec<&str> =
                words.iter().filter(|(_, since)| *since <= opset).map(|(word, _)| *word).collect();
            if !words.contains(&word) {
                return refused(format!("is '{word}', must be one of {}", words.join(", ")));
            }
        }
        _ => (),
    }
    Ok(())
}
