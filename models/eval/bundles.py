"""Two bundles side by side, of sizes and classes that may differ: how near are their images to the same real ones?

    python models/eval/bundles.py --bundle models/textures --bundle models/materials --data data/materials --out WORK

Each draws the classes that both have, equally often, by its own schedule. Images are compared at each of `--sizes`: all
are brought to it first, the real ones too, so neither is judged at its own size alone. Real images come at the largest
size; the rows of real ones and of those that went through an autoencoder say what no sampler can better. A bundle of
colours and another of materials take the same real colours in. Bundles that take text are asked the phrases of
`phrases.csv` too. WORK gets `bundles.md`.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
import torch.nn.functional as F
from train.data import Images
from train.sets import load_sets
from train.text import embed

from eval import classifier, neighbours, phrases
from eval.distances import Frechet, Gaussian
from eval.features import NETWORKS, Extractor, Features
from eval.real import draw
from eval.reference import VIEWS, encode
from eval.runtime import LIBRARY, Model, use_library
from eval.timing import Job, measure

CHUNK = 16
ROUNDS = 15  # of timing
PERCENT = (5, 50)  # of nearness to training images


@dataclass
class Judge:
    """Of images uint8 [N,H,W,3]: their distances to real ones, at each size and by each network."""

    extractors: dict[str, Extractor]
    sizes: list[int]

    def features(self, images: np.ndarray, size: int, network: str) -> Features:
        parts = [self.extractors[network](resized(images[i : i + CHUNK], size)) for i in range(0, len(images), CHUNK)]
        return Features.join(parts)

    def look_at(self, real: np.ndarray) -> None:
        self.real = {}
        for size in self.sizes:
            for network in self.extractors:
                seen = self.features(real, size, network)
                self.real[size, network] = {view: Frechet(Gaussian.fit(getattr(seen, view))) for view in VIEWS}

        names = [f"{view}, {network.split('-')[-1]}, {size}" for size, network in self.real for view in VIEWS]
        self.lines = [f"| | {' | '.join(names)} |", "|---" * (1 + len(names)) + "|"]

    def row(self, name: str, images: np.ndarray) -> Features:
        """Adds a line to the table. What it returns is seen by the first network at the largest size."""
        seen = {at: self.features(images, *at) for at in self.real}
        cells = [
            f"{self.real[at][view](Gaussian.fit(getattr(seen[at], view))):.3g}" for at in self.real for view in VIEWS
        ]
        self.lines.append(f"| {name} | {' | '.join(cells)} |")
        print(self.lines[-1], flush=True)
        return seen[max(self.sizes), next(iter(self.extractors))]


def resized(images: np.ndarray, size: int) -> np.ndarray:
    """uint8 [N,H,W,3] to size x size: the mean of an area, or bicubic where it grows."""
    if images.shape[1] == size:
        return images
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    grows = {"mode": "bicubic", "align_corners": False}
    x = F.interpolate(x, size=(size, size), **({"mode": "area"} if images.shape[1] > size else grows))
    return x.clamp(0, 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()


def sampled(model: Model, classes: np.ndarray) -> np.ndarray:
    """An image for each of `classes` [N], by the bundle's own schedule."""
    parts = (model.only.generate(classes=classes[i : i + 1], seed=i).images for i in range(len(classes)))
    return np.concatenate(list(parts))


def rebuilt(bundle: Path, model: Model, images: np.ndarray) -> np.ndarray:
    latents = encode(bundle, resized(images, model.info.width))
    return np.concatenate([model.decode(latents[i : i + CHUNK]) for i in range(0, len(latents), CHUNK)])


def named(images: Images, names: list[str]) -> Images:
    """The images of these classes, numbered by this list."""
    own = torch.tensor([names.index(name) if name in names else -1 for name in images.classes])[images.labels]
    kept = images.select(own >= 0)
    return Images(kept.pixels, own[own >= 0], names, tiles=kept.tiles)


def nearness(seen: Features, training: Features) -> str:
    return " / ".join(f"{x:.3f}" for x in np.percentile(neighbours.in_features(seen.head, training.head), PERCENT))


