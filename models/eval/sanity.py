"""Do the distances see what a bad generator does? Real images, spoilt by degrees, must come out ever farther away.

Each fault has levels from hardly visible to plain; `none 0` among the results is a fresh draw of unspoilt images, so
numbers read as multiples of what the sample size alone makes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Fault = Callable[[Tensor, float, torch.Generator], Tensor]


def blur(x: Tensor, deviation: float, _: torch.Generator) -> Tensor:
    """By a Gaussian of so many pixels, around the borders as the images tile."""
    radius = int(3 * deviation + 1)
    kernel = torch.exp(-torch.arange(-radius, radius + 1).square() / (2 * deviation**2))
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, -1)
    x = F.conv2d(F.pad(x, (radius, radius, 0, 0), mode="circular"), kernel, groups=3)
    return F.conv2d(F.pad(x, (0, 0, radius, radius), mode="circular"), kernel.transpose(2, 3), groups=3)


def grain(x: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """Grey noise, each pixel's own."""
    return x + deviation * torch.randn(len(x), 1, *x.shape[2:], generator=generator)


def colour_noise(x: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """Soft noise that leaves the brightness alone."""
    noise = blur(torch.randn(x.shape, generator=generator), 1.0, generator)
    noise = noise - noise.mean(dim=1, keepdim=True)
    return x + deviation * noise / noise.std()


def grid(x: Tensor, height: float, _: torch.Generator) -> Tensor:
    """Brighter lines every 8 pixels, the size of a latent cell."""
    line = (torch.arange(x.shape[-1]) % 8 == 0).float()
    lines = torch.maximum(line[:, None], line[None, :])
    return x + height * (lines - lines.mean())


FAULTS: dict[str, tuple[Fault, tuple[float, ...]]] = {
    "blur (pixels)": (blur, (0.5, 0.8, 1.2, 2.0)),
    "grain (of 255)": (grain, (4, 8, 16, 32)),
    "colour noise (of 255)": (colour_noise, (4, 8, 16, 32)),
    "8-pixel grid (of 255)": (grid, (4, 8, 16, 32)),
}


def spoil(images: np.ndarray, fault: Fault, level: float, seed: int = 0) -> np.ndarray:
    """uint8 [N,H,W,3], likewise."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    x = fault(x, level, torch.Generator().manual_seed(seed))
    return x.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
