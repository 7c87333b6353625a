"""The example for texture libraries, without Ray: what a worker of it does, and what a table may say.
examples/python/test_cluster.py runs it on a cluster."""

from __future__ import annotations

import csv
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shipped import MAPS, REPOSITORY, TEXTURES

sys.path.insert(0, str(REPOSITORY / "examples" / "python"))
import texture_library

PLAN = str(TEXTURES.with_suffix(".ftplan"))


def times(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (out / "images").iterdir()}


def test_a_request_is_made_once_for_each_model_and_all_that_it_says(tmp_path: Path) -> None:
    painter = texture_library.Painter(PLAN, str(tmp_path), (), threads=1)
    row = {"name": "a b", "class": "brick", "seed": 7, "schedule": "E2", "guidance": math.nan, "prompt": ""}
    made = painter(row)
    (file,) = json.loads(made["files"]).values()
    assert made["error"] == "" and file.startswith("a b-")
    expected = painter.session.generate(classes="brick", seed=7, schedule="E2").images[0]
    assert np.array_equal(Image.open(tmp_path / "images" / file), expected)
    first = times(tmp_path)
    assert painter(row) == made and times(tmp_path) == first
    # What is not said makes no other file, what is said does.
    assert painter({"name": "a b", "class": "brick", "seed": 7.0, "schedule": "E2"})["files"] == made["files"]
    for change in ({"seed": 8}, {"schedule": "E1"}, {"class": "sand"}, {"guidance": 1.5}, {"seamless": "both"}):
        painter(row | change)
    assert len(times(tmp_path)) == 6
    other = texture_library.Painter(str(MAPS), str(tmp_path), (), threads=1)
    assert other.files(texture_library.read(row)) != painter.files(texture_library.read(row))


def test_maps_lie_beside_their_colour(tmp_path: Path) -> None:
    painter = texture_library.Painter(str(MAPS), str(tmp_path), ("normal", "height"), threads=1)
    row = {"name": "a", "class": "0", "seed": 7, "width": 24, "height": 16}
    files = json.loads(painter(row)["files"])
    assert list(files) == ["normal", "height", "color"] and len(times(tmp_path)) == 3
    assert all(Image.open(tmp_path / "images" / file).size == (24, 16) for file in files.values())
    whole = times(tmp_path)
    (tmp_path / "images" / files["color"]).unlink()  # the last one: the request was not done
    painter(row)
    assert set(times(tmp_path)) == set(whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class": "brik"}, "no class 'brik'; nearest is 'brick'"),
        ({"class": None}, "either a class or a prompt is needed"),
        ({"prompt": "moss"}, "either a class or a prompt is needed"),
        ({"name": "../a"}, "name '../a': letters, digits"),
        ({"name": None}, "name '': letters, digits"),
        ({"seed": 0.5}, "seed 0.5: must be a whole number"),
        ({"seed": "x"}, "seed 'x': must be a number"),
        ({"seed": -1}, "seed -1: must be a whole number from 0"),
        ({"width": math.inf}, "width inf: must be a whole number"),
        ({"width": 64}, "size: 64 x 128 (width x height), must be at least 128 x 128"),
        ({"width": 100_000}, "size: 100000 x 128 (width x height)"),
        ({"name": 300 * "a"}, "File name too long"),
    ],
)
def test_a_bad_request_is_told_in_its_row(tmp_path: Path, change: dict[str, object], message: str) -> None:
    painter = texture_library.Painter(PLAN, str(tmp_path), (), threads=1)
    told = painter({"name": "a", "class": "brick", "seed": 7, "schedule": "E1"} | change)
    assert message in told["error"] and told["files"] == "{}" and not times(tmp_path)


def test_the_manifest_has_each_request_with_its_files(tmp_path: Path) -> None:
    painter = texture_library.Painter(PLAN, str(tmp_path), (), threads=1)
    rows = [{"name": name, "class": label, "seed": 1, "schedule": "E1"} for name, label in (("b", "brick"), ("a", "?"))]
    texture_library.write_manifest(tmp_path / "manifest.csv", list(rows[0]), [painter(row) for row in rows], ())
    with (tmp_path / "manifest.csv").open(newline="", encoding="utf-8") as file:
        a, b = csv.DictReader(file)
    assert (a["name"], a["color"], b["name"], b["error"]) == ("a", "", "b", "") and "no class '?'" in a["error"]
    assert (tmp_path / "images" / b["color"]).is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "manifest.csv"]
