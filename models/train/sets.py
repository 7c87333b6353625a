"""A folder of materials, as materials.py writes it: images with maps, captions and the split that its index says.

    FOLDER/index.csv                        a row for each set; its columns are told in models/materials/README.md
    FOLDER/colour/<class>/<name>.jpg        what a set must have
    FOLDER/normal|height|specular/….png     what it may have

Classes are numbered as `materials.CLASSES` says, whichever of them the folder has. Games store how strongly a surface
mirrors, not how rough it is: roughness is an estimate, 1 less that.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import torch
from nets.autoencoder import CHANNELS, count_channels
from PIL import Image
from train.data import Images, read_image
from train.maps import decode_normals, encode_normals, levels
from train.materials import CLASSES, Row

INDEX = "index.csv"
STORED = {"normal": "normal", "height": "height", "roughness": "specular"}  # map -> its folder and column
MAPS = tuple(STORED)
COLUMNS = ("file", "class", "split", "caption", "seamless", *STORED.values())
MISSING = 128  # what stands where a map is missing: about the neutral value, and made exactly so before it is seen


def is_materials(folder: Path) -> bool:
    return (folder / INDEX).is_file()


def load_sets(folder: Path, size: int, maps: tuple[str, ...] = ("color",)) -> Images:
    """Every set whose colours are there, at `size` x `size`, and those of its `maps` that are there."""
    rows = read_rows(folder / INDEX)
    there = [row for row in rows if (folder / "colour" / row["file"]).is_file()]
    if len(there) < len(rows):
        print(f"{folder}: passed over {len(rows) - len(there)} sets of its index that are not there", flush=True)
    return assemble(there, [read_set(row, folder, size, maps) for row in there], maps, folder)


def read_rows(index: Path) -> list[Row]:
    return parse_rows(index.read_text(encoding="utf-8"), index)


def parse_rows(text: str, index: Path) -> list[Row]:
    """The rows of an index, which errors call `index`."""
    rows = list(csv.DictReader(io.StringIO(text)))
    if lacking := [name for name in COLUMNS if rows and name not in rows[0]]:
        raise SystemExit(f"{index}: has no column {lacking[0]}: not the index of a folder of materials")
    for row in rows:
        if row["class"] not in CLASSES:
            raise SystemExit(f"{index}: {row['file']}: class {row['class']} is none of {', '.join(CLASSES)}")
        if row["split"] not in ("train", "test"):
            raise SystemExit(f"{index}: {row['file']}: split {row['split']} is neither train nor test")
    return rows


def assemble(rows: list[Row], sets: list[tuple[np.ndarray, list[bool]]], maps: tuple[str, ...], source: Path) -> Images:
    """Pixels [C,S,S] and the presence of maps, set by set, as what training reads."""
    test = torch.tensor([row["split"] == "test" for row in rows], dtype=torch.bool)
    if test.all() or not test.any():
        raise SystemExit(f"{source}: needs sets to train on and sets of the split `test`, and has {len(rows)} in all")
    return Images(
        pixels=torch.from_numpy(np.stack([pixels for pixels, _ in sets])),
        labels=torch.tensor([CLASSES.index(row["class"]) for row in rows]),
        classes=list(CLASSES),
        maps=maps,
        present=torch.tensor([present for _, present in sets], dtype=torch.bool).reshape(len(rows), len(maps) - 1),
        captions=[row["caption"] for row in rows],
        test=test,
        tiles=torch.tensor([row["seamless"] == "yes" for row in rows]),
    )


def read_set(row: Row, folder: Path, size: int, maps: tuple[str, ...]) -> tuple[np.ndarray, list[bool]]:
    """uint8 [C,size,size], and which maps but the colours are there."""
    pixels = np.full((count_channels(maps), size, size), MISSING, np.uint8)
    pixels[:3] = read_image(folder / "colour" / row["file"], size)
    present, at = [], CHANNELS["color"]
    for name in maps[1:]:
        path = (folder / STORED[name] / row["file"]).with_suffix(".png")
        present.append(bool(row[STORED[name]]) and path.is_file())
        if present[-1]:
            pixels[at : at + CHANNELS[name]] = read_map(path, name, size)
        at += CHANNELS[name]
    return pixels, present


def read_map(path: Path, name: str, size: int) -> np.ndarray:
    """uint8 [channels,size,size], where 0..255 is -1..1. Normals have y up in the file, and so here."""
    try:
        with Image.open(path) as image:
            if name == "normal":
                return np.asarray(encode_normals(decode_normals(image, "up", size))).transpose(2, 0, 1)[:2]
            gray = Image.fromarray((255 * levels(image)).round().astype(np.uint8))
    except (OSError, ValueError, SyntaxError, NotImplementedError) as error:
        raise SystemExit(f"{path}: not a map that can be read: {error}") from error
    values = np.asarray(gray.resize((size, size), Image.Resampling.BOX))[None]
    return estimate_roughness(values) if name == "roughness" else values


def estimate_roughness(specular: np.ndarray) -> np.ndarray:
    """An estimate: what mirrors strongly is called smooth. uint8 to uint8."""
    return 255 - specular


def write_smoke_materials(folder: Path, size: int, classes: int = 3, each: int = 4) -> None:
    """Waves with the normals, heights and mirroring that they have, to try the stages on; one of each class is held
    out, one has no maps."""
    rng = np.random.default_rng(0)
    rows, columns = np.meshgrid(*(2 * np.pi * np.arange(size) / size,) * 2, indexing="ij")
    lines = [",".join(COLUMNS)]
    for kind, name in enumerate(CLASSES[:classes]):
        for index in range(each):
            a, b, phase = rng.integers(1, 4), rng.integers(1, 4), rng.uniform(0, 6)
            height = np.sin(a * rows + b * columns + phase)
            slope = np.cos(a * rows + b * columns + phase)
            vectors = np.stack([-b * slope, a * slope, np.full_like(slope, 4.0)], -1)
            vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
            colours = 128 + 100 * height[..., None] * rng.uniform(0.2, 1, 3)
            gray = Image.fromarray((127.5 * (height + 1)).astype(np.uint8))
            images = {"colour": Image.fromarray(colours.astype(np.uint8))}
            if index != 1:
                images |= {"normal": encode_normals(vectors), "height": gray, "specular": gray}
            for part, image in images.items():
                path = folder / part / name / f"{index}.{'jpg' if part == 'colour' else 'png'}"
                path.parent.mkdir(parents=True, exist_ok=True)
                image.save(path)
            has = ["x" if part in images else "" for part in STORED.values()]
            split = "test" if index == 0 else "train"
            caption = f"{('red', 'green', 'gray')[kind % 3]} wavy {name.replace('_', ' ')}"
            lines.append(",".join([f"{name}/{index}.jpg", name, split, caption, "yes", *has]))
    (folder / INDEX).write_text("\n".join(lines) + "\n", encoding="utf-8")
