"""What each role's network takes and gives: the contract of docs/bundle.md, as the exporter needs it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from export.manifest import Manifest

SIZES = ((1, 1, 1), (2, 1, 1), (3, 1, 1), (2, 2, 1), (2, 1, 3))  # images, and how much higher and wider
CLASS = {"predictor": 2, "refiner": 3}  # the place of `y` among the arguments of a forward


@dataclass(frozen=True)
class Signature:
    """What a network takes, in the order of its forward: input name -> shape without the batch, dtype; and its
    output."""

    inputs: dict[str, tuple[tuple[int, ...], torch.dtype]]
    output: str
    answer: tuple[int | str, ...]  # the output's shape without the batch; what is open has a name
    any_size: bool = False
    vocabulary: int = 0  # tokens that there are

    def zeros(self, batch: int) -> list[Tensor]:
        return [torch.zeros(batch, *shape, dtype=dtype) for shape, dtype in self.inputs.values()]

    def samples(self) -> list[dict[str, int]]:
        """Some sizes of what is open: `N` images of `H` rows and `W` columns."""
        if not self.any_size:
            return [{"N": n} for n in (1, 2, 3)]
        ((_, height, width), _), *_ = self.inputs.values()
        return [{"N": n, "H": height * rows, "W": width * columns} for n, rows, columns in SIZES]

    def doubled(self) -> Signature:
        """The same at twice the height and width."""
        inputs = {name: ((c, 2 * h, 2 * w), dtype) for name, ((c, h, w), dtype) in self.inputs.items()}
        return replace(self, inputs=inputs)


def signature(role: str, manifest: Manifest, module: nn.Module) -> Signature:
    """The names, shapes and dtypes of a network's inputs, by its role."""
    any_size = getattr(module, "any_size", False)
    latent = (manifest.latent.channels, manifest.latent.height, manifest.latent.width)
    state, time = (latent, torch.float32), ((), torch.float32)
    asked = {"y": ((), torch.int64)} if takes_class(role, module) else {}
    if manifest.text is not None:
        asked["context"] = (manifest.text.shape, torch.float32)
    if role == "predictor":
        return Signature({"x": state, "t": time} | asked, "velocity", (latent[0], "H", "W"))
    if role == "refiner":
        return Signature({"x": state, "v": state, "t": time} | asked, "offset", (latent[0], "H", "W"))
    if role == "decoder":
        return Signature({"latent": state}, "image", (manifest.map_channels, "H", "W"), any_size)
    if role == "text":
        tokens = {"tokens": ((manifest.text.max_tokens,), torch.int64)}
        vocabulary = manifest.text.tokenizer["model"]["vocab"]
        return Signature(tokens, "context", manifest.text.shape, vocabulary=1 + max(vocabulary.values()))
    return Signature({"image": ((3, *manifest.image), torch.float32)}, "latent", (latent[0], "H", "W"), any_size)


def takes_class(role: str, module: nn.Module) -> bool:
    """Does its forward have a place for `y`? A network whose `takes_class` is False has none, whatever its forward."""
    if role not in CLASS or not getattr(module, "takes_class", True):
        return False
    kinds = [parameter.kind for parameter in inspect.signature(module.forward).parameters.values()]
    return inspect.Parameter.VAR_POSITIONAL in kinds or len(kinds) > CLASS[role]
