"""The colours of small previews: what red, green and blue of a latent's cell are of its channels, nearly."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IMAGES, PATCHES = 4, 8  # images of patches in random colours, and patches a side


@torch.no_grad()
def fit_preview(latents: Tensor, images: Tensor) -> list[list[float]]:
    """Least squares from latents [N,C,h,w], as they are sampled, to the mean colours of their images' cells.

    Three rows: a factor for each channel, then a constant (`image.preview` in docs/bundle.md).
    """
    known = F.pad(latents.movedim(1, -1).flatten(0, -2), (0, 1), value=1)
    wanted = F.avg_pool2d(images, images.shape[-1] // latents.shape[-1]).movedim(1, -1).flatten(0, -2)
    factors = torch.linalg.lstsq(known.double(), wanted.double()).solution.T
    return [[float(f"{factor:.5g}") for factor in row] for row in factors.tolist()]


@torch.no_grad()
def preview_of(encoder: nn.Module, size: tuple[int, int], scale: float, shift: float) -> list[list[float]] | None:
    """The same for an encoder alone: of what it makes of images [3,H,W] of coloured patches. None for numbers that
    are not finite, whose cause is named when the encoder is run."""
    colours = 2 * torch.rand(IMAGES, 3, PATCHES, PATCHES, generator=torch.Generator().manual_seed(0)) - 1
    images = F.interpolate(colours, size=size)
    latents = torch.cat([encoder(image[None]) for image in images])
    latents = (latents - shift) * scale
    return fit_preview(latents, images) if latents.isfinite().all() else None
