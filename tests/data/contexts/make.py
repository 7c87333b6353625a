"""Makes the bundles of this folder and what they sample: random networks that take a context, and golden.npz.

`pooled`: predictor and refiner of time, class and a context [N, 12], a decoder and an encoder of one layer. `tokens`:
predictor and refiner of time and a context [N, 7, 12] by cross-attention, and no class. The answers are ONNX Runtime's,
the sampler is models/tests/sampler.py.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[2] / "models"), str(HERE.parents[2] / "models" / "tests")]

CHANNELS, EDGE, PATCH, HIDDEN, HEADS = 4, 8, 2, 16, 2
GRID = EDGE // PATCH
WIDTH, TOKENS, CLASSES = 12, 7, 3

CASES = [
    # bundle, schedule, guidance, classes, contexts, negative contexts: how many of them, or none
    ("pooled", "H1P2R2", 3.0, [0, 2], 2, None),
    ("pooled", "H1P1R1", 2.5, [1, 3], 1, 2),
    ("pooled", "E2P1R1", 1.0, [2, 2], 2, None),
    ("pooled", "H2R1", 3.0, [1], None, None),
    ("tokens", "H1P2R2", 4.0, [0, 0], 2, None),
    ("tokens", "E1H1R1", 0.5, [0, 0, 0], 3, 1),
    ("tokens", "P2R2", 1.0, [0], 1, None),
    ("tokens", "H1R1", 2.0, [0], None, 1),
]


class Attention(nn.Module):
    """Queries of `x`, keys and values of `x` or of a context."""

    def __init__(self, width: int):
        super().__init__()
        self.q, self.kv, self.out = nn.Linear(HIDDEN, HIDDEN), nn.Linear(width, 2 * HIDDEN), nn.Linear(HIDDEN, HIDDEN)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        def heads(part: Tensor) -> Tensor:
            return part.reshape(-1, part.shape[1], HEADS, HIDDEN // HEADS).transpose(1, 2)

        q, (k, v) = heads(self.q(x)), map(heads, self.kv(context).chunk(2, dim=-1))
        weights = torch.softmax(q @ k.transpose(-2, -1) * (HIDDEN // HEADS) ** -0.5, dim=-1)
        return self.out((weights @ v).transpose(1, 2).reshape(-1, x.shape[1], HIDDEN))


class Block(nn.Module):
    def __init__(self, cross: bool):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(HIDDEN, elementwise_affine=False, eps=1e-6) for _ in range(3))
        self.attention = Attention(HIDDEN)
        self.cross = Attention(WIDTH) if cross else None
        self.mlp = nn.Sequential(
            nn.Linear(HIDDEN, 2 * HIDDEN), nn.GELU(approximate="tanh"), nn.Linear(2 * HIDDEN, HIDDEN)
        )
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(HIDDEN, 6 * HIDDEN))

    def forward(self, x: Tensor, c: Tensor, context: Tensor) -> Tensor:
        a, b, gate1, d, e, gate2 = self.modulation(c).unsqueeze(1).chunk(6, dim=2)
        attended = self.norms[0](x) * (1 + b) + a
        x = x + gate1 * self.attention(attended, attended)
        if self.cross is not None:
            x = x + self.cross(self.norms[1](x), context)
        return x + gate2 * self.mlp(self.norms[2](x) * (1 + e) + d)


class Network(nn.Module):
    """A predictor, or with `refiner` a refiner, whose answers are a tenth as large."""

    def __init__(self, refiner: bool, pooled: bool, depth: int):
        super().__init__()
        self.refiner, self.pooled = refiner, pooled
        self.patches = nn.Conv2d(CHANNELS * (2 if refiner else 1), HIDDEN, PATCH, PATCH)
        self.positions = nn.Parameter(torch.randn(1, GRID * GRID, HIDDEN))
        self.times = nn.Sequential(nn.Linear(2 * HIDDEN, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, HIDDEN))
        if pooled:
            self.labels = nn.Embedding(CLASSES + 1, HIDDEN)
            self.contexts = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, HIDDEN))
        self.blocks = nn.ModuleList(Block(not pooled) for _ in range(depth))
        self.norm = nn.LayerNorm(HIDDEN, elementwise_affine=False, eps=1e-6)
        self.last = nn.Linear(HIDDEN, PATCH * PATCH * CHANNELS)
        frequencies = torch.exp(-math.log(1000) * torch.arange(HIDDEN) / HIDDEN) * 10
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, x: Tensor, *conditions: Tensor) -> Tensor:
        if self.refiner:
            v, *conditions = conditions
            x = torch.cat([x, v], dim=1)
        t, *label, context = conditions
        angles = t[:, None] * self.frequencies[None]
        c = self.times(torch.cat([torch.cos(angles), torch.sin(angles)], dim=1))
        if self.pooled:
            c = c + self.labels(*label) + self.contexts(context)
        tokens = self.patches(x).reshape(-1, HIDDEN, GRID * GRID).transpose(1, 2) + self.positions
        for block in self.blocks:
            tokens = block(tokens, c, context)
        cells = self.last(self.norm(tokens)).reshape(-1, GRID, GRID, PATCH, PATCH, CHANNELS)
        velocity = cells.permute(0, 5, 1, 3, 2, 4).reshape(-1, CHANNELS, EDGE, EDGE)
        return velocity * 0.1 if self.refiner else velocity


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.colours = nn.Conv2d(CHANNELS, 3, 1)

    def forward(self, latent: Tensor) -> Tensor:
        return torch.tanh(nn.functional.interpolate(self.colours(latent), scale_factor=2.0, mode="nearest"))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.cells = nn.Conv2d(3, CHANNELS, 2, 2)

    def forward(self, image: Tensor) -> Tensor:
        return self.cells(image)


def write(folder: Path, role: str, module: nn.Module, inputs: dict[str, Tensor], output: str, any_size: bool) -> dict:
    """Writes a graph; its entry in the manifest."""
    import onnx_ir
    from export.clean import clean

    names = {0: "N", 2: "H", 3: "W"} if any_size else {0: "N"}
    axes = [{axis: torch.export.Dim(name) for axis, name in names.items()} for _ in inputs]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=[output],
            opset_version=18,
            dynamo=True,
            dynamic_shapes=tuple(axes) if any_size else (axes[0], tuple(axes[1:])),
            verbose=False,
        )
    clean(program.model, module.state_dict().keys(), [{"N": n, "H": 16, "W": 16} for n in (1, 2, 3)])
    path = folder / f"{role}.onnx"
    program.model.graph.name = role
    onnx_ir.save(program.model, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"file": path.name, "sha256": sha256, "inputs": {name: name for name in inputs}, "output": output}


def coder(folder: Path, role: str) -> dict:
    if role == "decoder":
        return write(folder, role, Decoder().eval(), {"latent": torch.zeros(2, CHANNELS, EDGE, EDGE)}, "image", True)
    return write(folder, role, Encoder().eval(), {"image": torch.zeros(2, 3, 2 * EDGE, 2 * EDGE)}, "latent", True)


def network(folder: Path, role: str, pooled: bool) -> dict:
    refiner = role == "refiner"
    module = Network(refiner, pooled, depth=1 if refiner else 2).eval()
    state, context = (CHANNELS, EDGE, EDGE), (WIDTH,) if pooled else (TOKENS, WIDTH)
    shapes = {"x": state} | ({"v": state} if refiner else {}) | {"t": ()} | ({"y": ()} if pooled else {})
    shapes |= {"context": context}
    kinds = {name: torch.int64 if name == "y" else torch.float32 for name in shapes}
    inputs = {name: torch.zeros(2, *shape, dtype=kinds[name]) for name, shape in shapes.items()}
    return write(folder, role, module, inputs, "offset" if refiner else "velocity", False)


def bundle(name: str) -> None:
    pooled, folder = name == "pooled", HERE / name
    folder.mkdir(exist_ok=True)
    networks = {role: network(folder, role, pooled) for role in ("predictor", "refiner")}
    if pooled:
        networks |= {role: coder(folder, role) for role in ("decoder", "encoder")}
    image = {"image": {"height": 2 * EDGE, "width": 2 * EDGE, "wraps": True}} if pooled else {}
    manifest = {
        "format": "flowturbo-bundle",
        "format_version": "1.1",
        "name": f"context-{name}",
        "latent": {"channels": CHANNELS, "height": EDGE, "width": EDGE},
        **image,
        "classes": {"count": CLASSES, "null": CLASSES} if pooled else {"count": 1},
        "text": {"width": WIDTH} | ({} if pooled else {"tokens": TOKENS}),
        "guidance": {"channels": 3 if pooled else CHANNELS},
        "sampling": {"schedule": "H1P2R2", "guidance": 3.0},
        "networks": networks,
    }
    (folder / "bundle.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def golden() -> None:
    from conftest import Bundle
    from sampler import Sampler

    draw, arrays, cases = np.random.default_rng(16), {}, []
    for i, (name, schedule, guidance, classes, contexts, negatives) in enumerate(CASES):
        loaded = Bundle(HERE / name)
        one = (WIDTH,) if name == "pooled" else (TOKENS, WIDTH)
        given = [None if n is None else draw.standard_normal((n, *one), np.float32) for n in (contexts, negatives)]
        noise = draw.standard_normal((len(classes), CHANNELS, EDGE, EDGE), np.float32)
        kinds = "".join(kind * int(count) for kind, count in zip(schedule[::2], schedule[1::2], strict=True))
        steps = Sampler(loaded, classes, guidance, *given).steps(noise, kinds)
        arrays[f"case{i}_noise"], arrays[f"case{i}_traj"] = noise, np.stack(list(steps))
        arrays |= {
            f"case{i}_{what}": array
            for what, array in zip(("context", "negative"), given, strict=True)
            if array is not None
        }
        cases.append({"bundle": name, "schedule": schedule, "guidance": guidance, "classes": classes})
    np.savez(HERE / "golden.npz", **arrays)
    (HERE / "golden.json").write_text(json.dumps(cases, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    torch.manual_seed(16)
    for name in ("pooled", "tokens"):
        bundle(name)
    golden()
