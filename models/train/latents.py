"""The training set seen through the encoder, once, so that the transformer stages never touch pixels.

The encoder is exactly equivariant to rolls by whole latent cells but not to flips or to shifts inside a
cell, so each image is encoded flipped four ways and at `shifts` random offsets inside the cell; rolls by
whole cells are drawn later, for free. Images of the classes `turned` are lying on their side in every other of these.
"""

from __future__ import annotations

import torch
from nets.autoencoder import FACTOR, Autoencoder
from torch import Tensor
from train.data import BalancedSampler, Images, to_unit


class Latents:
    """`values` float16 [K*V,C,h,w]: the V variants of image k are rows k*V .. k*V+V."""

    def __init__(self, values: Tensor, labels: Tensor, variants: int, generator: torch.Generator):
        self.values, self.labels, self.variants, self.generator = values, labels, variants, generator
        self.sampler = BalancedSampler(labels, generator)

    def batch(self, count: int) -> tuple[Tensor, Tensor]:
        """Class-balanced latents [count,C,h,w], each rolled by its own number of cells, and their labels."""
        picks = self.sampler.draw(count)
        rows = picks * self.variants + torch.randint(self.variants, (count,), generator=self.generator)
        chosen = self.values[rows].float()
        h, w = chosen.shape[2:]
        down = (torch.arange(h)[None] + torch.randint(h, (count, 1), generator=self.generator)) % h
        right = (torch.arange(w)[None] + torch.randint(w, (count, 1), generator=self.generator)) % w
        each = torch.arange(count)
        rolled = chosen[each[:, None, None], :, down[:, :, None], right[:, None, :]]
        return rolled.permute(0, 3, 1, 2).contiguous(), self.labels[picks]


@torch.no_grad()
def encode(
    images: Images, model: Autoencoder, shifts: int, turned: list[str], seed: int, device: torch.device
) -> Latents:
    generator = torch.Generator().manual_seed(seed)
    turns = torch.isin(images.labels, torch.tensor([images.classes.index(name) for name in turned], dtype=torch.int64))
    variants = []
    for axes in ((), (2,), (3,), (2, 3)):
        for i in range(shifts):
            offset = torch.randint(FACTOR, (2,), generator=generator).tolist()
            pixels = images.pixels.flip(axes).roll(offset, (2, 3))
            if i % 2:
                pixels[turns] = pixels[turns].mT
            variants.append(torch.cat([model.encode(to_unit(p).to(device)).cpu().half() for p in pixels.split(32)]))
    values = torch.stack(variants, dim=1).flatten(0, 1)
    return Latents(values, images.labels, len(variants), generator)
