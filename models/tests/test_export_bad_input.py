"""Bad input gives one line that names the culprit, exit code 2, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
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
    command = [sys.executable, script, "--predictor", TINY / "predictor.pt", "--out", tmp_path / "out", "--no-run"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


class Stub(nn.Module):
    """Has a predictor's arguments."""

    def forward(self, x: torch.Tensor, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x


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
        ({"classes": Classes(3, null=3, guided=False), "guidance": 1.0}, "null label"),
        ({"classes": Classes(3, guided=False), "guidance": 1.5}, "guidance must be 1, not 1.5"),
        ({"classes": Classes(3, guided=False), "presets": {"fast": ("P2", 4.0)}}, "guidance must be 1, not 4.0"),
        ({"classes": Classes(3, guided=False), "refiner_guided": True}, "without a null class"),
        ({"classes": Classes(2, given=False)}, "takes no class has one, not 2"),
        ({"classes": Classes(1, given=False), "guidance": 4.0}, "guidance must be 1, not 4.0"),
        ({"time": Time(direction="sideways")}, "sideways"),
        ({"time": Time(velocity_sign=2)}, "velocity sign"),
        ({"presets": {"fast": ("", 1.0)}}, "schedule"),
        ({"presets": {"fast": ("P0", 1.0)}}, "no step"),
        ({"presets": {"fast": ("P2", -1.0)}}, "guidance"),
        ({"name": "a" * 65}, "name"),
        ({"name": "good\n"}, "name"),
        ({"description": "two\nlines"}, "description"),
        ({"description": "two\r"}, "description"),
        ({"description": "ring \x07"}, "description"),
        ({"license": "MIT\nor not"}, "license"),
        ({"license": "MIT\x7f"}, "license"),
        ({"presets": {"very fast": ("P2", 1.0)}}, "preset name 'very fast'"),
        ({"presets": {"": ("P2", 1.0)}}, "preset name ''"),
        ({"presets": {"schnellstmöglich": ("P2", 1.0)}}, "preset name"),
        ({"presets": {"a\n": ("P2", 1.0)}}, "preset name"),
        ({"latent": Latent(4, 16, 16, scale=1e39)}, "latent scale 1e\\+39"),
        ({"latent": Latent(4, 16, 16, scale=-1e-46)}, "latent scale -1e-46"),
        ({"latent": Latent(4, 16, 16, scale=float("nan"))}, "latent scale nan"),
        ({"latent": Latent(4, 16, 16, shift=-1e39)}, "latent shift -1e\\+39"),
        ({"time": Time(scale=1e39)}, "time scale"),
        ({"time": Time(scale=1e-46)}, "time scale"),
        ({"time": Time(scale=10**400)}, "time scale"),
        ({"guidance": 3.5e38}, "guidance"),
        ({"presets": {"fast": ("P2", 1e39)}}, "guidance"),
        ({"image": (128, 120)}, "image width 120"),
        ({"image": (15, 128)}, "image height 15"),
        ({"image": (0, 128)}, "image height 0"),
        ({"preview": 3 * [[0.0] * 5]}, "needs the image size"),
        ({"guided_channels": 3, "refiner_guided": True}, "some channels are not guided"),
        ({"image": (128, 128), "preview": 2 * [[0.0] * 5]}, "preview: 3 rows of 5 numbers, not \\[5, 5\\]"),
        ({"image": (128, 128), "preview": [[0.0] * 5, [0.0] * 5, [0.0] * 4]}, "not \\[5, 5, 4\\]"),
        ({"image": (128, 128), "preview": 3 * [[0.0] * 4 + [1e39]]}, "preview: every number"),
        ({"classes": Classes(3, labels=["a", "", "c"])}, "label 1 must not be empty"),
        ({"classes": Classes(3, labels=["a", "b", " "])}, "label 2 must not be empty"),
        ({"classes": Classes(3, labels=["a", "2", "c"])}, "label '2' of class 1 reads as another class's number"),
        ({"classes": Classes(3, labels=["a", "-07", "c"])}, "label '-07'"),
        ({"classes": Classes(3, labels=["a", "-1", "c"])}, "label '-1'"),
        ({"classes": Classes(3, labels=["a", "+9", "c"])}, "label '\\+9'"),
        ({"classes": Classes(3, labels=["a", "9" * 5000, "c"])}, "another class's number"),
    ],
)
def test_a_manifest_that_breaks_a_rule_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(ExportError, match=message) as caught:
        replace(GOOD, **changes).check()
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "a" * 64, "description": "", "license": "CC-BY-SA-3.0 — Straße"},
        {"latent": Latent(4, 16, 16, scale=-1e-45, shift=1e-50), "time": Time(scale=3.4028235e38)},
        {"guidance": 0.0, "presets": {"A.b_c-9": ("H01P5R3", 1e-50)}},
        {"guidance": 7},
        {"image": (16, 128)},
        {"image": (128, 128), "preview": 3 * [[0.0] * 4 + [3.4e38]]},
        {"classes": Classes(3, labels=["Ä", "ä", "İ"])},
        {"classes": Classes(3, labels=["1a", "1.5", "-"])},
        {"classes": Classes(3, labels=["1_0", "٣", "1 2"])},
        {"classes": Classes(3, labels=["-0", "+01", "2"])},
        {"classes": Classes(3, labels=["crane", "Cardigan", "cardigan"])},
        {"classes": Classes(3, labels=["crane", "tench, Tinca tinca", "crane"])},
        {"classes": Classes(3, guided=False), "presets": {"fast": ("P2", 1.0)}},
        {"classes": Classes(1, given=False, labels=["faces"])},
    ],
)
def test_a_manifest_at_the_edge_of_a_rule_is_good(changes: dict) -> None:
    replace(GOOD, **changes).check()


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ("H0P5", "H0 is no step"),
        ("P5R0", "R0 is no step"),
        ("P00", "P0 is no step"),
        ("R0", "R0 is no step"),
        ("R3", "predictor step before it"),
        ("P1001", "more than 1000 steps"),
        ("H500P500R1", "more than 1000 steps"),
        ("P" * 1001, "more than 1000 steps"),
        ("P" + "9" * 5000, "more than 1000 steps"),
        ("P٣", "write it like"),
        ("h1", "write it like"),
        ("P1\n", "write it like"),
        ("", "write it like"),
        ("P1000", None),
        ("H500P499R", None),
        ("P" * 1000, None),
        ("P" + "0" * 5000 + "1", None),
    ],
    ids=lambda value: value[:24] if value else None,
)
def test_a_schedule_is_held_to_the_loaders_rules(schedule: str, message: str | None) -> None:
    if message is None:
        return replace(GOOD, schedule=schedule).check()
    for changes in ({"schedule": schedule}, {"presets": {"fast": (schedule, 1.0)}}):
        with pytest.raises(ExportError, match=message) as caught:
            replace(GOOD, **changes).check()
        assert len(str(caught.value).splitlines()) == 1


