"""Do maps fit? Of images that no stage saw, the decoder's normals and heights against the true ones.

The encoder is given the colours alone, as it is once it is exported. Beside it stands what anybody has without a
network: the Sobel slopes of the lightness, at the strength that fits the training images best, and the lightness as
height. A height's own scale means nothing, so both are compared after the best line through them: what is told is the
share of the true height's deviation that is left over, 1 for a height that says nothing.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from nets.autoencoder import CHANNELS, Autoencoder, count_channels
from torch import Tensor
from train.data import Images
from train.losses import vectors

LIGHTNESS = (0.299, 0.587, 0.114)
STRENGTHS = tuple(2.0 ** (power / 2) for power in range(-6, 9))  # of slopes, for a lightness in [-1, 1]
MOST = 64  # training images that the strength is fitted to
SOBEL = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]]) / 8


def judge(model: Autoencoder, training: Images, held_out: Images, device: torch.device) -> dict[str, float]:
    """`normal`, mean degrees between normals, beside those of Sobel's and of flat ones; `height`, what is left of its
    deviation, beside that of the lightness; `roughness`, the mean absolute difference from its estimate."""
    strength = fit_strength(training) if "normal" in training.maps else None
    sums: dict[str, list[Tensor]] = {}
    for rows in torch.arange(len(held_out.labels)).split(16):
        images, present = held_out.take(rows).cpu(), held_out.has(rows)
        colours = images[:, : CHANNELS["color"]]
        answers = model.decode(model.encode(colours.to(device))).cpu()
        for i, name in enumerate(held_out.maps[1:]):
            has, own = present[:, i], channels_of(name, held_out.maps)
            ours, wanted, seen = answers[has][:, own], images[has][:, own], colours[has]
            if name == "normal":
                sobel = sobel_normals(seen, strength)
                others = {"_of_sobel": angles(sobel, wanted), "_of_flat": angles(torch.zeros_like(wanted), wanted)}
                found = {"": angles(ours, wanted)} | others
            elif name == "height":
                found = {"": left_over(ours, wanted), "_of_lightness": left_over(lightness(seen), wanted)}
            else:
                found = {"": (ours - wanted).abs().mean((1, 2, 3))}
            for kind, numbers in found.items():
                sums.setdefault(name + kind, []).append(numbers)
    return {name: torch.cat(parts).mean().item() for name, parts in sums.items()}


def channels_of(name: str, maps: list[str] | tuple[str, ...]) -> slice:
    start = count_channels(maps[: maps.index(name)])
    return slice(start, start + CHANNELS[name])


def angles(ours: Tensor, wanted: Tensor) -> Tensor:
    """Mean degrees between normals given by x and y [N,2,H,W], for each image."""
    cosine = (vectors(ours) * vectors(wanted)).sum(1).clamp(-1, 1)
    return torch.rad2deg(torch.acos(cosine)).mean((1, 2))


def left_over(ours: Tensor, wanted: Tensor) -> Tensor:
    """Of heights [N,1,H,W]: deviation from the best line, as a share of the true height's, for each image."""
    a, b = (part.flatten(1) - part.flatten(1).mean(1, keepdim=True) for part in (ours, wanted))
    slope = (a * b).sum(1, keepdim=True) / a.square().sum(1, keepdim=True).clamp(min=1e-12)
    return ((b - slope * a).square().sum(1) / b.square().sum(1).clamp(min=1e-12)).sqrt()


def lightness(colours: Tensor) -> Tensor:
    """[N,3,H,W] -> [N,1,H,W], in the same [-1, 1]."""
    return (colours * torch.tensor(LIGHTNESS).view(1, 3, 1, 1)).sum(1, keepdim=True)


def sobel_normals(colours: Tensor, strength: float) -> Tensor:
    """x and y [N,2,H,W] of normals, y up, as if what is lighter were higher."""
    around = F.pad(lightness(colours), (1, 1, 1, 1), mode="circular")
    # Both slopes of the lightness fall where the normal leans to: to the right, and up.
    right, up = (F.conv2d(around, kernel[None, None]) for kernel in (SOBEL, -SOBEL.T))
    slopes = strength * torch.cat([right, up], 1)
    return slopes / (1 + slopes.square().sum(1, keepdim=True)).sqrt()


def fit_strength(training: Images) -> float:
    """That of the least mean angle."""
    at = training.maps.index("normal") - 1
    rows = torch.nonzero(training.has(torch.arange(len(training.labels)))[:, at]).flatten()
    images = training.take(rows[:: max(1, len(rows) // MOST)]).cpu()
    wanted = images[:, channels_of("normal", training.maps)]
    off = [angles(sobel_normals(images[:, : CHANNELS["color"]], s), wanted).mean().item() for s in STRENGTHS]
    return STRENGTHS[off.index(min(off))]
