"""Small random predictors, valid by construction."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

import numpy as np
from case import Writer, ints, weights
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper

BATCH = 2
OPSET = 18
UNARY = ["Abs", "Neg", "Relu", "Sigmoid", "Tanh", "Erf", "Sin", "Cos", "Softplus", "Softsign", "Elu", "Identity"]
BINARY = ["Add", "Sub", "Mul", "Max", "Min"]
LARGEST = 4096
"""Elements of a tensor, at most."""


@dataclass
class Made:
    """A graph in the making."""

    latent: tuple[int, int, int]
    writer: Writer = field(default_factory=lambda: Writer(OPSET))
    tensors: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)

    def name(self) -> str:
        return f"v{len(self.tensors)}"

    def add(self, operator: str, inputs: list[str], shape: tuple[int, ...], **attributes) -> None:
        name = self.name()
        self.writer.node(operator, inputs, name, **attributes)
        self.writer.nodes[-1].name = f"makes {name}"
        self.tensors.append((name, shape))

    def constant(self, value: np.ndarray) -> str:
        return self.writer.constant(f"k{len(self.writer.constants)}", value)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[ModelProto, tuple[int, int, int]]:
    """A predictor of a few nodes, and the shape of its latents."""
    latent = draw(st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 6)))
    made = Made(latent)
    made.tensors.append(("x", (BATCH, *latent)))
    for _ in range(draw(st.integers(1, 6))):
        # Mostly what came last, so that nodes build on each other.
        name, shape = made.tensors[max(draw(st.integers(-2, len(made.tensors) - 1)), 0) - 1]
        draw(st.sampled_from(STEPS))(draw, made, name, shape)
    return finished(made), latent


def finished(made: Made) -> ModelProto:
    """The last tensor laid into `velocity`, filled up with `x` or cut."""
    writer, (name, shape) = made.writer, made.tensors[-1]
    size, there = BATCH * prod(made.latent), prod(shape)
    flat = writer.shaped(name, [there], "flat")
    if there > size:
        flat = writer.cut(flat, there - size, there, 0, "cut")
    elif there < size:
        rest = writer.cut(writer.shaped("x", [size], "rest"), there, size, 0, "more")
        flat = writer.node("Concat", [flat, rest], "joined", axis=0)
    writer.shaped(flat, [BATCH, *made.latent], "velocity")
    floats, ports = TensorProto.FLOAT, ["N", *made.latent]
    inputs = [
        helper.make_tensor_value_info("x", floats, ports),
        helper.make_tensor_value_info("t", floats, ["N"]),
        helper.make_tensor_value_info("y", TensorProto.INT64, ["N"]),
    ]
    output = helper.make_tensor_value_info("velocity", floats, ports)
    graph = helper.make_graph(writer.nodes, "random", inputs, [output], writer.constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


def unary(draw: st.DrawFn, made: Made, name: str, shape: tuple[int, ...]) -> None:
    made.add(draw(st.sampled_from(UNARY)), [name], shape)


def binary(draw: st.DrawFn, made: Made, name: str, shape: tuple[int, ...]) -> None:
    """With another tensor of this shape, or with a constant that is spread."""
    alike = [other for other, found in made.tensors if found == shape]
    if draw(st.booleans()):
        other = draw(st.sampled_from(alike))
    else:
        kept = draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)))
        spread = [n if keep else 1 for n, keep in zip(shape, kept, strict=True)]
        other = made.constant(weights(*spread[draw(st.integers(0, len(shape))) :], seed=len(made.tensors)))
    operands = [name, other] if draw(st.booleans()) else [other, name]
    made.add(draw(st.sampled_from(BINARY)), operands, shape)


def reduction(draw: st.DrawFn, made: Made, name: str, shape: tuple[int, ...]) -> None:
    rank = len(shape)
    axes = draw(st.lists(st.integers(0, rank - 1), unique=True, max_size=rank)) if rank else []
    keep = draw(st.booleans())
    reduced = axes or list(range(rank))
    after = tuple(1 if i in reduced else n for i, n in enumerate(shape) if keep or i not in reduced)
    written = [axis - draw(st.sampled_from([0, rank])) for axis in axes]
    operator = draw(st.sampled_from(["ReduceMean", "ReduceMax", "ReduceMin", "ReduceSumSquare", "ReduceL2"]))
    made.add(operator, [name, made.constant(ints(*written))], after, keepdims=int(keep))


def softmax(draw: st.DrawFn, made: Made, name: str, shape: tuple[int, ...]) -> None:
    if shape:
        axis = draw(st.integers(-len(shape), len(shape) - 1))
        made.add(draw(st.sampled_from(["Softmax", "LogSoftmax"])), [name], shape, axis=axis)


def transpose(draw: st.DrawFn, made: Made, name: str, shape: tuple[int, ...]) -> None:
    order = draw(st.permutations(range(len(shape))))
    if order:
        made.add("Transpose", [name], tuple(shape[i] for i in order), perm=order)


def reshape(draw: st.DrawFn, made: Made, name: str, shape: tuple[int, ...]) -> None:
    size, after = prod(shape), []
    while size > 1 and len(after) < 5:
        factor = draw(st.sampled_from([n for n in range(1, size + 1) if size % n == 0]))
        after.append(factor)
        size //= factor
    after.append(size)
    written = list(after)
    if draw(st.booleans()):
        written[draw(st.integers(0, len(after) - 1))] = -1
    made.add("Reshape", [name, made.constant(ints(*written))], tuple(after))


def cut(draw: st.DrawFn, made: Made, name: str, shape: tuple[int, ...]) -> None:
    """A slice of any direction whose bounds may lie outside, as long as anything is left."""
    if not shape:
        return
    axis = draw(st.integers(0, len(shape) - 1))
    size, step = shape[axis], draw(st.sampled_from([1, 2, 3, -1, -2]))
    bound = st.one_of(st.integers(-size - 3, size + 3), st.sampled_from([2**63 - 1, -(2**63), 2**31, -(2**31)]))
    start, end = draw(bound), draw(bound)
    left = len(range(size)[slice(start, end, step)])
    if left:
        written = axis - draw(st.sampled_from([0, len(shape)]))
        operands = [made.constant(ints(number)) for number in (start, end, written, step)]
        made.add("Slice", [name, *operands], (*shape[:axis], left, *shape[axis + 1 :]))


def join(draw: st.DrawFn, made: Made, name: str, shape: tuple[int, ...]) -> None:
    if shape and 2 * prod(shape) <= LARGEST:
        axis = draw(st.integers(-len(shape), len(shape) - 1))
        alike = [other for other, found in made.tensors if found == shape]
        after = list(shape)
        after[axis] *= 2
        made.add("Concat", [name, draw(st.sampled_from(alike))], tuple(after), axis=axis)


def gather(draw: st.DrawFn, made: Made, name: str, shape: tuple[int, ...]) -> None:
    if shape:
        axis = draw(st.integers(0, len(shape) - 1))
        places = draw(st.lists(st.integers(-shape[axis], shape[axis] - 1), min_size=1, max_size=4))
        after = (*shape[:axis], len(places), *shape[axis + 1 :])
        if prod(after) <= LARGEST:
            made.add("Gather", [name, made.constant(ints(*places))], after, axis=axis)


def pad(draw: st.DrawFn, made: Made, name: str, shape: tuple[int, ...]) -> None:
    if shape and all(n > 1 for n in shape):
        mode = draw(st.sampled_from(["constant", "reflect", "edge"]))
        amounts = draw(st.lists(st.integers(0, 1), min_size=2 * len(shape), max_size=2 * len(shape)))
        after = tuple(n + amounts[i] + amounts[i + len(shape)] for i, n in enumerate(shape))
        if prod(after) <= LARGEST:
            made.add("Pad", [name, made.constant(ints(*amounts))], after, mode=mode)


def product(draw: st.DrawFn, made: Made, name: str, shape: tuple[int, ...]) -> None:
    if len(shape) < 2:
        return
    width = draw(st.integers(1, 5))
    if draw(st.booleans()):
        matrix = made.constant(weights(shape[-1], width, seed=len(made.tensors)))
        made.add("MatMul", [name, matrix], (*shape[:-1], width))
    else:
        matrix = made.constant(weights(width, shape[-2], seed=len(made.tensors)))
        made.add("MatMul", [matrix, name], (*shape[:-2], width, shape[-1]))


def window(draw: st.DrawFn, made: Made, name: str, shape: tuple[int, ...]) -> None:
    """A convolution or a pool, where the tensor is an image."""
    if len(shape) != 4 or prod(shape[1:]) > 512:
        return
    size, stride, margin = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(0, 1))
    sides = [(n + 2 * margin - size) // stride + 1 for n in shape[2:]]
    if min(sides) < 1 or margin >= size:
        return
    attributes = {"kernel_shape": [size] * 2, "strides": [stride] * 2, "pads": [margin] * 4}
    operator = draw(st.sampled_from(["Conv", "MaxPool", "AveragePool"]))
    if operator == "Conv":
        out = draw(st.integers(1, 4))
        kernel = made.constant(weights(out, shape[1], size, size, seed=len(made.tensors)))
        made.add("Conv", [name, kernel], (shape[0], out, *sides), **attributes)
    else:
        if operator == "AveragePool":
            attributes["count_include_pad"] = draw(st.integers(0, 1))
        made.add(operator, [name], (*shape[:2], *sides), **attributes)


def norm(draw: st.DrawFn, made: Made, name: str, shape: tuple[int, ...]) -> None:
    if shape and shape[-1] > 1:
        seed = len(made.tensors)
        operands = [made.constant(weights(shape[-1], seed=seed + i)) for i in range(draw(st.integers(1, 2)))]
        made.add("LayerNormalization", [name, *operands], shape, axis=-1, epsilon=0.01)


def spread(draw: st.DrawFn, made: Made, name: str, shape: tuple[int, ...]) -> None:
    repeats = [draw(st.integers(1, 2)) for _ in shape]
    after = tuple(n * times for n, times in zip(shape, repeats, strict=True))
    if shape and prod(after) <= LARGEST:
        made.add("Tile", [name, made.constant(ints(*repeats))], after)


def unsqueeze(draw: st.DrawFn, made: Made, name: str, shape: tuple[int, ...]) -> None:
    if len(shape) < 5:
        axis = draw(st.integers(0, len(shape)))
        made.add("Unsqueeze", [name, made.constant(ints(axis))], (*shape[:axis], 1, *shape[axis:]))


def sums(draw: st.DrawFn, made: Made, name: str, shape: tuple[int, ...]) -> None:
    if shape:
        axis = made.constant(np.int64(draw(st.integers(-len(shape), len(shape) - 1))))
        flags = {"exclusive": draw(st.integers(0, 1)), "reverse": draw(st.integers(0, 1))}
        made.add("CumSum", [name, axis], shape, **flags)


STEPS = [
    unary, binary, reduction, softmax, transpose, reshape, cut, join, gather, pad, product, window, norm, spread,
    unsqueeze, sums,
]  # fmt: skip
