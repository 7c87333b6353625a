"""The exporter has flowturbo run what it made: a bundle that is refused, or off, is not written."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import TINY, export, run_network
from export import ExportError, program
from export.bundle import Classes, Latent, Manifest, Time, write_bundle
from export.program import compare, find_program
from export.synthetic import enliven
from nets.autoencoder import AutoencoderConfig, Decoder, Encoder
from nets.sit import SiT, SiTConfig
from torch import Tensor, nn

MANIFEST = Manifest(
    "whole",
    Latent(4, 4, 4, scale=0.5, shift=0.25),
    Classes(3),
    schedule="H1R1",
    guidance=2.0,
    image=(32, 32),
    time=Time("data_to_noise", 1000.0, -1),
)


def make_networks() -> dict[str, nn.Module]:
    torch.manual_seed(0)

    def sit(refiner: bool) -> SiT:
        config = SiTConfig(4, 2, 4, 32, 1, 2, 3, 64, 4, refiner, time_scale=1e-3)
        return enliven(SiT(config).initialise())

    config = AutoencoderConfig(latent_channels=4, encoder_widths=(8, 8, 8), decoder_widths=(8, 8, 8, 8))
    encoder, decoder = Encoder(config), Decoder(config)
    encoder(3 * torch.randn(4, 3, 64, 64) + 1)  # gives the running norm statistics of its own
    return {"predictor": sit(False), "refiner": sit(True), "decoder": decoder.eval(), "encoder": encoder.eval()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, program: Path) -> tuple[Path, dict[str, nn.Module]]:
    """A bundle of all four networks, which flowturbo has run."""
    out, networks = tmp_path_factory.mktemp("whole") / "bundle", make_networks()
    report = write_bundle(out, MANIFEST, networks, program=program)
    assert report.run < 1e-4 and "run by flowturbo: " in str(report)
    return out, networks


@pytest.mark.parametrize("role", ["predictor", "refiner", "decoder", "encoder"])
def test_a_network_that_flowturbo_computes_otherwise_is_named(role: str, whole: tuple, program: Path) -> None:
    out, networks = whole
    spoiled = copy.deepcopy(networks)
    with torch.no_grad():
        largest = max(spoiled[role].parameters(), key=lambda p: p.numel() if p.dim() > 1 else 0)
        largest.mul_(1.05)
    if role == "encoder":  # which is run without a decoder too
        del spoiled["decoder"]
    with pytest.raises(ExportError, match=rf"^{role}\.onnx: flowturbo is .* away from PyTorch for .*, more than"):
        compare(program, out, MANIFEST, spoiled, "f16")


def test_a_bundle_that_is_not_run_says_so(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert export("--predictor", TINY / "predictor.pt", "--heads", 4, "--out", tmp_path / "out") == 0
    assert "not run by flowturbo\n" in capsys.readouterr().out


class Determinant(nn.Module):
    """ONNX Runtime has an operator for it, flowturbo none."""

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return x + torch.linalg.det(x)[:, :, None, None] * 1e-3 + (t + y)[:, None, None, None]


def test_what_flowturbo_refuses_is_not_written(program: Path, tmp_path: Path) -> None:
    manifest = Manifest("small", Latent(4, 4, 4), Classes(3), schedule="P8", guidance=1.0)
    with pytest.raises(ExportError, match=r"^flowturbo refuses the bundle: predictor\.onnx: .*Det") as caught:
        write_bundle(tmp_path / "out", manifest, {"predictor": Determinant()}, "f32", program=program)
    assert len(str(caught.value).splitlines()) == 1 and str(tmp_path) not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def fake(tmp_path: Path) -> Callable[[str], Path]:
    """A program of the user's making."""
    if os.name == "nt":
        pytest.skip("programs are shell scripts here")

    def make(script: str) -> Path:
        (tmp_path / "bin").mkdir()
        path = tmp_path / "bin" / "flowturbo"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return make


class Sum(nn.Module):
    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return x + (t + y)[:, None, None, None]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo a warning >&2; echo error: out of memory >&2; exit 1", "flowturbo refuses the bundle: out of memory$"),
        ("exit 3", "flowturbo refuses the bundle: no reason given$"),
        ("kill -SEGV $$", "flowturbo ended by SIGSEGV while it ran the bundle$"),
        ("exit 0", "flowturbo wrote no states.npy$"),
        ("echo no numbers > states.npy", "flowturbo wrote no states.npy$"),
    ],
)
def test_a_program_that_fails_is_one_line(
    script: str, message: str, fake: Callable[[str], Path], tmp_path: Path
) -> None:
    path = fake(script)
    with pytest.raises(ExportError, match=message):
        run_network(Sum(), path, tmp_path / "out")


def test_the_program_is_the_one_named_then_the_variables_then_the_paths(
    fake: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "BUILT", tmp_path / "target" / "flowturbo")
    monkeypatch.delenv(program.VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(ExportError, match="neither on PATH nor at .*cargo build --release.*--no-run"):
        find_program()
    path = fake("exit 0")
    assert find_program() == path
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(program, "BUILT", path)
    assert find_program() == path
    monkeypatch.setenv(program.VARIABLE, str(tmp_path / "gone"))
    with pytest.raises(ExportError, match=r"gone: no such program \(from \$FLOWTURBO_PROGRAM\)"):
        find_program()
    assert find_program(path) == path
    with pytest.raises(ExportError, match=r"other: no such program \(from --flowturbo\)"):
        find_program(tmp_path / "other")


def test_without_a_program_nothing_is_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    assert export("--predictor", "absent.pt", "--out", tmp_path / "out", run=gone) == 2
    assert capsys.readouterr().err == f"error: {gone}: no such program (from --flowturbo)\n"
