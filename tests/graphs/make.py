"""Small networks with random weights as both PyTorch exporters write them: tests/data/graphs.

The networks say the same in different words: fused or separate projections, torch's own functions or the
equations written out. Latents are [N, 4, 8, 16], images [N, 3, 64, 128].
"""

from __future__ import annotations

import logging
import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
import torch.nn.functional as F
from torch import Tensor, nn

FOLDER = Path(__file__).resolve().parents[1] / "data" / "graphs"
CHANNELS, HEIGHT, WIDTH, PATCH = 4, 8, 16, 2
ROWS, COLUMNS = HEIGHT // PATCH, WIDTH // PATCH
HIDDEN, HEADS, DEPTH, INNER, CLASSES, FREQUENCIES = 16, 2, 2, 24, 3, 12


@dataclass(frozen=True)
class Wording:
    """How a predictor says what it does; see the modules below for what each word means."""

    projections: str = "fused"  # or separate
    attention: str = "torch"  # or written
    norm: str = "torch"  # or written
    gelu: str = "tanh"  # or erf, written
    unpatchify: str = "einsum"  # or permute
    heads_norm: str = "none"  # or rms, written-rms, layer


class WrittenNorm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(-1, keepdim=True)
        variance = ((x - mean) ** 2).mean(-1, keepdim=True)
        return (x - mean) / torch.sqrt(variance + 1e-6)


class WrittenRms(nn.Module):
    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def layer_norm(wording: Wording) -> nn.Module:
    return nn.LayerNorm(HIDDEN, elementwise_affine=False, eps=1e-6) if wording.norm == "torch" else WrittenNorm()


class Attention(nn.Module):
    def __init__(self, wording: Wording):
        super().__init__()
        self.wording, self.width = wording, HIDDEN // HEADS
        if wording.projections == "fused":
            self.qkv = nn.Linear(HIDDEN, 3 * HIDDEN)
        else:
            self.to_q, self.to_k, self.to_v = (nn.Linear(HIDDEN, HIDDEN) for _ in range(3))
        self.proj = nn.Linear(HIDDEN, HIDDEN)
        norms = {"none": nn.Identity, "rms": nn.RMSNorm, "written-rms": WrittenRms, "layer": nn.LayerNorm}
        norm = norms[wording.heads_norm]
        self.q_norm, self.k_norm = norm(self.width, eps=1e-6), norm(self.width, eps=1e-6)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        batch, tokens, _ = x.shape
        if self.wording.projections == "fused":
            return self.qkv(x).reshape(batch, tokens, 3, HEADS, self.width).permute(2, 0, 3, 1, 4).unbind(0)
        heads = (p(x).view(batch, tokens, HEADS, self.width).transpose(1, 2) for p in (self.to_q, self.to_k, self.to_v))
        return tuple(heads)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        q, k, v = self.split(x)
        q, k = self.q_norm(q), self.k_norm(k)
        if self.wording.attention == "torch":
            x = F.scaled_dot_product_attention(q, k, v)
        else:
            x = ((q @ k.transpose(-2, -1)) * self.width**-0.5).softmax(dim=-1) @ v
        return self.proj(x.transpose(1, 2).reshape(batch, tokens, HIDDEN))


class Mlp(nn.Module):
    def __init__(self, wording: Wording):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(HIDDEN, INNER), nn.Linear(INNER, HIDDEN)
        self.gelu = wording.gelu

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        if self.gelu == "written":
            x = 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        else:
            x = F.gelu(x, approximate="tanh" if self.gelu == "tanh" else "none")
        return self.fc2(x)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return x * (1 + scale.unsqueeze(1)) + shift.unsqueeze(1)


class Block(nn.Module):
    def __init__(self, wording: Wording):
        super().__init__()
        self.norm1, self.norm2 = layer_norm(wording), layer_norm(wording)
        self.attn, self.mlp = Attention(wording), Mlp(wording)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(HIDDEN, 6 * HIDDEN))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(c).chunk(6, dim=1)
        x = x + gate1.unsqueeze(1) * self.attn(modulate(self.norm1(x), shift1, scale1))
        return x + gate2.unsqueeze(1) * self.mlp(modulate(self.norm2(x), shift2, scale2))


