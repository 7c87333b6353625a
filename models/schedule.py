"""FlowTurbo's schedules and their steps (arXiv 2409.18128, section 3.3), on arrays of numpy or of torch.

Training, evaluation and the comparison with peers sample by this; the tests have an oracle of their own. A velocity
has two halves, class and null: guidance writes its channels to both and leaves the others to each half.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol, TypeVar

import numpy as np

Array = TypeVar("Array")
CALLS = {"E": (1, 0), "H": (2, 0), "P": (1, 0), "R": (0, 2)}  # of predictor and refiner, by a step


class Field(Protocol[Array]):
    """Guided velocities [2N,...] of a state [N,...] at time `t`, which runs from 0 (noise) to 1 (data)."""

    def predict(self, x: Array, t: float) -> Array: ...

    def refine(self, x: Array, v: Array, t: float) -> Array:
        """The offset to the cached velocity `v`."""
        ...


def steps(schedule: str) -> str:
    """`H1P5R3` -> `HPPPPPRRR`: a letter for each step (Euler, Heun, pseudo-corrector, refiner)."""
    return "".join(kind * int(count or 1) for kind, count in re.findall(r"([EHPR])(\d*)", schedule))


def calls(schedule: str) -> tuple[int, int]:
    """Evaluations of predictor and refiner: `H1P5R3` makes 7 and 6."""
    kinds = steps(schedule)
    predictor, refiner = (sum(CALLS[kind][network] for kind in kinds) for network in (0, 1))
    return predictor + kinds.startswith("P"), refiner  # a first pseudo-corrector step has no cache: it is a Heun step


def guide(velocity: Array, scale: float, channels: int) -> Array:
    """`u + scale (c - u)` in both halves of the first `channels` channels."""
    n = len(velocity) // 2
    c, u = velocity[:n, :channels], velocity[n:, :channels]
    guided = velocity + 0  # a copy, by numpy and by torch
    guided[:n, :channels] = guided[n:, :channels] = u + scale * (c - u)
    return guided


def trajectory(field: Field, schedule: str, x: Array) -> Iterator[Array]:
    """The state after every step."""
    kinds, n = steps(schedule), len(x)
    grid = [float(t) for t in np.linspace(0, 1, len(kinds) + 1, dtype=np.float32)]
    delta, v = grid[1], None
    for kind, t, end in zip(kinds, grid, grid[1:]):
        if kind == "E":
            mean = v = field.predict(x, t)
        elif kind == "R":
            d = field.refine(x, v, t) + v
            mean = (d + field.refine(x + delta * d[:n], v, end) + d) / 2
            v = d
        else:
            d = v if kind == "P" and v is not None else field.predict(x, t)
            v = field.predict(x + delta * d[:n], end)
            mean = (d + v) / 2
        x = x + delta * mean[:n]
        yield x
