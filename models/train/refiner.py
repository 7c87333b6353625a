"""Stage 3: the velocity refiner (FlowTurbo, arXiv 2409.18128, section 3.2).

As in the paper it learns `F(x', t') - v`, how far the predictor's answer is from a velocity `v` of before. The paper
takes `x'` an Euler step away from the straight path to a training image. Here both are of the paths that the sampler
takes: images go from noise to data under guidance, in long steps up to some time and in short ones from there on, and
any two moments of what follows make a question. `v` is as old as it is in an R step: up to two of the sampler's steps.
Velocities are those that pseudo-corrector steps keep, F at the Euler step's end, which is a little beside the state.

Velocities are guided ones, which the predictor makes of two answers. The refiner is told a guided velocity and answers
the offset to a guided one (`guidance.refiner_guided` in docs/bundle.md): one evaluation for an image, not two.
"""

from __future__ import annotations

from itertools import pairwise
from math import ceil
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import torch
from nets.sit import SiT, SiTConfig
from torch import Tensor, nn
from train.conditions import Conditions, of_classes
from train.data import BalancedSampler
from train.stage import Budget, Ema, Log, autocast, descend, load_checkpoint, matrix_optimisers, save_checkpoint

SHORT_STEPS = 14  # to the end of a path
TOGETHER = 16  # paths taken at once
REMEMBERED = 2048  # paths
REPEATS = 96  # questions for each path, which costs as much as some 300 of them


class Paths(NamedTuple):
    """The end of the ways of N images: states and velocities [N,M,C,h,w] at M times, classes [N] and, of networks that
    take text, contexts [N,D]."""

    x: Tensor
    v: Tensor
    t: list[float]
    labels: Tensor
    context: Tensor | None = None


class Questions(NamedTuple):
    """What the refiner is asked, a row each: states, cached velocities, times, classes and contexts; and the offsets to
    answer."""

    x: Tensor
    v: Tensor
    t: Tensor
    labels: Tensor
    wanted: Tensor
    context: Tensor | None = None

    def loss(self, refiner: nn.Module, bf16: bool) -> Tensor:
        with autocast(self.x.device, bf16):
            answer = refiner(self.x, self.v, self.t, *Conditions(self.labels, self.context).arguments()).float()
        return (answer - self.wanted).square().mean()

    def loss_of_reuse(self) -> float:
        """That of an offset of zero: reusing the cached velocity as it is."""
        return self.wanted.square().mean().item()