class Predictor(nn.Module):
    """`forward(x [N,4,8,16], t [N], y [N])`, the shape of a SiT."""

    def __init__(self, wording: Wording, channels: int = CHANNELS):
        super().__init__()
        self.wording = wording
        self.patches = nn.Conv2d(channels, HIDDEN, PATCH, PATCH)
        self.position = nn.Parameter(torch.randn(1, ROWS * COLUMNS, HIDDEN))
        self.time = nn.Sequential(nn.Linear(2 * FREQUENCIES, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, HIDDEN))
        self.classes = nn.Embedding(CLASSES, HIDDEN)
        self.blocks = nn.ModuleList(Block(wording) for _ in range(DEPTH))
        self.norm = layer_norm(wording)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(HIDDEN, 2 * HIDDEN))
        self.linear = nn.Linear(HIDDEN, PATCH**2 * CHANNELS)

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        frequencies = torch.exp(-math.log(10000) * torch.arange(FREQUENCIES) / FREQUENCIES)
        angles = t[:, None] * frequencies[None]
        c = self.time(torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1)) + self.classes(y)
        x = self.patches(x).flatten(2).transpose(1, 2) + self.position
        for block in self.blocks:
            x = block(x, c)
        shift, scale = self.adaLN_modulation(c).chunk(2, dim=1)
        return self.unpatchify(self.linear(modulate(self.norm(x), shift, scale)))

    def unpatchify(self, x: Tensor) -> Tensor:
        x = x.reshape(x.shape[0], ROWS, COLUMNS, PATCH, PATCH, CHANNELS)
        x = torch.einsum("nhwpqc->nchpwq", x) if self.wording.unpatchify == "einsum" else x.permute(0, 5, 1, 3, 2, 4)
        return x.reshape(x.shape[0], CHANNELS, HEIGHT, WIDTH)


