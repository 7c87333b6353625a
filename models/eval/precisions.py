"""What small numbers cost: every preset of a bundle in every precision, from the same noise.

    python models/eval/precisions.py --bundle models/textures --data data/textures --out work/quality --sheet sheet.png

Prints a table in Markdown. Distances are to the real images, as in run.py; `off` is the root mean square of the
latents' differences from float32's, whose own deviation is about 1. Precisions that this processor does not have are
left out, by name. The sheet has the first images of the second preset, a row for each precision.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import get_args

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from PIL import Image

from eval.features import Extractor, Features
from eval.judge import Judge
from eval.real import Real
from eval.runtime import LIBRARY, Model, flowturbo, use_library
from eval.store import Store

SHOWN = 11


@dataclass
class Sample:
    images: np.ndarray  # the first ones
    features: Features
    latents: np.ndarray
    seconds: float  # of an image


def sample(judge: Judge, model: Model, schedule: str, guidance: float) -> Sample:
    features, latents, shown, seconds = [], [], [], []
    for some in judge.chunks(judge.count):
        began = perf_counter()
        made = model.generate(schedule, guidance, judge.classes[some], judge.noise[some])
        seconds.append((perf_counter() - began) / len(made.images))
        features.append(judge.extractor(made.images))
        latents.append(made.latents)
        shown.append(made.images[: max(0, SHOWN - sum(map(len, shown)))])
    return Sample(np.concatenate(shown), Features.join(features), np.concatenate(latents), median(seconds))


def report(judge: Judge, models: dict[str, Model], sheet: Path | None) -> None:
    print("| preset | precision | ms | FD | of float32's | texture FD | of float32's | off |\n|" + "---|" * 8)
    for number, (name, preset) in enumerate(models["f32"].manifest["sampling"]["presets"].items()):
        rows, exact = [], None
        for precision, model in models.items():
            made = sample(judge, model, preset["schedule"], preset["guidance"])
            score = judge.reference.compare(made.features.content, made.features.texture, judge.resamples)
            exact = exact or (made, score)
            off = float(np.square(made.latents - exact[0].latents).mean() ** 0.5)
            cells = [name, precision, f"{1e3 * made.seconds:.1f}"]
            for view in ("content", "texture"):
                cells += [f"{score[view]:.1f} ± {score[view + '_margin']:.1f}", f"{score[view] / exact[1][view]:.3f}"]
            print("| " + " | ".join([*cells, f"{off:.4f}"]) + " |", flush=True)
            rows.append(np.concatenate(list(made.images), axis=1))
        if sheet and number == 1:
            Image.fromarray(np.concatenate(rows)).save(sheet)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True, metavar="PATH", help="the model")
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="the images that it was trained on")
    parser.add_argument("--out", type=Path, default=Path("work"), metavar="FOLDER", help="keeps what is computed once")
    parser.add_argument("--each", type=int, default=48, metavar="N", help="images of each class")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="to compute with; 0 for all")
    parser.add_argument("--library", type=Path, default=LIBRARY, metavar="FILE", help="the shared library")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="where to write some images")
    chosen = parser.parse_args()
    use_library(chosen.library)
    models = {}
    with ExitStack() as stack:
        for precision in get_args(flowturbo.Precision):
            try:
                model = Model.open(chosen.bundle, threads=chosen.threads, precision=precision)
            except flowturbo.Error as error:
                print(f"{precision} is left out: {error}", file=sys.stderr)
                continue
            models[precision] = stack.enter_context(model)
        judge = Judge(
            store=Store(chosen.out),
            extractor=Extractor(chosen.out, chosen.threads),
            real=Real(chosen.data, models["f32"].info.width),
            bundle=chosen.bundle,
            models={"": models["f32"]},
            each=chosen.each,
            seed=0,
            reference_count=0,
            real_each=91,
            variants=1,
            repeats=200,
            threads=chosen.threads,
        )
        report(judge, models, chosen.sheet)


if __name__ == "__main__":
    main()
