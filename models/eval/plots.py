"""Results -> images for docs/quality.md."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator, NullFormatter

from eval.front import pareto
from eval.memory import Memory
from eval.results import Results
from eval.rows import AT_SCALES, EULER, FLOWTURBO, HEUN, SCALES, Row

SETS = (
    ("Euler", EULER, "tab:blue", "o"),
    ("Heun", HEUN, "tab:green", "s"),
    ("FlowTurbo", FLOWTURBO, "tab:red", "D"),
)
BESIDE = (((3, 3), "left"), ((-3, -8), "right"))  # where labels are: above what is beaten, below what is not
SIDES = (("content", "Fréchet distance, content"), ("rms", "distance from the exact flow, rms of latents"))


def save_all(results: Results, others: Results, memory: Memory, tiled: np.ndarray, folder: Path) -> None:
    save_front(results, folder / "quality-front.png")
    save_guidance(others, folder / "quality-guidance.png")
    save_closest(memory, folder / "quality-nearest.png")
    save_tilings(tiled, folder / "quality-tilings.jpg")


def save_front(results: Results, path: Path) -> None:
    figure, panels = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
    for panel, (measure, title) in zip(panels, SIDES):
        for name, methods, colour, marker in SETS:
            rows = results.find(methods)
            points = results.points(rows, measure)
            style = {"color": colour, "marker": marker, "markersize": 4, "linestyle": "none", "label": name}
            panel.plot([1000 * p.seconds for p in points], [p.distance for p in points], **style)
            front = pareto(points)
            panel.plot([1000 * p.seconds for p in front], [p.distance for p in front], color=colour, linewidth=0.8)
            if name == "FlowTurbo":
                for row, point in zip(rows, points):
                    at, (offset, side) = (1000 * point.seconds, point.distance), BESIDE[point in front]
                    panel.annotate(row.method, at, offset, textcoords="offset points", fontsize=6, ha=side)
        panel.set(xscale="log", xlabel="milliseconds an image", ylabel=title)
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 4, 6)))
        panel.xaxis.set_major_formatter("{x:.0f}")
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.grid(alpha=0.3, which="both")
    panels[1].set_yscale("log")
    panels[0].legend(fontsize=8)
    save(figure, path)


def save_guidance(results: Results, path: Path) -> None:
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    for panel, measure in zip(panels, ("content", "agreement")):
        for method in AT_SCALES:
            rows = [row for row in (Row(method, scale) for scale in SCALES) if row in results.scores]
            values = [results.scores[row][measure] for row in rows]
            panel.plot([row.guidance for row in rows], values, marker="o", markersize=3, label=method)
        panel.set(xlabel="guidance", ylabel={"content": "Fréchet distance, content"}.get(measure, measure))
        panel.grid(alpha=0.3)
    panels[1].legend(fontsize=8)
    save(figure, path)


def save(figure: plt.Figure, path: Path) -> None:
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def save_closest(memory: Memory, path: Path) -> None:
    """A column for each pair: the sample above, the training image it is nearest to below."""
    rows = (np.concatenate(list(images), axis=1) for images in (memory.closest, memory.matched))
    Image.fromarray(np.concatenate(list(rows), axis=0)).save(path, optimize=True)


def save_tilings(images: np.ndarray, path: Path) -> None:
    """Each of uint8 [K,H,W,3], repeated 2 x 2; four of them a row."""
    gap, columns = 8, 4
    repeated = [np.pad(np.tile(p, (2, 2, 1)), ((0, gap), (0, gap), (0, 0)), constant_values=255) for p in images]
    repeated += [np.full_like(repeated[0], 255)] * (-len(repeated) % columns)
    rows = [np.concatenate(repeated[n : n + columns], axis=1) for n in range(0, len(repeated), columns)]
    Image.fromarray(np.concatenate(rows)[:-gap, :-gap]).save(path, quality=90)
