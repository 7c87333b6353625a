"""A set of images to compare others with, by every distance, and the four sets of real ones that rows are held
against."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime

from eval.distances import Frechet, Gaussian, Kernel, margin
from eval.features import Features

VIEWS = ("content", "texture")


class Reference:
    def __init__(self, features: Features):
        self.frechet = {view: Frechet(Gaussian.fit(getattr(features, view))) for view in VIEWS}
        self.kernel = Kernel(features.content)

    def compare(self, content: np.ndarray, texture: np.ndarray, resamples: np.ndarray) -> dict:
        """Distances of [N,D] of each view; with each its margin, and what it comes to for every resample
        [repeats,N]."""
        result = {}
        for view, features in zip(VIEWS, (content, texture)):
            frechet = self.frechet[view]
            resampled = [frechet(Gaussian.fit(features, weights)) for weights in resamples]
            result |= summary(view, frechet(Gaussian.fit(features)), resampled)
        sums = self.kernel.sums(content)
        return result | summary("kernel", self.kernel(sums), [self.kernel(sums, weights) for weights in resamples])


def summary(name: str, value: float, resampled: list[float]) -> dict:
    return {name: value, f"{name}_margin": margin(np.array(resampled)), f"{name}_resampled": resampled}


def encode(bundle: Path, images: np.ndarray, chunk: int = 16) -> np.ndarray:
    """Latents [N,C,h,w] of uint8 [N,H,W,3], by the bundle's encoder in ONNX Runtime."""
    manifest = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    if "encoder" not in manifest["networks"]:
        raise SystemExit(f"{bundle}: no encoder, and the floor of the autoencoder cannot be told without one")
    network = manifest["networks"]["encoder"]
    session = onnxruntime.InferenceSession(bundle / network["file"], providers=["CPUExecutionProvider"])
    latents = []
    for start in range(0, len(images), chunk):
        x = images[start : start + chunk].transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1
        latents.append(session.run([network["output"]], {network["inputs"]["image"]: x})[0])
    return (np.concatenate(latents) - manifest["latent"]["shift"]) * manifest["latent"]["scale"]
