"""A small autoencoder for seamless textures: [N,3,H,W] in [-1, 1] <-> latent [N,C,H/f,W/f], f 8 or 16.

Every convolution pads circularly, so a texture that tiles has a latent that tiles, and rolling the
image by f pixels rolls the latent by one. Nothing looks further than a convolution: without normalisation
across pixels both halves work at any size, and a part of a texture is decoded as it is in the whole.
Latent channels have zero mean and unit variance over the training set by construction.

With maps, an image has the colours' channels first and the maps' after them, in the order of `CHANNELS`. The decoder
answers all of them. The encoder is told which maps there are by a plane of ones or zeros for each, after the channels;
a map that is missing is 0, its neutral value: flat, half high, half rough. Colour alone is an image whose maps are all
missing.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FACTOR = 8  # pixels per latent cell, along each axis, unless a config says otherwise
CHANNELS = {"color": 3, "normal": 2, "height": 1, "roughness": 1}  # of each map; a normal's are x and y


def count_channels(maps: tuple[str, ...]) -> int:
    return sum(CHANNELS[name] for name in maps)


@dataclass(frozen=True)
class AutoencoderConfig:
    latent_channels: int = 8
    encoder_widths: tuple[int, ...] = (32, 64, 128)  # at 1/2, 1/4, 1/8 (and 1/16) of the resolution
    decoder_widths: tuple[int, ...] = (128, 64, 32, 16)  # at (1/16,) 1/8, 1/4, 1/2 and full resolution
    decoder_blocks: tuple[int, ...] = (3, 2, 2)  # at (1/16,) 1/8, 1/4 and 1/2
    maps: tuple[str, ...] = ("color",)

    @property
    def factor(self) -> int:
        """Pixels per latent cell, along each axis."""
        return 2 ** len(self.encoder_widths)

    @property
    def channels(self) -> int:
        """Of an image with all its maps."""
        return count_channels(self.maps)

    @property
    def planes(self) -> int:
        """What the encoder takes: the channels, and for each map but the colours whether it is there."""
        return self.channels + len(self.maps) - 1

    def asdict(self) -> dict:
        return asdict(self)


def make_config(factor: int, latent_channels: int, maps: tuple[str, ...] = ("color",)) -> AutoencoderConfig:
    """The sizes for a factor. One of 16 has a level more. With maps the last layer is 24 channels wide instead of 16,
    and of a factor of 8 each level has a block more: 1.4 times as much work a pixel; of 16, 1.6 times."""
    last, blocks = (16, (3, 2, 2)) if maps == ("color",) else (24, (4, 3, 3))
    if factor == FACTOR:
        return AutoencoderConfig(latent_channels, decoder_widths=(128, 64, 32, last), decoder_blocks=blocks, maps=maps)
    widths = {"encoder_widths": (32, 64, 128, 192), "decoder_widths": (256, 128, 64, 32, last)}
    return AutoencoderConfig(latent_channels, **widths, decoder_blocks=(3, 3, 3, 2), maps=maps)


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
    """Standardises channels by running statistics, in training too (batch renormalisation, arXiv 1702.03275).

    A batch's own statistics would not do: a batch holds few textures, and their mean colour is what most of
    a channel's variance is. Gradients are those of the batch's own, though: else the encoder would learn to grow
    faster than the running statistics follow, and so to drown the noise that its decoder is trained with.
    """

    def __init__(self, channels: int):
        super().__init__(channels, affine=False, momentum=0.02)

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        if self.training:
            variance, mean = torch.var_mean(x, dim=(0, 2, 3), keepdim=True)
            with torch.no_grad():
                self.running_mean.lerp_(mean.flatten(), self.momentum)
                self.running_var.lerp_(variance.flatten(), self.momentum)
            deviation = (variance + self.eps).sqrt()
            x = (x - mean) / deviation * deviation.detach() + mean.detach()
        return F.batch_norm(x, self.running_mean, self.running_var, eps=self.eps)


class Encoder(nn.Module):
    """Image [N,3,H,W], or with its maps and their planes [N,planes,H,W] -> latent mean [N,C,H/f,W/f]."""

    any_size = True

    def __init__(self, config: AutoencoderConfig):
        super().__init__()
        self.planes, widths = config.planes, config.encoder_widths
        layers, before = [], self.planes
        for width in widths:
            layers += [conv(before, width, stride=2), nn.ReLU(), ResBlock(width)]
            before = width
        self.layers = nn.Sequential(*layers, ResBlock(before), conv(before, config.latent_channels))
        self.patches = nn.Conv2d(self.planes, config.latent_channels, config.factor, config.factor)
        self.norm = RunningNorm(config.latent_channels)

    def forward(self, image: Tensor) -> Tensor:
        if image.shape[1] < self.planes:
            image = F.pad(image, (0, 0, 0, 0, 0, self.planes - image.shape[1]))
        return self.norm(self.layers(image) + self.patches(image))

    @torch.no_grad()
    def folded(self) -> Encoder:
        """A copy for inference, which takes colours alone: what it would do with missing maps' zeros is left out.
        Its last convolution has taken over what `norm` does."""
        encoder = copy.deepcopy(self).eval()
        encoder.planes = CHANNELS["color"]
        for first in (encoder.layers[0], encoder.patches):
            first.in_channels = encoder.planes
            first.weight = nn.Parameter(first.weight[:, : encoder.planes].clone(), requires_grad=False)
        scale = torch.rsqrt(self.norm.running_var + self.norm.eps)
        for last in (encoder.layers[-1], encoder.patches):
            last.weight.mul_(scale[:, None, None, None])
            last.bias.mul_(scale)
        encoder.layers[-1].bias.sub_(self.norm.running_mean * scale)
        encoder.norm = nn.Identity()
        return encoder


class Decoder(nn.Module):
    """Latent [N,C,H/f,W/f] -> image and maps [N,channels,H,W], nominally in [-1, 1].

    Most of the work is done at low resolutions. The last convolution sees whole pixels, so that
    the PixelShuffle before it leaves no grid. With maps there is also `cells`, a linear guess of all pixels of a cell,
    to which the layers add what it lacks.
    """

    any_size = True

    def __init__(self, config: AutoencoderConfig):
        super().__init__()
        *widths, last = config.decoder_widths
        layers, before = [conv(config.latent_channels, widths[0]), nn.ReLU()], widths[0]
        for width, count in zip(widths, config.decoder_blocks, strict=True):
            layers += [Upsample(before, width)] if len(layers) > 2 else []
            layers += [ResBlock(width) for _ in range(count)]
            before = width
        self.layers = nn.Sequential(
            *layers, conv(before, 4 * last), nn.PixelShuffle(2), nn.ReLU(), conv(last, config.channels)
        )

        self.cells = None
        if len(config.maps) > 1:
            # Else its first answers are so far off that most of what is rectified before them dies.
            with torch.no_grad():
                self.layers[-1].weight.mul_(0.1)
            guess = nn.Conv2d(config.latent_channels, config.channels * config.factor**2, 1)
            nn.init.zeros_(guess.weight)
            nn.init.zeros_(guess.bias)
            self.cells = nn.Sequential(guess, nn.PixelShuffle(config.factor))

    def forward(self, latent: Tensor) -> Tensor:
        image = self.layers(latent)
        return image if self.cells is None else image + self.cells(latent)


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
        """Sets the encoder to the principal components of a cell's colours of `images` [K,3,H,W]."""
        channels, factor, colours = self.config.latent_channels, self.config.factor, CHANNELS["color"]
        patches = F.pixel_unshuffle(images[:, :colours], factor).permute(0, 2, 3, 1).flatten(0, 2)
        mean = patches.mean(0)
        values, vectors = torch.linalg.eigh((patches - mean).T @ (patches - mean) / len(patches))
        basis = vectors[:, -channels:].T / values[-channels:].sqrt()[:, None]
        into, last = self.encoder.patches, self.encoder.layers[-1]
        nn.init.zeros_(into.weight)
        into.weight[:, :colours] = basis.reshape(channels, colours, factor, factor)
        into.bias.copy_(-basis @ mean)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
