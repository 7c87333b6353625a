#!/usr/bin/env bash
# Muon for float32 parameters on a CPU, PyTorch 2.15.0: each step's fifteen matrix products for each parameter are in
# bfloat16, whatever the parameters' type and the device, and no option says otherwise. A processor without bfloat16
# products (an AMD EPYC with AVX2) took 25 s for a step of a transformer of 7 million weights, and 5 for its forward and
# backward passes; the same sums in float32 took 0.5.
# Seen: parameters torch.float32, products {torch.bfloat16: 15}; 3 to 11 times as long as in float32 (1536 x 256, that
# processor; only the types are held to)
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 numpy==2.4.6
cd "$work"
venv/bin/python - <<'PYTHON'
from collections import Counter
from time import perf_counter

import torch
from torch.utils._python_dispatch import TorchDispatchMode

products = Counter()


class Seen(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default):
            products[args[0].dtype] += 1
        return function(*args, **(kwargs or {}))


def fastest(work):
    times = []
    for _ in range(5):
        begun = perf_counter()
        work()
        times.append(perf_counter() - begun)
    return min(times)


weight = torch.nn.Parameter(torch.randn(1536, 256))
weight.grad = torch.randn(1536, 256)
muon = torch.optim.Muon([weight], lr=1e-3)
with Seen():
    muon.step()


def in_float32():
    x = weight.grad.T / weight.grad.norm()
    for _ in range(5):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=-4.775, alpha=2.0315), x, beta=3.4445)


print(f"parameters {weight.dtype}, products {dict(products)}")
print(f"{fastest(muon.step) / fastest(in_float32):.0f} times as long as in float32")
assert products == {torch.bfloat16: 15}
PYTHON
