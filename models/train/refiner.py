"""Stage 3: the velocity refiner (FlowTurbo, arXiv 2409.18128, section 3.2), taught by the sampler's own steps.

As in the paper it learns `F(x', t') - v`, how far the predictor's answer is from a velocity `v` of before. The paper takes
points that an Euler step leads to from the straight path. Where the refiner works, things are different: states have
come there by guided steps, the cached `v` may be the refiner's own answer, and its two calls of a step share one `v`. So
pictures walk from noise to data by the sampler's equations (`train.sampler`), pseudo-corrector steps first and refiner
steps from a random one on, and what the refiner is asked there is kept, with what the predictor F would have said.
The predictor takes most of the time, so every question is learnt from several times.

Velocities are guided ones, which the predictor makes of two answers. The refiner is told a guided velocity and answers
the offset to a guided one (`guided` in docs/bundle.md): one evaluation for an image, not two.
"""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import NamedTuple, Self

import torch
from nets.sit import SiT, SiTConfig
from torch import Tensor
from train.stage import Budget, Ema, Log, autocast, descend, load_checkpoint, matrix_optimisers, save_checkpoint

MOST_STEPS = 24  # of a walk
REFINED = 0.75  # of a walk's steps, at most so many are refiner steps
REMEMBERED = 8192  # questions
REPEATS = 8  # how often a question is learnt from, about


class Questions(NamedTuple):
    """What the refiner is asked in some steps of the sampler, a row each: states, cached velocities, times and classes;
    and the offsets that it should answer."""

    x: Tensor
    v: Tensor
    t: Tensor
    labels: Tensor
    wanted: Tensor

    @classmethod
    def join(cls, parts: list[Self]) -> Self:
        return cls(*(torch.cat(columns) for columns in zip(*parts)))

    def take(self, rows: Tensor) -> Self:
        return type(self)(*(column[rows] for column in self))

    def loss(self, refiner: SiT, bf16: bool) -> Tensor:
        return (ask(refiner, bf16, self.x, self.v, self.t, self.labels) - self.wanted).square().mean()

    def loss_of_reuse(self) -> float:
        """That of an offset of zero: reusing the cached velocity as it is."""
        return self.wanted.square().mean().item()


