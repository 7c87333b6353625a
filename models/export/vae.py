"""A folder of diffusers' AutoencoderKL, as published -> `nets.kl` encoder and decoder."""

from __future__ import annotations

import re
from pathlib import Path

from nets.kl import KlConfig, KlDecoder, KlEncoder

from export import ExportError
from export.checkpoint import State, fill
from export.diffusers import check_fixed, component, find_weights, load_shards, read_fields, read_json

RENAMED = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}  # before diffusers 0.15
FIXED = {"_class_name": "AutoencoderKL", "act_fn": "silu", "in_channels": 3, "out_channels": 3}


def load_kl(folder: Path) -> tuple[KlConfig, KlEncoder, KlDecoder]:
    """From the folder itself, or from `vae` in it where it is that of a whole pipeline."""
    folder = component(folder, "vae")
    config = read_kl_config(folder / "config.json")
    path = find_weights(folder, "diffusion_pytorch_model")
    state = {modern_name(name): tensor for name, tensor in load_shards(path).items()}
    encoder, decoder = KlEncoder(config), KlDecoder(config)
    try:
        fill(encoder, mean_only(part(state, ("encoder.", "quant_conv.")), encoder.mean_layer, config))
        fill(decoder, part(state, ("decoder.", "post_quant_conv.")))
    except ExportError as error:
        raise ExportError(f"{path}: {error}") from error
    return config, encoder.eval(), decoder.eval()


def read_kl_config(path: Path) -> KlConfig:
    data = read_json(path)
    check_fixed(path, data, FIXED)
    for key, kind in (("down_block_types", "DownEncoderBlock2D"), ("up_block_types", "UpDecoderBlock2D")):
        if set(data.get(key, [kind])) != {kind}:
            raise ExportError(f"{path}: {key} other than {kind} are not known here")
    if data.get("latents_mean") is not None or data.get("latents_std") is not None:
        raise ExportError(
            f"{path}: a mean and deviation for each latent channel are not known here, only scale and shift"
        )
    return read_fields(path, data, KlConfig)


def modern_name(name: str) -> str:
    match = re.fullmatch(r"(.*\.attentions\.\d+\.)(query|key|value|proj_attn)(\..*)", name)
    return name if match is None else match[1] + RENAMED[match[2]] + match[3]


def part(state: State, prefixes: tuple[str, ...]) -> State:
    return {name: tensor for name, tensor in state.items() if name.startswith(prefixes)}


def mean_only(state: State, layer: str, config: KlConfig) -> State:
    """Cuts the log-variance rows, the second half, off the encoder's last layer."""
    cut = {f"{layer}.{part}" for part in ("weight", "bias")}
    return {name: tensor[: config.latent_channels] if name in cut else tensor for name, tensor in state.items()}
