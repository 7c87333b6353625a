"""Networks out of a bundle that this trainer has made, to train on from: `--start BUNDLE`.

A bundle holds averaged weights in float16, and nothing of the optimisers.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import torch
from nets.autoencoder import Autoencoder
from onnx import numpy_helper
from torch import Tensor, nn


def read_manifest(bundle: Path) -> dict:
    try:
        return json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SystemExit(f"--start {bundle}: not a bundle's folder: {error}") from error


class Unfit(SystemExit):
    """The bundle's network is not one of the wanted sizes."""


def take(bundle: Path, role: str, network: nn.Module) -> nn.Module:
    """Fills `network` with the weights of a bundle's graph, whose initializers are named after its parameters."""
    entry = read_manifest(bundle)["networks"].get(role)
    if entry is None:
        raise SystemExit(f"--start {bundle}: has no {role}")
    graph = onnx.load(bundle / entry["file"]).graph
    known = {tensor.name.removesuffix(".f16"): tensor for tensor in graph.initializer}
    state = {name: find(known, name, parameter.shape, bundle) for name, parameter in network.named_parameters()}
    network.load_state_dict(state, strict=False)  # all parameters; what buffers there are, are not a bundle's
    return network.eval().requires_grad_(False)


def take_autoencoder(bundle: Path, network: Autoencoder) -> Autoencoder:
    """Both halves. A bundle's encoder has taken its norm over into its weights: what is left of it does nothing."""
    for role in ("encoder", "decoder"):
        take(bundle, role, getattr(network, role))
    norm = network.encoder.norm
    norm.running_mean.zero_()
    norm.running_var.fill_(1 - norm.eps)
    return network


def find(known: dict[str, onnx.TensorProto], name: str, shape: torch.Size, bundle: Path) -> Tensor:
    """A parameter. The matrix of a product [in, out] is named after the layer that it belongs to."""
    layer = name.removesuffix(".weight")
    for place, turned in ((name, False), (f"{layer}/MatMul[1]", True)):
        if place in known:
            values = numpy_helper.to_array(known[place])
            values = torch.from_numpy(np.array(values.T if turned else values, np.float32))
            if values.shape == shape:
                return values
            raise Unfit(f"--start {bundle}: {name} is {list(values.shape)}, wanted is {list(shape)}: other sizes")
    raise Unfit(f"--start {bundle}: has no {name}: other sizes, or not made by this trainer")
