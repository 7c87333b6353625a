"""Normal and height maps: what games store -> maps that all mean the same, and numbers that say whether they fit.

A normal is a unit vector (x right, y up, z out of the image), stored as 255 * (v + 1) / 2. Half of the games, and
even sets of one game, store y down ("DirectX") instead of up ("OpenGL"). Slopes are of the height, by pixel, to the
right and to the bottom; images wrap around.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

NOWHERE = 0.02  # the least length of a stored normal that has a direction: gray, 127 or 128, has none
STEEPEST = 0.2  # the least z that a slope is taken from: JPEG and DXT leave normals that point backwards


def decode_normals(image: Image.Image, y: str, edge: int) -> np.ndarray:
    """Any image of normals whose y is stored `up` or `down` -> unit vectors float64 [edge,edge,3], y up."""
    stored = image.convert("RGB")
    if stored.size != (edge, edge):
        stored = stored.resize((edge, edge), Image.Resampling.LANCZOS)
    vectors = np.asarray(stored).astype(np.float64) / 127.5 - 1
    vectors[..., 1] *= {"up": 1, "down": -1}[y]
    vectors[..., 2] = vectors[..., 2].clip(min=0)
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.where(length < NOWHERE, [0.0, 0.0, 1.0], vectors / length.clip(min=NOWHERE))


def encode_normals(vectors: np.ndarray) -> Image.Image:
    """Unit vectors [H,W,3] -> RGB."""
    return Image.fromarray((255 * (vectors + 1) / 2).round().clip(0, 255).astype(np.uint8))


def levels(image: Image.Image, alpha: bool = False) -> np.ndarray:
    """Any image -> float64 [H,W] in 0..1: its lightness, or its alpha. Pillow by itself would cut 16 bits at 255."""
    if alpha:
        return np.asarray(image.convert("RGBA").getchannel("A")) / 255
    if image.mode.startswith("I"):
        return np.asarray(image).astype(np.float64).clip(0, 65535) / 65535
    return np.asarray(image.convert("L")) / 255


def slopes_of_normals(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors with y up -> slopes to the right and to the bottom."""
    z = vectors[..., 2].clip(min=STEEPEST)
    return smooth(-vectors[..., 0] / z), smooth(vectors[..., 1] / z)


def slopes_of_height(height: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    height = smooth(height)
    return difference(height, 1), difference(height, 0)


def upness(vectors: np.ndarray) -> float:
    """+1 where y is stored up, -1 where it is stored down, near 0 where the relief doesn't tell; for vectors as stored.

    A slope is the gradient of a height, so its two mixed derivatives are the same number. With y upside down they are
    each other's negative. Grooves in one direction only have none.
    """
    right, bottom = slopes_of_normals(vectors)
    a, b = difference(right, 0), difference(bottom, 1)
    # Not the correlation: where grooves leave one of the two nothing but noise, this is near 0.
    return float(2 * (a * b).sum() / max((a * a + b * b).sum(), 1e-12))


def agreement(vectors: np.ndarray, height: np.ndarray) -> float:
    """How well normals with y up fit a height, -1..1: the correlation of both slopes with the height's."""
    return correlation(np.stack(slopes_of_normals(vectors)), np.stack(slopes_of_height(height)))


def seam(pixels: np.ndarray) -> float:
    """The step over a border by the hardest step between two lines inside the image [H,W], the worse of both axes:
    1 or less where it wraps around without a seam."""
    ratios = []
    for axis in (0, 1):
        steps = np.abs(np.diff(pixels, axis=axis, append=np.take(pixels, [0], axis)))
        means = steps.mean(axis=1 - axis)
        ratios.append(means[-1] / max(means[:-1].max(), 1 / 255))
    return float(max(ratios))


def difference(values: np.ndarray, axis: int) -> np.ndarray:
    return (np.roll(values, -1, axis) - np.roll(values, 1, axis)) / 2


def smooth(values: np.ndarray) -> np.ndarray:
    """Takes single pixels out, which JPEG and DXT made."""
    for axis in (0, 1):
        values = (np.roll(values, 1, axis) + 2 * values + np.roll(values, -1, axis)) / 4
    return values


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / size) if size > 1e-12 else 0.0
