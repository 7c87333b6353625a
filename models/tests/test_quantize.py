"""Bundles that `flowturbo quantize` made, in ONNX Runtime, and graphs that its tools made, here."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import TEXTURES, Bundle
from onnx import TensorProto
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static


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


class States(CalibrationDataReader):
    """Some inputs of a predictor."""

    def __init__(self, manifest: dict):
        names, latent = manifest["networks"]["predictor"]["inputs"], manifest["latent"]
        random = np.random.default_rng(0)
        shape = (2, latent["channels"], latent["height"], latent["width"])
        times = [np.full(2, time, np.float32) for time in (0.1, 0.5, 0.9)]
        given = [{"x": random.standard_normal(shape).astype(np.float32), "t": t, "y": np.array([0, 1])} for t in times]
        self.feeds = iter([{names[name]: array for name, array in feed.items()} for feed in given])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.feeds, None)


@pytest.mark.parametrize("form", list(QuantFormat))
def test_every_product_that_quantize_static_rounds_has_a_kernel(
    form: QuantFormat, tiny: Bundle, program: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(tiny.folder, folder)
    network = tiny.manifest["networks"]["predictor"]
    path = folder / network["file"]
    quantize_static(
        tiny.folder / network["file"],
        path,
        States(tiny.manifest),
        quant_format=form,
        op_types_to_quantize=["MatMul"],
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    operators = [node.op_type for node in onnx.load(path).graph.node]
    assert operators.count("QuantizeLinear") > 10 and "Softmax" in operators
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest = {**tiny.manifest, "networks": {**tiny.manifest["networks"], "predictor": {**network, "sha256": sha256}}}
    (folder / "bundle.json").write_text(json.dumps(manifest), encoding="utf-8")
    inspect = [program, "inspect", "-m", folder]
    report = json.loads(subprocess.run([*inspect, "--json"], check=True, capture_output=True).stdout)
    predictor = report["networks"]["predictor"]
    assert (predictor["fallbacks"], predictor["left_to_tract"]) == ([], None)
    plan = subprocess.run([*inspect, "--plan"], check=True, capture_output=True, text=True).stdout
    assert plan.count(" batch-matmul ") == 2 * operators.count("Softmax")
