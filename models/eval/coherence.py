"""Are larger images of one piece? How far the quarters of an image are apart, against the quarters of real textures.

    python models/eval/coherence.py --bundle models/textures --real data/materials/colour --edge 1024

Each class of the bundle is sampled by its own schedule, seamless; the real ones are the images of FOLDER/<class> with
that edge. The distance is the mean over the pairs of an image's quarters, between their content features
(features.py); that of colour is between their mean colours, of 255. What is far apart is no single material.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


from eval.features import Extractor
from eval.runtime import LIBRARY, Model, use_library


@dataclass
class Apart:
    """Of each image: how far its quarters are apart."""

    content: np.ndarray
    colour: np.ndarray

    def row(self, name: str) -> str:
        parts = (f"{x.mean():.2f} ± {1.96 * x.std() / max(len(x), 1) ** 0.5:.2f}" for x in (self.content, self.colour))
        return f"| {name} | {len(self.content)} | {' | '.join(parts)} |"


def quarters(image: np.ndarray) -> np.ndarray:
    """uint8 [H,W,3] -> [4,H/2,W/2,3]."""
    height, width = image.shape[0] // 2, image.shape[1] // 2
    return np.stack([image[y : y + height, x : x + width] for y in (0, height) for x in (0, width)])


def apart(extractor: Extractor, images: Iterable[np.ndarray]) -> Apart:
    """Of images uint8 [H,W,3]."""
    content, colour = [], []
    for parts in map(quarters, images):
        for values, into in ((extractor(parts).content, content), (parts.mean((1, 2)), colour)):
            into.append(np.mean([np.linalg.norm(a - b) for a, b in combinations(values, 2)]))
    return Apart(np.array(content), np.array(colour))


def sampled(model: Model, classes: int, edge: int, each: int) -> Iterable[np.ndarray]:
    with model.session() as session:
        for seed in range(each):
            for number in range(classes):
                yield session.generate(classes=number, seed=seed, size=(edge, edge), seamless="both").images[0]


def real(folder: Path, names: list[str], edge: int, most: int) -> Iterable[np.ndarray]:
    """At most so many of each class."""
    for name in names:
        found = 0
        for path in sorted((folder / name).glob("*.jpg")):
            with Image.open(path) as image:
                if image.size != (edge, edge) or found == most:
                    continue
                found += 1
                yield np.asarray(image.convert("RGB"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True, metavar="PATH", help="the model")
    parser.add_argument(
        "--real", type=Path, required=True, metavar="FOLDER", help="real textures, FOLDER/<class>/*.jpg"
    )
    parser.add_argument("--edge", type=int, default=1024, metavar="PIXELS", help="edge of the images")
    parser.add_argument("--each", type=int, default=1, metavar="N", help="images of each class")
    parser.add_argument("--most", type=int, default=8, metavar="N", help="real images of each class, at most")
    parser.add_argument("--library", type=Path, default=LIBRARY, metavar="FILE", help="the shared library")
    parser.add_argument(
        "--out", type=Path, default=Path("work"), metavar="FOLDER", help="for the network that compares"
    )
    chosen = parser.parse_args()
    extractor = Extractor(chosen.out)
    use_library(chosen.library)
    with Model.open(chosen.bundle) as model:
        names = model.labels
        print("| | images | content | colour |\n|---|---|---|---|")
        print(apart(extractor, real(chosen.real, names, chosen.edge, chosen.most)).row("real textures"), flush=True)
        print(apart(extractor, sampled(model, len(names), chosen.edge, chosen.each)).row("the model's"))


if __name__ == "__main__":
    main()
