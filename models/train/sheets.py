"""Images a person can judge: contact sheets and loss curves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from nets.autoencoder import CHANNELS
from PIL import Image, ImageDraw
from torch import Tensor
from train.losses import vectors
from train.stage import read_log

MARGIN, HEAD = 96, 20  # pixels for the names of rows and columns


def save_sheet(
    path: Path,
    images: Tensor,
    columns: int,
    gap: int = 4,
    names: list[str] | None = None,
    heads: list[str] | None = None,
) -> None:
    """Writes [K,3,H,W] in [-1, 1] as a grid, row by row; `names` are left of the rows, `heads` evenly above all
    columns."""
    count, _, h, w = images.shape
    rows, margin, head = -(-count // columns), MARGIN if names else 0, HEAD if heads else 0
    sheet = np.full((head + rows * (h + gap) - gap, margin + columns * (w + gap) - gap, 3), 255, np.uint8)
    pixels = ((images.float().cpu().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    for i, image in enumerate(pixels):
        top, left = head + (i // columns) * (h + gap), margin + (i % columns) * (w + gap)
        sheet[top : top + h, left : left + w] = image
    image = Image.fromarray(sheet)
    draw = ImageDraw.Draw(image)
    for row, name in enumerate(names or []):
        draw.text((4, head + row * (h + gap) + h // 2), name, "black", anchor="lm")
    for i, text in enumerate(heads or []):
        draw.text((margin + i * columns // len(heads) * (w + gap), head // 2), text, "black", anchor="lm")
    image.save(path)


def views(images: Tensor, maps: tuple[str, ...], present: Tensor | None = None) -> list[Tensor]:
    """[N,C,H,W] with its maps -> a batch [N,3,H,W] for each map, to be looked at: normals in the usual lilac, others
    gray; middle gray where an image lacks one by `present` [N,len(maps)-1]."""
    shown, at = [images[:, : CHANNELS["color"]]], CHANNELS["color"]
    for i, name in enumerate(maps[1:]):
        values = images[:, at : at + CHANNELS[name]]
        values = vectors(values) if name == "normal" else values.expand(-1, 3, -1, -1)
        shown.append(values if present is None else values * present[:, i].to(values)[:, None, None, None])
        at += CHANNELS[name]
    return shown


def save_curves(path: Path, logs: list[Path]) -> None:
    """A panel for each log: every column against the step, on a logarithmic scale."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(logs), figsize=(6 * len(logs), 4), squeeze=False, layout="constrained")
    for panel, log in zip(panels[0], logs):
        columns = read_log(log)
        for name in [name for name in columns if name not in ("step", "seconds")]:
            values = np.array(columns[name])
            shown = np.isfinite(values) & (values > 0)
            panel.plot(np.array(columns["step"])[shown], values[shown], label=name, linewidth=1, marker=".")
        panel.set(title=log.stem, xlabel="step", yscale="log")
        panel.grid(alpha=0.3)
        panel.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
