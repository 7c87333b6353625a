"""Random weights in published geometries, for benchmarks: as costly as the real networks, and as lively."""

from __future__ import annotations

import re

import torch
from nets.sit import SiT, SiTConfig
from torch import nn

from export import ExportError

SIZES = {"S": (384, 12, 6), "B": (768, 12, 12), "L": (1024, 24, 16), "XL": (1152, 28, 16)}  # width, depth, heads


def random_networks(size: str, seed: int = 0) -> dict[str, nn.Module]:
    """Predictor and a refiner of depth 1 on a 32x32x4 latent with 1000 classes; `size` is such as XL/2."""
    match = re.fullmatch(r"(?:SiT-)?(S|B|L|XL)/(2|4|8)", size)
    if match is None:
        raise ExportError(f"size {size!r}: one of S, B, L, XL, a slash, and patch 2, 4 or 8")
    (hidden, depth, heads), patch = SIZES[match[1]], int(match[2])

    def network(depth: int, refiner: bool) -> SiT:
        config = SiTConfig(32, patch, 4, hidden, depth, heads, 1000, 4 * hidden, out_channels=4, refiner=refiner)
        return enliven(SiT(config).initialise())

    torch.manual_seed(seed)
    return {"predictor": network(depth, False), "refiner": network(1, True)}


@torch.no_grad()
def enliven(network: SiT) -> SiT:
    """Fills what `initialise` leaves zero, so that every block works; velocities are of order 1, a refiner's offsets of
    0.1."""
    hidden = network.config.hidden_size
    for block in network.blocks:
        nn.init.normal_(block.adaLN_modulation[-1].weight, std=0.5 * hidden**-0.5)
        nn.init.normal_(block.adaLN_modulation[-1].bias, std=0.2)
    nn.init.normal_(network.final_layer.adaLN_modulation[-1].weight, std=0.5 * hidden**-0.5)
    nn.init.normal_(network.final_layer.linear.weight, std=(0.1 if network.config.refiner else 1.0) * hidden**-0.5)
    for embedding in (network.t_embedder.mlp[0], network.t_embedder.mlp[2]):
        nn.init.xavier_normal_(embedding.weight)
    nn.init.normal_(network.y_embedder.embedding_table.weight, std=0.5)
    return network.eval()
