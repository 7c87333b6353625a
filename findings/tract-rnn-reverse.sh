#!/usr/bin/env bash
# RNN with direction reverse and activations [Relu]: the standard and ONNX Runtime 1.32.0 run from the last step to the
# first and clip at zero. tract 0.23.9 (its Python package) takes both attributes and heeds neither: it runs forwards,
# with tanh. Nothing is refused.
# Seen of running sums (weights of 1) over 1, 2, 4:
#   ONNX Runtime [7. 6. 4.]
#   tract        [0.7615942  0.9920456  0.99990785]
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
