"""The training set seen through the encoder, once, so that the transformer stages never touch pixels.

The encoder is exactly equivariant to rolls by whole latent cells but not to flips or to shifts inside a
cell, so each image is encoded flipped four ways and at `shifts` random offsets inside a `STEP`; rolls by
whole steps are drawn later, for free. Images of the classes `turned` are lying on their side in every other of these.
What doesn't tile is not rolled at all. Images with maps are encoded with all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from nets.autoencoder import CHANNELS, Autoencoder
from torch import Tensor
from train.align import STEP, features
from train.conditions import Conditions
from train.data import BalancedSampler, Images, mirror, with_planes
from train.perceptual import Perceptual
from train.stage import autocast


@dataclass(frozen=True)
class Texts:
    """What might be written for images: `contexts` float32 [T,D] of different texts, `rows` int64 [K,V], those of each
    image, its caption first."""

    contexts: Tensor
    rows: Tensor

    @property
    def captions(self) -> Tensor:
        """The context of each image's caption [K,D]."""
        return self.contexts[self.rows[:, 0]]


class Latents:
    """`values` float16 [K*V,C,h,w]: the V variants of image k are rows k*V .. k*V+V. `features`: the same of
    `align`. `texts` of the images, where networks take some; `tiles` bool [K], those that may be rolled, or None: all.
    There are `tokens` along an edge; without it one for each of the features, which stand a `STEP` apart.
    """

    def __init__(
        self,
        values: Tensor,
        features: Tensor,
        labels: Tensor,
        variants: int,
        generator: torch.Generator,
        texts: Texts | None = None,
        tiles: Tensor | None = None,
        tokens: int | None = None,
    ):
        self.values, self.features, self.labels, self.variants = values, features, labels, variants
        self.generator, self.sampler = generator, BalancedSampler(labels, generator)
        self.texts, self.tiles = texts, tiles
        self.pooled = features.shape[-1] // (tokens or features.shape[-1])

    def batch(self, count: int) -> tuple[Tensor, Conditions]:
        """Class-balanced latents [count,C,h,w], each rolled by its own number of steps, and what they were asked by:
        their classes, and a text of each."""
        latents, asked, _ = self.batch_with_features(count)
        return latents, asked

    def batch_with_features(self, count: int) -> tuple[Tensor, Conditions, Tensor]:
        picks = self.sampler.draw(count)
        rows = picks * self.variants + torch.randint(self.variants, (count,), generator=self.generator)
        grid = self.features.shape[-1]
        rolls = torch.randint(grid, (2, count), generator=self.generator)
        if self.tiles is not None:
            rolls = rolls * self.tiles[picks]
        rows, rolls = rows.to(self.values.device), rolls.to(self.values.device)
        cells = self.values.shape[-1] // grid
        latents, seen = roll(self.values[rows].float(), cells * rolls), roll(self.features[rows], rolls)
        seen = F.avg_pool2d(seen.float(), self.pooled)
        return latents, Conditions(self.labels[picks], self.context(picks)), seen

    def context(self, picks: Tensor) -> Tensor | None:
        """One of each image's texts, at random."""
        if self.texts is None:
            return None
        which = torch.randint(self.texts.rows.shape[1], (len(picks),), generator=self.generator)
        return self.texts.contexts[self.texts.rows[picks, which]]


def roll(batch: Tensor, by: Tensor) -> Tensor:
    """[N,C,h,w], each rolled down by its own by[0] and right by its own by[1]."""
    h, w = batch.shape[2:]
    rows, columns, each = (torch.arange(count, device=batch.device) for count in (h, w, len(batch)))
    down, right = (rows[None] - by[0, :, None]) % h, (columns[None] - by[1, :, None]) % w
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
) -> tuple[Tensor, Tensor]:
    """`values` and `features` of `Latents`, 4 * shifts of each image, on the device, where they stay."""
    generator = torch.Generator().manual_seed(seed)
    turns = torch.isin(images.labels, torch.tensor([images.classes.index(name) for name in turned], dtype=torch.int64))
    values, seen = [], []
    images = images.to(device)
    for i in range(shifts):
        offset = torch.randint(STEP, (2,), generator=generator).tolist()
        batches = []
        for rows in torch.arange(len(images.labels)).split(32):
            part, wraps = images.take(rows), images.wraps(rows).to(device)
            part[wraps] = part[wraps].roll(offset, (2, 3))
            lying = turns[rows].to(device) & bool(i % 2)
            with autocast(device, bf16):
                looks = features(network, part[:, : CHANNELS["color"]].contiguous(memory_format=torch.channels_last))
            batches.append(list(flipped(model, part, images.has(rows), looks, lying)))
        for flip in zip(*batches, strict=True):
            encoded, looks = (torch.cat(parts) for parts in zip(*flip))
            values.append(encoded)
            seen.append(looks)
    return torch.stack(values, dim=1).flatten(0, 1), torch.stack(seen, dim=1).flatten(0, 1)


def flipped(
    model: Autoencoder, part: Tensor, present: Tensor, looks: Tensor, lying: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Latents and features of images [N,C,S,S] in four ways, some of them `lying` [N] on their side. What is seen of a
    flipped texture is taken for what is seen, flipped."""
    maps = model.config.maps
    for down, across in ((False, False), (True, False), (False, True), (True, True)):
        turned, given = (mirror(both, kinds, down, across) for both, kinds in ((part, maps), (looks, ("color",))))
        if lying.any():
            turned, given = turned.clone(), given.clone()
            turned[lying] = mirror(turned[lying], maps, False, False, turned=True)
            given[lying] = given[lying].mT
        turned = turned.contiguous(memory_format=torch.channels_last)
        yield model.encode(with_planes(turned, present, maps)).half(), given
