"""Bundles that `flowturbo quantize` made, in ONNX Runtime."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import numpy as np
import onnx
from conftest import TEXTURES, Bundle
from onnx import TensorProto


def test_onnx_runtime_reads_a_quantized_bundle_and_answers_nearly_the_same(program: Path, tmp_path: Path) -> None:
    file, folder = tmp_path / "q.zip", tmp_path / "bundle"
    subprocess.run([program, "quantize", "-m", TEXTURES, "-o", file, "--quiet"], check=True)
    with zipfile.ZipFile(file) as archive:
        archive.extractall(folder)
    original, quantized = Bundle(TEXTURES), Bundle(folder)
    random = np.random.default_rng(0)
    x, v = random.standard_normal((2, 2, 8, 16, 16)).astype(np.float32)
    inputs = {"x": x, "t": np.full(2, 0.3, np.float32), "y": np.array([1, 4])}
    for role, given in {"predictor": inputs, "refiner": {**inputs, "v": v}}.items():
        path = folder / quantized.manifest["networks"][role]["file"]
        onnx.checker.check_model(path, full_check=True)
        weights = onnx.load(path).graph.initializer
        assert sum(weight.data_type == TensorProto.INT8 for weight in weights) >= 3
        answer, expected = quantized.run(role, **given), original.run(role, **given)
        error = np.abs(answer - expected).max() / expected.std()
        assert 1e-4 < error < 0.1, role
