"""Stage 3: the velocity refiner (FlowTurbo, arXiv 2409.18128, section 3.2), taught by the sampler's own steps.

The paper regresses `F(x', t') - v` at points that an Euler step leads to from the straight path. Where the refiner
works, things are different: states have come there by guided steps, the cached `v` may be the refiner's own answer, and
its two calls of a step share one `v` while the second answer is added to the first's sum. So pictures walk from noise
to data by the sampler's equations (`train.sampler`), pseudo-corrector steps first and refiner steps from a random one
on, and at each call the refiner is told what the predictor F would have said there.

Both guidance halves are asked, and the loss is of the guided answer: it is what the sampler adds.
"""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import torch
from nets.sit import SiT, SiTConfig
from torch import Tensor
from train.stage import Budget, Ema, Log, autocast, descend, load_checkpoint, matrix_optimisers, save_checkpoint

MOST_STEPS = 30
REFINED = 0.75  # of a walk's steps, at most so many are refiner steps


class Walk:
    """`count` pictures on their way, each with a class, a guidance scale, a number of steps and a place of its own."""

    def __init__(
        self,
        teacher: SiT,
        count: int,
        max_delta: float,
        max_guidance: float,
        device: torch.device,
        seed: int,
        bf16: bool,
    ):
        self.teacher, self.device, self.bf16 = teacher, device, bf16
        self.fewest, self.max_guidance = min(max(1, round(1 / max_delta)), MOST_STEPS), max_guidance
        self.generator = torch.Generator().manual_seed(seed)
        config = teacher.config
        self.shape = (count, config.latent_channels, config.input_size, config.input_size)
        self.x = self.v = torch.zeros(self.shape, device=device)
        self.labels = self.steps = self.refined = self.at = torch.zeros(count, dtype=torch.int64, device=device)
        self.scale = torch.ones(count, device=device)
        self.restart(torch.ones(count, dtype=torch.bool, device=device))
        # Not all of them at their start.
        self.at = (self.uniform() * self.steps).long()

    def uniform(self) -> Tensor:
        return torch.rand(self.shape[0], generator=self.generator).to(self.device)

    def restart(self, which: Tensor) -> None:
        """Puts the pictures of a mask back to noise. Nothing is changed in place: a loss may still need it."""
        noise = torch.randn(self.shape, generator=self.generator).to(self.device)
        self.x = torch.where(wide(which), noise, self.x)
        self.labels = torch.where(which, (self.uniform() * self.teacher.config.num_classes).long(), self.labels)
        self.scale = torch.where(which, 1 + (self.max_guidance - 1) * self.uniform(), self.scale)
        steps = self.fewest + (self.uniform() * (MOST_STEPS + 1 - self.fewest)).long()
        self.steps = torch.where(which, steps, self.steps)
        self.refined = torch.where(which, steps - (REFINED * self.uniform() * steps).long(), self.refined)
        self.at = torch.where(which, 0, self.at)

    def guided(self, network: SiT, x: Tensor, t: Tensor, v: Tensor | None = None) -> Tensor:
        """What the sampler makes of a network's two answers. With `v`, of a refiner's."""
        null = torch.full_like(self.labels, self.teacher.config.num_classes)
        inputs = (x, t) if v is None else (x, v, t)
        doubled = (torch.cat([part, part]) for part in inputs)
        with autocast(self.device, self.bf16):
            both = network(*doubled, torch.cat([self.labels, null])).float()
        conditional, unconditional = both.chunk(2)
        return unconditional + wide(self.scale) * (conditional - unconditional)

    def step(self, refiner: SiT) -> tuple[Tensor, float]:
        """Every picture's next step. Gives the refiner's loss in it, and that of always answering zero."""
        t, delta = self.at / self.steps, 1 / self.steps
        first, refining = self.at == 0, self.at >= self.refined
        with torch.no_grad():
            exact = self.guided(self.teacher, self.x, t)
        self.v = torch.where(wide(first), exact, self.v)  # a walk begins with a Heun step
        offset = self.guided(refiner, self.x, t, self.v)
        d = torch.where(wide(refining & ~first), self.v + offset.detach(), self.v)
        ahead = self.x + wide(delta) * d
        with torch.no_grad():
            exact_ahead = self.guided(self.teacher, ahead, t + delta)
        offset_ahead = self.guided(refiner, ahead, t + delta, self.v)

        wanted, wanted_ahead = exact - self.v, exact_ahead - d
        loss = ((offset - wanted).square().mean() + (offset_ahead - wanted_ahead).square().mean()) / 2
        reuse = (wanted.square().mean() + wanted_ahead.square().mean()).item() / 2

        after = torch.where(wide(refining), d + offset_ahead.detach(), exact_ahead)
        self.x = self.x + wide(delta) / 2 * (d + after)
        self.v = torch.where(wide(refining), d, after)
        self.at = self.at + 1
        self.restart(self.at == self.steps)
        return loss, reuse


