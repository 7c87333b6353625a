//! `Scan`: tract takes any number for an axis or a direction.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::{GraphProto, NodeProto};
use tract_onnx::tract_hir::internal::*;

use super::{Built, broken, tracts};

/// No tensor has more axes.
const MOST_AXES: i64 = 64;

/// tract's reading of a scan whose lists are as the standard wants them.
pub(super) fn scan(context: &ParsingContext, node: &NodeProto) -> TractResult<Built> {
    let scanned = node.get_attr::<i64>("num_scan_inputs")?;
    let body: &GraphProto = node.get_attr("body")?;
    let states = body.input.len() as i64 - scanned;
    let stacked = body.output.len() as i64 - states;
    if scanned < 1 || states < 0 || stacked < 0 || node.input.len() != body.input.len() {
        let (takes, body) = (node.input.len(), body.input.len());
        let message =
            format!("attribute 'num_scan_inputs' is {scanned}, of {takes} inputs; the body takes {body}");
        return Err(broken(message));
    }
    let lists = [
        ("scan_input_axes", scanned, -MOST_AXES..MOST_AXES),
        ("scan_output_axes", stacked, -MOST_AXES..MOST_AXES),
        ("scan_input_directions", scanned, 0..2),
        ("scan_output_directions", stacked, 0..2),
    ];
    for (name, count, sound) in lists {
        let Some(list) = node.get_attr_opt_vec::<i64>(name)? else { continue };
        if list.len() as i64 != count || list.iter().any(|number| !sound.contains(number)) {
            let message = format!("attribute '{name}' is {list:?}, must be {count} numbers from {sound:?}");
            return Err(broken(message));
        }
    }
    tracts(context, node)
}
