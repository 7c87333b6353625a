"""A bundle of small networks with random weights that makes four maps, and what its decoder's maps are as pixels:
tests/data/tiny-maps.

Latents are [N, 4, 4, 4], images 16 x 16. The pixels are computed here by NumPy from what docs/maps.md says, in float64,
of the answer that PyTorch's decoder gives.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "models"))

from export.bundle import Classes, Latent, Manifest, write_bundle
from export.synthetic import enliven
from nets.sit import SiT, SiTConfig

FOLDER = REPOSITORY / "tests" / "data" / "tiny-maps"
CHANNELS, EDGE, CELL, WIDTH = 4, 4, 4, 8
MAPS = ["color", "height", "normal", "roughness"]  # not in the order in which documents list them
SCALE, SHIFT = 0.5, 0.25


class Decoder(nn.Module):
    """Latent [N,4,h,w] -> maps [N,7,4h,4w]."""

    any_size = True

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(CHANNELS, WIDTH, 3, padding=1, padding_mode="circular")
        self.leave = nn.Conv2d(WIDTH, 7, 3, padding=1, padding_mode="circular")
        with torch.no_grad():
            self.leave.weight.mul_(1.3)  # colours and normals that have to be clamped, too

    def forward(self, latent: Tensor) -> Tensor:
        return self.leave(F.interpolate(F.relu(self.enter(latent)), scale_factor=float(CELL), mode="nearest"))


class Encoder(nn.Module):
    """Colours [N,3,H,W] -> latent [N,4,H/4,W/4]."""

    any_size = True

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, CHANNELS, CELL, CELL)

    def forward(self, image: Tensor) -> Tensor:
        return self.patches(image)


def velocity(refiner: bool) -> SiT:
    config = SiTConfig(EDGE, 2, CHANNELS, 16, 1, 2, 2, 16, out_channels=CHANNELS, refiner=refiner)
    return enliven(SiT(config).initialise())


def levels(values: np.ndarray, most: int) -> np.ndarray:
    """Numbers in 0..1 as whole levels; halves go up, as they are never below 0."""
    return np.floor(values.clip(0, 1) * most + 0.5).astype(np.uint8 if most == 255 else np.uint16)


def pixels(answer: np.ndarray) -> dict[str, np.ndarray]:
    """The maps of [N,7,H,W] as [N,H,W] or [N,H,W,C]."""
    answer = answer.astype(np.float64).transpose(0, 2, 3, 1)
    color, height, xy, roughness = answer[..., :3], answer[..., 3], answer[..., 4:6], answer[..., 6]
    length = np.linalg.norm(xy, axis=-1, keepdims=True)
    xy = np.where(length > 1, xy / length, xy)
    z = np.sqrt((1 - (xy**2).sum(-1, keepdims=True)).clip(min=0))
    up, down = np.concatenate([xy, z], -1), np.concatenate([xy * [1, -1], z], -1)
    height, roughness = (height.clip(-1, 1) + 1) / 2, (roughness.clip(-1, 1) + 1) / 2
    zero, one = np.zeros_like(height), np.ones_like(height)
    return {
        "color": levels((color + 1) / 2, 255),
        "normal_up": levels(up * 0.5 + 0.5, 255),
        "normal_down": levels(down * 0.5 + 0.5, 255),
        "height8": levels(height, 255),
        "height16": levels(height, 65535),
        "height_f32": height.astype(np.float32),
        "roughness8": levels(roughness, 255),
        "roughness16": levels(roughness, 65535),
        "orm": levels(np.stack([one, roughness, zero], -1), 255),
        "mask": levels(np.stack([zero, one, zero, 1 - roughness], -1), 255),
    }


def main() -> None:
    torch.manual_seed(4)
    networks = {"predictor": velocity(False), "refiner": velocity(True), "decoder": Decoder(), "encoder": Encoder()}
    manifest = Manifest(
        "tiny-maps",
        Latent(CHANNELS, EDGE, EDGE, SCALE, SHIFT),
        Classes(2, labels=["brick", "sand"]),
        schedule="H1P1R1",
        guidance=2.0,
        image=(CELL * EDGE, CELL * EDGE),
        wraps=True,
        maps=MAPS,
        preview=[[0.5 if channel == colour else 0.0 for channel in range(CHANNELS + 1)] for colour in range(3)],
        description="Random weights: color, height, normal, roughness",
    )
    print(write_bundle(FOLDER / "bundle", manifest, networks, dtype="f16"))
    latents = torch.randn(1, CHANNELS, EDGE, EDGE)
    with torch.no_grad():
        answer = networks["decoder"](latents / SCALE + SHIFT).numpy()
    np.savez(FOLDER / "maps.npz", latents=latents.numpy(), answer=answer, **pixels(answer))


if __name__ == "__main__":
    main()
