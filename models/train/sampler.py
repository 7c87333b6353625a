"""Samples by networks in PyTorch: what sheets and evaluation are made with."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from export.manifest import check_schedule
from schedule import guide, trajectory
from torch import Tensor, nn
from train.conditions import Conditions, of_classes


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
    def trajectory(self, schedule: str, noise: Tensor, asked: Tensor | Conditions) -> Iterator[Tensor]:
        """The state [N,C,H,W] after every step, from noise [N,C,H,W] and classes [N], or what else is asked for."""
        check_schedule(schedule)
        if isinstance(asked, Tensor):
            asked = of_classes(asked, self.predictor.config)
        yield from trajectory(Guided(self, asked), schedule, noise)

    def sample(self, schedule: str, noise: Tensor, asked: Tensor | Conditions) -> Tensor:
        """The final latent."""
        *_, latent = self.trajectory(schedule, noise, asked)
        return latent


class Guided:
    """Velocities of what is asked for: that half, then the null half."""

    def __init__(self, sampler: Sampler, asked: Conditions):
        self.sampler, self.asked = sampler, asked.arguments()
        self.both = asked.with_null(sampler.predictor.config).arguments()

    def guide(self, velocity: Tensor) -> Tensor:
        channels = velocity.shape[1] if self.sampler.channels is None else self.sampler.channels
        return guide(velocity, self.sampler.s, channels)

    def predict(self, x: Tensor, t: float) -> Tensor:
        x = torch.cat([x, x])
        return self.guide(self.sampler.predictor(x, x.new_full((len(x),), t), *self.both))

    def refine(self, x: Tensor, v: Tensor, t: float) -> Tensor:
        if self.sampler.refiner_guided:
            offset = self.sampler.refiner(x, v[: len(x)], x.new_full((len(x),), t), *self.asked)
            return torch.cat([offset, offset])
        x = torch.cat([x, x])
        return self.guide(self.sampler.refiner(x, v, x.new_full((len(x),), t), *self.both))
