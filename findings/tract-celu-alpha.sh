#!/usr/bin/env bash
# tract 0.23.9 computes Celu with alpha as exp(x / alpha) - 1 below zero; the ONNX standard (Celu-12) and ONNX Runtime
# 1.32.0 as alpha * (exp(x / alpha) - 1). Nothing is refused.
# Seen with alpha 0.3 at -3, -1, -0.5, 0, 1:
#   ONNX Runtime [[-0.29998642 -0.28929782 -0.24333732  0.  1.]]
#   tract        [[-0.9999546  -0.964326   -0.8111244   0.  1.]]
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

x = np.array([[-3, -1, -0.5, 0, 1]], np.float32)
theirs, tracts = answers(helper.make_node("Celu", ["x"], ["y"], alpha=0.3), {}, x)
print("ONNX Runtime", theirs)
print("tract       ", tracts)
standard = np.where(x > 0, x, 0.3 * np.expm1(x / 0.3))
without_factor = np.where(x > 0, x, np.expm1(x / 0.3))
assert np.abs(theirs - standard).max() < 1e-6
assert np.abs(tracts - without_factor).max() < 1e-5, "tract has changed"
PYTHON
