"""Samples a row of the plan and scores it. All rows start from the same noise and classes, so they differ in method
alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from schedule import calls
from train.data import Images

from eval import classifier
from eval.caching import Field
from eval.distances import margin, resamples
from eval.features import Extractor, Features
from eval.real import Real, draw, variants
from eval.reference import Reference
from eval.rows import GUIDANCE, REFERENCE, Row
from eval.runtime import Model
from eval.store import Arrays, Store

CHUNK = 22  # images sampled at once


@dataclass
class Judge:
    """`models`: the bundle that is judged under the name "", and its alternatives by theirs. `each` images of a
    class."""

    store: Store
    extractor: Extractor
    real: Real
    bundle: Path
    models: dict[str, Model]
    each: int
    seed: int
    reference_count: int  # images whose latents are compared with the reference's
    real_each: int  # real images of each class, that rows are compared with
    variants: int  # rolled and flipped, of each training image
    repeats: int  # bootstrap resamples
    threads: int
    identity: dict = field(init=False)

    def __post_init__(self) -> None:
        self.identity = {
            "data": self.real.identity,
            "features": self.extractor.identity,
            "seed": self.seed,
            "count": self.count,
            "real": self.real_each,
            "variants": self.variants,
        }

    @property
    def count(self) -> int:
        return self.each * len(self.real.classes)

    @cached_property
    def classes(self) -> np.ndarray:
        return np.arange(self.count) % len(self.real.classes)

    @cached_property
    def noise(self) -> np.ndarray:
        """Of image i, whatever the count."""
        shape = (self.count, *self.models[""].latent_shape)
        return np.random.default_rng(self.seed).standard_normal(shape).astype(np.float32)

    @cached_property
    def reference(self) -> Reference:
        return self.reference_of("all", self.real.all)

    def reference_of(self, name: str, images: Images) -> Reference:
        """Of the usual size, drawn from some of the real images."""
        drawn, _ = draw(images, self.real_each * len(self.real.classes), seed=self.seed)
        return Reference(self.real_features({"drawn": name, "each": self.real_each}, drawn))

    def real_features(self, key: dict, images: np.ndarray) -> Features:
        key |= {name: self.identity[name] for name in ("data", "features", "seed")}
        return Features(**self.store.arrays(key, lambda: vars(self.extractor(images))))

    @cached_property
    def training(self) -> tuple[Features, np.ndarray]:
        """Variants of every training image, and the number of each one's image."""
        images, numbers = variants(self.real.training, self.variants, seed=self.seed)
        return self.real_features({"variants": self.variants}, images), numbers

    @cached_property
    def training_labels(self) -> np.ndarray:
        return self.real.training.labels.numpy()[self.training[1]]

    @cached_property
    def classifier(self) -> classifier.Classifier:
        return classifier.fit(self.training[0].head, self.training_labels, len(self.real.classes))

    @cached_property
    def resamples(self) -> np.ndarray:
        return resamples(self.count, self.repeats)

    def row_key(self, row: Row) -> dict:
        return {"bundle": self.models[row.refiner].info.hash, "row": f"{row.method} g{row.guidance:g}"} | self.identity

    def has(self, row: Row) -> bool:
        return self.store.holds_arrays(self.row_key(row))

    def latents(self, row: Row, count: int | None = None) -> Arrays:
        """`latents` of a row's images (or the first `count`), and how often the `predictor` was evaluated for each.

        Filed under the networks that had a part in them: another decoder only decodes them anew, and another refiner
        changes only the rows that have steps of its own. Filed chunk by chunk: more images are added to those there
        are.
        """
        parts = [
            self.store.arrays(self.latents_key(row, some), lambda some=some: self.latents_anew(row, some))
            for some in self.chunks(self.count if count is None else count)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def latents_key(self, row: Row, some: slice) -> dict:
        refines = isinstance(row.method, str) and calls(row.method)[1] > 0
        made_by = self.models[row.refiner].sampler_hash(refines)
        images = [some.start, some.stop]
        return {"sampler": made_by, "row": f"{row.method} g{row.guidance:g}", "images": images, "seed": self.seed}

    def missing_latents(self, row: Row) -> int:
        """How many images of a row are not sampled yet."""
        missing = (c for c in self.chunks(self.count) if not self.store.holds_arrays(self.latents_key(row, c)))
        return sum(some.stop - some.start for some in missing)

    def latents_anew(self, row: Row, some: slice) -> Arrays:
        if isinstance(row.method, str):
            request = (row.method, row.guidance, self.classes[some], self.noise[some])
            latents = self.models[row.refiner].generate(*request, images=False).latents
            return {"latents": latents, "predictor": np.full(len(latents), calls(row.method)[0])}
        velocity = Field(self.bundle, self.classes[some], row.guidance, self.threads)
        latents = row.method.sample(velocity, self.noise[some])
        return {"latents": latents, "predictor": velocity.calls}

    def chunks(self, count: int) -> list[slice]:
        return [slice(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]

    def sample(self, row: Row) -> Arrays:
        """Features `content` and `texture`, the class each image is `taken` for, evaluations of the `predictor`."""
        return self.store.arrays(self.row_key(row), lambda: self.sample_anew(row))

    def sample_anew(self, row: Row) -> Arrays:
        made, model = self.latents(row), self.models[row.refiner]
        features = Features.join(
            self.extractor(model.decode(made["latents"][some])) for some in self.chunks(self.count)
        )
        return {
            "content": features.content,
            "texture": features.texture,
            "taken": self.classifier(features.head),
            "predictor": made["predictor"],
        }

    def score(self, row: Row) -> dict:
        """All numbers of a row; `rms` only at the guidance of the reference."""
        key = self.row_key(row) | {"reference": REFERENCE, "latents": self.reference_count, "repeats": self.repeats}
        return self.store.result(key, lambda: self.score_anew(row))

    def score_anew(self, row: Row) -> dict:
        sample = self.sample(row)
        right = (sample["taken"] == self.classes).astype(float)
        result = self.reference.compare(sample["content"], sample["texture"], self.resamples)
        result |= {"agreement": right.mean(), "agreement_margin": margin(self.resamples @ right / self.count)}
        refiner = 0 if not isinstance(row.method, str) else calls(row.method)[1]
        result |= {"predictor": float(sample["predictor"].mean()), "refiner": refiner}
        if row.guidance == GUIDANCE:
            exact = self.latents(Row(REFERENCE), min(self.reference_count, self.count))["latents"]
            off = np.square(self.latents(row, len(exact))["latents"] - exact).mean(axis=(1, 2, 3)) ** 0.5
            result |= {"rms": float(off.mean()), "rms_margin": float(1.96 * off.std(ddof=1) / len(off) ** 0.5)}
        return result
