#!/usr/bin/env bash
# GlobalLpPool is the p-norm of each channel (ONNX standard; ONNX Runtime 1.32.0). tract 0.23.9 divides by the number of
# pixels inside of the root, as a power mean would. Nothing is refused.
# Seen of 1 to 8 in one channel with p 2, whose norm is the root of 204:
#   ONNX Runtime [14.282857]
#   tract        [5.049752]
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


x = np.arange(1, 9, dtype=np.float32).reshape(1, 1, 2, 4)
theirs, tracts = answers(helper.make_node("GlobalLpPool", ["x"], ["y"], p=2), {}, x, opset=2)
print("ONNX Runtime", theirs.ravel())
print("tract       ", tracts.ravel())
assert abs(theirs.item() - np.sqrt(204)) < 1e-4
assert abs(tracts.item() - np.sqrt(204 / 8)) < 1e-4, "tract has changed"
PYTHON
