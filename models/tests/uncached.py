"""Schedules that the runtime knows, over the velocity fields of `eval.caching`."""

from __future__ import annotations

import numpy as np
from eval.caching import Velocity
from schedule import trajectory


class Uncached:
    def __init__(self, velocity: Velocity):
        self.velocity = velocity

    def predict(self, x: np.ndarray, t: float) -> np.ndarray:
        return self.velocity(x, t, np.arange(len(x)))


def sample(velocity: Velocity, schedule: str, x: np.ndarray) -> np.ndarray:
    """From noise [N,C,h,w] to latents, by Euler, Heun and pseudo-corrector steps."""
    *_, latents = trajectory(Uncached(velocity), schedule, x)
    return latents
