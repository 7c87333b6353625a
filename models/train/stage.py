"""What every training stage shares: the budget, EMA weights, resumable checkpoints, and the loss log."""

from __future__ import annotations

import copy
import csv
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from train.muon import Muon
from train.whole import replacing

PROBED = 6  # steps that a stage's speed is told by, and as many before them


@dataclass
class Budget:
    """Ends a stage after `steps` steps or `minutes` minutes, whichever is first; both survive a resume."""

    steps: int
    minutes: float
    step: int = 0
    seconds: float = 0.0
    stage: str = ""  # its name, and the steps below which it comes to nothing: what is told once its speed is known
    least: int = 0
    _tick: float | None = None
    _first: int = 0
    _began: tuple[int, float] = (0, 0.0)

    def start(self) -> None:
        self._tick = time.monotonic()
        self._first, self._began = self.step, (self.step, self.seconds)

    def advance(self) -> None:
        now = time.monotonic()
        self.seconds += now - (self._tick or now)
        self._tick = now
        self.step += 1
        # The first steps are slower than the rest.
        since = self.step - self._first
        if since == PROBED:
            self._began = self.step, self.seconds
        elif since == 2 * PROBED and self.stage:
            print(self.estimate(), flush=True)

    @property
    def pace(self) -> float:
        """Seconds a step, lately."""
        return max(1e-9, self.seconds - self._began[1]) / max(1, self.step - self._began[0])

    @property
    def left(self) -> float:
        """Seconds to the end of the budget."""
        return max(0.0, min(60 * self.minutes - self.seconds, (self.steps - self.step) * self.pace))

    def estimate(self) -> str:
        """How many steps there will be, and a plain word where those are too few."""
        steps = self.step + round(self.left / self.pace)
        text = f"{self.stage}: {self.pace:.2f} s a step, about {steps} in all, {self.left / 60:.1f} minutes left"
        if steps >= self.least:
            return text
        return (
            f"{text}\nwarning: {self.stage}: what {steps} steps learn is not worth looking at; it takes {self.least} "
            f"or more, here about {self.least * self.pace / 60:.0f} minutes (--{self.stage}-minutes, or --start with a "
            "bundle that is trained already)"
        )

    @property
    def progress(self) -> float:
        """0 at the start, 1 at the end."""
        return min(1.0, max(self.step / self.steps, self.seconds / 60 / self.minutes))

    def learning_rate(self, peak: float, warmup: int = 100) -> float:
        """Linear warm-up, the peak, and over the last third of the budget a line down to 2 % of it.

        A stage that is given a larger budget later so goes on at the rate that it had for most of the time.
        """
        return peak * min(1.0, (self.step + 1) / warmup, 0.02 + 3 * (1 - self.progress))


class Ema:
    """An exponential moving average of a module's weights; its horizon grows with the step count."""

    def __init__(self, module: nn.Module, decay: float):
        self.module, self.decay = copy.deepcopy(module).eval().requires_grad_(False), decay

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        for mine, theirs in zip(self.module.state_dict().values(), module.state_dict().values()):
            if mine.is_floating_point():
                mine.lerp_(theirs, 1 - decay)
            else:
                mine.copy_(theirs)


class Log:
    """Appends rows of numbers to a CSV file; `read_log` reads them back for the curves."""

    def __init__(self, path: Path, resumed: bool):
        self.path = path
        if not resumed:
            path.unlink(missing_ok=True)

    def row(self, budget: Budget, **values: float) -> None:
        new = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["step", "seconds", *values])
            writer.writerow([budget.step, round(budget.seconds, 1), *(f"{v:.5g}" for v in values.values())])
        shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        print(
            f"{self.path.stem} step {budget.step} ({100 * budget.progress:.1f} %, {budget.seconds / 60:.1f} min, "
            f"{budget.left / 60:.1f} left)  {shown}",
            flush=True,
        )


def read_log(path: Path) -> dict[str, list[float]]:
    """The columns by name. Rows that a resumed stage went over again count once, as they were last."""
    rows: list[dict[str, float]] = []
    with path.open(newline="") as file:
        for text in csv.DictReader(file):
            row = {name: float(value) for name, value in text.items()}
            while rows and rows[-1]["step"] >= row["step"]:
                rows.pop()
            rows.append(row)
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


def save_checkpoint(path: Path, budget: Budget, **parts) -> None:
    """A kill leaves the previous checkpoint whole."""
    state = {name: part.state_dict() if hasattr(part, "state_dict") else part for name, part in parts.items()}
    with replacing(path) as aside:
        torch.save({"step": budget.step, "seconds": budget.seconds, **state}, aside)


def load_checkpoint(path: Path, budget: Budget, **parts) -> dict | None:
    """Restores `parts` in place; None when there is no checkpoint yet.

    What has travelled (travel.py) has averaged weights alone: the network goes on from those, the rest begins anew.
    """
    if not path.exists():
        return None
    state = torch.load(path, map_location="cpu", weights_only=True)
    if state.get("travelled"):
        parts = {name: part for name, part in parts.items() if name in ("model", "ema")}
        state["model"] = state["ema"]
    for name, part in parts.items():
        part.load_state_dict(state[name])
    budget.step, budget.seconds = state["step"], state["seconds"]
    return state


def autocast(device: torch.device, enabled: bool):
    """bfloat16 matrix products and convolutions; weights, losses and optimiser stay float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def native_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware; emulated, it is slower than float32."""
    return any(name.endswith("bf16") and present is True for name, present in torch.cpu.get_capabilities().items())


def matrix_optimisers(model: nn.Module, rate: float, *helpers: nn.Module) -> list[torch.optim.Optimizer]:
    """Muon for the transformer blocks' matrices, AdamW for everything else; `peak` holds each group's rate."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and name.startswith("blocks.")]
    chosen = {id(p) for p in matrices}
    trained = (p for module in (model, *helpers) for p in module.parameters() if p.requires_grad)
    others = [p for p in trained if id(p) not in chosen]
    device = next(model.parameters()).device
    dtype = torch.bfloat16 if device.type != "cpu" or native_bf16() else torch.float32
    muon = Muon([{"params": matrices, "peak": rate}], lr=rate, weight_decay=0.01, dtype=dtype)
    adamw = torch.optim.AdamW([{"params": others, "peak": rate}], lr=rate, betas=(0.9, 0.99), weight_decay=0.0)
    return [muon, adamw]


def descend(loss: torch.Tensor, model: nn.Module, optimisers: list[torch.optim.Optimizer], budget: Budget) -> None:
    """One step of every optimiser at the budget's learning rate, the gradient clipped to norm 1."""
    for optimiser in optimisers:
        optimiser.zero_grad(set_to_none=True)
        for group in optimiser.param_groups:
            group["lr"] = budget.learning_rate(group["peak"])
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimiser in optimisers:
        optimiser.step()
