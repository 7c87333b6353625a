"""Rebuilding the textures, from a small package of the same shape as Debian's."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from train import textures
from train.textures import INDEX, PACKAGES, Package, rebuild

pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is needed")


def png(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGBA", (512, 512), colour).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(params=["zip", "plain"])
def package(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a .deb that holds data/art/red.png, in a zip or not."""
    root = tmp_path / "root"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN" / "control").write_text(
        "Package: game\nVersion: 1\nArchitecture: all\nMaintainer: n <n@n>\nDescription: d\n"
    )
    (root / "data" / "art").mkdir(parents=True)
    if request.param == "zip":
        with zipfile.ZipFile(root / "data" / "art.zip", "w") as archive:
            archive.writestr("art/red.png", png("red"))
        known = Package("1", "art/", "./data/art.zip")
    else:
        (root / "data" / "art" / "red.png").write_bytes(png("red"))
        known = Package("1", "./data/art/")
    subprocess.run(["dpkg-deb", "--build", root, tmp_path / "game_1_all.deb"], check=True, capture_output=True)
    monkeypatch.setitem(textures.PACKAGES, "game", known)
    return tmp_path


def row(path: str) -> dict[str, str]:
    return {"file": "rock/000.jpg", "path_in_package": path}


def test_a_packaged_image_becomes_a_small_jpeg(package: Path) -> None:
    rebuild("game", [row("red.png")], package, package / "out")
    with Image.open(package / "out" / "rock" / "000.jpg") as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (256, 256), "RGB")
        assert image.getpixel((0, 0)) == (254, 0, 0)


def test_a_missing_image_is_named_with_the_version_to_use(package: Path) -> None:
    with pytest.raises(SystemExit, match=r"1 of 1 textures are not in it, blue\.png for one.*version 1"):
        rebuild("game", [row("blue.png")], package, package / "out")


def test_a_damaged_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(textures.PACKAGES, "game", Package("1", ""))
    (tmp_path / "game_1_all.deb").write_bytes(b"no package")
    with pytest.raises(SystemExit, match=r"game_1_all\.deb: not a package that can be read"):
        rebuild("game", [row("red.png")], tmp_path, tmp_path / "out")


def test_the_index_names_706_textures_of_known_packages_and_free_licences() -> None:
    with INDEX.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len({r["file"] for r in rows}) == 706
    assert {r["debian_package"] for r in rows} == set(PACKAGES)
    assert {r["license"] for r in rows} == {"CC-BY-SA-3.0", "CC-BY-SA-3.0+", "Expat", "public-domain"}
    assert len(Counter(r["class"] for r in rows)) == 11
    assert all(r["file"].startswith(r["class"] + "/") for r in rows)
