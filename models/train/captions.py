"""What people might write for an image: its caption's words, some left out, in another order, in a phrase.

A caption has colours first, what else is known in the middle, and the class last: "gray mossy castle brick".
"""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from train.colours import WORDS, colour_words
from train.data import Images
from train.latents import Texts
from train.text import embed

VARIANTS = 12  # of each caption, itself the first
PHRASES = ("{}", "{}", "{} texture", "a {} texture", "seamless {}", "{} material", "a photo of {}", "{} surface")
CLASS_FIRST = ("{0}, {1}", "{0} that is {1}", "{0} in {1}")


def caption_of(pixels: np.ndarray, name: str) -> str:
    """Of an image uint8 [3,S,S] that has none: measured colours, and its class."""
    return f"{colour_words(Image.fromarray(pixels.transpose(1, 2, 0)))} {name.replace('_', ' ')}"


def texts_of(images: Images, cache: Path) -> Texts:
    """The variants of every image's caption, with their embeddings, which `cache` keeps."""
    captions = images.captions or [
        caption_of(pixels.numpy(), images.classes[label]) for pixels, label in zip(images.pixels, images.labels)
    ]
    written = [variants(caption, images.classes[label]) for caption, label in zip(captions, images.labels)]
    different = list(dict.fromkeys(text for some in written for text in some))
    numbers = {text: number for number, text in enumerate(different)}
    rows = torch.tensor([[numbers[text] for text in some] for some in written])
    return Texts(torch.from_numpy(embed(different, cache)), rows)


def variants(caption: str, name: str, count: int = VARIANTS) -> list[str]:
    """The caption of an image of class `name`, and others like it; the same ones every time."""
    draw = random.Random(hashlib.sha256(caption.encode()).digest())
    return [caption] + [vary(caption, name, draw) for _ in range(count - 1)]


def vary(caption: str, name: str, draw: random.Random) -> str:
    """Colours are kept in four of five, each word in the middle in two of three, the class in nine of ten; some word
    is always left."""
    what = name.replace("_", " ")
    words = caption.split()
    colours = [word for word in words if word in WORDS]
    middle = [word for word in words if word not in WORDS and word not in what.split()]
    draw.shuffle(colours)
    draw.shuffle(middle)
    colours = colours[: draw.choice((1, 2))] if draw.random() < 0.8 else []
    middle = [word for word in middle if draw.random() < 2 / 3]
    before = colours + middle if draw.random() < 0.7 else middle + colours
    if before and draw.random() < 0.1:
        return draw.choice(PHRASES).format(" ".join(before))
    if before and draw.random() < 0.15:
        return draw.choice(CLASS_FIRST).format(what, " and ".join(before))
    return draw.choice(PHRASES).format(" ".join([*before, what]))
