"""diffusers' UNet2DConditionModel as a velocity predictor and FlowTurbo's refiner: x [N,C,H,W], a prompt's tokens.

The module tree is named as diffusers' checkpoints are (`down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k`,
...). Stable Diffusion 1.5 and 2 are of this kind, and so are InstaFlow and 2-rectified flow (arXiv 2309.06380), whose
output is a velocity. A refiner is the same network with twice the input channels: the state `x` first, the cached
velocity `v` after it (FlowTurbo, arXiv 2409.18128, section 3.2), and returns an offset to add to `v`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nets.kl import Upsample, conv3

TRANSFORMER_EPSILON = 1e-6  # of the group norm in front of a transformer


@dataclass(frozen=True)
class UNetConfig:
    """The fields of diffusers' config.json that matter here."""

    in_channels: int = 4
    out_channels: int = 4
    sample_size: int = 64
    down_block_types: tuple[str, ...] = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
    up_block_types: tuple[str, ...] = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers_per_block: int = 2
    cross_attention_dim: int = 1280
    attention_head_dim: int | tuple[int, ...] = 8  # how many heads there are, whatever it is called
    use_linear_projection: bool = False
    norm_num_groups: int = 32
    norm_eps: float = 1e-5
    freq_shift: float = 0
    tokens: int = 77  # of a context: not in config.json, but what the text encoder gives

    @property
    def refiner(self) -> bool:
        return self.in_channels == 2 * self.out_channels

    @property
    def heads(self) -> tuple[int, ...]:
        """Of each block on the way down."""
        heads = self.attention_head_dim
        return heads if isinstance(heads, tuple) else (heads,) * len(self.block_out_channels)

    @property
    def time_width(self) -> int:
        return 4 * self.block_out_channels[0]


class TimestepEmbedding(nn.Module):
    """Cosines, then sines, of t by frequencies from 1 down to 1/10000, and two layers."""

    def __init__(self, config: UNetConfig):
        super().__init__()
        width, half = config.block_out_channels[0], config.block_out_channels[0] // 2
        powers = torch.arange(half, dtype=torch.float32) / (half - config.freq_shift)
        self.register_buffer("frequencies", torch.exp(-math.log(10000) * powers), persistent=False)
        self.linear_1, self.linear_2 = (
            nn.Linear(width, config.time_width),
            nn.Linear(config.time_width, config.time_width),
        )

    def forward(self, t: Tensor) -> Tensor:
        angles = t[:, None] * self.frequencies[None]
        return self.linear_2(F.silu(self.linear_1(torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1))))


class ResnetBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, config: UNetConfig):
        super().__init__()
        groups, epsilon = config.norm_num_groups, config.norm_eps
        self.norm1, self.conv1 = nn.GroupNorm(groups, inputs, epsilon), conv3(inputs, outputs)
        self.time_emb_proj = nn.Linear(config.time_width, outputs)
        self.norm2, self.conv2 = nn.GroupNorm(groups, outputs, epsilon), conv3(outputs, outputs)
        if inputs != outputs:
            self.conv_shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x))) + self.time_emb_proj(F.silu(time))[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        return (self.conv_shortcut(x) if hasattr(self, "conv_shortcut") else x) + h


class CrossAttention(nn.Module):
    """Attention of `x` [N,T,D] to itself, or to a context [N,L,D'], in plain matrix products."""

    def __init__(self, width: int, context: int, heads: int):
        super().__init__()
        self.heads, self.head = heads, width // heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k, self.to_v = nn.Linear(context, width, bias=False), nn.Linear(context, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        seen = x if context is None else context
        q, k, v = (self.split(layer(of)) for layer, of in ((self.to_q, x), (self.to_k, seen), (self.to_v, seen)))
        scores = torch.matmul(q * self.head**-0.5, k.transpose(-2, -1))
        answer = torch.matmul(torch.softmax(scores, dim=-1), v).transpose(1, 2)
        return self.to_out[0](answer.reshape(-1, x.shape[1], self.heads * self.head))

    def split(self, x: Tensor) -> Tensor:
        return x.reshape(-1, x.shape[1], self.heads, self.head).transpose(1, 2)


class GatedGelu(nn.Module):
    def __init__(self, width: int, inner: int):
        super().__init__()
        self.proj = nn.Linear(width, 2 * inner)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        # The middle one is a dropout in the original, and has no weights.
        self.net = nn.ModuleList([GatedGelu(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width)])

    def forward(self, x: Tensor) -> Tensor:
        return self.net[2](self.net[0](x))


class TransformerBlock(nn.Module):
    def __init__(self, width: int, context: int, heads: int):
        super().__init__()
        self.norm1, self.attn1 = nn.LayerNorm(width), CrossAttention(width, width, heads)
        self.norm2, self.attn2 = nn.LayerNorm(width), CrossAttention(width, context, heads)
        self.norm3, self.ff = nn.LayerNorm(width), FeedForward(width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class Transformer(nn.Module):
    """One block over all cells, between two projections: 1x1 convolutions, or linear layers in Stable Diffusion 2."""

    def __init__(self, width: int, heads: int, config: UNetConfig):
        super().__init__()
        self.norm = nn.GroupNorm(config.norm_num_groups, width, TRANSFORMER_EPSILON)
        self.linear = config.use_linear_projection
        project = (lambda: nn.Linear(width, width)) if self.linear else (lambda: nn.Conv2d(width, width, 1))
        self.proj_in = project()
        self.transformer_blocks = nn.ModuleList([TransformerBlock(width, config.cross_attention_dim, heads)])
        self.proj_out = project()

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        _, channels, height, width = x.shape

        def to_tokens(cells: Tensor) -> Tensor:
            return cells.reshape(-1, channels, height * width).transpose(1, 2)

        def to_cells(tokens: Tensor) -> Tensor:
            return tokens.transpose(1, 2).reshape(-1, channels, height, width)

        h = self.norm(x)
        tokens = self.proj_in(to_tokens(h)) if self.linear else to_tokens(self.proj_in(h))
        for block in self.transformer_blocks:
            tokens = block(tokens, context)
        return x + (to_cells(self.proj_out(tokens)) if self.linear else self.proj_out(to_cells(tokens)))


class Downsample(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class DownBlock(nn.Module):
    """Gives what each of its layers gives, for the way up."""

    def __init__(self, inputs: int, outputs: int, heads: int | None, last: bool, config: UNetConfig):
        super().__init__()
        layers = range(config.layers_per_block)
        self.resnets = nn.ModuleList(ResnetBlock(outputs if i else inputs, outputs, config) for i in layers)
        self.attentions = nn.ModuleList(Transformer(outputs, heads, config) for _ in layers if heads)
        self.downsamplers = nn.ModuleList([] if last else [Downsample(outputs)])

    def forward(self, x: Tensor, time: Tensor, context: Tensor) -> list[Tensor]:
        given = []
        for i, resnet in enumerate(self.resnets):
            x = resnet(x, time)
            x = self.attentions[i](x, context) if self.attentions else x
            given.append(x)
        return given + [down(x) for down in self.downsamplers]


class MidBlock(nn.Module):
    def __init__(self, width: int, heads: int, config: UNetConfig):
        super().__init__()
        self.resnets = nn.ModuleList(ResnetBlock(width, width, config) for _ in range(2))
        self.attentions = nn.ModuleList([Transformer(width, heads, config)])

    def forward(self, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
        x = self.resnets[0](x, time)
        return self.resnets[1](self.attentions[0](x, context), time)


class UpBlock(nn.Module):
    """Takes what the way down gave, the last first, beside its state."""

    def __init__(self, inputs: int, skips: list[int], outputs: int, heads: int | None, last: bool, config: UNetConfig):
        super().__init__()
        pairs = list(zip([inputs] + [outputs] * (len(skips) - 1), skips))
        self.resnets = nn.ModuleList(ResnetBlock(a + b, outputs, config) for a, b in pairs)
        self.attentions = nn.ModuleList(Transformer(outputs, heads, config) for _ in pairs if heads)
        self.upsamplers = nn.ModuleList([] if last else [Upsample(outputs)])

    def forward(self, x: Tensor, skips: list[Tensor], time: Tensor, context: Tensor) -> Tensor:
        for i, resnet in enumerate(self.resnets):
            x = resnet(torch.cat([x, skips.pop()], dim=1), time)
            x = self.attentions[i](x, context) if self.attentions else x
        return self.upsamplers[0](x) if self.upsamplers else x


class UNet(nn.Module):
    """`forward(x [N,C,H,W], t [N], context [N,L,D])` for a predictor, `forward(x, v, t, context)` for a refiner."""

    takes_class = False

    def __init__(self, config: UNetConfig):
        super().__init__()
        self.config = config
        widths, heads, layers = config.block_out_channels, config.heads, config.layers_per_block
        attends = [kind.startswith("CrossAttn") for kind in config.down_block_types]
        last = len(widths) - 1
        self.conv_in = conv3(config.in_channels, widths[0])
        self.time_embedding = TimestepEmbedding(config)
        self.down_blocks = nn.ModuleList(
            DownBlock(widths[max(i - 1, 0)], width, heads[i] if attends[i] else None, i == last, config)
            for i, width in enumerate(widths)
        )
        self.mid_block = MidBlock(widths[-1], heads[-1], config)
        # Channels of what the way down gives: the first convolution's, then each block's layers' and its last one's.
        given = [widths[0]] + [w for i, w in enumerate(widths) for _ in range(layers + (i < last))]
        self.up_blocks = nn.ModuleList()
        inputs = widths[-1]
        for i, kind in enumerate(config.up_block_types):
            at = last - i
            skips = [given.pop() for _ in range(layers + 1)]
            here = heads[at] if kind.startswith("CrossAttn") else None
            self.up_blocks.append(UpBlock(inputs, skips, widths[at], here, i == last, config))
            inputs = widths[at]
        self.conv_norm_out = nn.GroupNorm(config.norm_num_groups, widths[0], config.norm_eps)
        self.conv_out = conv3(widths[0], config.out_channels)

    def forward(self, x: Tensor, *conditions: Tensor) -> Tensor:
        if self.config.refiner:
            v, t, context = conditions
            x = torch.cat([x, v], dim=1)
        else:
            t, context = conditions
        time = self.time_embedding(t)
        x = self.conv_in(x)
        skips = [x]
        for block in self.down_blocks:
            skips += block(skips[-1], time, context)
        x = self.mid_block(skips[-1], time, context)
        for block in self.up_blocks:
            x = block(x, skips, time, context)
        return self.conv_out(F.silu(self.conv_norm_out(x)))
