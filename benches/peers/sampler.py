"""Samples by any engine's networks, so that each peer does exactly what flowturbo does.

A network sees the same `x` in both halves; the refiner sees each half's own cached velocity, or is asked once for both
where its answers are guided ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from bundles import GUIDED_BATCH, Bundle
from schedule import guide, trajectory

Array = np.ndarray
Networks = Mapping[str, Callable[..., Array]]


class Sampler:
    """One image's."""

    def __init__(self, bundle: Bundle, networks: Networks, guidance: float, label: int = 0):
        manifest = bundle.manifest
        self.networks, self.scale = networks, np.float32(guidance)
        self.refiner_guided = bundle.refiner_guided
        self.guided = manifest.get("guidance", {}).get("channels", bundle.latent[0])
        self.labels = np.array([label, manifest["classes"]["null"]], np.int64)
        self.latent_scale, self.latent_shift = (np.float32(manifest["latent"][key]) for key in ("scale", "shift"))

    def shared(self, x: Array, t: float) -> dict[str, Array]:
        return {"x": np.concatenate([x, x]), "t": np.full(GUIDED_BATCH, t, np.float32), "y": self.labels}

    def predict(self, x: Array, t: float) -> Array:
        return guide(self.networks["predictor"](**self.shared(x, t)), self.scale, self.guided)

    def refine(self, x: Array, v: Array, t: float) -> Array:
        if self.refiner_guided:
            offset = self.networks["refiner"](x=x, v=v[:1], t=np.full(1, t, np.float32), y=self.labels[:1])
            return np.concatenate([offset, offset])
        return guide(self.networks["refiner"](v=v, **self.shared(x, t)), self.scale, self.guided)

    def latents(self, noise: Array, schedule: str) -> Array:
        *_, latents = trajectory(self, schedule, noise)
        return latents

    def image(self, noise: Array, schedule: str) -> Array:
        """Latents, and where the bundle has a decoder, 8-bit pixels."""
        latents = self.latents(noise, schedule)
        if "decoder" not in self.networks:
            return latents
        image = self.networks["decoder"](latent=latents / self.latent_scale + self.latent_shift)
        return np.clip(image * 127.5 + 128, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
