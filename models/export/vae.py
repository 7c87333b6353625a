"""A folder of diffusers' AutoencoderKL, as published -> `nets.kl` encoder and decoder."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

from nets.kl import KlConfig, KlDecoder, KlEncoder

from export import ExportError
from export.checkpoint import State, fill, load_state

STEM = "diffusion_pytorch_model"
KINDS = ("safetensors", "bin")
VARIANTS = ("", ".fp16")  # full precision before half
RENAMED = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}  # before diffusers 0.15
FIXED = {"_class_name": "AutoencoderKL", "act_fn": "silu", "in_channels": 3, "out_channels": 3}


def load_kl(folder: Path) -> tuple[KlConfig, KlEncoder, KlDecoder]:
    """From the folder itself, or from `vae` in it where it is that of a whole pipeline."""
    if not (folder / "config.json").is_file() and (folder / "vae" / "config.json").is_file():
        folder = folder / "vae"
    config = read_kl_config(folder / "config.json")
    path = find_weights(folder)
    state = {modern_name(name): tensor for name, tensor in load_shards(path).items()}
    encoder, decoder = KlEncoder(config), KlDecoder(config)
    try:
        fill(encoder, mean_only(part(state, ("encoder.", "quant_conv.")), encoder.mean_layer, config))
        fill(decoder, part(state, ("decoder.", "post_quant_conv.")))
    except ExportError as error:
        raise ExportError(f"{path}: {error}") from error
    return config, encoder.eval(), decoder.eval()


def find_weights(folder: Path) -> Path:
    """One file, or the index of several."""
    for variant in VARIANTS:
        for kind in KINDS:
            for name in (f"{STEM}{variant}.{kind}", f"{STEM}.{kind}.index{variant}.json"):
                if (folder / name).is_file():
                    return folder / name
    raise ExportError(f"{folder}: there is no {' or '.join(f'{STEM}.{kind}' for kind in KINDS)}, nor a variant fp16")


def load_shards(path: Path) -> State:
    """The tensors of a file, or of all files that an index names."""
    if path.suffix != ".json":
        return load_state(path)
    try:
        files = sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()))
        if not all(isinstance(file, str) and Path(file).name == file for file in files):
            raise ValueError("weight_map has to name files of the same folder")
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ExportError(f"{path}: cannot be read as an index of weights: {error}") from error
    return {name: tensor for file in files for name, tensor in load_state(path.with_name(file)).items()}


def read_kl_config(path: Path) -> KlConfig:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ExportError(f"{path}: cannot be read as JSON: {error}") from error
    for key, value in FIXED.items():
        if data.get(key, value) != value:
            raise ExportError(f"{path}: {key} is {data[key]!r}; only {value!r} is known here")
    for key, kind in (("down_block_types", "DownEncoderBlock2D"), ("up_block_types", "UpDecoderBlock2D")):
        if set(data.get(key, [kind])) != {kind}:
            raise ExportError(f"{path}: {key} other than {kind} are not known here")
    if data.get("latents_mean") is not None or data.get("latents_std") is not None:
        raise ExportError(
            f"{path}: a mean and deviation for each latent channel are not known here, only scale and shift"
        )
    known = {f.name: data[f.name] for f in fields(KlConfig) if data.get(f.name) is not None}
    if "block_out_channels" in known:
        known["block_out_channels"] = tuple(known["block_out_channels"])
    return KlConfig(**known)


def modern_name(name: str) -> str:
    match = re.fullmatch(r"(.*\.attentions\.\d+\.)(query|key|value|proj_attn)(\..*)", name)
    return name if match is None else match[1] + RENAMED[match[2]] + match[3]


def part(state: State, prefixes: tuple[str, ...]) -> State:
    return {name: tensor for name, tensor in state.items() if name.startswith(prefixes)}


def mean_only(state: State, layer: str, config: KlConfig) -> State:
    """Cuts the log-variance rows, the second half, off the encoder's last layer."""
    cut = {f"{layer}.{part}" for part in ("weight", "bias")}
    return {name: tensor[: config.latent_channels] if name in cut else tensor for name, tensor in state.items()}
