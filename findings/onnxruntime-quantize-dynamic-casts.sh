#!/usr/bin/env bash
# quantize_dynamic of ONNX Runtime 1.32.0 looks for weights among the graph's constants only. Where they are stored as
# float16 behind a Cast, which halves a file, each MatMul is left in float32 without a word of it, and the "quantized"
# model is as slow as before; a Conv with such weights and a bias ends in ValueError. Casts need to be folded first:
# benches/peers/quantize.py.
# Seen: weights float32, MatMulInteger 1, MatMul 0; weights behind Cast, MatMulInteger 0, MatMul 1;
# Conv: ValueError: Expected w to be an initializer
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work"
venv/bin/python - <<'PYTHON'
from collections import Counter

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic


def quantized(operator, x, shape, y, cast):
    weights = np.random.default_rng(0).standard_normal(shape)
    constant = numpy_helper.from_array(weights.astype(np.float16 if cast else np.float32), "stored" if cast else "w")
    nodes = [helper.make_node("Cast", ["stored"], ["w"], to=TensorProto.FLOAT)] if cast else []
    biases = [numpy_helper.from_array(np.ones(shape[0], np.float32), "b")] if operator == "Conv" else []
    nodes.append(helper.make_node(operator, ["x", "w", *(bias.name for bias in biases)], ["y"]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, y)],
        [constant, *biases],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, "model.onnx")
    quantize_dynamic("model.onnx", "int8.onnx", per_channel=True, weight_type=QuantType.QInt8)
    kinds = Counter(node.op_type for node in onnx.load("int8.onnx").graph.node)
    return kinds["MatMulInteger"], kinds["MatMul"]


for cast in (False, True):
    counts = quantized("MatMul", [4, 64], (64, 64), [4, 64], cast)
    print(f"weights {'behind Cast' if cast else 'float32'}: MatMulInteger {counts[0]}, MatMul {counts[1]}")
    assert counts == ((0, 1) if cast else (1, 0))
try:
    quantized("Conv", [1, 8, 4, 4], (8, 8, 2, 2), [1, 8, 3, 3], True)
    raise SystemExit("Conv: no error any more")
except ValueError as error:
    print(f"Conv: {error}")
    assert str(error) == "Expected w to be an initializer"
PYTHON
