"""Weights of a bundle's graphs as files that PyTorch maps: python weights.py BUNDLE CACHE ROLE...

The exporter names a node `module.path/Op`, so each weight is found at the node that uses it. The names of the weights
would not do: equal ones are stored once, and a linear layer's matrix is stored transposed under another name.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import torch
from bundles import Bundle, Network
from nets.autoencoder import AutoencoderConfig, Decoder
from nets.sit import SiT, SiTConfig, TimestepEmbedder
from torch import Tensor, nn

State = dict[str, Tensor]


def load(file: Path, role: str) -> nn.Module:
    """The module, its weights mapped from the file."""
    saved = torch.load(file, mmap=True)
    with torch.device("meta"):
        module = (
            Decoder(AutoencoderConfig(**saved["config"])) if role == "decoder" else SiT(SiTConfig(**saved["config"]))
        )
    if isinstance(module, SiT):  # its frequencies are a buffer that no state dict holds
        module.t_embedder.frequencies = TimestepEmbedder(1, module.config.time_scale).frequencies
    module.load_state_dict(saved["state"], assign=True)
    return module.eval()


def save(network: Network) -> None:
    state, heads = read_graph(network.path)
    if network.role == "decoder":
        config = read_decoder_config(state)
    else:
        from export.checkpoint import read_config

        config = read_config(state, network.role == "refiner", heads)
    network.torch_file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = network.torch_file.with_suffix(".part")
    torch.save({"config": asdict(config), "state": state}, unfinished)
    unfinished.replace(network.torch_file)


def read_decoder_config(state: State) -> AutoencoderConfig:
    """Its layers: a convolution and an activation, blocks, twice an upsampling with blocks behind it, and four to
    pixels."""
    last = max(int(name.split(".")[1]) for name in state)
    upsampling = [n for n in range(last) if f"layers.{n}.conv.weight" in state]
    first, widths = state["layers.0.weight"], [len(state[f"layers.{n}.conv.weight"]) for n in upsampling]
    starts, ends = [2, *(n + 1 for n in upsampling)], [*upsampling, last - 3]
    return AutoencoderConfig(
        latent_channels=first.shape[1],
        decoder_widths=(len(first), *widths, state[f"layers.{last}.weight"].shape[1]),
        decoder_blocks=tuple(end - start for start, end in zip(starts, ends)),
    )


def read_graph(path: Path) -> tuple[State, int | None]:
    """The state dict in float32, and the number of attention heads."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:  # float16 weights stand behind a Cast
        if node.op_type == "Cast" and node.input[0] in weights:
            weights[node.output[0]] = weights[node.input[0]]

    def read(name: str) -> Tensor:
        return torch.from_numpy(numpy_helper.to_array(weights[name]).copy())

    state, heads = {}, None
    for node in graph.node:
        module, known = node.name.rpartition("/")[0], [name for name in node.input if name in weights]
        weight, bias = f"{module}.weight", f"{module}.bias"
        if node.op_type == "Reshape" and module.endswith(".attn") and heads is None:
            heads = int(read(known[0])[2])  # [N, tokens, heads, head]
        elif node.op_type == "Gather" and known:
            state[weight] = read(known[0]).float()
        elif node.op_type in ("Conv", "Gemm", "MatMul") and known:
            matrix = read(known[0]).float()
            state[weight] = (matrix.T if node.op_type == "MatMul" else matrix).contiguous()
            state[bias] = read(known[1]).float() if known[1:] else torch.zeros(len(state[weight]))
        elif node.op_type == "Add" and known and not module:
            state["pos_embed"] = read(known[0]).float()
        elif node.op_type == "Add" and known and weight in state:
            state[bias] = read(known[0]).float().flatten()
    return state, heads


if __name__ == "__main__":
    bundle = Bundle(Path(sys.argv[1]), Path(sys.argv[2]))
    for role in sys.argv[3:]:
        save(bundle.networks[role])