def test_networks_without_a_predictor_or_an_image_size_are_refused(tmp_path: Path) -> None:
    for networks, message in (
        ({"decoder": nn.Identity()}, "needs a predictor"),
        ({"predictor": 0, "upscaler": 0}, "upscaler"),
    ):
        with pytest.raises(ExportError, match=message):
            write_bundle(tmp_path / "out", GOOD, networks)
    predictor, coder, image = {"predictor": Stub()}, {"decoder": nn.Identity()}, {"image": (128, 128)}
    with pytest.raises(ExportError, match="needs the image size"):
        write_bundle(tmp_path / "out", GOOD, predictor | coder)
    with pytest.raises(ExportError, match="image size needs a decoder"):
        write_bundle(tmp_path / "out", replace(GOOD, **image), predictor)


def stub(role: str, manifest: Manifest, module: nn.Module, folder: Path, *rest: object) -> tuple:
    """In the place of `write_network`."""
    (folder / f"{role}.onnx").write_bytes(b"new")
    return {"file": f"{role}.onnx"}, (role, 0, 3, 0.0)


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


@pytest.mark.parametrize(
    ("out", "older"), [("out", "folder"), ("out.zip", "folder"), ("out.zip", "zip"), ("out", "zip"), ("out", None)]
)
@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_an_older_bundle_survives_a_failed_move(
    out: str, older: str | None, failure: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from export import bundle

    def replace_fails(source: Path, target: Path) -> None:
        assert source.exists() and not target.is_dir()
        raise failure

    if older == "folder":
        (tmp_path / out).mkdir()
        (tmp_path / out / "bundle.json").write_text("old")
    elif older == "zip":
        with zipfile.ZipFile(tmp_path / out, "w") as archive:
            archive.writestr("bundle.json", "old")
    before = contents(tmp_path)
    monkeypatch.setattr(bundle, "write_network", stub)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace_fails)
        with pytest.raises(ExportError if isinstance(failure, OSError) else KeyboardInterrupt):
            write_bundle(tmp_path / out, GOOD, {"predictor": Stub()})
    assert contents(tmp_path) == before
    if (out, older) != ("out", "zip"):  # a folder cannot take the place of a file
        write_bundle(tmp_path / out, GOOD, {"predictor": Stub()})
        after = contents(tmp_path)
        assert after != before and {name.split("/")[0] for name in after} == {out}


@pytest.mark.skipif(os.name == "nt", reason="modes and links are those of POSIX")
@pytest.mark.parametrize("out", ["out", "out.zip"])
def test_what_an_older_bundle_is_called_and_allowed_stays(
    out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from export import bundle

    monkeypatch.setattr(bundle, "write_network", stub)
    (tmp_path / "link").symlink_to(tmp_path / out)
    write_bundle(tmp_path / out, GOOD, {"predictor": Stub()})
    mode = 0o600 if out.endswith(".zip") else 0o700
    (tmp_path / out).chmod(mode)
    write_bundle(tmp_path / "link", replace(GOOD, name="newer"), {"predictor": Stub()})
    assert (tmp_path / "link").is_symlink() and (tmp_path / out).stat().st_mode & 0o777 == mode
    packed = zipfile.ZipFile(tmp_path / out) if out.endswith(".zip") else None
    manifest = packed.read("bundle.json") if packed else (tmp_path / out / "bundle.json").read_bytes()
    assert json.loads(manifest)["name"] == "newer"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["link", out])


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
