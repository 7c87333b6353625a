"""Samples by networks in PyTorch: what sheets and evaluation are made with."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from export.manifest import check_schedule
from schedule import guide, trajectory
from torch import Tensor, nn


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

    @torch.no_grad()
    def trajectory(self, schedule: str, noise: Tensor, labels: Tensor) -> Iterator[Tensor]:
        """The state [N,C,H,W] after every step, from noise [N,C,H,W] and classes [N]."""
        check_schedule(schedule)
        yield from trajectory(Guided(self, labels), schedule, noise)

    def sample(self, schedule: str, noise: Tensor, labels: Tensor) -> Tensor:
        """The final latent."""
        *_, latent = self.trajectory(schedule, noise, labels)
        return latent


class Guided:
    """Velocities of some classes [N]: the class half, then the null half."""

    def __init__(self, sampler: Sampler, labels: Tensor):
        self.sampler, self.labels = sampler, labels
        self.both = torch.cat([labels, torch.full_like(labels, sampler.predictor.config.num_classes)])

    def guide(self, velocity: Tensor) -> Tensor:
        channels = velocity.shape[1] if self.sampler.channels is None else self.sampler.channels
        return guide(velocity, self.sampler.s, channels)

    def predict(self, x: Tensor, t: float) -> Tensor:
        x = torch.cat([x, x])
        return self.guide(self.sampler.predictor(x, x.new_full((len(x),), t), self.both))

    def refine(self, x: Tensor, v: Tensor, t: float) -> Tensor:
        if self.sampler.refiner_guided:
            offset = self.sampler.refiner(x, v[: len(x)], x.new_full((len(x),), t), self.labels)
            return torch.cat([offset, offset])
        x = torch.cat([x, x])
        return self.guide(self.sampler.refiner(x, v, x.new_full((len(x),), t), self.both))
