#!/usr/bin/env bash
# QuantizeLinear divides by its scale and rounds to the nearest, ties to even, by the standard. tract 0.23.9 multiplies
# by the scale's reciprocal, which is a float32 and so rounded before: of numbers half-way between two steps many become
# the other neighbour, a whole step away. Whether any do depends on the scale. ONNX Runtime 1.32.0 divides.
# Seen of (k + 0.5) * scale for k from 0 to 119, as int8, made floats again by DequantizeLinear:
#   scale 0.1: 0 differ   scale 0.3: 15 differ   scale 0.06: 37 differ   scale 0.012: 30 differ
#   of 0.39 by 0.06: ONNX Runtime 0.36, tract 0.42
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  tract==0.23.9 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work"
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here venv/bin/python - <<'PYTHON'
import numpy as np
from answers import answers
from onnx import helper

nodes = [
    helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
    helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
]
differ = {}
for scale in map(np.float32, (0.1, 0.3, 0.06, 0.012)):
    x = ((np.arange(120, dtype=np.float32) + np.float32(0.5)) * scale)[None]
    theirs, tracts = answers(nodes, {"scale": scale, "zero": np.int8(0)}, x, opset=13)
    assert np.array_equal(theirs, np.rint(x / scale) * scale), "ONNX Runtime has changed"
    apart = np.flatnonzero(theirs != tracts)
    differ[f"{scale:g}"] = len(apart)
    print(f"scale {scale:g}: {len(apart)} differ")
    for i in apart[:1]:
        print(f"  of {x.ravel()[i]:g}: ONNX Runtime {theirs.ravel()[i]:g}, tract {tracts.ravel()[i]:g}")
assert differ == {"0.1": 0, "0.3": 15, "0.06": 37, "0.012": 30}, "tract has changed"
PYTHON
