#!/usr/bin/env bash
# tract 0.23.9 computes Celu with alpha as exp(x / alpha) - 1 below zero; the ONNX standard (Celu-12) and ONNX Runtime
# 1.32.0 as alpha * (exp(x / alpha) - 1). Nothing is refused.
# Seen with alpha 0.3 at -3, -1, -0.5, 0, 1:
#   ONNX Runtime [[-0.29998642 -0.28929782 -0.24333732  0.  1.]]
#   tract        [[-0.9999546  -0.964326   -0.8111244   0.  1.]]
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


x = np.array([[-3, -1, -0.5, 0, 1]], np.float32)
theirs, tracts = answers(helper.make_node("Celu", ["x"], ["y"], alpha=0.3), {}, x)
print("ONNX Runtime", theirs)
print("tract       ", tracts)
standard = np.where(x > 0, x, 0.3 * np.expm1(x / 0.3))
without_factor = np.where(x > 0, x, np.expm1(x / 0.3))
assert np.abs(theirs - standard).max() < 1e-6
assert np.abs(tracts - without_factor).max() < 1e-5, "tract has changed"
PYTHON
