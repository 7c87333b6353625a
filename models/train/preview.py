"""The colours of small previews: what red, green and blue of a latent's cell are of its channels, nearly."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from nets.autoencoder import FACTOR
from torch import Tensor


@torch.no_grad()
def fit_preview(latents: Tensor, images: Tensor) -> list[list[float]]:
    """Least squares from latents [N,C,h,w] to the mean colours of their images' cells [N,3,8h,8w].

    Three rows: a factor for each channel, then a constant (`image.preview` in docs/bundle.md).
    """
    known = F.pad(latents.movedim(1, -1).flatten(0, -2), (0, 1), value=1)
    wanted = F.avg_pool2d(images, FACTOR).movedim(1, -1).flatten(0, -2)
    factors = torch.linalg.lstsq(known.double(), wanted.double()).solution.T
    return [[float(f"{factor:.5g}") for factor in row] for row in factors.tolist()]
