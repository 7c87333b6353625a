#!/usr/bin/env bash
# Softplus, ln(1 + exp(x)), of large numbers is x itself: ONNX Runtime 1.32.0 says so, tract 0.23.9 (float32) takes the
# exponential first and answers infinity from about 89 on.
# Seen of 10, 88, 90, 100:
#   ONNX Runtime [ 10.000046  88.  90. 100.]
#   tract        [ 10.000046  88.  inf  inf]
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

x = np.array([[10, 88, 90, 100]], np.float32)
theirs, tracts = answers(helper.make_node("Softplus", ["x"], ["y"]), {}, x, opset=13)
print("ONNX Runtime", theirs.ravel())
print("tract       ", tracts.ravel())
assert (np.abs(theirs.ravel() - [10.0000454, 88, 90, 100]) < 1e-4).all()
assert np.isinf(tracts.ravel()).tolist() == [False, False, True, True], "tract has changed"
PYTHON
