"""A folder of images, one sub-folder a class, as training batches in [-1, 1].

Augmentation keeps a seamless texture seamless: it only rolls (wrapping around) and flips. Batches are
class-balanced: the class is drawn first, then one of its images.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


@dataclass
class Images:
    """`pixels` uint8 [K,3,S,S], `labels` int64 [K], `classes` in label order."""

    pixels: Tensor
    labels: Tensor
    classes: list[str]

    def split(self, held_out: float, seed: int) -> tuple[Images, Images]:
        """Takes the same fraction of every class out; deterministic for a seed."""
        generator = torch.Generator().manual_seed(seed)
        out = torch.zeros(len(self.labels), dtype=torch.bool)
        for label in range(len(self.classes)):
            members = torch.nonzero(self.labels == label).flatten()
            count = max(1, round(held_out * len(members))) if held_out > 0 else 0
            out[members[torch.randperm(len(members), generator=generator)[:count]]] = True
        return self.select(~out), self.select(out)

    def select(self, mask: Tensor) -> Images:
        return Images(self.pixels[mask], self.labels[mask], self.classes)


def load_images(folder: Path, size: int) -> Images:
    """Reads every image under `folder`/<class>/ and resizes it (area average) to `size` x `size`."""
    classes = sorted(p.name for p in folder.iterdir() if p.is_dir())
    pixels, labels = [], []
    for label, name in enumerate(classes):
        for path in sorted((folder / name).iterdir()):
            if path.suffix.lower() in SUFFIXES:
                image = Image.open(path).convert("RGB").resize((size, size), Image.Resampling.BOX)
                pixels.append(np.asarray(image).transpose(2, 0, 1))
                labels.append(label)
    if not pixels:
        raise SystemExit(f"no images under {folder}/<class>/ (looked for {', '.join(sorted(SUFFIXES))})")
    return Images(torch.from_numpy(np.stack(pixels)), torch.tensor(labels), classes)


class BalancedSampler:
    """Draws indices: a class uniformly, then one of its members uniformly."""

    def __init__(self, labels: Tensor, generator: torch.Generator):
        self.members = [torch.nonzero(labels == k).flatten() for k in labels.unique().tolist()]
        self.generator = generator

    def draw(self, count: int) -> Tensor:
        kinds = torch.randint(len(self.members), (count,), generator=self.generator).tolist()
        picks = torch.rand(count, generator=self.generator).tolist()
        return torch.stack([self.members[k][int(u * len(self.members[k]))] for k, u in zip(kinds, picks)])


def augment(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Flips and rolls each image of [N,C,H,W] on its own, by any number of cells."""
    n, _, h, w = batch.shape
    out = torch.empty_like(batch)
    flips = torch.randint(4, (n,), generator=generator).tolist()
    rows = torch.randint(h, (n,), generator=generator).tolist()
    columns = torch.randint(w, (n,), generator=generator).tolist()
    for i in range(n):
        image = batch[i]
        axes = [axis for axis, bit in ((1, 1), (2, 2)) if flips[i] & bit]
        if axes:
            image = image.flip(axes)
        out[i] = image.roll((rows[i], columns[i]), (1, 2))
    return out


def to_unit(pixels: Tensor) -> Tensor:
    """uint8 [0, 255] -> float32 [-1, 1]."""
    return pixels.float() / 127.5 - 1