def ask_phrases(model: Model, judge: Judge, size: int, known: classifier.Classifier, cache: Path, each: int) -> str:
    """How often a picture's class is the one that MiniLM has its phrase nearest to, and how often it has the colour."""
    asked, right = phrases.read_phrases(), []
    meant = phrases.nearest([phrase.text for phrase in asked], model.labels, lambda texts: embed(texts, cache))
    pictures = []
    for phrase, name in zip(asked, meant):
        made = np.concatenate([model.only.generate(prompt=phrase.text, seed=seed).images for seed in range(each)])
        found = known(judge.features(made, size, next(iter(judge.extractors))).head)
        right += [model.labels[number] == name for number in found]
        pictures.append(torch.from_numpy(made).movedim(-1, 1).float() / 127.5 - 1)
    colour = phrases.score_colours(torch.stack(pictures), asked)
    told = {"phrases": len(asked), "each": each, "class": float(np.mean(right)), "colour": colour}
    return json.dumps(told)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--bundle", type=Path, action="append", required=True, metavar="FOLDER", help="give it twice")
    add("--data", type=Path, required=True, metavar="FOLDER", help="of materials, as materials.py makes")
    add("--out", type=Path, required=True, metavar="WORK")
    add("--sizes", type=int, nargs="*", default=[128, 256], metavar="S")
    add("--count", type=int, default=704, metavar="N", help="images of each bundle")
    add("--real", type=int, default=2200, metavar="N", help="real images to compare with")
    add("--each", type=int, default=10, metavar="N", help="images of each phrase")
    add("--library", type=Path, default=LIBRARY, metavar="FILE", help="the shared library")
    chosen = parser.parse_args()
    use_library(chosen.library)
    largest = max(chosen.sizes)
    everything = load_sets(chosen.data, largest)
    judge = Judge({name: Extractor(chosen.out, 0, name) for name in NETWORKS}, chosen.sizes)
    with ExitStack() as stack:
        models = {bundle: stack.enter_context(Model.open(bundle)) for bundle in chosen.bundle}
        names = [name for name in everything.classes if all(name in model.labels for model in models.values())]
        shared = named(everything, names)
        lines = report(chosen, judge, models, shared, everything)
    (chosen.out / "bundles.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def report(
    chosen: argparse.Namespace, judge: Judge, models: dict[Path, Model], shared: Images, everything: Images
) -> list[str]:
    network, size = next(iter(judge.extractors)), max(chosen.sizes)
    judge.look_at(draw(shared, chosen.real, seed=0)[0])
    again = draw(shared, chosen.count, seed=1)[0]
    judge.row("the same real images, drawn again", again)
    for bundle, model in models.items():
        judge.row(f"{bundle.name}: through the autoencoder", rebuilt(bundle, model, again))
    split = everything.split(0.0, 0)
    training, held_out = (judge.features(part.pixels[:, :3].movedim(1, -1).numpy(), size, network) for part in split)
    known = classifier.fit(training.head, split[0].labels.numpy(), len(everything.classes))
    right = known(held_out.head) == split[1].labels.numpy()
    told = [
        "",
        (
            f"held-out images: class right {classifier.balanced(right, split[1].labels.numpy()):.3f}, "
            f"nearest training image {nearness(held_out, training)}"
        ),
    ]
    order = np.arange(chosen.count) % len(shared.classes)
    for bundle, model in models.items():
        numbers = np.array([model.labels.index(name) for name in shared.classes])[order]
        seen = judge.row(f"{bundle.name}: samples", sampled(model, numbers))
        wanted = np.array([everything.classes.index(name) for name in shared.classes])[order]
        right = known(seen.head) == wanted
        told.append(
            f"{bundle.name}: class right {classifier.balanced(right, wanted):.3f}, "
            f"nearest training image {nearness(seen, training)}"
        )
        if "text" in model.manifest["networks"]:
            asked = ask_phrases(model, judge, size, known, chosen.out / "texts.npz", chosen.each)
            told.append(f"{bundle.name}: {asked}")
    jobs = {
        bundle.name: Job(model, model.manifest["sampling"]["schedule"], model.manifest["sampling"]["guidance"])
        for bundle, model in models.items()
    }
    told += [f"{name}: {1000 * took:.1f} ms an image" for name, took in measure(jobs, ROUNDS).seconds.items()]
    print("\n".join(told), flush=True)
    return judge.lines + told


if __name__ == "__main__":
    main()
