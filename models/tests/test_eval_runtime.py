"""The evaluation on the shipped library: the same samples as by ONNX Runtime, other refiners, and the whole command."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import TEXTURES
from eval import alternatives, run
from eval.caching import EasyCache, Field, TaylorSeer
from eval.features import Extractor
from eval.judge import Judge
from eval.reference import encode
from eval.rows import Row
from eval.runtime import BUILD, LIBRARY, Generation, Model, flowturbo, use_library
from eval.store import Store
from PIL import Image
from schedule import calls, steps
from uncached import sample

pytest_plugins = ("eval_images",)
SHARED_LIBRARY = Path(os.environ.get("FLOWTURBO_LIBRARY", LIBRARY))


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    if not SHARED_LIBRARY.is_file():
        pytest.skip(f"{SHARED_LIBRARY} is not built: {BUILD}, or set FLOWTURBO_LIBRARY")
    use_library(SHARED_LIBRARY)
    with Model.open(TEXTURES, threads=1) as model:
        yield model


def noise(model: Model, count: int) -> np.ndarray:
    return np.random.default_rng(3).standard_normal((count, *model.latent_shape), np.float32)


@pytest.mark.parametrize("guidance", [1.0, 2.5])
@pytest.mark.parametrize("schedule", ["E5", "H3", "H1P3"])
def test_the_runtime_samples_what_this_sampler_does(model: Model, schedule: str, guidance: float) -> None:
    classes, start = np.array([3, 9]), noise(model, 2)
    field = Field(TEXTURES, classes, guidance, threads=1)
    ours = sample(field, schedule, start)
    theirs = model.generate(schedule, guidance, classes, start, images=False)
    np.testing.assert_allclose(theirs.latents, ours, atol=1e-4)
    assert tuple(field.calls) == (calls(schedule)[0],) * 2
    assert "".join(kind for kind, _ in theirs.steps) == steps(schedule)


def test_an_image_does_not_depend_on_the_others_of_its_request(model: Model) -> None:
    classes, start = np.array([0, 4, 7]), noise(model, 3)
    together = model.generate("H1P1R1", 2.5, classes, start)
    alone = model.generate("H1P1R1", 2.5, classes[1:2], start[1:2])
    assert together.images.shape == (3, 128, 128, 3) and together.images.std() > 10
    assert np.abs(together.images[1].astype(int) - alone.images[0]).max() <= 1
    assert np.abs(model.decode(together.latents).astype(int) - together.images).max() <= 1
    assert 0 < sum(seconds for _, seconds in together.steps) < together.seconds


def test_the_encoder_and_the_decoder_mean_the_same_latents(model: Model, images: np.ndarray) -> None:
    again = model.decode(encode(TEXTURES, images[:4]))
    error = np.abs(again.astype(float) - images[:4]).mean()
    assert error < 0.5 * np.abs(images[1:5].astype(float) - images[:4]).mean()


def test_reuse_goes_on_along_the_cached_velocity(model: Model, tmp_path: Path) -> None:
    folder = alternatives.write_reuse(TEXTURES, tmp_path / "reuse")
    alternatives.check_same_predictor(TEXTURES, folder)
    classes, start = np.array([1, 2]), noise(model, 2)
    last = []

    def remember(x: np.ndarray, t: float, which: np.ndarray) -> np.ndarray:
        last[:] = [field(x, t, which)]
        return last[0]

    field, x = Field(TEXTURES, classes, 2.5, threads=1), start
    for i in range(3):
        x = x + remember(x, i / 4, np.arange(2)) / 4
    with Model.open(folder, threads=1) as other:
        got = other.generate("E3R1", 2.5, classes, start, images=False).latents
    np.testing.assert_allclose(got, x + last[0] / 4, atol=1e-4)


def test_latents_are_filed_under_what_they_depend_on(model: Model, tmp_path: Path) -> None:
    folder = alternatives.write_reuse(TEXTURES, tmp_path / "reuse")
    with Model.open(folder, threads=1) as other:
        assert other.sampler_hash(refines=False) == model.sampler_hash(refines=False)
        assert other.sampler_hash(refines=True) != model.sampler_hash(refines=True)
    with Model.open(TEXTURES, threads=1) as other:
        other.manifest["networks"]["decoder"]["sha256"] = other.manifest["name"] = "another"
        assert other.sampler_hash(refines=True) == model.sampler_hash(refines=True)
        other.manifest["networks"]["predictor"]["sha256"] = "another"
        assert other.sampler_hash(refines=False) != model.sampler_hash(refines=False)


def test_another_predictor_is_no_alternative(tmp_path: Path) -> None:
    folder = alternatives.write_reuse(TEXTURES, tmp_path / "reuse")
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["networks"]["predictor"]["sha256"] = "0" * 64
    (folder / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(SystemExit, match="more than the refiner"):
        alternatives.check_same_predictor(TEXTURES, folder)


def test_an_image_of_any_size_tiles(model: Model) -> None:
    channels, height, width = model.latent_shape
    start = np.random.default_rng(3).standard_normal((1, channels, height, 2 * width), np.float32)
    made = model.generate("E4", 1.0, np.array([2]), start, seamless="both")
    assert made.images.shape == (1, 128, 256, 3) and made.latents.shape == start.shape
    without = model.generate("E4", 1.0, np.array([2]), start)
    assert np.abs(made.latents - without.latents).max() > 0.01


def test_failures_of_the_library_are_told(model: Model, tmp_path: Path) -> None:
    with pytest.raises(flowturbo.Error, match="Q"):
        model.generate("H1Q2", 2.5, np.array([0]), noise(model, 1))
    with pytest.raises(ValueError, match="noise of shape"):
        model.generate("E1", 2.5, np.array([0, 1]), noise(model, 1))
    with pytest.raises(flowturbo.Error):
        Model.open(tmp_path / "nothing")
    with pytest.raises(SystemExit, match="cargo build --release"):
        use_library(tmp_path / "no.so")


def test_the_command_makes_every_table_and_goes_on_where_it_ended(
    model: Model,
    extractor: Extractor,
    images: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    data, out, document = tmp_path / "data", tmp_path / "out", tmp_path / "quality.md"
    for number, image in enumerate(images):
        folder = data / model.labels[number // 4]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number}.png")
    (tmp_path / "images").mkdir()
    out.mkdir()
    shutil.copy(extractor.path, out)
    document.write_text("# Quality\n\n<!-- begin schedules -->\n<!-- end schedules -->\n")
    schedules, others = ("E4", "E6", "H2", "H1P2R2", "H1P5R3"), ("H1P5R3", TaylorSeer(20, 3), EasyCache(20, 0.1))
    monkeypatch.setattr("eval.run.plan", lambda: [*map(Row, schedules)])
    more = [Row("H8", 1.0), *map(Row, others)]
    monkeypatch.setattr("eval.run.plan_others", lambda names: [*more, Row("H1P5R3", refiner=names[0])])
    monkeypatch.setattr("eval.judge.REFERENCE", "H4")
    monkeypatch.setattr("eval.seams.STEPS", 2)
    monkeypatch.setattr("eval.seams.LARGE", (2,))
    monkeypatch.setattr("eval.seams.LARGE_COUNT", 1)
    sizes = {
        "each": 2,
        "each-other": 1,
        "reference-count": 2,
        "real-each": 3,
        "variants": 1,
        "rounds": 2,
        "repeats": 3,
        "threads": 2,
        "seam-each": 2,
    }
    places = {"library": SHARED_LIBRARY, "data": data, "out": out}
    arguments = [f"--{name}={value}" for name, value in (sizes | places).items()]
    run.main([*arguments, f"--document={document}"])
    assert "10 rows of 165 images" in capsys.readouterr().out
    assert "| H1P5R3 | 7 | 6 |" in document.read_text()
    written = (out / "tables.md").read_text()
    assert "| TaylorSeer, 20 steps, every 3, order 1 | 8 | 0 |" in written and "| H1P5R3, reuse | 7 | 6 |" in written
    names = ("classifier", "floors", "sanity", "target", "guidance", "others", "refiners", "memory", "seams")
    assert all(f"## {name}" in written for name in names)
    for name in ("front.png", "guidance.png", "nearest.png", "tilings.jpg"):
        Image.open(tmp_path / "images" / f"quality-{name}").verify()
    assert "| 1 | H8 |" in written and "cross validated 0." in written
    run.main(arguments)
    assert "rows of" not in capsys.readouterr().out
    assert (out / "tables.md").read_text() == written


def test_more_images_are_added_to_those_there_are(
    model: Model, extractor: Extractor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eval.judge.CHUNK", 2)
    real = SimpleNamespace(classes=model.labels[:2], identity="none")
    sizes = {"seed": 0, "reference_count": 1, "real_each": 1, "variants": 1, "repeats": 1, "threads": 1}
    few = Judge(Store(tmp_path), extractor, real, TEXTURES, {"": model}, each=2, **sizes)
    many, row = replace(few, each=3), Row("E1")
    assert few.missing_latents(row) == 4 and many.missing_latents(row) == 6
    first = few.latents(row)
    assert few.missing_latents(row) == 0 and many.missing_latents(row) == 2
    monkeypatch.setattr(model, "generate", only := Recorder(model.generate))
    both = many.latents(row)
    assert only.counts == [2] and list(both["predictor"]) == 6 * [1]
    np.testing.assert_array_equal(both["latents"][:4], first["latents"])
    np.testing.assert_array_equal(many.latents(row, 2)["latents"], first["latents"][:2])


class Recorder:
    """Counts the images of every request that it passes on."""

    def __init__(self, generate: Callable[..., Generation]):
        self.generate, self.counts = generate, []

    def __call__(self, schedule: str, guidance: float, classes: np.ndarray, *rest: object, **options: object):
        self.counts.append(len(classes))
        return self.generate(schedule, guidance, classes, *rest, **options)
