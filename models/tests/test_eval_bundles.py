"""Two bundles side by side, on the shipped library."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import TEXTURES
from eval import bundles
from eval.runtime import BUILD, LIBRARY
from train.sets import write_smoke_materials

SHARED_LIBRARY = Path(os.environ.get("FLOWTURBO_LIBRARY", LIBRARY))


def test_sizes_are_reached_by_areas_and_by_curves() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    assert bundles.resized(images, 8) is images
    small = images.astype(float).reshape(2, 4, 2, 4, 2, 3).mean((2, 4))
    assert np.abs(bundles.resized(images, 4) - small).max() <= 0.5
    flat = np.full((1, 4, 4, 3), 77, np.uint8)
    assert (bundles.resized(flat, 16) == 77).all()


@pytest.mark.skipif(not SHARED_LIBRARY.is_file(), reason=f"{SHARED_LIBRARY} is not built: {BUILD}")
def test_a_bundle_and_its_copy_are_equally_near_to_real_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    data, out = tmp_path / "data", tmp_path / "work"
    write_smoke_materials(data, 64)
    copy = shutil.copytree(TEXTURES, tmp_path / "copy")
    monkeypatch.setattr(bundles, "ROUNDS", 2)
    command = ["bundles.py", "--data", str(data), "--out", str(out), "--library", str(SHARED_LIBRARY)]
    command += ["--bundle", str(TEXTURES), "--bundle", str(copy), "--sizes", "32", "64", "--count", "9", "--real", "12"]
    monkeypatch.setattr("sys.argv", command)
    bundles.main()
    rows = {
        name: [float(cell) for cell in cells]
        for name, *cells in (
            line.strip("| ").split(" | ") for line in (out / "bundles.md").read_text().splitlines()[2:7]
        )
    }
    assert rows["textures: samples"] == rows["copy: samples"] and len(rows["copy: samples"]) == 8
    rebuilt = rows["textures: through the autoencoder"]
    again = rows["the same real images, drawn again"]
    assert again[0] < rebuilt[0] < rows["copy: samples"][0], "waves are no textures"
    told = capsys.readouterr().out
    assert told.count("ms an image") == 2 and told.count("class right") == 3
