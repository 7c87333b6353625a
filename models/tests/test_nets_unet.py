"""Our UNet and CLIP text encoder against the packages whose checkpoints they load: diffusers and transformers."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from nets.clip import ClipConfig, ClipText
from nets.unet import UNet, UNetConfig

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")

SMALL = UNetConfig(
    sample_size=16,
    block_out_channels=(32, 48, 64, 64),
    layers_per_block=2,
    cross_attention_dim=24,
    attention_head_dim=4,
    norm_num_groups=8,
    tokens=7,
)


def their_unet(config: UNetConfig) -> torch.nn.Module:
    fields = dataclasses.asdict(config)
    fields.pop("tokens")
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(**fields).eval()
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return unet


def their_clip(config: ClipConfig) -> torch.nn.Module:
    torch.manual_seed(0)
    return transformers.CLIPTextModel(transformers.CLIPTextConfig(**dataclasses.asdict(config))).eval()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"in_channels": 8, "layers_per_block": 1, "block_out_channels": (16, 24, 32, 32)},
        {"use_linear_projection": True, "attention_head_dim": (2, 3, 4, 4)},
        {
            "block_out_channels": (16, 32),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            "freq_shift": 1,
            "norm_eps": 1e-6,
        },
    ],
    ids=["Stable Diffusion 1.5", "a refiner", "Stable Diffusion 2", "two blocks"],
)
def test_our_unet_is_the_package_unet(changes: dict) -> None:
    config = dataclasses.replace(SMALL, **changes)
    package, ours = their_unet(config), UNet(config).eval()
    ours.load_state_dict(package.state_dict())
    x, v = torch.randn(2, 2, 4, 16, 16)
    t, context = torch.tensor([998.7, 12.25]), torch.randn(2, 7, 24)
    state = torch.cat([x, v], dim=1) if config.refiner else x
    given = (x, v, t, context) if config.refiner else (x, t, context)
    with torch.no_grad():
        torch.testing.assert_close(ours(*given), package(state, t, context).sample, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("act", ["quick_gelu", "gelu"])
def test_our_text_encoder_is_the_package_text_encoder(act: str) -> None:
    config = ClipConfig(60, 32, 64, 3, 4, 16, act)
    package = their_clip(config)
    ours = ClipText(config).eval()
    state = {name.removeprefix("text_model."): tensor for name, tensor in package.state_dict().items()}
    ours.load_state_dict({name: tensor for name, tensor in state.items() if not name.endswith("position_ids")})
    tokens = torch.randint(60, (2, 16))
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens), package(tokens).last_hidden_state, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours(tokens[:, :5]), package(tokens[:, :5]).last_hidden_state, rtol=1e-4, atol=1e-4)