class Memory:
    """The latest questions."""

    def __init__(self, seed: int):
        self.parts: list[Questions] = []
        self.generator = torch.Generator().manual_seed(seed)

    @property
    def count(self) -> int:
        return sum(len(part.x) for part in self.parts)

    def add(self, questions: Questions) -> None:
        self.parts.append(questions)
        while self.count - len(self.parts[0].x) >= REMEMBERED:
            del self.parts[0]

    def draw(self, count: int) -> Questions:
        rows = torch.randint(self.count, (count,), generator=self.generator)
        taken, before = [], 0
        for part in self.parts:
            mine = rows[(rows >= before) & (rows < before + len(part.x))] - before
            if len(mine):
                taken.append(part.take(mine.to(part.x.device)))
            before += len(part.x)
        return Questions.join(taken)


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
        self.max_delta, self.max_guidance = max(max_delta, 1 / MOST_STEPS), max_guidance
        self.generator = torch.Generator().manual_seed(seed)
        config = teacher.config
        self.shape = (count, config.latent_channels, config.input_size, config.input_size)
        self.x = self.v = torch.zeros(self.shape, device=device)
        self.labels = self.steps = self.refined = self.at = torch.zeros(count, dtype=torch.int64, device=device)
        self.scale = torch.ones(count, device=device)
        self.restart(torch.ones(count, dtype=torch.bool, device=device))
        # Not all of them at their start.
        self.at = (self.uniform() * self.steps).long()
        self.v = self.exact(torch.ones_like(self.at, dtype=torch.bool), self.x, self.at / self.steps)

    def uniform(self) -> Tensor:
        return torch.rand(self.shape[0], generator=self.generator).to(self.device)

    def restart(self, which: Tensor) -> None:
        """Puts the pictures of a mask back to noise."""
        noise = torch.randn(self.shape, generator=self.generator).to(self.device)
        self.x = torch.where(wide(which), noise, self.x)
        self.labels = torch.where(which, (self.uniform() * self.teacher.config.num_classes).long(), self.labels)
        self.scale = torch.where(which, 1 + (self.max_guidance - 1) * self.uniform(), self.scale)
        # Uniform in their length: long ones are hard.
        steps = (1 / (1 / MOST_STEPS + (self.max_delta - 1 / MOST_STEPS) * self.uniform())).round().long()
        self.steps = torch.where(which, steps, self.steps)
        self.refined = torch.where(which, steps - (REFINED * self.uniform() * steps).long(), self.refined)
        self.at = torch.where(which, 0, self.at)

    @torch.no_grad()
    def exact(self, which: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """The guided velocity of the pictures of a mask; zero for the others."""
        velocity = torch.zeros_like(x)
        if which.any():
            x, t, labels, scale = (part[which] for part in (x, t, self.labels, self.scale))
            null = torch.full_like(labels, self.teacher.config.num_classes)
            both = ask(self.teacher, self.bf16, torch.cat([x, x]), torch.cat([t, t]), torch.cat([labels, null]))
            conditional, unconditional = both.chunk(2)
            velocity[which] = unconditional + wide(scale) * (conditional - unconditional)
        return velocity

    @torch.no_grad()
    def step(self, refiner: SiT) -> Questions:
        """Every picture's next step. Gives what the refiner was asked in it."""
        t, delta = self.at / self.steps, 1 / self.steps
        first, refining = self.at == 0, self.at >= self.refined

        def offset(x: Tensor, v: Tensor, t: Tensor) -> Tensor:
            offset = torch.zeros_like(x)
            if refining.any():
                offset[refining] = ask(refiner, self.bf16, *(part[refining] for part in (x, v, t, self.labels)))
            return offset

        exact = self.exact(first | refining, self.x, t)
        v = torch.where(wide(first), exact, self.v)  # a walk begins with a Heun step
        d = v + offset(self.x, v, t)
        ahead, t_ahead = self.x + wide(delta) * d, t + delta
        exact_ahead = self.exact(torch.ones_like(first), ahead, t_ahead)
        after = torch.where(wide(refining), d + offset(ahead, v, t_ahead), exact_ahead)

        asked = [
            Questions(self.x, v, t, self.labels, exact - v).take(refining),
            Questions(ahead, v, t_ahead, self.labels, exact_ahead - v).take(refining),
        ]
        self.x = self.x + wide(delta) / 2 * (d + after)
        self.v = torch.where(wide(refining), d, after)
        self.at = self.at + 1
        self.restart(self.at == self.steps)
        return Questions.join(asked)


def ask(network: SiT, bf16: bool, *inputs: Tensor) -> Tensor:
    with autocast(inputs[0].device, bf16):
        return network(*inputs).float()


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
    walk, memory = Walk(teacher, batch, max_delta, max_guidance, device, seed, bf16), Memory(seed)
    while memory.count < REMEMBERED // 4:
        memory.add(walk.step(ema.module))

    budget.start()
    losses: list[float] = []
    reuse: list[float] = []
    learnt = 0
    while budget.progress < 1:
        if learnt >= 0:
            asked = walk.step(ema.module)
            memory.add(asked)
            learnt -= REPEATS * len(asked.x)
        questions = memory.draw(batch)
        learnt += batch
        loss = questions.loss(model, bf16)
        descend(loss, model, optimisers, budget)
        ema.update(model, budget.step)
        losses.append(loss.item())
        reuse.append(questions.loss_of_reuse())
        budget.advance()
        if budget.step % 200 == 0 or budget.progress >= 1:
            log.row(budget, loss=fmean(losses), reuse=fmean(reuse))
            losses.clear()
            reuse.clear()
        if budget.step % 2000 == 0:
            save_checkpoint(checkpoint, budget, **parts)
    save_checkpoint(checkpoint, budget, **parts)
    return ema.module


@torch.no_grad()
def evaluate(
    model: SiT, teacher: SiT, *, max_delta: float, max_guidance: float, device: torch.device
) -> dict[str, float]:
    """The loss, beside that of reusing the cached velocity, over whole walks; both fixed by a seed."""
    walk = Walk(teacher, 16, max_delta, max_guidance, device, seed=1, bf16=False)
    questions = Questions.join([walk.step(model) for _ in range(2 * MOST_STEPS)][MOST_STEPS:])
    return {"loss": questions.loss(model, bf16=False).item(), "reuse": questions.loss_of_reuse()}


def start_from(teacher: SiT, refiner: SiT) -> SiT:
    """Takes over the teacher's embeddings, which mean the same thing in both networks, where the widths are equal."""
    if refiner.config.hidden_size != teacher.config.hidden_size:
        return refiner
    refiner.t_embedder.load_state_dict(teacher.t_embedder.state_dict())
    refiner.y_embedder.load_state_dict(teacher.y_embedder.state_dict())
    with torch.no_grad():
        refiner.x_embedder.proj.weight[:, : teacher.config.in_channels] = teacher.x_embedder.proj.weight
    return refiner
