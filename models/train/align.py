"""What the predictor's tokens are drawn towards while it learns: what EfficientNet-lite0 sees at their places.

Representation alignment (REPA, arXiv 2410.06940): the tokens after one of the first blocks, through a small head
that is thrown away afterwards, should point where the features of the clean image point. Telling textures apart is
learnt from few images with this, which flow matching alone would learn late.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from nets.sit import SiT
from torch import Tensor, nn
from train.perceptual import Perceptual

BLOCK = 10  # of EfficientNet-lite0, at 1/16 of the resolution
STEP = 16  # pixels between its places: a token has one, or several
WIDTH = 112
AROUND = 64  # pixels of the texture's repetitions that are seen around it
AFTER = 2  # the predictor's block whose tokens are aligned


@torch.no_grad()
def features(network: Perceptual, images: Tensor) -> Tensor:
    """float16 [N,WIDTH,S/STEP,S/STEP] of images [N,3,S,S] in [-1, 1]."""
    around = min(AROUND, images.shape[-1])
    edge = around // STEP
    seen = network(F.pad(images, (around,) * 4, mode="circular"))[-1]
    return seen[:, :, edge:-edge, edge:-edge].half()


class Alignment(nn.Module):
    """The head, and the loss it gives: 1 minus the cosine between its answer and the features, averaged over tokens."""

    def __init__(self, predictor: SiT):
        super().__init__()
        hidden = predictor.config.hidden_size
        self.head = nn.Sequential(nn.Linear(hidden, 2 * hidden), nn.SiLU(), nn.Linear(2 * hidden, WIDTH))
        block = predictor.blocks[min(AFTER, len(predictor.blocks)) - 1]
        block.register_forward_hook(self.remember)

    def remember(self, block: nn.Module, given: tuple, tokens: Tensor) -> None:
        self.tokens = tokens

    def forward(self, wanted: Tensor) -> Tensor:
        """Of the predictor's latest call, whose images had the features `wanted` [N,WIDTH,g,g]."""
        answer = self.head(self.tokens.float())
        return 1 - F.cosine_similarity(answer, wanted.flatten(2).mT.float(), dim=-1).mean()
