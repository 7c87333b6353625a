"""FlowTurbo's sampler in numpy over any engine's networks: the equations of the Rust sampler, nothing else.

`x` is one image's state. Velocities have two halves, class and null: guidance writes its channels to both and leaves
the others to each half. A network sees the same `x` in both halves; the refiner sees each half's own cached velocity,
or is asked once for both where its answers are guided ones.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
from bundles import GUIDED_BATCH, Bundle

Array = np.ndarray
Networks = Mapping[str, Callable[..., Array]]


def steps(schedule: str) -> str:
    """H1P5R3 -> HPPPPPRRR"""
    return "".join(letter * int(count or 1) for letter, count in re.findall(r"([EHPR])(\d*)", schedule))


def calls(schedule: str) -> Counter[str]:
    """How often each network is called."""
    kinds = steps(schedule)
    predictor = {"E": 1, "H": 2, "P": 1, "R": 0}
    first = 1 if kinds.startswith("P") else 0  # finds no cached velocity
    return Counter(predictor=first + sum(predictor[kind] for kind in kinds), refiner=2 * kinds.count("R"))


class Sampler:
    def __init__(self, bundle: Bundle, networks: Networks, guidance: float, label: int = 0):
        manifest = bundle.manifest
        self.networks, self.scale = networks, np.float32(guidance)
        self.refiner_guided = bundle.refiner_guided
        self.guided = manifest.get("guidance", {}).get("channels", bundle.latent[0])
        self.labels = np.array([label, manifest["classes"]["null"]], np.int64)
        self.latent_scale, self.latent_shift = (np.float32(manifest["latent"][key]) for key in ("scale", "shift"))

    def guide(self, velocity: Array) -> Array:
        velocity = np.array(velocity)
        class_half, null_half = velocity[:1, : self.guided], velocity[1:, : self.guided]
        velocity[:, : self.guided] = null_half + self.scale * (class_half - null_half)
        return velocity

    def shared(self, x: Array, t: np.float32) -> dict[str, Array]:
        return {"x": np.concatenate([x, x]), "t": np.full(GUIDED_BATCH, t, np.float32), "y": self.labels}

    def predict(self, x: Array, t: np.float32) -> Array:
        return self.guide(self.networks["predictor"](**self.shared(x, t)))

    def refine(self, x: Array, v: Array, t: np.float32) -> Array:
        if self.refiner_guided:
            offset = self.networks["refiner"](x=x, v=v[:1], t=np.full(1, t, np.float32), y=self.labels[:1])
            return np.concatenate([offset, offset])
        return self.guide(self.networks["refiner"](v=v, **self.shared(x, t)))

    def latents(self, noise: Array, schedule: str) -> Array:
        kinds = steps(schedule)
        grid = np.linspace(0, 1, len(kinds) + 1, dtype=np.float32)
        delta, x, v = grid[1], noise, None
        for kind, t, end in zip(kinds, grid, grid[1:]):
            if kind == "E":
                v = self.predict(x, t)
                x = x + delta * v[:1]
            elif kind == "R":
                d = self.refine(x, v, t) + v
                corrected = self.refine(x + delta * d[:1], v, end) + d
                x = x + delta / 2 * (d + corrected)[:1]
                v = d
            else:
                d = v if kind == "P" and v is not None else self.predict(x, t)
                v = self.predict(x + delta * d[:1], end)
                x = x + delta / 2 * (d + v)[:1]
        return x

    def image(self, noise: Array, schedule: str) -> Array:
        """Latents, and where the bundle has a decoder, 8-bit pixels."""
        latents = self.latents(noise, schedule)
        if "decoder" not in self.networks:
            return latents
        image = self.networks["decoder"](latent=latents / self.latent_scale + self.latent_shift)
        return np.clip(image * 127.5 + 128, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
