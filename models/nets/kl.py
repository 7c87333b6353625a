"""The halves of diffusers' AutoencoderKL: image [N,3,H,W] -> latent mean, latent -> image.

The module tree is named as diffusers' checkpoints are (`decoder.up_blocks.0.resnets.0.conv1.weight`, ...).
The encoder stops at the mean: the log-variance rows of its last layer are not there to be computed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-6  # of every group norm


@dataclass(frozen=True)
class KlConfig:
    """The fields of diffusers' config.json that matter here."""

    latent_channels: int = 4
    block_out_channels: tuple[int, ...] = (128, 256, 512, 512)
    layers_per_block: int = 2
    norm_num_groups: int = 32
    use_quant_conv: bool = True
    use_post_quant_conv: bool = True
    mid_block_add_attention: bool = True
    scaling_factor: float = 0.18215
    shift_factor: float = 0.0

    @property
    def factor(self) -> int:
        """Pixels per latent cell, along each axis."""
        return 2 ** (len(self.block_out_channels) - 1)


def conv3(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class ResBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, groups: int):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(groups, inputs, EPSILON), conv3(inputs, outputs)
        self.norm2, self.conv2 = nn.GroupNorm(groups, outputs, EPSILON), conv3(outputs, outputs)
        if inputs != outputs:
            self.conv_shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (self.conv_shortcut(x) if hasattr(self, "conv_shortcut") else x)


class Attention(nn.Module):
    """One head over all pixels, spelled out in plain matrix products."""

    def __init__(self, width: int, groups: int):
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, width, EPSILON)
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])
        self.scale = width**-0.5

    def forward(self, x: Tensor) -> Tensor:
        _, channels, height, width = x.shape
        tokens = self.group_norm(x).reshape(-1, channels, height * width).transpose(1, 2)
        q, k, v = self.to_q(tokens), self.to_k(tokens), self.to_v(tokens)
        scores = torch.matmul(q * self.scale, k.transpose(1, 2))
        tokens = self.to_out[0](torch.matmul(torch.softmax(scores, dim=-1), v))
        return x + tokens.transpose(1, 2).reshape(-1, channels, height, width)


class MidBlock(nn.Module):
    def __init__(self, width: int, config: KlConfig):
        super().__init__()
        groups = config.norm_num_groups
        self.resnets = nn.ModuleList(ResBlock(width, width, groups) for _ in range(2))
        self.attentions = nn.ModuleList([Attention(width, groups)] if config.mid_block_add_attention else [])

    def forward(self, x: Tensor) -> Tensor:
        x = self.resnets[0](x)
        for attention in self.attentions:
            x = attention(x)
        return self.resnets[1](x)


class Downsample(nn.Module):
    """Stride 2, with the padding on the right and below only."""

    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.conv = conv3(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class DownBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, layers: int, groups: int, last: bool):
        super().__init__()
        self.resnets = nn.ModuleList(ResBlock(outputs if i else inputs, outputs, groups) for i in range(layers))
        self.downsamplers = nn.ModuleList([] if last else [Downsample(outputs)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in [*self.resnets, *self.downsamplers]:
            x = layer(x)
        return x


class UpBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, layers: int, groups: int, last: bool):
        super().__init__()
        self.resnets = nn.ModuleList(ResBlock(outputs if i else inputs, outputs, groups) for i in range(layers))
        self.upsamplers = nn.ModuleList([] if last else [Upsample(outputs)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in [*self.resnets, *self.upsamplers]:
            x = layer(x)
        return x


class EncoderBody(nn.Module):
    def __init__(self, config: KlConfig, outputs: int):
        super().__init__()
        widths, groups, layers = config.block_out_channels, config.norm_num_groups, config.layers_per_block
        pairs = list(zip((widths[0], *widths), widths))
        self.conv_in = conv3(3, widths[0])
        self.down_blocks = nn.ModuleList(
            DownBlock(a, b, layers, groups, last=i == len(pairs) - 1) for i, (a, b) in enumerate(pairs)
        )
        self.mid_block = MidBlock(widths[-1], config)
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], EPSILON)
        self.conv_out = conv3(widths[-1], outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for block in self.down_blocks:
            x = block(x)
        return self.conv_out(F.silu(self.conv_norm_out(self.mid_block(x))))


class DecoderBody(nn.Module):
    def __init__(self, config: KlConfig):
        super().__init__()
        widths, groups, layers = config.block_out_channels[::-1], config.norm_num_groups, config.layers_per_block
        pairs = list(zip((widths[0], *widths), widths))
        self.conv_in = conv3(config.latent_channels, widths[0])
        self.mid_block = MidBlock(widths[0], config)
        self.up_blocks = nn.ModuleList(
            UpBlock(a, b, layers + 1, groups, last=i == len(pairs) - 1) for i, (a, b) in enumerate(pairs)
        )
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], EPSILON)
        self.conv_out = conv3(widths[-1], 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mid_block(self.conv_in(x))
        for block in self.up_blocks:
            x = block(x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class KlEncoder(nn.Module):
    """Image [N,3,H,W] in [-1, 1] -> latent mean, not yet shifted and scaled."""

    def __init__(self, config: KlConfig):
        super().__init__()
        latent = config.latent_channels
        self.encoder = EncoderBody(config, outputs=2 * latent if config.use_quant_conv else latent)
        self.quant_conv = nn.Conv2d(2 * latent, latent, 1) if config.use_quant_conv else nn.Identity()

    @property
    def mean_layer(self) -> str:
        """The layer of which a checkpoint holds the log-variance rows too."""
        return "encoder.conv_out" if isinstance(self.quant_conv, nn.Identity) else "quant_conv"

    def forward(self, image: Tensor) -> Tensor:
        return self.quant_conv(self.encoder(image))


class KlDecoder(nn.Module):
    """Latent, unscaled and unshifted -> image, nominally in [-1, 1]."""

    def __init__(self, config: KlConfig):
        super().__init__()
        latent = config.latent_channels
        self.post_quant_conv = nn.Conv2d(latent, latent, 1) if config.use_post_quant_conv else nn.Identity()
        self.decoder = DecoderBody(config)

    def forward(self, latent: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(latent))
