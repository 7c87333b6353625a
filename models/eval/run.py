"""How good a bundle's schedules are: python models/eval/run.py --bundle models/textures --data FOLDER --out WORK

The shipped library makes the images. WORK keeps what is finished, so the same command goes on where it ended; the
tables and plots in WORK are of the rows that are there. `--document docs/quality.md` puts both into the project.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from schedule import calls

from eval import plots, report, seams
from eval.alternatives import REUSE, check_same_predictor, write_reuse
from eval.features import NAME, NETWORKS, Extractor
from eval.floors import accuracy, floors, sanity
from eval.judge import CHUNK, Judge
from eval.memory import remember
from eval.real import Real
from eval.results import Measure, Results, timed
from eval.rows import GUIDANCE, REFERENCE, Row, plan, plan_others
from eval.runtime import LIBRARY, REPOSITORY, Model, use_library
from eval.store import Store
from eval.timing import Job, Times, measure

SHOWN = Row("H1P6R5")  # whose samples are searched for training images, and tiled


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    formatter = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__.split("\n\n")[0], formatter_class=formatter)
    add = parser.add_argument
    add("--bundle", type=Path, default=REPOSITORY / "models" / "textures", metavar="FOLDER")
    add("--data", type=Path, required=True, metavar="FOLDER", help="the images it was trained on, FOLDER/<class>/*.jpg")
    add("--out", type=Path, required=True, metavar="WORK", help="results; run again to go on")
    add("--library", type=Path, default=LIBRARY, metavar="FILE", help="the shared library")
    add("--network", choices=NETWORKS, default=NAME, help="what images are compared by")
    add("--alternatives", type=Path, metavar="FOLDER", help="bundles with other refiners, one a sub-folder")
    add("--each", type=int, default=182, metavar="N", help="images of each class, for the schedules")
    add("--each-other", type=int, default=48, metavar="N", help="the same for guidance scales, ablations and caching")
    add("--reference-count", type=int, default=44, metavar="N", help=f"images to compare with {REFERENCE}")
    add("--real-each", type=int, default=400, metavar="N", help="real images of each class to compare with")
    add("--variants", type=int, default=8, metavar="N", help="of each training image, for the classifier and nearness")
    add("--repeats", type=int, default=100, metavar="N", help="bootstrap resamples")
    add("--seam-each", type=int, default=200, metavar="N", help="images of each class whose seams are measured")
    add("--rounds", type=int, default=30, metavar="N", help="of timing")
    add("--threads", type=int, default=0, metavar="N", help="0: one for each processor")
    add("--seed", type=int, default=0)
    add("--minutes", type=float, default=float("inf"), metavar="M", help="begin no row after so long")
    add("--document", type=Path, metavar="FILE", help="Markdown to put the tables into; plots go to images/ beside it")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    chosen, start = parse(arguments), perf_counter()
    with ExitStack() as stack:
        judge = make_judge(chosen, stack)
        fewer = replace(judge, each=chosen.each_other)
        plans = ((judge, plan()), (fewer, plan_others([name for name in judge.models if name])))
        estimate(plans)
        for judging, rows in plans:
            for row in rows:
                if judging.has(row) or perf_counter() - start < 60 * chosen.minutes:
                    score = judging.score(row)
                    print(f"{row.label}: {score['content']:.2f} ± {score['content_margin']:.2f}", flush=True)
        scores = [{row: judging.score(row) for row in rows if judging.has(row)} for judging, rows in plans]
        times = time_rows(judge, [row for some in scores for row in some], chosen.rounds)
        results, others = (Results(some, times, judging.count) for some, (judging, _) in zip(scores, plans))
        worth = Measure(floors(judge), sanity(judge), accuracy(judge))
        memory, tiled = remember(judge, SHOWN), seams.measure(judge, SHOWN.method, chosen.seam_each)
        write(report.tables(results, others, worth, memory, tiled), chosen.out, chosen.document)
        images = chosen.document.parent / "images" if chosen.document else chosen.out
        plots.save_all(results, others, memory, tiled.shown, images)
    print(f"{(perf_counter() - start) / 60:.1f} minutes; {chosen.out / 'tables.md'}")


def make_judge(chosen: argparse.Namespace, stack: ExitStack) -> Judge:
    """With every model open until the stack is closed."""
    use_library(chosen.library)
    store = Store(chosen.out)
    folders = {"": chosen.bundle, **find_alternatives(chosen, store)}
    models = {name: stack.enter_context(Model.open(path, threads=chosen.threads)) for name, path in folders.items()}
    real = Real(chosen.data, models[""].info.width)
    if real.classes != models[""].labels:
        raise SystemExit(f"{chosen.data}: its folders are not the classes of {chosen.bundle}")
    return Judge(
        store=store,
        extractor=Extractor(chosen.out, chosen.threads, chosen.network),
        real=real,
        bundle=chosen.bundle,
        models=models,
        each=chosen.each,
        seed=chosen.seed,
        reference_count=chosen.reference_count,
        real_each=chosen.real_each,
        variants=chosen.variants,
        repeats=chosen.repeats,
        threads=chosen.threads,
    )


def find_alternatives(chosen: argparse.Namespace, store: Store) -> dict[str, Path]:
    """Name -> folder: the one that reuses the cached velocity, and those given."""
    folders = {REUSE: write_reuse(chosen.bundle, store.folder / "alternatives" / REUSE)}
    if chosen.alternatives:
        folders |= {p.parent.name: p.parent for p in sorted(chosen.alternatives.glob("*/bundle.json"))}
    for folder in folders.values():
        check_same_predictor(chosen.bundle, folder)
    return folders


def estimate(plans: Iterable[tuple[Judge, list[Row]]]) -> None:
    """Prints how long the rows will take that are not there yet, by one chunk of images."""
    missing = [(judge, row) for judge, rows in plans for row in rows if not judge.has(row)]
    if not missing:
        return
    judge = missing[0][0]
    some = slice(0, CHUNK)
    for _ in range(2):  # the first plans
        began = perf_counter()
        made = judge.models[""].generate("E8", GUIDANCE, judge.classes[some], judge.noise[some])
        judge.extractor(made.images)
        whole = (perf_counter() - began) / len(made.images)
    call = sum(seconds for _, seconds in made.steps) / 8 / len(made.images)
    predictor = sum(judge.missing_latents(row) * evaluations(row) for judge, row in missing)
    images = sum(judge.count for judge, _ in missing)
    seconds = (predictor + 400 * judge.reference_count) * call + images * (whole - 8 * call)
    print(f"{len(missing)} rows of {images} images: about {seconds / 60:.0f} minutes", flush=True)


def evaluations(row: Row) -> int:
    """Of the predictor, for an image; at most."""
    return calls(row.method)[0] if isinstance(row.method, str) else row.method.steps


def time_rows(judge: Judge, rows: list[Row], rounds: int) -> Times:
    jobs = {name: Job(judge.models[row.refiner], row.method, row.guidance) for name, row in timed(rows).items()}
    bundles = {row.refiner: judge.models[row.refiner].info.hash for row in rows}
    key = {"times": sorted(jobs), "bundles": bundles, "rounds": rounds, "threads": judge.threads}
    return Times.from_json(judge.store.result(key, lambda: measure(jobs, rounds).as_json()))


def write(made: dict[str, str], out: Path, document: Path | None) -> None:
    text = "\n\n".join(f"## {name}\n\n{text}" for name, text in made.items())
    (out / "tables.md").write_text(text + "\n", encoding="utf-8")
    if document:
        report.write(document, made)


if __name__ == "__main__":
    main()
