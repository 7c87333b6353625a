"""Words for the colours of an image, measured in OKLCh (Ottosson 2020, "A perceptual color space for image
processing"): lightness 0..1, chroma, and hue in degrees, where equal steps look equal.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

WORDS = (
    "black",
    "gray",
    "white",
    "pink",
    "red",
    "brown",
    "orange",
    "beige",
    "yellow",
    "green",
    "cyan",
    "blue",
    "purple",
)
EDGE = 64  # pixels that are looked at, a side: an average of neighbours, so that noise has no say
SECOND = 0.3  # of the pixels: what a colour needs to be named beside the commonest one

TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def colour_words(image: Image.Image) -> str:
    """The commonest colour, and the next one where it has a share of SECOND: "brown" or "gray green"."""
    small = image.convert("RGB").resize((EDGE, EDGE), Image.Resampling.BOX)
    counts = np.bincount(name_pixels(np.asarray(small)).ravel(), minlength=len(WORDS))
    first, second = np.argsort(-counts, kind="stable")[:2]
    return WORDS[first] if counts[second] < SECOND * EDGE * EDGE else f"{WORDS[first]} {WORDS[second]}"


def name_pixels(pixels: np.ndarray) -> np.ndarray:
    """uint8 [...,3] in sRGB -> index into WORDS [...]; the first rule that holds gives the word."""
    light, chroma, hue = oklch(pixels)
    rules = {
        "black": (light < 0.22) | (light < 0.3) & (chroma < 0.04),
        "white": (light > 0.88) & (chroma < 0.03),
        "gray": chroma < 0.025,
        "beige": (light >= 0.62) & (chroma < 0.1) & (hue >= 50) & (hue < 110),
        "pink": (hue >= 345) | (hue < 10) | (hue < 42) & (light > 0.72),
        "brown": (light < 0.62) & (hue >= 30) & (hue < 100) & (chroma < 0.15),
        "red": hue < 42,
        "orange": hue < 82,
        "yellow": (hue < 100) | (hue < 112) & (light >= 0.62),
        "green": hue < 168,
        "cyan": hue < 228,
        "blue": hue < 288,
        "purple": np.full(hue.shape, True),
    }
    return np.select(list(rules.values()), [WORDS.index(word) for word in rules])


def oklch(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """uint8 [...,3] in sRGB -> lightness, chroma, and hue in 0..360."""
    lightness, a, b = np.moveaxis(oklab(pixels), -1, 0)
    return lightness, np.hypot(a, b), np.degrees(np.arctan2(b, a)) % 360


def oklab(pixels: np.ndarray) -> np.ndarray:
    """uint8 [...,3] in sRGB -> lightness, and how red and how yellow it is [...,3]."""
    levels = pixels.astype(np.float64) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ TO_CONES.T) @ TO_OKLAB.T
