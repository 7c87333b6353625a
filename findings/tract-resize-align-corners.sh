#!/usr/bin/env bash
# Resize with align_corners and a scale that gives no whole size: ONNX Runtime 1.32.0 spreads the corners over the whole
# output (length floor(4 * 0.8) = 3, so steps of (4 - 1) / (3 - 1)); tract 0.23.9 over the length before rounding, in steps
# of (4 - 1) / (4 * 0.8 - 1), so that the last corner is not reached. Nothing is refused.
# Seen of 0, 1, 2, 3 with scale 0.8:
#   ONNX Runtime [0.  1.5  3.]
#   tract        [0.  1.3636364  2.7272727]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  tract==0.23.9 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work"
venv/bin/python - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
import tract
from onnx import TensorProto, helper, numpy_helper


def answers(node, constants, x, opset=18):
    """What ONNX Runtime and tract make of a graph of one node."""
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * x.ndim)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [output],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    theirs = session.run(None, {"x": x})[0]
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, theirs.shape))
    onnx.save(model, "model.onnx")
    loaded = tract.onnx().load("model.onnx").into_model().into_runnable()
    return theirs, loaded.run([x])[0].to_numpy()


x = np.arange(4, dtype=np.float32).reshape(1, 1, 1, 4)
node = helper.make_node("Resize", ["x", "", "s"], ["y"], mode="linear", coordinate_transformation_mode="align_corners")
theirs, tracts = answers(node, {"s": np.array([1, 1, 1, 0.8], np.float32)}, x)
print("ONNX Runtime", theirs.ravel())
print("tract       ", tracts.ravel())
assert np.abs(theirs.ravel() - [0, 1.5, 3]).max() < 1e-6
assert np.abs(tracts.ravel() - [0, 15 / 11, 30 / 11]).max() < 1e-5, "tract has changed"
PYTHON
