"""Muon (Jordan and others, 2024): momentum whose matrix is made orthogonal, or nearly so, before it is a step.

PyTorch's own computes that in bfloat16 wherever it runs, which a processor without such products takes ten times as
long for as for all the rest of a step (findings/torch-muon-bfloat16.sh). Here it is float32 there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

QUINTIC = (3.4445, -4.7750, 2.0315)  # a, b, c of a X + b (X Xᵀ) X + c (X Xᵀ)² X, steep at 0
ITERATIONS = 5


def orthogonal(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """Near to U Vᵀ of the matrix's U S Vᵀ: singular values come out between about 0.7 and 1.2."""
    a, b, c = QUINTIC
    wide = matrix.size(0) <= matrix.size(1)
    x = (matrix if wide else matrix.T).to(dtype)
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x if wide else x.T).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Nesterov momentum of 0.95 and decoupled weight decay; steps are as long as AdamW's (arXiv 2502.16982), so that
    both take one rate. `dtype` is what matrices are made orthogonal in."""

    def __init__(self, params: Iterable, lr: float, weight_decay: float, dtype: torch.dtype):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": 0.95})
        self.dtype = dtype

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(p)
                momentum = state["momentum_buffer"].lerp_(p.grad, 1 - group["momentum"])
                update = orthogonal(p.grad.lerp(momentum, group["momentum"]), self.dtype)
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-group["lr"] * 0.2 * math.sqrt(max(p.shape)))
