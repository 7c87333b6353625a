#!/usr/bin/env bash
# Circular padding, the seam of every tiling texture, exported by PyTorch 2.15.0 (dynamo) for opset 18: the file says
# opset 18 and has a Pad with mode "wrap", which the ONNX standard has from Pad-19 on. The checker of onnx 1.23.2 lets
# it pass, with full_check too, and ONNX Runtime 1.32.0 runs it. A reader that goes by the standard would refuse it.
# Seen: opset 18, Pad, mode wrap, checker passes, first row [15. 12. 13. 14. 15. 12.]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  torch==2.15.0 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work"
venv/bin/python - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
import torch


class Circular(torch.nn.Module):
    def forward(self, x):
        return torch.nn.functional.pad(x, (1, 1, 1, 1), mode="circular")


torch.onnx.export(Circular(), (torch.zeros(1, 1, 4, 4),), "pad.onnx", dynamo=True, opset_version=18, verbose=False)
model = onnx.load("pad.onnx")
onnx.checker.check_model(model, full_check=True)
node = next(node for node in model.graph.node if node.op_type == "Pad")
mode = next(attribute.s for attribute in node.attribute if attribute.name == "mode")
opset = model.opset_import[0].version
session = onnxruntime.InferenceSession("pad.onnx", providers=["CPUExecutionProvider"])
x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
row = session.run(None, {model.graph.input[0].name: x})[0][0, 0, 0]
print("opset", opset, node.op_type, mode, row)
assert (opset, mode, onnx.defs.get_schema("Pad", 18).since_version) == (18, b"wrap", 18)
assert (row == [15, 12, 13, 14, 15, 12]).all()
PYTHON
