#!/usr/bin/env bash
# ConvTranspose with output_shape: the standard crops what is too much on both sides (half of it first), as ONNX Runtime
# 1.32.0 does; tract 0.23.9 gives the right shape, but cut from the upper left corner. Nothing is refused.
# Seen of 2 x 2 ones, a kernel of 0 to 8 and output_shape [2, 2]:
#   ONNX Runtime [ 8. 12. 20. 24.]
#   tract        [0. 1. 3. 8.]
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

x = np.ones((1, 1, 2, 2), np.float32)
kernel = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)
theirs, tracts = answers(helper.make_node("ConvTranspose", ["x", "k"], ["y"], output_shape=[2, 2]), {"k": kernel}, x)
print("ONNX Runtime", theirs.ravel())
print("tract       ", tracts.ravel())
assert (theirs.ravel() == [8, 12, 20, 24]).all()
assert (tracts.ravel() == [0, 1, 3, 8]).all(), "tract has changed"
PYTHON
