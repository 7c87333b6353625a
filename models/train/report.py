"""`report.html`: one page, without other files, that shows how a run went."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path
from string import Template

from PIL import Image
from train.whole import write_text

TEMPLATE = Path(__file__).with_suffix(".html")


def write_report(folder: Path, name: str, counts: dict[str, int], numbers: dict) -> Path:
    """`counts` says how many images each class has, `numbers` is what `evaluation.json` holds."""
    reference, seam = numbers["reference"], numbers["seam"]
    presets = ", ".join(f"{n} {p['schedule']} at guidance {p['guidance']:g}" for n, p in numbers["presets"].items())
    sections = {
        "name": html.escape(name),
        "samples": figure(folder / "presets.png", f"The presets, from the same noise: {presets}.")
        + figure(
            folder / "samples.png",
            f"The bundle's own schedule. The step across an image's border is {seam['samples']:.2f} times the steps "
            f"inside; in the training images it is {seam['training']:.2f} times.",
        )
        + figure(
            folder / "maps.png", "Samples with their maps, in the order of the manifest: normals, and the rest gray."
        )
        + figure(folder / "phrases.png", "What free phrases get, without a class."),
        "networks": table(
            ["network", "weights", "on images that no stage saw", "on training images"], network_rows(numbers)
        ),
        "reconstructions": figure(
            folder / "autoencoder.png", "Images that no stage saw, and below each what the autoencoder makes of it."
        )
        + figure(folder / "decoder.png", "The same after the decoder's own stage."),
        "schedules": table(
            ["schedule", "predictor calls", "refiner calls", "latent", "image"],
            [
                [schedule, row["predictor_calls"], row["refiner_calls"], row["latent_rms"], row["image_l1"]]
                for schedule, row in numbers["schedules"].items()
            ],
        )
        + figure(
            folder / "schedules.png",
            f"How far each schedule ends from {reference}, from the same noise: root mean square over a latent, and "
            "mean absolute difference of the images in [-1, 1].",
        ),
        "training": table(
            ["stage", "steps", "minutes"],
            [[stage, cost["steps"], cost["minutes"]] for stage, cost in numbers["trained"].items()],
        ),
        "curves": figure(folder / "curves.png", "Losses."),
        "images": table(["class", "images"], list(counts.items()))
        + f"<p>{numbers['images']['held_out']} of them were held out.</p>",
    }
    path = folder / "report.html"
    write_text(path, Template(TEMPLATE.read_text(encoding="utf-8")).substitute(sections))
    return path


def network_rows(numbers: dict) -> list[list]:
    halves = ("held_out", "training")
    rows = {
        stage: [f"{numbers[stage]['psnr']:.2f} dB, L1 {numbers[stage]['l1']:.4f}", ""]
        for stage in ("autoencoder", "decoder")
    }
    rows["predictor"] = [f"loss {numbers['predictor'][half]:.4f}" for half in halves]
    rows["refiner"] = [
        f"loss {numbers['refiner']['loss']:.4f} where the sampler goes; without it {numbers['refiner']['reuse']:.4f}",
        "",
    ]
    weights = numbers["parameters"]
    weights = weights | {"autoencoder": weights["encoder"] + weights["decoder"]}
    return [[name, f"{weights[name] / 1e6:.2f} M", *row] for name, row in rows.items()]


def table(heads: list[str], rows: list[list]) -> str:
    def line(cells: list, tag: str) -> str:
        shown = (f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in cells)
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in shown) + "</tr>\n"

    return "<table>\n" + line(heads, "th") + "".join(line(row, "td") for row in rows) + "</table>\n"


def figure(path: Path, caption: str) -> str:
    """Nothing where the image was never made."""
    if not path.exists():
        return ""
    buffer = io.BytesIO()
    with Image.open(path) as image:
        image.convert("RGB").save(buffer, "WEBP", quality=90)
    data = base64.b64encode(buffer.getvalue()).decode()
    caption = html.escape(caption)
    return f'<figure><img alt="" src="data:image/webp;base64,{data}"><figcaption>{caption}</figcaption></figure>\n'
