"""A small f8 autoencoder for seamless textures: [N,3,H,W] in [-1, 1] <-> latent [N,C,H/8,W/8].

Every convolution pads circularly, so a texture that tiles has a latent that tiles, and rolling the
image by 8 pixels rolls the latent by one. Nothing looks further than a convolution: without normalisation
across pixels both halves work at any size, and a part of a texture is decoded as it is in the whole.
Latent channels have zero mean and unit variance over the training set by construction.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FACTOR = 8  # pixels per latent cell, along each axis


@dataclass(frozen=True)
class AutoencoderConfig:
    latent_channels: int = 8
    encoder_widths: tuple[int, int, int] = (32, 64, 128)  # at 1/2, 1/4 and 1/8 of the resolution
    decoder_widths: tuple[int, int, int, int] = (128, 64, 32, 16)  # at 1/8, 1/4, 1/2 and full resolution
    decoder_blocks: tuple[int, int, int] = (3, 2, 2)  # at 1/8, 1/4 and 1/2

    def asdict(self) -> dict:
        return asdict(self)


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """Weights that keep the size of rectified features from layer to layer, as nothing else does here."""
    layer = nn.Conv2d(inputs, outputs, 2 + stride, stride, padding=1, padding_mode="circular")
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    return layer


class ResBlock(nn.Module):
    """Starts as nearly nothing but a rectifier, so that a stack of them trains without normalisation."""

    def __init__(self, width: int):
        super().__init__()
        self.conv1, self.conv2 = conv(width, width), conv(width, width)
        with torch.no_grad():
            self.conv2.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.conv2(F.relu(self.conv1(x))))


class Upsample(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = conv(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest")))


class RunningNorm(nn.BatchNorm2d):
    """Standardises channels by running statistics, in training too.

    A batch's own statistics would not do: a batch holds few textures, and their mean colour is what most of
    a channel's variance is.
    """

    def __init__(self, channels: int):
        super().__init__(channels, affine=False, momentum=0.02)

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        if self.training:
            with torch.no_grad():
                variance, mean = torch.var_mean(x, dim=(0, 2, 3))
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance, self.momentum)
        return F.batch_norm(x, self.running_mean, self.running_var, eps=self.eps)


class Encoder(nn.Module):
    """Image [N,3,H,W] -> latent mean [N,C,H/8,W/8]."""

    any_size = True

    def __init__(self, config: AutoencoderConfig):
        super().__init__()
        a, b, c = config.encoder_widths
        self.layers = nn.Sequential(
            conv(3, a, stride=2),
            nn.ReLU(),
            ResBlock(a),
            conv(a, b, stride=2),
            nn.ReLU(),
            ResBlock(b),
            conv(b, c, stride=2),
            nn.ReLU(),
            ResBlock(c),
            ResBlock(c),
            conv(c, config.latent_channels),
        )
        self.patches = nn.Conv2d(3, config.latent_channels, FACTOR, FACTOR)
        self.norm = RunningNorm(config.latent_channels)

    def forward(self, image: Tensor) -> Tensor:
        return self.norm(self.layers(image) + self.patches(image))

    @torch.no_grad()
    def folded(self) -> Encoder:
        """A copy for inference, whose last convolution has taken over what `norm` does."""
        encoder = copy.deepcopy(self).eval()
        scale = torch.rsqrt(self.norm.running_var + self.norm.eps)
        for last in (encoder.layers[-1], encoder.patches):
            last.weight.mul_(scale[:, None, None, None])
            last.bias.mul_(scale)
        encoder.layers[-1].bias.sub_(self.norm.running_mean * scale)
        encoder.norm = nn.Identity()
        return encoder


class Decoder(nn.Module):
    """Latent [N,C,H/8,W/8] -> image [N,3,H,W], nominally in [-1, 1].

    Most of the work is done at 1/8 and 1/4 of the resolution. The last convolution sees whole pixels, so that
    the PixelShuffle before it leaves no grid.
    """

    any_size = True

    def __init__(self, config: AutoencoderConfig):
        super().__init__()
        a, b, c, d = config.decoder_widths
        blocks = [[ResBlock(width) for _ in range(n)] for width, n in zip((a, b, c), config.decoder_blocks)]
        self.layers = nn.Sequential(
            conv(config.latent_channels, a),
            nn.ReLU(),
            *blocks[0],
            Upsample(a, b),
            *blocks[1],
            Upsample(b, c),
            *blocks[2],
            conv(c, 4 * d),
            nn.PixelShuffle(2),
            nn.ReLU(),
            conv(d, 3),
        )

    def forward(self, latent: Tensor) -> Tensor:
        return self.layers(latent)


class Autoencoder(nn.Module):
    def __init__(self, config: AutoencoderConfig):
        super().__init__()
        self.config = config
        self.encoder, self.decoder = Encoder(config), Decoder(config)

    @torch.no_grad()
    def encode(self, image: Tensor) -> Tensor:
        return self.encoder(image)

    @torch.no_grad()
    def decode(self, latent: Tensor) -> Tensor:
        return self.decoder(latent).clamp(-1, 1)

    @torch.no_grad()
    def start_from_patches(self, images: Tensor) -> None:
        """Sets the encoder to the principal components of the 8x8 patches of `images` [K,3,H,W]."""
        channels = self.config.latent_channels
        patches = F.pixel_unshuffle(images, FACTOR).permute(0, 2, 3, 1).flatten(0, 2)
        mean = patches.mean(0)
        values, vectors = torch.linalg.eigh((patches - mean).T @ (patches - mean) / len(patches))
        basis = vectors[:, -channels:].T / values[-channels:].sqrt()[:, None]
        into, last = self.encoder.patches, self.encoder.layers[-1]
        into.weight.copy_(basis.reshape(into.weight.shape))
        into.bias.copy_(-basis @ mean)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
