"""--vae: our AutoencoderKL halves against the diffusers package, old and new checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY, Bundle, export
from export import ExportError
from export.preview import preview_of
from export.vae import RENAMED, load_kl

diffusers = pytest.importorskip("diffusers")


def make_vae(folder: Path, widths: tuple[int, ...] = (16, 16, 24, 24), **changes: object) -> torch.nn.Module:
    torch.manual_seed(0)
    vae = diffusers.AutoencoderKL(
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        latent_channels=4,
        norm_num_groups=8,
        **changes,
    )
    for norm in (m for m in vae.modules() if isinstance(m, torch.nn.GroupNorm)):
        torch.nn.init.normal_(norm.weight, mean=1.0, std=0.2)
        torch.nn.init.normal_(norm.bias, std=0.2)
    vae.save_pretrained(folder)
    return vae.eval()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"layers_per_block": 2, "widths": (16, 32)},
        {"use_quant_conv": False, "use_post_quant_conv": False, "shift_factor": 0.1, "scaling_factor": 0.36},
        {"mid_block_add_attention": False, "widths": (16, 24, 32)},
    ],
    ids=["plain", "two layers", "no quant convs", "no attention"],
)
def test_our_halves_are_the_package_halves(changes: dict, tmp_path: Path) -> None:
    vae = make_vae(tmp_path, **changes)
    config, encoder, decoder = load_kl(tmp_path)
    image, latent = torch.randn(2, 3, 64, 48), torch.randn(2, 4, 8, 12)
    with torch.no_grad():
        torch.testing.assert_close(encoder(image), vae.encode(image).latent_dist.mean, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(decoder(latent), vae.decode(latent).sample, rtol=1e-5, atol=1e-5)
    assert config.scaling_factor == changes.get("scaling_factor", 0.18215)
    assert config.shift_factor == changes.get("shift_factor", 0.0)
    assert config.factor == 2 ** (len(changes.get("widths", "four")) - 1)


def test_attention_named_as_before_diffusers_0_15_loads_from_bin(tmp_path: Path) -> None:
    vae = make_vae(tmp_path, widths=(16, 16))
    state = vae.state_dict()
    for name in [name for name in state if ".attentions." in name]:
        for old, new in RENAMED.items():
            if f".{new}." in name:
                state[name.replace(f".{new}.", f".{old}.")] = state.pop(name)
    assert "decoder.mid_block.attentions.0.proj_attn.weight" in state
    (tmp_path / "diffusion_pytorch_model.safetensors").unlink()
    torch.save(state, tmp_path / "diffusion_pytorch_model.bin")
    latent = torch.randn(1, 4, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(load_kl(tmp_path)[2](latent), vae.decode(latent).sample, rtol=1e-5, atol=1e-5)


LAYOUTS = {
    "fp16": {"variant": "fp16"},
    "shards": {"max_shard_size": "100KB"},
    "fp16 shards": {"variant": "fp16", "max_shard_size": "100KB"},
    "bin shards": {"safe_serialization": False, "max_shard_size": "100KB"},
    "fp16 bin": {"variant": "fp16", "safe_serialization": False},
}


@pytest.mark.parametrize("below", ["", "vae"], ids=["the folder", "its pipeline"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_published_layout_of_the_weights_loads(layout: str, below: str, tmp_path: Path) -> None:
    vae = make_vae(tmp_path / "plain", widths=(16, 16))
    vae.save_pretrained(tmp_path / below, **LAYOUTS[layout])
    files = sorted(path.name for path in (tmp_path / below).iterdir() if path.is_file())
    assert len(files) == (2 if "shards" not in layout else 5) and "diffusion_pytorch_model.safetensors" not in files
    latent = torch.randn(1, 4, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(load_kl(tmp_path)[2](latent), vae.decode(latent).sample, rtol=1e-5, atol=1e-5)


def test_full_precision_is_taken_before_a_variant(tmp_path: Path) -> None:
    vae = make_vae(tmp_path, widths=(16, 16))
    with torch.no_grad():
        vae.decoder.conv_in.bias.zero_()
    vae.save_pretrained(tmp_path, variant="fp16")
    assert load_kl(tmp_path)[2].decoder.conv_in.bias.abs().max() > 0


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("{", "index of weights"),
        ('{"weight_map": ["a"]}', "index of weights"),
        ('{"weight_map": {"a": "../a.safetensors"}}', "files of the same folder"),
        ('{"weight_map": {"a": "gone.safetensors"}}', "gone.safetensors: no such file"),
    ],
)
def test_a_spoiled_index_is_named(index: str, message: str, tmp_path: Path) -> None:
    make_vae(tmp_path, widths=(16, 16))
    (tmp_path / "diffusion_pytorch_model.safetensors").unlink()
    (tmp_path / "diffusion_pytorch_model.safetensors.index.json").write_text(index)
    with pytest.raises(ExportError, match=message):
        load_kl(tmp_path)


def test_the_bundle_decodes_and_encodes_as_the_package_does(program: Path, tmp_path: Path) -> None:
    vae = make_vae(tmp_path / "vae", widths=(16, 24), shift_factor=0.25, scaling_factor=0.5, layers_per_block=1)
    networks = ["--predictor", TINY / "predictor.pt", "--heads", 4, "--vae", tmp_path / "vae"]
    assert export(*networks, "--dtype", "f32", "--out", tmp_path / "out", run=program) == 0
    bundle = Bundle(tmp_path / "out")
    assert bundle.manifest["latent"] == {"channels": 4, "height": 16, "width": 16, "scale": 0.5, "shift": 0.25}
    image, latent = torch.rand(2, 3, 32, 32) * 2 - 1, torch.randn(2, 4, 16, 16)
    with torch.no_grad():
        mean, decoded = vae.encode(image).latent_dist.mean.numpy(), vae.decode(latent).sample.numpy()
    np.testing.assert_allclose(bundle.run("encoder", image=image.numpy()), mean, rtol=0, atol=2e-5)
    np.testing.assert_allclose(bundle.run("decoder", latent=latent.numpy()), decoded, rtol=0, atol=2e-5)
    assert np.shape(bundle.manifest["image"].pop("preview")) == (3, 5)
    assert bundle.manifest["image"] == {"height": 32, "width": 32}


def test_the_colours_of_previews_undo_what_the_encoder_makes_of_colours() -> None:
    mix = torch.tensor([[1.0, 0.5, 0.0], [0.0, 2.0, -1.0], [0.3, 0.0, 1.5], [1.0, 1.0, 1.0]])

    def encoder(image: torch.Tensor) -> torch.Tensor:
        return torch.einsum("lc,nchw->nlhw", mix, torch.nn.functional.avg_pool2d(image, 4)) + 0.7

    factors = torch.tensor(preview_of(encoder, (64, 64), 0.5, 0.25))
    colour = torch.tensor([0.9, -0.4, 0.1])
    sampled = (mix @ colour + 0.7 - 0.25) * 0.5
    torch.testing.assert_close(factors[:, :4] @ sampled + factors[:, 4], colour, rtol=0, atol=1e-3)
    assert preview_of(lambda image: encoder(image) * torch.nan, (64, 64), 1.0, 0.0) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_class_name": "AutoencoderTiny"}, "AutoencoderTiny"),
        ({"down_block_types": ["AttnDownEncoderBlock2D"]}, "down_block_types"),
        ({"latents_mean": [0.0] * 4}, "mean and deviation"),
        ({"layers_per_block": 3}, "no encoder.down_blocks.0.resnets.1"),
    ],
)
def test_a_vae_of_another_kind_is_refused(change: dict, message: str, tmp_path: Path) -> None:
    make_vae(tmp_path, widths=(16, 16), layers_per_block=1)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ExportError, match=message):
        load_kl(tmp_path)
