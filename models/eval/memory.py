"""The nearest training image of samples, of held-out images, and of training images that went through the
autoencoder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from train.data import Images

from eval import neighbours
from eval.floors import drawn, through_autoencoder
from eval.judge import Judge
from eval.real import to_rows
from eval.rows import Row

COUNT = 440  # images of each kind
SHOWN = 11  # closest pairs on the sheet


@dataclass(frozen=True)
class Memory:
    """Kind of image -> distances [N] to its nearest training image; and the closest pairs, uint8 [SHOWN,H,W,3]
    each."""

    features: dict[str, np.ndarray]
    pixels: dict[str, np.ndarray]
    closest: np.ndarray
    matched: np.ndarray


def remember(judge: Judge, row: Row) -> Memory:
    key = {"bundle": judge.models[row.refiner].info.hash, "nearest": row.label, "of": COUNT} | judge.identity
    arrays = judge.store.arrays(key, lambda: search(judge, row))
    kinds = [name.removeprefix("features ") for name in arrays if name.startswith("features ")]
    return Memory(
        {kind: arrays[f"features {kind}"] for kind in kinds},
        {kind: arrays[f"pixels {kind}"] for kind in kinds},
        arrays["closest"],
        arrays["matched"],
    )


def search(judge: Judge, row: Row) -> dict[str, np.ndarray]:
    real, count = judge.real, min(COUNT, judge.count)
    training = to_rows(real.training.pixels)
    kinds = {
        "samples": samples(judge, row, count),
        "held-out images": some(judge, real.held_out, count),
        "training images through the autoencoder": through_autoencoder(judge, some(judge, real.training, count)),
    }
    arrays = {}
    for kind, images in kinds.items():
        match = neighbours.in_pixels(images, training)
        arrays[f"pixels {kind}"] = match.distance
        arrays[f"features {kind}"] = neighbours.in_features(judge.extractor(images).head, judge.training[0].head)
        if kind == "samples":
            first = np.argsort(match.distance)[:SHOWN]
            arrays["closest"] = images[first]
            pairs = zip(match.image[first], match.flip[first], match.roll[first])
            arrays["matched"] = np.stack([neighbours.align(training[i], flip, roll) for i, flip, roll in pairs])
    return arrays


def samples(judge: Judge, row: Row, count: int) -> np.ndarray:
    latents = judge.latents(row, count)["latents"]
    return np.concatenate([judge.models[row.refiner].decode(latents[some]) for some in judge.chunks(count)])


def some(judge: Judge, images: Images, count: int) -> np.ndarray:
    return drawn(judge, images)[:count]
