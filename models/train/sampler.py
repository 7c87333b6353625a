"""FlowTurbo sampling (arXiv 2409.18128, section 3.3) in plain PyTorch: what sheets and evaluation are made with.

`x` is the state [N,C,H,W], and velocities are [2N,C,H,W]: the class half, then the null half. Time runs from 0
(noise) to 1 (data).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from export.manifest import check_schedule
from torch import Tensor, nn


def parse_schedule(text: str) -> str:
    """`H1P5R3` -> `HPPPPPRRR`: a letter for each step (Heun, pseudo-corrector, refiner, Euler)."""
    check_schedule(text)
    return "".join(kind * int(count or 1) for kind, count in re.findall(r"([EHPR])(\d*)", text))


class Sampler:
    """The networks with guidance of strength `s` on the first `channels` latent channels (all where None).

    With `refiner_guided` the refiner answers guided offsets to guided velocities itself.
    """

    def __init__(
        self,
        predictor: nn.Module,
        refiner: nn.Module | None,
        s: float,
        channels: int | None = None,
        refiner_guided: bool = False,
    ):
        self.predictor, self.refiner, self.s, self.channels = predictor, refiner, s, channels
        self.refiner_guided = refiner_guided

    def guide(self, output: Tensor) -> Tensor:
        """g: `u + s (c - u)` in both halves of the guided channels; the other channels stay each half's own."""
        k = output.shape[1] if self.channels is None else self.channels
        c, u = output[:, :k].chunk(2)
        return torch.cat([(u + self.s * (c - u)).repeat(2, 1, 1, 1), output[:, k:]], dim=1)

    @torch.no_grad()
    def trajectory(self, schedule: str, noise: Tensor, labels: Tensor) -> Iterator[Tensor]:
        """The state [N,C,H,W] after every step."""
        steps, n = parse_schedule(schedule), len(noise)
        grid = torch.linspace(0, 1, len(steps) + 1)
        y = torch.cat([labels, torch.full_like(labels, self.predictor.config.num_classes)])

        def double(x: Tensor) -> Tensor:
            return torch.cat([x, x])

        def F(x: Tensor, t: Tensor) -> Tensor:
            return self.guide(self.predictor(double(x), t.expand(2 * n).to(x.device), y))

        def R(x: Tensor, v: Tensor, t: Tensor) -> Tensor:
            if self.refiner_guided:
                return double(self.refiner(x, v[:n], t.expand(n).to(x.device), labels))
            return self.guide(self.refiner(double(x), v, t.expand(2 * n).to(x.device), y))

        x, v = noise, None
        for kind, t, t_next in zip(steps, grid, grid[1:]):
            delta = (t_next - t).item()
            if kind == "E":
                d = v = F(x, t)
                mean = d
            elif kind == "R":
                d = R(x, v, t) + v
                mean = (d + R(x + delta * d[:n], v, t_next) + d) / 2
                v = d
            else:
                d = v if kind == "P" and v is not None else F(x, t)
                v = F(x + delta * d[:n], t_next)
                mean = (d + v) / 2
            x = x + delta * mean[:n]
            yield x

    def sample(self, schedule: str, noise: Tensor, labels: Tensor) -> Tensor:
        """The final latent."""
        *_, latent = self.trajectory(schedule, noise, labels)
        return latent
