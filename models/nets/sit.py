"""SiT, the scalable interpolant transformer, as velocity predictor and as FlowTurbo's refiner.

The module tree is named so that an official SiT, DiT or FlowTurbo state dict loads unchanged
(`blocks.0.attn.qkv.weight`, ...). A refiner is the same network with twice the input channels:
the state `x` first, the cached velocity `v` after it, and it returns an offset to add to `v`.

With a `prior` it adds the best linear guess of the velocity to what it answers (`LinearPrior`).

With a `context` both take the embedding of a text beside the class: c = t_embedder(t) + y_embedder(y) +
context_embedder(context). A context of zeros is that of no prompt.

Sources: SiT (arXiv 2401.08740) models.py, FlowTurbo (arXiv 2409.18128) section 3.2.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FREQUENCIES = 256  # width of the sinusoidal time embedding


@dataclass(frozen=True)
class SiTConfig:
    """Geometry of one network. `out_channels` counts what the last layer emits, learned sigma included."""

    input_size: int  # edge of the square latent
    patch_size: int
    latent_channels: int
    hidden_size: int
    depth: int
    num_heads: int
    num_classes: int  # without the null class, whose label is `num_classes` if there is one
    mlp_hidden: int
    out_channels: int
    refiner: bool = False
    time_scale: float = 1.0  # DiT-style checkpoints embed 1000 * t
    null_class: bool = True  # what label dropout trains
    context: int = 0  # width of a text's embedding, a unit vector; 0 without
    prior: bool = False
    local: int = 0  # channels of the convolutions behind the transformer; 0 without

    @property
    def in_channels(self) -> int:
        return self.latent_channels * (2 if self.refiner else 1)

    @property
    def grid(self) -> int:
        return self.input_size // self.patch_size

    def asdict(self) -> dict:
        return asdict(self)


class TimestepEmbedder(nn.Module):
    def __init__(self, hidden: int, scale: float):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(FREQUENCIES, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        half = FREQUENCIES // 2
        frequencies = scale * torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / half)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, t: Tensor) -> Tensor:
        angles = t[:, None] * self.frequencies[None]
        return self.mlp(torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1))


class LabelEmbedder(nn.Module):
    def __init__(self, labels: int, hidden: int):
        super().__init__()
        self.embedding_table = nn.Embedding(labels, hidden)

    def forward(self, y: Tensor) -> Tensor:
        return self.embedding_table(y)


class ContextEmbedder(nn.Module):
    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.SiLU(), nn.Linear(hidden, hidden))

    def forward(self, context: Tensor) -> Tensor:
        return self.mlp(context)


class PatchEmbed(nn.Module):
    def __init__(self, config: SiTConfig):
        super().__init__()
        self.proj = nn.Conv2d(config.in_channels, config.hidden_size, config.patch_size, config.patch_size)
        self.tokens, self.hidden = config.grid**2, config.hidden_size

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).reshape(-1, self.hidden, self.tokens).transpose(1, 2)


class LinearPrior(nn.Module):
    """The velocity that is likeliest of patches as if they were normally distributed: x [N,C,H,W], t [N] -> tokens.

    Of data with mean m and covariance U diag(s) U^T, x = t data + (1 - t) noise has
    E[data - noise | x] = m + U diag(a(t)) U^T (x - t m), a(t) = (t s - (1 - t)) / (t^2 s + (1 - t)^2).
    A patch has nearly as many numbers as a token of a small network: without this, its width goes into passing on
    noise. `fit` makes its weights; they are not trained.
    """

    def __init__(self, config: SiTConfig):
        super().__init__()
        self.count, self.tokens = config.latent_channels * config.patch_size**2, config.grid**2
        self.into = nn.Conv2d(config.latent_channels, self.count, config.patch_size, config.patch_size, bias=False)
        self.back = nn.Linear(self.count, self.count)  # in the order of `unpatchify`
        self.mean, self.spread = (nn.Parameter(torch.ones(self.count)) for _ in range(2))  # U^T m and s
        self.requires_grad_(False)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        t = t[:, None]
        rest = 1 - t
        gain = (t * self.spread - rest) / (t * t * self.spread + rest * rest)
        z = self.into(x).reshape(-1, self.count, self.tokens).transpose(1, 2)
        return self.back((z - (t * self.mean).unsqueeze(1)) * gain.unsqueeze(1))

    @torch.no_grad()
    def fit(self, latents: Tensor) -> None:
        """To the patches of latents [K,C,H,W]."""
        channels, patch = self.into.weight.shape[1:3]
        patches = F.unfold(latents, patch, stride=patch).transpose(1, 2).flatten(0, 1)
        mean = patches.mean(0)
        values, vectors = torch.linalg.eigh((patches - mean).T @ (patches - mean) / len(patches))
        self.spread.copy_(values.clamp(min=1e-4))
        self.mean.copy_(vectors.T @ mean)
        self.into.weight.copy_(vectors.T.reshape(self.into.weight.shape))
        order = torch.arange(self.count).reshape(channels, patch, patch).permute(1, 2, 0).flatten()
        self.back.weight.copy_(vectors[order])
        self.back.bias.copy_(mean[order])


class Attention(nn.Module):
    """Softmax attention; `exportable` spells it out in plain matrix products for the ONNX graph."""

    exportable = False

    def __init__(self, hidden: int, heads: int, tokens: int):
        super().__init__()
        self.heads, self.head, self.tokens, self.hidden = heads, hidden // heads, tokens, hidden
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.proj = nn.Linear(hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            part.reshape(-1, self.tokens, self.heads, self.head).transpose(1, 2)
            for part in self.qkv(x).chunk(3, dim=-1)
        )
        if self.exportable:
            scores = torch.matmul(q * self.head**-0.5, k.transpose(-2, -1))
            x = torch.matmul(torch.softmax(scores, dim=-1), v)
        else:
            x = F.scaled_dot_product_attention(q, k, v)
        return self.proj(x.transpose(1, 2).reshape(-1, self.tokens, self.hidden))


class Mlp(nn.Module):
    def __init__(self, hidden: int, inner: int):
        super().__init__()
        self.fc1 = nn.Linear(hidden, inner)
        self.fc2 = nn.Linear(inner, hidden)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return x * (1 + scale.unsqueeze(1)) + shift.unsqueeze(1)


class Block(nn.Module):
    def __init__(self, config: SiTConfig):
        super().__init__()
        hidden = config.hidden_size
        self.norm1 = nn.LayerNorm(hidden, elementwise_affine=False, eps=1e-6)
        self.attn = Attention(hidden, config.num_heads, config.grid**2)
        self.norm2 = nn.LayerNorm(hidden, elementwise_affine=False, eps=1e-6)
        self.mlp = Mlp(hidden, config.mlp_hidden)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(hidden, 6 * hidden))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(c).chunk(6, dim=1)
        x = x + gate1.unsqueeze(1) * self.attn(modulate(self.norm1(x), shift1, scale1))
        return x + gate2.unsqueeze(1) * self.mlp(modulate(self.norm2(x), shift2, scale2))


class FinalLayer(nn.Module):
    def __init__(self, config: SiTConfig):
        super().__init__()
        hidden = config.hidden_size
        self.norm_final = nn.LayerNorm(hidden, elementwise_affine=False, eps=1e-6)
        self.linear = nn.Linear(hidden, config.patch_size**2 * config.out_channels)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(hidden, 2 * hidden))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        shift, scale = self.adaLN_modulation(c).chunk(2, dim=1)
        return self.linear(modulate(self.norm_final(x), shift, scale))


class LocalHead(nn.Module):
    """What the latent's own neighbourhoods tell beside the tokens: x and v [N,C,H,W], c [N,hidden] -> an offset to v.

    Without it one linear layer must say how the cells of a token fit each other, and nothing does across its border.
    Convolutions wrap around.
    """

    def __init__(self, config: SiTConfig):
        super().__init__()
        channels, width = config.latent_channels, config.local
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(config.hidden_size, 2 * width))
        self.into, self.inner, self.back = (
            nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="circular")
            for inputs, outputs in ((2 * channels, width), (width, width), (width, channels))
        )

    def forward(self, x: Tensor, v: Tensor, c: Tensor) -> Tensor:
        shift, scale = self.adaLN_modulation(c)[:, :, None, None].chunk(2, dim=1)
        seen = F.silu(self.into(torch.cat([x, v], dim=1)) * (1 + scale) + shift)
        return self.back(F.silu(self.inner(seen)))


class SiT(nn.Module):
    """`forward(x [N,C,H,W], t [N], y [N])` for a predictor, `forward(x, v, t, y)` for a refiner; with a context, it
    [N,D] comes last.

    Returns [N,C,H,W]; a learned sigma half of the output is dropped.
    """

    def __init__(self, config: SiTConfig):
        super().__init__()
        self.config = config
        self.x_embedder = PatchEmbed(config)
        self.t_embedder = TimestepEmbedder(config.hidden_size, config.time_scale)
        self.y_embedder = LabelEmbedder(config.num_classes + config.null_class, config.hidden_size)
        if config.context:
            self.context_embedder = ContextEmbedder(config.context, config.hidden_size)
        self.pos_embed = nn.Parameter(position_embedding(config.hidden_size, config.grid), requires_grad=False)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.final_layer = FinalLayer(config)
        if config.prior:
            self.prior = LinearPrior(config)
        if config.local:
            self.local = LocalHead(config)

    def forward(self, x: Tensor, *conditions: Tensor) -> Tensor:
        if self.config.refiner:
            v, *conditions = conditions
            x = torch.cat([x, v], dim=1)
        t, y, *context = conditions
        tokens = self.x_embedder(x) + self.pos_embed
        c = self.t_embedder(t) + self.y_embedder(y)
        if self.config.context:
            c = c + self.context_embedder(*context)
        for block in self.blocks:
            tokens = block(tokens, c)
        answer = self.final_layer(tokens, c)
        if self.config.prior:
            answer = answer + self.prior(x, t)
        v = self.unpatchify(answer)
        return v + self.local(x, v, c) if self.config.local else v

    def unpatchify(self, tokens: Tensor) -> Tensor:
        g, p, c = self.config.grid, self.config.patch_size, self.config.out_channels
        image = tokens.reshape(-1, g, g, p, p, c).permute(0, 5, 1, 3, 2, 4).reshape(-1, c, g * p, g * p)
        return image[:, : self.config.latent_channels]

    def initialise(self) -> SiT:
        """Random weights as SiT starts training: adaLN-zero, Xavier linears, zero output."""
        for module in self.modules():
            if isinstance(module, nn.Linear) and module.weight.requires_grad:
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        projection = self.x_embedder.proj
        nn.init.xavier_uniform_(projection.weight.view(projection.weight.shape[0], -1))
        nn.init.zeros_(projection.bias)
        for weight in (
            self.y_embedder.embedding_table.weight,
            self.t_embedder.mlp[0].weight,
            self.t_embedder.mlp[2].weight,
        ):
            nn.init.normal_(weight, std=0.02)
        if self.config.context:
            # Its input has unit length, not unit deviation.
            nn.init.normal_(self.context_embedder.mlp[0].weight, std=1.0)
            nn.init.normal_(self.context_embedder.mlp[2].weight, std=0.02)
        modulated, last = [*self.blocks, self.final_layer], [self.final_layer.linear]
        if self.config.local:
            modulated, last = [*modulated, self.local], [*last, self.local.back]
        for layer in [part.adaLN_modulation[-1] for part in modulated] + last:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        return self


def position_embedding(hidden: int, grid: int) -> Tensor:
    """The fixed 2-D sine-cosine table [1, grid*grid, hidden]: column position first, row position second."""
    quarter = hidden // 4
    omega = 1.0 / 10000 ** (torch.arange(quarter, dtype=torch.float64) / quarter)
    rows, columns = torch.meshgrid(torch.arange(grid), torch.arange(grid), indexing="ij")
    halves = [p.reshape(-1, 1) * omega[None] for p in (columns, rows)]
    table = torch.cat([f(angle) for angle in halves for f in (torch.sin, torch.cos)], dim=1)
    return table.float().unsqueeze(0)
