"""The exported tiny-sit computes what the official code computed."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import TINY, Bundle, export, tiny_arguments
from onnx import numpy_helper
from sampler import Sampler

CASES = json.loads((TINY / "golden.json").read_text())["cases"]


@pytest.fixture(params=["fresh", "committed"])
def bundle(request: pytest.FixtureRequest, tiny: Bundle) -> Bundle:
    return tiny if request.param == "fresh" else Bundle(TINY / "bundle")


def test_one_call_of_each_network_gives_the_golden_numbers(bundle: Bundle, golden: dict) -> None:
    x, v, t, y = (golden[f"net_{name}"] for name in "xvty")
    np.testing.assert_allclose(bundle.run("predictor", x=x, t=t, y=y), golden["net_predictor_out"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(bundle.run("refiner", x=x, v=v, t=t, y=y), golden["net_refiner_out"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", CASES, ids=[f"H{c['heun']}P{c['pseudo']}R{c['refine']}" for c in CASES])
def test_every_step_of_a_sampled_case_gives_the_golden_numbers(case: dict, tiny: Bundle, golden: dict) -> None:
    prefix, kinds = f"case{case['case']}", "H" * case["heun"] + "P" * case["pseudo"] + "R" * case["refine"]
    sampler = Sampler(tiny, case["classes"], case["cfg_scale"])
    trajectory = np.stack(list(sampler.steps(golden[f"{prefix}_noise"], kinds)))
    np.testing.assert_allclose(trajectory, golden[f"{prefix}_traj"], rtol=0, atol=2e-4)
    np.testing.assert_allclose(trajectory[-1], golden[f"{prefix}_latent"], rtol=0, atol=2e-4)


def test_a_second_export_has_the_same_bytes(tiny: Bundle, tmp_path: Path) -> None:
    assert export(*tiny_arguments(tmp_path / "again")) == 0
    assert digests(tmp_path / "again") == digests(tiny.folder)


def test_the_committed_bundle_is_a_fresh_export(tiny: Bundle) -> None:
    """Node by node and weight by weight; constants that PyTorch computes differ by a rounding between processors."""
    for name in ("predictor.onnx", "refiner.onnx"):
        committed, fresh = (onnx.load(folder / name).graph for folder in (TINY / "bundle", tiny.folder))
        made = onnx.load(TINY / "bundle" / name).producer_version
        if made != f"torch {version('torch')}, onnxscript {version('onnxscript')}":
            pytest.skip(f"the committed bundle was made with {made}")
        assert [weight.name for weight in committed.initializer] == [weight.name for weight in fresh.initializer]
        for ours, theirs in zip(committed.initializer, fresh.initializer, strict=True):
            ours, theirs = numpy_helper.to_array(ours), numpy_helper.to_array(theirs)
            assert ours.dtype == theirs.dtype
            np.testing.assert_allclose(ours, theirs, rtol=3e-7, atol=0)
        for graph in (committed, fresh):
            del graph.initializer[:]
        assert committed == fresh
    manifests = [json.loads((folder / "bundle.json").read_text()) for folder in (TINY / "bundle", tiny.folder)]
    for manifest in manifests:
        for network in manifest["networks"].values():
            del network["sha256"]
    assert manifests[0] == manifests[1]


def test_the_manifest_holds_what_the_checkpoints_and_options_say(tiny: Bundle) -> None:
    networks = tiny.manifest.pop("networks")
    assert tiny.manifest == {
        "format": "flowturbo-bundle",
        "format_version": "1.0",
        "name": "tiny-sit",
        "latent": {"channels": 4, "height": 16, "width": 16, "scale": 0.18215, "shift": 0.0},
        "classes": {"count": 10, "null": 10},
        "time": {"direction": "noise_to_data", "scale": 1.0, "velocity_sign": 1},
        "guidance": {"channels": 3},
        "sampling": {"schedule": "H1P5R3", "guidance": 4.0},
    }
    tiny.manifest["networks"] = networks
    assert list(networks) == ["predictor", "refiner"]
    for network in networks.values():
        assert hashlib.sha256((tiny.folder / network["file"]).read_bytes()).hexdigest() == network["sha256"]
    assert networks["refiner"]["inputs"] == {name: name for name in ("x", "v", "t", "y")}


def digests(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
