"""Classes as they are trained and published: label tables without a null row, one class, none, and lists of labels."""

from __future__ import annotations

import argparse
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import export, run_network
from export import ExportError
from export.checkpoint import count_classes, load_sit
from export.synthetic import enliven
from nets.sit import SiT, SiTConfig
from torch import Tensor, nn

SMALL = SiTConfig(8, 4, 4, 32, 1, 2, num_classes=3, mlp_hidden=64, out_channels=4)


def checkpoint(path: Path, **changes: object) -> Path:
    torch.manual_seed(0)
    torch.save(enliven(SiT(replace(SMALL, **changes)).initialise()).state_dict(), path)
    return path


@pytest.mark.parametrize(
    ("rows", "classes", "wanted"),
    [
        (1001, None, (1000, True)),
        (1001, 1000, (1000, True)),
        (1001, 1001, (1001, False)),
        (1000, 1000, (1000, False)),
        (1000, 999, (999, True)),
        (2, None, (1, True)),
        (2, 2, (2, False)),
        (1, None, (1, False)),
        (1, 1, (1, False)),
    ],
)
def test_a_label_table_is_of_so_many_classes(rows: int, classes: int | None, wanted: tuple[int, bool]) -> None:
    assert count_classes(rows, classes) == wanted


@pytest.mark.parametrize(
    ("rows", "classes", "message"),
    [
        (1000, None, "--classes 1000 if each is a class.* --classes 999"),
        (1001, 10, "1001 rows, not those of 10 classes or labels"),
        (11, 12, "11 rows, not those of 12"),
        (1, 0, "1 row"),
    ],
)
def test_a_table_that_may_be_of_either_kind_is_refused(rows: int, classes: int | None, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        count_classes(rows, classes)


@pytest.mark.parametrize("arguments", [argparse.Namespace(num_classes=4), {"num_classes": 4}])
def test_a_training_checkpoint_says_how_many_classes_it_is_of(arguments: object, tmp_path: Path) -> None:
    state = torch.load(checkpoint(tmp_path / "net.pt"), weights_only=True)
    torch.save({"ema": state, "args": arguments}, tmp_path / "net.pt")
    config = load_sit(tmp_path / "net.pt", heads=2).config
    assert (config.num_classes, config.null_class) == (4, False)
    config = load_sit(tmp_path / "net.pt", heads=2, classes=3).config
    assert (config.num_classes, config.null_class) == (3, True)


LABELS = ["crane", "tench, Tinca tinca", "crane", "Cardigan", "cardigan", "5", " Mörtel ", "Кирпич\u2028\x0b"]


def test_published_labels_and_a_table_without_a_null_row_become_a_bundle_that_cannot_be_guided(
    program: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    network = checkpoint(tmp_path / "net.pt", num_classes=len(LABELS), null_class=False)
    (tmp_path / "labels.txt").write_bytes(("\ufeff" + "\r\n".join(LABELS) + "\n\n").encode())
    how = ["--predictor", network, "--heads", 2, "--labels", tmp_path / "labels.txt", "--out", tmp_path / "out"]
    assert export(*how, "--guidance", 4) == 2
    assert "guidance must be 1, not 4.0: there is no null class" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert export(*how, run=program) == 0
    manifest = json.loads((tmp_path / "out" / "bundle.json").read_text(encoding="utf-8"))
    assert manifest["classes"] == {"count": len(LABELS), "labels": LABELS}
    assert manifest["sampling"]["guidance"] == 1.0 and "guidance" not in manifest
    command = [program, "latents", tmp_path / "out", "--seed", "1", "--class", "0", "--output", tmp_path / "l.npy"]
    asked = subprocess.run([*command, "--guidance", "4"], check=False, capture_output=True, text=True)
    assert asked.returncode == 2 and "guidance" in asked.stderr
    assert subprocess.run(command, check=False).returncode == 0
    assert np.isfinite(np.load(tmp_path / "l.npy")).all()


def test_a_blank_line_among_labels_is_no_label_left_out(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "labels.txt").write_text("a\n\nc\n")
    how = ["--predictor", checkpoint(tmp_path / "net.pt"), "--heads", 2, "--labels", tmp_path / "labels.txt"]
    assert export(*how, "--out", tmp_path / "out") == 2
    assert "label 1 must not be empty" in capsys.readouterr().err


def test_a_refiner_that_knows_no_null_class_belongs_to_no_predictor_that_does(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    networks = ["--predictor", checkpoint(tmp_path / "p.pt"), "--refiner"]
    networks.append(checkpoint(tmp_path / "r.pt", refiner=True, null_class=False))
    assert export(*networks, "--heads", 2, "--classes", 3, "--out", tmp_path / "out") == 2
    assert "null class True and False" in capsys.readouterr().err


class Unconditional(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.conv(x) * t[:, None, None, None]


def test_a_predictor_that_takes_no_class_is_a_bundle_of_one_class(program: Path, tmp_path: Path) -> None:
    assert run_network(Unconditional(), program, tmp_path / "out", given=False) < 1e-5
    manifest = json.loads((tmp_path / "out" / "bundle.json").read_text(encoding="utf-8"))
    assert manifest["classes"] == {"count": 1}
    assert manifest["networks"]["predictor"]["inputs"] == {"x": "x", "t": "t"}


def test_classes_and_forward_have_to_agree(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="forward takes no class"):
        run_network(Unconditional(), tmp_path, tmp_path / "out")
    with pytest.raises(ExportError, match="forward takes a class"):
        run_network(SiT(SMALL), tmp_path, tmp_path / "out", given=False)
