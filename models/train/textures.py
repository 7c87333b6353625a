"""Rebuilds the training textures from Debian's packages: python models/train/textures.py --out data/textures

models/textures/index.csv names each file's class, package, path and licence. The packages are 2.6 GB to download
(`apt-get download`, so Debian or Ubuntu), and 3.3 GB of disk are used for a while; the result is 30 MB.
"""

from __future__ import annotations

import argparse
import csv
import io
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from train.packages import Package, download, missing_tools, read_files

INDEX = Path(__file__).resolve().parents[1] / "textures" / "index.csv"
EDGE, QUALITY = 256, 92
Row = dict[str, str]


PACKAGES = {
    "0ad-data": Package("0.0.26-1", "art/", "./usr/share/games/0ad/mods/public/public.zip"),
    "redeclipse-data": Package("1.6.0-1", "./usr/share/games/redeclipse/data/"),
    "ufoai-textures": Package("2.5-2", "", "./usr/share/games/ufoai/base/0textures.pk3"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="gets FOLDER/<class>/*.jpg")
    parser.add_argument("--packages", type=Path, metavar="FOLDER", help="keep the .deb files here, and look here first")
    parser.add_argument("--compare", type=Path, metavar="FOLDER", help="textures to compare the result with")
    chosen = parser.parse_args()
    for tool in missing_tools(PACKAGES):
        parser.error(f"{tool} is needed, of Debian or a system like it")
    with INDEX.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with tempfile.TemporaryDirectory() as scratch:
        for name in PACKAGES:
            wanted = [row for row in rows if row["debian_package"] == name]
            rebuild(name, wanted, chosen.packages or Path(scratch), chosen.out)
    shutil.copy(INDEX, chosen.out / INDEX.name)
    print(f"{len(rows)} textures in {chosen.out}")
    if chosen.compare:
        compare(rows, chosen.out, chosen.compare)


def rebuild(name: str, rows: list[Row], folder: Path, out: Path) -> None:
    """Converts a package's textures; SystemExit where one is missing."""
    package, missing = PACKAGES[name], {row["path_in_package"]: row for row in rows}
    deb = download(name, package, folder)
    print(f"{deb.name}: {len(rows)} textures", flush=True)
    for path, data in read_files(deb, package, {package.prefix + path for path in missing}):
        row = missing.pop(path.removeprefix(package.prefix))
        target = out / row["file"]
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            convert(data).save(target, "JPEG", quality=QUALITY, subsampling=0)
        except (OSError, NotImplementedError) as error:
            raise SystemExit(f"{deb.name}: {path}: {error}") from error
    if missing:
        raise SystemExit(
            f"{deb.name}: {len(missing)} of {len(rows)} textures are not in it, {next(iter(missing))} for one; "
            f"the index was made from version {package.version}"
        )


def convert(data: bytes) -> Image.Image:
    """Any image -> 256x256 RGB. All of them are square; transparency is dropped."""
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB").resize((EDGE, EDGE), Image.Resampling.LANCZOS)


def compare(rows: list[Row], ours: Path, theirs: Path) -> None:
    """Prints how far apart two builds are, in levels of 0..255."""
    pairs = (np.asarray(Image.open(root / row["file"])).astype(int) for row in rows for root in (ours, theirs))
    distances = [np.abs(a - b).mean() for a, b in zip(pairs, pairs)]
    print(f"mean difference to {theirs}: {np.mean(distances):.3f} of 255, the largest of an image {max(distances):.3f}")


if __name__ == "__main__":
    main()
