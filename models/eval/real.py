"""The real images: the reference that rows are compared with, and the floors below which no row can be expected.

They are drawn as training draws them, a class first, then one of its images, rolled and flipped at random; so a drawn
set of any size is a sample of one distribution, and distances to it mean the same for every row.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from train.data import BalancedSampler, Images, augment, load_images

HELD_OUT, SPLIT_SEED = 0.05, 0  # as training splits (models/train/options.py); a test holds them equal


class Real:
    """`all`, and its split into `training` and `held_out`; `halves` are two random parts, class by class."""

    def __init__(self, folder: Path, size: int):
        self.all = load_images(folder, size)
        self.training, self.held_out = self.all.split(HELD_OUT, SPLIT_SEED)
        self.halves = self.all.split(0.5, seed=1)
        self.identity = hashlib.sha256(
            self.all.pixels.numpy().tobytes() + self.all.labels.numpy().tobytes()
        ).hexdigest()

    @property
    def classes(self) -> list[str]:
        return self.all.classes


def draw(images: Images, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [count,H,W,3] and the numbers of the images they were made from [count]."""
    generator = torch.Generator().manual_seed(seed)
    picks = BalancedSampler(images.labels, generator).draw(count)
    return to_rows(augment(images.pixels[picks], generator)), picks.numpy()


def variants(images: Images, each: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Every image `each` times, rolled and flipped: images and the numbers of their images, image by image."""
    generator = torch.Generator().manual_seed(seed)
    picks = torch.arange(len(images.labels)).repeat_interleave(each)
    return to_rows(augment(images.pixels[picks], generator)), picks.numpy()


def to_rows(pixels: torch.Tensor) -> np.ndarray:
    """[N,3,H,W] -> [N,H,W,3]."""
    return np.ascontiguousarray(pixels.permute(0, 2, 3, 1).numpy())
