"""Training-free step caching, the kind that peers ship, on the same networks: what FlowTurbo's refiner competes with.

Both skip whole evaluations of the predictor in an Euler run of `steps` steps, and guess the guided velocity instead.

TaylorSeer (Liu et al., arXiv 2503.06923, eq. 6; on the network's output alone, as in OpenVINO GenAI's "Lite"): every
`interval`-th step is a full evaluation `v`. `k` steps behind the last one the guess is

    v + sum over i = 1..order of  D^i v * k^i / i!,    D^i v = (D^(i-1) v - its value one full evaluation before) / m

with `m` the number of steps between those two evaluations. The first `warm` steps and the last one are full.

EasyCache (Zhou et al., arXiv 2507.02860; stable-diffusion.cpp's and ComfyUI's): with `x°, v°` the state and velocity of
the last full evaluation and `k = |v° - v°°| / |x° - x°°|` the rate between the last two (means of magnitudes), a step
adds `k |x - x°| / |v°|` to a sum; while that is below `threshold` the step is skipped and the guess is

    v = v° - (x - x°)

(published for velocities that point from data to noise, `v = v° + (x - x°)`; ours point the other way). The sum starts
again at each full evaluation. The first `warm` steps, and the last one, are full. Every image decides for itself.

The runtime has no such steps, so they run here, on ONNX Runtime; `Field.calls` counts what they cost.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import factorial
from pathlib import Path
from typing import Protocol

import numpy as np
import onnxruntime

Array = np.ndarray


class Velocity(Protocol):
    """dx/dt of the images numbered `which`, whose states are `x` [K,C,h,w]."""

    def __call__(self, x: Array, t: float, which: Array) -> Array: ...


class Field:
    """A bundle's predictor under guidance, time running from 0 (noise) to 1 (data). Counts evaluations of an image."""

    def __init__(self, bundle: Path, classes: Array, scale: float, threads: int = 0):
        manifest = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
        if manifest["time"] != {"direction": "noise_to_data", "scale": 1.0, "velocity_sign": 1}:
            raise SystemExit(f"{bundle}: step caching is written for a time that runs from 0 (noise) to 1 (data)")
        self.network = manifest["networks"]["predictor"]
        self.guided, self.null = manifest["guidance"]["channels"], manifest["classes"]["null"]
        self.classes, self.scale = np.asarray(classes, np.int64), np.float32(scale)
        self.calls = np.zeros(len(self.classes), np.int64)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        path = bundle / self.network["file"]
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def __call__(self, x: Array, t: float, which: Array) -> Array:
        self.calls[which] += 1
        labels = self.classes[which]
        if self.scale == 1:
            return self.evaluate(x, t, labels)
        both = self.evaluate(np.concatenate([x, x]), t, np.concatenate([labels, np.full_like(labels, self.null)]))
        c, u = np.split(both, 2)
        c[:, : self.guided] = u[:, : self.guided] + self.scale * (c - u)[:, : self.guided]
        return c

    def evaluate(self, x: Array, t: float, labels: Array) -> Array:
        names = self.network["inputs"]
        feeds = {names["x"]: x, names["t"]: np.full(len(x), t, np.float32), names["y"]: labels}
        return self.session.run([self.network["output"]], feeds)[0]


class Run(Protocol):
    """A way to sample that the runtime has no word for."""

    def sample(self, field: Velocity, x: Array) -> Array:
        """From noise [N,C,h,w] to latents."""
        ...


@dataclass(frozen=True)
class TaylorSeer:
    steps: int
    interval: int
    order: int = 1
    warm: int = 2

    def __str__(self) -> str:
        return f"TaylorSeer, {self.steps} steps, every {self.interval}, order {self.order}"

    def sample(self, field: Velocity, x: Array) -> Array:
        everyone, delta = np.arange(len(x)), np.float32(1 / self.steps)
        last, factors = 0, []  # step of the last full evaluation; v and its differences there
        for i in range(self.steps):
            if i < self.warm or i - last >= self.interval or i == self.steps - 1:
                v = field(x, i / self.steps, everyone)
                factors, last = differences(v, factors[: self.order], i - last), i
            else:
                v = sum(factor * np.float32((i - last) ** n / factorial(n)) for n, factor in enumerate(factors))
            x = x + delta * v
        return x


def differences(v: Array, before: list[Array], distance: int) -> list[Array]:
    """v, Dv, D^2 v ..., one more than were known `distance` steps before."""
    factors = [v]
    for factor in before:
        factors.append((factors[-1] - factor) / np.float32(distance))
    return factors


@dataclass(frozen=True)
class EasyCache:
    steps: int
    threshold: float
    warm: int = 2

    def __str__(self) -> str:
        return f"EasyCache, {self.steps} steps, threshold {self.threshold:g}"

    def sample(self, field: Velocity, x: Array) -> Array:
        everyone, delta = np.arange(len(x)), np.float32(1 / self.steps)
        total, rate = np.zeros(len(x)), np.full(len(x), np.inf)
        x_full = v_full = None
        for i in range(self.steps):
            if x_full is None:
                x_full, v_full = x.copy(), field(x, 0.0, everyone)
                v = v_full
            else:
                moved = magnitude(x - x_full)
                total += rate * moved / magnitude(v_full)
                full = (total >= self.threshold) | (i < self.warm) | (i == self.steps - 1)
                v = v_full - (x - x_full)
                if full.any():
                    which = np.flatnonzero(full)
                    v[which] = field(x[which], i / self.steps, which)
                    rate[which] = magnitude(v[which] - v_full[which]) / moved[which]
                    x_full[which], v_full[which], total[which] = x[which], v[which], 0
            x = x + delta * v
        return x


def magnitude(x: Array) -> Array:
    """[N] from [N,C,h,w]."""
    return np.abs(x).mean(axis=(1, 2, 3), dtype=np.float64)