class Walker:
    """Takes the sampler's way with the predictor alone, by pseudo-corrector steps: the grid is what differs.

    Half of the images are guided by `guidance`, the others by any scale from 1 to `max_guidance`. Of a teacher that
    takes text, `pool` holds what to ask for, the training images' classes and contexts, of which some are dropped.
    """

    def __init__(
        self,
        teacher: SiT,
        max_delta: float,
        guidance: float,
        max_guidance: float,
        device: torch.device,
        seed: int,
        bf16: bool,
        pool: Conditions | None = None,
    ):
        self.teacher, self.device, self.bf16, self.pool = teacher, device, bf16, pool
        self.fewest, self.guidance, self.max_guidance = max(2, ceil(1 / max_delta)), guidance, max_guidance
        self.seed, self.generator = seed, torch.Generator().manual_seed(seed)

    def grid(self) -> tuple[list[float], int]:
        """Times, and how many steps are long: as long as those of a schedule, over a fifth to half of the time."""
        steps = self.fewest + int(torch.randint(self.fewest + 3, (), generator=self.generator))
        long = max(1, round(steps * (0.2 + 0.3 * torch.rand((), generator=self.generator).item())))
        start = long / steps
        short = [start + (1 - start) * (i + 1) / SHORT_STEPS for i in range(SHORT_STEPS)]
        return [i / steps for i in range(long + 1)] + short, long

    @torch.no_grad()
    def walk(self) -> Paths:
        config = self.teacher.config
        shape = (TOGETHER, config.latent_channels, config.input_size, config.input_size)
        x = torch.randn(shape, generator=self.generator).to(self.device)
        asked = self.ask(config).to(self.device)
        scale = 1 + (self.max_guidance - 1) * torch.rand(TOGETHER, 1, 1, 1, generator=self.generator).to(self.device)
        scale[::2] = self.guidance
        both = asked.with_null(config).arguments()

        def velocity(x: Tensor, t: float) -> Tensor:
            with autocast(self.device, self.bf16):
                answers = self.teacher(torch.cat([x, x]), torch.full((2 * TOGETHER,), t, device=self.device), *both)
            conditional, unconditional = answers.float().chunk(2)
            return unconditional + scale * (conditional - unconditional)

        times, long = self.grid()
        v = velocity(x, 0.0)
        states, velocities = [x], [v]
        for t, t_next in pairwise(times):
            after = velocity(x + (t_next - t) * v, t_next)
            x = x + (t_next - t) / 2 * (v + after)
            v = after
            states.append(x)
            velocities.append(v)
        return Paths(torch.stack(states[long:], 1), torch.stack(velocities[long:], 1), times[long:], *asked)

    def ask(self, config: SiTConfig) -> Conditions:
        """Any classes; with a pool, those of its images, and a text of each."""
        if self.pool is None:
            return of_classes(torch.randint(config.num_classes, (TOGETHER,), generator=self.generator), config)
        rows = BalancedSampler(self.pool.labels, self.generator).draw(TOGETHER)
        return self.pool.take(rows).drop(config, 0.0, self.generator)


