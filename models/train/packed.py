"""Materials as one small file, for a machine that is given little: python models/train/packed.py --data FOLDER --out F

`run.py --data F` trains on it as on the folder. It is a zip, stored: `index.csv`, a WebP image of each set's colours,
another of its maps' channels, gray, one above the other, and with `--text` the embeddings of all that is written for
them (`texts.npz`), since the text encoder is larger. All is `--size` x `--size`; `--sets` takes some only, as equally
many of each class as there are, those with most maps first.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from nets.autoencoder import CHANNELS, count_channels
from PIL import Image
from train.data import Images
from train.materials import CLASSES, Row
from train.sets import COLUMNS, INDEX, MAPS, MISSING, STORED, assemble, parse_rows, read_rows, read_set

TEXTS = "texts.npz"
ALL = ("color", *MAPS)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, required=True, metavar="FOLDER", help="of materials, as materials.py makes"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--size", type=int, default=256, help="edge of what is packed")
    parser.add_argument("--quality", type=int, default=75, help="of WebP, 1 to 100")
    parser.add_argument("--sets", type=int, metavar="N", help="at most")
    parser.add_argument(
        "--text", action="store_true", help="with the embeddings of captions and of models/eval's phrases"
    )
    chosen = parser.parse_args(arguments)
    pack(chosen.data, chosen.out, chosen.size, chosen.quality, chosen.sets, chosen.text)
    print(f"{chosen.out}: {chosen.out.stat().st_size / 2**20:.1f} MiB")


def pack(data: Path, out: Path, size: int, quality: int, sets: int | None, text: bool) -> None:
    rows = [row for row in read_rows(data / INDEX) if (data / "colour" / row["file"]).is_file()]
    rows = choose(rows, sets) if sets else rows
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        lines = io.StringIO()
        writer = csv.DictWriter(lines, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for number, row in enumerate(rows):
            pixels, present = read_set(row, data, size, ALL)
            colours = Image.fromarray(pixels[:3].transpose(1, 2, 0))
            archive.writestr(f"{number}.webp", encoded(colours, quality))
            there = np.concatenate([part for part, has in zip(parts(pixels, ALL), present) if has] or [pixels[:0]])
            if len(there):
                tall = Image.fromarray(there.reshape(-1, size))
                archive.writestr(f"{number}-maps.webp", encoded(tall, quality))
            writer.writerow(row | {STORED[name]: "x" if has else "" for name, has in zip(MAPS, present)})
        archive.writestr(INDEX, lines.getvalue())
        if text:
            archive.write(embeddings(rows, out), TEXTS)


def embeddings(rows: list[Row], out: Path) -> Path:
    """All that is written for sets, and the phrases that a trained model is asked for, in a file beside `out`."""
    from eval.phrases import read_phrases
    from train.captions import variants
    from train.text import embed

    written = [text for row in rows for text in variants(row["caption"], row["class"])]
    cache = out.with_name(out.name + "." + TEXTS)
    embed([*written, *(phrase.text for phrase in read_phrases())], cache)
    return cache


def choose(rows: list[Row], count: int) -> list[Row]:
    """At most so many, as equally many of each class as there are, a quarter of them of the split `test`; those with
    most maps first."""
    ranked = []
    for name in CLASSES:
        for split, first, every in (("train", 0, 1), ("test", 1, 3)):
            members = [row for row in rows if row["class"] == name and row["split"] == split]
            members.sort(key=lambda row: -sum(bool(row[column]) for column in STORED.values()))
            ranked += [(first + every * place, row["file"]) for place, row in enumerate(members)]
    taken = {file for _, file in sorted(ranked, key=lambda pair: pair[0])[:count]}
    return [row for row in rows if row["file"] in taken]


def load_packed(file: Path, size: int, maps: tuple[str, ...]) -> Images:
    try:
        with zipfile.ZipFile(file) as archive:
            rows = parse_rows(archive.read(INDEX).decode(), file)
            sets = [unpack(archive, number, row, size, maps) for number, row in enumerate(rows)]
    except (zipfile.BadZipFile, KeyError, OSError, ValueError) as error:
        raise SystemExit(f"{file}: not a file that packed.py made: {error}") from error
    return assemble(rows, sets, maps, file)


def unpack(
    archive: zipfile.ZipFile, number: int, row: Row, size: int, maps: tuple[str, ...]
) -> tuple[np.ndarray, list[bool]]:
    """As `read_set`."""
    with Image.open(io.BytesIO(archive.read(f"{number}.webp"))) as image:
        edge = image.width
        if edge < size:
            raise ValueError(f"it holds {edge} x {edge} pixels, --size is {size}")
        colours = np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BOX)).transpose(2, 0, 1)
    pixels = np.full((count_channels(maps), size, size), MISSING, np.uint8)
    pixels[:3] = colours
    there = [name for name in MAPS if row[STORED[name]]]
    if there:
        with Image.open(io.BytesIO(archive.read(f"{number}-maps.webp"))) as image:
            planes = iter(np.asarray(image.convert("L")).reshape(-1, edge, edge))
        for name in there:
            own = [Image.fromarray(next(planes)) for _ in range(CHANNELS[name])]
            if name in maps:
                at = count_channels(maps[: maps.index(name)])
                small = [np.asarray(plane.resize((size, size), Image.Resampling.BOX)) for plane in own]
                pixels[at : at + CHANNELS[name]] = np.stack(small)
    return pixels, [name in there for name in maps[1:]]


def unpack_texts(file: Path, cache: Path) -> None:
    """Puts the embeddings where they are looked for first, unless there are some."""
    with zipfile.ZipFile(file) as archive:
        if TEXTS in archive.namelist() and not cache.exists():
            cache.parent.mkdir(parents=True, exist_ok=True)
            cache.write_bytes(archive.read(TEXTS))


def parts(pixels: np.ndarray, maps: tuple[str, ...]) -> list[np.ndarray]:
    """The maps' channels, map by map."""
    ends = [count_channels(maps[: i + 1]) for i in range(len(maps))]
    return np.split(pixels, ends[:-1])[1:]


def encoded(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=quality, method=4)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
