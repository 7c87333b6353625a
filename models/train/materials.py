"""Rebuilds the materials, colours and maps, from packages: python models/train/materials.py --out data/materials

models/materials/index.csv names each set's class, packages' paths, licence and author. Four packages are Debian's
(3.0 GB, by `apt-get download`, so Debian or Ubuntu) and two are PyPI's (0.2 GB, by pip). The result is 1.3 GB, made in
five to ten minutes; 6 GB are used for a while:

    OUT/colour/<class>/<name>.jpg    8 bits, sRGB; a folder that run.py takes
    OUT/normal/<class>/<name>.png    unit vectors, x right, y up, z out of the image
    OUT/height/<class>/<name>.png    8 bits, white is high
    OUT/specular/<class>/<name>.png  8 bits, how strongly it mirrors
    OUT/index.csv

A map has the size of its colours, at most 1024 x 1024. A file that a package lacks is named, and the rest is built.
"""

from __future__ import annotations

import argparse
import csv
import io
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from train.colours import colour_words
from train.maps import agreement, decode_normals, encode_normals, levels, upness
from train.packages import Package, download, missing_tools, read_files

INDEX = Path(__file__).resolve().parents[1] / "materials" / "index.csv"
MOST, QUALITY = 1024, 95  # the longest edge, and JPEG's
MAPS = ("normal", "specular", "height")
ALPHA = ":alpha"  # after a path: the map lies in this file's alpha
Row = dict[str, str]

# In the order of the labels: today's textures keep their numbers.
CLASSES = (
    *("brick", "cliff", "dirt", "forest_floor", "grass", "metal", "paving", "rock", "sand", "snow", "wood"),
    *("tiles", "concrete", "plaster", "panel", "lava"),
)

