"""Does the model repeat its training images? Distances of samples to their nearest one, beside those of real images.

In features: one minus the cosine to the nearest training image, over variants of each. In pixels: one minus the
correlation with the nearest, both shrunk to 32 x 32, over every roll and flip, which training took for the same
image. Held-out images say how near an image comes by its class alone; training images sent through the autoencoder
say how near an image comes that is a copy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

EDGE = 32
FLIPS = ((), (2,), (3,), (2, 3))
CHUNK = 64


def in_features(samples: np.ndarray, training: np.ndarray) -> np.ndarray:
    """[N] from [N,D] and [M,D]."""
    cosines = unit(samples) @ unit(training).T
    return 1 - cosines.max(axis=1)


def unit(features: np.ndarray) -> np.ndarray:
    return features / np.linalg.norm(features, axis=1, keepdims=True)


@dataclass(frozen=True)
class Match:
    """The training image that each of N samples is nearest to, and how it must be flipped and rolled to lie on it."""

    distance: np.ndarray  # [N]
    image: np.ndarray  # [N]
    flip: np.ndarray  # [N], an index of FLIPS
    roll: np.ndarray  # [N,2], rows and columns of EDGE


def in_pixels(samples: np.ndarray, training: np.ndarray) -> Match:
    """Of uint8 [N,H,W,3] and [M,H,W,3]."""
    small = shrink(training)
    spectra = torch.stack([torch.fft.rfft2(small.flip(axes)).conj() for axes in FLIPS], dim=1).flatten(0, 1)
    rows = []
    for sample in shrink(samples):
        spectrum, best = torch.fft.rfft2(sample), []
        for part in spectra.split(CHUNK):
            best.append(torch.fft.irfft2((part * spectrum).sum(1), s=(EDGE, EDGE)).flatten(1))
        correlations = torch.cat(best)  # of every flip of every training image, at every roll
        highest, where = correlations.max(dim=1)
        pick = int(highest.argmax())
        rows.append((1 - highest[pick].item(), pick // 4, pick % 4, *divmod(where[pick].item(), EDGE)))
    table = np.array(rows)
    image, flip, *roll = table[:, 1:].astype(int).T
    return Match(table[:, 0], image, flip, np.stack(roll, axis=1))


def shrink(images: np.ndarray) -> Tensor:
    """float [N,3,EDGE,EDGE] of mean 0 and norm 1, so that products are correlations."""
    x = F.adaptive_avg_pool2d(torch.from_numpy(images).permute(0, 3, 1, 2).float(), EDGE)
    x = x - x.mean(dim=(1, 2, 3), keepdim=True)
    return x / x.square().sum(dim=(1, 2, 3), keepdim=True).sqrt().clamp(min=1e-6)


def align(image: np.ndarray, flip: int, roll: np.ndarray) -> np.ndarray:
    """A training image uint8 [H,W,3], flipped and rolled as a `Match` says."""
    axes = tuple(axis - 2 for axis in FLIPS[flip])
    factor = image.shape[0] // EDGE
    return np.roll(np.flip(image, axes), tuple(factor * roll), (0, 1))
