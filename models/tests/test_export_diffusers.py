"""Folders of diffusers pipelines: what loads is the package's network, what does not is named."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from export import ExportError
from export.diffusers import load_clip, load_unet
from nets.clip import ClipConfig
from test_nets_unet import SMALL, their_clip, their_unet

TINY = dataclasses.replace(SMALL, block_out_channels=(16, 24, 32, 32))


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A predictor, as a pipeline has it, a refiner and a text encoder."""
    folder = tmp_path_factory.mktemp("pipeline")
    their_unet(TINY).save_pretrained(folder / "unet")
    their_unet(dataclasses.replace(TINY, in_channels=8)).save_pretrained(folder / "refiner", variant="fp16")
    their_clip(ClipConfig(60, 24, 64, 2, 4, 7)).save_pretrained(folder / "text_encoder")
    return folder


def test_predictor_and_refiner_load(pipeline: Path) -> None:
    x, v = torch.randn(2, 1, 4, 16, 16)
    t, context = torch.tensor([7.0]), torch.randn(1, 7, 24)
    with torch.no_grad():
        ours, want = load_unet(pipeline, tokens=7)(x, t, context), their_unet(TINY)(x, t, context).sample
        torch.testing.assert_close(ours, want, rtol=1e-4, atol=1e-4)
        ours = load_unet(pipeline / "refiner", tokens=7, refiner=True)(x, v, t, context)
        want = their_unet(dataclasses.replace(TINY, in_channels=8))(torch.cat([x, v], 1), t, context).sample
        torch.testing.assert_close(ours, want, rtol=1e-4, atol=1e-4)


def test_the_text_encoder_loads(pipeline: Path) -> None:
    tokens = torch.randint(60, (2, 7))
    ours, package = load_clip(pipeline), their_clip(ClipConfig(60, 24, 64, 2, 4, 7))
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens), package(tokens).last_hidden_state, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_class_name": "UNet2DModel"}, "_class_name is 'UNet2DModel'"),
        ({"down_block_types": ["AttnDownBlock2D"] * 4}, "AttnDownBlock2D"),
        ({"time_cond_proj_dim": 256}, "time_cond_proj_dim"),
        ({"resnet_time_scale_shift": "scale_shift"}, "resnet_time_scale_shift"),
        ({"in_channels": 9}, "in_channels is 9; a predictor of 4 output channels takes 4"),
        ({"attention_head_dim": [4, 4]}, "other lengths"),
        ({"attention_head_dim": 5}, "no multiple of 5 heads"),
        ({"layers_per_block": "two"}, "layers_per_block is 'two'"),
        ({"layers_per_block": 1}, "unexpected down_blocks.0.attentions.1"),
        ({"cross_attention_dim": 32}, "attn2.to_k.weight has shape"),
    ],
    ids=str,
)
def test_a_unet_of_another_kind_is_refused(change: dict, message: str, pipeline: Path, tmp_path: Path) -> None:
    for file in (pipeline / "unet").iterdir():
        (tmp_path / file.name).symlink_to(file)
    config = json.loads((tmp_path / "config.json").read_text()) | change
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ExportError, match=message):
        load_unet(tmp_path, tokens=7)


def test_what_is_missing_or_damaged_is_named(pipeline: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"config\.json: cannot be read as JSON"):
        load_unet(tmp_path, tokens=7)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ExportError, match="an object was expected"):
        load_unet(tmp_path, tokens=7)
    (tmp_path / "config.json").write_text((pipeline / "text_encoder" / "config.json").read_text())
    with pytest.raises(ExportError, match=r"there is no model\.safetensors or"):
        load_clip(tmp_path)
    (tmp_path / "config.json").write_text('{"hidden_act": "relu"}')
    with pytest.raises(ExportError, match="hidden_act is 'relu'"):
        load_clip(tmp_path)
    with pytest.raises(ExportError, match="a refiner of 4 output channels takes 8"):
        load_unet(pipeline, tokens=7, refiner=True)
