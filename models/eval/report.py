"""Results -> the tables of docs/quality.md, put between its markers `<!-- begin NAME -->` and `<!-- end NAME -->`."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from train.whole import write_text

from eval.memory import Memory
from eval.results import Measure, Results
from eval.rows import AT_SCALES, BASE, OTHERS, SCALES, SCHEDULES, Method, Row
from eval.seams import Seams

SCORES = ("FD", "KID ‰", "texture FD")
HEADINGS = ("F calls", "R calls", "ms", *SCORES, f"FD − {BASE}’s", "agreement", "off the exact flow")


def tables(results: Results, others: Results, measure: Measure, memory: Memory, seams: Seams) -> dict[str, str]:
    """Name of the marker -> Markdown. `others` are of fewer images, and tables of them hold no rows of `results`."""
    return {
        "run": run(results, others),
        "classifier": ", ".join(f"{name.replace('_', ' ')} {share:.3f}" for name, share in measure.accuracy.items()),
        "floors": floors(measure.floors),
        "sanity": sanity(measure.sanity),
        "schedules": schedules(results, SCHEDULES),
        "target": target(results),
        "guidance": guidance(others),
        "others": schedules(others, OTHERS),
        "refiners": refiners(others),
        "memory": memorised(memory),
        "seams": seam_ratios(seams),
    }


def insert(text: str, made: dict[str, str]) -> str:
    """Replaces what is between the markers; a marker without a table keeps what it has."""
    for name, table in made.items():
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        text = re.sub(f"{begin}.*?{end}", lambda _: f"{begin}\n{table}\n{end}", text, flags=re.DOTALL)  # noqa: B023
    return text


def write(path: Path, made: dict[str, str]) -> None:
    write_text(path, insert(path.read_text(encoding="utf-8"), made))


def table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    headings = list(headings)
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value: float, margin: float | None = None, scale: float = 1.0) -> str:
    """To three digits, or as many as the margin leaves."""
    value = scale * value
    if margin is None:
        return f"{value:.3g}"
    margin = scale * margin
    places = max(0, 1 - int(np.floor(np.log10(max(margin, 1e-9)))))
    return f"{value:.{places}f} ± {margin:.{places}f}"


def run(results: Results, others: Results) -> str:
    times = results.times
    costs = ", ".join(
        f"{name} {1000 * seconds:.2f} ms"
        for name, seconds in zip(("predictor", "refiner", "decoder"), vars(times.costs).values())
    )
    return textwrap.fill(
        f"{results.count} images a row ({others.count} for guidance, ablations and caching). "
        f"Times: {times.machine}, {times.threads} threads, one image at a time, medians "
        f"of {times.rounds} rounds in which all schedules took turns. One guided evaluation: {costs}.",
        width=120,
    )


def distances(score: dict) -> list[str]:
    return [
        number(score["content"], score["content_margin"]),
        number(score["kernel"], score["kernel_margin"], 1000),
        number(score["texture"], score["texture_margin"]),
    ]


def line(results: Results, row: Row) -> list[str]:
    score = results.scores[row]
    rms = number(score["rms"], score["rms_margin"]) if "rms" in score else ""
    evaluations = [f"{score[network]:.3g}" for network in ("predictor", "refiner")]
    agreement = number(score["agreement"], score["agreement_margin"])
    base = Row(BASE, row.guidance)
    apart = number(*results.difference(row, base, "content")) if base in results.scores and base != row else ""
    return [*evaluations, f"{1000 * results.seconds(row):.1f}", *distances(score), apart, agreement, rms]


def floors(scores: dict[str, dict]) -> str:
    rows = ([name, *distances(score)] for name, score in scores.items())
    return table(("real images", *SCORES), rows)


def sanity(scores: dict[str, dict]) -> str:
    """In multiples of what a fresh draw of unspoilt images scores."""
    base = scores["none 0"]
    rows = []
    for name, score in scores.items():
        ratios = (f"{score[view] / base[view]:.2f}" for view in ("content", "texture"))
        rows.append([name, *ratios, f"{1000 * score['kernel']:.2f}"])
    return table(("fault", "FD, times none's", "texture FD, times none's", "KID ‰"), rows)


def schedules(results: Results, named: dict[str, tuple[Method, ...]]) -> str:
    parts = []
    for name, methods in named.items():
        rows = [[str(row.method), *line(results, row)] for row in results.find(methods)]
        if rows:
            parts.append(table((name, *HEADINGS), rows))
    return "\n\n".join(parts)


def target(results: Results) -> str:
    """How much less time each FlowTurbo schedule takes than the best plain one of the same distance."""
    rows = []
    for row in results.flowturbo:
        low, high = results.saving_interval(row, "content")
        savings = [
            results.saving(row, "content"),
            results.saving(row, "content", decoding=False),
            *(results.saving(row, measure) for measure in ("texture", "rms")),
        ]
        shares = [("≥ " if s.at_least else "") + f"{100 * s.share:.0f} %" for s in savings]
        score = results.scores[row]
        distance = number(score["content"], score["content_margin"])
        rows.append([str(row.method), f"{1000 * results.seconds(row):.1f}", distance, shares[0],
                     f"{100 * low:.0f} to {100 * high:.0f} %", *shares[1:]])  # fmt: skip
    headings = ("schedule", "ms", "FD", "less time at equal FD", "95 %", "without decoding", "at equal texture FD",
                "equally far off the exact flow")  # fmt: skip
    return table(headings, rows)


def guidance(results: Results) -> str:
    rows = []
    for scale in SCALES:
        for method in AT_SCALES:
            row = Row(method, scale)
            if row in results.scores:
                rows.append([f"{scale:g}", method, *line(results, row)[2:-1]])
    return table(("guidance", "schedule", *HEADINGS[2:-1]), rows)


def refiners(results: Results) -> str:
    """The bundle's own, and the alternatives."""
    others = sorted((row for row in results.scores if row.refiner), key=lambda row: (str(row.method), row.refiner))
    own = [Row(method) for method in dict.fromkeys(row.method for row in others)]
    rows = [[f"{row.method}, {row.refiner or 'the bundle’s'}", *line(results, row)] for row in [*own, *others]]
    return table(("refiner", *HEADINGS), rows)


def memorised(memory: Memory) -> str:
    rows = []
    for kind in memory.features:
        cells = [
            f"{low:.3f} / {middle:.3f}"
            for low, middle in (np.percentile(d[kind], (5, 50)) for d in (memory.features, memory.pixels))
        ]
        rows.append([kind, *cells])
    return table(("", "in features: 5 % / half are nearer than", "in pixels"), rows)


def seam_ratios(seams: Seams) -> str:
    parts = []
    against = {"x": "across", "y": "down", "x edges": "across, of cells' edges", "y edges": "down, of cells' edges"}

    def cells(ratio: dict[str, float]) -> list[str]:
        return [number(ratio[key], ratio[f"{key} margin"]) for key in against]

    for name, cases in (("class", seams.classes), ("size", seams.sizes)):
        parts.append(table((name, *against.values()), [[case, *cells(ratio)] for case, ratio in cases.items()]))
    rows = [
        [name, *cells(way), *(number(way[key]) if key in way else "" for key in ("content", "texture"))]
        for name, way in seams.ways.items()
    ]
    parts.append(table(("way", *against.values(), "FD", "texture FD"), rows))
    return "\n\n".join(parts)
