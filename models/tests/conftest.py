"""What the exporter's tests share: paths, the golden numbers, the command line in this process, ONNX sessions."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "models"))

from export.verify import open_session

TEXTURES = REPOSITORY / "models" / "textures"
TINY = REPOSITORY / "tests" / "data" / "tiny-sit"

torch.set_num_threads(min(2, torch.get_num_threads()))


class Bundle:
    """A bundle in a folder, and its networks as functions of named arrays."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.manifest = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
        self.sessions: dict[str, onnxruntime.InferenceSession] = {}

    def run(self, role: str, **inputs: np.ndarray) -> np.ndarray:
        network = self.manifest["networks"][role]
        if role not in self.sessions:
            self.sessions[role] = open_session(self.folder / network["file"])
        feeds = {network["inputs"][name]: array for name, array in inputs.items()}
        return self.sessions[role].run([network["output"]], feeds)[0]


def export(*arguments: object, run: Path | None = None) -> int:
    """The exporter's exit code. It has `run`, flowturbo's program, run the bundle if there is one."""
    from export.sit import main

    how = ["--no-run"] if run is None else ["--flowturbo", run]
    return main([str(a) for a in (*arguments, *how)])


def run_network(
    predictor: nn.Module, program: Path, folder: Path, batches: tuple[int, ...] = (1, 3), given: bool = True
) -> float:
    """Writes a bundle of a predictor of latents of 4x8x8 and 3 classes; how far flowturbo is off."""
    from export.bundle import Classes, Latent, Manifest, write_bundle
    from export.program import compare

    classes = Classes(3) if given else Classes(1, given=False)
    manifest = Manifest("small", Latent(4, 8, 8), classes, schedule="P8", guidance=1.0)
    write_bundle(folder, manifest, {"predictor": predictor}, "f32")
    return compare(program, folder, manifest, {"predictor": predictor}, "f32", batches)


def tiny_arguments(out: Path, dtype: str = "f32") -> list[object]:
    """The command that made the committed bundle (its README)."""
    networks = ["--predictor", TINY / "predictor.pt", "--refiner", TINY / "refiner.pt", "--heads", 4]
    manifest = ["--name", "tiny-sit", "--schedule", "H1P5R3", "--guidance", "4.0", "--guided-channels", 3]
    return [*networks, "--dtype", dtype, *manifest, "--out", out]


@pytest.fixture(scope="session")
def program() -> Path:
    """flowturbo's program."""
    from export import ExportError
    from export.program import VARIABLE, find_program

    try:
        return find_program()
    except ExportError as error:
        if os.environ.get(VARIABLE):
            raise
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def denormals() -> None:
    """The trainer has them flushed, for the whole process: tests in any order begin as processes do."""
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def golden() -> dict[str, np.ndarray]:
    with np.load(TINY / "golden.npz") as file:
        return dict(file)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("tiny") / "bundle"
    assert export(*tiny_arguments(out)) == 0
    return Bundle(out)
