"""The folders of published diffusers pipelines -> `nets.unet` predictors and refiners, `nets.clip` text encoders.

Each component is a folder with a `config.json` and its weights: `unet`, `text_encoder`, `vae` of a pipeline, or the
folder itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import TypeVar

from nets.clip import ClipConfig, ClipText
from nets.unet import UNet, UNetConfig

from export import ExportError
from export.checkpoint import State, fill, load_state

Config = TypeVar("Config")
KINDS = ("safetensors", "bin")
VARIANTS = ("", ".fp16")  # full precision before half
# What these fields must say, where a config has them: other values are other networks.
UNET_FIXED = {
    "_class_name": "UNet2DConditionModel",
    "act_fn": "silu",
    "flip_sin_to_cos": True,
    "time_embedding_type": "positional",
    "resnet_time_scale_shift": "default",
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "downsample_padding": 1,
    "mid_block_scale_factor": 1,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "transformer_layers_per_block": 1,
    "center_input_sample": False,
    "dual_cross_attention": False,
    "only_cross_attention": False,
    "resnet_skip_time_act": False,
    "resnet_out_scale_factor": 1.0,
    "attention_type": "default",
    "class_embeddings_concat": False,
}
UNET_ABSENT = (
    "addition_embed_type",
    "class_embed_type",
    "cross_attention_norm",
    "encoder_hid_dim",
    "encoder_hid_dim_type",
    "mid_block_only_cross_attention",
    "num_attention_heads",
    "num_class_embeds",
    "time_cond_proj_dim",
    "time_embedding_act_fn",
    "time_embedding_dim",
    "timestep_post_act",
)
UNET_BLOCKS = {
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
}
CLIP_ACTIVATIONS = ("quick_gelu", "gelu")


def component(folder: Path, name: str) -> Path:
    """The folder itself, or `name` in it where it is that of a whole pipeline."""
    inner = folder / name
    return inner if not (folder / "config.json").is_file() and (inner / "config.json").is_file() else folder


def load_unet(folder: Path, tokens: int, refiner: bool = False) -> UNet:
    """A predictor, or a refiner, whose input has twice the output's channels; `tokens` of a context."""
    folder = component(folder, "unet")
    path = folder / "config.json"
    data = read_json(path)
    check_fixed(path, data, UNET_FIXED)
    for key in UNET_ABSENT:
        if data.get(key) is not None:
            raise ExportError(f"{path}: {key} is not known here")
    for key, kinds in UNET_BLOCKS.items():
        if unknown := set(data.get(key, kinds)) - set(kinds):
            raise ExportError(f"{path}: {key} has {', '.join(sorted(unknown))}; {' and '.join(kinds)} are known here")
    config = replace(read_fields(path, data, UNetConfig), tokens=tokens)
    check_geometry(path, config)
    wanted = config.out_channels * (2 if refiner else 1)
    if config.in_channels != wanted:
        raise ExportError(
            f"{path}: in_channels is {config.in_channels}; a {'refiner' if refiner else 'predictor'} of "
            f"{config.out_channels} output channels takes {wanted}"
        )
    network = UNet(config)
    load_into(network, find_weights(folder, "diffusion_pytorch_model"))
    return network.eval()


def check_geometry(path: Path, config: UNetConfig) -> None:
    widths, heads = config.block_out_channels, config.heads
    counts = {len(widths), len(heads), len(config.down_block_types), len(config.up_block_types)}
    if len(counts) != 1:
        raise ExportError(f"{path}: block_out_channels, attention_head_dim and the block types are of other lengths")
    for width, count in zip(widths, heads):
        if count < 1 or width % count or width % config.norm_num_groups:
            raise ExportError(
                f"{path}: a width of {width} is no multiple of {count} heads and {config.norm_num_groups} groups"
            )


def load_clip(folder: Path) -> ClipText:
    folder = component(folder, "text_encoder")
    path = folder / "config.json"
    data = read_json(path)
    data = data.get("text_config", data)
    config = read_fields(path, data, ClipConfig)
    if config.hidden_act not in CLIP_ACTIVATIONS:
        raise ExportError(
            f"{path}: hidden_act is {config.hidden_act!r}; {' and '.join(CLIP_ACTIVATIONS)} are known here"
        )
    network = ClipText(config)

    def own(state: State) -> State:
        state = {name.removeprefix("text_model."): tensor for name, tensor in state.items()}
        return {name: tensor for name, tensor in state.items() if not name.endswith("embeddings.position_ids")}

    load_into(network, find_weights(folder, "model", "pytorch_model"), own)
    return network.eval()


def load_into(network: UNet | ClipText, path: Path, change: Callable[[State], State] = dict) -> None:
    try:
        fill(network, change(load_shards(path)))
    except ExportError as error:
        raise ExportError(f"{path}: {error}") from error


def read_json(path: Path) -> dict:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ExportError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(data, dict):
        raise ExportError(f"{path}: an object was expected")
    return data


def check_fixed(path: Path, data: dict, fixed: dict) -> None:
    for key, value in fixed.items():
        if data.get(key, value) != value:
            raise ExportError(f"{path}: {key} is {data[key]!r}; only {value!r} is known here")


def read_fields(path: Path, data: dict, of: type[Config]) -> Config:
    """The fields that `of` has; lists become tuples. Each is of the kind that its default has."""
    known = {}
    for field in fields(of):
        value = data.get(field.name)
        if value is None:
            continue
        value = tuple(value) if isinstance(value, list) else value
        kinds = (int, tuple) if field.name == "attention_head_dim" else (type(field.default),)
        kinds += (int,) if kinds == (float,) else ()
        if field.default is not MISSING and type(value) not in kinds:
            raise ExportError(f"{path}: {field.name} is {data[field.name]!r}, which is of another kind")
        known[field.name] = value
    return of(**known)


def find_weights(folder: Path, *stems: str) -> Path:
    """One file, or the index of several."""
    for variant in VARIANTS:
        for stem in stems:
            for kind in KINDS:
                for name in (f"{stem}{variant}.{kind}", f"{stem}.{kind}.index{variant}.json"):
                    if (folder / name).is_file():
                        return folder / name
    wanted = " or ".join(f"{stem}.{kind}" for stem in stems for kind in KINDS)
    raise ExportError(f"{folder}: there is no {wanted}, nor a variant fp16")


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
