"""Losses of the autoencoder beside those by pixel: does a texture look alike, and do its maps fit?

`style` and `bands` compare what is in an image, not where: an image whose grain is elsewhere is as good, one without
grain is not. A blurred answer, the safest one pixel by pixel, is not the safest here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from nets.autoencoder import CHANNELS
from torch import Tensor
from train.data import spread

COSINE = 10.0  # what 1 - cosine weighs beside an L1: normals are mostly a few degrees apart
FLATTEST = 1e-4  # the least z squared of a normal whose x and y leave nothing for it


def style(ours: list[Tensor], wanted: list[Tensor]) -> Tensor:
    """Distance of Gram matrices of unit features (Gatys, arXiv 1508.06576) [N,C,h,w], by the size of those wanted,
    averaged over depths."""
    return sum(style_at(a, b) for a, b in zip(ours, wanted, strict=True)) / len(ours)


def style_at(ours: Tensor, wanted: Tensor) -> Tensor:
    a, b = gram(ours), gram(wanted)
    return ((a - b).square().sum((1, 2)) / b.square().sum((1, 2))).mean()


def gram(features: Tensor) -> Tensor:
    flat = features.flatten(2)
    return flat @ flat.mT / flat.shape[2]


def bands(images: Tensor, levels: int = 3, window: int = 16) -> Tensor:
    """How much of each octave of detail there is around each place, of [N,C,H,W]: the mean size of a Laplacian
    pyramid's levels over windows, all of them in one tensor [N,...]."""
    found = []
    for _ in range(levels):
        small = F.avg_pool2d(images, 2)
        detail = images - F.interpolate(small, scale_factor=2.0, mode="nearest")
        found.append(F.avg_pool2d(detail.abs(), min(window, *detail.shape[2:])).flatten(1))
        images, window = small, window // 2
    return torch.cat(found, 1)


def vectors(normals: Tensor) -> Tensor:
    """x and y [N,2,H,W], however long -> unit vectors [N,3,H,W]. What is longer than 1 has a z of nearly 0."""
    z = (1 - normals.square().sum(1, keepdim=True)).clamp(min=FLATTEST).sqrt()
    return F.normalize(torch.cat([normals, z], 1), dim=1)


def map_losses(ours: Tensor, wanted: Tensor, present: Tensor, maps: tuple[str, ...]) -> dict[str, Tensor]:
    """A mean for each map but the colours, over the images that have it by `present` [N,len(maps)-1]; 0 where none has.

    Normals: an L1 of x and y, and ten times 1 - cosine: the L1 alone is least where what cannot be told is left flat.
    Others: an L1 of values and of steps to neighbours, which says where edges are.
    """
    result, at = {}, CHANNELS["color"]
    for i, name in enumerate(maps[1:]):
        a, b = (part[:, at : at + CHANNELS[name]] for part in (ours, wanted))
        each = (a - b).abs().mean((1, 2, 3))
        if name == "normal":
            each = each + COSINE * (1 - F.cosine_similarity(vectors(a), vectors(b), dim=1)).mean((1, 2))
        else:
            each = each + sum((a.diff(dim=axis) - b.diff(dim=axis)).abs().mean((1, 2, 3)) for axis in (2, 3))
        has = present[:, i].to(each)
        result[name] = (each * has).sum() / has.sum().clamp(min=1)
        at += CHANNELS[name]
    return result


def map_bands(ours: Tensor, wanted: Tensor, present: Tensor, maps: tuple[str, ...]) -> Tensor:
    """How far `bands` of maps are apart, averaged over what images have: 0 where none has any."""
    kept = spread(present, maps).flatten()
    if not kept.any():
        return ours.new_zeros(())
    ours, wanted = (part[:, CHANNELS["color"] :].flatten(0, 1)[kept, None] for part in (ours, wanted))
    return F.l1_loss(bands(ours), bands(wanted))
