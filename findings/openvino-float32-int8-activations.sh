#!/usr/bin/env bash
# OpenVINO 2026.4.1 on a processor with VNNI: where a product's weights are int8 with a scale behind them, its
# activations are rounded to int8 as well, in groups of 32 along a row, also where INFERENCE_PRECISION_HINT is f32. The
# compiled model says f32 for all of it: the hint, and the product's kernel, which has the same name without the
# rounding. Only DYNAMIC_QUANTIZATION_GROUP_SIZE tells, 32 by default; it is 0, and all is float32, where that or
# EXECUTION_MODE_HINT ACCURACY is asked for.
# Rows here are a thousand and 31 ones, weights are ones: no weight is rounded, and the sum is 1031 to the bit.
# Seen: asked for f32, 1000 by brgemm_avx512_f32; with groups of 0, and for accuracy, 1031 by brgemm_avx512_f32
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check openvino==2026.4.1 numpy==2.4.6
cd "$work"
venv/bin/python - <<'PYTHON'
from pathlib import Path

import numpy as np
import openvino
from openvino import opset13 as op

if not {"avx512_vnni"} & set(Path("/proc/cpuinfo").read_text().split()):
    raise SystemExit("a processor with AVX-512 VNNI is needed")
width = 256
x = op.parameter([64, width], np.float32)
weights = op.convert(op.constant(np.ones((width, width), np.int8)), "f32")
weights = op.multiply(weights, op.constant(np.ones((width, 1), np.float32)))  # a scale for each output, as NNCF's
model = openvino.Model([op.matmul(x, weights, False, True)], [x])
rows = np.zeros((64, width), np.float32)
rows[:, :32] = 1
rows[:, 0] = 1000


def run(**more):
    config = {"INFERENCE_PRECISION_HINT": "f32", **more}
    compiled = openvino.Core().compile_model(model, "CPU", config)
    sums = compiled(rows)[0]
    assert (sums == sums[0, 0]).all()
    facts = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    (kernel,) = (f["primitiveType"].astype(str) for f in facts if f["layerType"].astype(str) == "FullyConnected")
    hint = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    group = compiled.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE")
    print(f"{more}: precision {hint}, groups of {group}, kernel {kernel}: {sums[0, 0]:g}, exact 1031")
    return hint, group, kernel, round(float(sums[0, 0]))


assert run() == ("f32", 32, "brgemm_avx512_f32", 1000)
assert run(DYNAMIC_QUANTIZATION_GROUP_SIZE=0) == ("f32", 0, "brgemm_avx512_f32", 1031)
assert run(EXECUTION_MODE_HINT="ACCURACY") == ("f32", 0, "brgemm_avx512_f32", 1031)
PYTHON
