#!/usr/bin/env bash
# Resize with align_corners and a scale that gives no whole size: ONNX Runtime 1.32.0 spreads the corners over the whole
# output (length floor(4 * 0.8) = 3, so steps of (4 - 1) / (3 - 1)); tract 0.23.9 over the length before rounding, in
# steps of (4 - 1) / (4 * 0.8 - 1), so that the last corner is not reached. Nothing is refused.
# Seen of 0, 1, 2, 3 with scale 0.8:
#   ONNX Runtime [0.  1.5  3.]
#   tract        [0.  1.3636364  2.7272727]
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

x = np.arange(4, dtype=np.float32).reshape(1, 1, 1, 4)
node = helper.make_node("Resize", ["x", "", "s"], ["y"], mode="linear", coordinate_transformation_mode="align_corners")
theirs, tracts = answers(node, {"s": np.array([1, 1, 1, 0.8], np.float32)}, x)
print("ONNX Runtime", theirs.ravel())
print("tract       ", tracts.ravel())
assert np.abs(theirs.ravel() - [0, 1.5, 3]).max() < 1e-6
assert np.abs(tracts.ravel() - [0, 15 / 11, 30 / 11]).max() < 1e-5, "tract has changed"
PYTHON
