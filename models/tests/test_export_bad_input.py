"""Bad input gives one line that names the culprit, exit code 2, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import REPOSITORY, TINY, export
from export import ExportError
from export.bundle import Classes, Latent, Manifest, Time, write_bundle
from export.verify import verify
from torch import nn

State = dict[str, torch.Tensor]


def without_bias(state: State) -> None:
    del state["blocks.2.attn.qkv.bias"]


def without_table(state: State) -> None:
    del state["y_embedder.embedding_table.weight"]


def wrong_shape(state: State) -> None:
    state["blocks.1.mlp.fc2.weight"] = torch.zeros(3, 7)


def wrong_rank(state: State) -> None:
    state["x_embedder.proj.weight"] = torch.zeros(64, 16)


def extra_key(state: State) -> None:
    state["blocks.0.attn.q_norm.weight"] = torch.zeros(16)


def odd_rows(state: State) -> None:
    state["final_layer.linear.weight"] = torch.zeros(17, 64)


def not_square(state: State) -> None:
    state["pos_embed"] = torch.zeros(1, 60, 64)


def not_a_number(state: State) -> None:
    state["blocks.1.mlp.fc2.weight"] = torch.full((64, 256), torch.nan)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_bias, "no blocks.2.attn.qkv.bias"),
        (without_table, "there is no y_embedder.embedding_table.weight"),
        (wrong_shape, "blocks.1.mlp.fc2.weight has shape (3, 7), not (64, 256)"),
        (wrong_rank, "4 dimensions were expected"),
        (extra_key, "unexpected blocks.0.attn.q_norm.weight"),
        (odd_rows, "final_layer.linear has 17 rows"),
        (not_square, "60 tokens"),
        (not_a_number, "not finite"),
    ],
)
def test_a_spoiled_state_dict_is_refused(
    spoil: Callable[[State], None], message: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    state = torch.load(TINY / "predictor.pt", weights_only=True)
    spoil(state)
    torch.save(state, tmp_path / "net.pt")
    refuses(tmp_path, capsys, message, "--predictor", tmp_path / "net.pt", "--heads", 4)


class Surprise:
    """Something that a checkpoint has no business to hold."""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ((TINY / "predictor.pt").read_bytes()[:300_000], "not a checkpoint, or a damaged one"),
        (b"<html>404</html>", "not a checkpoint, or a damaged one"),
        (b"", "not a checkpoint, or a damaged one"),
        ([1, 2, 3], "holds no state dict"),
        ({"model": {"a": 1}}, "holds no state dict"),
        ({"model": {}, "args": Surprise()}, "--trust"),
    ],
    ids=["truncated", "text", "empty", "list", "numbers", "objects"],
)
def test_a_file_that_is_no_checkpoint_is_refused(
    content: object, message: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "net.pt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    refuses(tmp_path, capsys, message, "--predictor", path, "--heads", 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--predictor", "absent.pt"], "no such file"),
        (["--predictor", TINY / "predictor.pt"], "give --heads"),
        (["--predictor", TINY / "predictor.pt", "--heads", 5], "5 heads do not divide width 64"),
        (["--predictor", TINY / "predictor.pt", "--heads", 4, "--schedule", "H1R2"], "no refiner"),
        (["--predictor", TINY / "predictor.pt", "--heads", 4, "--schedule", "R2"], "predictor step before it"),
        (["--predictor", TINY / "predictor.pt", "--heads", 4, "--schedule", "H1X2"], "H1P5R3 or HPPPPPRRR"),
        (["--predictor", TINY / "predictor.pt", "--heads", 4, "--guidance", "nan"], "guidance must be finite"),
        (["--predictor", TINY / "predictor.pt", "--heads", 4, "--guided-channels", 5], "1 to 4"),
        (["--predictor", TINY / "predictor.pt", "--heads", 4, "--labels", TINY / "README.md"], "labels"),
        (["--predictor", TINY / "predictor.pt", "--heads", 4, "--name", "a b"], "name 'a b'"),
        (["--predictor", TINY / "predictor.pt", "--heads", 4, "--vae", TINY], "config.json"),
        (
            ["--predictor", TINY / "refiner.pt", "--heads", 4, "--refiner", TINY / "refiner.pt"],
            "latent channels 8 and 4",
        ),
        (["--random", "XXL/2"], "XXL/2"),
    ],
)
def test_arguments_that_make_no_bundle_are_refused(
    arguments: list, message: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    refuses(tmp_path, capsys, message, *arguments)


def refuses(folder: Path, capsys: pytest.CaptureFixture, message: str, *arguments: object) -> None:
    before = sorted(folder.rglob("*"))
    assert export(*arguments, "--out", folder / "out") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error
    assert sorted(folder.rglob("*")) == before


def test_the_script_exits_with_2_and_no_traceback(tmp_path: Path) -> None:
    script = REPOSITORY / "models" / "export" / "sit.py"
    command = [sys.executable, script, "--predictor", TINY / "predictor.pt", "--out", tmp_path / "out"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


GOOD = Manifest("good", Latent(4, 16, 16), Classes(3), schedule="P8", guidance=1.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "name"),
        ({"latent": Latent(4, 16, 16, scale=0.0)}, "scale"),
        ({"latent": Latent(4, 16, 16, shift=float("inf"))}, "shift"),
        ({"latent": Latent(0, 16, 16)}, "sizes"),
        ({"classes": Classes(0)}, "one class"),
        ({"classes": Classes(3, null=2)}, "null label 2"),
        ({"classes": Classes(3, labels=["a", "b"])}, "2 labels for 3"),
        ({"classes": Classes(3, labels=["a", "b", "a"])}, "unique"),
        ({"time": Time(direction="sideways")}, "sideways"),
        ({"time": Time(velocity_sign=2)}, "velocity sign"),
        ({"presets": {"fast": ("", 1.0)}}, "schedule"),
        ({"presets": {"fast": ("P0", 1.0)}}, "no step"),
        ({"presets": {"fast": ("P2", -1.0)}}, "guidance"),
    ],
)
def test_a_manifest_that_breaks_a_rule_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        replace(GOOD, **changes).check()


def test_networks_without_a_predictor_or_an_image_size_are_refused(tmp_path: Path) -> None:
    for networks, message in (
        ({"decoder": nn.Identity()}, "needs a predictor"),
        ({"predictor": 0, "upscaler": 0}, "upscaler"),
    ):
        with pytest.raises(ExportError, match=message):
            write_bundle(tmp_path / "out", GOOD, networks)
    with pytest.raises(ExportError, match="image size"):
        write_bundle(tmp_path / "out", GOOD, {"predictor": nn.Identity(), "decoder": nn.Identity()})


def test_a_graph_that_differs_from_its_module_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from export import bundle
    from export.checkpoint import load_sit

    def spoiled(module: nn.Module, *rest: object) -> float:
        with torch.no_grad():
            module.blocks[0].mlp.fc1.weight.mul_(1.01)
        return verify(module, *rest)

    monkeypatch.setattr(bundle, "verify", spoiled)
    manifest = Manifest("tiny", Latent(4, 16, 16), Classes(10), schedule="P8", guidance=1.0)
    with pytest.raises(ExportError, match=r"predictor\.onnx: ONNX Runtime is .* away from PyTorch"):
        write_bundle(tmp_path / "out", manifest, {"predictor": load_sit(TINY / "predictor.pt", heads=4)}, dtype="f32")
    assert not list(tmp_path.iterdir())
