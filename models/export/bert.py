"""A BERT encoder as an ONNX graph of plain operators: tokens, mask and types to one vector of length 1 for each text.

Matrices may be int8 with a scale for each column, the table of tokens int8 with a scale for each row. They stay that
in the file: products are of floats with whole numbers in them, and scaled afterwards, so nothing but the weights is
rounded.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17  # has LayerNormalization
MASKED = 1e9  # what a masked token's score is lowered by: its weight is then 0 in float32


@dataclass(frozen=True)
class Quantized:
    """`values * scale`: int8, and float32 that goes along one axis."""

    values: np.ndarray
    scale: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    def floats(self) -> np.ndarray:
        return self.values.astype(np.float32) * self.scale


Matrix = np.ndarray | Quantized


@dataclass(frozen=True)
class Linear:
    """`x @ weight + bias`, weight `[in, out]`; scales go along its columns."""

    weight: Matrix
    bias: np.ndarray


@dataclass(frozen=True)
class Norm:
    weight: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True)
class Layer:
    query: Linear
    key: Linear
    value: Linear
    output: Linear
    attended: Norm
    wide: Linear
    narrow: Linear
    done: Norm


@dataclass(frozen=True)
class Bert:
    tokens: Matrix  # [vocabulary, width]; scales go along its rows
    positions: np.ndarray  # [most tokens, width]
    types: np.ndarray  # [kinds, width]
    embedded: Norm
    layers: list[Layer]
    heads: int
    eps: float = 1e-12

    @property
    def width(self) -> int:
        return self.positions.shape[1]


@dataclass
class Graph:
    """Nodes and initializers, named as they come."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: dict[str, np.ndarray] = field(default_factory=dict)

    def constant(self, name: str, value: object, dtype: type = np.float32) -> str:
        self.initializers[name] = np.ascontiguousarray(value, dtype)
        return name

    def node(self, operator: str, name: str, *inputs: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def matrix(self, name: str, matrix: Matrix) -> str:
        """The weight as floats; whole numbers if it is quantized."""
        if not isinstance(matrix, Quantized):
            return self.constant(name, matrix)
        self.constant(f"{name}.int8", matrix.values, np.int8)
        return self.node("Cast", name, f"{name}.int8", to=TensorProto.FLOAT)

    def linear(self, name: str, x: str, linear: Linear) -> str:
        product = self.node("MatMul", f"{name}.product", x, self.matrix(f"{name}.weight", linear.weight))
        if isinstance(linear.weight, Quantized):
            scale = self.constant(f"{name}.scale", linear.weight.scale.reshape(-1))
            product = self.node("Mul", f"{name}.scaled", product, scale)
        return self.node("Add", name, product, self.constant(f"{name}.bias", linear.bias))

    def norm(self, name: str, x: str, norm: Norm, eps: float) -> str:
        affine = self.constant(f"{name}.weight", norm.weight), self.constant(f"{name}.bias", norm.bias)
        return self.node("LayerNormalization", name, x, *affine, axis=-1, epsilon=eps)

    def gelu(self, name: str, x: str) -> str:
        """The exact one, which opset 17 has no name for."""
        root = self.node("Mul", f"{name}.root", x, self.constant(f"{name}.factor", np.sqrt(0.5)))
        error = self.node("Erf", f"{name}.erf", root)
        one = self.node("Add", f"{name}.shifted", error, self.constant(f"{name}.one", 1.0))
        half = self.node("Mul", f"{name}.half", x, self.constant(f"{name}.halved", 0.5))
        return self.node("Mul", name, half, one)


def embed(graph: Graph, bert: Bert) -> str:
    rows = graph.node("Gather", "tokens.rows", graph.matrix("tokens.table", bert.tokens), "tokens")
    if isinstance(bert.tokens, Quantized):
        scale = graph.constant("tokens.scale", bert.tokens.scale.reshape(-1, 1))
        rows = graph.node("Mul", "tokens.scaled", rows, graph.node("Gather", "tokens.scales", scale, "tokens"))
    types = graph.node("Gather", "types.rows", graph.constant("types.table", bert.types), "types")
    count = graph.node("Slice", "count", graph.node("Shape", "shape", "tokens"), *bounds(graph, "count", 1, 2))
    zero, axis = (graph.constant(f"positions.{name}", [0], np.int64) for name in ("first", "axis"))
    table = graph.constant("positions.table", bert.positions)
    positions = graph.node("Slice", "positions", table, zero, count, axis)
    sum_ = graph.node("Add", "embedded.types", rows, types)
    sum_ = graph.node("Add", "embedded", sum_, positions)
    return graph.norm("embedded.norm", sum_, bert.embedded, bert.eps)


def bounds(graph: Graph, name: str, start: int, end: int) -> tuple[str, str]:
    return tuple(graph.constant(f"{name}.{word}", [n], np.int64) for word, n in (("start", start), ("end", end)))


def attend(graph: Graph, name: str, x: str, layer: Layer, bert: Bert, bias: str) -> str:
    """Attention to the tokens that count, before it is added to `x`."""
    dim = bert.width // bert.heads
    split = graph.constant(f"{name}.split", [0, 0, bert.heads, dim], np.int64)

    def heads(part: str, linear: Linear, order: list[int]) -> str:
        flat = graph.linear(f"{name}.{part}", x, linear)
        return graph.node(
            "Transpose", f"{name}.{part}.heads", graph.node("Reshape", f"{name}.{part}.split", flat, split), perm=order
        )

    query = heads("query", layer.query, [0, 2, 1, 3])
    key = heads("key", layer.key, [0, 2, 3, 1])
    value = heads("value", layer.value, [0, 2, 1, 3])
    scores = graph.node("MatMul", f"{name}.scores", query, key)
    scores = graph.node("Mul", f"{name}.scaled", scores, graph.constant(f"{name}.scale", dim**-0.5))
    weights = graph.node("Softmax", f"{name}.weights", graph.node("Add", f"{name}.masked", scores, bias), axis=-1)
    sums = graph.node("MatMul", f"{name}.sums", weights, value)
    joined = graph.node("Transpose", f"{name}.joined", sums, perm=[0, 2, 1, 3])
    flat = graph.constant(f"{name}.flat", [0, 0, bert.width], np.int64)
    return graph.linear(f"{name}.output", graph.node("Reshape", f"{name}.together", joined, flat), layer.output)


def pool(graph: Graph, x: str, counts: str, output: str) -> None:
    """The mean over the tokens that the mask has, made as long as 1."""
    axis = graph.constant("pool.axis", [1], np.int64)
    weights = graph.node("Unsqueeze", "pool.weights", counts, graph.constant("pool.last", [2], np.int64))
    sums = graph.node("ReduceSum", "pool.sums", graph.node("Mul", "pool.kept", x, weights), axis, keepdims=0)
    number = graph.node("ReduceSum", "pool.number", weights, axis, keepdims=0)
    number = graph.node("Max", "pool.some", number, graph.constant("pool.least", [1e-9]))
    mean = graph.node("Div", "pool.mean", sums, number)
    squares = graph.node("ReduceSum", "pool.squares", graph.node("Mul", "pool.squared", mean, mean), axis)
    length = graph.node("Sqrt", "pool.root", squares)
    length = graph.node("Max", "pool.length", length, graph.constant("pool.shortest", [1e-12]))
    graph.node("Div", output, mean, length)


def model(bert: Bert, output: str = "embedding") -> onnx.ModelProto:
    """Inputs `tokens`, `mask` and `types` i64 `[N, T]`, output f32 `[N, width]`; N and T are open."""
    graph = Graph()
    counts = graph.node("Cast", "mask.floats", "mask", to=TensorProto.FLOAT)
    less = graph.node("Sub", "mask.less", counts, graph.constant("mask.one", 1.0))
    low = graph.node("Mul", "mask.low", less, graph.constant("mask.masked", MASKED))
    bias = graph.node("Unsqueeze", "mask.bias", low, graph.constant("mask.axes", [1, 2], np.int64))
    x = embed(graph, bert)
    for i, layer in enumerate(bert.layers):
        name = f"layers.{i}"
        attended = graph.node(
            "Add", f"{name}.attended.sum", x, attend(graph, f"{name}.attention", x, layer, bert, bias)
        )
        x = graph.norm(f"{name}.attended", attended, layer.attended, bert.eps)
        wide = graph.gelu(f"{name}.gelu", graph.linear(f"{name}.wide", x, layer.wide))
        x = graph.node("Add", f"{name}.done.sum", x, graph.linear(f"{name}.narrow", wide, layer.narrow))
        x = graph.norm(f"{name}.done", x, layer.done, bert.eps)
    pool(graph, x, counts, output)
    integers = [helper.make_tensor_value_info(n, TensorProto.INT64, ["N", "T"]) for n in ("tokens", "mask", "types")]
    answer = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", bert.width])
    tensors = [numpy_helper.from_array(value, name) for name, value in graph.initializers.items()]
    made = helper.make_graph(graph.nodes, "text", integers, [answer], tensors)
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(made, opset_imports=opsets, ir_version=8, producer_name="flowturbo")
