"""Models of diffusers become bundles by the wrapper that the README shows; files as other tools write them are run as
they are."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import runpy
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from conftest import REPOSITORY, run_network
from export.bundle import Classes, Latent, Manifest
from export.program import compare
from torch import nn

diffusers = pytest.importorskip("diffusers")

README = (REPOSITORY / "models" / "export" / "README.md").read_text(encoding="utf-8")


def wrapped(name: str, network: nn.Module) -> nn.Module:
    """In a wrapper of the README's, by its name."""
    (code,) = re.findall(rf"```python\n(import torch\n.*?class {name}\(.*?)```", README, re.DOTALL)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "wrappers.py"
        path.write_text(code)
        return runpy.run_path(str(path))[name](network).eval()


def unet(**changes: object) -> nn.Module:
    torch.manual_seed(0)
    usual = {
        "sample_size": 8,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "attention_head_dim": 4,
        "num_class_embeds": 4,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    }
    return diffusers.UNet2DModel(**usual | changes)


def resampling_unet() -> nn.Module:
    return unet(
        down_block_types=("ResnetDownsampleBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "ResnetUpsampleBlock2D"),
        downsample_type="resnet",
        upsample_type="resnet",
        resnet_time_scale_shift="scale_shift",
    )


def dit() -> nn.Module:
    torch.manual_seed(0)
    return diffusers.DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=8,
        num_layers=1,
        sample_size=8,
        patch_size=2,
        num_embeds_ada_norm=3,
        norm_num_groups=4,
    )


@pytest.mark.parametrize("make", [unet, resampling_unet, dit])
def test_a_network_of_diffusers_becomes_a_bundle(make: Callable[[], nn.Module], program: Path, tmp_path: Path) -> None:
    assert run_network(wrapped("Conditional", make()), program, tmp_path / "out") < 1e-4


def test_one_without_classes_becomes_a_bundle(program: Path, tmp_path: Path) -> None:
    one = {"block_out_channels": (8,), "down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",)}
    network = wrapped("Unconditional", unet(num_class_embeds=None, **one))
    assert run_network(network, program, tmp_path / "out", given=False) < 1e-4


def by_dynamo(network: nn.Module, path: Path) -> None:
    batch = torch.export.Dim("N")
    torch.onnx.export(
        network,
        ARGUMENTS,
        path,
        input_names=["x", "t", "y"],
        output_names=["velocity"],
        dynamo=True,
        dynamic_shapes=({0: batch}, {0: batch}, {0: batch}),
        external_data=False,
        verbose=False,
    )


def by_torchscript(network: nn.Module, path: Path) -> None:
    names = ["x", "t", "y", "velocity"]
    axes = {name: {0: "N"} for name in names}
    torch.onnx.export(
        network, ARGUMENTS, str(path), input_names=names[:3], output_names=names[3:], dynamic_axes=axes, dynamo=False
    )


def with_open_edges(network: nn.Module, path: Path) -> None:
    """Height and width have symbols, too, which a bundle fixes."""
    by_dynamo(network, path)
    model = onnx.load(path)
    for value in (model.graph.input[0], model.graph.output[0]):
        for axis, symbol in ((2, "H"), (3, "W")):
            value.type.tensor_type.shape.dim[axis].dim_param = symbol
    onnx.save(model, path)


def inferred(path: Path) -> None:
    onnx.save(onnx.shape_inference.infer_shapes(onnx.load(path)), path)


def simplified(path: Path) -> None:
    onnxsim = pytest.importorskip("onnxsim")
    model, checked = onnxsim.simplify(onnx.load(path))
    assert checked
    onnx.save(model, path)


def as_it_is(path: Path) -> None:
    pass


ARGUMENTS = (torch.zeros(2, 4, 8, 8), torch.zeros(2), torch.zeros(2, dtype=torch.int64))
MANIFEST = Manifest("raw", Latent(4, 8, 8), Classes(3), schedule="P8", guidance=1.0)


@pytest.fixture(scope="module", params=[by_dynamo, by_torchscript, with_open_edges], ids=lambda tool: tool.__name__)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Module]:
    path, network = tmp_path_factory.mktemp("written") / "predictor.onnx", wrapped("Conditional", dit())
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            request.param(network, path)
    finally:
        logging.disable(logging.NOTSET)
    return path, network


@pytest.mark.parametrize("tool", [as_it_is, inferred, simplified], ids=lambda tool: tool.__name__)
def test_a_graph_as_tools_write_it_runs(
    tool: Callable[[Path], None], written: tuple[Path, nn.Module], program: Path, tmp_path: Path
) -> None:
    raw, network = written
    graph = tmp_path / "predictor.onnx"
    graph.write_bytes(raw.read_bytes())
    tool(graph)
    entry = {"file": graph.name, "sha256": hashlib.sha256(graph.read_bytes()).hexdigest()}
    entry |= {"inputs": {name: name for name in ("x", "t", "y")}, "output": "velocity"}
    (tmp_path / "bundle.json").write_text(json.dumps(MANIFEST.as_json() | {"networks": {"predictor": entry}}))
    with torch.no_grad():
        assert compare(program, tmp_path, MANIFEST, {"predictor": network}, "f32", batches=(1, 2, 3)) < 1e-5
