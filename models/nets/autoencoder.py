"""A small f8 autoencoder for seamless textures: [N,3,H,W] in [-1, 1] <-> latent [N,C,H/8,W/8].

Every convolution pads circularly, so a texture that tiles has a latent that tiles, and rolling the
image by 8 pixels rolls the latent by one. Both halves are a linear map of 8x8 patches plus a network that
starts at zero: `start_from_patches` sets the linear maps to a principal component analysis, so that
training begins at the best linear code. Latent channels have zero mean and unit variance over the
training set by construction.
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
    encoder_widths: tuple[int, int] = (64, 128)  # at 1/4 and 1/8 of the resolution
    decoder_widths: tuple[int, int, int, int] = (128, 96, 48, 16)  # at 1/8, 1/4, 1/2 and full resolution

    def asdict(self) -> dict:
        return asdict(self)


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, padding_mode="circular")


class ResBlock(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(8, width), conv(width, width)
        self.norm2, self.conv2 = nn.GroupNorm(8, width), conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(h)))


class Upsample(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = conv(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


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

    def __init__(self, config: AutoencoderConfig):
        super().__init__()
        a, b = config.encoder_widths
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(4),
            conv(48, a),
            ResBlock(a),
            conv(a, b, stride=2),
            ResBlock(b),
            ResBlock(b),
            nn.GroupNorm(8, b),
            nn.SiLU(),
            conv(b, config.latent_channels),
        )
        self.patches = nn.Sequential(nn.PixelUnshuffle(FACTOR), nn.Conv2d(3 * FACTOR**2, config.latent_channels, 1))
        self.norm = RunningNorm(config.latent_channels)

    def forward(self, image: Tensor) -> Tensor:
        return self.norm(self.layers(image) + self.patches(image))

    @torch.no_grad()
    def folded(self) -> Encoder:
        """A copy for inference, whose last convolutions have taken over what `norm` does."""
        encoder = copy.deepcopy(self).eval()
        scale = torch.rsqrt(self.norm.running_var + self.norm.eps)
        for convolution in (encoder.layers[-1], encoder.patches[-1]):
            convolution.weight.mul_(scale[:, None, None, None])
            convolution.bias.mul_(scale)
        encoder.layers[-1].bias.sub_(self.norm.running_mean * scale)
        encoder.norm = nn.Identity()
        return encoder


class Decoder(nn.Module):
    """Latent [N,C,H/8,W/8] -> image [N,3,H,W], nominally in [-1, 1]."""

    def __init__(self, config: AutoencoderConfig):
        super().__init__()
        a, b, c, d = config.decoder_widths
        self.layers = nn.Sequential(
            conv(config.latent_channels, a),
            ResBlock(a),
            ResBlock(a),
            Upsample(a, b),
            ResBlock(b),
            ResBlock(b),
            Upsample(b, c),
            ResBlock(c),
            nn.GroupNorm(8, c),
            nn.SiLU(),
            conv(c, 4 * d),
            nn.PixelShuffle(2),
            nn.SiLU(),
            conv(d, 3),
        )
        self.patches = nn.Sequential(nn.Conv2d(config.latent_channels, 3 * FACTOR**2, 1), nn.PixelShuffle(FACTOR))

    def forward(self, latent: Tensor) -> Tensor:
        return self.layers(latent) + self.patches(latent)


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
        """Sets the linear halves to the principal components of the 8x8 patches of `images` [K,3,H,W]."""
        channels = self.config.latent_channels
        patches = F.pixel_unshuffle(images, FACTOR).permute(0, 2, 3, 1).flatten(0, 2)
        mean = patches.mean(0)
        values, vectors = torch.linalg.eigh((patches - mean).T @ (patches - mean) / len(patches))
        basis, deviation = vectors[:, -channels:].T, values[-channels:].sqrt()
        into, back = self.encoder.patches[1], self.decoder.patches[0]
        into.weight.copy_((basis / deviation[:, None])[:, :, None, None])
        into.bias.copy_(-(basis / deviation[:, None]) @ mean)
        back.weight.copy_((basis * deviation[:, None]).T[:, :, None, None])
        back.bias.copy_(mean)
        for network in (self.encoder.layers, self.decoder.layers):
            nn.init.zeros_(network[-1].weight)
            nn.init.zeros_(network[-1].bias)
