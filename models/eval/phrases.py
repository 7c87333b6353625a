"""Free phrases, none of which is a caption: does a model that takes text draw what they name?

`phrases.csv` was written before anything was trained on text: a phrase, the class that it means, and the colour word in
it or nothing. Its classes are known by the text encoder itself: `nearest` is right for 35 of the 38.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from train.colours import oklab

FILE = Path(__file__).with_suffix(".csv")
# Degrees of a colour word's hue in OKLCh, and how far a mean hue may be off.
HUES = {"red": 27, "brown": 60, "orange": 62, "yellow": 95, "green": 135, "cyan": 200, "blue": 258, "purple": 308}
TOLERANCE = 30
LIGHTNESS = {"black": (0, 0.4), "gray": (0.3, 0.8), "white": (0.7, 1)}  # of what has hardly any hue
GRAY = 0.04  # chroma below which that is
COLOURED = 0.015  # chroma above which a hue counts


@dataclass(frozen=True)
class Phrase:
    text: str
    name: str  # of the class
    colour: str  # "" where it names none


def read_phrases() -> list[Phrase]:
    with FILE.open(newline="", encoding="utf-8") as file:
        return [Phrase(row["phrase"], row["class"], row["colour"]) for row in csv.DictReader(file)]


def nearest(texts: list[str], classes: list[str], embedded: Callable[[list[str]], np.ndarray]) -> list[str]:
    """The class whose name's embedding is nearest to each text's."""
    names = embedded([name.replace("_", " ") for name in classes])
    return [classes[number] for number in (embedded(texts) @ names.T).argmax(1)]


def has_colour(image: np.ndarray, word: str) -> bool:
    """Whether an image uint8 [H,W,3] has a colour on the whole: the hue of its mean, or for black, gray and white its
    mean lightness without a hue."""
    light, a, b = oklab(image.reshape(-1, 3)).mean(0)
    chroma, hue = np.hypot(a, b), np.degrees(np.arctan2(b, a)) % 360
    if word in LIGHTNESS:
        least, most = LIGHTNESS[word]
        return bool(chroma < GRAY and least <= light <= most)
    return bool(chroma > COLOURED and abs((hue - HUES[word] + 180) % 360 - 180) <= TOLERANCE)


def score_colours(images: Tensor, phrases: list[Phrase]) -> dict[str, float]:
    """Of samples [P,each,3,H,W] in [-1, 1] of the phrases: how many that name a colour have it (`right`), and how many
    of those of the other phrases have it by chance (`by_chance`)."""
    pixels = ((images.float().cpu().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).movedim(2, -1).numpy()
    right, chance = [], []
    for phrase, own in zip(phrases, pixels, strict=True):
        if not phrase.colour:
            continue
        right += [has_colour(image, phrase.colour) for image in own]
        others = (part for other, part in zip(phrases, pixels) if other.colour != phrase.colour)
        chance += [has_colour(image, phrase.colour) for part in others for image in part]
    return {"right": float(np.mean(right)), "by_chance": float(np.mean(chance))}
