"""Stage 2: the velocity predictor, by flow matching on the straight path (SiT, arXiv 2401.08740).

`x_t = t * data + (1 - t) * noise`, and the network regresses `data - noise`. A tenth of the labels are
replaced by the null class, for classifier-free guidance; of networks that take text, `train.conditions` drops both.
`train.align` helps it along.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import torch
import torch.nn.functional as F
from nets.sit import SiT, SiTConfig
from torch import Tensor, nn
from train.align import Alignment
from train.conditions import Conditions
from train.latents import Latents
from train.stage import Budget, Ema, Log, autocast, descend, load_checkpoint, matrix_optimisers, save_checkpoint

LABEL_DROPOUT = 0.1
FITTED = 4096  # latents that the prior is of


def draw_times(count: int, generator: torch.Generator) -> Tensor:
    """Four fifths logit-normal (the hard middle), one fifth uniform (so that no time is starved)."""
    middle = torch.sigmoid(torch.randn(count, generator=generator))
    uniform = torch.rand(count, generator=generator)
    return torch.where(torch.rand(count, generator=generator) < 0.8, middle, uniform)


def train(
    latents: Latents,
    held_out: Latents,
    config: SiTConfig,
    budget: Budget,
    checkpoint: Path,
    *,
    batch: int,
    rate: float,
    device: torch.device,
    bf16: bool,
    align: float,
    compiled: bool,
    seed: int,
    start: SiT | None = None,
    watch: Callable[[SiT, Budget], None] | None = None,
) -> SiT:
    """Goes on from the weights of `start`. `watch` is called with the averaged weights every 100 steps."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = SiT(config).initialise()
    if start:
        model.load_state_dict(start.state_dict())
    if config.prior:
        model.prior.fit(torch.cat([latents.batch(FITTED // 16)[0].cpu() for _ in range(16)]))
    model.to(device)
    ema = Ema(model, 0.9995)
    alignment = Alignment(model).to(device)
    optimisers = matrix_optimisers(model, rate, alignment)
    parts = dict(
        model=model, ema=ema.module, alignment=alignment, **{f"optimiser{i}": o for i, o in enumerate(optimisers)}
    )
    log = Log(checkpoint.with_suffix(".csv"), load_checkpoint(checkpoint, budget, **parts) is not None)
    forward = torch.compile(model) if compiled else model
    # Drawing it on the CPU takes longer than a GPU's step.
    noisy = generator if device.type == "cpu" else torch.Generator(device).manual_seed(seed)

    budget.start()
    losses: list[float] = []
    unaligned: list[float] = []
    while budget.progress < 1:
        data, asked, seen = latents.batch_with_features(batch)
        asked = asked.drop(config, LABEL_DROPOUT, generator)
        noise = torch.randn(data.shape, generator=noisy, device=device)
        t = draw_times(batch, generator)
        loss = flow_matching_loss(forward, *(part.to(device) for part in (data, noise, t, asked)), bf16=bf16)
        aligned = alignment(seen.to(device))
        descend(loss + align * aligned, model, optimisers, budget)
        ema.update(model, budget.step)
        losses.append(loss.item())
        unaligned.append(aligned.item())
        budget.advance()
        if budget.step % 100 == 0 or budget.progress >= 1:
            judge = budget.step % 1000 == 0 or budget.progress >= 1
            unseen = evaluate(ema.module, held_out, device) if judge else math.nan
            log.row(budget, loss=fmean(losses), held_out=unseen, unaligned=fmean(unaligned))
            losses.clear()
            unaligned.clear()
            if watch is not None:
                watch(ema.module, budget)
        if budget.step % 1000 == 0:
            save_checkpoint(checkpoint, budget, **parts)
    save_checkpoint(checkpoint, budget, **parts)
    return ema.module


def flow_matching_loss(
    model: nn.Module, data: Tensor, noise: Tensor, t: Tensor, asked: Conditions, *, bf16: bool
) -> Tensor:
    mix = t[:, None, None, None]
    with autocast(data.device, bf16):
        velocity = model(mix * data + (1 - mix) * noise, t, *asked.arguments())
    return F.mse_loss(velocity.float(), data - noise)


@torch.no_grad()
def evaluate(model: SiT, held_out: Latents, device: torch.device, batches: int = 4) -> float:
    """Flow-matching loss on images the stage never saw; uniform times and noise fixed by a seed."""
    generator = torch.Generator().manual_seed(1)
    held_out.generator.manual_seed(1)
    total = 0.0
    for _ in range(batches):
        data, asked = held_out.batch(64)
        noise, t = torch.randn(data.shape, generator=generator), torch.rand(len(data), generator=generator)
        total += flow_matching_loss(model, *(p.to(device) for p in (data, noise, t, asked)), bf16=False).item()
    return total / batches
