#!/usr/bin/env bash
# GlobalLpPool is the p-norm of each channel (ONNX standard; ONNX Runtime 1.32.0). tract 0.23.9 divides by the number of
# pixels inside of the root, as a power mean would. Nothing is refused.
# Seen of 1 to 8 in one channel with p 2, whose norm is the root of 204:
#   ONNX Runtime [14.282857]
#   tract        [5.049752]
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

x = np.arange(1, 9, dtype=np.float32).reshape(1, 1, 2, 4)
theirs, tracts = answers(helper.make_node("GlobalLpPool", ["x"], ["y"], p=2), {}, x, opset=2)
print("ONNX Runtime", theirs.ravel())
print("tract       ", tracts.ravel())
assert abs(theirs.item() - np.sqrt(204)) < 1e-4
assert abs(tracts.item() - np.sqrt(204 / 8)) < 1e-4, "tract has changed"
PYTHON
