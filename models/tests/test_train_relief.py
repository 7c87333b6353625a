"""Maps for a bundle of colours: the colours stay what they were, and the maps belong to them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TEXTURES, Bundle
from nets.relief import Relief
from train.data import write_smoke_images
from train.relief import main, repaint, soften
from train.sets import write_smoke_materials

MAPS = ("color", "normal", "height", "roughness")


def run(*arguments: object, program: Path | None = None) -> int:
    how = ["--no-run"] if program is None else ["--flowturbo", program]
    return main([str(argument) for argument in ("--start", TEXTURES, "--batch", 2, *arguments, *how)])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("materials")
    write_smoke_materials(folder, 128)
    return folder


def test_a_bundle_gets_maps_and_keeps_its_colours(data: Path, program: Path, tmp_path: Path, capsys) -> None:
    assert run("--data", data, "--out", tmp_path, "--steps", 3, "--license", "CC-BY-SA-4.0", program=program) == 0
    assert "run by flowturbo" in capsys.readouterr().out
    before, after = Bundle(TEXTURES), Bundle(tmp_path / "bundle")
    latent = np.random.default_rng(0).standard_normal((2, 8, 16, 16), np.float32)
    colours, made = before.run("decoder", latent=latent), after.run("decoder", latent=latent)
    assert made.shape == (2, 7, 128, 128)
    assert np.array_equal(made[:, :3], colours)
    for role, network in after.manifest["networks"].items():
        digest = hashlib.sha256((after.folder / network["file"]).read_bytes()).hexdigest()
        assert digest == network["sha256"]
        assert (digest == before.manifest["networks"][role]["sha256"]) == (role != "decoder")
    changed = {key for key in after.manifest if after.manifest[key] != before.manifest.get(key)}
    assert changed == {"format_version", "license", "image", "networks"}
    assert after.manifest["image"] == before.manifest["image"] | {"maps": list(MAPS)}
    assert after.manifest["format_version"] == "1.1"
    assert json.loads((tmp_path / "relief.json").read_text()).keys() >= {"steps", "normal", "normal_of_sobel", "height"}


def test_it_goes_on_where_it_ended(data: Path, tmp_path: Path) -> None:
    assert run("--data", data, "--out", tmp_path, "--steps", 2) == 0
    assert run("--data", data, "--out", tmp_path, "--steps", 3) == 0
    steps = [line.split(",")[0] for line in (tmp_path / "relief.csv").read_text().splitlines()]
    assert steps == ["step", "2", "3"]


def test_it_learns_what_is_there_to_be_learnt(tmp_path: Path) -> None:
    """Waves whose lightness is their height, at a size at which steps are quick."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    relief = Relief(MAPS)
    optimiser = torch.optim.AdamW(relief.parameters(), 2e-3)
    angles = 2 * torch.pi * torch.arange(32) / 32

    def waves() -> torch.Tensor:
        phases = 6 * torch.rand(4, 1, 1, 1, generator=generator)
        return torch.sin(2 * angles[None, None, None] + angles[None, None, :, None] + phases).expand(-1, 3, -1, -1)

    first = None
    for _ in range(60):
        colours = 0.5 * waves()
        loss = (relief(colours)[:, 2:3] - 2 * colours[:, :1]).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        first = first or loss.item()
    assert loss.item() < 0.5 * first


def test_maps_wrap_as_their_colours_do() -> None:
    torch.manual_seed(0)
    relief, colours = Relief(MAPS).eval(), torch.rand(1, 3, 48, 64) * 2 - 1
    with torch.no_grad():
        moved = relief(colours.roll((16, 24), (2, 3)))
        torch.testing.assert_close(moved, relief(colours).roll((16, 24), (2, 3)), rtol=1e-4, atol=1e-5)


def test_paint_and_blur_leave_images_images() -> None:
    generator, colours = torch.Generator().manual_seed(0), torch.rand(16, 3, 32, 32) * 2 - 1
    painted = repaint(colours, generator)
    assert painted.abs().max() <= 1 and (painted - colours).abs().mean() > 0.05
    blurred = soften(colours, generator)
    same = (blurred == colours).flatten(1).all(1)
    assert same.any() and not same.all()
    torch.testing.assert_close(blurred.mean((2, 3)), colours.mean((2, 3)), rtol=0, atol=1e-5)
    assert (blurred[~same].std((1, 2, 3)) < 0.8 * colours[~same].std((1, 2, 3))).all()


def test_what_has_no_maps_to_learn_from_or_has_them_already_is_refused(data: Path, tmp_path: Path, capsys) -> None:
    write_smoke_images(tmp_path / "plain", 32)
    assert run("--data", tmp_path / "plain", "--out", tmp_path / "work", "--steps", 1) == 2
    assert "maps are learnt from materials" in capsys.readouterr().err
    assert run("--data", data, "--out", tmp_path / "work", "--steps", 1) == 0
    assert main(["--start", str(tmp_path / "work" / "bundle"), "--data", str(data), "--out", str(tmp_path / "b")]) == 2
    assert "has maps already" in capsys.readouterr().err
