"""Stage 3: the velocity refiner (FlowTurbo, arXiv 2409.18128, section 3.2).

The trained predictor F is the teacher. From a point on the path, its velocity `v` at `t` carries the
state to `x' = x_t + dt * v` with `dt` uniform in (0, `max_delta`]; the refiner sees `(x', v, t + dt)` and
regresses what the teacher would add to `v` there: `F(x', t + dt) - v`.

At run time the cached velocity is a guided one, so a share of each batch is trained with `v` guided by a
scale drawn from [1, `max_guidance`]; a scale of 1 for all is the paper's objective to the letter.
"""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import torch
import torch.nn.functional as F
from nets.sit import SiT, SiTConfig
from torch import Tensor
from train.latents import Latents
from train.stage import Budget, Ema, Log, autocast, descend, load_checkpoint, matrix_optimisers, save_checkpoint

NULL_SHARE = 0.2  # of the refiner's labels; guidance leans on its null answers as hard as on the others


@torch.no_grad()
def teach(
    teacher: SiT,
    data: Tensor,
    noise: Tensor,
    t: Tensor,
    delta: Tensor,
    labels: Tensor,
    seen: Tensor,
    guidance: Tensor,
    *,
    bf16: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns `x'` and `v` [N,C,H,W], and the teacher's unguided velocity for the labels `seen` at `x'`, `t + delta`.

    `v` is guided towards `labels`, which `seen` may hide: at run time both guidance halves share one `v`.
    """
    null = torch.full_like(labels, teacher.config.num_classes)
    t_wide, delta_wide, s = (part[:, None, None, None] for part in (t, delta, guidance))
    with autocast(data.device, bf16):
        x = t_wide * data + (1 - t_wide) * noise
        both = teacher(torch.cat([x, x]), torch.cat([t, t]), torch.cat([labels, null])).float()
        conditional, unconditional = both.chunk(2)
        v = unconditional + s * (conditional - unconditional)
        x = x + delta_wide * v
        return x, v, teacher(x, t + delta, seen).float()


def draw_lesson(
    latents: Latents,
    teacher: SiT,
    batch: int,
    max_delta: float,
    max_guidance: float,
    generator: torch.Generator,
    device: torch.device,
    *,
    bf16: bool,
) -> tuple[tuple[Tensor, ...], Tensor]:
    """What the refiner is given, `(x', v, t + dt, labels)`, and what it should answer."""
    data, labels = latents.batch(batch)
    noise = torch.randn(data.shape, generator=generator)
    delta = max_delta * (1 - torch.rand(batch, generator=generator))
    t = (1 - delta) * torch.rand(batch, generator=generator)
    dropped = torch.rand(batch, generator=generator) < NULL_SHARE
    guided = torch.rand(batch, generator=generator) < 0.5
    guidance = torch.where(guided, 1 + (max_guidance - 1) * torch.rand(batch, generator=generator), 1.0)
    seen = torch.where(dropped, teacher.config.num_classes, labels)
    parts = (p.to(device) for p in (data, noise, t, delta, labels, seen, guidance))
    data, noise, t, delta, labels, seen, guidance = parts
    x, v, target = teach(teacher, data, noise, t, delta, labels, seen, guidance, bf16=bf16)
    return (x, v, t + delta, seen), target - v


def train(
    latents: Latents,
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
    generator = torch.Generator().manual_seed(seed)
    model = start_from(teacher, SiT(config).initialise()).to(device)
    ema = Ema(model, 0.999)
    optimisers = matrix_optimisers(model, rate)
    parts = dict(model=model, ema=ema.module, **{f"optimiser{i}": o for i, o in enumerate(optimisers)})
    log = Log(checkpoint.with_suffix(".csv"), load_checkpoint(checkpoint, budget, **parts) is not None)

    budget.start()
    losses: list[float] = []
    reuse: list[float] = []
    while budget.progress < 1:
        given, wanted = draw_lesson(latents, teacher, batch, max_delta, max_guidance, generator, device, bf16=bf16)
        with autocast(device, bf16):
            offset = model(*given).float()
        loss = F.mse_loss(offset, wanted)
        descend(loss, model, optimisers, budget)
        ema.update(model, budget.step)
        losses.append(loss.item())
        reuse.append(wanted.square().mean().item())
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
    model: SiT,
    teacher: SiT,
    latents: Latents,
    *,
    max_delta: float,
    max_guidance: float,
    device: torch.device,
    batches: int = 4,
) -> dict[str, float]:
    """The loss, beside that of reusing the cached velocity; both fixed by a seed."""
    generator = torch.Generator().manual_seed(1)
    latents.generator.manual_seed(1)
    loss = reuse = 0.0
    for _ in range(batches):
        given, wanted = draw_lesson(latents, teacher, 64, max_delta, max_guidance, generator, device, bf16=False)
        loss += F.mse_loss(model(*given), wanted).item() / batches
        reuse += wanted.square().mean().item() / batches
    return {"loss": loss, "reuse": reuse}


def start_from(teacher: SiT, refiner: SiT) -> SiT:
    """Takes over the teacher's embeddings, which mean the same thing in both networks, where the widths are equal."""
    if refiner.config.hidden_size != teacher.config.hidden_size:
        return refiner
    refiner.t_embedder.load_state_dict(teacher.t_embedder.state_dict())
    refiner.y_embedder.load_state_dict(teacher.y_embedder.state_dict())
    with torch.no_grad():
        refiner.x_embedder.proj.weight[:, : teacher.config.in_channels] = teacher.x_embedder.proj.weight
    return refiner
