"""What real images score: no row can be expected to come nearer than these, at the same number of images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from train.data import Images

from eval.classifier import balanced, cross_validate
from eval.judge import Judge
from eval.real import draw, variants
from eval.reference import Reference, encode
from eval.sanity import FAULTS, spoil

DRAWN_AGAIN = "the same images, drawn again"
HALVES = "one half of the images, against the other half"
HELD_OUT = "held-out images, against the training images"
AUTOENCODER = "the same images, drawn again, through the autoencoder"


def floors(judge: Judge) -> dict[str, dict]:
    real = judge.real
    makers: dict[str, Callable[[], dict]] = {
        DRAWN_AGAIN: lambda: score(judge, drawn_again(judge), judge.reference),
        AUTOENCODER: lambda: score(judge, through_autoencoder(judge, drawn_again(judge)), judge.reference),
        HALVES: lambda: score(judge, drawn(judge, real.halves[0]), judge.reference_of("half", real.halves[1])),
        HELD_OUT: lambda: score(judge, drawn(judge, real.held_out), judge.reference_of("training", real.training)),
    }
    bundle = {"bundle": judge.models[""].info.hash}
    return {name: judge.store.result({"floor": name} | bundle | judge.identity, make) for name, make in makers.items()}


def score(judge: Judge, images: np.ndarray, reference: Reference) -> dict:
    features = judge.extractor(images)
    return reference.compare(features.content, features.texture, judge.resamples)


def drawn(judge: Judge, images: Images) -> np.ndarray:
    return draw(images, judge.count, seed=judge.seed + 1)[0]


def drawn_again(judge: Judge) -> np.ndarray:
    return drawn(judge, judge.real.all)


def through_autoencoder(judge: Judge, images: np.ndarray) -> np.ndarray:
    latents = encode(judge.bundle, images)
    return np.concatenate([judge.models[""].decode(latents[some]) for some in judge.chunks(len(latents))])


def sanity(judge: Judge) -> dict[str, dict]:
    """Fault and level -> distances, and the same for no fault."""

    def make(name: str, level: float) -> dict:
        images = drawn_again(judge)
        features = judge.extractor(spoil(images, FAULTS[name][0], level) if name in FAULTS else images)
        once = np.ones((2, judge.count))  # no resamples: only the distances are wanted
        scores = judge.reference.compare(features.content, features.texture, once)
        return {measure: scores[measure] for measure in ("content", "texture", "kernel")}

    cases = [(name, level) for name, (_, levels) in FAULTS.items() for level in levels]
    return {
        f"{name} {level:g}": judge.store.result(
            {"fault": name, "level": level} | judge.identity, lambda name=name, level=level: make(name, level)
        )
        for name, level in [("none", 0), *cases]
    }


def accuracy(judge: Judge) -> dict[str, float]:
    """Of the classifier, on real images that it has not seen; each class counts the same."""

    def make() -> dict:
        features, numbers = judge.training
        labels = judge.training_labels
        right = cross_validate(features.head, labels, numbers, len(judge.real.classes))
        images, out_numbers = variants(judge.real.held_out, judge.variants, seed=judge.seed)
        out_labels = judge.real.held_out.labels.numpy()[out_numbers]
        out_right = judge.classifier(judge.extractor(images).head) == out_labels
        return {"cross_validated": balanced(right, labels), "held_out": balanced(out_right, out_labels)}

    return judge.store.result({"accuracy": 1} | judge.identity, make)
