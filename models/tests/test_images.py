"""Images as people hand them in to the trainer, and files that must not be lost."""

from __future__ import annotations

import io
import stat
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from train import data
from train.whole import replacing, write_text

UPRIGHT = np.arange(1, 7, dtype=np.uint8).reshape(2, 3) * 40
# What is stored under each Exif orientation, by the standard's table of what row 0 and column 0 are.
STORED = {
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.T,
    6: UPRIGHT[:, ::-1].T,
    7: UPRIGHT[::-1, ::-1].T,
    8: UPRIGHT[::-1].T,
}


def read(image: Image.Image, path: Path, **options: object) -> np.ndarray:
    """What the trainer makes of an image in a file: [24,24], the red of all that it is."""
    image.save(path, **options)
    pixels = data.read_image(path, 24)
    assert pixels.shape == (3, 24, 24) and pixels.dtype == np.uint8
    return pixels[0]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
@pytest.mark.parametrize("tag", STORED)
def test_every_orientation_comes_out_upright(tag: int, suffix: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = tag
    stored = np.kron(STORED[tag], np.ones((16, 16), np.uint8))
    pixels = read(Image.fromarray(stored).convert("RGB"), tmp_path / f"x{suffix}", exif=exif, quality=95)
    wanted = np.kron(UPRIGHT, np.ones((12, 8)))
    assert np.abs(pixels.astype(float) - wanted).mean() < 6, tag


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_transparency_is_laid_on_white(mode: str, tmp_path: Path) -> None:
    image = Image.new("LA", (24, 24), (40, 255))
    image.paste((40, 0), (0, 0, 24, 12))
    if mode in ("P", "PA"):
        image = image.convert("RGBA").quantize(8)
    pixels = read(image.convert(mode) if mode != "PA" else image, tmp_path / "x.png")
    assert (pixels[:12] == 255).all() and (pixels[12:] == 40).all()


def test_16_bits_keep_their_brightness(tmp_path: Path) -> None:
    levels = np.linspace(0, 65535, 24).astype(np.uint16)
    pixels = read(Image.fromarray(np.tile(levels, (24, 1))), tmp_path / "x.png")
    assert np.abs(pixels[0] - levels / 257).max() <= 0.5


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK"])
def test_other_kinds_are_read_as_they_look(mode: str, tmp_path: Path) -> None:
    image = Image.new("RGB", (24, 24), "white").convert(mode)
    assert (read(image, tmp_path / ("x.jpg" if mode == "CMYK" else "x.png")) >= 254).all()


def test_an_image_that_is_too_large_is_named_with_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("1", (12000, 12000)).save(tmp_path / "scan.png")
    assert data.read_image(tmp_path / "scan.png", 24).max() == 0
    monkeypatch.setattr(data, "MOST_PIXELS", 5000)
    with pytest.raises(SystemExit, match=r"scan\.png: 12000 x 12000 pixels; at most 5000"):
        data.read_image(tmp_path / "scan.png", 24)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_an_image_that_is_cut_short_is_named(suffix: str, tmp_path: Path) -> None:
    file = io.BytesIO()
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(file, {".png": "PNG", ".jpg": "JPEG"}[suffix])
    (tmp_path / f"cut{suffix}").write_bytes(file.getvalue()[:-300])
    with pytest.raises(SystemExit, match=rf"cut\{suffix}: not an image that can be read"):
        data.read_image(tmp_path / f"cut{suffix}", 24)


def test_what_is_passed_over_is_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data.write_smoke_images(tmp_path, 32)
    (tmp_path / "class1" / "scan.tiff").write_bytes(b"")
    (tmp_path / "class1" / "._0.png").write_bytes(b"what a Mac leaves on other disks")
    assert len(data.load_images(tmp_path, 32).labels) == 12
    assert "passed over 1 files" in capsys.readouterr().out


def test_a_file_is_whole_after_a_failure_and_keeps_its_mode(tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    with pytest.raises(OSError, match="full"), replacing(link) as aside:
        aside.write_text("half")
        raise OSError("the disk is full")
    assert path.read_text() == "old"
    write_text(link, "new")
    assert path.read_text() == "new" and link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "link"]
