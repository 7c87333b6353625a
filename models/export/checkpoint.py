"""A SiT, DiT-layout or FlowTurbo checkpoint -> a `nets.sit.SiT`, its geometry read from the state dict."""

from __future__ import annotations

import argparse
import math
import re
from dataclasses import replace
from pathlib import Path

import torch
from nets.sit import SiT, SiTConfig
from safetensors.torch import load_file
from torch import Tensor, nn

from export import ExportError

HEADS = {384: 6, 768: 12, 1024: 16, 1152: 16}  # SiT-S, B, L, XL: a state dict doesn't hold the number of heads
IMAGENET = 1000  # classes
State = dict[str, Tensor]


def load_sit(
    path: Path,
    refiner: bool = False,
    heads: int | None = None,
    classes: int | None = None,
    weights: str = "ema",
    trust: bool = False,
) -> SiT:
    """The network in the file, learned sigma already cut from its last layer."""
    data = read(path, trust)
    state = state_of(data, path, weights)
    try:
        config = read_config(state, refiner, heads, trained_classes(data) if classes is None else classes)
        state, config = cut_learned_sigma(state, config)
        network = SiT(config)
        fill(network, state)
    except ExportError as error:
        raise ExportError(f"{path}: {error}") from error
    return network.eval()


def load_state(path: Path, weights: str = "ema", trust: bool = False) -> State:
    """The state dict in a file: plain, or the `ema` or `model` half of a training checkpoint."""
    return state_of(read(path, trust), path, weights)


def state_of(data: object, path: Path, weights: str) -> State:
    if isinstance(data, dict):
        halves = [half for half in (weights, "model", "ema") if isinstance(data.get(half), dict)]
        data = data[halves[0]] if halves else data
    if not isinstance(data, dict) or not data or not all(isinstance(v, Tensor) for v in data.values()):
        raise ExportError(f"{path}: holds no state dict")
    return {re.sub(r"^(module\.|_orig_mod\.)+", "", name): tensor.float() for name, tensor in data.items()}


def read(path: Path, trust: bool) -> object:
    if not path.is_file():
        raise ExportError(f"{path}: no such file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=not trust)
    except Exception as error:  # a damaged file can make the unpickler raise anything
        if "Unsupported global" in str(error):
            raise ExportError(
                f"{path}: holds more than tensors, and loading such a file can run code; --trust loads it"
            ) from error
        raise ExportError(f"{path}: not a checkpoint, or a damaged one") from error


def trained_classes(data: object) -> int | None:
    """The official trainers keep their command line beside the weights."""
    arguments = data.get("args") if isinstance(data, dict) else None
    count = arguments.get("num_classes") if isinstance(arguments, dict) else getattr(arguments, "num_classes", None)
    return count if isinstance(count, int) and count > 0 else None


def read_config(state: State, refiner: bool, heads: int | None, classes: int | None = None) -> SiTConfig:
    def shape(name: str, rank: int) -> torch.Size:
        if name not in state:
            raise ExportError(f"not a SiT checkpoint: there is no {name}")
        if state[name].dim() != rank:
            raise ExportError(f"{name} has shape {tuple(state[name].shape)}; {rank} dimensions were expected")
        return state[name].shape

    hidden, channels, patch, _ = shape("x_embedder.proj.weight", 4)
    tokens = shape("pos_embed", 3)[1]
    rows = shape("final_layer.linear.weight", 2)[0]
    depth = 1 + max((int(m[1]) for name in state if (m := re.match(r"blocks\.(\d+)\.", name))), default=-1)
    grid, latent = math.isqrt(tokens), channels // 2 if refiner else channels
    if refiner and channels % 2:
        raise ExportError(f"a refiner takes the state and the velocity, but x_embedder has {channels} input channels")
    if grid * grid != tokens:
        raise ExportError(f"pos_embed has {tokens} tokens, which is not a square")
    if rows not in (patch**2 * latent, 2 * patch**2 * latent):
        raise ExportError(
            f"final_layer.linear has {rows} rows; {latent} channels in {patch}x{patch} patches were expected"
        )
    classes, null_class = count_classes(shape("y_embedder.embedding_table.weight", 2)[0], classes)
    return SiTConfig(
        input_size=grid * patch,
        patch_size=patch,
        latent_channels=latent,
        hidden_size=hidden,
        depth=depth,
        num_heads=count_heads(hidden, heads),
        num_classes=classes,
        null_class=null_class,
        mlp_hidden=shape("blocks.0.mlp.fc1.weight", 2)[0],
        out_channels=rows // patch**2,
        refiner=refiner,
    )


def count_heads(hidden: int, heads: int | None) -> int:
    heads = heads or HEADS.get(hidden)
    if heads is None:
        raise ExportError(f"the number of attention heads is not known for width {hidden}; give --heads")
    if heads < 1 or hidden % heads:
        raise ExportError(f"{heads} heads do not divide width {hidden}")
    return heads


def count_classes(rows: int, classes: int | None) -> tuple[int, bool]:
    """How many classes the label table is of, and whether its last row is the null class, which label dropout trains.

    A table does not say. Guiding away from a real class would spoil images without a word, so what is likely to be
    a table of classes alone, of one class or of ImageNet's, is not taken for one of a class less.
    """
    if classes is None:
        if rows == IMAGENET:
            raise ExportError(
                f"the label table has {rows} rows: say --classes {rows} if each is a class, which is what training "
                f"without label dropout leaves, or --classes {rows - 1} if the last is the null class"
            )
        return (1, False) if rows == 1 else (rows - 1, True)
    if classes < 1 or rows not in (classes, classes + 1):
        raise ExportError(
            f"the label table has {rows} rows, not those of {classes} classes or labels: {classes + 1}, or {classes} "
            "without a null class"
        )
    return classes, rows > classes


def cut_learned_sigma(state: State, config: SiTConfig) -> tuple[State, SiTConfig]:
    """Drops the rows of the last layer that make the learned sigma; rows run over (patch row, patch column,
    channel)."""
    if config.out_channels == config.latent_channels:
        return state, config
    state = dict(state)
    for name in ("final_layer.linear.weight", "final_layer.linear.bias"):
        rows = state[name].unflatten(0, (config.patch_size**2, config.out_channels))
        state[name] = rows[:, : config.latent_channels].flatten(0, 1).contiguous()
    return state, replace(config, out_channels=config.latent_channels)


def fill(network: nn.Module, state: State) -> None:
    """load_state_dict, with one line that names the first few culprits."""
    own = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    problems = [f"no {name}" for name in own if name not in state]
    problems += [f"unexpected {name}" for name in state if name not in own]
    problems += [
        f"{name} has shape {tuple(state[name].shape)}, not {shape}"
        for name, shape in own.items()
        if name in state and tuple(state[name].shape) != shape
    ]
    problems = problems or [f"{n} holds values that are not finite" for n, t in state.items() if not t.isfinite().all()]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ExportError("; ".join(problems[:3]) + more)
    network.load_state_dict(state)
