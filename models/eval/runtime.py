"""The shipped library, by bindings/python: the images that are judged are the ones users get."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Self

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "bindings" / "python"))

import flowturbo
from flowturbo import Generation
from flowturbo.abi import SUFFIX

BUILD = "cargo build --release --workspace --lib"
NAME = ("" if sys.platform == "win32" else "lib") + "flowturbo_capi" + SUFFIX
LIBRARY = REPOSITORY / "target" / "release" / NAME


def use_library(path: Path = LIBRARY) -> None:
    """Names the library to the binding, which loads it when it is first used."""
    if not path.is_file():
        raise SystemExit(f"{path}: no library there; build it with `{BUILD}`, or name one by --library")
    os.environ["FLOWTURBO_LIBRARY"] = str(path)


class Model(flowturbo.Model):
    """A bundle, opened, and one session of it."""

    manifest: dict
    only: flowturbo.Session

    @classmethod
    def open(cls, source: Path, **options: object) -> Self:
        model = super().open(source, **options)
        model.manifest = json.loads((source / "bundle.json").read_text(encoding="utf-8"))
        model.only = model.session()
        return model

    def close(self) -> None:
        self.only.close()
        super().close()

    def sampler_hash(self, refines: bool) -> str:
        """Of what a latent depends on: all but names, decoder and encoder, and the refiner only where it has steps."""
        networks = {"predictor", "refiner"} if refines else {"predictor"}
        parts = {name: self.manifest["networks"][name] for name in networks}
        parts |= {name: self.manifest.get(name) for name in ("latent", "classes", "time", "guidance")}
        if not refines:
            parts["guidance"] = (parts["guidance"] or {}).get("channels")
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]

    @property
    def cell(self) -> int:
        """Pixels that a cell of the latent stands for, a side."""
        return self.info.cell_width

    def generate(
        self,
        schedule: str,
        guidance: float,
        classes: np.ndarray,
        noise: np.ndarray,
        images: bool = True,
        seamless: str | None = None,
    ) -> Generation:
        """From noise [N,C,h,w], an image for each of `classes` [N], larger than the model's own where the noise is."""
        channels, *own = self.latent_shape
        if noise.shape[:2] != (len(classes), channels) or any(n < least for n, least in zip(noise.shape[2:], own)):
            raise ValueError(f"noise of shape {noise.shape} for {len(classes)} latents of {self.latent_shape}")
        height, width = (cells * self.cell for cells in noise.shape[2:])
        return self.only.generate(
            classes=classes,
            schedule=schedule,
            guidance=guidance,
            noise=noise,
            seamless=seamless,
            size=(width, height),
            images=images,
        )

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """uint8 [N,H,W,3] of float32 [N,C,h,w]."""
        return self.only.decode(latents)
