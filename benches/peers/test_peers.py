"""The benchmark on the bundled model: peers agree, network by network and on an image, and every row has a time. What
small numbers are computed by is what was asked for, or is refused.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bundles import COMPARED, Bundle
from engines import OnnxRuntime, Torch

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
TEXTURES = REPOSITORY / "models" / "textures"
BUILT = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"), "release", "flowturbo")
PROGRAM = Path(os.environ.get("FLOWTURBO_PROGRAM", BUILT))
# OpenVINO is not among what models/requirements.txt asks for, and compiling by PyTorch takes a compiler and long.
PEERS = ("flowturbo", "tract", "onnxruntime", "torch")
INT8 = "onnxruntime-int8-reduced"  # runs on every processor
# Of other schedules, the shorter.
ROWS = (*COMPARED, "H1P5R3", "H8")
CALLS = tuple(f"| {role} call |" for role in COMPARED)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights for PyTorch are made once."""
    return tmp_path_factory.mktemp("cache")


def test_the_modules_answer_as_the_graphs_they_are_made_of(cache: Path) -> None:
    bundle, random = Bundle(TEXTURES, cache), np.random.default_rng(0)
    bundle.make_torch_files()
    for network in bundle.networks.values():
        feed = {name: random.standard_normal(shape).astype(np.float32) for name, shape in network.shapes.items()}
        feed |= {name: np.arange(network.batch) for name in ("y",) if name in feed}
        graph, module = (engine(1).open(network)(**feed) for engine in (OnnxRuntime, Torch))
        assert np.abs(module - graph).max() < 1e-4 * np.abs(graph).max()


@pytest.mark.skipif(not PROGRAM.is_file(), reason=f"{PROGRAM} is not built: cargo build --release")
def test_the_bundled_model_runs_on_every_peer(cache: Path, tmp_path: Path) -> None:
    command = [sys.executable, HERE / "run.py", TEXTURES, "--program", PROGRAM, "--rows", ",".join(ROWS)]
    command += [
        "--peers",
        ",".join([*PEERS, INT8]),
        "--errors",
        "1",
        "--threads",
        "1",
        "--rounds",
        "1",
        "--seconds",
        "0.1",
        "--starts",
        "0",
    ]
    tables = subprocess.run(
        [*command, "--cache", cache, "--json", tmp_path / "numbers.json"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    (found,) = json.loads((tmp_path / "numbers.json").read_text(encoding="utf-8"))["bundles"]
    assert set(found["agreement"]) == set(PEERS)
    assert max(found["agreement"].values()) < 1e-4
    errors = found["errors"]
    assert errors["onnxruntime"]["largest"] == 0
    assert max(errors[peer]["largest"] for peer in PEERS) < 1e-4
    assert 1e-3 < errors[INT8]["rms"] < errors[INT8]["largest"] < 1  # int8 it is, and no more than int8
    (entry,) = found["threads"]["1"]
    for peer in (*PEERS, INT8):
        assert {*COMPARED, "H1P5R3"} <= set(entry["seconds"][peer])
        assert min(entry["seconds"][peer].values()) > 0
    rows = [line for line in tables.splitlines() if line.startswith((*CALLS, "| image, H1P5R3 |"))]
    assert "| image, 8 Heun steps |" in tables
    assert len(rows) == 4 and all(cell.strip() for row in rows for cell in row.strip("|").split("|"))
    assert tables.count("| the same, weights of 7 bits |") == 4  # by precision: three networks and an image
