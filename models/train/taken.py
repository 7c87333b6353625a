"""Networks out of a bundle that this trainer has made, to train on from: `--start BUNDLE`.

A bundle holds averaged weights in float16, and nothing of the optimisers.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from google.protobuf.message import DecodeError
from nets.autoencoder import Autoencoder
from nets.sit import SiT
from onnx import numpy_helper
from torch import Tensor, nn
from train.source import class_names

TIME = {"direction": "noise_to_data", "scale": 1.0, "velocity_sign": 1}
PARAMETERS = (".weight", ".bias", "/MatMul[1]")  # what their initializers' names end in


class Unfit(SystemExit):
    """The bundle's network is not one of the wanted sizes."""


def read_manifest(bundle: Path) -> dict:
    """Of a bundle in a folder, checked as far as a bundle of another origin would differ."""
    try:
        manifest = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
        latent, classes = manifest["latent"], manifest["classes"]
        files = [
            manifest["networks"][role][key]
            for role in ("predictor", "encoder", "decoder")
            for key in ("file", "sha256")
        ]
        ours = (latent["scale"], latent["shift"], manifest["time"]) == (1, 0, TIME) and all(files)
        ours = ours and classes["null"] == classes["count"] == len(classes["labels"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"--start {bundle}: not the folder of a bundle of this trainer's: {error!r}") from error
    if not ours:
        raise SystemExit(f"--start {bundle}: not a bundle of this trainer's: other time, latent scale or null class")
    return manifest


def stages(bundle: Path, data: Path | None) -> tuple[str, ...]:
    """The stages that a bundle stands in for: without its classes, its autoencoder's alone."""
    begun = read_manifest(bundle)["classes"]["labels"]
    same = data is None or not data.exists() or class_names(data) == begun
    return ("autoencoder", "predictor") if same else ("autoencoder",)


def take_for_other_classes(bundle: Path, role: str, network: SiT) -> SiT:
    """As `take`, for other classes, to be trained on: each begins as the mean of the bundle's own."""
    count = read_manifest(bundle)["classes"]["count"]
    begun = take(bundle, role, SiT(replace(network.config, num_classes=count)))
    state, table = begun.state_dict(), begun.y_embedder.embedding_table.weight
    mean = table[:count].mean(0, keepdim=True).expand(network.config.num_classes, -1)
    state["y_embedder.embedding_table.weight"] = torch.cat([mean, table[count:]])
    network.load_state_dict(state)
    return network


def take(bundle: Path, role: str, network: nn.Module) -> nn.Module:
    """Fills `network` with the weights of a bundle's graph, whose initializers are named after its parameters."""
    entry = read_manifest(bundle)["networks"].get(role)
    if entry is None:
        raise Unfit(f"--start {bundle}: has no {role}")
    try:
        graph = onnx.load(bundle / entry["file"]).graph
    except (OSError, DecodeError) as error:
        raise SystemExit(f"--start {bundle}: {entry['file']} cannot be read: {error}") from error
    known = {tensor.name.removesuffix(".f16"): tensor for tensor in graph.initializer}
    state = {name: find(known, name, parameter.shape, bundle) for name, parameter in network.named_parameters()}
    if left := [name for name in known if name.endswith(PARAMETERS)]:
        raise Unfit(f"--start {bundle}: the {role} has {left[0]} too: other sizes")
    network.load_state_dict(state, strict=False)  # all parameters; what buffers there are, are not a bundle's
    network.eval().requires_grad_(False)
    if isinstance(network, SiT) and not agrees(network, bundle / entry["file"], entry):
        raise Unfit(f"--start {bundle}: the {role} computes something else: another number of heads")
    return network


def take_autoencoder(bundle: Path, network: Autoencoder) -> Autoencoder:
    """Both halves. A bundle's encoder has taken its norm over into its weights: what is left of it does nothing."""
    for role in ("encoder", "decoder"):
        take(bundle, role, getattr(network, role))
    norm = network.encoder.norm
    norm.running_mean.zero_()
    norm.running_var.fill_(1 - norm.eps)
    return network


def find(known: dict[str, onnx.TensorProto], name: str, shape: torch.Size, bundle: Path) -> Tensor:
    """A parameter, no longer known then. The matrix of a product [in, out] is named after the layer it belongs to."""
    layer = name.removesuffix(".weight")
    for place, turned in ((name, False), (f"{layer}/MatMul[1]", True)):
        if place in known:
            values = numpy_helper.to_array(known.pop(place))
            values = torch.from_numpy(np.array(values.T if turned else values, np.float32))
            if values.shape == shape:
                return values
            raise Unfit(f"--start {bundle}: {name} is {list(values.shape)}, wanted is {list(shape)}: other sizes")
    raise Unfit(f"--start {bundle}: has no {name}: other sizes, or not made by this trainer")


def agrees(network: SiT, path: Path, entry: dict) -> bool:
    """Whether the graph and the network answer the same: weights do not tell how many heads attention has."""
    config = network.config
    x = torch.randn(1, config.latent_channels, config.input_size, config.input_size)
    inputs = {"x": x, "v": x.flip(1), "t": torch.tensor([0.5]), "y": torch.tensor([0])}
    inputs = {name: inputs[name] for name in ("x", "v", "t", "y") if name in entry["inputs"]}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feeds = {entry["inputs"][name]: value.numpy() for name, value in inputs.items()}
    (answer,) = session.run([entry["output"]], feeds)
    return np.allclose(answer, network(*inputs.values()).numpy(), rtol=0, atol=1e-3 * np.abs(answer).max())
