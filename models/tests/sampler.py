"""FlowTurbo's sampler in numpy over an exported bundle: the equations of DESIGN, nothing else.

The state is doubled (class half, null half), as in the official code: guidance writes the guided channels of
both halves and leaves the others to each half; a network sees the class half's state in both, but the
refiner sees each half's own cached velocity.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from conftest import Bundle

Array = np.ndarray


class Sampler:
    """`context` and `negative` are those of each image, or one for all; without, zeros."""

    def __init__(
        self,
        bundle: Bundle,
        classes: list[int],
        scale: float,
        context: Array | None = None,
        negative: Array | None = None,
    ):
        self.bundle, self.scale = bundle, np.float32(scale)
        self.guided = bundle.manifest["guidance"]["channels"]
        networks, count = bundle.manifest["networks"], len(classes)
        null = bundle.manifest["classes"].get("null", 0)
        self.takes = {role: networks[role]["inputs"] for role in networks}
        self.conditions = {"y": np.array([*classes, *[null] * count], np.int64)}
        if "text" in bundle.manifest:
            text = bundle.manifest["text"]
            one = (text["tokens"], text["width"]) if "tokens" in text else (text["width"],)
            halves = [np.zeros((1, *one), np.float32) if given is None else given for given in (context, negative)]
            self.conditions["context"] = np.concatenate([np.broadcast_to(half, (count, *one)) for half in halves])

    def guide(self, output: Array) -> Array:
        c, u = np.split(output[:, : self.guided], 2)
        mixed = u + self.scale * (c - u)
        return np.concatenate([np.concatenate([mixed, mixed]), output[:, self.guided :]], axis=1)

    def same(self, state: Array) -> Array:
        half = state[: len(state) // 2]
        return np.concatenate([half, half])

    def time(self, t: np.float32) -> Array:
        return np.full(len(self.conditions["y"]), t, np.float32)

    def asked(self, role: str, **inputs: Array) -> Array:
        conditions = {name: value for name, value in self.conditions.items() if name in self.takes[role]}
        return self.guide(self.bundle.run(role, **inputs, **conditions))

    def predict(self, x: Array, t: np.float32) -> Array:
        return self.asked("predictor", x=self.same(x), t=self.time(t))

    def refine(self, x: Array, v: Array, t: np.float32) -> Array:
        return self.asked("refiner", x=self.same(x), v=v, t=self.time(t))

    def steps(self, noise: Array, kinds: str) -> Iterator[Array]:
        """The class half of the state after every step; `kinds` is such as HPPPPPRRR."""
        grid = np.linspace(0, 1, len(kinds) + 1, dtype=np.float32)
        x, cache = np.concatenate([noise, noise]), None
        for kind, t, end in zip(kinds, grid, grid[1:]):
            delta = end - t
            if kind == "R":
                v = cache
                d = self.refine(x, v, t) + v
                corrected = self.refine(x + delta * d, v, end) + d
                cache = d
            elif kind == "E":
                corrected = d = cache = self.predict(x, t)
            else:
                d = cache if kind == "P" and cache is not None else self.predict(x, t)
                corrected = self.predict(x + delta * d, end)
                cache = corrected
            x = x + delta / 2 * (d + corrected)
            yield x[: len(noise)]