class Refiner(Predictor):
    """`forward(x [N,4,8,16], v [N,4,8,16], t [N], y [N])`."""

    def __init__(self, wording: Wording):
        super().__init__(wording, 2 * CHANNELS)

    def forward(self, x: Tensor, v: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return super().forward(torch.cat([x, v], dim=1), t, y)


class ResBlock(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(2, width), nn.Conv2d(width, width, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(2, width), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(h)))


class PixelAttention(nn.Module):
    """Attention between pixels, as in the middle of a Stable Diffusion autoencoder."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.GroupNorm(2, width)
        self.to_q, self.to_k, self.to_v, self.to_out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        batch, width, height, length = x.shape
        tokens = self.norm(x.view(batch, width, height * length)).transpose(1, 2)
        q, k, v = (p(tokens).view(batch, -1, 1, width).transpose(1, 2) for p in (self.to_q, self.to_k, self.to_v))
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, -1, width)
        return x + self.to_out(h).transpose(-1, -2).reshape(batch, width, height, length)


class Decoder(nn.Module):
    """`forward(latent [N,4,8,16])` to an image eight times as large."""

    def __init__(self, width: int, attention: bool):
        super().__init__()
        self.enter = nn.Conv2d(CHANNELS, width, 3, padding=1)
        self.middle = PixelAttention(width) if attention else nn.Identity()
        self.blocks = nn.ModuleList(ResBlock(width) for _ in range(3))
        self.ups = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(3))
        self.norm, self.leave = nn.GroupNorm(2, width), nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, latent: Tensor) -> Tensor:
        x = self.middle(self.enter(latent))
        for block, up in zip(self.blocks, self.ups, strict=True):
            x = up(F.interpolate(block(x), scale_factor=2.0, mode="nearest"))
        return self.leave(F.silu(self.norm(x)))


TORCHSCRIPT, DYNAMO = "torchscript", "dynamo"
PREDICTORS = [
    (TORCHSCRIPT, 13, Wording(attention="written")),
    (TORCHSCRIPT, 14, Wording("separate", "torch", "written", "erf", "permute")),
    (TORCHSCRIPT, 17, Wording()),
    (TORCHSCRIPT, 18, Wording("separate", "torch", "torch", "written", "permute", "layer")),
    (TORCHSCRIPT, 20, Wording("fused", "written", "written", "tanh", "permute", "written-rms")),
    (DYNAMO, 18, Wording()),
    (DYNAMO, 18, Wording("separate", "written", "written", "erf", "permute")),
    (DYNAMO, 20, Wording("separate", "torch", "torch", "written", "permute", "layer")),
    (DYNAMO, 21, Wording("fused", "written", "torch", "erf", "einsum", "rms")),
    (DYNAMO, 23, Wording("fused", "torch", "torch", "tanh", "einsum", "rms")),
    (DYNAMO, 23, Wording("separate", "torch", "written", "erf", "permute")),
]
DECODERS = [(TORCHSCRIPT, 13, False), (TORCHSCRIPT, 17, True), (DYNAMO, 18, True), (DYNAMO, 21, False)]


def export(module: nn.Module, exporter: str, opset: int, inputs: dict[str, Tensor], output: str, name: str) -> None:
    path = FOLDER / f"{name}.onnx"
    names = {"input_names": list(inputs), "output_names": [output], "opset_version": opset}
    module.eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))  # nothing is zero or one by construction
        if exporter == TORCHSCRIPT:
            axes = {tensor: {0: "N"} for tensor in [*inputs, output]}
            torch.onnx.export(module, tuple(inputs.values()), path, dynamic_axes=axes, dynamo=False, **names)
        else:
            shapes = tuple({0: torch.export.Dim("N")} for _ in inputs)
            args = tuple(inputs.values())
            torch.onnx.export(module, args, path, dynamo=True, dynamic_shapes=shapes, external_data=False, **names)
    model = onnx.load(path)
    shrink(model)
    onnx.save(model, path)
    print(f"{path.name}: {path.stat().st_size} bytes, {', '.join(sorted({node.op_type for node in model.graph.node}))}")


def shrink(model: onnx.ModelProto) -> None:
    """Drops what the exporters tell of themselves, and the long names: stack traces and notes, but for those on
    shapes."""
    del model.metadata_props[:], model.graph.metadata_props[:]
    graph = model.graph
    for part in [*graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info]:
        part.doc_string = ""
        del part.metadata_props[:]
    kept = {"", *(port.name for port in [*model.graph.input, *model.graph.output])}
    short = {name: name for name in kept}
    for tensor in model.graph.initializer:
        tensor.name = short.setdefault(tensor.name, f"w{len(short)}")
    for number, node in enumerate(model.graph.node):
        node.name = f"n{number}"
        node.input[:] = [short[name] for name in node.input]
        node.output[:] = [short.setdefault(name, f"v{len(short)}") for name in node.output]
    for info in model.graph.value_info:
        info.name = short.get(info.name, info.name)


def main() -> None:
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    FOLDER.mkdir(exist_ok=True)
    numbers = {}
    x = torch.randn(2, CHANNELS, HEIGHT, WIDTH)
    for exporter, opset, wording in PREDICTORS:
        torch.manual_seed(0)
        name = f"{exporter}-{opset}"
        numbers[name] = numbers.get(name, 0) + 1
        name += "" if numbers[name] == 1 else f"-{numbers[name]}"
        inputs = {"x": x, "t": torch.tensor([0.25, 0.5]), "y": torch.tensor([0, 2])}
        export(Predictor(wording), exporter, opset, inputs, "velocity", name)
    torch.manual_seed(0)
    inputs = {"x": x, "v": x, "t": torch.tensor([0.25, 0.5]), "y": torch.tensor([0, 2])}
    export(Refiner(Wording()), TORCHSCRIPT, 17, inputs, "offset", f"refiner-{TORCHSCRIPT}-17")
    for exporter, opset, attention in DECODERS:
        torch.manual_seed(0)
        export(Decoder(4, attention), exporter, opset, {"latent": x}, "image", f"decoder-{exporter}-{opset}")


if __name__ == "__main__":
    main()
