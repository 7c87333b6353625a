"""How good a bundle's schedules are: python models/eval/run.py --bundle models/textures --data FOLDER --out WORK

The shipped library makes the pictures. WORK keeps what is finished, so the same command goes on where it ended; the
tables and plots in WORK are of the rows that are there. `--document docs/quality.md` puts both into the project.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from eval import plots, report, seams
from eval.alternatives import REUSE, WHOLE, check_same_predictor, write_reuse, write_whole
from eval.features import Extractor
from eval.floors import accuracy, floors, sanity
from eval.judge import CHUNK, Judge
from eval.memory import Memory, remember
from eval.real import Real
from eval.results import Results, timed
from eval.rows import GUIDANCE, REFERENCE, Row, calls, plan
from eval.runtime import LIBRARY, REPOSITORY, Model, load_library
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
    add("--alternatives", type=Path, metavar="FOLDER", help="bundles with other refiners, one a sub-folder")
    add("--whole", type=Path, metavar="FOLDER", help="a bundle whose predictor, a small one, stands in for the refiner")
    add("--each", type=int, default=182, metavar="N", help="pictures of each class in a row")
    add("--reference-count", type=int, default=110, metavar="N", help=f"pictures to compare with {REFERENCE}")
    add("--real-each", type=int, default=400, metavar="N", help="real pictures of each class to compare with")
    add("--variants", type=int, default=8, metavar="N", help="of each training image, for the classifier and nearness")
    add("--repeats", type=int, default=100, metavar="N", help="bootstrap resamples")
    add("--seam-each", type=int, default=200, metavar="N", help="pictures of each class whose seams are measured")
    add("--rounds", type=int, default=30, metavar="N", help="of timing")
    add("--threads", type=int, default=0, metavar="N", help="0: one for each processor")
    add("--seed", type=int, default=0)
    add("--minutes", type=float, default=float("inf"), metavar="M", help="begin no row after so long")
    add("--quick", action="store_true", help="only the schedules, of 40 pictures a class")
    add("--document", type=Path, metavar="FILE", help="Markdown to put the tables into; plots go to images/ beside it")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.each = min(chosen.each, 40)
    return chosen


def main(arguments: list[str] | None = None) -> None:
    chosen, start = parse(arguments), perf_counter()
    with ExitStack() as stack:
        judge = make_judge(chosen, stack)
        rows = plan([name for name in judge.models if name], chosen.quick)
        estimate(judge, rows)
        for row in rows:
            if judge.has(row) or perf_counter() - start < 60 * chosen.minutes:
                score = judge.score(row)
                print(f"{row.label}: {score['content']:.2f} ± {score['content_margin']:.2f}", flush=True)
        scores = {row: judge.score(row) for row in rows if judge.has(row)}
        times = time_rows(judge, list(scores), chosen.rounds)
        results = Results(scores, times, floors(judge), sanity(judge), accuracy(judge), judge.count)
        write(
            results,
            remember(judge, SHOWN),
            seams.measure(judge, SHOWN.method, chosen.seam_each),
            chosen.out,
            chosen.document,
        )
    print(f"{(perf_counter() - start) / 60:.1f} minutes; {chosen.out / 'tables.md'}")


def make_judge(chosen: argparse.Namespace, stack: ExitStack) -> Judge:
    """With every model open until the stack is closed."""
    library, store = load_library(chosen.library), Store(chosen.out)
    folders = {"": chosen.bundle, **find_alternatives(chosen, store)}
    models = {name: stack.enter_context(Model(library, folder, chosen.threads)) for name, folder in folders.items()}
    real = Real(chosen.data, models[""].info.width)
    if real.classes != models[""].labels:
        raise SystemExit(f"{chosen.data}: its folders are not the classes of {chosen.bundle}")
    return Judge(
        store=store,
        extractor=Extractor(chosen.out, chosen.threads),
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
    if chosen.whole:
        folders[WHOLE] = write_whole(chosen.bundle, chosen.whole, store.folder / "alternatives" / WHOLE)
    if chosen.alternatives:
        folders |= {p.parent.name: p.parent for p in sorted(chosen.alternatives.glob("*/bundle.json"))}
    for folder in folders.values():
        check_same_predictor(chosen.bundle, folder)
    return folders


def estimate(judge: Judge, rows: list[Row]) -> None:
    """Prints how long the rows will take that are not there yet, by one chunk of pictures."""
    missing = [row for row in rows if not judge.has(row)]
    if not missing:
        return
    some = slice(0, CHUNK)
    for _ in range(2):  # the first plans
        began = perf_counter()
        made = judge.models[""].generate("E8", GUIDANCE, judge.classes[some], judge.noise[some])
        judge.extractor(made.images)
        whole = (perf_counter() - began) / CHUNK
    call = sum(seconds for _, seconds in made.steps) / 8 / CHUNK
    sampled = [row.method for row in missing if not judge.has_latents(row)]
    predictor = sum(calls(method)[0] if isinstance(method, str) else method.steps for method in sampled)
    seconds = judge.count * (predictor * call + len(missing) * (whole - 8 * call)) + judge.reference_count * 400 * call
    print(f"{len(missing)} rows of {judge.count} pictures to sample: about {seconds / 60:.0f} minutes", flush=True)


def time_rows(judge: Judge, rows: list[Row], rounds: int) -> Times:
    jobs = {name: Job(judge.models[row.refiner], row.method, row.guidance) for name, row in timed(rows).items()}
    key = {"times": sorted(jobs), "bundle": judge.models[""].hash, "rounds": rounds, "threads": judge.threads}
    return Times.from_json(judge.store.result(key, lambda: measure(jobs, rounds).as_json()))


def write(results: Results, memory: Memory, tiled: seams.Seams, out: Path, document: Path | None) -> None:
    made = report.tables(results, memory, tiled)
    text = "\n\n".join(f"## {name}\n\n{text}" for name, text in made.items())
    (out / "tables.md").write_text(text + "\n", encoding="utf-8")
    if document:
        report.write(document, made)
    images = document.parent / "images" if document else out
    plots.save_front(results, images / "quality-front.png")
    plots.save_guidance(results, images / "quality-guidance.png")
    plots.save_closest(memory, images / "quality-nearest.png")
    plots.save_tilings(tiled.shown, images / "quality-tilings.jpg")


if __name__ == "__main__":
    main()
