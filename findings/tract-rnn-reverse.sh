#!/usr/bin/env bash
# RNN with direction reverse and activations [Relu]: the standard and ONNX Runtime 1.32.0 run from the last step to the
# first and clip at zero. tract 0.23.9 (its Python package) takes both attributes and heeds neither: it runs forwards,
# with tanh. Nothing is refused.
# Seen of running sums (weights of 1) over 1, 2, 4:
#   ONNX Runtime [7. 6. 4.]
#   tract        [0.7615942  0.9920456  0.99990785]
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


def answers(node, constants, x, opset=18, rank=None):
    """What ONNX Runtime and tract make of a graph of one node."""
    rank = rank or x.ndim
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * rank)
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


x = np.array([1, 2, 4], np.float32).reshape(3, 1, 1)
one, zero = np.ones((1, 1, 1), np.float32), np.zeros((1, 1, 1), np.float32)
node = helper.make_node("RNN", ["x", "w", "r"], ["y"], hidden_size=1, direction="reverse", activations=["Relu"])
theirs, tracts = answers(node, {"w": one, "r": one}, x, rank=4)
print("ONNX Runtime", theirs.ravel())
print("tract       ", tracts.ravel())
assert (theirs.ravel() == [7, 6, 4]).all()
forwards = [np.tanh(1), np.tanh(2 + np.tanh(1)), np.tanh(4 + np.tanh(2 + np.tanh(1)))]
assert np.abs(tracts.ravel() - forwards).max() < 1e-6, "tract has changed"
PYTHON
