"""The benchmark on the bundled model: peers that read the same graphs make the same picture, and every row has a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
PROGRAM = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"), "release", "flowturbo")
# OpenVINO is not among what models/requirements.txt asks for, and compiling by PyTorch takes a compiler and long.
PEERS = ("flowturbo", "tract", "onnxruntime", "torch")


@pytest.mark.skipif(not PROGRAM.is_file(), reason=f"{PROGRAM} is not built: cargo build --release")
def test_the_bundled_model_runs_on_every_peer(tmp_path: Path) -> None:
    command = [sys.executable, HERE / "run.py", REPOSITORY / "models" / "textures", "--program", PROGRAM]
    command += ["--peers", ",".join(PEERS), "--threads", "1", "--rounds", "1", "--seconds", "0.1", "--starts", "0"]
    tables = subprocess.run(
        [*command, "--cache", tmp_path / "cache", "--json", tmp_path / "numbers.json"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    (found,) = json.loads((tmp_path / "numbers.json").read_text(encoding="utf-8"))["bundles"]
    assert set(found["agreement"]) == set(PEERS)
    assert max(found["agreement"].values()) < 1e-4
    (entry,) = found["threads"]["1"]
    for peer in PEERS:
        assert {"predictor", "refiner", "decoder", "H1P5R3"} <= set(entry["seconds"][peer])
        assert min(entry["seconds"][peer].values()) > 0
        assert peer in tables
