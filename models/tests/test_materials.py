"""The materials: their index, rebuilding them from small packages of the same shapes, normals and colour words."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
import zipfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from train import materials, textures
from train.colours import WORDS, colour_words
from train.maps import agreement, decode_normals, encode_normals, levels, seam, upness
from train.materials import ALPHA, CLASSES, MAPS, PACKAGES, check, read_index, rebuild, sources, tables
from train.packages import Package

ACCEPTED = {
    *("CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-3.0+", "CC-BY-SA-3.0-DE", "CC-BY-SA-4.0"),
    *("CC0-1.0", "public-domain", "Expat", "Apache-2.0"),
}
SIZE = 128


@pytest.fixture(scope="module")
def index() -> list[dict[str, str]]:
    return read_index()


# The index


def test_every_row_of_the_index_is_whole(index: list[dict[str, str]]) -> None:
    assert len({row["file"] for row in index}) == len(index) == 1186
    for row in index:
        assert re.fullmatch(rf"{row['class']}/[a-z0-9_-]+\.jpg", row["file"]), row
        assert row["class"] in CLASSES and row["split"] in ("train", "test") and row["seamless"] in ("yes", "no"), row
        assert row["package"] in PACKAGES and row["colour"] and row["relief"] and row["author"].strip(), row
        assert 256 <= int(row["edge"]) <= materials.MOST, row
        assert row["normal_y"] in (("up", "down") if row["normal"] else ("",)), row
        assert not any(path.startswith(("/", ".")) or ".." in path or ":" in path for path in sources(row).values()), (
            row
        )
    assert not any(row[kind].endswith(ALPHA) for row in index for kind in ("colour", "normal", "specular"))


def test_the_index_is_sorted_by_class_and_file(index: list[dict[str, str]]) -> None:
    assert index == sorted(index, key=lambda row: (CLASSES.index(row["class"]), row["file"]))


def test_no_relief_is_in_both_splits_and_every_class_is(index: list[dict[str, str]]) -> None:
    by_relief, by_map, by_class = defaultdict(set), defaultdict(set), defaultdict(set)
    for row in index:
        by_relief[row["relief"]].add(row["split"])
        by_class[row["class"]].add(row["split"])
        for kind in ("normal", "height"):  # a shared specular map is often just a plain gray
            if row[kind]:
                by_map[row["package"], row[kind]].add(row["relief"])
    assert all(len(splits) == 1 for splits in by_relief.values())
    assert all(len(reliefs) == 1 for reliefs in by_map.values())
    assert all(by_class[name] == {"train", "test"} for name in CLASSES)


def test_all_licences_are_accepted_ones_and_free_of_the_gpl(index: list[dict[str, str]]) -> None:
    assert {row["licence"] for row in index} == ACCEPTED


def test_captions_begin_with_a_colour_and_name_the_class(index: list[dict[str, str]]) -> None:
    for row in index:
        words = row["caption"].split()
        assert words[0] in WORDS and len(words) == len(set(words)), row
        assert set(row["class"].split("_")) <= set(words), row


def test_todays_textures_keep_their_numbers() -> None:
    with textures.INDEX.open(newline="") as file:
        old = sorted({row["class"] for row in csv.DictReader(file)})
    assert list(CLASSES[: len(old)]) == old


def test_the_readme_has_the_tables_of_the_index(index: list[dict[str, str]]) -> None:
    assert tables(index) in (materials.INDEX.parent / "README.md").read_text(encoding="utf-8")


# Normals and heights


@pytest.fixture(scope="module")
def hills() -> np.ndarray:
    """A height [SIZE,SIZE] in 0..1 that wraps around and differs from its own mirror images."""
    y, x = np.mgrid[:SIZE, :SIZE] * 2 * np.pi / SIZE
    height = np.sin(2 * x + y) + 0.6 * np.sin(3 * y + 1) * np.cos(x) + 0.3 * np.sin(5 * x - 4 * y)
    return (height - height.min()) / np.ptp(height)


def normals(height: np.ndarray) -> np.ndarray:
    """Unit vectors, y up, of the height as if it were 20 pixels high."""
    right, bottom = ((np.roll(height, -1, axis) - np.roll(height, 1, axis)) * 10 for axis in (1, 0))
    vectors = np.stack([-right, bottom, np.ones_like(right)], axis=-1)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def mirrored(vectors: np.ndarray) -> Image.Image:
    return encode_normals(vectors * [1, -1, 1])


def test_upness_tells_y_up_from_y_down_without_a_height(hills: np.ndarray) -> None:
    up = decode_normals(encode_normals(normals(hills)), "up", SIZE)
    assert upness(up) > 0.9
    assert upness(up * [1, -1, 1]) < -0.9
    assert upness(up * [-1, 1, 1]) < -0.9, "x the wrong way round is as bad as y"
    grooves = np.broadcast_to(hills[0], hills.shape)
    assert abs(upness(normals(grooves))) < 0.1, "grooves in one direction don't tell"


def test_normals_come_out_with_y_up_whatever_is_stored(hills: np.ndarray) -> None:
    expected = normals(hills)
    for stored, y in ((encode_normals(expected), "up"), (mirrored(expected), "down")):
        found = decode_normals(stored, y, SIZE)
        assert np.abs(found - expected).max() < 0.01
        assert np.allclose(np.linalg.norm(found, axis=-1), 1)
    assert agreement(expected, hills) > 0.99
    assert agreement(expected, 1 - hills) < -0.99
    assert abs(agreement(expected * [1, -1, 1], hills)) < 0.7


def test_a_stored_normal_without_a_direction_points_out_of_the_image() -> None:
    stored = Image.new("RGB", (4, 4), (127, 127, 127))
    stored.putpixel((0, 0), (255, 127, 0))
    vectors = decode_normals(stored, "down", 4)
    assert np.allclose(np.linalg.norm(vectors, axis=-1), 1)
    assert np.allclose(vectors[1, 1], [0, 0, 1])
    assert np.allclose(vectors[0, 0], [1, 0, 0], atol=0.01), "one that points backwards is turned to the side"


def test_sixteen_bits_and_alpha_are_read_as_heights() -> None:
    deep = Image.fromarray(np.full((4, 4), 32768, np.uint16))
    assert levels(deep)[0, 0] == pytest.approx(0.5, abs=0.001)
    assert levels(Image.new("RGBA", (4, 4), (255, 255, 255, 51)), alpha=True)[0, 0] == pytest.approx(0.2)


def test_a_seam_is_a_step_over_the_border_that_is_nowhere_inside(hills: np.ndarray) -> None:
    assert seam(hills) <= 1.1
    assert seam(hills[:100, :100]) > 2


# Colour words


@pytest.mark.parametrize(
    ("colour", "word"),
    [
        *(("black", "black"), ("#808080", "gray"), ("white", "white"), ("pink", "pink"), ("#c02020", "red")),
        *(("saddlebrown", "brown"), ("#60482e", "brown"), ("orange", "orange"), ("tan", "beige"), ("wheat", "beige")),
        *(("gold", "yellow"), ("#3a7a2a", "green"), ("#5c6b2f", "green"), ("teal", "cyan"), ("navy", "blue")),
        *(("royalblue", "blue"), ("rebeccapurple", "purple"), ("#202020", "black"), ("silver", "gray")),
    ],
)
def test_a_plain_colour_has_one_word(colour: str, word: str) -> None:
    assert colour_words(Image.new("RGB", (100, 80), colour)) == word


def test_a_second_colour_is_named_from_three_pixels_of_ten() -> None:
    image = Image.new("RGB", (100, 100), "green")
    image.paste("gray", (0, 0, 100, 45))
    assert colour_words(image) == "green gray"
    image.paste("green", (0, 20, 100, 45))
    assert colour_words(image) == "green"


# Rebuilding


@pytest.fixture(params=["zip", "plain", "wheel"])
def package(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hills: np.ndarray) -> Path:
    """The folder of a package with a red image, a map of each kind, and a normal map whose alpha is a height."""
    if request.param != "wheel" and shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is needed")
    down, height = mirrored(normals(hills)), Image.fromarray((255 * hills).astype(np.uint8))
    both = down.copy()
    both.putalpha(height)
    files = {
        "red.png": Image.new("RGBA", (600, 600), "#c02020"),
        "red_n.png": down,
        "red_z.png": height,
        "red_s.png": Image.new("RGB", (64, 64), "#404040"),
        "both.png": both,
    }
    if request.param == "wheel":
        known = Package("1", "game/art/", wheel=True)
        with zipfile.ZipFile(tmp_path / "game-1-py3-none-any.whl", "w") as archive:
            write(archive, "game/art/", files)
    else:
        root = tmp_path / "root"
        (root / "DEBIAN").mkdir(parents=True)
        (root / "DEBIAN" / "control").write_text(
            "Package: game\nVersion: 1\nArchitecture: all\nMaintainer: n <n@n>\nDescription: d\n"
        )
        (root / "data" / "art").mkdir(parents=True)
        if request.param == "zip":
            known = Package("1", "art/", "./data/art.zip")
            with zipfile.ZipFile(root / "data" / "art.zip", "w") as archive:
                write(archive, "art/", files)
        else:
            known = Package("1", "./data/art/")
            for name, image in files.items():
                image.save(root / "data" / "art" / name)
        subprocess.run(["dpkg-deb", "--build", root, tmp_path / "game_1_all.deb"], check=True, capture_output=True)
    monkeypatch.setitem(materials.PACKAGES, "game", known)
    return tmp_path


def write(archive: zipfile.ZipFile, prefix: str, files: dict[str, Image.Image]) -> None:
    for name, image in files.items():
        data = io.BytesIO()
        image.save(data, "PNG")
        archive.writestr(prefix + name, data.getvalue())


def row(file: str, **changes: str) -> dict[str, str]:
    whole = {"file": f"rock/{file}.jpg", "colour": "red.png", "edge": "256", "caption": "red rock", "normal_y": "down"}
    return {**whole, "normal": "red_n.png", "specular": "red_s.png", "height": "red_z.png", **changes}


def test_a_set_is_rebuilt_with_its_maps_in_its_own_size(package: Path, hills: np.ndarray) -> None:
    rows = [row("000"), row("001", height="both.png" + ALPHA, normal="both.png"), row("002", height="", specular="")]
    out = package / "out"
    assert rebuild("game", rows, package, out) == []
    assert check(rows, out) == []
    with Image.open(out / "colour" / "rock" / "000.jpg") as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (256, 256), "RGB")
        assert np.abs(np.asarray(image).astype(int) - [0xC0, 0x20, 0x20]).max() <= 3
    for name in ("000", "001"):
        maps = {kind: Image.open(out / kind / "rock" / f"{name}.png") for kind in MAPS}
        assert {kind: (image.size, image.mode) for kind, image in maps.items()} == {
            "normal": ((256, 256), "RGB"),
            "specular": ((256, 256), "L"),
            "height": ((256, 256), "L"),
        }
        assert maps["specular"].getextrema() == (0x40, 0x40)
        assert agreement(decode_normals(maps["normal"], "up", 256), levels(maps["height"])) > 0.97
    assert not (out / "height" / "rock" / "002.png").exists()


def test_what_is_missing_is_named_and_the_rest_is_built(package: Path) -> None:
    rows = [row("000", normal="lost.png"), row("001")]
    missing = rebuild("game", rows, package, package / "out")
    assert len(missing) == 1
    assert re.search(r"^game.1.*: (.*/)?lost\.png is not in it; the index was made from version 1$", missing[0])
    assert (package / "out" / "colour" / "rock" / "000.jpg").exists()
    assert (package / "out" / "normal" / "rock" / "001.png").exists()


def test_the_check_names_normals_that_point_down_and_colours_that_are_others(package: Path) -> None:
    rows = [row("000", normal_y="up", caption="blue rock")]
    rebuild("game", rows, package, package / "out")
    complaints = "\n".join(check(rows, package / "out"))
    assert "looks red, is called blue rock" in complaints
    assert "the normals' y is down" in complaints


def test_the_check_names_a_height_that_does_not_fit_and_a_file_that_is_not_there(package: Path) -> None:
    out = package / "out"
    rebuild("game", [row("000")], package, out)
    path = out / "height" / "rock" / "000.png"
    ImageOps.invert(Image.open(path)).save(path)
    (complaint,) = check([row("000")], out)
    assert "height and normals don't fit" in complaint
    Image.open(path).resize((64, 64)).save(path)
    assert check([row("000")], out) == ["rock/000.jpg: height is (64, 64)"]
    path.unlink()
    (complaint,) = check([row("000")], out)
    assert complaint.startswith("rock/000.jpg: height: ")


def test_a_damaged_wheel_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(materials.PACKAGES, "game", Package("1", "", wheel=True))
    (tmp_path / "game-1-py3-none-any.whl").write_bytes(b"no package")
    with pytest.raises(SystemExit, match=r"game-1-py3-none-any\.whl: not a package that can be read"):
        rebuild("game", [row("000")], tmp_path, tmp_path / "out")