PACKAGES = {
    "0ad-data": Package("0.0.26-1", "art/", "./usr/share/games/0ad/mods/public/public.zip"),
    "redeclipse-data": Package("1.6.0-1", "./usr/share/games/redeclipse/data/"),
    "cube2-data": Package("1.3-1", "./usr/share/games/cube2/packages/"),
    "supertuxkart-data": Package("1.4+dfsg-2", "./usr/share/games/supertuxkart/data/"),
    "miniworld": Package("2.1.0", "miniworld/textures/", wheel=True),
    "robosuite": Package("1.5.2", "robosuite/models/assets/textures/", wheel=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="gets FOLDER/colour/<class>/*.jpg and the maps")
    parser.add_argument("--packages", type=Path, metavar="FOLDER", help="keep the packages here, and look here first")
    parser.add_argument("--check", action="store_true", help="measure what --out holds, and name what doesn't fit")
    parser.add_argument("--tables", action="store_true", help="print the tables of models/materials/README.md")
    chosen = parser.parse_args()
    rows = read_index()
    if chosen.tables:
        print(tables(rows))
    if not chosen.out:
        parser.exit(0 if chosen.tables else 2, "" if chosen.tables else "--out or --tables is needed\n")
    complaints = check(rows, chosen.out) if chosen.check else build(rows, chosen.packages, chosen.out, parser)
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    if complaints:
        raise SystemExit(f"{len(complaints)} complaints about {len(rows)} sets")
    print(f"{len(rows)} sets in {chosen.out}")


def read_index(path: Path = INDEX) -> list[Row]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def build(rows: list[Row], packages: Path | None, out: Path, parser: argparse.ArgumentParser) -> list[str]:
    """Every package's sets; the files that are missing."""
    for tool in missing_tools(PACKAGES):
        parser.error(f"{tool} is needed, of Debian or a system like it")
    missing = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in PACKAGES:
            wanted = [row for row in rows if row["package"] == name]
            missing += rebuild(name, wanted, packages or Path(scratch), out)
    shutil.copy(INDEX, out / INDEX.name)
    return missing


def rebuild(name: str, rows: list[Row], folder: Path, out: Path) -> list[str]:
    """Converts a package's sets, and says what is missing."""
    package = PACKAGES[name]
    file = download(name, package, folder)
    print(f"{file.name}: {len(rows)} sets", flush=True)
    paths = sorted({package.prefix + path for row in rows for path in sources(row).values()})
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        # Many sets share a map, and a map needs its colours' size: all files first, then set by set.
        unpacked = {}
        for path, data in read_files(file, package, set(paths)):
            unpacked[path] = Path(scratch) / str(paths.index(path))
            unpacked[path].write_bytes(data)
        for row in rows:
            found = {kind: unpacked.get(package.prefix + path) for kind, path in sources(row).items()}
            convert(row, {kind: place for kind, place in found.items() if place}, out, file.name)
    return [
        f"{file.name}: {path} is not in it; the index was made from version {package.version}"
        for path in paths
        if path not in unpacked
    ]


def sources(row: Row) -> dict[str, str]:
    """The files of a set, by kind."""
    return {kind: row[kind].removesuffix(ALPHA) for kind in ("colour", *MAPS) if row[kind]}


def target(row: Row, kind: str, out: Path) -> Path:
    path = out / kind / row["file"]
    return path if kind == "colour" else path.with_suffix(".png")


def convert(row: Row, found: dict[str, Path], out: Path, package: str) -> None:
    """Writes those of a set's files that the package has."""
    edge = int(row["edge"])
    for kind, place in found.items():
        path = target(row, kind, out)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with Image.open(place) as image:
                if kind == "colour":
                    colours(image, edge).save(path, "JPEG", quality=QUALITY, subsampling=0)
                elif kind == "normal":
                    encode_normals(decode_normals(image, row["normal_y"], edge)).save(path)
                else:
                    gray(image, edge, row[kind].endswith(ALPHA)).save(path)
        except (OSError, NotImplementedError, SyntaxError) as error:
            raise SystemExit(f"{package}: {row[kind]}: {error}") from error


def colours(image: Image.Image, edge: int) -> Image.Image:
    """Any square image -> RGB; transparency is dropped, which games use for other things than holes."""
    image = image.convert("RGB")
    return image if image.size == (edge, edge) else image.resize((edge, edge), Image.Resampling.LANCZOS)


def gray(image: Image.Image, edge: int, alpha: bool) -> Image.Image:
    whole = Image.fromarray((255 * levels(image, alpha)).round().astype(np.uint8))
    return whole if whole.size == (edge, edge) else whole.resize((edge, edge), Image.Resampling.LANCZOS)


def check(rows: list[Row], out: Path) -> list[str]:
    """Measures what was built: sizes, colour words, whether y is up, and whether heights fit their normals."""
    complaints = []
    for row in rows:
        complaints += [f"{row['file']}: {complaint}" for complaint in check_set(row, out)]
    return complaints


def check_set(row: Row, out: Path) -> list[str]:
    edge, images = int(row["edge"]), {}
    for kind in sources(row):
        try:
            images[kind] = Image.open(io.BytesIO(target(row, kind, out).read_bytes()))
        except OSError as error:
            return [f"{kind}: {error}"]
    complaints = [f"{kind} is {image.size}" for kind, image in images.items() if image.size != (edge, edge)]
    if complaints:
        return complaints
    words = colour_words(images["colour"])
    if not set(words.split()) & set(row["caption"].split()):
        complaints.append(f"looks {words}, is called {row['caption']}")
    if "normal" in images:
        normals = decode_normals(images["normal"], "up", edge)
        if (up := upness(normals)) < -0.3:
            complaints.append(f"the normals' y is down ({up:.2f})")
        if "height" in images and (fit := agreement(normals, levels(images["height"]))) < 0.2:
            complaints.append(f"height and normals don't fit ({fit:.2f})")
    return complaints


def tables(rows: list[Row]) -> str:
    """Counts by class and by package, as Markdown."""
    parts = []
    for key, names in (("class", CLASSES), ("package", tuple(PACKAGES))):
        parts.append(f"| {key} | sets | reliefs | normal | specular | height | all three | test |\n|---|" + "---|" * 7)
        parts += [count(name, [row for row in rows if row[key] == name]) for name in names]
        parts.append(count("**all**", rows) + "\n")
    licences = Counter((row["licence"], row["package"]) for row in rows)
    parts.append("| licence | package | sets | authors |\n|---|---|---|---|")
    for (licence, package), sets in sorted(licences.items()):
        members = [row for row in rows if (row["licence"], row["package"]) == (licence, package)]
        authors = sorted({row["author"] for row in members}, key=str.lower)
        parts.append(f"| {licence} | {package} | {sets} | {'; '.join(authors)} |")
    return "\n".join(parts)


def count(name: str, rows: list[Row]) -> str:
    numbers = [len(rows), len({row["relief"] for row in rows})]
    numbers += [sum(bool(row[kind]) for row in rows) for kind in MAPS]
    numbers += [sum(all(row[kind] for kind in MAPS) for row in rows), sum(row["split"] == "test" for row in rows)]
    return f"| {name} | " + " | ".join(map(str, numbers)) + " |"


if __name__ == "__main__":
    main()