def wide(values: Tensor) -> Tensor:
    """[N] -> [N,1,1,1]."""
    return values[:, None, None, None]


def train(
    teacher: SiT,
    config: SiTConfig,
    budget: Budget,
    checkpoint: Path,
    *,
    batch: int,
    rate: float,
    max_delta: float,
    max_guidance: float,
    device: torch.device,
    bf16: bool,
    seed: int,
) -> SiT:
    torch.manual_seed(seed)
    model = start_from(teacher, SiT(config).initialise()).to(device)
    ema = Ema(model, 0.999)
    optimisers = matrix_optimisers(model, rate)
    parts = dict(model=model, ema=ema.module, **{f"optimiser{i}": o for i, o in enumerate(optimisers)})
    log = Log(checkpoint.with_suffix(".csv"), load_checkpoint(checkpoint, budget, **parts) is not None)
    walk = Walk(teacher, batch, max_delta, max_guidance, device, seed, bf16)

    budget.start()
    losses: list[float] = []
    reuse: list[float] = []
    while budget.progress < 1:
        loss, without = walk.step(model)
        descend(loss, model, optimisers, budget)
        ema.update(model, budget.step)
        losses.append(loss.item())
        reuse.append(without)
        budget.advance()
        if budget.step % 100 == 0 or budget.progress >= 1:
            # `reuse` is the loss of an offset of zero: reusing the cached velocity as it is.
            log.row(budget, loss=fmean(losses), reuse=fmean(reuse))
            losses.clear()
            reuse.clear()
        if budget.step % 1000 == 0:
            save_checkpoint(checkpoint, budget, **parts)
    save_checkpoint(checkpoint, budget, **parts)
    return ema.module


@torch.no_grad()
def evaluate(
    model: SiT, teacher: SiT, *, max_delta: float, max_guidance: float, device: torch.device
) -> dict[str, float]:
    """The loss, beside that of reusing the cached velocity, over whole walks; both fixed by a seed."""
    walk = Walk(teacher, 16, max_delta, max_guidance, device, seed=1, bf16=False)
    steps = [walk.step(model) for _ in range(2 * MOST_STEPS)][MOST_STEPS:]
    return {"loss": fmean(loss.item() for loss, _ in steps), "reuse": fmean(reuse for _, reuse in steps)}


def start_from(teacher: SiT, refiner: SiT) -> SiT:
    """Takes over the teacher's embeddings, which mean the same thing in both networks, where the widths are equal."""
    if refiner.config.hidden_size != teacher.config.hidden_size:
        return refiner
    refiner.t_embedder.load_state_dict(teacher.t_embedder.state_dict())
    refiner.y_embedder.load_state_dict(teacher.y_embedder.state_dict())
    with torch.no_grad():
        refiner.x_embedder.proj.weight[:, : teacher.config.in_channels] = teacher.x_embedder.proj.weight
    return refiner