class Memory:
    """The latest paths, and questions about them."""

    def __init__(self, seed: int):
        self.walked = 0
        self.parts: list[Paths] = []
        self.generator = torch.Generator().manual_seed(seed)

    def add(self, paths: Paths) -> None:
        self.walked += TOGETHER
        # Half the memory is well worth a rounding of a thousandth.
        self.parts.append(paths._replace(x=paths.x.half(), v=paths.v.half()))
        del self.parts[: -REMEMBERED // TOGETHER]

    def keep_up(self, walker: Walker, asked: int) -> None:
        """Has new paths walked until there are enough for the questions that have been asked."""
        while asked >= REPEATS * self.walked or self.walked < REMEMBERED // 16:
            self.add(walker.walk())

    def ask(self, count: int, max_delta: float) -> Questions:
        """`v` is that of a random moment; the state, one up to twice `max_delta` later: an R step's second call is
        there."""
        oldest = 2 * max_delta

        def uniform(below: int) -> list[int]:
            return torch.randint(below, (count,), generator=self.generator).tolist()

        ages = torch.rand(count, generator=self.generator).tolist()
        rows, times = [], []
        for group, image, before, age in zip(uniform(len(self.parts)), uniform(TOGETHER), uniform(SHORT_STEPS), ages):
            path = self.parts[group]
            now = before + round(age * min(oldest, path.t[-1] - path.t[before]) / (path.t[1] - path.t[0]))
            asked = Conditions(path.labels, path.context).take(image).arguments()
            rows.append((path.x[image, now], path.v[image, before], path.v[image, now], *asked))
            times.append(path.t[now])
        x, v, after, labels, *context = map(torch.stack, zip(*rows))
        x, v = x.float(), v.float()
        return Questions(x, v, torch.tensor(times, device=x.device), labels, after.float() - v, *context)


class Pupil:
    """A refiner that is asked about steps up to `max_delta` long, the mean of its weights, and what moves them."""

    def __init__(self, model: nn.Module, rate: float, max_delta: float):
        self.model, self.ema, self.max_delta = model, Ema(model, 0.999), max_delta
        self.optimisers = matrix_optimisers(model, rate)
        # What a checkpoint has to keep.
        self.parts = {"model": model, "ema": self.ema.module}
        self.parts |= {f"optimiser{i}": optimiser for i, optimiser in enumerate(self.optimisers)}

    def learn(self, questions: Questions, budget: Budget, bf16: bool) -> float:
        loss = questions.loss(self.model, bf16)
        descend(loss, self.model, self.optimisers, budget)
        self.ema.update(self.model, budget.step)
        return loss.item()


def teach(
    pupils: dict[str, Pupil],
    walker: Walker,
    budget: Budget,
    checkpoint: Path,
    parts: dict[str, object],
    batch: int,
) -> None:
    """Asks all pupils as many questions about the same paths; `parts`, theirs, are kept in the checkpoint.

    Logs their losses by their names, beside that of reusing the cached velocity in the first one's questions.
    """
    log = Log(checkpoint.with_suffix(".csv"), load_checkpoint(checkpoint, budget, **parts) is not None)
    seed = walker.seed + budget.step  # resumed, it takes other paths
    walker.generator.manual_seed(seed)
    memory = Memory(seed)

    budget.start()
    learnt = 0
    losses: dict[str, list[float]] = {name: [] for name in (*pupils, "reuse")}
    while budget.progress < 1:
        memory.keep_up(walker, learnt)
        learnt += batch
        for number, (name, pupil) in enumerate(pupils.items()):
            questions = memory.ask(batch, pupil.max_delta)
            losses[name].append(pupil.learn(questions, budget, walker.bf16))
            if number == 0:
                losses["reuse"].append(questions.loss_of_reuse())
        budget.advance()
        if budget.step % 100 == 0 or budget.progress >= 1:
            log.row(budget, **{name: fmean(some) for name, some in losses.items()})
            for some in losses.values():
                some.clear()
            save_checkpoint(checkpoint, budget, **parts)


def train(
    teacher: SiT,
    config: SiTConfig,
    budget: Budget,
    checkpoint: Path,
    *,
    batch: int,
    rate: float,
    max_delta: float,
    guidance: float,
    max_guidance: float,
    device: torch.device,
    bf16: bool,
    seed: int,
    start: SiT | None = None,
    pool: Conditions | None = None,
) -> SiT:
    """With `start`, from another refiner's weights on. `pool` is the walker's."""
    torch.manual_seed(seed)
    model = SiT(config)
    if start:
        model.load_state_dict(start.state_dict())
    else:
        start_from(teacher, model.initialise())
    pupil = Pupil(model.to(device), rate, max_delta)
    walker = Walker(teacher, max_delta, guidance, max_guidance, device, seed, bf16, pool)
    teach({"loss": pupil}, walker, budget, checkpoint, pupil.parts, batch)
    return pupil.ema.module


@torch.no_grad()
def evaluate(
    model: SiT,
    teacher: SiT,
    *,
    max_delta: float,
    guidance: float,
    max_guidance: float,
    device: torch.device,
    pool: Conditions | None = None,
) -> dict[str, float]:
    """The loss, beside that of reusing the cached velocity, on paths that no training took."""
    walker = Walker(teacher, max_delta, guidance, max_guidance, device, seed=-1, bf16=False, pool=pool)
    memory = Memory(seed=-1)
    for _ in range(4):
        memory.add(walker.walk())
    questions = memory.ask(512, max_delta)
    return {"loss": questions.loss(model, bf16=False).item(), "reuse": questions.loss_of_reuse()}


def start_from(teacher: SiT, refiner: SiT) -> SiT:
    """Takes over the teacher's embeddings, which mean the same thing in both networks, where the widths are equal."""
    if refiner.config.hidden_size != teacher.config.hidden_size:
        return refiner
    refiner.t_embedder.load_state_dict(teacher.t_embedder.state_dict())
    refiner.y_embedder.load_state_dict(teacher.y_embedder.state_dict())
    if teacher.config.context:
        refiner.context_embedder.load_state_dict(teacher.context_embedder.state_dict())
    with torch.no_grad():
        refiner.x_embedder.proj.weight[:, : teacher.config.in_channels] = teacher.x_embedder.proj.weight
    return refiner
