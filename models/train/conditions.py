"""What images are asked to be: a class each, and where networks take text, the embedding of a text each."""

from __future__ import annotations

from typing import NamedTuple

import torch
from nets.sit import SiTConfig
from torch import Tensor

# How often training keeps the class and the text, the class alone, the text alone. In the rest it keeps neither: each
# is to be guided to by itself, away from neither.
BOTH, CLASS, TEXT = 0.4, 0.25, 0.25


class Conditions(NamedTuple):
    """Of N images: classes [N], and contexts [N,D], or None where the networks take no text."""

    labels: Tensor
    context: Tensor | None = None

    def to(self, device: torch.device) -> Conditions:
        return Conditions(*(part if part is None else part.to(device) for part in self))

    def take(self, rows: object) -> Conditions:
        return Conditions(*(part if part is None else part[rows] for part in self))

    def arguments(self) -> tuple[Tensor, ...]:
        """The last ones of a network's forward."""
        return (self.labels,) if self.context is None else (self.labels, self.context)

    def null(self, config: SiTConfig) -> Conditions:
        """As many of no class and no prompt."""
        context = None if self.context is None else torch.zeros_like(self.context)
        return Conditions(torch.full_like(self.labels, config.num_classes), context)

    def with_null(self, config: SiTConfig) -> Conditions:
        """The two halves of guidance."""
        pairs = zip(self, self.null(config))
        return Conditions(*(mine if mine is None else torch.cat([mine, null]) for mine, null in pairs))

    def drop(self, config: SiTConfig, share: float, generator: torch.Generator) -> Conditions:
        """Leaves a `share` of the classes out; of classes and texts, each by itself and both, as often as said
        above."""
        draws = torch.rand(len(self.labels), generator=generator)
        null = self.null(config)
        if self.context is None:
            return Conditions(torch.where(draws < share, null.labels, self.labels))
        labels = torch.where(draws < BOTH + CLASS, self.labels, null.labels)
        kept = (draws < BOTH) | (draws >= BOTH + CLASS) & (draws < BOTH + CLASS + TEXT)
        return Conditions(labels, torch.where(kept[:, None], self.context, null.context))


def of_classes(labels: Tensor, config: SiTConfig) -> Conditions:
    """Classes alone, for a network that may take text too."""
    return Conditions(
        labels, labels.new_zeros(len(labels), config.context, dtype=torch.float32) if config.context else None
    )


def of_texts(contexts: Tensor, config: SiTConfig) -> Conditions:
    """Texts alone."""
    return Conditions(torch.full((len(contexts),), config.num_classes, device=contexts.device), contexts)
