"""The training set seen through the encoder, once, so that the transformer stages never touch pixels.

The encoder is exactly equivariant to rolls by whole latent cells but not to flips or to shifts inside a
token, so each image is encoded flipped four ways and at `shifts` random offsets inside a token; rolls by
whole tokens are drawn later, for free. Images of the classes `turned` are lying on their side in every other of these.
"""

from __future__ import annotations

import torch
from nets.autoencoder import FACTOR, Autoencoder
from torch import Tensor
from train.align import features
from train.data import BalancedSampler, Images, to_unit
from train.perceptual import Perceptual
from train.stage import autocast

TOKEN = 2  # latent cells along the edge of the transformer's patch


class Latents:
    """`values` float16 [K*V,C,h,w]: the V variants of image k are rows k*V .. k*V+V. `features`: the same of
    `align`."""

    def __init__(self, values: Tensor, features: Tensor, labels: Tensor, variants: int, generator: torch.Generator):
        self.values, self.features, self.labels, self.variants = values, features, labels, variants
        self.generator, self.sampler = generator, BalancedSampler(labels, generator)

    def batch(self, count: int) -> tuple[Tensor, Tensor]:
        """Class-balanced latents [count,C,h,w], each rolled by its own number of tokens, and their labels."""
        latents, labels, _ = self.batch_with_features(count)
        return latents, labels

    def batch_with_features(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        picks = self.sampler.draw(count)
        rows = picks * self.variants + torch.randint(self.variants, (count,), generator=self.generator)
        grid = self.features.shape[-1]
        rolls = torch.randint(grid, (2, count), generator=self.generator)
        latents, seen = roll(self.values[rows].float(), TOKEN * rolls), roll(self.features[rows], rolls)
        return latents, self.labels[picks], seen


def roll(batch: Tensor, by: Tensor) -> Tensor:
    """[N,C,h,w], each rolled down by its own by[0] and right by its own by[1]."""
    h, w = batch.shape[2:]
    down, right = (torch.arange(h)[None] - by[0, :, None]) % h, (torch.arange(w)[None] - by[1, :, None]) % w
    each = torch.arange(len(batch))
    return batch[each[:, None, None], :, down[:, :, None], right[:, None, :]].permute(0, 3, 1, 2).contiguous()


@torch.no_grad()
def encode(
    images: Images,
    model: Autoencoder,
    network: Perceptual,
    shifts: int,
    turned: list[str],
    seed: int,
    device: torch.device,
    *,
    bf16: bool,
) -> Latents:
    generator = torch.Generator().manual_seed(seed)
    turns = torch.isin(images.labels, torch.tensor([images.classes.index(name) for name in turned], dtype=torch.int64))
    values, seen = [], []
    for axes in ((), (2,), (3,), (2, 3)):
        for i in range(shifts):
            offset = torch.randint(TOKEN * FACTOR, (2,), generator=generator).tolist()
            pixels = images.pixels.flip(axes).roll(offset, (2, 3))
            if i % 2:
                pixels[turns] = pixels[turns].mT
            parts = [to_unit(part).to(device, memory_format=torch.channels_last) for part in pixels.split(32)]
            values.append(torch.cat([model.encode(part).cpu().half() for part in parts]))
            with autocast(device, bf16):
                looks = [features(network, part).cpu() for part in parts]
            seen.append(torch.cat(looks))
    interleaved = (torch.stack(parts, dim=1).flatten(0, 1) for parts in (values, seen))
    return Latents(*interleaved, images.labels, len(values), generator)
